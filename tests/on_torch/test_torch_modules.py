# SPDX-License-Identifier: Apache-2.0
"""`elman.from_torch` and `elman.to_torch`: the same numbers on both sides, and a sentence where that cannot be.

A module in float64 is the truth, and in float32 the yardstick of the rule in tests/tolerance.py: for outputs, final
states and the gradient of the input. Other backends than PyTorch run in a process of their own.
"""

from __future__ import annotations

import copy
import itertools
import logging
import os
import random
import re
import subprocess
import sys
from typing import Any

import keras
import numpy as np
import pytest
import torch
from torch.nn.utils import prune

import elman
import tolerance
from elman import torch_forms, torch_modules

Array = np.ndarray
FEATURES, UNITS = 3, 5
X = np.random.default_rng(0).normal(size=(4, 6, FEATURES))
KINDS = {"tanh": ("RNN", {"nonlinearity": "tanh"}), "relu": ("RNN", {"nonlinearity": "relu"})} | {
    name: (name, {}) for name in ("LSTM", "GRU")
}
FORMS = list(itertools.product(KINDS, (1, 2, 3), (False, True), (False, True)))
IDS = [f"{name}-{layers}-{'both' if two else 'one'}-{'bias' if bias else 'plain'}" for name, layers, two, bias in FORMS]
RNN, LSTM, GRU = elman.SimpleRNN, elman.LSTM, elman.GRU
Bidirectional = keras.layers.Bidirectional


def module_of(name: str, layers: int = 1, two: bool = False, bias: bool = True, **arguments: Any) -> Any:
    kind, own = KINDS[name]
    torch.manual_seed(1)
    arguments = {"batch_first": True, "bidirectional": two, "bias": bias} | own | arguments
    return getattr(torch.nn, kind)(FEATURES, UNITS, num_layers=layers, **arguments)


def built(layer: Any, features: int = FEATURES) -> Any:
    """A layer with no weight at zero."""
    layer.build((None, None, features))
    rng = np.random.default_rng(3)
    layer.set_weights([rng.normal(size=w.shape, scale=0.4) for w in layer.get_weights()])
    return layer


def by_module(module: Any, dtype: str = "float64") -> dict[str, Array]:
    """Outputs, final states and the gradient of x, of a loss that reads them all."""
    x = torch.tensor(X.astype(dtype), requires_grad=True)
    y, states = copy.deepcopy(module).to(x.dtype)(x)
    return named(x, y, states if isinstance(states, tuple) else (states,))


def by_layers(stack: Any, dtype: str) -> dict[str, Array]:
    """The same by layers, each made again to return its states, with the weights that it has."""
    parts = stack.layers if isinstance(stack, keras.Sequential) else [stack]
    x = torch.tensor(X.astype(dtype), requires_grad=True)
    y, found, of_each = x, [], 1
    for part in parts:
        y, *states = with_states(part)(y)
        of_each = len(states) // (2 if isinstance(part, Bidirectional) else 1)
        found += states
    return named(x, y, [torch.stack(found[which::of_each]) for which in range(of_each)])


def with_states(part: Any) -> Any:
    config = part.get_config()
    inner = config["layer"]["config"] if isinstance(part, Bidirectional) else config
    inner["return_state"] = True
    if isinstance(part, Bidirectional):
        config["backward_layer"]["config"]["return_state"] = True
    twin = type(part).from_config(config)
    twin.build((None, None, part.weights[0].shape[0]))
    twin.set_weights(part.get_weights())
    return twin


def named(x: torch.Tensor, y: torch.Tensor, states: Any) -> dict[str, Array]:
    weights = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).reshape(y.shape)
    loss = (weights * y).sum() + sum((s * s).sum() for s in states)
    (dx,) = torch.autograd.grad(loss, x)
    results = {"y": y, "h": states[0], "dx": dx} | ({"c": states[1]} if len(states) == 2 else {})
    return {name: tensor.detach().numpy() for name, tensor in results.items()}


