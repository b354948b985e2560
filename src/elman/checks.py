# SPDX-License-Identifier: Apache-2.0
"""Checks and phrases that the functions and the layers share. No arrays, no framework."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any

_LEAST_CLIP = 2.0**-126  # the least float32 that is not flushed to zero


def did_you_mean(word: object, words: Iterable[str]) -> str:
    """A question that offers the nearest of `words`, whatever its case, with a space before; empty if none is near."""
    import difflib  # here, as `import elman` is to be quick

    in_lower_case = {w.lower(): w for w in words}
    nearest = difflib.get_close_matches(str(word).lower(), in_lower_case, n=1)
    return f" Did you mean {in_lower_case[nearest[0]]!r}?" if nearest else ""


def shape_text(shape: Iterable[int | None]) -> str:
    """A shape as Python prints it; an unknown size is `?`."""
    sizes = ["?" if size is None else str(size) for size in shape]
    return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"


def shapes_agree(got: Iterable[int | None], expected: Iterable[int | None]) -> bool:
    """Whether two shapes can be the same; unknown sizes agree with all."""
    got, expected = tuple(got), tuple(expected)
    return len(got) == len(expected) and all(
        g is None or e is None or g == e for g, e in zip(got, expected, strict=True)
    )


def check_extras(truncate_gradient: Any, clip_state_gradient: Any, native: Any) -> None:
    """Holds the arguments that Keras does not have to their kind.

    Raises:
        ValueError: If one is of another.
    """
    k, c = truncate_gradient, clip_state_gradient
    if k is not None and (isinstance(k, bool) or not isinstance(k, Integral) or k < 1):
        raise ValueError(f"truncate_gradient is {k!r}; expected a positive integer (time steps), or None.")
    if c is not None and (isinstance(c, bool) or not isinstance(c, Real) or not _LEAST_CLIP <= float(c) < float("inf")):
        raise ValueError(
            f"clip_state_gradient is {c!r}; expected a positive number (an L2 norm, at least {_LEAST_CLIP:.3g}), or "
            "None."
        )
    if native is not False and not (isinstance(native, str) and native in {"auto", "require"}):
        raise ValueError(f'native is {native!r}; expected "auto", "require" or False.')
