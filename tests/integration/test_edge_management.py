"""The dev edge's management API as botocore's client speaks to it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
import uvicorn
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.edge_stand import Stand

BATCH = {"Paths": {"Quantity": 2, "Items": ["/a&b", "#tag"]}, "CallerReference": "one"}


@pytest.fixture
def stand() -> Stand:
    return Stand(invalidation_delay_s=30)


@pytest.fixture
def cloudfront(stand: Stand) -> Iterator[Any]:
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(stand.app, log_config=None, access_log=False, lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    client = boto3.client(
        "cloudfront",
        endpoint_url=f"http://127.0.0.1:{listening.getsockname()[1]}",
        region_name="us-east-1",
        aws_access_key_id="x",
        aws_secret_access_key="x",
        config=Config(retries={"total_max_attempts": 1}),
    )
    yield client
    client.close()
    server.should_exit = True
    thread.join()
    listening.close()


def test_an_invalidation_is_created_once_watched_and_listed(stand: Stand, cloudfront: Any) -> None:
    created = cloudfront.create_invalidation(DistributionId="DEV", InvalidationBatch=BATCH)
    invalidation = created["Invalidation"]
    assert (invalidation["Status"], invalidation["InvalidationBatch"]) == ("InProgress", BATCH)
    assert invalidation["CreateTime"].timestamp() == stand.clock.now
    assert created["Location"].endswith(f"/2020-05-31/distribution/DEV/invalidation/{invalidation['Id']}")
    again = cloudfront.create_invalidation(DistributionId="DEV", InvalidationBatch=BATCH)
    assert again["Invalidation"] == invalidation

    stand.clock.now += 30
    watched = cloudfront.get_invalidation(DistributionId="DEV", Id=invalidation["Id"])
    assert watched["Invalidation"] == {**invalidation, "Status": "Completed"}
    listed = cloudfront.get_paginator("list_invalidations").paginate(DistributionId="DEV").build_full_result()
    assert [(each["Id"], each["Status"]) for each in listed["InvalidationList"]["Items"]] == [
        (invalidation["Id"], "Completed")
    ]


@pytest.mark.parametrize(
    ("batch", "code"),
    [
        ({**BATCH, "CallerReference": "used"}, "InvalidationBatchAlreadyExists"),
        ({"Paths": {"Quantity": 1, "Items": ["a"]}, "CallerReference": "r"}, "InvalidArgument"),
        ({"Paths": {"Quantity": 2, "Items": ["/a"]}, "CallerReference": "r"}, "InconsistentQuantities"),
        ({"Paths": {"Quantity": 16, "Items": ["/*"] * 16}, "CallerReference": "r"}, "TooManyInvalidationsInProgress"),
    ],
)
def test_refusals_arrive_as_the_clients_own_errors(cloudfront: Any, batch: dict[str, Any], code: str) -> None:
    used = {"Paths": {"Quantity": 1, "Items": ["/used"]}, "CallerReference": "used"}
    cloudfront.create_invalidation(DistributionId="DEV", InvalidationBatch=used)
    with pytest.raises(ClientError) as refusal:
        cloudfront.create_invalidation(DistributionId="DEV", InvalidationBatch=batch)
    assert refusal.value.response["Error"]["Code"] == code
    assert cloudfront.list_invalidations(DistributionId="DEV")["InvalidationList"]["Quantity"] == 1


def test_an_invalidation_nobody_created_is_not_found(cloudfront: Any) -> None:
    with pytest.raises(cloudfront.exceptions.NoSuchInvalidation):
        cloudfront.get_invalidation(DistributionId="DEV", Id="I0")


def test_it_says_that_it_reads_cache_tags(cloudfront: Any) -> None:
    config = cloudfront.get_distribution_config(Id="DEV")["DistributionConfig"]
    assert config["CacheTagConfig"] == {"HeaderName": "x-amz-meta-cache-tag"}
