# SPDX-License-Identifier: Apache-2.0
"""The recordings that ship with elman: a Parquet file each, and a row of facts.

In: a name. Out: the arguments with which `elman.fit` takes it, and where it comes from. Nothing is read here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from elman.checks import did_you_mean


class Dataset(NamedTuple):
    """One recording.

    Attributes:
        title: What was measured.
        target: The column to forecast.
        time: The column of times, or `None`.
        ahead: Rows to forecast.
        window: Rows to see; `None` lets `fit` choose.
        unit: The target's.
        source: Where it was published.
        licence: Its SPDX name, or what it is.
        citation: How its authors want to be cited.
        changes: What was done to it.
    """

    title: str
    target: str
    time: str | None
    ahead: int
    window: int | None
    unit: str
    source: str
    licence: str
    citation: str
    changes: str


DATASETS = {
    "walk": Dataset(
        title="acceleration along a walker's thigh, from a phone in the front trouser pocket, 50.7 times a second",
        target="acc_y",
        time="time",
        ahead=16,
        window=32,
        unit="m/s^2",
        source="https://github.com/Oxford-step-counter/DataSet (commit 922cc0d8), Pixel_Jamie_Hard_FrontPocket_2",
        licence="CC-BY-4.0",
        citation="Salvi, Velardo, Brynes and Tarassenko, An optimised algorithm for accurate steps counting from "
        "smart-phone accelerometry, EMBC 2018, doi:10.1109/EMBC.2018.8513319",
        changes="averaged from 406 to 50.7 rows a second, cut to the walk (seconds 5 to 140), rounded to 0.001",
    ),
    "temperatures": Dataset(
        title="daily maximum of the air temperature in Seattle, 2012 to 2015",
        target="temp_max",
        time="time",
        ahead=7,
        window=28,
        unit="deg C",
        source="NOAA National Climatic Data Center, by way of vega-datasets (seattle-weather.csv)",
        licence="public domain, a work of the United States government",
        citation="NOAA National Climatic Data Center, https://www.ncdc.noaa.gov/cdo-web/datatools/records",
        changes="the column of kinds of weather left out, the date's column renamed",
    ),
}


def names() -> list[str]:
    """The names of all recordings."""
    return list(DATASETS)


def arguments(name: str) -> dict[str, Any]:
    """The arguments to call `elman.fit` with.

    Args:
        name: One of `names()`.

    Returns:
        `table` (a path), `target`, `time`, `ahead`, `window` and `unit`.

    Raises:
        ValueError: If no recording has that name.

    Example:

        from elman import datasets

        elman.fit(**datasets.arguments("temperatures"))
    """
    if name not in DATASETS:
        raise ValueError(
            f"no recording is named {name!r}; there are {', '.join(DATASETS)}.{did_you_mean(name, DATASETS)}"
        )
    facts = DATASETS[name]
    kept = ("target", "time", "ahead", "window", "unit")
    return {"table": Path(__file__).with_name(f"{name}.parquet"), **{key: getattr(facts, key) for key in kept}}


def described(name: str) -> list[str]:
    """What a recording is and who published it, in lines to print.

    Args:
        name: One of `names()`.
    """
    facts = DATASETS[name]
    return [f"{name}: {facts.title}.", f"Source: {facts.source}; {facts.licence}; {facts.changes}."]
