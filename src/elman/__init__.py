# SPDX-License-Identifier: Apache-2.0
"""elman: the recurrent layer done right.

Importing this imports NumPy and no framework. What needs Keras is loaded when it is asked for, or when Keras is:
then its layers are registered, so that a model that holds them loads. Where TensorFlow is, or becomes, loaded,
elman's ops are registered with that.
"""

import importlib
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
    "HorizonMonitor": "elman.diagnosis",
    "Report": "elman.diagnosis",
    "Trace": "elman.diagnosis",
    "accelerate": "elman.models",
    "diagnose": "elman.diagnosis",
    "from_torch": "elman.torch_modules",
    "load_model": "elman.loading",
    "routes": "elman.models",
    "to_stock": "elman.models",
    "to_torch": "elman.torch_modules",
    "trace": "elman.diagnosis",
}
_ROOMS = ("initializers",)  # modules whose names are not here
_WITH_TABLES = dict.fromkeys(("DataError", "Run", "fit", "predict"), "elman.forecasting")  # that need Polars
__all__ = [  # noqa: PLE0604
    *_WITH_KERAS,
    *_WITH_TABLES,
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
    where = _WITH_KERAS | _WITH_TABLES | {room: f"elman.{room}" for room in _ROOMS}
    if name not in where:
        raise AttributeError(f"module 'elman' has no attribute {name!r}; dir(elman) lists what it has")
    try:
        module = importlib.import_module(where[name])
    except ModuleNotFoundError as error:
        if error.name == "keras":
            raise ImportError(
                f"elman.{name} needs Keras and a backend, and Keras is not installed. Install one of "
                "elman[tensorflow], elman[jax] and elman[torch]."
            ) from error
        if error.name in {"polars", "matplotlib"}:
            raise ImportError(
                f"elman.{name} needs {error.name}, not installed here. Install with: python -m pip install "
                '"elman[cli]".'
            ) from error
        raise
    return module if name in _ROOMS else getattr(module, name)


def _register_tensorflow() -> None:
    from elman import _tensorflow

    _tensorflow.register()  # what stands in its way is told by the route, when someone asks for it


def _register_layers() -> None:
    importlib.import_module("elman.layers")


_backend.choose()
_when_imported("tensorflow", _register_tensorflow)
_when_imported("keras", _register_layers)
