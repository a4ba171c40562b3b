"""The distribution that is told to forget: is there one, may it be asked, does it read tags, and do all know of it?"""

from __future__ import annotations

from datetime import timedelta

from service.distribution import CACHE_TAG_HEADER
from service.doctor.findings import Finding, ok, problem, warning
from service.errors import TemporarilyUnavailable
from service.invalidation.cloudfront import CloudFront, InvalidationRefused, open_cloudfront
from service.settings import CdnSettings, MongoSettings, Settings, StorageSettings
from service.stores.database import open_database
from service.stores.distributions import DistributionStore
from service.stores.inspection import DatabaseUnusable, explained

_RECENTLY = timedelta(days=7)
_NOBODYS = "DOCTOR"
_SAME = "Give API and workers the same MEDIA_CDN__DISTRIBUTION_ID."
_RIGHTS = "Allow it cloudfront:CreateInvalidation, GetInvalidation and GetDistributionConfig for the distribution."
_TAGS = f"Set its CacheTagConfig to {CACHE_TAG_HEADER}, or MEDIA_CDN__CACHE_TAGS=false."
_NO_ANSWER = "Correct MEDIA_CDN__ENDPOINT, or the way to AWS; invalidations wait until then."


async def check_agreement(cdn: CdnSettings, mongo: MongoSettings) -> list[Finding]:
    """Whether workers have lately told another distribution than that of `cdn`; nothing where they told none other."""
    try:
        with explained():
            async with open_database(mongo) as database:
                told = await DistributionStore(database).list_told(_RECENTLY)
    except DatabaseUnusable:
        # Which has a check of its own.
        return []
    others = sorted(set(told) - {cdn.distribution_id})
    if not others:
        return []
    ours = cdn.distribution_id or "none"
    text = f"Workers have told {', '.join(others)} within {_RECENTLY.days} days; here, the distribution is {ours}."
    return [warning("cdn", text, _SAME)]


async def check_distribution(cdn: CdnSettings, storage: StorageSettings) -> list[Finding]:
    """The distribution of `cdn`, with a worker's rights; nothing where there is none.

    Whether invalidations may be created is not tried: one would be charged.
    """
    cloudfront = open_cloudfront(cdn, storage)
    if cloudfront is None:
        return []
    try:
        findings = [await _tags(cloudfront, cdn)]
        await cloudfront.look(_NOBODYS)
    except InvalidationRefused as error:
        if error.reason == "NoSuchDistribution":
            return [problem("cdn", f"There is no distribution {cdn.distribution_id}.", _SAME)]
        return [problem("cdn", f"{cdn.distribution_id} tells nothing of its invalidations: {error.reason}.", _RIGHTS)]
    except TemporarilyUnavailable as error:
        return [problem("cdn", f"{cdn.distribution_id} does not answer: {error.__cause__}", _NO_ANSWER)]
    return findings


def check_key_of_worker(settings: Settings) -> list[Finding]:
    """Whether a worker can ask the edge for what was deleted; nothing where there is no distribution."""
    if not settings.cdn.distribution_id:
        return []
    if settings.delivery.public_key is None:
        remedy = "Give workers MEDIA_DELIVERY__* as well: the API's key pairs, or others of the same key groups."
        return [problem("cdn", "Workers cannot ask the edge for what was deleted: no deletion is verified.", remedy)]
    return [ok("cdn", "Workers have a key to ask the edge with for what was deleted.")]


async def _tags(cloudfront: CloudFront, cdn: CdnSettings) -> Finding:
    if not cdn.cache_tags:
        return ok("cdn", f"{cdn.distribution_id} is told by paths.")
    try:
        header = await cloudfront.tag_header()
    except InvalidationRefused as error:
        if error.reason == "NoSuchDistribution":
            raise
        text = f"{cdn.distribution_id} does not say whether it reads cache tags, and is told by paths: {error.reason}."
        return warning("cdn", text, _RIGHTS)
    if header != CACHE_TAG_HEADER:
        return warning("cdn", f"{cdn.distribution_id} does not read the tags of renditions; paths cost more.", _TAGS)
    return ok("cdn", f"{cdn.distribution_id} answers, and reads cache tags.")
