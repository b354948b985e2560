# SPDX-License-Identifier: Apache-2.0
"""The PyTorch adapter's numbers against the reference over all options, by each of its ways, and against torch.nn.RNN.

Truth is the reference in long double. The yardstick of float32 is the recurrence in PyTorch's own operations.
"""

from __future__ import annotations

import copy
import os
import pickle
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import cases
import elman
import tolerance
from elman import _autograd_torch, _native, _operators_torch, _plain_torch, _torch
from elman.operands import Operands, flat
from elman.options import Options

SHAPES = ((3, 4, 2, 5), (1, 1, 1, 1), (5, 7, 3, 16), (2, 2, 0, 3), (4, 3, 9, 17))
DIFFERENTIABLE = tuple(cases.OPERANDS.values())
Recurrence = Callable[..., tuple[torch.Tensor, tuple[torch.Tensor, ...]]]


def by_operator(options: Options, *operands: Any) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    """`elman::forward` as an exported graph calls it: it does not know whether a backward will follow."""
    y, final_states, _ = _operators_torch.forward_op(options, False, Operands(*operands))
    return y, tuple(final_states)


def by_transform(options: Options, *operands: Any) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    """As under torch.func."""
    y, _, *final_states = _autograd_torch.Transformed.apply(*options, False, *flat(operands))
    return y, tuple(final_states)


WAYS: dict[str, Recurrence] = {
    "eager": _torch.recurrence,
    "operator": by_operator,
    "transform": by_transform,
    "plain": _torch.plain,
}


def tensors(case: cases.Case, dtype: type) -> cases.Case:
    """The case's operands as tensors; those whose gradients it wants require them."""
    case = case.astype(dtype)
    names = (*DIFFERENTIABLE, "mask", "input_dropout", "recurrent_dropout", "dy", "dfinal", "dfinal_carry")
    held = {name: torch.tensor(a) for name in names if (a := getattr(case, name)) is not None}
    for name in DIFFERENTIABLE:
        if name in held and (name != "x" or case.choice["want_dx"]):
            held[name].requires_grad_()
    return case.replace(**held)


def by_torch(recur: Recurrence, case: cases.Case, dtype: type) -> dict[str, np.ndarray]:
    """y, the states, and the gradients of everything that wants one."""
    case = tensors(case, dtype)
    y, states = recur(case.options, *case.operands)
    torch.autograd.backward(*zip(*case.cotangents(y, states), strict=True))
    results = {"y": y, **dict(zip("hc", states, strict=False))}
    for name in DIFFERENTIABLE:
        if (t := getattr(case, name)) is not None and t.requires_grad:
            results[f"d{name}"] = t.grad
    return {name: tensor.detach().numpy() for name, tensor in results.items()}


def covering() -> Iterator[cases.Case]:
    return cases.grid([SHAPES[i % len(SHAPES)] for i in range(len(cases.COVERING))])


# --- against the reference ---------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_every_gradient_in_float64_over_all_options(way: str) -> None:
    for case in covering():
        truth = cases.by_reference(case, np.longdouble)
        for name, got in by_torch(WAYS[way], case, np.float64).items():
            tolerance.assert_float64(got, truth[name], f"{case}: {name}")


def test_every_gradient_in_float32_over_all_options() -> None:
    grid = tolerance.Grid()
    for case in covering():
        truth, stock = cases.by_reference(case, np.longdouble), by_torch(_torch.plain, case, np.float32)
        for name, got in by_torch(_torch.recurrence, case, np.float32).items():
            grid.check(name, got, truth[name], stock[name], case)
    grid.assert_root_mean_square()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shape", [(0, 3, 2, 4), (2, 0, 2, 4), (2, 3, 0, 4), (0, 0, 0, 1)])
@pytest.mark.parametrize("mask", ["none", "holes", "int32 lengths"])
@pytest.mark.parametrize("sequences", [True, False])
def test_nothing_of_something(way: str, shape: tuple[int, int, int, int], mask: str, sequences: bool) -> None:
    for cell in cases.FACTORS["cell"]:
        choice = {"cell": cell, "mask": mask, "initial_state": True, "return_sequences": sequences}
        case = cases.make(shape, choice)
        truth = cases.by_reference(case, np.longdouble)
        for name, got in by_torch(WAYS[way], case, np.float64).items():
            tolerance.assert_float64(got, truth[name], f"{case}: {name}")


