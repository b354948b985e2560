# SPDX-License-Identifier: Apache-2.0
"""The results of a run: medians, ratios and shares, as plain data and as tables.

In: samples in seconds. Out: `Report.data`, made for JSON, and `tables(data)`, which reads nothing else, so a file holds
everything that a table shows. Nothing is printed here.
"""

from __future__ import annotations

import platform
import re
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from elman.bench import peers
from elman.bench.shapes import PASSES, Shape, flops
from elman.system import processors

Key = tuple[str, str]  # subject, pass

BUSY = 0.2  # CPUs that others may use before a warning


class Measured(NamedTuple):
    """What was measured on one shape."""

    shape: Shape
    counts: dict[Key, int]  # calls in a timing
    samples: dict[Key, list[float]]  # seconds per call, one of each round
    peaks: dict[int, list[float]]  # by the number of threads: GFLOP/s, one of each round
    left_out: dict[str, str]  # subject -> sentence
    refused: dict[str, str]  # subject -> sentence
    restless: set[str]  # subjects whose process was still spinning when the next was timed
    busy_cpus: float | None  # in use while every worker waited


class Table(NamedTuple):
    """Cells as text."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]


# --- figures ------------------------------------------------------------------------------------------------


def geometric_mean(values: Sequence[float]) -> float:
    """The n-th root of the product of n positive values."""
    return float(np.exp(np.mean(np.log(values))))


def timing(samples: Sequence[float], calls: int) -> dict[str, Any]:
    """Median and spread of the seconds of a call."""
    low, high = np.quantile(samples, (0.1, 0.9))
    return {
        "median_s": statistics.median(samples),
        "p10_s": float(low),
        "p90_s": float(high),
        "best_s": min(samples),
        "calls": calls,
    }


def _fastest(times: Mapping[str, dict[str, Any]], role: str) -> str | None:
    names = [name for name in times if peers.named(name).role == role]
    return min(names, key=lambda name: times[name]["median_s"], default=None)


def row(measured: Measured, which: str, cell: str) -> dict[str, Any]:
    """The figures of one pass on one shape. If a subject is refused there is no ratio: it might have won."""
    times = {
        name: timing(samples, measured.counts[name, p]) for (name, p), samples in measured.samples.items() if p == which
    }
    elman, peer = _fastest(times, "elman"), _fastest(times, "peer")
    compared = elman and peer and not measured.refused
    peak = {threads: statistics.median(values) for threads, values in measured.peaks.items()}
    native, one, two = (
        times.get(name) for name in ("elman on numpy", "elman on numpy, 1 thread", "elman on numpy, 2 threads")
    )
    work = flops(measured.shape, which, cell)
    gflops = work / native["median_s"] / 1e9 if native else None
    return {
        "shape": measured.shape._asdict(),
        "pass": which,
        "times": times,
        "left_out": measured.left_out,
        "refused": measured.refused,
        "restless": sorted(measured.restless),
        "busy_cpus": measured.busy_cpus,
        "fastest_elman": elman,
        "fastest_peer": peer,
        "ratio": times[peer]["median_s"] / times[elman]["median_s"] if compared else None,  # type: ignore[index]
        "flops": work,
        "gflops": gflops,
        "peak_gflops": {str(threads): peak[threads] for threads in sorted(peak)},
        "share": gflops / peak[max(peak)] if gflops and peak else None,
        "two_threads_over_one": one["median_s"] / two["median_s"] if one and two else None,
    }


def summary(rows: Sequence[Mapping[str, Any]], which: str) -> dict[str, Any]:
    """The geometric mean and the minimum of one pass's ratios, and how many shapes have one."""
    mine = [row for row in rows if row["pass"] == which]
    ratios = [row["ratio"] for row in mine if row["ratio"] is not None]
    return {
        "geometric_mean": geometric_mean(ratios) if ratios else None,
        "minimum": min(ratios, default=None),
        "shapes_with_a_ratio": len(ratios),
        "shapes": len(mine),
    }