def same(a: Any, b: Any) -> bool:
    return len(a) == len(b) and all(x.dtype == y.dtype and np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if "drops" in r.getMessage()]


# --- both ways -----------------------------------------------------------------------------------------------------


@pytest.mark.medium
@pytest.mark.at_most(24)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "layers", "two", "bias"), FORMS, ids=IDS)
def test_both_ways_compute_what_the_module_does(name, layers, two, bias, dtype):
    module = module_of(name, layers, two, bias, dtype=getattr(torch, dtype))
    made = elman.from_torch(module)
    back = elman.to_torch(made)
    truth, stock = by_module(module), by_module(module, dtype)
    for by, got in {"layers": by_layers(made, dtype), "module": by_module(back, dtype)}.items():
        assert got.keys() == truth.keys()
        for what, array in got.items():
            if dtype == "float64":
                tolerance.assert_float64(array, truth[what], f"{by}: {what}")
            else:
                tolerance.Grid().check(what, array, truth[what], stock[what], by)


@pytest.mark.medium
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(("layers", "two", "bias"), [(1, False, True), (1, True, False), (3, True, True)])
def test_a_stack_that_went_both_ways_has_the_same_bits(name, layers, two, bias):
    made = elman.from_torch(module_of(name, layers, two, bias))
    again = elman.from_torch(elman.to_torch(made))
    assert same(again.get_weights(), made.get_weights())
    assert type(again) is type(made)
    assert [type(part) for part in again._flatten_layers()] == [type(part) for part in made._flatten_layers()]


@pytest.mark.parametrize("name", KINDS)
def test_a_module_that_went_both_ways_is_made_the_same(name):
    module = module_of(name, 2, True)
    back = elman.to_torch(elman.from_torch(module))
    assert repr(back) == repr(module)
    for key, parameter in module.state_dict().items():
        if name == "GRU" or key.startswith("weight"):
            assert torch.equal(back.state_dict()[key], parameter)
        elif key.startswith("bias_ih"):
            assert torch.equal(back.state_dict()[key], parameter + module.state_dict()[key.replace("_ih", "_hh")])
        else:
            assert not back.state_dict()[key].any()


def test_what_from_torch_returns():
    one = elman.from_torch(module_of("LSTM"))
    assert (type(one), one.return_sequences, one.built) == (LSTM, True, True)
    both = elman.from_torch(module_of("GRU", two=True))
    assert (type(both), both.merge_mode, both.built) == (Bidirectional, "concat", True)
    assert (type(both.forward_layer), both.backward_layer.go_backwards) == (GRU, True)
    several = elman.from_torch(module_of("relu", 3, dtype=torch.float64))
    assert [type(part) for part in several.layers] == [RNN] * 3
    assert (several.input_shape, several.output_shape) == ((None, None, FEATURES), (None, None, UNITS))
    assert {w.dtype for w in several.weights} == {"float64"}
    assert several(X).dtype == torch.float64


def test_what_to_torch_returns_is_new():
    layer = built(LSTM(UNITS))
    before = layer.get_weights()
    module = elman.to_torch(layer)
    assert module.training
    assert all(p.requires_grad and p.is_leaf and p.device.type == "cpu" for p in module.parameters())
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    assert same(layer.get_weights(), before)
    assert layer.route is None
    module(torch.zeros(2, 3, FEATURES))[0].sum().backward()


def test_time_first_is_read_the_same():
    module = module_of("GRU", 2, True)
    first = module_of("GRU", 2, True, batch_first=False)
    assert same(elman.from_torch(first).get_weights(), elman.from_torch(module).get_weights())


