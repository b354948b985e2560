# SPDX-License-Identifier: Apache-2.0
"""Generated tables with a fault: `elman fit` prints one line and ends with status 2, or reads exactly the right table.

A number makes a table, a way to write it, and a fault. A table that is read although it has a fault must have the
values that were written: no fault may change a number, drop a row or lose the time in silence.
"""

import contextlib
import gzip
import importlib
import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import polars as pl
import pytest

from elman.cli.app import app
from size import by_size

COUNT = by_size(10, 60, 300)
fitting = importlib.import_module("elman.forecasting.fit")  # the package has a function of this name


class Written(NamedTuple):
    """A table as text.

    Attributes:
        lines: The cells of each line; the header is the first.
        separator: Between them.
        decimal: The decimal mark.
        form: Of the times.
    """

    lines: list[list[str]]
    separator: str
    decimal: str
    form: str


# Each fault changes the cells, or writes the lines in another way.
def _cell(text: str, column: int | None = None) -> Callable:
    def change(table: Written, rng: np.random.Generator) -> None:
        row = int(rng.integers(2, len(table.lines) - 1))
        table.lines[row][1 + int(rng.integers(2)) if column is None else column] = text

    return change


def _lines(change: Callable[[list[list[str]], int], None]) -> Callable:
    def apply(table: Written, rng: np.random.Generator) -> None:
        change(table.lines, int(rng.integers(2, len(table.lines) - 2)))

    return apply


def _swap(lines: list[list[str]], at: int) -> None:
    lines[at], lines[at + 1] = lines[at + 1], lines[at]


def _set(lines: list[list[str]], at: int, cells: list[str]) -> None:
    lines[at] = cells


WRONG = (
    "oops",
    "1.2.3",
    "1,2,3",
    "--",
    "0x1F",
    "1e999",
    "inf",
    "12 F",
    "$3",
    "#REF!",
    "=1+1",
    "",
    "NA",
    "\u221e",
    "1 2",
    "x" * 9999,
)
CELLS = {f"{text[:9]!r} among numbers": _cell(text) for text in WRONG}
TIMES = {
    f"{text!r} among times": _cell(text, 0)
    for text in ("soon", "", "2024-13-45 00:00", "32/13/2024", "45291", "1", "9999-12-31 23:00", "0001-01-01 00:00")
}
LINES = {
    "a row again": _lines(lambda lines, at: lines.insert(at, list(lines[at]))),
    "a row missing": _lines(lambda lines, at: lines.pop(at) and None),
    "rows swapped": _lines(_swap),
    "newest first": _lines(lambda lines, _: lines.__setitem__(slice(1, None), lines[:0:-1])),
    "a blank line": _lines(lambda lines, at: lines.insert(at, [])),
    "a line of empty cells": _lines(lambda lines, at: lines.insert(at, [""] * len(lines[0]))),
    "a cell too many": _lines(lambda lines, at: lines[at].append("7")),
    "a cell too few": _lines(lambda lines, at: lines[at].pop() and None),
    "one cell alone": _lines(lambda lines, at: _set(lines, at, lines[at][:1])),
    "the header again": _lines(lambda lines, at: lines.insert(at, list(lines[0]))),
    "no header": _lines(lambda lines, _: lines.pop(0) and None),
    "a name twice": _lines(lambda lines, _: lines[0].__setitem__(2, lines[0][1])),
    "names without text": _lines(lambda lines, _: lines.__setitem__(0, [""] * len(lines[0]))),
    "a title above": _lines(lambda lines, _: lines.insert(0, ["Weather of the station"])),
    "a total below": _lines(lambda lines, _: lines.append(["Total", "1", "2", ""])),
    "a comment below": _lines(lambda lines, _: lines.append(["# end of file"])),
    "an open quote": _lines(lambda lines, at: lines[at].__setitem__(1, '"' + lines[at][1])),
    "a cell of several lines": _lines(lambda lines, at: lines[at].__setitem__(1, '"1\n2"')),
    "marks of missing values": _lines(
        lambda lines, at: [line.__setitem__(1, "-9999") for line in lines[at::9]] and None
    ),
    "a column of nothing": _lines(lambda lines, _: [line.append("") for line in lines] and None),
    "a constant column": _lines(
        lambda lines, _: [line.append("c" if line is lines[0] else "7") for line in lines] and None
    ),
    "units in every cell": _lines(
        lambda lines, _: [line.__setitem__(1, f"{line[1]} F") for line in lines[1:]] and None
    ),
    "the header alone": _lines(lambda lines, _: lines.__delitem__(slice(1, None))),
    "three rows": _lines(lambda lines, _: lines.__delitem__(slice(4, None))),
    "blanks around every cell": _lines(
        lambda lines, _: [_set(line, slice(None), [f" {c} " for c in line]) for line in lines[1:]] and None
    ),
    "nothing": lambda _, __: None,
}


def _thousands(table: Written, rng: np.random.Generator) -> None:
    mark = "," if table.decimal == "." else "."
    for line in table.lines[1:]:
        whole, _, rest = line[1].partition(table.decimal)
        line[1] = f"{1000 + abs(int(whole)):,}".replace(",", mark) + table.decimal + rest
        line[1] = f'"{line[1]}"' if table.separator == "," else line[1]


