"""How a bucket keeps objects: versions, encryption at rest, and when what goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from service.buckets.comparison import Comparison, read_or
from service.buckets.declaration import LIFECYCLE_PREFIX, BucketDeclaration

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client
    from types_boto3_s3.type_defs import ServerSideEncryptionRuleTypeDef

_NO_ENCRYPTION = frozenset({"ServerSideEncryptionConfigurationNotFoundError"})
# From weak to strong: keys of S3, keys of KMS with an audit trail of their own, two layers under such keys.
_STRENGTHS = ("AES256", "aws:kms", "aws:kms:dsse")
_NO_LIFECYCLE = frozenset({"NoSuchLifecycleConfiguration"})


def compare_versioning(client: S3Client, wanted: BucketDeclaration) -> Comparison:
    """Whatever overwrites or deletes an object, its bytes can be had back for a week."""
    status = client.get_bucket_versioning(Bucket=wanted.name).get("Status", "never enabled")
    return Comparison(
        drift=() if status == "Enabled" else (f"versioning is {status.lower()}",),
        repair=lambda: client.put_bucket_versioning(Bucket=wanted.name, VersioningConfiguration={"Status": "Enabled"}),
    )


def compare_encryption(client: S3Client, wanted: BucketDeclaration) -> Comparison:
    """SSE-S3, or SSE-KMS under a key of one's own; with a bucket key, so that not every object costs a call to KMS.

    What somebody has set that is stronger than declared is kept, and named.
    """
    rules: list[Any] = read_or(
        [],
        _NO_ENCRYPTION,
        lambda: list(client.get_bucket_encryption(Bucket=wanted.name)["ServerSideEncryptionConfiguration"]["Rules"]),
    )
    declared = _encryption_rule(wanted.kms_key_id)
    if rules and _strength(rules[0]) > _strength(declared):
        default = rules[0]["ApplyServerSideEncryptionByDefault"]
        key = default.get("KMSMasterKeyID", "of AWS")
        return Comparison(foreign=(f"default encryption {default['SSEAlgorithm']} with key {key}",))
    # Blocking SSE-C is somebody's decision, and stands in the same rule.
    blocked: Any = {name: value for rule in rules for name, value in rule.items() if name == "BlockedEncryptionTypes"}
    is_same = len(rules) == 1 and _comparable_encryption(rules[0]) == _comparable_encryption(declared)
    name = f"SSE-KMS with key {wanted.kms_key_id} and a bucket key" if wanted.kms_key_id else "SSE-S3"
    return Comparison(
        drift=() if is_same else (f"default encryption is not {name}",),
        repair=lambda: client.put_bucket_encryption(
            Bucket=wanted.name, ServerSideEncryptionConfiguration={"Rules": [{**declared, **blocked}]}
        ),
    )


def _encryption_rule(kms_key_id: str) -> ServerSideEncryptionRuleTypeDef:
    if not kms_key_id:
        return {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    default: Any = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": kms_key_id}
    return {"ApplyServerSideEncryptionByDefault": default, "BucketKeyEnabled": True}


def _strength(rule: Any) -> int:
    algorithm = rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"]
    return _STRENGTHS.index(algorithm) if algorithm in _STRENGTHS else len(_STRENGTHS)


def _comparable_encryption(rule: Any) -> tuple[str, str | None, bool]:
    default = rule["ApplyServerSideEncryptionByDefault"]
    key = default.get("KMSMasterKeyID")
    # Without a KMS key a bucket key means nothing.
    return default["SSEAlgorithm"], key, bool(key) and rule.get("BucketKeyEnabled", False)


def compare_lifecycle(client: S3Client, wanted: BucketDeclaration) -> Comparison:
    """Our rules by their ids; rules of others are kept and named."""
    found: list[Any] = read_or(
        [],
        _NO_LIFECYCLE,
        lambda: list(client.get_bucket_lifecycle_configuration(Bucket=wanted.name).get("Rules", [])),
    )
    declared: list[Any] = list(wanted.lifecycle)
    unsupported: tuple[str, ...] = ()
    if tiering := [rule for rule in declared if "Transitions" in rule and _has_one_tier(client, wanted.name)]:
        declared = [rule for rule in declared if rule not in tiering]
        unsupported = tuple(f"lifecycle rule {rule['ID']}: it has no storage classes" for rule in tiering)
    ours = {rule["ID"]: _comparable_rule(rule) for rule in found if _is_ours(rule)}
    foreign = [rule for rule in found if not _is_ours(rule)]
    differing = [rule["ID"] for rule in declared if ours.pop(rule["ID"], None) != _comparable_rule(rule)]

    def repair() -> None:
        # All rules at once, as S3 takes them: those of others go back as they came.
        rules: Any = [*foreign, *declared]
        client.put_bucket_lifecycle_configuration(Bucket=wanted.name, LifecycleConfiguration={"Rules": rules})

    return Comparison(
        drift=(
            *(f"lifecycle rule {rule_id} is missing or different" for rule_id in differing),
            *(f"lifecycle rule {rule_id} is no longer declared" for rule_id in ours),
        ),
        foreign=tuple(f"lifecycle rule {rule.get('ID') or 'without an id'}" for rule in foreign),
        unsupported=unsupported,
        repair=repair,
    )


def _is_ours(rule: dict[str, Any]) -> bool:
    return str(rule.get("ID", "")).startswith(LIFECYCLE_PREFIX)


def _comparable_rule(rule: dict[str, Any]) -> dict[str, Any]:
    transitions = sorted((each["StorageClass"], each["Days"]) for each in rule.get("Transitions", ()))
    # Servers give an empty filter back in either of these shapes.
    return {**rule, "Filter": rule.get("Filter") or {"Prefix": rule.get("Prefix", "")}, "Transitions": transitions}


def _has_one_tier(client: S3Client, bucket: str) -> bool:
    # SeaweedFS answers 501 to a configuration with a transition in it, and then takes none of its rules.
    server = client.head_bucket(Bucket=bucket)["ResponseMetadata"]["HTTPHeaders"].get("server", "")
    return server.startswith("SeaweedFS")
