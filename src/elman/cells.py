# SPDX-License-Identifier: Apache-2.0
"""The cells that elman computes: one row each, with everything about a cell that is not its formula.

The formulas are in `reference` (definition), `_plain` (framework operations) and `native/cells.h` (native path).
Nothing is imported here, so every other module can read the table.
"""

from __future__ import annotations

from typing import NamedTuple


class Cell(NamedTuple):
    """A row of the table.

    Attributes:
        name: Name of the cell in `Options`, in saved graphs and of its public function.
        number: Its number in `native/elman.h`.
        gates: Names of the gates, in the order of the weights' columns; "h" where the state itself is the only one.
        candidate: The gate that takes `activation`; all others take `recurrent_activation`.
        states: Names of the states. The first one is the output.
        tape: Names of what a step of the reference puts on its tape after the inputs of all gates: a state's name
            with "before_" is that state before the step, "h" the state after it.
        keras: Class name of the layer, in Keras and in elman. Keras's cell has this name with "Cell" at its end. Empty
            for a cell that Keras lacks: it has a function and no layer.
        torch: Class name of the module in `torch.nn`, for a cell that Keras has.
        torch_gates: The gates in the order of that module's rows.
        activation: Default activation of the candidate and the state.
        recurrent_activation: Default activation of the gates.
        reset: The gate that with `reset_after` multiplies the candidate's recurrent product, which then has a bias
            of its own. `None` for a cell without this option.
        interpolates: The new state is an average of the state before it and of the candidate.
    """

    name: str
    number: int
    gates: tuple[str, ...]
    candidate: str
    states: tuple[str, ...]
    tape: tuple[str, ...]
    keras: str = ""
    torch: str = ""
    torch_gates: tuple[str, ...] = ()
    activation: str = "tanh"
    recurrent_activation: str = "sigmoid"
    reset: str | None = None
    interpolates: bool = False

    @property
    def gated(self) -> bool:
        """Whether it has gates besides the state itself, and so a `recurrent_activation`."""
        return len(self.gates) > 1

    def two_biases(self, reset_after: bool) -> bool:
        """Whether the bias has two rows, the first for x W and the second for h U."""
        return self.reset is not None and reset_after


CELLS = {
    cell.name: cell
    for cell in (
        Cell(
            name="simple_rnn",
            number=0,
            gates=("h",),
            candidate="h",
            states=("h",),
            tape=("h",),
            keras="SimpleRNN",
            torch="RNN",
            torch_gates=("h",),
        ),
        Cell(
            name="lstm",
            number=1,
            gates=("i", "f", "g", "o"),
            candidate="g",
            states=("h", "c"),
            tape=("before_c", "i", "f", "g", "o", "a"),
            keras="LSTM",
            torch="LSTM",
            torch_gates=("i", "f", "g", "o"),
        ),
        Cell(
            name="gru",
            number=2,
            gates=("z", "r", "n"),
            candidate="n",
            states=("h",),
            tape=("before_h", "z", "r", "n", "u"),
            keras="GRU",
            torch="GRU",
            torch_gates=("r", "z", "n"),
            reset="r",
            interpolates=True,
        ),
    )
}
BY_KERAS = {cell.keras: cell for cell in CELLS.values() if cell.keras}  # by the class name of the layer
