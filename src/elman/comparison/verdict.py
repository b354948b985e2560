# SPDX-License-Identifier: Apache-2.0
"""Who is tied with the best, which of them is the smallest, and the sentence that recommends it.

In: the rows that have results, and which pairs differ. Out: names and a reason. No arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from elman.forecasting.words import listed

SURE = 0.95  # with which the tied candidates hold the truly best one


class Verdict(NamedTuple):
    """What to use.

    Attributes:
        best: The candidate with the least error here.
        tied: Candidates that cannot be told apart from it, itself among them, from the least error.
        recommended: The smallest of them.
        reason: Why, in one sentence.
    """

    best: str
    tied: list[str]
    recommended: str
    reason: str


def verdict(
    rows: Sequence[Mapping[str, Any]],
    loss: Callable[[str], float],
    differ: Callable[[str, str, float], bool],
    measure: str,
) -> Verdict:
    """Compares each candidate with the best.

    Args:
        rows: The candidates that have results, from the simplest.
        loss: Mean loss of one.
        differ: Whether the losses of two differ, at a level.
        measure: The name of the error, for the sentence.
    """
    by_name = {row["name"]: row for row in rows}
    order = sorted(by_name, key=loss)
    best = order[0]
    # Bonferroni: with this level for each pair, the truly best one is outside in at most 5 % of comparisons.
    level = 1 - (1 - SURE) / max(1, len(order) - 1)
    tied = [name for name in order if name == best or not differ(best, name, level)]
    recommended = min(tied, key=lambda name: (by_name[name]["parameters"], list(by_name).index(name)))
    return Verdict(best, tied, recommended, _reason(by_name, order, tied, recommended, measure))


def _reason(
    rows: Mapping[str, Mapping[str, Any]], order: Sequence[str], tied: Sequence[str], chosen: str, measure: str
) -> str:
    best, row = order[0], rows[chosen]
    figure = f"its {measure} is {row['error']:.4g}"
    if len(tied) == 1:
        after = f", and that of {order[1]}, the next, {rows[order[1]]['error']:.4g}" if len(order) > 1 else ""
        why = f"{chosen} is better than every other candidate by more than chance: {figure}{after}"
    elif chosen == best:
        why = f"{chosen} has the least {measure}, {row['error']:.4g}, and is the smallest of the {len(tied)} tied ones"
    else:
        why = (
            f"{chosen} is the smallest of the {len(tied)} candidates that cannot be told apart from the best, {best}: "
            f"{figure}, against {rows[best]['error']:.4g}"
        )
    if not row["recurrent"]:
        return f"You need no recurrent network: {why}."
    others = [name for name in tied if not rows[name]["recurrent"]]
    if others:
        return f"{why}; {listed(others)} would do as well."
    return f"A recurrent network is worth having: {why}."
