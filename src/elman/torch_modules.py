# SPDX-License-Identifier: Apache-2.0
"""Converts layers to torch.nn.RNN, LSTM and GRU, and such modules to layers. Weights are copied, nothing is shared.

In: built Keras layers, or a module. Out: the other one with the same weights, after both have computed the same results
from a few random sequences. An option that changes the numbers and that the other side lacks is an error. One that acts
on training only is dropped, and one warning names it. PyTorch need not be Keras's backend: weights pass from one to the
other as NumPy arrays, under the names that PyTorch gives them. Masks are left to the caller, as torch's modules have
none.
"""

from __future__ import annotations

import itertools
import logging
import random
from typing import Any, NamedTuple

import keras
import numpy as np

from elman import layers
from elman.cells import BY_KERAS
from elman.layer_arguments import name_of
from elman.patching import stock
from elman.torch_forms import DTYPES, Form, check_parameters, form_of_module, keras_weights, reordered, suffixes

__all__ = ["from_torch", "to_torch"]

Array = np.ndarray


class _Kind(NamedTuple):
    """A cell on both sides: Keras's classes and elman's, the order of the gates in the weights on each side, the
    activations that PyTorch has for each argument, and whether Keras's bias has two rows.
    """

    stock: type
    own: type
    cell: type
    keras_gates: str
    torch_gates: str
    activations: dict[str, tuple[str, ...]]
    two_biases: bool


_KINDS = {
    cell.torch: _Kind(
        *(stock(keras.layers, cell.keras), getattr(layers, cell.keras), getattr(keras.layers, f"{cell.keras}Cell")),
        *("".join(cell.gates), "".join(cell.torch_gates)),
        {"activation": (cell.activation,), "recurrent_activation": (cell.recurrent_activation,)}
        if cell.gated
        else {"activation": (cell.activation, "relu")},
        cell.two_biases(reset_after=True),
    )
    for cell in BY_KERAS.values()
}
_KIND_OF = {layer: name for name, kind in _KINDS.items() for layer in (kind.stock, kind.own)}
# The options that determine a layer's output, in addition to its weights. Each layer has some of them.
_COMPUTES = ("units", "activation", "recurrent_activation", "use_bias", "reset_after", "go_backwards", "native")
_TRAINING_ONLY = (
    *("dropout", "recurrent_dropout", "truncate_gradient", "clip_state_gradient", "learn_initial_state"),
    *("kernel_regularizer", "recurrent_regularizer", "bias_regularizer", "activity_regularizer"),
    *("kernel_constraint", "recurrent_constraint", "bias_constraint"),
)
# Why a layer cannot become a module, after "to_torch got" and its name.
_SENTENCES = {
    "built": "that is not built; expected weights. First call it, or its build((None, None, features)).",
    "cell": "with {got} as its cell; expected {expected} itself. Leave it in Keras.",
    "activation": "with {argument}={got}; expected {expected}, which torch.nn.{kind} has. Train it with that, or leave "
    "it in Keras.",
    "reset_after": "with reset_after=False; expected reset_after=True, as torch.nn.GRU resets the product of state and "
    "weights. Train it with that, or leave it in Keras.",
    "stateful": "with stateful=True; expected a layer that starts from zero. Make one without it, copy the weights "
    "with set_weights, and pass the module's last states to the next call as hx.",
    "initial_state": "with a learned initial state that is not zero; expected a layer that starts from zero. Make one "
    "without it, copy the other weights with set_weights, and pass the learned state to the module as hx.",
    "dtype": "of dtype {got}; expected float32 or float64, for which both sides compute the same. Make one "
    "with dtype='float32' and copy the weights with set_weights.",
    "alike": "with {got}; expected {expected}, as {first} has it, because all layers and directions of a module "
    "share it. Convert the layers one by one.",
    "go_backwards": "with go_backwards={got}; expected False, and True only in the second direction. Make one without "
    "it, copy the weights with set_weights, and reverse the module's input with torch.flip.",
    "directions": "of {got} direction(s); expected {expected}, as the first layer of the stack has them. Convert the "
    "layers one by one.",
    "merge_mode": "with merge_mode={got!r}; expected 'concat', as in torch's modules. Convert each direction to a "
    "module of its own, and merge their outputs.",
    "wrapper": "of dtype {got}, to which it rounds its input; expected {expected}, as the layers in it have it. Make "
    "it with dtype={expected!r} and copy the weights with set_weights.",
    "return_sequences": "with return_sequences=False before the last layer; expected sequences from every layer but "
    "the last. Convert the layers up to it, and the rest on its own.",
    "features": "for {got} features; expected {expected}, the size of the output of {before}. Put the layers in the "
    "order in which they are called.",
}
_SEQUENCES, _STEPS = 3, 7  # of the check: few, but enough for each weight to act on the outputs
_log = logging.getLogger("elman")


