# SPDX-License-Identifier: Apache-2.0
"""What is commonly said of the SimpleRNN, as experiments over seeds, each with a verdict that can come out either way.

`run(6)` measures claim 6 and returns a `Claim`; `names()` lists the statements. A module for each claim or family of
claims says what it predicts and measures it; `table` has them by number. Networks are trained with `elman.Network`.
"""

from elman.claims.claim import Claim
from elman.claims.estimates import Estimate
from elman.claims.run import names, options, run

__all__ = ["Claim", "Estimate", "names", "options", "run"]
