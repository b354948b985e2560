# SPDX-License-Identifier: Apache-2.0
"""The recordings that ship with elman: a Parquet file each, and a row of facts.

In: a name. Out: the arguments with which `elman.fit` takes it, and where it comes from. Only NumPy and Polars read
them.
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
        licence: Its SPDX name.
        citation: How its authors want to be named.
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


DATASETS = {
    "waves": Dataset(
        title="A sine with noise, made for elman's own tests",
        target="level",
        time="time",
        ahead=4,
        window=None,
        unit="m",
        source="made with NumPy, seed 0",
        licence="Apache-2.0",
        citation="none",
    ),
}


def names() -> list[str]:
    """The names of all."""
    return list(DATASETS)


def arguments(name: str) -> dict[str, Any]:
    """What `elman.fit` is to be called with.

    Args:
        name: One of `names()`.

    Raises:
        ValueError: If there is none of that name.

    Example:

        from elman import datasets

        elman.fit(**datasets.arguments("waves"))
    """
    if name not in DATASETS:
        raise ValueError(
            f"no data set is named {name!r}; there are {', '.join(DATASETS)}.{did_you_mean(name, DATASETS)}"
        )
    facts = DATASETS[name]
    kept = ("target", "time", "ahead", "window", "unit")
    return {"table": Path(__file__).with_name(f"{name}.parquet"), **{key: getattr(facts, key) for key in kept}}