STOCK = [keras.layers.SimpleRNN, keras.layers.LSTM, keras.layers.GRU]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("stock", STOCK, ids=lambda kind: kind.__name__)
def test_keras_own_layers_become_modules_too(stock, dtype):
    layer = built(Bidirectional(stock(UNITS, return_sequences=True, dtype=dtype), dtype=dtype))
    got = elman.to_torch(layer)(torch.tensor(X.astype(dtype)))[0].detach().numpy()
    assert got.dtype == dtype
    np.testing.assert_allclose(got, keras.ops.convert_to_numpy(layer(X.astype(dtype))), atol=1e-6)


def test_a_stack_is_a_list_a_tuple_or_a_sequential():
    parts = [built(GRU(UNITS, return_sequences=True)), built(GRU(UNITS), UNITS)]
    model = keras.Sequential([keras.Input((None, FEATURES)), *parts])
    expected = keras.ops.convert_to_numpy(model(X.astype("float32")))
    for stack in (parts, tuple(parts), model):
        module = elman.to_torch(stack)
        got = module(torch.tensor(X, dtype=torch.float32))[0][:, -1].detach().numpy()
        np.testing.assert_allclose(got, expected, atol=1e-6)


def test_a_file_of_what_was_made_loads(tmp_path):
    made = elman.from_torch(module_of("LSTM", 2, True))
    made.save(tmp_path / "made.keras")
    loaded = keras.models.load_model(tmp_path / "made.keras")
    x = X.astype("float32")
    assert same(loaded.get_weights(), made.get_weights())
    assert torch.equal(loaded(x), made(x))


# --- options that are dropped, and what stays unchanged ---------------------------------------------------------------


def test_what_acts_on_training_only_is_named_in_one_warning(caplog):
    first = built(RNN(UNITS, return_sequences=True, recurrent_dropout=0.2, bias_constraint="non_neg", name="first"))
    rich = RNN(UNITS, dropout=0.1, kernel_regularizer="l2", truncate_gradient=2, learn_initial_state=True, name="rich")
    rich.build((None, None, UNITS))  # its learned state is zero
    with caplog.at_level(logging.WARNING, "elman"):
        elman.to_torch([first, rich])
    said = (
        "to_torch drops options that act on training only and that torch.nn.RNN lacks: recurrent_dropout, "
        "bias_constraint of 'first'; dropout, truncate_gradient, learn_initial_state, kernel_regularizer of 'rich'."
    )
    assert warnings_of(caplog) == [said]


def test_dropout_between_layers_is_named(caplog):
    with caplog.at_level(logging.WARNING, "elman"):
        made = elman.from_torch(module_of("LSTM", 2, dropout=0.3))
    said = (
        "from_torch drops an option that acts on training only and that Keras's layers lack: dropout=0.3 between the "
        "layers of torch.nn.LSTM."
    )
    assert warnings_of(caplog) == [said]
    assert [part.dropout for part in made.layers] == [0, 0]


def test_random_states_stay_unchanged(caplog):
    layer, module = built(Bidirectional(keras.layers.SimpleRNN(UNITS, return_sequences=True))), module_of("LSTM", 2)
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    made = elman.to_torch(layer)
    assert random.getstate() == before[2]
    elman.from_torch(module)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    assert made.training
    assert not caplog.records


def test_names_of_later_layers_stay_unchanged():
    layer = built(Bidirectional(GRU(UNITS, return_sequences=True)))
    before = [int(name.rpartition("_")[2]) for name in (GRU(1).name, Bidirectional(GRU(1)).name)]
    elman.to_torch(layer)
    after = [int(name.rpartition("_")[2]) for name in (GRU(1).name, Bidirectional(GRU(1)).name)]
    assert [new - old for old, new in zip(before, after, strict=True)] == [2, 1]


# --- the check -----------------------------------------------------------------------------------------------------


