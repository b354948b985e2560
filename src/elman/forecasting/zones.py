# SPDX-License-Identifier: Apache-2.0
"""The zone that times are shown in: that of their type, or the one to which the offsets of text belong.

In: a column of times. Out: a name of the time zone database, and a sentence that says it once.
"""

from __future__ import annotations

import polars as pl

from elman.forecasting.times import FORMS, offsets, times

# Tried in this order for offsets that change with the seasons, or are not whole hours.
_ZONES = (
    *("Europe/London", "Europe/Berlin", "Europe/Helsinki", "America/New_York", "America/Chicago", "America/Denver"),
    *("America/Los_Angeles", "America/Anchorage", "America/Halifax", "America/St_Johns", "America/Santiago"),
    *("Asia/Kolkata", "Asia/Kathmandu", "Asia/Yangon", "Asia/Kabul", "Asia/Tehran", "Asia/Jerusalem"),
    *("Australia/Darwin", "Australia/Adelaide", "Australia/Sydney", "Pacific/Auckland"),
)


def fixed_zone(hours: int) -> str:
    """The zone that is always so many hours ahead of UTC. Its name counts the other way, as POSIX does."""
    return f"Etc/GMT{-hours:+d}" if hours and -12 <= hours <= 14 else "UTC"


def time_zone(series: pl.Series, form: str | None) -> str | None:
    """The zone of a column of times, as Polars names it; `None` if its cells have none.

    Text with offsets is in the first zone that has all of them at these times, else in UTC.
    """
    if form is None:
        return getattr(series.dtype, "time_zone", None)
    if form not in FORMS:
        return None
    minutes = offsets(series, form)
    present = minutes.is_not_null()
    if not present.any():
        return None
    found = minutes.filter(present)
    hours, rest = divmod(int(found[0]), 60)
    if found.n_unique() == 1 and not rest:
        return fixed_zone(hours)
    moments = pl.Series(times(series.filter(present), form).values).cast(pl.Int64).cast(pl.Datetime("us", "UTC"))
    return next((zone for zone in _ZONES if _minutes(moments, zone).equals(found)), "UTC")


def _minutes(moments: pl.Series, zone: str) -> pl.Series:
    """The offsets of a zone at some moments."""
    local = moments.dt.convert_time_zone(zone).dt
    return (local.base_utc_offset() + local.dst_offset()).dt.total_minutes().alias("z")


def sentence(zone: str | None) -> str | None:
    """What a report says of a zone; `None` without one."""
    if zone is None:
        return None
    if zone.startswith("Etc/GMT"):
        hours = -int(zone.removeprefix("Etc/GMT"))
        return f"Times have the offset {'-' if hours < 0 else '+'}{abs(hours):02d}:00."
    return "Times are in UTC." if zone == "UTC" else f"Times are in the zone {zone}."
