# SPDX-License-Identifier: Apache-2.0
"""The `torch.nn.RNN`, `LSTM` or `GRU` that is converted: what it is made with, and its weights in Keras's order.

In: a module. Out: its form, or an error that says why nothing else computes the same. Neither PyTorch nor Keras is
imported.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from elman.cells import BY_KERAS, Cell

Array = np.ndarray
DTYPES = ("float32", "float64")
BY_TORCH: dict[str, Cell] = {cell.torch: cell for cell in BY_KERAS.values()}  # by the name of the class
_OWNERS = ("torch.nn.modules.rnn", "elman.torch")  # the modules that define classes of these forms
_QUANTIZED = ("torch.ao.nn.", "torch.nn.quantized", "torch.nn.quantizable")  # where PyTorch keeps quantized modules


class Form(NamedTuple):
    """The arguments of a module. `kind` is the name of its class, and `activation` matters for RNN only."""

    kind: str
    features: int
    units: int
    layers: int
    bidirectional: bool
    bias: bool
    activation: str
    dtype: str


def form_of_module(torch: Any, module: Any) -> Form:
    """The form of a module.

    Raises:
        TypeError: If it is not one of the three classes itself.
        ValueError: If nothing else computes the same, or its parameters are not those of its class.
    """
    kind = type(module)
    is_known = isinstance(module, torch.nn.RNNBase) and kind.__module__ in _OWNERS and kind.__name__ in BY_TORCH
    if type(module).__module__.startswith(_QUANTIZED):
        raise TypeError(
            f"from_torch got a quantized {type(module).__name__} ({type(module).__module__}); expected torch.nn.RNN, "
            "LSTM or GRU itself, whose weights are float32 or float64. Convert the module from which this one was "
            "made, as it was before quantization."
        )
    if not is_known:
        raise TypeError(
            f"from_torch got a {type(module).__name__}; expected torch.nn.RNN, LSTM or GRU itself. If it is a "
            "model, pass its recurrent module; if torch.compile returned it, pass its _orig_mod. Make a "
            "parametrization permanent first, and load the state_dict of a class of your own into such a module."
        )
    name = kind.__name__
    if module.proj_size:
        raise ValueError(
            f"from_torch got torch.nn.{name} with proj_size={module.proj_size}; expected 0, as elman's and Keras's "
            "layers do not project their state. Leave it in PyTorch, or train one without it."
        )
    form = Form(
        kind=name,
        features=module.input_size,
        units=module.hidden_size,
        layers=module.num_layers,
        bidirectional=module.bidirectional,
        bias=module.bias,
        activation=getattr(module, "nonlinearity", "tanh"),
        dtype=_dtype_of(name, module),
    )
    got, expected = {name for name, _ in module.named_parameters()}, set(shapes_of(form))
    if got != expected:
        raise ValueError(
            f"from_torch got torch.nn.{name} with parameters {', '.join(sorted(got ^ expected))} too many or missing; "
            "expected those that its class makes. Make a weight_norm or a pruning permanent first, for example with "
            "torch.nn.utils.remove_weight_norm."
        )
    return form


def check_parameters(form: Form, module: Any) -> None:
    """Raises if a parameter has no data to copy, or another shape than the module's attributes say."""
    if form.activation not in {"tanh", "relu"}:
        raise ValueError(
            f"from_torch got torch.nn.{form.kind} with nonlinearity={form.activation!r}; expected 'tanh' or 'relu'. "
            "Set the attribute back to the one that the module was trained with."
        )
    shapes = shapes_of(form)
    for name, parameter in module.named_parameters():
        missing = _missing_data(parameter)
        if missing:
            raise ValueError(
                f"from_torch got torch.nn.{form.kind} whose {name} {missing}; expected parameters that hold numbers. "
                "Load the weights first: module.to_empty(device='cpu'), then module.load_state_dict(...)."
            )
        if tuple(parameter.shape) != shapes[name]:
            raise ValueError(
                f"from_torch got torch.nn.{form.kind} whose {name} has shape {tuple(parameter.shape)}; expected "
                f"{shapes[name]}, which follows from input_size={form.features} and hidden_size={form.units}. Make a "
                "module of the right size and load the state_dict into it."
            )


def _missing_data(parameter: Any) -> str:
    """Why a parameter has no numbers to read; empty if it has them."""
    if parameter.is_meta:
        return "is on the device 'meta', which holds shapes only"
    if str(parameter.layout) != "torch.strided":
        return f"has the layout {parameter.layout}"
    if parameter.untyped_storage().nbytes() < parameter.numel() * parameter.element_size():
        return "has no memory, as after sharding or offloading"
    return ""


def _dtype_of(name: str, module: Any) -> str:
    dtypes = sorted({str(parameter.dtype).removeprefix("torch.") for parameter in module.parameters()})
    if len(dtypes) != 1 or dtypes[0] not in DTYPES:
        raise ValueError(
            f"from_torch got torch.nn.{name} of dtype {' and '.join(dtypes)}; expected float32 or float64, for which "
            "both sides compute the same. Pass a copy, copy.deepcopy(module).float()."
        )
    return dtypes[0]


def suffixes(form: Form) -> list[str]:
    """The ends of the names of parameters, for each layer and in it for each direction."""
    directions = ("", "_reverse") if form.bidirectional else ("",)
    return [f"l{number}{direction}" for number in range(form.layers) for direction in directions]


def shapes_of(form: Form) -> dict[str, tuple[int, ...]]:
    """The shapes of the parameters that a module's class makes, by their names."""
    rows = len(BY_TORCH[form.kind].gates) * form.units
    found: dict[str, tuple[int, ...]] = {}
    for i, suffix in enumerate(suffixes(form)):
        directions = 2 if form.bidirectional else 1
        columns = form.features if i < directions else directions * form.units
        found |= {f"weight_ih_{suffix}": (rows, columns), f"weight_hh_{suffix}": (rows, form.units)}
        if form.bias:
            found |= {f"bias_ih_{suffix}": (rows,), f"bias_hh_{suffix}": (rows,)}
    return found


def reordered(weight: Array, old: str, new: str) -> Array:
    """Puts the blocks of the last axis, one for each gate, into another order."""
    blocks = np.split(weight, len(old), axis=-1)
    return np.concatenate([blocks[old.index(gate)] for gate in new], axis=-1)


def keras_weights(form: Form, suffix: str, weights: dict[str, Array]) -> list[Array]:
    """The weights of one recurrent layer, in Keras's order."""
    cell = BY_TORCH[form.kind]
    old, new = "".join(cell.torch_gates), "".join(cell.gates)
    found = [weights[f"weight_ih_{suffix}"].T, weights[f"weight_hh_{suffix}"].T]
    if form.bias:
        both = np.stack([weights[f"bias_ih_{suffix}"], weights[f"bias_hh_{suffix}"]])
        found.append(both if cell.two_biases(reset_after=True) else both.sum(axis=0))
    return [reordered(weight, old, new) for weight in found]