def machine() -> dict[str, Any]:
    """The machine, as the system names it."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        named = re.search(r"^model name\s*: (.+)$", info.read_text(encoding="utf-8"), re.MULTILINE)
        cpu = named[1] if named else cpu
    return {
        "cpu": cpu,
        "cpus": processors(),
        "platform": platform.platform(),
    }


class Report(NamedTuple):
    """What `bench` returns. `data` holds everything, as JSON can: dicts, lists, strings, numbers and `None`."""

    data: dict[str, Any]

    @classmethod
    def of(
        cls,
        measured: Sequence[Measured],
        one_step: Measured | None,
        facts: Mapping[str, Mapping[str, Any]],
        run: Mapping[str, Any],
    ) -> Report:
        """The figures of what was measured; `one_step` is the NumPy call alone, `facts` are those of each worker."""
        rows = [row(each, which, run["cell"]) for which in PASSES for each in measured]
        native = facts.get("numpy", {})
        peaks: dict[str, float] = {}
        for each in measured:
            for threads, values in each.peaks.items():
                peaks[str(threads)] = max(*values, peaks.get(str(threads), 0.0))
        step = None
        if one_step and (samples := one_step.samples.get(("elman on numpy", "forward"))):
            step = {
                "shape": one_step.shape._asdict(),
                "best_us": min(samples) * 1e6,
                "median_us": statistics.median(samples) * 1e6,
            }
        return cls(
            {
                **run,
                "python": platform.python_version(),
                "versions": {name: v for each in facts.values() for name, v in each["versions"].items()},
                "machine": {**run["machine"], "isa": native.get("isa"), "isas": native.get("isas")},
                "threads": {backend: each["threads"] for backend, each in facts.items()},
                "rows": rows,
                "summary": {which: summary(rows, which) for which in PASSES},
                "best_peak_gflops": peaks,
                "one_step": step,
                "notes": list(peers.NOTES),
            }
        )

    @property
    def refused(self) -> bool:
        """Whether any result differed."""
        return any(row["refused"] for row in self.data["rows"])

    def to_dict(self) -> dict[str, Any]:
        """Everything, as plain data."""
        return self.data


# --- what is shown ------------------------------------------------------------------------------------------


def in_unit(seconds: float) -> str:
    """Three digits and a unit."""
    for unit, scale in (("s", 1), ("ms", 1e3), ("us", 1e6)):
        if seconds * scale >= 1 or unit == "us":
            return f"{seconds * scale:.3g} {unit}"
    raise AssertionError


def _cell(row: Mapping[str, Any], name: str) -> str:
    """A median with half of its 10 % to 90 % range, or why there is none."""
    if name in row["refused"]:
        return "refused"
    if name not in row["times"]:
        return "-"
    return with_spread(row["times"][name])


def with_spread(time: Mapping[str, Any]) -> str:
    """A median with half of its 10 % to 90 % range."""
    return f"{in_unit(time['median_s'])} ±{(time['p90_s'] - time['p10_s']) / 2 / time['median_s']:.0%}"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _shape(row: Mapping[str, Any]) -> str:
    return str(Shape(**row["shape"]))


def _times_table(data: Mapping[str, Any], which: str) -> Table:
    rows = [row for row in data["rows"] if row["pass"] == which]
    known = {name for row in rows for name in (*row["times"], *row["refused"], *row["left_out"])}
    names = [s.name for s in peers.SUBJECTS if s.name in known and "thread" not in s.name]
    return Table(
        f"{data['cell']}, {which.replace('_', ' + ')}: median per call, ± half of the 10 % to 90 % range",
        ("B x T x F x H", *names, "ratio"),
        [(_shape(row), *(_cell(row, name) for name in names), _number(row["ratio"], ".2f")) for row in rows],
    )


def _machine_table(data: Mapping[str, Any]) -> Table:
    forward, both = ([row for row in data["rows"] if row["pass"] == which] for which in PASSES)
    cells = []
    for one, two in zip(forward, both, strict=True):
        peak = list(one["peak_gflops"].values())
        cells.append(
            (
                _shape(one),
                *(_number(row["gflops"], ".1f") for row in (one, two)),
                " / ".join(f"{value:.1f}" for value in peak) or "-",
                *(_number(row["share"], ".1%") for row in (one, two)),
                *(_number(row["two_threads_over_one"], ".2f") for row in (one, two)),
            )
        )
    passes = [which.replace("_", " + ") for which in PASSES]
    threads = " / ".join(forward[0]["peak_gflops"]) if forward else ""
    return Table(
        "the NumPy call and the machine",
        (
            "B x T x F x H",
            *(f"GFLOP/s, {which}" for which in passes),
            f"peak GFLOP/s on {threads or '-'} threads",
            *(f"share, {which}" for which in passes),
            *(f"2 threads over 1, {which}" for which in passes),
        ),
        cells,
    )


def tables(data: Mapping[str, Any]) -> list[Table]:
    """The tables that show a report's data."""
    return [*(_times_table(data, which) for which in PASSES), _machine_table(data)]


def lines(data: Mapping[str, Any]) -> list[str]:
    """The lines below the tables, the figures first."""
    said = [_summary_line(which, found) for which, found in data["summary"].items()]
    if step := data["one_step"]:
        said.append(
            f"elman.{data['cell']} on NumPy at {Shape(**step['shape'])}: best {step['best_us']:.2f} us, median "
            f"{step['median_us']:.2f} us"
        )
    machine, versions = data["machine"], {**data["versions"], "Python": data["python"]}
    peaks = ", ".join(f"{value:.1f} GFLOP/s on {threads}" for threads, value in data["best_peak_gflops"].items())
    said.append(
        f"{machine['cpu']}, {machine['cpus']} CPUs, {machine['isa']}; best peak of the run, by threads: {peaks or '-'}"
    )
    said.append(", ".join(f"{name} {version}" for name, version in versions.items()))
    busy = max((row["busy_cpus"] or 0 for row in data["rows"]), default=0)
    if busy > BUSY:
        said.append(busy_line(busy))
    return [*said, *data["left_out"], *remarks(data["rows"]), *data["notes"]]


def busy_line(busy: float) -> str:
    """What is said where other programs ran meanwhile."""
    return f"Others kept up to {busy:.1f} of the CPUs busy during the run: trust no figure. Run it alone."


def _summary_line(which: str, found: Mapping[str, Any]) -> str:
    mean, minimum = (_number(found[key], ".2f") for key in ("geometric_mean", "minimum"))
    return (
        f"{which.replace('_', ' + ')}: fastest peer over elman, geometric mean {mean}, minimum {minimum} "
        f"({found['shapes_with_a_ratio']} of {found['shapes']} shapes)"
    )


def remarks(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What went wrong with a subject: each sentence once, with its shapes."""
    shapes: dict[str, list[str]] = {}
    for row in rows:
        spinning = [f"{name} was still spinning when the next one was timed." for name in row["restless"]]
        for sentence in (*row["refused"].values(), *row["left_out"].values(), *spinning):
            about = shapes.setdefault(sentence, [])
            if _shape(row) not in about:
                about.append(_shape(row))
    return [f"{', '.join(about)}: {sentence}" for sentence, about in shapes.items()]