@pytest.mark.medium
@pytest.mark.parametrize("function", ["to_torch", "from_torch"])
@pytest.mark.parametrize(("name", "order"), [("LSTM", "figo"), ("LSTM", "ifog"), ("GRU", "zrn"), ("GRU", "nzr")])
def test_gates_in_another_order_are_found_out(monkeypatch, function, name, order):
    given = elman.from_torch(module_of(name, 2, True)) if function == "to_torch" else module_of(name, 2, True)
    rows = torch_modules._KINDS if function == "to_torch" else torch_forms.BY_TORCH
    monkeypatch.setitem(rows, name, rows[name]._replace(torch_gates=order))
    with pytest.raises(RuntimeError) as caught:
        getattr(elman, function)(given)
    said = str(caught.value)
    assert re.match(
        rf"{function} compared torch\.nn\.{name} with Bidirectional '.*', Bidirectional '.*', and they differ by "
        r"[\d.e-]+ in the outputs of 3 random sequences of 7 steps; expected at most [\d.e-]+, half of the digits of "
        r"the largest value, [\d.]+\. Nothing is returned\. Look for weights that are not finite, .*\. Otherwise "
        r"report it, with PyTorch .*, Keras .* and its backend torch\.$",
        said,
    ), said


@pytest.mark.parametrize("key", ["weight_hh_l1_reverse", "weight_ih_l0", "bias_ih_l1", "bias_hh_l0_reverse"])
def test_one_wrong_number_is_found_out(monkeypatch, key):
    stack = elman.from_torch(module_of("GRU", 2, True))
    make = torch_modules._torch_weights

    def tampered(*arguments: Any) -> dict[str, Array]:
        weights = {name: array.copy() for name, array in make(*arguments).items()}
        weights[key].flat[-1] += 0.05
        return weights

    monkeypatch.setattr(torch_modules, "_torch_weights", tampered)
    with pytest.raises(RuntimeError, match=r"to_torch compared .* differ by"):
        elman.to_torch(stack)


def test_a_difference_in_only_a_final_state_is_found(monkeypatch):
    run = torch_modules._run_module

    def tampered(*arguments: Any) -> dict[str, Array]:
        results = run(*arguments)
        return results | {"final states c": results["final states c"][::-1]}

    monkeypatch.setattr(torch_modules, "_run_module", tampered)
    with pytest.raises(RuntimeError, match=r"in the final states c of 3 random sequences"):
        elman.from_torch(module_of("LSTM", 2))


def test_weights_that_are_not_finite_are_found_out():
    module = module_of("tanh")
    with torch.no_grad():
        module.weight_hh_l0[0, 0] = float("nan")
    with pytest.raises(RuntimeError, match=r"differ by nan in the outputs .* Look for weights that are not finite"):
        elman.from_torch(module)


# --- what cannot be done -------------------------------------------------------------------------------------------


class Mine(elman.LSTM):
    pass


class OwnCell(keras.layers.LSTMCell):
    pass


def swapped(layer: Any) -> Any:
    layer.cell = OwnCell(UNITS)
    return built(layer)


def learned() -> Any:
    return built(LSTM(UNITS, learn_initial_state=True, name="a"))


def two(forward: Any, backward: Any, **arguments: Any) -> Any:
    return built(Bidirectional(forward, backward_layer=backward, name="a", **arguments))


def doubled(x: Any) -> Any:
    return 2 * x


