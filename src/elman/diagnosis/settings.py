# SPDX-License-Identifier: Apache-2.0
"""How layers were set up, as far as the advice needs it.

In: recurrent layers and their calls. Out: a `Setting` of each. What takes time to find out is a function, which the
advice calls only if a rule depends on it.
"""

from __future__ import annotations

import functools

import numpy as np

from elman.cells import CELLS
from elman.diagnosis import gates, gradient
from elman.diagnosis.call import Call
from elman.diagnosis.observed import Recurrent, Start
from elman.diagnosis.verdict import Setting

_EXAMPLES = 64  # on which new weights are tried


def of(recurrent: Recurrent, call: Call) -> Setting:
    """The setting of a layer, by its call."""
    few = call.rows(slice(0, _EXAMPLES))
    start = recurrent.start
    simple = not CELLS[recurrent.cell].gated and bool(np.isfinite(few.x[few.valid]).all())
    return Setting(
        activation=str(call.options.activation),
        truncate=recurrent.truncate,
        drive=gates.drive(call),
        fresh=functools.partial(_fresh_exponent, start, few) if simple and start is not None else lambda: None,
        initializer=lambda: None if start is None else start.better(few.x, few.valid),
    )


def _fresh_exponent(start: Start, call: Call) -> float:
    """The Lyapunov exponent of the layer with new initial weights."""
    return gradient.reach(call.changed(weights=start.draw(call.weights), keep_tape=True)).exponent