def _another_form(table: Written, rng: np.random.Generator) -> None:
    row = int(rng.integers(2, len(table.lines) - 1))
    table.lines[row][0] = "31 Mar 2001 4 PM" if table.form != "%d %b %Y %I %p" else "2001-03-31 16:00"


def _another_mark(table: Written, rng: np.random.Generator) -> None:
    row = int(rng.integers(2, len(table.lines) - 1))
    table.lines[row][1] = "1,234" if table.decimal == "." else "1.234"
    if table.separator == ",":
        table.lines[row][1] = f'"{table.lines[row][1]}"'


CHANGES = {"thousands": _thousands, "a time of another form": _another_form, "another decimal mark": _another_mark}
BYTES = {
    "cut in an archive": lambda content: gzip.compress(content)[:-20],
    "a zero byte": lambda content: content[:200] + b"\0" + content[200:],
    "a byte that is not UTF-8": lambda content: content[:200] + b"\xff" + content[200:],
    "Latin-1": lambda content: content.replace(b"temp", "\u00fc".encode("latin-1"), 1),
    "CR alone": lambda content: content.replace(b"\r", b"").replace(b"\n", b"\r"),
    "nothing at all": lambda _: b"",
    "blanks alone": lambda _: b"  \n \n",
    "a wrong archive": lambda content: b"PK\3\4" + content,
    "a damaged workbook": lambda content: _zipped("xl/workbook.xml", content),
    "two tables in one": lambda content: _zipped("a.csv", content, "b.csv"),
    "JSON that is cut": lambda content: b'[{"temp": 1}, {"temp": 2}, {"te',
}


def _zipped(name: str, content: bytes, other: str | None = None) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for each in filter(None, (name, other)):
            archive.writestr(each, content)
    return file.getvalue()


FAULTS = CELLS | TIMES | LINES | CHANGES
FORMS = ("%Y-%m-%d %H:%M", "%d.%m.%Y %H:%M", "%m/%d/%Y %I:%M %p", "%d %b %Y %I %p", "%Y%m%d%H", "%d-%b-%y %H:%M")
PACKED = {
    "as it is": lambda content: content,
    "gzip": gzip.compress,
    "ZIP": lambda content: _zipped("data.csv", content),
    "with a mark": lambda content: b"\xef\xbb\xbf" + content,
    "UTF-16": lambda content: content.decode().encode("utf-16"),
}


def made(seed: int) -> tuple[str, bytes, pl.DataFrame]:
    """The fault's name, a file, and the table without the fault."""
    rng = np.random.default_rng(seed)
    rows = int(rng.integers(60, 120))
    times = pd.date_range("2024-01-25", periods=rows, freq="h")
    temp, wind = (np.round(20 * rng.normal(size=rows) + shift, 2) for shift in (0, 50))
    truth = pl.DataFrame({"time": times.to_numpy(), "temp": temp, "wind": wind})
    sky = rng.choice(["sun", "rain"], rows)
    separator = str(rng.choice([",", ";", "\t", "|"]))
    decimal = "." if separator == "," else str(rng.choice([".", ","]))
    form = str(rng.choice(FORMS))
    cells = [[f"{value:.2f}".replace(".", decimal) for value in column] for column in (temp, wind)]
    lines = [["time", "temp", "wind", "sky"], *map(list, zip(times.strftime(form), *cells, sky, strict=True))]
    names = [*FAULTS, *BYTES]
    fault = names[seed % len(names)]
    table = Written(lines, separator, decimal, form)
    if fault in FAULTS:
        FAULTS[fault](table, rng)
    end = str(rng.choice(["\n", "\r\n"]))
    content = "".join(separator.join(line) + end for line in lines).encode()
    if fault in BYTES:
        return fault, BYTES[fault](content), truth
    packed = str(rng.choice(list(PACKED)))
    return fault, PACKED[packed](content), truth


class Prepared(BaseException):
    """Raised where training would begin."""


@pytest.mark.parametrize("seed", range(COUNT))
def test_a_table_with_a_fault_is_one_line_or_the_right_table(seed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fault, content, truth = made(seed * 7 + 3)
    Path("data.csv").write_bytes(content)
    found = []

    def run(prepared, *_):
        found.append(prepared.table)
        raise Prepared

    monkeypatch.setattr(fitting, "_run", run)
    monkeypatch.setattr("elman.cli.fit.keras_model", lambda: contextlib.nullcontext(lambda _: None))
    errors, status = io.StringIO(), 0
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(errors):
        try:
            app(["fit", "data.csv", "--target", "temp", "--out", "run"], prog_name="elman")
        except SystemExit as ended:
            status = ended.code
        except Prepared:
            pass
    said = errors.getvalue()
    if not found:
        assert status == 2, fault
        assert re.fullmatch(r"elman: [^\n]{20,500}\n", said), (fault, said[:1000])
        assert [path.name for path in tmp_path.iterdir()] == ["data.csv"]
        return
    table = found[0]
    assert len(table.rows) == len(truth), fault
    np.testing.assert_array_equal(table.times, truth["time"].dt.epoch("us"), err_msg=fault)
    for name in ("temp", "wind"):
        values = table.rows[:, table.chosen.features.index(name)]
        np.testing.assert_array_equal(values, truth[name].to_numpy().astype("float32"), err_msg=fault)


def test_a_large_run_has_every_fault():
    names = [*FAULTS, *BYTES]
    assert {names[(seed * 7 + 3) % len(names)] for seed in range(300)} == set(names)
