# SPDX-License-Identifier: Apache-2.0
"""The verdict of `elman.fit` on real series, over several seeds: six where a network should win, and six where not.

    pip install "elman[evaluate]"
    python benchmarks/fit_real.py

In: the recording of a walk that ships, and series in the wheels of aeon, heartpy, nolds, sktime and statsmodels. Out:
one JSON object; status 1 if a verdict is wrong for any seed. A network should win where something moves by laws that
are not linear: a leg, a heart. It should not where little is known of the next value, or where a line says it all:
yearly and monthly figures, and the changes of an index of shares. Nothing but the seed is set. Each run is kept when it
is done.
"""

from __future__ import annotations

import argparse
import functools
import io
import json
import sys
import tempfile
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from fit_unmet import wheel
from resumed import Results

import elman
from elman import datasets

SHOULD = {True: "a network should win", False: "a network should not win"}


class Series(NamedTuple):
    """One series.

    Attributes:
        name: For the report.
        table: The rows.
        arguments: Of `elman.fit`.
        wins: Whether a network should win.
    """

    name: str
    table: Any
    arguments: dict[str, Any]
    wins: bool


def series() -> Iterator[Series]:
    """All of them."""
    walk = datasets.arguments("walk")
    for target in ("acc_x", "acc_y", "acc_z"):
        yield Series(f"walk, {target}", walk["table"], {"target": target, "ahead": 8}, True)
    with tempfile.TemporaryDirectory() as folder:
        aeon = wheel("aeon==1.6.0", folder)
        path = "aeon/datasets/data/Daphnet_S06R02E0/S06R02E0.csv"
        daphnet = pl.read_csv(aeon.read(path)).drop("timestamp", "is_anomaly")
        yield Series("a patient's leg", daphnet, {"target": "ankle_vert", "ahead": 8}, True)
        sktime = wheel("sktime==1.2.0", folder)
        heart = pl.read_csv(sktime.read("sktime/datasets/data/mitdb/mitdb.csv")).select("data")
        yield Series("an electrocardiogram", heart, {"ahead": 4}, True)
        pulse = wheel("heartpy==1.2.7", folder).read("heartpy/data/data.csv").decode().split()
        yield Series("a pulse", np.array(pulse, float), {"ahead": 4}, True)
        shares = wheel("nolds==0.6.3", folder).read("nolds/datasets/^NDX.csv")
        close = pl.read_csv(io.BytesIO(shares), null_values="null")["Close"].drop_nulls().to_numpy()
        yield Series("an index of shares", close, {}, False)
        yield Series("its changes", np.diff(np.log(close)), {}, False)
        for name, column in (("Airline", "Passengers"), ("Lynx", "0")):
            table = pl.read_csv(sktime.read(f"sktime/datasets/data/{name}/{name}.csv")).select(column)
            yield Series(name.lower(), table, {}, False)
    from statsmodels.datasets import nile, sunspots

    yield Series("the Nile", nile.load_pandas().data[["volume"]], {}, False)
    yield Series("sunspots", sunspots.load_pandas().data[["SUNACTIVITY"]], {}, False)


def judged(each: Series, seed: int) -> dict[str, Any]:
    """What one run says of a series."""
    with tempfile.TemporaryDirectory() as folder:
        metrics = elman.fit(each.table, out=folder, seed=seed, **each.arguments).metrics
    errors = metrics["errors"]
    best = errors["models"][errors["best_baseline"]]["rmse"]
    return {
        "over_best": errors["models"]["network"]["rmse"] / best,
        "won": errors["winner"] == "network",
        "verdict": errors["verdict"],
        "rows": metrics["table"]["rows"],
    }


def summary(found: list[tuple[Series, list[dict[str, Any]]]]) -> dict[str, Any]:
    """The verdicts of each series by seed, and those that are wrong."""
    failed = [
        f"{each.name}, seed {seed}: {SHOULD[each.wins]}: {run['verdict']}"
        for each, runs in found
        for seed, run in enumerate(runs)
        if run["won"] != each.wins
    ]
    rows = [
        {
            "series": each.name,
            "rows": runs[0]["rows"],
            "expected": SHOULD[each.wins],
            "seeds": [{"over_best": run["over_best"], "verdict": run["verdict"]} for run in runs],
        }
        for each, runs in found
    ]
    return {"failed": failed, "series": rows}


def main() -> int:
    """Fits, compares and prints."""
    options = argparse.ArgumentParser()
    options.add_argument("--seeds", type=int, default=5)
    asked = options.parse_args()
    results = Results("fit_real", __file__)
    found = [
        (each, [results([each.name, seed], functools.partial(judged, each, seed)) for seed in range(asked.seeds)])
        for each in series()
    ]
    said = summary(found)
    print(json.dumps(said))
    return 1 if said["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