# --- what users call -----------------------------------------------------------------------------------------------


def to_torch(layer: Any) -> Any:
    """Converts a layer, or a stack of layers, to the `torch.nn.RNN`, `LSTM` or `GRU` that computes the same.

    The module is made with `batch_first=True`. It returns the last layer's output at every step, whatever that layer's
    `return_sequences` is, and each layer's last states. Before it is returned, its outputs and final states are
    compared with those of the layers on a few random sequences. The single bias of SimpleRNN and LSTM becomes
    `bias_ih`, and `bias_hh` is zero.

    Options that act on training only and that the module lacks (Keras's `dropout` and `recurrent_dropout`,
    regularizers, constraints, `truncate_gradient`, `clip_state_gradient`, a learned initial state that is zero) are
    dropped, and one warning of the logger "elman" names them. For masks, see
    `torch.nn.utils.rnn.pack_padded_sequence`.

    Args:
        layer: A built `SimpleRNN`, `LSTM` or `GRU` of elman or of Keras, a `keras.layers.Bidirectional` of one with
            `merge_mode="concat"`, or a list, a tuple or a `keras.Sequential` of these, in the order in which they are
            called. It is left as it is.

    Returns:
        A new module on the CPU, of the layer's dtype, float32 or float64, in training mode, with all parameters
        trainable.

    Raises:
        ImportError: If PyTorch is not installed.
        TypeError: If `layer` is not one of these.
        ValueError: If a layer is not built, or no module of torch computes the same, or the layers are not one stack.
        RuntimeError: If the module's results differ from those of the layers.

    Example:

        module = elman.to_torch(model.get_layer("lstm"))
        y, (h, c) = module(torch.randn(32, 10, 8))
    """
    torch = _import_torch("to_torch")
    stack = _stack(layer)
    form = _form_of_layers(stack)
    module = _module(torch, form, _torch_weights(form, stack))
    _check_same("to_torch", torch, form, stack, module)
    if dropped := [text for part in stack for half in _halves(part) if (text := _dropped(half))]:
        _log.warning(
            "to_torch drops options that act on training only and that torch.nn.%s lacks: %s.",
            form.kind,
            "; ".join(dropped),
        )
    return module


def from_torch(module: Any) -> Any:
    """Converts a `torch.nn.RNN`, `LSTM` or `GRU` to the layer, or the stack of layers, that computes the same.

    The layer takes `(batch, time, features)`, whatever the module's `batch_first` is, and returns the output at every
    step. Before it is returned, its outputs and final states are compared with those of the module on a few random
    sequences. The two biases of RNN and LSTM are added up, as Keras has only one. The function is the same, but a step
    of training changes one bias where PyTorch changes two.

    PyTorch draws the `dropout` between layers for each step, and Keras's layers draw it once for a sequence. It is
    dropped, and one warning of the logger "elman" names it.

    Args:
        module: A `torch.nn.RNN`, `LSTM` or `GRU`, on any device that holds data. It is left as it is.

    Returns:
        A built layer with `return_sequences=True` and the module's dtype, float32 or float64. It is an
        `elman.SimpleRNN`, `LSTM` or `GRU`, in a `keras.layers.Bidirectional` if the module has two directions; for a
        module of several layers it is a `keras.Sequential` of these.

    Raises:
        ImportError: If PyTorch is not installed.
        TypeError: If `module` is not one of these, for example if it is quantized or parametrized.
        ValueError: If it has `proj_size`, other parameters than its class makes, parameters without data, or a dtype
            that is neither float32 nor float64, or that Keras's backend lacks.
        RuntimeError: If the layers' results differ from those of the module.

    Example:

        layer = elman.from_torch(torch.nn.GRU(8, 32, bidirectional=True))
        y = layer(np.zeros((32, 10, 8), "float32"))
    """
    torch = _import_torch("from_torch")
    form = form_of_module(torch, module)
    check_parameters(form, module)
    weights = {name: parameter.detach().cpu().numpy() for name, parameter in module.named_parameters()}
    stack = [_keras_layer(form, number, weights) for number in range(form.layers)]
    _check_same("from_torch", torch, form, stack, _module(torch, form, weights))
    if module.dropout and form.layers > 1:
        _log.warning(
            "from_torch drops an option that acts on training only and that Keras's layers lack: dropout=%s between "
            "the layers of torch.nn.%s.",
            module.dropout,
            form.kind,
        )
    if form.layers == 1:
        return stack[0]
    return keras.Sequential([keras.Input((None, form.features), dtype=form.dtype), *stack])


