# SPDX-License-Identifier: Apache-2.0
"""Times as people write them: which form a column has, and its moments in microseconds since 1970.

In: a Polars series of text or integers. Out: a form, which is named by how it writes 31 January 2024, and the moments,
in UTC where the cells have an offset. A form is one row of FORMS. Where several forms fit, the order of the rows
decides; where that does not decide either, the column is refused.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from elman.errors import DataError
from elman.forecasting.cells import LOOK, MOST, Numbers, cleaned, is_text, numbers, shown

_DAY = 86_400_000_000  # microseconds
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = rf"(?P<b>{'|'.join(_MONTHS)})[a-z]*\.?"
_WEEKDAY = r"^(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,? +"
_Y, _YY, _M, _D = r"(?P<y>\d{4})", r"(?P<y>\d{2})", r"(?P<m>\d{1,2})", r"(?P<d>\d{1,2})"
_ANY = r"[- ./,']*"
_ZONE = r"(?P<z>z|utc|gmt|[-+]\d{2}(?::?\d{2})?)"
_CLOCK = r"(?P<H>\d{1,2})(?::(?P<M>\d{2})(?::(?P<S>\d{2})(?:[.,](?P<f>\d{1,9}))?)?)?(?: ?(?P<p>[ap])\.?m\.?)?"
_TIME = rf"(?:(?:[ t]|, ?| at ){_CLOCK}(?: ?{_ZONE})?)?"
_PIVOT = 69  # years of two digits from here on are of the 20th century, as in POSIX
_NEARLY = 0.9
_CLEARER = 5  # how many times as many reversals of time the other readings of a column need
TIME_OF_DAY = r"(?i)^(?:1899-12-3[01] )?\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?: ?[ap]\.?m\.?)?$"


class _Form(NamedTuple):
    """A way to write dates.

    Attributes:
        pattern: Its regular expression in lower case. The groups are y, m, b (the month's name), d, q (quarter), w
            (week), wd (day of the week), H, M, S, f, p (am or pm) and z (offset).
        timed: Whether a time of day may follow.
        unsure: Whether the same text can be a date of another form.
    """

    pattern: str
    timed: bool = True
    unsure: bool = False


def _dates(first: str, second: str, third: str, marks: str) -> str:
    """Three parts with the same mark between them; one alternative for each mark, as groups need distinct names."""
    return rf"{first}[{marks}]{second}[{marks}]{third}"


# Four digits of a year are certain. Of 01/02/2024 and 13.01.24 the column has to show what is what.
FORMS = {
    "2024-01-31": _Form(_dates(_Y, _M, _D, "-")),
    "2024/01/31": _Form(_dates(_Y, _M, _D, "/")),
    "2024.01.31": _Form(_dates(_Y, _M, _D, ".")),
    "31.01.2024": _Form(_dates(_D, _M, _Y, ".")),
    "31/01/2024": _Form(_dates(_D, _M, _Y, "/-"), unsure=True),
    "01/31/2024": _Form(_dates(_M, _D, _Y, "/-"), unsure=True),
    "31.01.24": _Form(_dates(_D, _M, _YY, ".")),
    "31/01/24": _Form(_dates(_D, _M, _YY, "/-"), unsure=True),
    "01/31/24": _Form(_dates(_M, _D, _YY, "/-"), unsure=True),
    "24/01/31": _Form(_dates(_YY, _M, _D, "/-"), unsure=True),
    "31 Jan 2024": _Form(rf"{_D}{_ANY}{_MONTH}{_ANY}(?P<y>\d{{4}}|\d{{2}})"),
    "Jan 31 2024": _Form(rf"{_MONTH}{_ANY}{_D}[- ./,']+{_Y}"),
    "2024 Jan 31": _Form(rf"{_Y}{_ANY}{_MONTH}{_ANY}{_D}"),
    "Jan 31 12:30:00 2024": _Form(rf"{_MONTH} {_D} {_CLOCK} (?:{_ZONE} )?{_Y}", timed=False),
    "2024-01": _Form(rf"{_Y}[-/](?P<m>\d{{2}})", timed=False),
    "01/2024": _Form(rf"{_M}[-/.]{_Y}", timed=False),
    "2024M01": _Form(rf"{_Y}[ -]?m{_M}", timed=False),
    "2024 Jan": _Form(rf"{_Y}{_ANY}{_MONTH}", timed=False),
    "Jan 2024": _Form(rf"{_MONTH}{_ANY}{_Y}", timed=False),
    "Jan-24": _Form(rf"{_MONTH}[- /']+{_YY}", timed=False, unsure=True),
    "2024 Q1": _Form(rf"{_Y}[- :./]?q0?(?P<q>[1-4])", timed=False),
    "Q1 2024": _Form(r"q(?P<q>[1-4])[- :./']*(?P<y>\d{4}|\d{2})", timed=False),
    "2024-W05": _Form(rf"{_Y}[- ]?w(?P<w>\d{{1,2}})(?:-?(?P<wd>[1-7]))?", timed=False),
    "2024-01-29/2024-02-04": _Form(rf"{_dates(_Y, _M, _D, '-')}/\d{{4}}-\d{{2}}-\d{{2}}", timed=False),
    "20240131T1230": _Form(
        r"(?P<y>(?:19|20)\d{2})(?P<m>\d{2})(?P<d>\d{2})[ t](?P<H>\d{2}):?(?P<M>\d{2})?:?(?P<S>\d{2})?"
        rf"{_ZONE}?",
        timed=False,
    ),
}
_YEAR_OR_DAY = "Jan-24"
# Integers are times only if nearly every cell fits.
_COMPACT_DAY = r"(?P<y>(?:19|20)\d{2})(?P<m>0[1-9]|1[0-2])(?P<d>[0-3]\d)"
COMPACT = {
    "20240131": _Form(_COMPACT_DAY, timed=False),
    "2024013112": _Form(rf"{_COMPACT_DAY}(?P<H>[0-2]\d)", timed=False),
    "202401311230": _Form(rf"{_COMPACT_DAY}(?P<H>[0-2]\d)(?P<M>[0-5]\d)", timed=False),
    "20240131123000": _Form(rf"{_COMPACT_DAY}(?P<H>[0-2]\d)(?P<M>[0-5]\d)(?P<S>[0-5]\d)", timed=False),
    "202401": _Form(r"(?P<y>(?:19|20)\d{2})(?P<m>0[1-9]|1[0-2])", timed=False),
}
EXCEL = "days since 1899-12-30"  # how Excel counts
_EXCEL_DAYS = (20_000, 73_050)  # 1954 to 2100
_EXCEL_NAME = r"(?i)^(date|datetime|datum)$"
_FROM_1970 = 25_569  # Excel's number of 1970-01-01


def pattern_of(form: str) -> str:
    """The whole regular expression of a form."""
    row = (FORMS | COMPACT)[form]
    return f"^{row.pattern}{_TIME if row.timed else ''}$"


def _fitting(cells: list[str], form: str) -> int:
    """How many cells a form's expression fits. Python keeps all of them compiled, and Polars only the latest 32."""
    return sum(map(bool, map(re.compile(pattern_of(form)).fullmatch, cells)))


def _simplified(series: pl.Series) -> pl.Series:
    """Cells in lower case with single blanks and without the day of the week; whole floats as integers."""
    text = cleaned(series).str.to_lowercase().str.replace_all(r"\s+", " ").str.replace(_WEEKDAY, "")
    return text.str.replace(r"^(\d{5,14})\.0$", "$1")


def time_format(series: pl.Series) -> str | None:
    """The form of a column of text or of numbers (20240131) that holds times, by its first cells.

    Returns:
        A key of FORMS or COMPACT, or EXCEL; `None` if most cells are not times.

    Raises:
        DataError: If day, month and year cannot be told apart.
    """
    text = _simplified(series).drop_nulls().head(LOOK)
    if not len(text):
        return None
    if (compact := _compact(series, text)) is not None:
        return compact
    if not is_text(series):
        return None
    cells = text.to_list()
    candidates = [form for form in FORMS if _fitting(cells, form) >= max(1, MOST * len(cells))]
    parsed = {form: _moments(text, form) for form in candidates}
    if _YEAR_OR_DAY in parsed and not _in_a_year(parsed[_YEAR_OR_DAY].drop_nulls().to_numpy()):
        del parsed[_YEAR_OR_DAY]
    most = max((len(text) - values.null_count() for values in parsed.values()), default=0)
    if most == 0 or most < MOST * len(text):
        return None
    best = [form for form, values in parsed.items() if len(text) - values.null_count() == most]
    return best[0] if len(best) == 1 or not FORMS[best[0]].unsure else _surest(series, {f: parsed[f] for f in best})


def _surest(series: pl.Series, parsed: dict[str, pl.Series]) -> str:
    """The form with which time runs one way, where the others make it jump; else the one with even steps."""
    values = {form: moments.drop_nulls().to_numpy() for form, moments in parsed.items()}
    order = sorted(values, key=lambda form: (_turns(values[form]), not _are_even(values[form]), _step(values[form])))
    first, second = order[:2]
    same = np.array_equal(values[first], values[second])
    jumps = _turns(values[second]) >= max(1, _CLEARER * _turns(values[first]))
    even = _are_even(values[first]) and not _are_even(values[second])
    days = _step(values[first]) <= 31 * _DAY and _step(values[second]) >= 360 * _DAY  # and not a day of many years
    if not (same or jumps or even or days):
        parts = "day and month" if all(form.endswith("2024") for form in parsed) else "day, month and year"
        raise DataError(
            f"column {series.name!r} has times such as {shown(series.drop_nulls()[0])}, in which {parts} cannot be "
            "told apart. Write them as 2024-01-31."
        )
    return first


def _turns(times: np.ndarray) -> int:
    """How many steps go against the direction of most."""
    steps = np.diff(times)
    return int(min((steps < 0).sum(), (steps > 0).sum()))


def _step(times: np.ndarray) -> float:
    return float(np.median(np.abs(np.diff(times)))) if len(times) > 1 else 0.0


def _are_even(times: np.ndarray) -> bool:
    """Whether all steps are equal, in time or in months; the same time again does not count."""
    steps = np.diff(times)
    steps = steps[steps != 0]
    return len(steps) > 0 and (bool((steps == steps[0]).all()) or _by_months(times[np.r_[True, np.diff(times) != 0]]))


def _compact(series: pl.Series, text: pl.Series) -> str | None:
    """The form of numbers that are dates: nearly every cell fits, and not all are the same."""
    if text.n_unique() < 2 or not (is_text(series) or series.dtype.is_numeric()):
        return None
    cells = text.to_list()
    for form in COMPACT:
        if _fitting(cells, form) < _NEARLY * len(cells):
            continue
        moments = _moments(text, form)
        if moments.null_count() <= (1 - _NEARLY) * len(text):
            months = form == "202401"
            return form if not months or _by_months(moments.drop_nulls().to_numpy()) else None
    if pl.Series([series.name]).str.contains(_EXCEL_NAME)[0]:
        days = text.cast(pl.Float64, strict=False)
        whole = not days.null_count() and days.min() >= _EXCEL_DAYS[0] and days.max() <= _EXCEL_DAYS[1]  # type: ignore[operator]
        return EXCEL if whole else None
    return None


def _in_a_year(moments: np.ndarray) -> bool:
    """Whether most steps are shorter than a year, as those of days without a year, Jan 01 and Jan 02, would not be."""
    return bool(np.median(np.abs(np.diff(moments))) < 360 * _DAY) if len(moments) > 1 else False


def _by_months(moments: np.ndarray) -> bool:
    """Whether the steps are as many months everywhere."""
    steps = np.diff(moments.astype("datetime64[us]").astype("datetime64[M]").astype("int64"))
    return bool(len(steps) and steps[0] and (steps == steps[0]).all())


def times(series: pl.Series, form: str | None) -> Numbers:
    """Microseconds since 1970 of dates, or of text or numbers in a form; without a form, the numbers."""
    if form is not None:
        text = _simplified(series)
        parsed = _moments(text, form)
        failed = parsed.is_null() & text.is_not_null()
        wrong = int(failed.arg_max() or 0) if failed.any() else None
    elif is_temporal(series.dtype):
        parsed, wrong = series.cast(pl.Datetime("us", getattr(series.dtype, "time_zone", None))).to_physical(), None
    else:
        return numbers(series, False)
    return Numbers(parsed.cast(pl.Float64).fill_null(np.nan).to_numpy(), wrong)


def is_temporal(dtype: Any) -> bool:
    """Whether the cells are dates or dates with a time."""
    return isinstance(dtype, pl.Date | pl.Datetime)


def offsets(series: pl.Series, form: str) -> pl.Series:
    """The offset of each cell from UTC in minutes; null where a cell has none."""
    if form not in FORMS or "(?P<z>" not in pattern_of(form):
        return pl.Series([None] * len(series), dtype=pl.Int64)
    return _parts(_simplified(series), form).select(_offset(pl.col("z"))).to_series()


def _parts(text: pl.Series, form: str) -> pl.DataFrame:
    return text.str.extract_groups(pattern_of(form)).struct.unnest()


def _moments(text: pl.Series, form: str) -> pl.Series:
    """Microseconds since 1970 of simplified cells; null where a cell does not fit."""
    if form == EXCEL:
        return ((text.cast(pl.Float64, strict=False) - _FROM_1970) * _DAY).round().cast(pl.Int64)
    parts = _parts(text, form)
    has = set(parts.columns)
    clock = _clock(has) - (_offset(pl.col("z")).fill_null(0) * 60_000_000 if "z" in has else 0)
    return parts.select(_day(has).cast(pl.Datetime("us")).to_physical() + clock).to_series()


def _number(name: str) -> pl.Expr:
    return pl.col(name).cast(pl.Int64, strict=False)


def _day(has: set[str]) -> pl.Expr:
    """The date of the parts; null if there is no such day."""
    year = _number("y")
    short = pl.col("y").str.len_chars() == 2
    year = pl.when(short & (year < _PIVOT)).then(year + 2000).when(short).then(year + 1900).otherwise(year)
    if "w" in has:
        weekday = _number("wd").fill_null(1)
        text = pl.concat_str(year.cast(pl.String), _number("w").cast(pl.String).str.zfill(2), weekday, separator="-")
        return text.str.to_date("%G-%V-%u", strict=False)
    month = pl.lit("1")
    if "b" in has:
        names = [str(i + 1) for i in range(12)]
        month = pl.col("b").replace_strict(list(_MONTHS), names, default=None, return_dtype=pl.String)
    elif "q" in has:
        month = (_number("q") * 3 - 2).cast(pl.String)
    elif "m" in has:
        month = pl.col("m")
    day = pl.col("d") if "d" in has else pl.lit("1")
    return pl.concat_str(year.cast(pl.String).str.zfill(4), month, day, separator="-").str.to_date(
        "%Y-%m-%d", strict=False
    )


def _clock(has: set[str]) -> pl.Expr:
    """Microseconds after midnight; null if there is no such time. 24:00 is the end of a day."""
    if "H" not in has:
        return pl.lit(0)
    hour, minute, second = (_number(n).fill_null(0) if n in has else pl.lit(0) for n in ("H", "M", "S"))
    wrong = (hour > 24) | (minute > 59) | (second > 60)
    if "p" in has:
        halved = pl.col("p").is_not_null()
        wrong |= halved & ((hour < 1) | (hour > 12))
        hour = pl.when(halved).then(hour % 12 + pl.when(pl.col("p") == "p").then(12).otherwise(0)).otherwise(hour)
    fraction = pl.lit(0)
    if "f" in has:
        fraction = pl.col("f").str.pad_end(9, "0").str.slice(0, 6).cast(pl.Int64, strict=False).fill_null(0)
    found = ((hour * 60 + minute) * 60 + second) * 1_000_000 + fraction
    wrong |= found > _DAY
    return pl.when(wrong).then(None).otherwise(found)


def _offset(zone: pl.Expr) -> pl.Expr:
    """Minutes of an offset such as +05:30; 0 of Z, UTC and GMT."""
    digits = zone.str.replace_all(r"[^-+\d]", "")
    sign = pl.when(digits.str.starts_with("-")).then(-1).otherwise(1)
    hours, minutes = (digits.str.slice(at, 2).cast(pl.Int64, strict=False).fill_null(0) for at in (1, 3))
    return pl.when(zone.is_null()).then(None).otherwise(sign * (hours * 60 + minutes))
