# SPDX-License-Identifier: Apache-2.0
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import keras
import numpy as np
from keras.layers import RNN as RNN
from keras.layers import GRUCell as GRUCell
from keras.layers import LSTMCell as LSTMCell
from keras.layers import SimpleRNNCell as SimpleRNNCell

from elman import claims as claims
from elman import initializers as initializers
from elman import sklearn as sklearn
from elman import torch as torch
from elman._native import NativeUnavailable as NativeUnavailable
from elman._native import set_num_threads as set_num_threads
from elman._portable import portable as portable
from elman.comparison import Comparison as Comparison
from elman.comparison import compare as compare
from elman.diagnosis.measure import diagnose as diagnose
from elman.diagnosis.monitor import HorizonMonitor as HorizonMonitor
from elman.diagnosis.report import Report as Report
from elman.diagnosis.trace import Trace as Trace
from elman.diagnosis.trace import trace as trace
from elman.exporting import export as export
from elman.fitting import fit as fit
from elman.fitting import predict as predict
from elman.fitting.run import ClassifierRun as ClassifierRun
from elman.forecasting import DataError as DataError
from elman.forecasting import Run as Run
from elman.functional import gru as gru
from elman.functional import lstm as lstm
from elman.functional import simple_rnn as simple_rnn
from elman.layer_routes import routes as routes
from elman.loading import load_model as load_model
from elman.models import accelerate as accelerate
from elman.models import to_stock as to_stock
from elman.network import Network as Network
from elman.patching import patch as patch
from elman.patching import unpatch as unpatch
from elman.route import Route as Route
from elman.stream import Stream as Stream
from elman.torch_modules import from_torch as from_torch
from elman.torch_modules import to_torch as to_torch

__version__: str

_Activation: TypeAlias = str | Callable[[Any], Any] | None
_Setting: TypeAlias = str | dict[str, Any] | Callable[..., Any] | None  # an initializer, regularizer or constraint

class SimpleRNN(keras.layers.SimpleRNN):
    learn_initial_state: bool
    truncate_gradient: int | None
    clip_state_gradient: float | None
    native: str | bool
    save_state: bool
    @property
    def route(self) -> Route | None: ...
    def __init__(
        self,
        units: int,
        activation: _Activation = "tanh",
        use_bias: bool = True,
        kernel_initializer: _Setting = "glorot_uniform",
        recurrent_initializer: _Setting = "orthogonal",
        bias_initializer: _Setting = "zeros",
        kernel_regularizer: _Setting = None,
        recurrent_regularizer: _Setting = None,
        bias_regularizer: _Setting = None,
        activity_regularizer: _Setting = None,
        kernel_constraint: _Setting = None,
        recurrent_constraint: _Setting = None,
        bias_constraint: _Setting = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        seed: int | None = None,
        *,
        learn_initial_state: bool = False,
        truncate_gradient: int | None = None,
        clip_state_gradient: float | None = None,
        native: str | bool = "auto",
        save_state: bool = False,
        **kwargs: Any,
    ) -> None: ...
    def get_state(self) -> list[np.ndarray]: ...
    def set_state(self, states: Sequence[Any], rows: Sequence[int] | np.ndarray | None = None) -> None: ...

class LSTM(keras.layers.LSTM):
    learn_initial_state: bool
    truncate_gradient: int | None
    clip_state_gradient: float | None
    native: str | bool
    save_state: bool
    @property
    def route(self) -> Route | None: ...
    def __init__(
        self,
        units: int,
        activation: _Activation = "tanh",
        recurrent_activation: _Activation = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: _Setting = "glorot_uniform",
        recurrent_initializer: _Setting = "orthogonal",
        bias_initializer: _Setting = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: _Setting = None,
        recurrent_regularizer: _Setting = None,
        bias_regularizer: _Setting = None,
        activity_regularizer: _Setting = None,
        kernel_constraint: _Setting = None,
        recurrent_constraint: _Setting = None,
        bias_constraint: _Setting = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        use_cudnn: bool | str = "auto",
        *,
        learn_initial_state: bool = False,
        truncate_gradient: int | None = None,
        clip_state_gradient: float | None = None,
        native: str | bool = "auto",
        save_state: bool = False,
        **kwargs: Any,
    ) -> None: ...
    def get_state(self) -> list[np.ndarray]: ...
    def set_state(self, states: Sequence[Any], rows: Sequence[int] | np.ndarray | None = None) -> None: ...

class GRU(keras.layers.GRU):
    learn_initial_state: bool
    truncate_gradient: int | None
    clip_state_gradient: float | None
    native: str | bool
    save_state: bool
    @property
    def route(self) -> Route | None: ...
    def __init__(
        self,
        units: int,
        activation: _Activation = "tanh",
        recurrent_activation: _Activation = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: _Setting = "glorot_uniform",
        recurrent_initializer: _Setting = "orthogonal",
        bias_initializer: _Setting = "zeros",
        kernel_regularizer: _Setting = None,
        recurrent_regularizer: _Setting = None,
        bias_regularizer: _Setting = None,
        activity_regularizer: _Setting = None,
        kernel_constraint: _Setting = None,
        recurrent_constraint: _Setting = None,
        bias_constraint: _Setting = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        reset_after: bool = True,
        use_cudnn: bool | str = "auto",
        *,
        learn_initial_state: bool = False,
        truncate_gradient: int | None = None,
        clip_state_gradient: float | None = None,
        native: str | bool = "auto",
        save_state: bool = False,
        **kwargs: Any,
    ) -> None: ...
    def get_state(self) -> list[np.ndarray]: ...
    def set_state(self, states: Sequence[Any], rows: Sequence[int] | np.ndarray | None = None) -> None: ...

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "GRUCell",
    "HorizonMonitor",
    "LSTMCell",
    "NativeUnavailable",
    "Network",
    "Report",
    "Route",
    "SimpleRNN",
    "SimpleRNNCell",
    "Trace",
    "__version__",
    "accelerate",
    "claims",
    "diagnose",
    "from_torch",
    "gru",
    "initializers",
    "load_model",
    "lstm",
    "portable",
    "routes",
    "set_num_threads",
    "simple_rnn",
    "to_stock",
    "to_torch",
    "trace",
]
