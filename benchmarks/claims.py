# SPDX-License-Identifier: Apache-2.0
"""Measures every claim with three disjoint sets of seeds, and compares the verdicts.

Prints JSON: for each claim the verdicts of the three sets, and of the first set the figures; status 1 if a claim's
verdicts differ. `--pictures FOLDER` draws the curves of the first set, an SVG for each claim that has any.

    python benchmarks/claims.py --seeds 20 --pictures docs/figures/claims
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import matplotlib as mpl

import elman
from elman.claims import Claim

SETS = 3


def measured(number: int, seeds: int) -> tuple[list[Claim], float]:
    """The claim for each set of seeds, and the processor's seconds for the first."""
    started = time.process_time()
    claims = [elman.claims.run(number, seeds=range(seeds))]
    processor = time.process_time() - started
    claims += [elman.claims.run(number, seeds=range(i * seeds, (i + 1) * seeds)) for i in range(1, SETS)]
    return claims, processor


def told(claims: list[Claim], processor: float) -> dict[str, Any]:
    """What is kept of a claim."""
    first = claims[0].to_dict()
    kept = ("number", "title", "statement", "verdict", "because", "figures", "skipped", "seconds")
    return {name: first[name] for name in kept} | {
        "processor_seconds": processor,
        "verdicts": [claim.verdict for claim in claims],
        "setup": claims[0].described_setup(),
    }


def draw(claim: Claim, folder: Path) -> None:
    """Draws a claim's curves; the same bytes each time with one version of Matplotlib."""
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context({"svg.hashsalt": "elman"}):
        claim.plot().savefig(folder / f"claim_{claim.number}.svg", metadata={"Date": None})


def main() -> int:
    """Measures all, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("numbers", nargs="*", type=int)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--pictures", type=Path)
    arguments = parser.parse_args()
    rows = []
    for number in arguments.numbers or elman.claims.names():
        claims, processor = measured(number, arguments.seeds)
        rows.append(told(claims, processor))
        print(number, rows[-1]["verdicts"], f"{processor:.1f} s", file=sys.stderr, flush=True)
        if arguments.pictures and claims[0].chart is not None:
            draw(claims[0], arguments.pictures)
    differ = [row["number"] for row in rows if len(set(row["verdicts"])) > 1]
    print(json.dumps({"claims": rows, "differ": differ, "seeds": arguments.seeds}, indent=2))
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