@pytest.mark.parametrize("way", ["eager", "operator", "transform"])
def test_norms_of_the_state_gradient(way: str) -> None:
    case = tensors(cases.make((3, 5, 2, 4), {"mask": "holes"}), np.float64)
    with torch.no_grad():
        y, _ = WAYS[way](case.options, *case.operands)
        *_, norms = torch.ops.elman.backward(
            *case.operands[:4],
            [],
            *case.operands[5:],
            y,
            y.new_empty((3, 5, 0)),
            case.dy,
            [case.dfinal],
            want_norms=True,
        )
    truth = cases.by_reference(cases.make((3, 5, 2, 4), {"mask": "holes"}), np.longdouble)["norms"]
    tolerance.assert_float64(norms.numpy(), truth, case)


# --- against torch -----------------------------------------------------------------------------------------


def by_simple_rnn(rnn: Any, x: Any, states: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
    weights = rnn.weight_ih_l0.T, rnn.weight_hh_l0.T, rnn.bias_ih_l0 + rnn.bias_hh_l0
    y, h = elman.simple_rnn(x, *weights, *states, activation=rnn.nonlinearity, native="require")
    return y, (h,)


def by_lstm(rnn: Any, x: Any, states: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
    weights = rnn.weight_ih_l0.T, rnn.weight_hh_l0.T, rnn.bias_ih_l0 + rnn.bias_hh_l0  # i f g o, as Keras's
    return elman.lstm(x, *weights, states or None, native="require")


def by_gru(rnn: Any, x: Any, states: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
    def keras_order(rows: Any) -> Any:
        r, z, n = rows.chunk(3)
        return torch.cat([z, r, n])

    kernel, recurrent_kernel = keras_order(rnn.weight_ih_l0).T, keras_order(rnn.weight_hh_l0).T
    bias = torch.stack([keras_order(rnn.bias_ih_l0), keras_order(rnn.bias_hh_l0)])
    y, h = elman.gru(x, kernel, recurrent_kernel, bias, *states, native="require")
    return y, (h,)


@pytest.mark.parametrize("state", [False, True])
@pytest.mark.parametrize(
    ("module", "ours"),
    [
        (partial(torch.nn.RNN, nonlinearity="tanh"), by_simple_rnn),
        (partial(torch.nn.RNN, nonlinearity="relu"), by_simple_rnn),
        (torch.nn.LSTM, by_lstm),
        (torch.nn.GRU, by_gru),
    ],
    ids=["RNN, tanh", "RNN, relu", "LSTM", "GRU"],
)
def test_torchs_own_with_its_weights_mapped(module: Any, ours: Any, state: bool) -> None:
    torch.manual_seed(0)
    rnn = module(3, 5, batch_first=True, dtype=torch.float64)
    count = 2 if module is torch.nn.LSTM else 1
    x = torch.randn(4, 7, 3, dtype=torch.float64, requires_grad=True)
    given = [torch.randn(4, 5, dtype=torch.float64, requires_grad=True) for _ in range(count)] if state else []
    y, states = ours(rnn, x, tuple(given))
    first = tuple(s[None] for s in given)
    their_y, last = rnn(x, None if not state else first if count > 1 else first[0])
    theirs = [their_y, *(s[0] for s in (last if count > 1 else (last,)))]
    arriving = [torch.randn_like(t) for t in theirs]
    inputs = [x, *rnn.parameters(), *given]
    for name, g, e in zip("yhc", (y, *states), theirs, strict=False):
        tolerance.assert_float64(g.detach().numpy(), e.detach().numpy(), name)
    got = torch.autograd.grad((y, *states), inputs, arriving)
    expected = torch.autograd.grad(theirs, inputs, arriving)
    for g, e, i in zip(got, expected, inputs, strict=True):
        tolerance.assert_float64(g.numpy(), e.numpy(), i.shape)


@pytest.mark.parametrize("row", range(0, len(cases.COVERING), 3))
def test_gradcheck(row: int) -> None:
    # Cuts and limits of the state's gradient are there to differ from the derivative.
    choice = cases.COVERING[row] | {"truncate_gradient": None, "clip_state_gradient": None, "want_dx": True}
    case = tensors(cases.make((3, 4, 2, 3), choice, seed=row), np.float64)
    names = [name for name in DIFFERENTIABLE if getattr(case, name) is not None]

    def run(*inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        y, states = _torch.recurrence(case.options, *case.replace(**dict(zip(names, inputs, strict=True))).operands)
        return y, *states

    assert torch.autograd.gradcheck(run, [getattr(case, name) for name in names])


# torch's own forward mode calls what torch no longer likes.
forward_mode = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")


@pytest.mark.medium
@forward_mode
@pytest.mark.at_most(2)
@pytest.mark.parametrize(
    "choice",
    [{"activation": "tanh"}, {"activation": "sigmoid"}, {"activation": "linear"}, {"cell": "lstm"}, {"cell": "gru"}],
    ids=str,
)
def test_plain_differentiates_twice_and_forward(choice: dict[str, Any]) -> None:
    case = tensors(cases.make((3, 4, 2, 3), {**choice, "mask": "holes", "initial_state": True}), np.float64)

    def run(x: Any, kernel: Any, recurrent_kernel: Any, bias: Any, *states: Any) -> torch.Tensor:
        return _torch.plain(case.options, x, kernel, recurrent_kernel, bias, states, case.mask, None, None)[0]

    inputs = (*case.operands[:4], *case.initial_states)
    assert torch.autograd.gradcheck(run, inputs, check_forward_ad=True, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(run, inputs, check_fwd_over_rev=True)


@forward_mode
def test_a_limited_gradient_differentiates_too() -> None:
    torch.manual_seed(0)
    scale = torch.tensor([[0.0], [0.01], [0.5], [30.0]], dtype=torch.float64)  # norms on both sides of the limit
    states = [torch.randn(4, 3, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    given = [(torch.randn(4, 3, dtype=torch.float64) * scale).requires_grad_() for _ in range(2)]

    def clip(*states: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return _plain_torch.Ops().clip_gradient(states, 0.7)

    got = torch.autograd.grad(clip(*states), states, given)
    norms = torch.stack(got).square().sum((0, 2)).sqrt()
    assert (norms[2:] <= 0.7 * (1 + 1e-15)).all()
    assert all(torch.equal(g[:2], d[:2]) for g, d in zip(got, given, strict=True))
    assert torch.autograd.gradgradcheck(clip, states, given)
    values, tangents = torch.func.jvp(clip, tuple(states), tuple(given))
    assert all(torch.equal(*pair) for pair in zip((*values, *tangents), (*states, *given), strict=True))


# --- what autograd asks of a function ----------------------------------------------------------------------


class Calls:
    """The native calls, told by which addresses they were given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.forward: list[tuple[int, ...]] = []
        self.backward: list[tuple[int, ...]] = []
        for name in ("forward", "backward"):
            monkeypatch.setattr(_native, name, self._told(getattr(_native, name), getattr(self, name)))

    @staticmethod
    def _told(function: Callable[..., None], calls: list[tuple[int, ...]]) -> Callable[..., None]:
        def call(spec: _native.Spec, *addresses: int) -> None:
            calls.append(addresses)
            function(spec, *addresses)

        return call

    @property
    def kept_tape(self) -> bool:
        return self.forward[-1][12] != 0

    @property
    def gradients(self) -> list[bool]:
        """Whether dx, dkernel, drecurrent_kernel, dbias, two initial states' gradients and the norms were asked for."""
        return [address != 0 for address in self.backward[-1][14:]]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    return Calls(monkeypatch)


def problem(dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    """x, kernel, recurrent_kernel, bias, initial_state."""
    case = cases.make((3, 4, 2, 5), {"initial_state": True})
    return [torch.tensor(getattr(case, name), dtype=dtype) for name in DIFFERENTIABLE[:5]]


def last(*inputs: torch.Tensor) -> torch.Tensor:
    """The last output alone, which needs a tape."""
    x, kernel, recurrent_kernel, bias, state = inputs
    options = Options(return_sequences=False)
    return _torch.recurrence(options, x, kernel, recurrent_kernel, bias, (state,), None, None, None)[0]


def test_the_tape_is_kept_only_for_a_backward(calls: Calls) -> None:
    inputs = problem()
    last(*inputs)
    assert not calls.kept_tape
    inputs[0].requires_grad_()
    last(*inputs)
    assert calls.kept_tape
    for without in (torch.no_grad(), torch.inference_mode()):
        with without:
            last(*inputs)
        assert not calls.kept_tape


@pytest.mark.parametrize("wanted", [(i,) for i in range(5)] + [(0, 2), (1, 2, 3), (0, 1, 2, 3, 4)])
def test_only_the_gradients_that_are_wanted(calls: Calls, wanted: tuple[int, ...]) -> None:
    inputs = problem()
    for i in wanted:
        inputs[i].requires_grad_()
    elman.simple_rnn(*inputs, native="require")[0].sum().backward()
    assert calls.gradients == [i in wanted for i in range(5)] + [False, False]
    got = [t.grad for t in inputs]
    inputs = [t.detach().requires_grad_(i in wanted) for i, t in enumerate(inputs)]
    elman.simple_rnn(*inputs, native=False)[0].sum().backward()
    for g, t in zip(got, inputs, strict=True):
        assert (g is None) == (t.grad is None)
        if g is not None:
            tolerance.assert_float64(g.numpy(), t.grad.numpy(), t.shape)


def test_ordinary_tensors_pass_the_dispatcher_by(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_are_functorch_transforms_active", "_len_torch_dispatch_stack"):
        assert hasattr(torch._C, name), f"torch {torch.__version__} lacks {name}; every call takes the slow way"
    assert hasattr(torch.autograd.forward_ad, "_current_level")
    monkeypatch.setattr(_torch, "forward_op", None)
    for name in ("forward_op", "backward_op"):
        monkeypatch.setattr(_autograd_torch, name, None)
    x, *weights = problem()
    elman.simple_rnn(x, *weights, native="require")
    parameters = [torch.nn.Parameter(w) for w in weights]
    elman.simple_rnn(x, *parameters, native="require")[0].sum().backward()
    assert all(p.grad is not None for p in parameters)


def test_a_graph_that_is_kept_gives_its_gradients_again() -> None:
    inputs = [t.requires_grad_() for t in problem()]
    loss = elman.simple_rnn(*inputs, native="require")[0].square().sum()
    first = torch.autograd.grad(loss, inputs, retain_graph=True)
    second = torch.autograd.grad(loss, inputs)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        torch.autograd.grad(loss, inputs)


@pytest.mark.parametrize("changed", ["x", "kernel", "mask"])
def test_a_change_in_place_before_the_backward_is_noticed(changed: str) -> None:
    x, *weights = problem()
    weights = [w.requires_grad_() for w in weights]
    mask = torch.ones(3, 4, dtype=torch.bool)
    y, _ = elman.simple_rnn(x, *weights, mask=mask, native="require")
    loss = y.sum()
    with torch.no_grad():
        {"x": x, "kernel": weights[0], "mask": mask}[changed].zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


# What a model may do with the output that it got, in place.
CHANGES: dict[str, Callable[[torch.Tensor], object]] = {
    "relu": torch.relu_,
    "skip": lambda y: y.add_(torch.arange(y.shape[-1])),
    "mask": lambda y: y.masked_fill_(y > 0, 3.0),
    "view": lambda y: y[1:].mul_(2),
    "past autograd": lambda y: y.data.zero_(),
    "in NumPy": lambda y: y.detach().numpy().fill(7),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("sequences", [True, False])
@pytest.mark.parametrize("cell", cases.FACTORS["cell"])
def test_outputs_may_be_changed_in_place_before_the_backward(cell: str, sequences: bool, change: str) -> None:
    case = cases.make((3, 4, 2, 5), {"cell": cell, "return_sequences": sequences, "initial_state": True})
    gradients = []
    for recur in (_torch.recurrence, _torch.plain):
        given = tensors(case, np.float64)
        y, states = recur(given.options, *given.operands)
        y = y if recur is _torch.recurrence else y.clone()
        CHANGES[change](y)
        (y.square().sum() + sum(s.square().sum() for s in states)).backward()
        gradients.append({name: t.grad for name in DIFFERENTIABLE if (t := getattr(given, name)) is not None})
    for name, expected in gradients[1].items():
        tolerance.assert_float64(gradients[0][name].numpy(), expected.numpy(), name)


def test_an_output_is_copied_only_when_it_is_written() -> None:
    x, *weights = problem()
    y, _ = elman.simple_rnn(x, *(w.requires_grad_() for w in weights), native="require")
    where = y.const_data_ptr()
    elman.simple_rnn(y, torch.ones(5, 5).double(), torch.ones(5, 5).double(), native="require")
    y.square().sum().backward(retain_graph=True)
    assert y.const_data_ptr() == where
    y.detach().zero_()
    assert y.const_data_ptr() != where


# --- storages that their owner frees -----------------------------------------------------------------------


def shrunk(tensor: torch.Tensor, keep: int) -> None:
    tensor.untyped_storage().resize_(keep)


@pytest.mark.parametrize("layout", [lambda t: t, lambda t: t.mT.contiguous().mT, lambda t: torch.stack([t, t])[1]])
@pytest.mark.parametrize("keep", [0, 8])
@pytest.mark.parametrize("freed", range(5))
def test_a_storage_that_was_freed_or_shrunk(freed: int, keep: int, layout: Callable[..., torch.Tensor]) -> None:
    inputs = [layout(t) if t.dim() > 1 else t for t in problem()]
    parameters = [t.detach().requires_grad_() for t in inputs]
    y, _ = elman.simple_rnn(*parameters, native="require")
    with torch.no_grad():
        shrunk(inputs[freed], keep)
    with pytest.raises(
        RuntimeError, match=r"got a tensor of shape \([0-9, ]*\) that needs [0-9]* bytes of its storage"
    ):
        elman.simple_rnn(*inputs, native="require")
    with pytest.raises(RuntimeError, match="Restore what was freed"):
        y.sum().backward()


def test_a_storage_that_was_freed_and_restored() -> None:
    inputs = [t.requires_grad_() for t in problem()]
    expected = torch.autograd.grad(elman.simple_rnn(*inputs, native="require")[0].sum(), inputs)
    y, _ = elman.simple_rnn(*inputs, native="require")
    kernel = inputs[1].data.clone()
    shrunk(inputs[1], 0)
    shrunk(inputs[1], kernel.nbytes)
    inputs[1].data.copy_(kernel)
    assert all(map(torch.equal, torch.autograd.grad(y.sum(), inputs), expected))


def test_operands_without_elements_need_no_storage() -> None:
    x, kernel = torch.empty(2, 3, 0), torch.empty(0, 4)
    shrunk(kernel, 0)
    y, _ = elman.simple_rnn(x, kernel, torch.eye(4), torch.ones(4), native="require")
    assert y.shape == (2, 3, 4)


def test_operands_that_a_hook_moved_away() -> None:
    inputs = [t.requires_grad_() for t in problem()]
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t.to("meta")):
        y, _ = elman.simple_rnn(*inputs, native="require")
    with pytest.raises(ValueError, match="got kernel of shape .* on meta; expected .* on the CPU"):
        y.sum().backward()


@pytest.mark.parametrize("change", [lambda t: t.double(), lambda t: t[:1].clone()])
def test_a_change_that_autograd_does_not_notice_is_an_error(change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    for changed in range(5):
        inputs = [t.requires_grad_() for t in problem(torch.float32)]
        loss = elman.simple_rnn(*inputs, native="require")[0].sum()
        inputs[changed].data = change(inputs[changed].data)
        with pytest.raises(ValueError, match=r"elman's recurrence got [a-z_]* of shape"):
            loss.backward()


def test_a_loss_of_the_final_state_alone_and_gradients_of_odd_layout() -> None:
    inputs = [t.requires_grad_() for t in problem()]
    for outputs, given in (
        (lambda y, h: [h], [torch.ones(()).double().expand(3, 5)]),
        (lambda y, h: [y], [torch.randn(5, 4, 3, dtype=torch.float64).permute(2, 1, 0)]),
        (lambda y, h: [y, h], [torch.ones(1, 1, 1).double().expand(3, 4, 5), torch.randn(5, 3).double().T]),
    ):
        got = torch.autograd.grad(outputs(*elman.simple_rnn(*inputs, native="require")), inputs, given)
        expected = torch.autograd.grad(outputs(*elman.simple_rnn(*inputs, native=False)), inputs, given)
        for g, e in zip(got, expected, strict=True):
            tolerance.assert_float64(g.numpy(), e.numpy(), g.shape)


def test_inputs_of_any_layout() -> None:
    torch.manual_seed(0)
    values = torch.complex(*torch.randn(2, 4, 3, 2, dtype=torch.float64))
    batch_last = torch.randn(2, 4, 3, dtype=torch.float64)
    _, kernel, recurrent_kernel, bias, _ = problem()
    for x in (
        batch_last.permute(2, 1, 0),
        batch_last[:1, :1, :1].permute(2, 1, 0).expand(3, 4, 2),
        torch.randn(6, 8, 4, dtype=torch.float64)[::2, 1::2, ::2],
        values.permute(1, 0, 2).conj().imag,  # negated by a note, not in memory
        values[:1, :1, :1].conj().imag.expand(1, 1, 2),
    ):
        options = {"lengths": torch.full((2 * len(x),), 4)[::2].clamp(max=x.shape[1]), "native": "require"}
        y, h = elman.simple_rnn(x, kernel.T.contiguous().T, recurrent_kernel.t().clone().t(), bias, **options)
        expected, expected_h = elman.simple_rnn(x.resolve_neg().contiguous(), kernel, recurrent_kernel, bias, **options)
        assert torch.equal(y, expected)
        assert torch.equal(h, expected_h)


def test_lists_and_numpy_arrays_go_along() -> None:
    x, kernel, recurrent_kernel, bias, state = problem()
    read_only = recurrent_kernel.numpy().copy()[::-1]
    read_only.setflags(write=False)
    y, _ = elman.simple_rnn(x, kernel.tolist(), read_only, bias.numpy(), state, lengths=[4, 2, 0], native="require")
    lengths = torch.tensor([4, 2, 0], dtype=torch.int32)
    expected, _ = elman.simple_rnn(x, kernel, recurrent_kernel.flip(0), bias, state, lengths=lengths)
    assert isinstance(y, torch.Tensor)
    assert torch.equal(y, expected)


# --- words -------------------------------------------------------------------------------------------------


def test_a_device_that_is_no_cpu_runs_in_plain_operations() -> None:
    with FakeTensorMode():  # as many devices as one asks for
        inputs = [torch.empty(t.shape, device="cuda") for t in problem()]
        y, _ = elman.simple_rnn(*inputs)
        assert y.device.type == "cuda"
        with pytest.raises(elman.NativeUnavailable, match="the arrays are on cuda:0, and the native path runs on the"):
            elman.simple_rnn(*inputs, native="require")


def test_tensors_that_are_shapes_alone_get_shapes() -> None:
    y, h = elman.simple_rnn(*(t.to("meta") for t in problem()), native="require")
    assert (y.device.type, y.shape, h.shape) == ("meta", (3, 4, 5), (3, 5))


def test_operands_on_two_devices() -> None:
    x, kernel, *rest = problem()
    with pytest.raises(ValueError, match="the arrays are on cpu, meta; expected all of them on the CPU"):
        elman.simple_rnn(x, kernel.to("meta"), *rest)


@pytest.mark.filterwarnings("ignore:.*torch.nested is in prototype:UserWarning")
def test_tensors_that_are_not_dense() -> None:
    x, kernel, *rest = problem()
    for odd in (x.to_sparse(), x.float().to_mkldnn(), torch.nested.nested_tensor(list(x), layout=torch.jagged)):
        with pytest.raises(TypeError, match=r"got a tensor of layout .*; expected a dense one"):
            elman.simple_rnn(odd, kernel, *rest)
    with pytest.raises(TypeError, match=r"layout torch\.sparse_coo"):
        elman.simple_rnn(x, kernel.to_sparse(), *rest)


def test_a_dtype_without_a_kernel() -> None:
    inputs = problem(torch.bfloat16)
    assert elman.simple_rnn(*inputs)[0].dtype == torch.bfloat16
    with pytest.raises(elman.NativeUnavailable, match="dtype bfloat16 has no native kernel"):
        elman.simple_rnn(*inputs, native="require")


def test_lengths_out_of_range() -> None:
    for weights_want_gradients in (False, True):
        x, *weights = problem()
        weights = [w.requires_grad_(weights_want_gradients) for w in weights]
        with pytest.raises(ValueError, match=r"lengths\[1\] is 5"):
            elman.simple_rnn(x, *weights, lengths=torch.tensor([1, 5, 2]), native="require")


@pytest.mark.parametrize("native", ["require", False])
@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_autocast_casts_halves_up_and_nothing_down(native: str | bool, half: torch.dtype) -> None:
    x, *weights = problem(torch.float32)
    weights = [w.requires_grad_() for w in weights]
    expected, _ = elman.simple_rnn(x.to(half).float(), *weights, native=native)
    with torch.autocast("cpu", dtype=half):
        y, _ = elman.simple_rnn(x.to(half), *weights, native=native)
    assert y.dtype == torch.float32
    assert torch.equal(y, expected)
    got = torch.autograd.grad(y.sum(), weights)
    assert all(torch.equal(*pair) for pair in zip(got, torch.autograd.grad(expected.sum(), weights), strict=True))


# --- modules, threads, processes ---------------------------------------------------------------------------


class Net(torch.nn.Module):
    """A recurrence between two linear layers, as users write it."""

    def __init__(self, native: str | bool = "require") -> None:
        super().__init__()
        torch.manual_seed(0)
        self.native = native
        self.before, self.after = torch.nn.Linear(2, 3), torch.nn.Linear(5, 1)
        self.kernel = torch.nn.Parameter(torch.randn(3, 5) / 2)
        self.recurrent_kernel = torch.nn.Parameter(torch.randn(5, 5) / 3)
        self.bias = torch.nn.Parameter(torch.zeros(5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y, _ = elman.simple_rnn(self.before(x), self.kernel, self.recurrent_kernel, self.bias, native=self.native)
        return self.after(y)


def gradients(net: torch.nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    return list(torch.autograd.grad(net(x).square().mean(), list(net.parameters())))


def test_a_module_copied_and_pickled() -> None:
    net, x = Net(), torch.randn(3, 4, 2)
    expected = gradients(net, x)
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert all(torch.equal(*pair) for pair in zip(gradients(other, x), expected, strict=True))
    y = net(x)
    assert torch.equal(pickle.loads(pickle.dumps(y.detach())), y)


def test_a_model_learns_the_same_natively() -> None:
    torch.manual_seed(0)
    x = torch.randn(16, 6, 2, dtype=torch.float64)
    target = x.sum(-1, keepdim=True).cumsum(1)
    losses = {}
    for native in ("require", False):
        net = Net(native).double()
        optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
        for _ in range(20):
            optimizer.zero_grad()
            loss = (net(x) - target).square().mean()
            loss.backward()
            optimizer.step()
        losses[native] = loss.item()
    assert losses["require"] == pytest.approx(losses[False], rel=1e-9)


def test_eight_threads_at_once() -> None:
    net, x = Net(), torch.randn(8, 5, 7, 2)
    expected = [gradients(net, each) for each in x]
    got: list[Any] = [None] * 8

    def work(i: int) -> None:
        for _ in range(20):
            got[i] = gradients(net, x[i])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for mine, right in zip(got, expected, strict=True):
        assert all(torch.equal(*pair) for pair in zip(mine, right, strict=True))


def test_eight_threads_add_up_in_one_parameter() -> None:
    net, x = Net().double(), torch.randn(8, 5, 7, 2, dtype=torch.float64)
    threads = [threading.Thread(target=lambda i=i: net(x[i]).sum().backward()) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = torch.autograd.grad(sum(net(each).sum() for each in x), list(net.parameters()))
    for parameter, right in zip(net.parameters(), expected, strict=True):
        tolerance.assert_float64(parameter.grad.numpy(), right.numpy(), parameter.shape)


class Encoded(torch.utils.data.Dataset):
    """Items that a recurrence makes."""

    def __init__(self, net: torch.nn.Module, x: torch.Tensor) -> None:
        self.net, self.x = net, x

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        with torch.no_grad():
            return self.net(self.x[i : i + 1])[0], os.getpid()


def test_forked_workers_after_a_call_in_the_parent() -> None:
    net, x = Net(), torch.randn(6, 4, 2)
    expected = net(x).detach()
    loader = torch.utils.data.DataLoader(Encoded(net, x), batch_size=2, num_workers=2, multiprocessing_context="fork")
    batches = list(loader)
    torch.testing.assert_close(torch.cat([items for items, _ in batches]), expected)
    assert os.getpid() not in torch.cat([pids for _, pids in batches]).tolist()


@pytest.mark.parametrize("native", ["auto", False])
def test_what_a_masked_step_holds_reaches_no_gradient(native: Any) -> None:
    x = torch.ones(2, 3, 4)
    x[0, 2] = float("nan")
    leaves = [t.requires_grad_() for t in (x, torch.full((4, 5), 0.1), torch.eye(5), torch.zeros(5))]
    y, h = elman.simple_rnn(*leaves, lengths=torch.tensor([2, 3]), native=native)
    assert all(g.isfinite().all() for g in torch.autograd.grad(y.sum() + h.sum(), leaves))


@pytest.mark.parametrize("native", ["auto", False])
@pytest.mark.parametrize("arriving", [1e20, 2e38])
def test_a_huge_gradient_is_clipped(arriving: float, native: Any) -> None:
    h0, identity = torch.zeros(1, 2, requires_grad=True), torch.eye(2)
    _, h = elman.simple_rnn(
        torch.zeros(1, 3, 2), identity, identity, None, h0, activation="linear", clip_state_gradient=1.0, native=native
    )
    (gradient,) = torch.autograd.grad(h, h0, torch.full((1, 2), arriving))
    torch.testing.assert_close(gradient, torch.full((1, 2), 0.5**0.5))


@pytest.mark.parametrize("native", ["auto", False])
def test_lengths_out_of_range_are_told(native: Any) -> None:
    x, kernel, recurrent_kernel = torch.ones(2, 3, 4), torch.ones(4, 5), torch.ones(5, 5)
    with pytest.raises(ValueError, match=r"lengths\[1\] is 9; expected 0 to 3"):
        elman.simple_rnn(x, kernel, recurrent_kernel, lengths=torch.tensor([3, 9]), native=native)


@pytest.mark.parametrize("native", ["auto", False])
def test_vmap_over_nothing(native: Any) -> None:
    kernel, recurrent_kernel = torch.ones(4, 5), torch.ones(5, 5)
    y = torch.func.vmap(lambda v: elman.simple_rnn(v, kernel, recurrent_kernel, native=native)[0])(
        torch.ones(0, 2, 3, 4)
    )
    assert y.shape == (0, 2, 3, 5)


def test_numbers_of_numpy_in_the_other_byte_order() -> None:
    x = np.ones((2, 3, 4), np.float32)
    kernel, recurrent_kernel = torch.ones(4, 5), torch.ones(5, 5)
    swapped = x.astype(x.dtype.newbyteorder())
    got, expected = (elman.simple_rnn(each, kernel, recurrent_kernel)[0] for each in (swapped, x))
    assert torch.equal(got, expected)