def _import_torch(function: str) -> Any:
    try:
        import torch
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ImportError(
            f'elman.{function} needs PyTorch, not installed here. Install with: python -m pip install "elman[torch]".'
        ) from error
    return torch


# --- the form of layers --------------------------------------------------------------------------------------------


def _halves(layer: Any) -> list[Any]:
    """The recurrent layers in one, in the order of torch's directions."""
    return [layer.forward_layer, layer.backward_layer] if type(layer) is keras.layers.Bidirectional else [layer]


def _stack(layer: Any) -> list[Any]:
    """The layers of a stack, each recurrent or a Bidirectional."""
    whole = layer.layers if type(layer) is keras.Sequential else layer
    parts = list(whole) if isinstance(whole, list | tuple) else [whole]
    for half in (half for part in parts for half in _halves(part)):
        if type(half) not in _KIND_OF:
            got = name_of(half) if isinstance(half, keras.Layer) else f"a {type(half).__name__}"
            raise TypeError(
                f"to_torch got {got}; expected SimpleRNN, LSTM or GRU of elman or of Keras itself, a Bidirectional of "
                "one, or a list or Sequential of only these. Take the recurrent layers out of a model, for example "
                "to_torch(model.layers[:2]); copy the weights of a class of your own into such a layer first."
            )
    if not parts:
        raise ValueError("to_torch got no layer; expected at least one. Add the recurrent layers to the stack.")
    return parts


def _form_of_layers(stack: list[Any]) -> Form:
    halves = [half for part in stack for half in _halves(part)]
    for half in halves:
        _check_half(half)
    _check_stack(stack)
    first = halves[0]
    return Form(
        kind=_KIND_OF[type(first)],
        features=_features(stack[0]),
        units=first.units,
        layers=len(stack),
        bidirectional=len(halves) > len(stack),
        bias=first.use_bias,
        activation=_name_of(first.activation),
        dtype=first.compute_dtype,
    )


def _check_half(layer: Any) -> None:
    """Raises if no module of torch computes what a recurrent layer computes."""
    name = _KIND_OF[type(layer)]
    cell = _KINDS[name].cell
    if not layer.built:
        raise _refusal(layer, "built")
    if type(layer.cell) is not cell:
        raise _refusal(layer, "cell", got=type(layer.cell).__name__, expected=cell.__name__)
    for argument, allowed in _KINDS[name].activations.items():
        got = _name_of(getattr(layer, argument))
        if got not in allowed:
            raise _refusal(layer, "activation", argument=argument, got=got, expected=" or ".join(allowed), kind=name)
    if not getattr(layer, "reset_after", True):
        raise _refusal(layer, "reset_after")
    if layer.stateful:
        raise _refusal(layer, "stateful")
    if any(np.any(_array(state)) for state in getattr(layer, "_initial_weights", ())):
        raise _refusal(layer, "initial_state")
    if layer.dtype_policy.name not in DTYPES:
        raise _refusal(layer, "dtype", got=layer.dtype_policy.name)
    _check_width("to_torch", layer)


def _check_width(function: str, layer: Any) -> None:
    """Raises if the backend has no weights of the layer's dtype: JAX by default makes float32 of float64."""
    asked, got = layer.compute_dtype, _array(layer.cell.kernel).dtype.name
    if asked != got:
        raise ValueError(
            f"{function} got {asked} for {name_of(layer)}, and Keras on {keras.config.backend()} makes {got} of it; "
            f"expected a backend that has {asked}. Use {got}, or under JAX first call "
            "jax.config.update('jax_enable_x64', True)."
        )