S = {"return_sequences": True}
REFUSED = {
    "not built": (
        lambda: GRU(UNITS, name="a"),
        r"GRU 'a' that is not built; expected weights\. First call it, or its b",
    ),
    "cell": (
        lambda: swapped(LSTM(UNITS, name="a")),
        r"LSTM 'a' with OwnCell as its cell; expected LSTMCell itself\. Leave it in Keras\.",
    ),
    "activation": (
        lambda: built(RNN(UNITS, activation="sigmoid", name="a")),
        r"SimpleRNN 'a' with activation=sigmoid; expected tanh or relu, which torch\.nn\.RNN has\. Train it with that",
    ),
    "own function": (
        lambda: built(RNN(UNITS, activation=doubled, name="a", native=False)),
        r"SimpleRNN 'a' with activation=<function doubled at .*>; expected tanh or relu",
    ),
    "gated activation": (
        lambda: built(GRU(UNITS, activation="relu", name="a")),
        r"GRU 'a' with activation=relu; expected tanh, which torch\.nn\.GRU has",
    ),
    "recurrent activation": (
        lambda: built(LSTM(UNITS, recurrent_activation="hard_sigmoid", name="a")),
        r"LSTM 'a' with recurrent_activation=hard_sigmoid; expected sigmoid, which torch\.nn\.LSTM has",
    ),
    "reset_after": (
        lambda: built(GRU(UNITS, reset_after=False, name="a")),
        r"GRU 'a' with reset_after=False; expected reset_after=True, .*\. Train it with that, or leave it in Keras",
    ),
    "go_backwards": (
        lambda: built(GRU(UNITS, go_backwards=True, name="a")),
        r"GRU 'a' with go_backwards=True; expected False, and True only in .* Make one without it, .* torch\.flip",
    ),
    "backward first": (
        lambda: two(GRU(UNITS, go_backwards=True, **S, name="b"), GRU(UNITS, **S, name="c")),
        r"GRU 'forward_b' with go_backwards=True; expected False, and True only in the second direction",
    ),
    "learned": (
        learned,
        r"LSTM 'a' with a learned initial state that is not zero; expected a layer that starts from zero",
    ),
    "mixed precision": (
        lambda: built(LSTM(UNITS, dtype="mixed_bfloat16", name="a")),
        r"LSTM 'a' of dtype mixed_bfloat16; expected float32 or float64, .* Make one with dtype='float32'",
    ),
    "sizes": (
        lambda: [built(RNN(UNITS, **S, name="a")), built(RNN(UNITS + 1, name="b"), UNITS)],
        r"SimpleRNN 'b' with units=6; expected units=5, as SimpleRNN 'a' has it, .*\. Convert the layers one by one",
    ),
    "kinds": (
        lambda: [built(GRU(UNITS, **S, name="a")), built(LSTM(UNITS, name="b"), UNITS)],
        r"LSTM 'b' with class=LSTM; expected class=GRU, as GRU 'a' has",
    ),
    "biases": (
        lambda: two(GRU(UNITS, name="b"), GRU(UNITS, use_bias=False, go_backwards=True, name="c")),
        r"GRU 'c' with use_bias=False; expected use_bias=True, as GRU 'forward_b' has",
    ),
    "activations": (
        lambda: two(RNN(UNITS, name="b"), RNN(UNITS, activation="relu", go_backwards=True, name="c")),
        r"SimpleRNN 'c' with activation=relu; expected activation=tanh, as SimpleRNN 'forward_b' has",
    ),
    "dtypes": (
        lambda: [built(RNN(UNITS, **S, name="a")), built(RNN(UNITS, dtype="float64", name="b"), UNITS)],
        r"SimpleRNN 'b' with dtype=float64; expected dtype=float32, as SimpleRNN 'a' has",
    ),
    "directions": (
        lambda: [built(Bidirectional(RNN(UNITS, **S), name="a")), built(RNN(UNITS, name="b"), 2 * UNITS)],
        r"SimpleRNN 'b' of 1 direction\(s\); expected 2, as the first layer of the stack has",
    ),
    "merge_mode": (
        lambda: built(Bidirectional(LSTM(UNITS), merge_mode="sum", name="a")),
        r"Bidirectional 'a' with merge_mode='sum'; expected 'concat', as in torch's modules",
    ),
    "wrapper": (
        lambda: built(Bidirectional(LSTM(UNITS, dtype="float64"), dtype="float32", name="a")),
        r"Bidirectional 'a' of dtype float32, to which it rounds its input; expected float64, as the layers in it have",
    ),
    "return_sequences": (
        lambda: [built(RNN(UNITS, name="a")), built(RNN(UNITS, name="b"), UNITS)],
        r"SimpleRNN 'a' with return_sequences=False before the last layer; expected sequences from every layer but the",
    ),
    "order": (
        lambda: [built(RNN(UNITS, **S, name="b"), UNITS), built(RNN(UNITS, **S, name="a"))],
        r"SimpleRNN 'a' for 3 features; expected 5, the size of the output of SimpleRNN 'b'\. Put the layers in the",
    ),
    "nothing": (list, r"no layer; expected at least one"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_no_module_computes_is_refused(case):
    make, sentence = REFUSED[case]
    with pytest.raises(ValueError, match=f"^to_torch got {sentence}"):
        elman.to_torch(make())


def test_a_stateful_layer_is_refused():
    layer = GRU(UNITS, stateful=True, name="a")
    layer.build((2, None, FEATURES))
    with pytest.raises(ValueError, match=r"GRU 'a' with stateful=True; expected a layer that starts from zero\. .* hx"):
        elman.to_torch(layer)


KINDLESS = {
    "Dense": (lambda: keras.Sequential([built(GRU(UNITS)), keras.layers.Dense(1, name="head")]), "Dense 'head'"),
    "own class": (lambda: built(Mine(UNITS, name="mine")), "Mine 'mine'"),
    "in a Bidirectional": (lambda: Bidirectional(Mine(UNITS, name="mine")), "Mine 'forward_mine'"),
    "module": (lambda: module_of("GRU"), "a GRU"),
    "text": (lambda: ["lstm"], "a str"),
}


@pytest.mark.parametrize("case", KINDLESS)
def test_what_is_no_recurrent_layer_is_refused(case):
    make, got = KINDLESS[case]
    with keras.saving.custom_object_scope({"Mine": Mine}):
        given = make()
    with pytest.raises(TypeError, match=rf"^to_torch got {got}; expected SimpleRNN, LSTM or GRU of elman or of Keras"):
        elman.to_torch(given)


class OwnModule(torch.nn.LSTM):
    pass


def parametrized() -> Any:
    module = module_of("LSTM")
    torch.nn.utils.parametrizations.weight_norm(module, "weight_hh_l0")
    return module


@pytest.mark.parametrize(
    ("make", "got"),
    [
        (lambda: OwnModule(3, 5), "OwnModule"),
        (lambda: torch.nn.LSTMCell(3, 5), "LSTMCell"),
        (parametrized, "ParametrizedLSTM"),
        (lambda: built(LSTM(UNITS)), "LSTM"),
        (lambda: None, "NoneType"),
    ],
)
def test_what_is_no_module_of_torch_is_refused(make, got):
    with pytest.raises(
        TypeError, match=rf"^from_torch got a {got}; expected torch\.nn\.RNN, LSTM or GRU itself\. If it is"
    ):
        elman.from_torch(make())


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")  # PyTorch deprecates what it made
def test_a_quantized_module_is_refused():
    module = torch.ao.nn.quantized.dynamic.LSTM(FEATURES, UNITS)
    with pytest.raises(
        TypeError,
        match=r"^from_torch got a quantized LSTM \(torch\.ao\.nn\.quantized\..*\); expected .* before quantization",
    ):
        elman.from_torch(module)


def freed() -> Any:
    module = module_of("GRU")
    module.weight_hh_l0.untyped_storage().resize_(0)
    return module


def resized() -> Any:
    module = module_of("GRU", 2, True)
    module.hidden_size = 7
    return module


def renamed() -> Any:
    module = module_of("tanh")
    module.nonlinearity = "sigmoid"
    return module


def sparse() -> Any:
    module = module_of("tanh")
    module.weight_hh_l0 = torch.nn.Parameter(module.weight_hh_l0.detach().to_sparse())
    return module


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: module_of("LSTM", device="meta"), r"whose weight_ih_l0 is on the device 'meta', which .*to_empty"),
        (freed, r"whose weight_hh_l0 has no memory, as after sharding or offloading; expected .*load_state_dict"),
        (sparse, r"whose weight_hh_l0 has the layout torch\.sparse_coo; expected parameters that hold numbers"),
        (resized, r"whose weight_ih_l0 has shape \(15, 3\); expected \(21, 3\), which follows from .*hidden_size=7"),
        (renamed, r"with nonlinearity='sigmoid'; expected 'tanh' or 'relu'\. Set the attribute back"),
    ],
    ids=["meta", "freed", "sparse", "resized", "nonlinearity"],
)
def test_parameters_that_cannot_be_copied_are_refused(make, sentence):
    with pytest.raises(ValueError, match=rf"^from_torch got torch\.nn\.(LSTM|GRU|RNN) {sentence}"):
        elman.from_torch(make())


