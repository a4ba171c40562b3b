"""The bucket policy, which a server on http cannot be asked to keep: it would lock itself out."""

from __future__ import annotations

from service.buckets import declare_buckets
from service.buckets.access import insecure_transport_statement, with_statement
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
