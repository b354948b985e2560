# SPDX-License-Identifier: Apache-2.0
"""Checks and phrases that the functions and the layers share. No arrays, no framework."""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite
from numbers import Integral, Real
from typing import Any

import numpy as np

_LEAST_CLIP = 2.0**-126  # the least float32 that is not flushed to zero


def did_you_mean(word: object, words: Iterable[str]) -> str:
    """A question that offers the nearest of `words`, ignoring case, with a space in front; empty if none is near."""
    import difflib  # not at the top, to keep `import elman` quick

    in_lower_case = {w.lower(): w for w in words}
    nearest = difflib.get_close_matches(str(word).lower(), in_lower_case, n=1)
    return f" Did you mean {in_lower_case[nearest[0]]!r}?" if nearest else ""


def python_scalar(value: Any) -> Any:
    """A NumPy scalar as a Python number, boolean or string; every other value as it is."""
    return value.item() if isinstance(value, np.generic) else value


def short(value: object) -> str:
    """`repr(value)` on one line, cut to 60 characters for an error message."""
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # Python writes out integers of at most 4,300 digits
        return f"an object of class {type(value).__name__} that is too long to print"
    return text if len(text) <= 60 else f"{text[:57]}..."


def is_integer(value: object, least: int | None = None) -> bool:
    """True if `value` is a Python or NumPy integer, not a boolean, and at least `least`."""
    return isinstance(value, Integral) and not isinstance(value, bool) and (least is None or int(value) >= least)


def is_real(value: object) -> bool:
    """True if `value` is a finite Python or NumPy number, and not a boolean."""
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    try:
        return isfinite(float(value))
    except OverflowError:  # an integer beyond float64
        return False


def positive_integer(name: str, value: object, meaning: str = "", error: type[Exception] = ValueError) -> int:
    """Returns `value` as a Python integer.

    Args:
        name: Of the argument, for the message.
        value: The argument.
        meaning: What the number is and what to pass instead; it ends the message.
        error: The exception's class.

    Raises:
        ValueError: (or `error`) If `value` is not a positive integer.
    """
    if not is_integer(value, least=1):
        raise error(f"{name} is {short(value)}; expected a positive integer{f', {meaning}' if meaning else ''}.")
    return int(value)  # type: ignore[call-overload]


def boolean(name: str, value: object, error: type[Exception] = TypeError) -> bool:
    """Returns `value` as a Python boolean.

    Args:
        name: Of the argument, for the message.
        value: The argument.
        error: The exception's class.

    Raises:
        TypeError: (or `error`) If `value` is not a Python or NumPy boolean.
    """
    if not isinstance(value, bool | np.bool_):
        raise error(f"{name} is {short(value)}; expected True or False.")
    return bool(value)


def check_seed(seed: object) -> int:
    """Returns a random seed as a Python integer.

    Raises:
        TypeError: If it is not an integer.
        ValueError: If it is negative.
    """
    if not is_integer(seed):
        raise TypeError(f"seed is {short(seed)}; expected an integer.")
    if not is_integer(seed, least=0):
        raise ValueError(f"seed is {short(seed)}; expected an integer of at least 0.")
    return int(seed)  # type: ignore[call-overload]


def shape_text(shape: Iterable[int | None]) -> str:
    """A shape as Python prints it; an unknown size is `?`."""
    sizes = ["?" if size is None else str(size) for size in shape]
    return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"


def shapes_agree(got: Iterable[int | None], expected: Iterable[int | None]) -> bool:
    """True if two shapes can be the same; an unknown size agrees with every size."""
    got, expected = tuple(got), tuple(expected)
    return len(got) == len(expected) and all(
        g is None or e is None or g == e for g, e in zip(got, expected, strict=True)
    )


def check_extras(truncate_gradient: Any, clip_state_gradient: Any, native: Any) -> None:
    """Checks the arguments that Keras does not have.

    Raises:
        ValueError: If one is not valid.
    """
    k, c = truncate_gradient, clip_state_gradient
    if k is not None and not is_integer(k, least=1):
        raise ValueError(f"truncate_gradient is {short(k)}; expected a positive integer (time steps), or None.")
    if c is not None and not (is_real(c) and float(c) >= _LEAST_CLIP):
        raise ValueError(
            f"clip_state_gradient is {short(c)}; expected a positive number (an L2 norm, at least {_LEAST_CLIP:.3g}), "
            "or None."
        )
    if native is not False and not (isinstance(native, str) and native in {"auto", "require"}):
        raise ValueError(f'native is {short(native)}; expected "auto", "require" or False.')


def check_lengths(lengths: np.ndarray | None, time: int | None) -> None:
    """As the native library does; `None`, of a traced call, passes."""
    if lengths is None or time is None:
        return
    for row in np.flatnonzero((lengths < 0) | (lengths > time)):
        raise ValueError(
            f"lengths[{row}] is {lengths[row]}; expected 0 to {time}, the number of time steps. Correct it, or pass a "
            "mask."
        )