def test_a_projection_is_refused():
    with pytest.raises(
        ValueError, match=r"^from_torch got torch\.nn\.LSTM with proj_size=2; expected 0, .* Leave it in"
    ):
        elman.from_torch(module_of("LSTM", proj_size=2))


def test_half_types_are_refused():
    with pytest.raises(
        ValueError, match=r"torch\.nn\.GRU of dtype bfloat16; expected float32 or float64, .*\.float\(\)"
    ):
        elman.from_torch(module_of("GRU", dtype=torch.bfloat16))


def test_parameters_that_the_class_does_not_make_are_refused():
    module = module_of("tanh")
    prune.random_unstructured(module, "weight_hh_l0", 0.5)
    with pytest.raises(ValueError, match=r"torch\.nn\.RNN with parameters weight_hh_l0, weight_hh_l0_orig too many or"):
        elman.from_torch(module)


@pytest.mark.parametrize("function", ["to_torch", "from_torch"])
def test_without_torch_the_sentence_says_how_to_install_it(monkeypatch, function):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(
        ImportError, match=rf'elman\.{function} needs PyTorch, not installed here\. .* "elman\[torch\]"'
    ):
        getattr(elman, function)(None)


# --- other backends ------------------------------------------------------------------------------------------------

RUN = """
import logging, sys
import elman, keras
import numpy as np, torch

logging.basicConfig(stream=sys.stderr)
torch.manual_seed(0)
x = np.random.default_rng(0).normal(size=(4, 6, 3)).astype("float32")
for kind, layers in ((torch.nn.RNN, 1), (torch.nn.LSTM, 1), (torch.nn.GRU, 2)):
    module = kind(3, 5, num_layers=layers, bidirectional=True, batch_first=True)
    layers = elman.from_torch(module)
    back = elman.to_torch(layers)
    expected = module(torch.tensor(x))[0].detach().numpy()
    for y in (keras.ops.convert_to_numpy(layers(x)), back(torch.tensor(x))[0].detach().numpy()):
        np.testing.assert_allclose(y, expected, atol=1e-6)
try:
    elman.from_torch(torch.nn.GRU(3, 5, dtype=torch.float64))
    print(keras.config.backend(), "has float64")
except ValueError as error:
    print(keras.config.backend(), error)
"""
SAID = {
    "tensorflow": "tensorflow has float64",
    "jax": "jax from_torch got float64 for GRU 'gru', and Keras on jax makes float32 of it; expected a backend that has"
    " float64. Use float32, or under JAX first call jax.config.update('jax_enable_x64', True).",
}


@pytest.mark.medium
@pytest.mark.at_most(1)
@pytest.mark.parametrize("backend", [pytest.param(name, marks=pytest.mark.needs(name)) for name in SAID])
def test_keras_may_run_on_another_backend(backend):
    environment = os.environ | {"KERAS_BACKEND": backend}
    done = subprocess.run([sys.executable, "-c", RUN], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = re.sub(r"'gru_\d+'", "'gru'", done.stdout.splitlines()[-1])
    assert said == SAID[backend]
