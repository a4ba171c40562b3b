"""What clients are told to do on each network, as they are told it."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from pydantic import ValidationError

from service.access import ANONYMOUS, Viewer
from service.errors import MediaServiceError, TooLarge
from service.models import MediaPurpose, NetworkQuality
from service.part_plan import plan_parts
from service.policies import POLICIES
from service.settings import ScannerSettings
from service.upload_policy import UPLOAD_POLICIES, Encoding, Pace
from service.upload_request import FileRequest, parse_file
from tests.unit.conftest import Library

QUERY = """query ($purpose: MediaPurpose!, $network: NetworkQuality) {
  uploadPolicy(purpose: $purpose, network: $network) {
    contentTypes maxBytes maxDimension jpegQuality multipartThreshold partSize
    maxConcurrentUploads maxConcurrentParts retryDelaysMs
  }
}"""

# From the slowest to the fastest; UNKNOWN is treated as neither.
SPEEDS = ("SLOW_2G", "TWO_G", "THREE_G", "FOUR_G", "FIVE_G", "WIFI")


async def told(library: Library, purpose: str, network: str | None, viewer: Viewer = ANONYMOUS) -> dict[str, Any]:
    data = await library.run(QUERY, viewer, purpose=purpose, network=network)
    policy: dict[str, Any] = data["uploadPolicy"]
    return policy


@pytest.mark.parametrize("purpose", MediaPurpose)
async def test_every_network_is_told_what_the_contract_allows(library: Library, purpose: MediaPurpose) -> None:
    for network in NetworkQuality:
        policy = await told(library, purpose, network)
        assert policy["contentTypes"] == list(POLICIES[purpose].content_types)
        assert policy["maxBytes"] == POLICIES[purpose].max_bytes
        assert policy["multipartThreshold"] == POLICIES[purpose].multipart_threshold
        assert 1080 <= policy["maxDimension"] <= 1440
        assert 70 <= policy["jpegQuality"] <= 80
        assert 4_000_000 <= policy["partSize"] <= 16 * 1024**2
        assert 1 <= policy["maxConcurrentUploads"] <= 3
        assert 1 <= policy["maxConcurrentParts"] <= 3
        assert policy["retryDelaysMs"] == [1000, 2000, 4000, 8000, 16000]


async def test_what_cannot_be_scanned_is_not_asked_for(library: Library) -> None:
    sizes = "query ($purpose: MediaPurpose!) { uploadPolicy(purpose: $purpose) { maxBytes maxClipBytes } }"

    async def told_with(scanner: ScannerSettings, purpose: str) -> tuple[int, int]:
        settings = library.runtime.settings.model_copy(update={"scanner": scanner})
        scanned = replace(library, runtime=replace(library.runtime, settings=settings))
        policy = (await scanned.run(sizes, purpose=purpose))["uploadPolicy"]
        return policy["maxBytes"], policy["maxClipBytes"]

    scanner = ScannerSettings(address="tcp://127.0.0.1:3310")
    assert await told_with(ScannerSettings(), "COMMUNITY") == (100_000_000, 500_000_000)
    assert await told_with(scanner, "COMMUNITY") == (100_000_000, 104_857_600)
    assert await told_with(scanner.model_copy(update={"max_bytes": 5_000_000}), "PROFILE") == (5_000_000, 0)


@pytest.mark.parametrize("content_type", ["image/jpeg", "video/mp4"])
def test_what_cannot_be_scanned_is_refused_before_it_is_sent(content_type: str) -> None:
    def ask(byte_size: int, largest_file: int | None) -> FileRequest | MediaServiceError:
        given = {"content_type": content_type, "byte_size": byte_size, "sha256": "0" * 64}
        return parse_file(given, MediaPurpose.COMMUNITY, 3, largest_file)

    assert isinstance(ask(50_000_000, None), FileRequest)
    assert isinstance(ask(50_000_000, 50_000_000), FileRequest)
    refused = ask(50_000_001, 50_000_000)
    assert isinstance(refused, TooLarge)
    assert refused.field == ("files", "3", "byteSize")
    assert "up to 50 MB, and this one has 50.1 MB" in refused.message


@pytest.mark.parametrize("field", ["maxDimension", "jpegQuality", "partSize", "maxConcurrentUploads"])
async def test_slower_networks_are_asked_for_less(library: Library, field: str) -> None:
    values = [(await told(library, "COMMUNITY", network))[field] for network in SPEEDS]
    assert values == sorted(values)
    assert values[0] < values[-1]


async def test_network_that_is_not_known_is_neither_slow_nor_fast(library: Library) -> None:
    policy = await told(library, "COMMUNITY", "UNKNOWN")
    assert (policy["maxDimension"], policy["jpegQuality"], policy["maxConcurrentUploads"]) == (1080, 75, 2)
    assert await told(library, "COMMUNITY", None) == policy
    # Sessions are cut without knowing the network.
    assert policy["partSize"] == plan_parts(20_000_000).part_size


@pytest.mark.parametrize("purpose", ["MEDICAL", "FOOD_LABEL"])
async def test_small_print_keeps_its_detail_on_any_network(library: Library, purpose: str) -> None:
    for network in NetworkQuality:
        policy = await told(library, purpose, network)
        assert (policy["maxDimension"], policy["jpegQuality"]) == (1440, 80)
    # It is only sent more slowly.
    assert (await told(library, purpose, "SLOW_2G"))["maxConcurrentUploads"] == 1


async def test_policy_is_the_same_for_everybody(library: Library) -> None:
    assert await told(library, "COMMUNITY", "WIFI") == await told(library, "COMMUNITY", "WIFI", Viewer("anna"))


def test_there_is_a_policy_for_every_purpose_and_network() -> None:
    assert set(UPLOAD_POLICIES) == set(product(MediaPurpose, NetworkQuality))


@pytest.mark.parametrize(
    ("model", "values"),
    [
        (Encoding, {"max_dimension": 1079, "jpeg_quality": 75}),
        (Encoding, {"max_dimension": 1441, "jpeg_quality": 75}),
        (Encoding, {"max_dimension": 1080, "jpeg_quality": 81}),
        (Pace, {"part_size": 5_000_000, "max_concurrent_uploads": 1, "max_concurrent_parts": 1}),
        (Pace, {"part_size": 17 * 1024**2, "max_concurrent_uploads": 1, "max_concurrent_parts": 1}),
        (Pace, {"part_size": 8 * 1024**2, "max_concurrent_uploads": 4, "max_concurrent_parts": 1}),
        (
            Pace,
            {
                "part_size": 8 * 1024**2,
                "max_concurrent_uploads": 1,
                "max_concurrent_parts": 1,
                "retry_delays_ms": (2, 1),
            },
        ),
    ],
)
def test_policy_outside_the_bounds_stops_the_process_at_its_start(
    model: type[Encoding | Pace], values: dict[str, Any]
) -> None:
    with pytest.raises(ValidationError):
        model(**values)
