"""What no server of the tests can be asked to keep: TLS on plain HTTP would lock it out, others lack the function."""

from __future__ import annotations

from typing import Any, cast

import pytest

from service.buckets import declare_buckets
from service.buckets.access import insecure_transport_statement, with_statement
from service.buckets.retention import compare_encryption
from service.settings import StorageSettings

CDN = {"Sid": "AllowCloudFront", "Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::media/*"}


def test_requests_without_tls_are_denied_where_the_endpoint_has_tls() -> None:
    def denies(endpoint: str | None) -> set[bool]:
        return {each.deny_insecure_transport for each in declare_buckets(StorageSettings(endpoint=endpoint))}

    assert denies(None) == denies("https://s3.example") == {True}
    assert denies("http://127.0.0.1:8333") == {False}


def test_the_statement_takes_its_own_place_and_leaves_others_theirs() -> None:
    statement = insecure_transport_statement("media")
    older = {**statement, "Action": "s3:GetObject"}
    policy = with_statement({"Version": "2012-10-17", "Id": "theirs", "Statement": [older, CDN]}, statement)
    assert policy == {"Version": "2012-10-17", "Id": "theirs", "Statement": [CDN, statement]}
    # A policy may hold its only statement without a list.
    assert with_statement({"Statement": CDN}, statement)["Statement"] == [CDN, statement]
    assert with_statement({}, statement) == {"Version": "2012-10-17", "Statement": [statement]}


def test_every_rule_of_ours_can_be_told_from_those_of_others() -> None:
    for bucket in declare_buckets(StorageSettings(allowed_origins=("https://app.example",))):
        assert bucket.cors is not None
        assert bucket.cors["ID"] == "media-service"
        assert all(rule["ID"].startswith("media-service-") for rule in bucket.lifecycle)


class Encrypted:
    """The part of an S3 client that knows a bucket's default encryption."""

    def __init__(self, algorithm: str, **more: Any) -> None:
        self.rule: dict[str, Any] = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": algorithm}, **more}

    def get_bucket_encryption(self, **_asked: Any) -> dict[str, Any]:
        return {"ServerSideEncryptionConfiguration": {"Rules": [self.rule]}}

    def put_bucket_encryption(self, **asked: Any) -> None:
        (self.rule,) = asked["ServerSideEncryptionConfiguration"]["Rules"]


@pytest.mark.parametrize(
    ("algorithm", "kms_key_id"), [("aws:kms", ""), ("aws:kms:dsse", ""), ("aws:kms:dsse", "alias/ours"), ("new", "")]
)
def test_stronger_encryption_than_declared_is_left_alone(algorithm: str, kms_key_id: str) -> None:
    bucket, _ = declare_buckets(StorageSettings(kms_key_id=kms_key_id))
    comparison = compare_encryption(cast("Any", Encrypted(algorithm)), bucket)
    assert (comparison.drift, comparison.repair) == ((), None)
    assert comparison.foreign == (f"default encryption {algorithm} with key of AWS",)


def test_a_stronger_encryption_takes_over_what_else_was_decided() -> None:
    bucket, _ = declare_buckets(StorageSettings(kms_key_id="alias/ours"))
    client = Encrypted("AES256", BlockedEncryptionTypes={"EncryptionType": ["SSE-C"]})
    comparison = compare_encryption(cast("Any", client), bucket)
    assert comparison.repair is not None
    comparison.repair()
    assert client.rule["ApplyServerSideEncryptionByDefault"]["KMSMasterKeyID"] == "alias/ours"
    assert client.rule["BlockedEncryptionTypes"] == {"EncryptionType": ["SSE-C"]}
    assert compare_encryption(cast("Any", client), bucket).drift == ()
