# SPDX-License-Identifier: Apache-2.0
"""One page of claims that needs no other file: measured `Claim`s in, HTML out. How it looks is in `elman.page`."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path

from elman import files, page
from elman.claims.claim import COLUMNS, Claim

_TITLE = "What is commonly said of the SimpleRNN, measured"


def write(claims: Sequence[Claim], path: str | Path) -> Path:
    """Writes the page, whole or not at all, and returns its path.

    Raises:
        elman.DataError: If it cannot be written.
    """
    to = Path(path)
    files.write(to, html_of(claims))
    return to


def html_of(claims: Sequence[Claim]) -> str:
    """The whole page: a table of verdicts, then each claim."""
    version = claims[0].version
    rows = [(str(claim.number), claim.title, claim.verdict) for claim in claims]
    about = (
        f"Measured by elman {version}. Each claim is an experiment over seeds: networks are trained, and the verdict "
        "follows from the figures by the rule that is stated. It can come out either way."
    )
    overview = f"<p>{html.escape(about)}</p>\n{page.table(('claim', 'what is said', 'verdict'), rows, 'Verdicts')}"
    return page.whole(_TITLE, f"{_TITLE}: elman {version}", "\n".join([overview, *map(_section, claims)]))


def _section(claim: Claim) -> str:
    facts = {"Prediction": claim.prediction, "Rule": claim.rule, "Set-up": f"{claim.described_setup()}."}
    items = "".join(f"<dt>{html.escape(term)}</dt><dd>{html.escape(text)}</dd>" for term, text in facts.items())
    skipped = f"<ul>{page.items(claim.skipped)}</ul>" if claim.skipped else ""
    return (
        f'<section id="claim-{claim.number}"><h2>{claim.number}. {html.escape(claim.statement)}</h2>\n'
        f'<div class="verdict">{page.statement(claim.verdict, claim.because)}</div>\n'
        f'<div class="charts">{"".join(page.figures([claim.panel()], f"c{claim.number}-"))}<dl>{items}</dl></div>\n'
        f"{page.table(COLUMNS, claim.rows(), f'Figures of claim {claim.number}')}{skipped}</section>"
    )