def _check_stack(stack: list[Any]) -> None:
    """Raises if layers cannot share one module, which has one size, one class, one dtype and so on for all layers."""
    first = _halves(stack[0])[0]
    for part in stack:
        for backward, half in enumerate(_halves(part)):
            for what, value in _alike(half).items():
                if value != _alike(first)[what]:
                    expected = f"{what}={_alike(first)[what]}"
                    raise _refusal(half, "alike", got=f"{what}={value}", expected=expected, first=name_of(first))
            if half.go_backwards != bool(backward):
                raise _refusal(half, "go_backwards", got=half.go_backwards)
        _check_directions(part, len(_halves(stack[0])))
    for before, part in itertools.pairwise(stack):
        if not _halves(before)[0].return_sequences:
            raise _refusal(before, "return_sequences")
        features, width = _features(part), len(_halves(before)) * first.units
        if features != width:
            raise _refusal(part, "features", got=features, expected=width, before=name_of(before))


def _check_directions(part: Any, expected: int) -> None:
    halves = _halves(part)
    if len(halves) != expected:
        raise _refusal(part, "directions", got=len(halves), expected=expected)
    if len(halves) == 1:
        return
    if part.merge_mode != "concat":
        raise _refusal(part, "merge_mode", got=part.merge_mode)
    if part.compute_dtype != halves[0].compute_dtype:
        raise _refusal(part, "wrapper", got=part.compute_dtype, expected=halves[0].compute_dtype)


def _alike(half: Any) -> dict[str, Any]:
    return {
        "class": _KINDS[_KIND_OF[type(half)]].stock.__name__,
        "units": half.units,
        "activation": _name_of(half.activation),
        "use_bias": half.use_bias,
        "dtype": half.compute_dtype,
    }


def _features(part: Any) -> int:
    return _halves(part)[0].cell.kernel.shape[0]


def _name_of(activation: Any) -> str:
    """The name of an activation of Keras; the representation of any other, which torch does not have."""
    name = getattr(activation, "__name__", "")
    return name if getattr(keras.activations, name, None) is activation else repr(activation)


def _refusal(layer: Any, sentence: str, **facts: Any) -> ValueError:
    return ValueError(f"to_torch got {name_of(layer)} {_SENTENCES[sentence].format(**facts)}")


def _dropped(half: Any) -> str:
    """The options of a layer that a module lacks, as the warning names them; empty if there are none."""
    names = [name for name in _TRAINING_ONLY if getattr(half, name, None)]
    return f"{', '.join(names)} of {half.name!r}" if names else ""


# --- weights -------------------------------------------------------------------------------------------------------


def _array(value: Any) -> Array:
    return np.asarray(keras.ops.convert_to_numpy(value))


def _weights(half: Any) -> list[Array]:
    """The kernel, the recurrent kernel and the bias, if there is one, without learned initial states."""
    cell = half.cell
    return [_array(weight) for weight in (cell.kernel, cell.recurrent_kernel, cell.bias) if weight is not None]


def _torch_weights(form: Form, stack: list[Any]) -> dict[str, Array]:
    """The weights of layers, by the names of a module's parameters."""
    kind = _KINDS[form.kind]
    found: dict[str, Array] = {}
    halves = [half for part in stack for half in _halves(part)]
    for half, suffix in zip(halves, suffixes(form), strict=True):
        kernel, recurrent_kernel, *bias = (reordered(w, kind.keras_gates, kind.torch_gates) for w in _weights(half))
        found |= {f"weight_ih_{suffix}": kernel.T, f"weight_hh_{suffix}": recurrent_kernel.T}
        for both in bias:  # GRU's has two rows: before and after the reset gate
            input_bias, recurrent_bias = both if both.ndim == 2 else (both, np.zeros_like(both))
            found |= {f"bias_ih_{suffix}": input_bias, f"bias_hh_{suffix}": recurrent_bias}
    return found


def _module(torch: Any, form: Form, weights: dict[str, Array]) -> Any:
    """Makes a module with these weights."""
    on_meta = stock(torch.nn, form.kind)(  # there no initial weights are drawn
        form.features,
        form.units,
        num_layers=form.layers,
        bias=form.bias,
        batch_first=True,
        bidirectional=form.bidirectional,
        device="meta",
        dtype=getattr(torch, form.dtype),
        **({"nonlinearity": form.activation} if form.kind == "RNN" else {}),
    )
    module = on_meta.to_empty(device="cpu")
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(torch.from_numpy(weights[name].copy()))
    return module


