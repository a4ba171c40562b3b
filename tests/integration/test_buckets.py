"""Buckets as code, on both S3 servers: drift is named, only drift is changed, and what others set is kept."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import boto3
import httpx
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from service.buckets import BucketDeclaration, BucketReport
from service.buckets.access import compare_policy
from service.commands.buckets import set_up_buckets
from service.object_store import ObjectStore
from service.settings import Environment, Settings, StorageSettings
from tests.servers import ORIGIN, StorageServer

FOREIGN_RULE = {
    "ID": "theirs",
    "Status": "Enabled",
    "Filter": {"Prefix": "exports/"},
    "Expiration": {"Days": 30},
}
FOREIGN_CORS = {"ID": "theirs", "AllowedOrigins": ["https://theirs.example"], "AllowedMethods": ["GET"]}


@pytest.fixture
def storage(storage_server: StorageServer) -> StorageSettings:
    """Names of two buckets that do not exist yet."""
    return storage_server.settings()


@pytest.fixture
async def store(storage: StorageSettings) -> AsyncIterator[ObjectStore]:
    opened = ObjectStore(storage)
    yield opened
    await opened.close()


@pytest.fixture
def s3(storage: StorageSettings) -> Any:
    """A client of its own, as another tool would use."""
    return boto3.session.Session(
        storage.access_key, storage.secret_key.get_secret_value(), region_name=storage.region
    ).client(
        "s3",
        endpoint_url=storage.endpoint,
        config=Config(
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


def changes(reports: list[BucketReport]) -> list[str]:
    return [sentence for report in reports for sentence in report.changed]


def drift(reports: list[BucketReport]) -> list[str]:
    return [sentence for report in reports for sentence in report.drift]


def lifecycle(s3: Any, bucket: str) -> dict[str, Any]:
    return {rule["ID"]: rule for rule in s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]}


async def test_buckets_are_made_as_declared_and_then_nothing_is_left_to_do(
    store: ObjectStore, storage_server: StorageServer, s3: Any
) -> None:
    assert drift(await store.compare_buckets()) == ["it does not exist"] * 2
    assert "it did not exist" in changes(await store.ensure_buckets())
    for repeated in (await store.compare_buckets(), await store.ensure_buckets()):
        assert (changes(repeated), drift(repeated)) == ([], [])

    bucket = store.upload_bucket
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    (rule,) = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    rules = lifecycle(s3, bucket)
    assert rules["media-service-abort-multipart"]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 2}
    abandoned = rules["media-service-expire-abandoned"]
    assert abandoned["Filter"] == {"Tag": {"Key": "state", "Value": "unconfirmed"}}
    assert abandoned["Expiration"] == {"Days": 7}
    assert rules["media-service-old-versions"]["NoncurrentVersionExpiration"] == {"NoncurrentDays": 7}
    assert lifecycle(s3, store.media_bucket).keys() == {"media-service-abort-multipart", "media-service-old-versions"}

    lacking = {sentence for report in repeated for sentence in report.unsupported}
    if storage_server.name == "ministack":
        assert lacking == set()
        tiers = rules["media-service-tier-originals"]["Transitions"]
        assert [(tier["Days"], tier["StorageClass"]) for tier in tiers] == [(30, "STANDARD_IA"), (180, "GLACIER_IR")]
        assert all(s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"].values())
    else:
        assert lacking == {
            "public access block",
            "lifecycle rule media-service-tier-originals: it has no storage classes",
        }


async def test_only_what_was_changed_by_hand_is_changed_back(store: ObjectStore, s3: Any) -> None:
    await store.ensure_buckets()
    bucket = store.upload_bucket
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    rules = [rule for name, rule in lifecycle(s3, bucket).items() if name != "media-service-abort-multipart"]
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules})
    expected = [
        "versioning is suspended",
        "lifecycle rule media-service-abort-multipart is missing or different",
    ]
    assert drift(await store.compare_buckets()) == expected
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Suspended", "comparing changes nothing"
    assert changes(await store.ensure_buckets()) == expected
    assert "media-service-abort-multipart" in lifecycle(s3, bucket)
    assert drift(await store.compare_buckets()) == []


async def test_rules_of_others_are_named_and_kept(store: ObjectStore, s3: Any) -> None:
    await store.ensure_buckets()
    bucket = store.upload_bucket
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [FOREIGN_RULE]})
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [FOREIGN_CORS]})
    report, _ = await store.ensure_buckets()
    assert report.foreign == ["lifecycle rule theirs", "CORS rule theirs for https://theirs.example"]
    rules = lifecycle(s3, bucket)
    assert rules["theirs"]["Expiration"] == {"Days": 30}
    assert "media-service-expire-abandoned" in rules
    ours, theirs = s3.get_bucket_cors(Bucket=bucket)["CORSRules"]
    assert (ours["AllowedOrigins"], theirs["AllowedOrigins"]) == ([ORIGIN], ["https://theirs.example"])
    report, _ = await store.compare_buckets()
    assert (report.drift, len(report.foreign)) == ([], 2)


async def test_rules_of_the_first_version_give_way(store: ObjectStore, s3: Any) -> None:
    await store.ensure_buckets()
    older = {
        "AllowedOrigins": ["http://127.0.0.1:1"],
        "AllowedMethods": ["PUT", "GET", "HEAD"],
        "AllowedHeaders": ["content-type", "if-none-match", "x-amz-checksum-sha256"],
        "ExposeHeaders": ["ETag", "Location"],
        "MaxAgeSeconds": 3600,
    }
    s3.put_bucket_cors(Bucket=store.upload_bucket, CORSConfiguration={"CORSRules": [older]})
    report, _ = await store.ensure_buckets()
    assert report.foreign == []
    (rule,) = s3.get_bucket_cors(Bucket=store.upload_bucket)["CORSRules"]
    assert rule["AllowedOrigins"] == [ORIGIN]


async def test_rules_that_merely_resemble_an_earlier_one_are_kept(store: ObjectStore, s3: Any) -> None:
    earlier = {
        "AllowedMethods": ["PUT", "GET", "HEAD"],
        "AllowedHeaders": ["content-type", "if-none-match", "x-amz-checksum-sha256"],
        "ExposeHeaders": ["ETag", "Location"],
        "MaxAgeSeconds": 3600,
    }
    theirs: list[Any] = [
        {"AllowedOrigins": ["https://1.example"], "AllowedMethods": ["GET", "HEAD"], "MaxAgeSeconds": 3600},
        {**earlier, "AllowedOrigins": ["https://2.example"], "AllowedHeaders": ["*"]},
        {**earlier, "AllowedOrigins": ["https://3.example"], "AllowedMethods": ["GET", "PUT", "HEAD"]},
        {**earlier, "AllowedOrigins": ["https://4.example"], "MaxAgeSeconds": 600},
    ]
    await store.ensure_buckets()
    s3.put_bucket_cors(Bucket=store.upload_bucket, CORSConfiguration={"CORSRules": theirs})
    report, _ = await store.ensure_buckets()
    assert report.foreign == [f"CORS rule without an id for https://{number}.example" for number in (1, 2, 3, 4)]
    ours, *kept = s3.get_bucket_cors(Bucket=store.upload_bucket)["CORSRules"]
    assert (ours["AllowedOrigins"], kept) == ([ORIGIN], theirs)


async def test_an_earlier_rule_for_readers_gives_way_to_the_same_origins_only(store: ObjectStore, s3: Any) -> None:
    await store.ensure_buckets()

    async def kept(*origins: str) -> list[list[str]]:
        """The origins of what stands in the media bucket after `origins` had a rule of the earlier form."""
        rule: Any = {"AllowedOrigins": [*origins], "AllowedMethods": ["GET", "HEAD"], "MaxAgeSeconds": 3600}
        s3.put_bucket_cors(Bucket=store.media_bucket, CORSConfiguration={"CORSRules": [rule]})
        await store.ensure_buckets()
        return [each["AllowedOrigins"] for each in s3.get_bucket_cors(Bucket=store.media_bucket)["CORSRules"]]

    assert await kept(ORIGIN) == [[ORIGIN]]
    assert await kept("https://theirs.example") == [[ORIGIN], ["https://theirs.example"]]


def test_requests_without_tls_are_denied_beside_what_others_allow(ministack: StorageServer) -> None:
    def client(access_key: str, secret_key: str) -> Any:
        session = boto3.session.Session(access_key, secret_key, region_name="us-east-1")
        return session.client("s3", endpoint_url=ministack.endpoint, config=Config(s3={"addressing_style": "path"}))

    # Only the account itself may still speak plain HTTP to this server, and take the policy back.
    account, user = client("test", "test"), client(ministack.access_key, ministack.secret_key)
    bucket = ministack.settings().media_bucket
    user.create_bucket(Bucket=bucket)
    cdn = {
        "Sid": "AllowCloudFront",
        "Effect": "Allow",
        "Principal": {"Service": "cloudfront.amazonaws.com"},
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{bucket}/*",
    }
    account.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [cdn]}))
    declaration = BucketDeclaration(bucket, "us-east-1", None, (), deny_insecure_transport=True)
    comparison = compare_policy(account, declaration)
    assert comparison.drift == ("its policy does not deny requests without TLS",)
    assert comparison.repair is not None
    comparison.repair()
    assert compare_policy(account, declaration).drift == ()
    with pytest.raises(ClientError, match="explicit deny"):
        user.put_object(Bucket=bucket, Key="x", Body=b"x")
    assert account.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    policy = json.loads(account.get_bucket_policy(Bucket=bucket)["Policy"])
    assert policy["Statement"][0] == cdn
    account.close()
    user.close()


async def test_a_removed_origin_may_no_longer_upload(store: ObjectStore, storage: StorageSettings, s3: Any) -> None:
    await store.ensure_buckets()
    closed = ObjectStore(storage.model_copy(update={"allowed_origins": ()}))
    assert len(changes(await closed.ensure_buckets())) == 2
    assert drift(await closed.compare_buckets()) == []
    await closed.close()
    with pytest.raises(s3.exceptions.ClientError, match="NoSuchCORSConfiguration"):
        s3.get_bucket_cors(Bucket=store.upload_bucket)


async def test_pages_may_make_every_request_of_a_multipart_upload(store: ObjectStore) -> None:
    await store.ensure_buckets()
    url = store.presign_put(
        key="community/raw/x.jpg", content_type="image/jpeg", byte_size=1, sha256="00" * 32, expires_s=60
    ).url
    async with httpx.AsyncClient() as client:
        for method in ("PUT", "POST", "GET", "DELETE"):
            asked = {
                "Origin": ORIGIN,
                "Access-Control-Request-Method": method,
                "Access-Control-Request-Headers": "content-type,if-none-match,x-amz-checksum-sha256,x-amz-tagging",
            }
            allowed = (await client.options(url, headers=asked)).headers
            assert allowed["access-control-allow-origin"] == ORIGIN
            assert method in allowed["access-control-allow-methods"]


async def test_a_key_of_ones_own_encrypts_with_a_bucket_key(
    store: ObjectStore, storage: StorageSettings, s3: Any
) -> None:
    await store.ensure_buckets()
    keyed = ObjectStore(storage.model_copy(update={"kms_key_id": "alias/media"}))
    expected = ["default encryption is not SSE-KMS with key alias/media and a bucket key"] * 2
    assert drift(await keyed.compare_buckets()) == expected
    assert changes(await keyed.ensure_buckets()) == expected
    assert drift(await keyed.compare_buckets()) == []
    (rule,) = s3.get_bucket_encryption(Bucket=store.media_bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"]["KMSMasterKeyID"] == "alias/media"
    assert rule["BucketKeyEnabled"] is True
    await keyed.close()


async def test_encryption_is_never_made_weaker(store: ObjectStore, s3: Any) -> None:
    await store.ensure_buckets()
    default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "alias/operations"}
    rule = {"ApplyServerSideEncryptionByDefault": default, "BucketKeyEnabled": True}
    s3.put_bucket_encryption(Bucket=store.media_bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
    for reports in (await store.compare_buckets(), await store.ensure_buckets()):
        assert (drift(reports), changes(reports)) == ([], [])
        assert reports[1].foreign == ["default encryption aws:kms with key alias/operations"]
    (found,) = s3.get_bucket_encryption(Bucket=store.media_bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert found["ApplyServerSideEncryptionByDefault"] == default


async def test_a_deletion_leaves_no_version_and_no_marker(store: ObjectStore, s3: Any) -> None:
    await store.ensure_buckets()
    bucket, key = store.upload_bucket, "community/raw/x.jpg"
    for body in (b"first", b"second"):
        s3.put_object(Bucket=bucket, Key=key, Body=body)
    s3.delete_object(Bucket=bucket, Key=key)
    s3.put_object(Bucket=bucket, Key=key, Body=b"third")
    s3.put_object(Bucket=bucket, Key=f"{key}.longer", Body=b"another object")
    listed = s3.list_object_versions(Bucket=bucket, Prefix=key)
    assert (len(listed["Versions"]), len(listed["DeleteMarkers"])) == (4, 1)
    for _ in range(2):
        await store.delete(bucket, [key, "community/raw/never.jpg"])
        left = s3.list_object_versions(Bucket=bucket)
        assert [version["Key"] for version in left["Versions"]] == [f"{key}.longer"]
        assert "DeleteMarkers" not in left


async def test_a_deletion_is_as_final_in_a_bucket_without_versions(store: ObjectStore, s3: Any) -> None:
    s3.create_bucket(Bucket=store.upload_bucket)
    s3.put_object(Bucket=store.upload_bucket, Key="community/raw/x.jpg", Body=b"bytes")
    await store.delete(store.upload_bucket, ["community/raw/x.jpg"])
    assert s3.list_objects_v2(Bucket=store.upload_bucket)["KeyCount"] == 0


async def test_the_command_says_what_differs_what_it_did_and_what_cannot_be(
    storage: StorageSettings, storage_server: StorageServer, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(environment=Environment.DEVELOPMENT, storage=storage)
    assert await set_up_buckets(settings, apply=False) == 1
    assert f"Bucket {storage.upload_bucket}: it does not exist" in capsys.readouterr().err
    assert await set_up_buckets(settings, apply=True) == 0
    assert f"Bucket {storage.media_bucket}: versioning is never enabled; set." in capsys.readouterr().out
    assert await set_up_buckets(settings, apply=True) == 0
    said = capsys.readouterr()
    assert "Nothing to do." in said.out
    assert said.err == ""
    # A server that lacks something is fine to develop on, and a decision of somebody's in production.
    is_lacking = storage_server.name == "seaweed"
    assert ("public access block: not supported by this server." in said.out) is is_lacking
    production = settings.model_copy(update={"environment": Environment.PRODUCTION})
    assert await set_up_buckets(production, apply=False) == int(is_lacking)
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == ("All else is as declared." if is_lacking else "Both buckets are as declared.")
    moved = storage.model_copy(update={"allowed_origins": ("https://elsewhere.example",)})
    assert await set_up_buckets(settings.model_copy(update={"storage": moved}), apply=False) == 1
    assert "as declared" not in capsys.readouterr().out
