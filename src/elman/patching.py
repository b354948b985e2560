# SPDX-License-Identifier: Apache-2.0
"""`patch` and `unpatch`: elman's classes under the names of torch.nn and keras.layers, while a program runs.

In: nothing. Out: other values of the public names, now or when the framework is imported. Modules and layers that exist
already stay what they are, and so does a name that a program has imported before.
"""

from __future__ import annotations

import functools
import importlib
import sys
from types import ModuleType
from typing import Any

from elman._hooks import when_imported
from elman.cells import BY_KERAS

_NAMES = {
    "torch": ("torch.nn", "elman.torch", [cell.torch for cell in BY_KERAS.values()]),
    "keras": ("keras.layers", "elman.layers", list(BY_KERAS)),
}
_replaced: dict[tuple[str, str], type] = {}
_wanted: set[str] = set()  # the frameworks whose names are to be replaced
_DYNAMO = "torch._dynamo.config"
_before: dict[str, bool] = {}  # the setting of torch.compile that is changed, as it was


def patch() -> None:
    """Puts elman's classes under the names `torch.nn.RNN`, `LSTM` and `GRU`, and `keras.layers.SimpleRNN`, `LSTM` and
    `GRU`.

    Call it before the program's own imports: a name that was imported from torch.nn or keras.layers before keeps its
    class. Neither framework is imported here; where one is imported later its names are replaced then. `unpatch` takes
    it back.

    Example:

        import elman
        elman.patch()
        import program_that_uses_torch
    """
    _wanted.update(_NAMES)
    for framework in _NAMES:
        when_imported(framework, functools.partial(_replace, framework))


def unpatch() -> None:
    """Puts the frameworks' own classes back. What was made in between stays elman's."""
    _wanted.clear()
    if _before:
        sys.modules[_DYNAMO].allow_rnn = _before.pop("allow_rnn")  # type: ignore[attr-defined]
    for (module, name), stock in _replaced.items():
        setattr(sys.modules[module], name, stock)
    _replaced.clear()


def stock(module: Any, name: str) -> Any:
    """The framework's own class of a name, which may be replaced now."""
    return _replaced.get((module.__name__, name)) or getattr(module, name)


def _replace(framework: str) -> None:
    if framework not in _wanted:
        return
    if framework == "torch":
        when_imported(_DYNAMO, _let_compile)
    place, own, names = _NAMES[framework]
    ours: ModuleType = importlib.import_module(own)
    theirs = importlib.import_module(place)
    for name in names:
        if (place, name) not in _replaced:
            _replaced[place, name] = getattr(theirs, name)
            setattr(theirs, name, getattr(ours, name))


def _let_compile() -> None:
    """Lets torch.compile trace the instances of `torch.nn.RNN`, `LSTM` and `GRU`, which it refuses by these names, and
    elman's modules are instances of them while the names are replaced."""
    config: Any = sys.modules[_DYNAMO]
    if _wanted and not _before and hasattr(config, "allow_rnn"):
        _before["allow_rnn"] = config.allow_rnn
        config.allow_rnn = True