def _keras_layer(form: Form, number: int, weights: dict[str, Array]) -> Any:
    """Makes one layer of a stack, built, with its weights."""
    directions = 2 if form.bidirectional else 1
    options = {"activation": form.activation} if form.kind == "RNN" else {}
    layer = _KINDS[form.kind].own(form.units, use_bias=form.bias, return_sequences=True, dtype=form.dtype, **options)
    if form.bidirectional:
        layer = keras.layers.Bidirectional(layer, merge_mode="concat", dtype=form.dtype)
    layer.build((None, None, directions * form.units if number else form.features))
    ends = suffixes(form)[number * directions :]
    for half, suffix in zip(_halves(layer), ends, strict=False):
        _check_width("from_torch", half)
        half.set_weights(keras_weights(form, suffix, weights))
    return layer


# --- the check -----------------------------------------------------------------------------------------------------


def _check_same(function: str, torch: Any, form: Form, stack: list[Any], module: Any) -> None:
    """Compares the results of layers and module on random sequences, which are the same each time.

    Each result may differ by the square root of its dtype's epsilon times its largest value: half of the digits. Two
    correct computations differ by rounding, which in a few steps changes a few digits at most. If two gates, biases or
    directions are swapped, no digit agrees.

    Raises:
        RuntimeError: If they differ by more, or are not finite.
    """
    size = (_SEQUENCES, _STEPS, form.features)
    x = np.random.default_rng(0).normal(size=size).astype(form.dtype)
    by_torch, by_keras = _run_module(torch, module, x), _run_layers(stack, x)
    for what, expected in by_torch.items():
        difference = float(np.max(np.abs(by_keras[what] - expected)))
        largest = float(np.max(np.abs(expected)))
        allowed = float(np.sqrt(np.finfo(form.dtype).eps)) * largest
        if not difference <= allowed:  # also if it is NaN
            raise RuntimeError(
                f"{function} compared torch.nn.{form.kind} with {', '.join(map(name_of, stack))}, and they differ by "
                f"{difference:.3g} in the {what} of {_SEQUENCES} random sequences of {_STEPS} steps; expected at most "
                f"{allowed:.3g}, half of the digits of the largest value, {largest:.3g}. Nothing is returned. Look for "
                "weights that are not finite, or so large that rounding alone does this: in float64 it then does not "
                f"occur. Otherwise report it, with PyTorch {torch.__version__}, Keras {keras.__version__} and its "
                f"backend {keras.config.backend()}."
            )


def _run_module(torch: Any, module: Any, x: Array) -> dict[str, Array]:
    with torch.no_grad():
        y, states = module(torch.from_numpy(x))
    return _results(y.numpy(), [state.numpy() for state in (states if isinstance(states, tuple) else (states,))])


def _run_layers(stack: list[Any], x: Array) -> dict[str, Array]:
    state = random.getstate()  # from which Keras draws seeds for each new layer
    try:
        with keras.device("cpu"):  # elsewhere, matrices may be multiplied in fewer digits
            y, found = x, []
            for layer in stack:
                y, *states = _twin(layer)(y)
                found += [_array(s) for s in states]
            of_each = len(states) // len(_halves(stack[0]))  # LSTM has h and c
            return _results(_array(y), [np.stack(found[which::of_each]) for which in range(of_each)])
    finally:
        random.setstate(state)


def _results(y: Array, states: list[Array]) -> dict[str, Array]:
    return {"outputs": y} | dict(zip(("final states h", "final states c"), states, strict=False))


def _twin(layer: Any) -> Any:
    """A copy of a layer that returns every step and the last states. A call of the layer itself would set its route."""
    twins = [_recurrent_twin(half) for half in _halves(layer)]
    twin = twins[0]
    if len(twins) == 2:
        forward, backward = twins
        twin = keras.layers.Bidirectional(
            forward, backward_layer=backward, merge_mode="concat", name=layer.name, dtype=layer.dtype_policy
        )
    twin.build((None, None, _features(layer)))
    for half, new in zip(_halves(layer), _halves(twin), strict=True):
        new.set_weights(_weights(half))
    return twin


def _recurrent_twin(half: Any) -> Any:
    options = {name: getattr(half, name) for name in _COMPUTES if hasattr(half, name)}
    # In float64 Keras's own layers multiply in float32 on PyTorch, and fail on JAX.
    kind = _KINDS[_KIND_OF[type(half)]].own if half.compute_dtype == "float64" else type(half)
    return kind(
        **options,
        kernel_initializer="zeros",
        recurrent_initializer="zeros",
        return_sequences=True,
        return_state=True,
        name=half.name,
        dtype=half.dtype_policy,
    )
