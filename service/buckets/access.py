"""Who may reach a bucket: CORS rules, the public access block, and the policy that demands TLS."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from service.buckets.comparison import Comparison, read_or
from service.buckets.declaration import CORS_ID, INSECURE_TRANSPORT_SID, BucketDeclaration

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client
    from types_boto3_s3.type_defs import PublicAccessBlockConfigurationTypeDef

_NO_CORS = frozenset({"NoSuchCORSConfiguration"})
_NO_BLOCK = frozenset({"NoSuchPublicAccessBlockConfiguration"})
_NO_POLICY = frozenset({"NoSuchBucketPolicy"})
_POLICY_VERSION = "2012-10-17"

PUBLIC_ACCESS_BLOCK: PublicAccessBlockConfigurationTypeDef = {
    "BlockPublicAcls": True,
    "IgnorePublicAcls": True,
    "BlockPublicPolicy": True,
    "RestrictPublicBuckets": True,
}


def compare_cors(client: S3Client, wanted: BucketDeclaration) -> Comparison:
    """Our rule stands first; rules of others are kept behind it and named."""
    found: list[Any] = read_or([], _NO_CORS, lambda: list(client.get_bucket_cors(Bucket=wanted.name)["CORSRules"]))
    ours = [rule for rule in found if _is_ours(rule, wanted)]
    foreign = [rule for rule in found if not _is_ours(rule, wanted)]
    declared: list[Any] = [] if wanted.cors is None else [wanted.cors]

    def repair() -> None:
        if rules := [*declared, *foreign]:
            client.put_bucket_cors(Bucket=wanted.name, CORSConfiguration={"CORSRules": rules})
        else:
            client.delete_bucket_cors(Bucket=wanted.name)

    is_same = [*map(_comparable_cors, ours)] == [*map(_comparable_cors, declared)] and found[: len(ours)] == ours
    origins = ", ".join(wanted.cors["AllowedOrigins"]) if wanted.cors else "no origin"
    return Comparison(
        drift=() if is_same else (f"CORS does not let exactly {origins} make the requests of our clients",),
        foreign=tuple(
            f"CORS rule {rule.get('ID', 'without an id')} for {', '.join(rule['AllowedOrigins'])}" for rule in foreign
        ),
        repair=repair,
    )


def _is_ours(rule: dict[str, Any], wanted: BucketDeclaration) -> bool:
    if rule.get("ID"):
        return bool(rule["ID"] == CORS_ID)
    # To the letter: a rule that merely resembles ours is somebody's.
    written = {name: value for name, value in rule.items() if name != "ID"}
    return written == {"AllowedOrigins": rule["AllowedOrigins"], **wanted.earlier_cors}


def _comparable_cors(rule: dict[str, Any]) -> dict[str, Any]:
    return {
        "ID": rule.get("ID"),
        "MaxAgeSeconds": rule.get("MaxAgeSeconds"),
        "AllowedOrigins": set(rule["AllowedOrigins"]),
        "AllowedMethods": set(rule["AllowedMethods"]),
        **{name: {each.lower() for each in rule.get(name, ())} for name in ("AllowedHeaders", "ExposeHeaders")},
    }


def compare_public_access(client: S3Client, wanted: BucketDeclaration) -> Comparison:
    """No access list and no policy can open the bucket to everybody."""
    found: Any = read_or(
        {},
        _NO_BLOCK,
        lambda: dict(client.get_public_access_block(Bucket=wanted.name)["PublicAccessBlockConfiguration"]),
    )
    missing = [name for name in PUBLIC_ACCESS_BLOCK if not found.get(name)]
    return Comparison(
        drift=(f"public access is not blocked: {', '.join(missing)}",) if missing else (),
        repair=lambda: client.put_public_access_block(
            Bucket=wanted.name, PublicAccessBlockConfiguration=PUBLIC_ACCESS_BLOCK
        ),
    )


def compare_policy(client: S3Client, wanted: BucketDeclaration) -> Comparison:
    """One statement of ours beside those of others, such as the CDN's."""
    if not wanted.deny_insecure_transport:
        return Comparison()
    found: dict[str, Any] = read_or(
        {}, _NO_POLICY, lambda: dict(json.loads(client.get_bucket_policy(Bucket=wanted.name)["Policy"]))
    )
    statement = insecure_transport_statement(wanted.name)
    if statement in found.get("Statement", []):
        return Comparison()
    policy = json.dumps(with_statement(found, statement))
    return Comparison(
        drift=("its policy does not deny requests without TLS",),
        repair=lambda: client.put_bucket_policy(Bucket=wanted.name, Policy=policy),
    )


def insecure_transport_statement(bucket: str) -> dict[str, Any]:
    """The policy statement that refuses plain HTTP to everybody."""
    arn = f"arn:aws:s3:::{bucket}"
    return {
        "Sid": INSECURE_TRANSPORT_SID,
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [arn, f"{arn}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }


def with_statement(policy: dict[str, Any], statement: dict[str, Any]) -> dict[str, Any]:
    """`policy` with `statement` in the place of the one with the same Sid; every other one is kept."""
    kept = policy.get("Statement", [])
    others = [each for each in ([kept] if isinstance(kept, dict) else kept) if each.get("Sid") != statement["Sid"]]
    return {"Version": _POLICY_VERSION, **policy, "Statement": [*others, statement]}
