# SPDX-License-Identifier: Apache-2.0
"""The Keras layers: Keras's own layers with one native call as time loop, elman's checks, and elman's extra arguments.

Keras builds weights, states, masks and dropout masks, and calls `inner_loop` for the time loop. The checks before that
are in `layer_arguments`, `layer_checks` and `layer_states`. `route` decides whether the native path runs, and the
adapter of Keras's backend runs it. There is no arithmetic here.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from elman import _portable, layer_arguments, layer_checks, layer_states, stock_defects
from elman.cells import CELLS
from elman.checks import check_extras, python_scalar
from elman.operands import Operands
from elman.options import ACTIVATIONS, Options
from elman.route import Decision, LayerFacts, Route, decide, unavailable

Tensor = Any
States = list[Any]

_NATIVE_ACTIVATIONS = [(getattr(keras.activations, name), name) for name in ACTIVATIONS]
_STATE = "state_"  # prefix of the states' names in a file
_log = logging.getLogger("elman")


def _adapter_of(backend: str) -> ModuleType | None:
    """The adapter of a backend of Keras; `None` if it has none."""
    if backend == "tensorflow":
        from elman import _tensorflow

        return _tensorflow
    if backend == "jax":
        from elman import _jax

        return _jax
    if backend == "torch":
        from elman import _torch

        return _torch
    return None


_BACKEND = keras.config.backend()  # it cannot change while Keras is loaded
_ADAPTER = _adapter_of(_BACKEND)


class Steps(NamedTuple):
    """What a call passes to its time loop instead of the mask, the one argument that Keras passes on unchanged. An
    attribute of the layer would be another call's where two threads call it at once.

    Attributes:
        mask: Booleans (batch, time), or `None`.
        resets: Booleans (batch, time), or `None`.
        begins_learned: Whether the call starts from the learned initial state.
    """

    mask: Any
    resets: Any = None
    begins_learned: bool = False

    @classmethod
    def of(cls, mask: Any) -> Steps:
        """Those of a time loop's argument `mask`; a layer of Keras's own passes a plain mask."""
        return mask if isinstance(mask, Steps) else cls(mask)


class _NativeLoop(keras.layers.RNN):
    """What elman's layers change in Keras's: a base class in front of Keras's class."""

    _cell: str  # a row of `cells.CELLS`
    _keras_cell: type  # Keras's cell with the same formula
    _state_names: tuple[str, ...]  # of the weights that learn_initial_state makes
    _initial_weights: tuple[Any, ...] = ()
    _route: Route | None = None
    _warned = False
    _made = False  # whether the constructor has run

    # --- the route ---------------------------------------------------------------------------------------------

    @property
    def route(self) -> Route | None:
        """How the last call that Keras traced ran; `None` before the first."""
        return self._route

    def _note(self, name: str, value: object) -> None:
        """Sets an attribute without Keras's tracking, which would wrap it, and fails in a compiled function."""
        object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        """Sets an attribute; an option that is changed after the constructor is checked as the constructor does."""
        if self._made and not name.startswith("_"):
            value = layer_arguments.check_change(self, name, value)
        super().__setattr__(name, value)

    def _decide(self, options: Options, sequences: Tensor) -> Decision:
        """Asks the route, records the answer in `self.route`, and logs one warning on the first fallback that nobody
        asked for.

        Raises:
            NativeUnavailable: If the native path is required and cannot run.
        """
        layer = LayerFacts(
            backend=_BACKEND if _ADAPTER is None else None,
            cell=None if self._has_keras_cell() else type(self.cell).__name__,
            cudnn=getattr(self, "use_cudnn", False) is True,
        )
        dtype = _computed_in(self.compute_dtype)
        decision = decide(self.native, options, dtype, _ADAPTER, sequences, layer)
        if decision.reason and decision.required:
            raise unavailable(f"{layer_arguments.name_of(self)}: {decision.reason}")
        path = "keras" if decision.reason else "native"
        self._note("_route", Route(path, decision.isa, decision.reason))
        if decision.reason and not decision.asked and not self._warned:
            self._note("_warned", True)
            _log.warning("%s runs in Keras's own operations: %s.", layer_arguments.name_of(self), decision.reason)
        return decision

    # --- the call ----------------------------------------------------------------------------------------------

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        layer_checks.check_call(self, args, kwargs)
        if self._has_keras_cell():
            layer_arguments.check_cell_options(self, len(CELLS[self._cell].gates))
        if self.stateful and self.built and self.states is None:
            self._make_states((args[0] if args else kwargs["sequences"]).shape[0])
        if kwargs.get("resets") is not None and kwargs.get("mask") is None and len(args) < 3:
            # Keras looks for the mask of the sequences only if they are the one tensor of the call.
            kwargs["mask"] = getattr(args[0] if args else kwargs["sequences"], "_keras_mask", None)
        return super().__call__(*args, **kwargs)

    def build(self, sequences_shape: Any, initial_state_shape: Any = None) -> None:
        """Creates the weights, and the states of a stateful layer."""
        layer_checks.check_sequences(self, sequences_shape)
        first = self.states is None
        super().build(sequences_shape)
        if self.stateful and first:
            self._note_states(self.states)
        if self.learn_initial_state and not self._initial_weights:
            self._initial_weights = tuple(
                self.add_weight(shape=(size,), initializer="zeros", name=name)
                for size, name in zip(self.state_size, self._state_names, strict=True)
            )

    def _make_states(self, batch: int) -> None:
        """Creates the states of a layer that was built before it became stateful."""
        states = self.get_initial_state(batch)
        if _ADAPTER and _ADAPTER.is_traced(states[0]):
            raise ValueError(layer_states.traced_states(self))
        self._note_states(states)
        self._note("_expected_batch_size", batch)

    def _note_states(self, initial: States) -> None:
        """Makes variables of the states that Keras writes as they are.

        Those of Keras are cast under mixed precision: on PyTorch it then writes into a copy.
        """
        with keras.name_scope(self.name, caller=self):
            new = [
                keras.Variable(s, trainable=False, dtype=self.variable_dtype, autocast=False, name="rnn_state")
                for s in initial
            ]
        self._note("states", _ADAPTER.trackable(new) if _ADAPTER and _BACKEND == "tensorflow" else new)

    def _trackable_children(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """What TensorFlow saves (tf.train.Checkpoint, tf.saved_model.save), which asks for it by this method."""
        children = super()._trackable_children(*args, **kwargs)
        return {**children, "states": self.states} if self.states else children

    def call(
        self,
        sequences: Tensor,
        initial_state: Any = None,
        mask: Any = None,
        training: bool = False,
        resets: Any = None,
    ) -> Any:
        """See the class."""
        layer_checks.check_mask(self, sequences.shape, mask)
        portable = _portable.active() or (_ADAPTER and _ADAPTER.is_traced(sequences) and _portable.exporting())
        if _ADAPTER is not None and not portable:
            sequences = layer_checks.check_when_run(self, sequences, _ADAPTER)
        begins_learned = initial_state is None and bool(self._initial_weights)
        if begins_learned:
            initial_state = self._learned_states(ops.shape(sequences)[0], self.compute_dtype)
        steps = Steps(mask, resets, begins_learned)
        return super().call(sequences, initial_state=initial_state, mask=steps, training=training)

    def _learned_states(self, batch: Any, dtype: str) -> States:
        return [ops.broadcast_to(ops.cast(w, dtype), (batch, *w.shape)) for w in self._initial_weights]

    def inner_loop(
        self, sequences: Tensor, initial_state: Any, mask: Any, training: bool = False
    ) -> tuple[Tensor, Tensor, States]:
        """The time loop, called by Keras. Returns the last output, all outputs and the final states."""
        steps = Steps.of(mask)
        if self.stateful and _BACKEND == "torch":  # Keras writes the new states into tensors that the backward reads
            initial_state = [ops.copy(state) for state in _listed(initial_state)]
        options = options_of(self, self._cell)
        decision = self._decide(options, sequences)
        if decision.reason and not self._has_keras_cell():
            layer_checks.check_cell(self, steps.resets)
            return super().inner_loop(sequences, initial_state, steps.mask, training)
        if _ADAPTER is None or (decision.reason and not self._differs_from_stock(decision, sequences, steps, training)):
            return super().inner_loop(sequences, initial_state, steps.mask, training)
        operands = self._operands(sequences, initial_state, steps, training)
        y, states = (_ADAPTER.plain if decision.reason else _ADAPTER.recurrence)(options, *operands)
        last = y[:, -1] if self.return_sequences else y
        return last, y, list(states)

    def _has_keras_cell(self) -> bool:
        """True if the cell is of the class that the layer makes, and was not replaced by another one."""
        return type(self.cell) is self._keras_cell

    def _differs_from_stock(self, decision: Decision, sequences: Tensor, steps: Steps, training: bool) -> bool:
        """True if Keras's own loop would give another result than this layer promises: it has no resets, no gradient
        options, and the defects that `stock_defects` lists."""
        if steps.resets is not None:
            return True
        gradients = not decision.portable  # an exported file has none
        if gradients and not (self.truncate_gradient is self.clip_state_gradient is None):
            return True
        masked = steps.mask is not None
        call = stock_defects.Call(self, self.compute_dtype, masked, training, self._is_eager(sequences))
        return stock_defects.any_applies(call, _BACKEND, gradients)

    def _is_eager(self, sequences: Tensor) -> bool:
        """True if nothing traces the call, and Keras runs it on the CPU, where it has no cuDNN."""
        if _ADAPTER is None or _ADAPTER.is_traced(sequences) or getattr(self, "use_cudnn", False) is True:
            return False
        return _ADAPTER.facts(sequences).device is None

    def _operands(self, sequences: Tensor, initial_state: Any, steps: Steps, training: bool) -> Operands:
        """The operands of the recurrence. Half types are computed in float32, each weight rounded as in Keras."""
        dtype, mask = _computed_in(self.compute_dtype), steps.mask
        cell = self.cell

        def tensor(value: Any) -> Tensor:
            return None if value is None else ops.cast(value, dtype)

        states = _listed(initial_state)
        # So that a batch's gradients are not rounded one by one:
        if steps.begins_learned and dtype != self.compute_dtype:
            states = self._learned_states(ops.shape(sequences)[0], dtype)
        if mask is not None:
            mask = ops.cast(mask, "bool")
            mask = mask[:, :, 0] if len(mask.shape) == 3 else mask
        if steps.resets is not None and _ADAPTER is not None:
            mask = _ADAPTER.codes(mask, ops.cast(steps.resets, "bool"))
        dropout, recurrent_dropout = (
            tensor(ops.stack(m) if isinstance(m, list) else m[None]) if training and m is not None else None
            for m in (cell.get_dropout_mask(None), cell.get_recurrent_dropout_mask(None))
        )
        weights = (tensor(cell.kernel), tensor(cell.recurrent_kernel), tensor(cell.bias))
        return Operands(tensor(sequences), *weights, tuple(tensor(s) for s in states), mask, dropout, recurrent_dropout)

    # --- weights and states --------------------------------------------------------------------------------------

    @property
    def weights(self) -> list[Any]:
        """Keras's weights, followed by the learned initial states."""
        return self._initial_last(super().weights)

    @property
    def variables(self) -> list[Any]:
        """All variables: weights, seeds, and last the states of a stateful layer, so that Keras passes them on JAX."""
        return [*self._initial_last(super().variables), *(self.states or ())]

    def _initial_last(self, variables: list[Any]) -> list[Any]:
        own = {id(w) for w in self._initial_weights}
        return [*(v for v in variables if id(v) not in own), *self._initial_weights]

    def save_own_variables(self, store: Any) -> None:
        """As Keras; with `save_state` the states too."""
        super().save_own_variables(store)
        if self.save_state:
            for i, state in enumerate(self.states or ()):
                store[f"{_STATE}{i}"] = state

    def load_own_variables(self, store: Any) -> None:
        """As Keras. What the file lacks (initial states, or the states of `save_state`) stays as it is.

        Raises:
            ValueError: If states in the file have another batch size than the layer. Nothing is set then.
        """
        own = {key: store[key] for key in store.keys() if not key.startswith(_STATE)}  # noqa: SIM118  no mapping
        kept = [np.array(store[f"{_STATE}{i}"]) for i in range(len(store.keys()) - len(own))]
        if self.save_state and kept:
            layer_states.check_stateful(self)
            layer_states.check_kept_states(self, kept)
        if own or not self._initial_weights:
            super().load_own_variables(own)
        if self.save_state and kept:
            self.set_state(kept)

    def get_state(self) -> list[np.ndarray]:
        """The states of a stateful layer.

        Returns:
            A copy of each, an array of shape `(batch, units)`.

        Raises:
            ValueError: If the layer is not stateful, or not built.
        """
        layer_states.check_stateful(self)
        return [np.array(ops.convert_to_numpy(s)) for s in self.states]

    def set_state(self, states: Any, rows: Any = None) -> None:
        """Sets the states of a stateful layer, of all rows of the batch or of some.

        Args:
            states: One array of shape `(batch, units)` per state, in a list, as `get_state` returns them; with `rows`
                of shape `(len(rows), units)`.
            rows: Optional integers, the rows of the batch that are set.

        Raises:
            ValueError: If the layer is not stateful or not built, or if a shape or a row does not fit. Nothing is
                set then.
        """
        layer_states.check_stateful(self)
        new = self.get_state()
        index = slice(None) if rows is None else layer_states.check_rows(self, rows, len(new[0]))
        for state, value in zip(new, layer_states.check_new_states(self, states, new, index), strict=True):
            state[index] = value
        for variable, state in zip(self.states, new, strict=True):
            variable.assign(state)

    def get_config(self) -> dict[str, Any]:
        """Returns all arguments of the constructor."""
        return {
            **super().get_config(),
            "seed": self.cell.seed,
            "learn_initial_state": self.learn_initial_state,
            "truncate_gradient": self.truncate_gradient,
            "clip_state_gradient": self.clip_state_gradient,
            "native": self.native,
            "save_state": self.save_state,
        }


# TensorFlow's AutoGraph rewrites the functions that a tf.function calls, but not those with this attribute.
vars(_NativeLoop.__call__)["autograph_info__"] = {}


def _listed(states: Any) -> States:
    return list(states) if isinstance(states, list | tuple) else [states]


def _computed_in(dtype: str) -> str:
    return "float32" if dtype in stock_defects.HALVES else dtype


def _named(activation: Any) -> Any:
    """The name of an activation that has a native kernel; any other activation itself."""
    return next((name for own, name in _NATIVE_ACTIVATIONS if own is activation), activation)


def options_of(layer: Any, cell: str) -> Options:
    """The options of a layer of elman or of Keras, with a cell of this name."""
    own = layer.cell
    return Options(
        cell=cell,
        activation=_named(own.activation),
        recurrent_activation=_named(getattr(own, "recurrent_activation", CELLS[cell].recurrent_activation)),
        go_backwards=layer.go_backwards,
        zero_output_for_mask=layer.zero_output_for_mask,
        return_sequences=layer.return_sequences,
        truncate_gradient=getattr(layer, "truncate_gradient", None),
        clip_state_gradient=getattr(layer, "clip_state_gradient", None),
        reset_after=getattr(own, "reset_after", True),
    )


def _constructor(stock: type) -> Callable[..., None]:
    """A constructor with the arguments of Keras's class, in the same order, and after them elman's by name."""

    def construct(
        self: Any,
        *args: Any,
        learn_initial_state: bool = False,
        truncate_gradient: int | None = None,
        clip_state_gradient: float | None = None,
        native: str | bool = "auto",
        save_state: bool = False,
        **kwargs: Any,
    ) -> None:
        stock_init = stock.__init__.__get__(self)  # type: ignore[misc]
        arguments = layer_arguments.check_arguments(type(self).__name__, stock_init, args, kwargs)
        native = python_scalar(native)
        check_extras(truncate_gradient, clip_state_gradient, native)
        layer_arguments.check_learn_initial_state(learn_initial_state, arguments)
        layer_arguments.check_save_state(save_state, arguments)
        stock_init(**arguments)
        # Bidirectional copies this: without allow_last_axis_squeeze it would raise its own error before the layer's.
        spec = keras.layers.InputSpec(ndim=3, allow_last_axis_squeeze=True)
        self.input_spec = [spec] if isinstance(self.input_spec, list) else spec
        self.activity_regularizer = keras.regularizers.get(arguments.get("activity_regularizer"))
        self.learn_initial_state = bool(learn_initial_state)
        self.truncate_gradient = None if truncate_gradient is None else int(truncate_gradient)
        self.clip_state_gradient = None if clip_state_gradient is None else float(clip_state_gradient)
        self.native = native
        self.save_state = bool(save_state)
        self._note("_made", True)

    *known, rest = inspect.signature(stock.__init__).parameters.values()  # type: ignore[misc]
    extras = [p for p in inspect.signature(construct).parameters.values() if p.kind is p.KEYWORD_ONLY]
    construct.__signature__ = inspect.Signature([*known, *extras, rest])  # type: ignore[attr-defined]
    construct.__name__ = "__init__"
    return construct


class _Gated(_NativeLoop):
    """What only LSTM and GRU have: dropout masks for each gate, and cuDNN, in which Keras may run them."""

    _use_cudnn: bool | str = "auto"

    @property
    def use_cudnn(self) -> bool | str:
        """The user's setting, or `False` if the layer uses an option that cuDNN lacks.

        A Bidirectional on a GPU then calls each of its layers, instead of running both in one cuDNN call.
        """
        beyond = (self.truncate_gradient, self.clip_state_gradient, self.activity_regularizer)
        if self.learn_initial_state or self.native == "require" or any(option is not None for option in beyond):
            return False
        return self._use_cudnn

    @use_cudnn.setter
    def use_cudnn(self, value: bool | str) -> None:
        self._note("_use_cudnn", value)

    def get_config(self) -> dict[str, Any]:
        """Returns all arguments of the constructor."""
        return {**super().get_config(), "use_cudnn": self._use_cudnn, "implementation": self.cell.implementation}


@keras.saving.register_keras_serializable("elman")
class SimpleRNN(_NativeLoop, keras.layers.SimpleRNN):
    """Fully-connected RNN where the output is to be fed back as the new input, its time loop in one native call.

    `h_t = activation(x_t @ kernel + h_{t-1} @ recurrent_kernel + bias)` (Elman 1990, "Finding Structure in Time").

    It replaces `keras.layers.SimpleRNN`: arguments, weights, files and numbers are the same. Where the native path
    cannot run, Keras's own operations do, and `route` says why.

    Args:
        units: Positive integer, dimensionality of the output space.
        activation: Activation function. Natively `"tanh"`, `"relu"`, `"sigmoid"`, `"hard_sigmoid"` and `"linear"` (or
            `None`).
        use_bias: Whether the layer uses a bias vector.
        kernel_initializer: Initializer for the `kernel` weights, `(features, units)`, which act on the inputs.
        recurrent_initializer: Initializer for the `recurrent_kernel` weights, `(units, units)`, which act on the state.
        bias_initializer: Initializer for the bias, `(units,)`.
        kernel_regularizer: Regularizer function applied to `kernel`.
        recurrent_regularizer: Regularizer function applied to `recurrent_kernel`.
        bias_regularizer: Regularizer function applied to the bias.
        activity_regularizer: Regularizer function applied to the output; with `return_state` to the state too.
        kernel_constraint: Constraint function applied to `kernel`.
        recurrent_constraint: Constraint function applied to `recurrent_kernel`.
        bias_constraint: Constraint function applied to the bias.
        dropout: Float between 0 and 1. Fraction of the inputs to drop, the same ones at every step.
        recurrent_dropout: Float between 0 and 1. Fraction of the state to drop, the same units at every step.
        return_sequences: Whether to return the output of every step, rather than of the last one.
        return_state: Whether to return the last state in addition to the output.
        go_backwards: Whether to read time from the last step to the first, and return outputs in that order.
        stateful: Whether a batch starts from the states in which the batch before ended.
        unroll: Has no effect on the native path. In Keras's own operations, unrolls the loop.
        seed: Integer, random seed for dropout; drawn if `None`.
        learn_initial_state: Whether the initial state is a trainable vector of shape `(units,)`, rather than zeros. It
            starts from zeros and is last in `weights`. An `initial_state` in the call overrides it.
        truncate_gradient: Positive integer `k` (time steps) or `None`. The gradient of the state is cut at `time-k`,
            `time-2k`, ... in processing order.
        clip_state_gradient: Positive float or `None`. Largest L2 norm, per example, of the gradient that one step
            passes to the step before it.
        native: `"auto"` runs natively where it can, `"require"` raises an error where it cannot, `False` runs in
            Keras's own operations.
        save_state: Whether `.keras` and `.weights.h5` files include the states of a stateful layer, and set them when
            they are loaded.
        **kwargs: `zero_output_for_mask` (whether outputs of masked steps are zero, rather than the output before them),
            and what every Keras layer takes: `name`, `dtype`, `trainable`.

    Call arguments:
        sequences: A 3D tensor of shape `(batch, time, features)`, with at least one step.
        initial_state: Optional list of one tensor of shape `(batch, units)`.
        mask: Optional boolean tensor of shape `(batch, time)`, `True` where a step counts. A masked step keeps the
            state and repeats the output before it (zero before the first valid step).
        training: Whether dropout applies.
        resets: Optional boolean tensor of shape `(batch, time)`. Where it is `True` the state returns to the initial
            one before that step, as at the end of an episode. A stateful layer refuses it.

    Output:
        `(batch, units)`, or with `return_sequences` `(batch, time, units)`; with `return_state` a tuple of that and the
        last state, `(batch, units)`.

    Attributes:
        route: How the last traced call ran, an `elman.Route`; `None` before the first call.

    Raises:
        AttributeError: If an option is changed that is only read when the layer is made or built.
        ValueError: If an argument, a shape or a batch does not fit.
        TypeError: If the input is not an array of numbers.
        elman.NativeUnavailable: If `native="require"` and the native path cannot run.

    Example:

    >>> layer = elman.SimpleRNN(4)
    >>> layer(np.zeros((32, 10, 8), "float32")).shape
    (32, 4)
    """

    __init__ = _constructor(keras.layers.SimpleRNN)
    _cell = "simple_rnn"
    _keras_cell = keras.layers.SimpleRNNCell
    _state_names = ("initial_state",)


@keras.saving.register_keras_serializable("elman")
class LSTM(_Gated, keras.layers.LSTM):
    """Long short-term memory, its time loop in one native call.

    With `i`, `f`, `g`, `o` the four blocks of `x_t @ kernel + h_{t-1} @ recurrent_kernel + bias`, to which the layer
    applies `recurrent_activation` (the gates `i`, `f`, `o`) and `activation` (the candidate `g`):
    `c_t = f * c_{t-1} + i * g`, `h_t = o * activation(c_t)` (Hochreiter and Schmidhuber 1997, "Long Short-Term Memory",
    with the forget gate of Gers et al. 2000, "Learning to Forget").

    It replaces `keras.layers.LSTM`: arguments, weights, files and numbers are the same. Where the native path cannot
    run, Keras's own operations do, and `route` says why.

    Args:
        units: Positive integer, dimensionality of the output space.
        activation: Activation function of candidate and output. Natively `"tanh"`, `"relu"`, `"sigmoid"`,
            `"hard_sigmoid"` and `"linear"` (or `None`).
        recurrent_activation: Activation function of the gates, natively the same ones.
        use_bias: Whether the layer uses a bias vector.
        kernel_initializer: Initializer for the `kernel` weights, `(features, 4 * units)`, which act on the inputs.
        recurrent_initializer: Initializer for the `recurrent_kernel` weights, `(units, 4 * units)`, which act on the
            state.
        bias_initializer: Initializer for the bias, `(4 * units,)`.
        unit_forget_bias: Whether the bias of the forget gate starts from 1.
        kernel_regularizer: Regularizer function applied to `kernel`.
        recurrent_regularizer: Regularizer function applied to `recurrent_kernel`.
        bias_regularizer: Regularizer function applied to the bias.
        activity_regularizer: Regularizer function applied to the output; with `return_state` to the states too.
        kernel_constraint: Constraint function applied to `kernel`.
        recurrent_constraint: Constraint function applied to `recurrent_kernel`.
        bias_constraint: Constraint function applied to the bias.
        dropout: Float between 0 and 1. Fraction of the inputs to drop, the same ones at every step.
        recurrent_dropout: Float between 0 and 1. Fraction of the state to drop: other units for each gate, the same at
            every step.
        seed: Integer, random seed for dropout; drawn if `None`.
        return_sequences: Whether to return the output of every step, rather than of the last one.
        return_state: Whether to return the last states in addition to the output.
        go_backwards: Whether to read time from the last step to the first, and return outputs in that order.
        stateful: Whether a batch starts from the states in which the batch before ended.
        unroll: Has no effect on the native path. In Keras's own operations, unrolls the loop.
        use_cudnn: `"auto"` (Keras runs the layer in cuDNN on a GPU, where elman's native path does not run), `True` (it
            does, or raises an error) or `False` (it never does).
        learn_initial_state: Whether the initial states are trainable vectors of shape `(units,)`, rather than zeros.
            They start from zeros and are last in `weights`. An `initial_state` in the call overrides them.
        truncate_gradient: Positive integer `k` (time steps) or `None`. The gradient of the states is cut at `time-k`,
            `time-2k`, ... in processing order.
        clip_state_gradient: Positive float or `None`. Largest L2 norm, per example and over both states jointly, of the
            gradient that one step passes to the step before it.
        native: `"auto"` runs natively where it can, `"require"` raises an error where it cannot, `False` runs in
            Keras's own operations.
        save_state: Whether `.keras` and `.weights.h5` files include the states of a stateful layer, and set them when
            they are loaded.
        **kwargs: `zero_output_for_mask` (whether outputs of masked steps are zero, rather than the output before them),
            `implementation` (1 draws other dropped inputs for each gate, 2 the same ones for all), and what every Keras
            layer takes: `name`, `dtype`, `trainable`.

    Call arguments:
        sequences: A 3D tensor of shape `(batch, time, features)`, with at least one step.
        initial_state: Optional list of two tensors of shape `(batch, units)`, h and c.
        mask: Optional boolean tensor of shape `(batch, time)`, `True` where a step counts. A masked step keeps the
            states and repeats the output before it (zero before the first valid step).
        training: Whether dropout applies.
        resets: Optional boolean tensor of shape `(batch, time)`. Where it is `True` the state returns to the initial
            one before that step, as at the end of an episode. A stateful layer refuses it.

    Output:
        `(batch, units)`, or with `return_sequences` `(batch, time, units)`; with `return_state` a tuple of that and the
        last h and c, each `(batch, units)`.

    Attributes:
        route: How the last traced call ran, an `elman.Route`; `None` before the first call.

    Raises:
        AttributeError: If an option is changed that is only read when the layer is made or built.
        ValueError: If an argument, a shape or a batch does not fit.
        TypeError: If the input is not an array of numbers.
        elman.NativeUnavailable: If `native="require"` and the native path cannot run.

    Example:

    >>> layer = elman.LSTM(4)
    >>> layer(np.zeros((32, 10, 8), "float32")).shape
    (32, 4)
    """

    __init__ = _constructor(keras.layers.LSTM)
    _cell = "lstm"
    _keras_cell = keras.layers.LSTMCell
    _state_names = ("initial_h", "initial_c")


@keras.saving.register_keras_serializable("elman")
class GRU(_Gated, keras.layers.GRU):
    """Gated recurrent unit, its time loop in one native call.

    With `z`, `r`, `n` the three blocks of `x_t @ kernel + h_{t-1} @ recurrent_kernel + bias`, to which the layer
    applies `recurrent_activation` (the gates `z`, `r`) and `activation` (the candidate `n`):
    `h_t = z * h_{t-1} + (1 - z) * n`. In the sum of the candidate, `r` scales the product of the state
    (`reset_after=True`) or the state before the product (Cho et al. 2014, "Learning Phrase Representations using RNN
    Encoder-Decoder").

    It replaces `keras.layers.GRU`: arguments, weights, files and numbers are the same. Where the native path cannot
    run, Keras's own operations do, and `route` says why.

    Args:
        units: Positive integer, dimensionality of the output space.
        activation: Activation function of the candidate. Natively `"tanh"`, `"relu"`, `"sigmoid"`, `"hard_sigmoid"` and
            `"linear"` (or `None`).
        recurrent_activation: Activation function of the gates, natively the same ones.
        use_bias: Whether the layer uses a bias vector.
        kernel_initializer: Initializer for the `kernel` weights, `(features, 3 * units)`, which act on the inputs.
        recurrent_initializer: Initializer for the `recurrent_kernel` weights, `(units, 3 * units)`, which act on the
            state.
        bias_initializer: Initializer for the bias, `(2, 3 * units)`, or without `reset_after` `(3 * units,)`.
        kernel_regularizer: Regularizer function applied to `kernel`.
        recurrent_regularizer: Regularizer function applied to `recurrent_kernel`.
        bias_regularizer: Regularizer function applied to the bias.
        activity_regularizer: Regularizer function applied to the output; with `return_state` to the state too.
        kernel_constraint: Constraint function applied to `kernel`.
        recurrent_constraint: Constraint function applied to `recurrent_kernel`.
        bias_constraint: Constraint function applied to the bias.
        dropout: Float between 0 and 1. Fraction of the inputs to drop, the same ones at every step.
        recurrent_dropout: Float between 0 and 1. Fraction of the state to drop: other units for each gate, the same at
            every step.
        seed: Integer, random seed for dropout; drawn if `None`.
        return_sequences: Whether to return the output of every step, rather than of the last one.
        return_state: Whether to return the last state in addition to the output.
        go_backwards: Whether to read time from the last step to the first, and return outputs in that order.
        stateful: Whether a batch starts from the states in which the batch before ended.
        unroll: Has no effect on the native path. In Keras's own operations, unrolls the loop.
        reset_after: Whether the reset gate acts on the product of state and weights, which has its own row of the bias,
            rather than on the state before the product.
        use_cudnn: `"auto"` (Keras runs the layer in cuDNN on a GPU, where elman's native path does not run), `True` (it
            does, or raises an error) or `False` (it never does).
        learn_initial_state: Whether the initial state is a trainable vector of shape `(units,)`, rather than zeros. It
            starts from zeros and is last in `weights`. An `initial_state` in the call overrides it.
        truncate_gradient: Positive integer `k` (time steps) or `None`. The gradient of the state is cut at `time-k`,
            `time-2k`, ... in processing order.
        clip_state_gradient: Positive float or `None`. Largest L2 norm, per example, of the gradient that one step
            passes to the step before it.
        native: `"auto"` runs natively where it can, `"require"` raises an error where it cannot, `False` runs in
            Keras's own operations.
        save_state: Whether `.keras` and `.weights.h5` files include the states of a stateful layer, and set them when
            they are loaded.
        **kwargs: `zero_output_for_mask` (whether outputs of masked steps are zero, rather than the output before them),
            `implementation` (1 draws other dropped inputs for each gate, 2 the same ones for all), and what every Keras
            layer takes: `name`, `dtype`, `trainable`.

    Call arguments:
        sequences: A 3D tensor of shape `(batch, time, features)`, with at least one step.
        initial_state: Optional list of one tensor of shape `(batch, units)`.
        mask: Optional boolean tensor of shape `(batch, time)`, `True` where a step counts. A masked step keeps the
            state and repeats the output before it (zero before the first valid step).
        training: Whether dropout applies.
        resets: Optional boolean tensor of shape `(batch, time)`. Where it is `True` the state returns to the initial
            one before that step, as at the end of an episode. A stateful layer refuses it.

    Output:
        `(batch, units)`, or with `return_sequences` `(batch, time, units)`; with `return_state` a tuple of that and the
        last state, `(batch, units)`.

    Attributes:
        route: How the last traced call ran, an `elman.Route`; `None` before the first call.

    Raises:
        AttributeError: If an option is changed that is only read when the layer is made or built.
        ValueError: If an argument, a shape or a batch does not fit.
        TypeError: If the input is not an array of numbers.
        elman.NativeUnavailable: If `native="require"` and the native path cannot run.

    Example:

    >>> layer = elman.GRU(4)
    >>> layer(np.zeros((32, 10, 8), "float32")).shape
    (32, 4)
    """

    __init__ = _constructor(keras.layers.GRU)
    _cell = "gru"
    _keras_cell = keras.layers.GRUCell
    _state_names = ("initial_state",)
