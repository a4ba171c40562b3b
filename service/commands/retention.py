"""`retention`: how many media would go for their age, and when."""

from __future__ import annotations

from datetime import timedelta

from service.commands.holds import stopped
from service.commands.printing import json_line, print_table, result_console
from service.errors import MediaServiceError
from service.models import MediaPurpose
from service.retention import PREVIEW_LIMIT, Forecast, forecast
from service.retention_periods import retention_periods
from service.runtime import open_runtime
from service.settings import Settings
from service.stores.database import OUTAGE_ERRORS
from service.telemetry import Metrics

_AWAY: tuple[type[Exception], ...] = (MediaServiceError, *OUTAGE_ERRORS)
_COLUMNS = ("Purpose", "Kept at least", "Deleted after", "Due now", "In 7 days", "In 30 days", "First goes")


async def show_retention(settings: Settings, *, as_json: bool) -> int:
    """Print a line for each purpose; changes nothing. The exit code."""
    periods = retention_periods(settings.retention)
    async with open_runtime(settings, Metrics()) as runtime:
        try:
            forecasts = await forecast(periods, days=(7, 30), stores=runtime.stores)
        except _AWAY as error:
            return stopped(error)
    if as_json:
        for each in forecasts:
            within = {f"in_{days}_days": count for days, count in each.within.items()}
            shown = {"purpose": each.purpose, "delete_after_s": each.period.total_seconds(), "due": each.due, **within}
            result_console().print(json_line({**shown, "first_at": each.first_at}), markup=False)
        return 0
    found = {each.purpose: each for each in forecasts}
    rows = [_row(purpose, periods.keep_for.get(purpose), found.get(purpose)) for purpose in MediaPurpose]
    print_table(result_console(), _COLUMNS, rows)
    return 0


def _row(purpose: MediaPurpose, kept: timedelta | None, forecast_: Forecast | None) -> list[str]:
    if forecast_ is None:
        return [purpose.value, _days(kept), "never", "", "", "", ""]
    first = "" if forecast_.first_at is None else f"{forecast_.first_at:%Y-%m-%d %H:%M} UTC"
    counts = map(_count, (forecast_.due, *forecast_.within.values()))
    return [purpose.value, _days(kept), _days(forecast_.period), *counts, first]


def _days(period: timedelta | None) -> str:
    return "" if period is None else f"{period / timedelta(days=1):g} day{'' if period == timedelta(days=1) else 's'}"


def _count(number: int) -> str:
    return f"{number} or more" if number == PREVIEW_LIMIT else str(number)
