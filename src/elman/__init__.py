# SPDX-License-Identifier: Apache-2.0
"""elman: the recurrent layer done right.

Importing this imports NumPy and no framework. What needs Keras is loaded when it is first used, or when Keras is
imported: then elman's layers are registered with Keras, so that a model that holds them loads. elman's ops are
registered with TensorFlow when that is imported, before or after elman.

`SimpleRNN`, `LSTM` and `GRU` are elman's layers. `RNN`, `SimpleRNNCell`, `LSTMCell` and `GRUCell` are Keras's own
classes: they are here so that a program can swap its import, and the first use of one logs a warning that says so.
"""

import functools
import importlib
import logging
from typing import Any

from elman import backend as _backend
from elman._hooks import when_imported as _when_imported
from elman._native import NativeUnavailable, set_num_threads
from elman._portable import portable
from elman.functional import gru, lstm, simple_rnn
from elman.route import Route

__version__ = "0.1.0"

_WITH_KERAS = {  # where each name that needs Keras is
    "GRU": "elman.layers",
    "GRUCell": "keras.layers",
    "LSTM": "elman.layers",
    "LSTMCell": "keras.layers",
    "RNN": "keras.layers",
    "SimpleRNN": "elman.layers",
    "SimpleRNNCell": "keras.layers",
    "HorizonMonitor": "elman.diagnosis.monitor",
    "Report": "elman.diagnosis.report",
    "Trace": "elman.diagnosis.trace",
    "accelerate": "elman.models",
    "diagnose": "elman.diagnosis.measure",
    "from_torch": "elman.torch_modules",
    "load_model": "elman.loading",
    "routes": "elman.layer_routes",
    "to_stock": "elman.models",
    "to_torch": "elman.torch_modules",
    "trace": "elman.diagnosis.trace",
}
_KERAS_OWN = {name for name, module in _WITH_KERAS.items() if module == "keras.layers"}
_LATER = {  # that need NumPy alone, and take time to import
    "Network": "elman.network",
    "Stream": "elman.stream",
    "export": "elman.exporting",
    "patch": "elman.patching",
    "unpatch": "elman.patching",
}
_ROOMS = ("claims", "initializers", "sklearn", "torch")  # modules whose names are not here
_WITH_TABLES = {  # that need Polars
    "ClassifierRun": "elman.fitting.run",
    "Comparison": "elman.comparison",
    "DataError": "elman.forecasting",
    "Run": "elman.forecasting",
    "compare": "elman.comparison",
    "fit": "elman.fitting",
    "predict": "elman.fitting",
}
__all__ = [  # noqa: PLE0604
    *_WITH_KERAS,
    *_WITH_TABLES,
    *_LATER,
    *_ROOMS,
    "NativeUnavailable",
    "Route",
    "__version__",
    "gru",
    "lstm",
    "portable",
    "set_num_threads",
    "simple_rnn",
]


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    where = _WITH_KERAS | _WITH_TABLES | _LATER | {room: f"elman.{room}" for room in _ROOMS}
    if name not in where:
        raise AttributeError(f"module 'elman' has no attribute {name!r}; dir(elman) lists its names")
    if name in _KERAS_OWN:
        _warn_of_keras_classes()
    try:
        module = importlib.import_module(where[name])
    except ModuleNotFoundError as error:
        if error.name == "keras":
            raise ImportError(
                f"elman.{name} needs Keras and a backend, and Keras is not installed. Install one of "
                "elman[tensorflow], elman[jax] and elman[torch]."
            ) from error
        if error.name == "torch":
            raise ImportError(
                f'elman.{name} needs PyTorch, not installed here. Install with: python -m pip install "elman[torch]".'
            ) from error
        if error.name == "sklearn":
            raise ImportError(
                f"elman.{name} needs scikit-learn, not installed here. Install with: python -m pip install "
                '"elman[compare]".'
            ) from error
        if error.name in {"polars", "matplotlib"}:
            raise ImportError(
                f"elman.{name} needs {error.name}, not installed here. Install with: python -m pip install "
                '"elman[cli]".'
            ) from error
        raise
    return module if name in _ROOMS else getattr(module, name)


@functools.cache
def _warn_of_keras_classes() -> None:
    """Once in a process."""
    logging.getLogger("elman").warning(
        "elman.%s and elman.%s are Keras's own classes and run in Keras's own operations. elman.SimpleRNN, elman.LSTM "
        "and elman.GRU run natively, and elman.accelerate(model) replaces an RNN of Keras's cells by them.",
        ", elman.".join(sorted(_KERAS_OWN)[:-1]),
        sorted(_KERAS_OWN)[-1],
    )


def _register_tensorflow() -> None:
    from elman import _tensorflow

    _tensorflow.register()  # if that fails, the layer's route has the reason


def _register_layers() -> None:
    importlib.import_module("elman.layers")


_backend.choose()
_when_imported("tensorflow", _register_tensorflow)
_when_imported("keras", _register_layers)
