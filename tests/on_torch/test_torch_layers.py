# SPDX-License-Identifier: Apache-2.0
"""`elman.torch.RNN`, `LSTM` and `GRU` against torch.nn's modules with the same parameters.

torch.nn in float64 is the truth, and in float32 the yardstick of the rule. PyTorch's own module database, which is part
of its wheel, has the cases of the second part.
"""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch.nn.utils import parametrizations
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence
from torch.testing._internal import common_modules

import elman
import elman.torch
import size
import tolerance

NAMES = ("RNN", "LSTM", "GRU")
OWN = {name: getattr(elman.torch, name) for name in NAMES}
STOCK = {name: getattr(torch.nn, name) for name in NAMES}


# --- random modules ------------------------------------------------------------------------------------------------


class Case(NamedTuple):
    """One module and one call of it."""

    name: str
    seed: int
    batch: int
    time: int
    features: int
    units: int
    options: dict[str, Any]
    form: str  # padded, single, packed, unsorted (packed) or lengths
    state: bool


def random_case(seed: int) -> Case:
    rng = np.random.default_rng(seed)

    def flip() -> bool:
        return bool(rng.integers(2))

    name = NAMES[seed % 3]
    units = int(rng.choice((2, 5, 16, 33)))
    layers = int(rng.choice((1, 1, 2, 3)))
    options = {"num_layers": layers, "bias": flip(), "batch_first": flip(), "bidirectional": flip()}
    if name == "RNN":
        options["nonlinearity"] = ("tanh", "relu")[rng.integers(2)]
    if name == "LSTM" and flip():
        options["proj_size"] = int(rng.integers(1, units))
    form = str(rng.choice(("padded", "padded", "single", "packed", "unsorted", "lengths")))
    if layers > 1 and form != "lengths" and flip():  # with lengths it is drawn for padded steps, in torch.nn for packed
        options["dropout"] = 0.3
    sizes = (int(rng.choice((1, 3, 8))), int(rng.choice((1, 2, 7, 20))), int(rng.choice((1, 4, 17))))
    return Case(name, seed, *sizes, units, options, form, flip())


def made(case: Case, classes: dict[str, type], dtype: torch.dtype) -> torch.nn.Module:
    torch.manual_seed(case.seed)
    module = classes[case.name](case.features, case.units, **case.options)  # in float32, whatever the dtype
    return module.to(dtype)


def inputs(case: Case, dtype: torch.dtype) -> list[torch.Tensor]:
    """x, batch first; and the states, if there are any."""
    torch.manual_seed(case.seed + 1)
    x = torch.randn(case.batch, case.time, case.features)
    layers = case.options["num_layers"] * (2 if case.options["bidirectional"] else 1)
    sizes = [case.options.get("proj_size") or case.units, case.units][: 1 + (case.name == "LSTM")]
    states = [torch.randn(layers, case.batch, units) for units in sizes] if case.state else []
    if case.form == "single":
        x, states = x[0], [state[:, 0] for state in states]
    return [t.to(dtype).requires_grad_() for t in (x, *states)]


def lengths_of(case: Case) -> torch.Tensor:
    lengths = torch.from_numpy(np.random.default_rng(case.seed).integers(1, case.time + 1, case.batch))
    lengths[0] = case.time  # so that torch.nn pads to the same length
    return lengths.sort(descending=True).values if case.form == "packed" else lengths


def call(case: Case, module: torch.nn.Module, x: torch.Tensor, states: list[torch.Tensor]) -> list[torch.Tensor]:
    """The outputs, as numbers alone, and the final states."""
    first = case.options["batch_first"]
    hx = (None if not states else tuple(states) if case.name == "LSTM" else states[0],)
    given = x if first or case.form == "single" else x.transpose(0, 1)
    torch.manual_seed(case.seed + 2)  # of the dropout
    if case.form in {"padded", "single"}:
        y, finals = module(given, *hx)
    elif case.form == "lengths" and isinstance(module, elman.torch._Recurrent):
        y, finals = module(given, *hx, lengths=lengths_of(case))
    else:
        packed = pack_padded_sequence(given, lengths_of(case), first, enforce_sorted=case.form == "packed")
        y, finals = module(packed, *hx)
        assert isinstance(y, PackedSequence)
        if case.form == "lengths":
            y, _ = pad_packed_sequence(y, first)
        else:
            assert torch.equal(y.batch_sizes, packed.batch_sizes)
            assert y.sorted_indices is packed.sorted_indices
            assert y.unsorted_indices is packed.unsorted_indices
            y = y.data
    return [y, *(finals if isinstance(finals, tuple) else (finals,))]


def results(case: Case, classes: dict[str, type], dtype: torch.dtype) -> dict[str, np.ndarray]:
    """The outputs, the states, and the gradients of a loss with respect to all that is given."""
    module, (x, *states) = made(case, classes, dtype), inputs(case, dtype)
    outputs = call(case, module, x, states)
    if classes is OWN:
        assert module.route.path == "native", module.route
    torch.manual_seed(case.seed + 3)
    sum((y * torch.randn(y.shape).to(dtype)).sum() for y in outputs).backward()
    found = dict(zip(("y", "h", "c"), outputs, strict=False))
    found |= {"dx": x.grad} | dict(zip(("dh", "dc"), (s.grad for s in states), strict=False))
    found |= {name: p.grad for name, p in module.named_parameters()}
    return {name: t.detach().numpy() for name, t in found.items()}


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN:UserWarning")
def test_random_modules_compute_what_those_of_torch_do() -> None:
    grid = tolerance.Grid()
    for seed in range(size.by_size(20, 100, 5000)):
        case = random_case(seed)
        truth = results(case, STOCK, torch.float64)
        if seed % 4 == 0:
            for name, got in results(case, OWN, torch.float64).items():
                tolerance.assert_float64(got, truth[name], (name, case))
            continue
        stock = results(case, STOCK, torch.float32)
        for name, got in results(case, OWN, torch.float32).items():
            grid.check(name.partition("_l")[0], got, truth[name], stock[name], case)
    grid.assert_root_mean_square()


def by_parts(module: torch.nn.Module, x: torch.Tensor, hx: Any, starts: list[int]) -> tuple[torch.Tensor, Any]:
    """One sequence, each part between two starts on its own."""
    outputs = []
    for first, last in zip([0, *starts], [*starts, len(x)], strict=True):
        y, finals = module(x[first:last], hx)
        outputs.append(y)
    return torch.cat(outputs), finals


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bias": False}, {"proj_size": 3}])
def test_resets_begin_sequences_of_their_own(name: str, options: dict[str, Any]) -> None:
    if "proj_size" in options and name != "LSTM":
        options = {"num_layers": 2, "batch_first": True}
    stock, own = (classes[name](4, 5, dtype=torch.float64, **options) for classes in (STOCK, OWN))
    own.load_state_dict(stock.state_dict())
    x = torch.randn(9, 4, dtype=torch.float64)
    h = torch.randn(stock.num_layers, options.get("proj_size", 5), dtype=torch.float64)
    hx = (h, torch.randn(stock.num_layers, 5, dtype=torch.float64)) if name == "LSTM" else h
    resets = torch.zeros(9, dtype=torch.bool)
    resets[[3, 4, 8]] = True
    truth = by_parts(stock, x, hx, [3, 4, 8])
    torch.testing.assert_close(own(x, hx, resets=resets), truth)
    assert own.route.path == "native"
    off = OWN[name](4, 5, dtype=torch.float64, native=False, **options)
    off.load_state_dict(stock.state_dict())
    torch.testing.assert_close(off(x, hx, resets=resets), truth)


@pytest.mark.parametrize("name", NAMES)
def test_resets_end_both_directions(name: str) -> None:
    own = OWN[name](4, 5, bidirectional=True, dtype=torch.float64)
    x, resets = torch.randn(9, 2, 4, dtype=torch.float64), torch.zeros(2, 9, dtype=torch.bool)
    resets[0, 4] = resets[1, 2] = True
    lengths = torch.tensor([9, 6])
    y, _ = own(x, resets=resets, lengths=lengths)
    for row, (start, length) in enumerate(((4, 9), (2, 6))):
        for first, last in ((0, start), (start, length)):
            torch.testing.assert_close(y[first:last, row], own(x[first:last, row])[0])
    packed = pack_padded_sequence(x.flip(1), lengths.flip(0), enforce_sorted=False)
    got, _ = pad_packed_sequence(own(packed, resets=resets.flip(0))[0])
    torch.testing.assert_close(got.flip(1), y)


# --- PyTorch's module database -------------------------------------------------------------------------------------

INFOS = {info.module_cls.__name__: info for info in common_modules.module_db if info.module_cls in STOCK.values()}


def samples(name: str, dtype: torch.dtype = torch.float64) -> Iterator[tuple[torch.nn.Module, Any]]:
    """A module of elman for each case of the database, and the case."""
    info = INFOS[name]
    given = {"with_packed_sequence": True} if name != "LSTM" else {}
    make = info.module_inputs_func
    for case in make(info, device="cpu", dtype=dtype, requires_grad=True, training=True, **given):
        arguments = case.constructor_input
        yield OWN[name](*arguments.args, **arguments.kwargs, dtype=dtype), case


def tensors_of(value: Any) -> list[torch.Tensor]:
    if isinstance(value, PackedSequence):
        return [value.data]
    return [value] if isinstance(value, torch.Tensor) else [t for part in value for t in tensors_of(part)]


@pytest.mark.parametrize("name", NAMES)
def test_the_database_s_forward_and_pickle(name: str) -> None:
    for module, case in samples(name):
        given = case.forward_input
        got = module(*given.args, **given.kwargs)
        if not isinstance(given.args[0], PackedSequence):
            torch.testing.assert_close(got, case.reference_fn(module, *given.args))
        for copied in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
            torch.testing.assert_close(copied(*given.args), got, rtol=0, atol=0)
        stock = STOCK[name](*case.constructor_input.args, **case.constructor_input.kwargs, dtype=torch.float64)
        assert repr(module) == repr(stock)
        stock.load_state_dict(module.state_dict())
        torch.testing.assert_close(tensors_of(stock(*given.args)), tensors_of(got))
        module.load_state_dict(stock.state_dict())
        assert [w.shape for ws in module.all_weights for w in ws] == [w.shape for ws in stock.all_weights for w in ws]


@pytest.mark.parametrize("name", NAMES)
def test_the_database_s_gradients(name: str) -> None:
    for number, (module, case) in enumerate(samples(name)):
        args = case.forward_input.args
        if isinstance(args[0], PackedSequence) or number % size.by_size(24, 12, 1):
            continue
        flat = tensors_of(args)
        hx = (lambda rest: (tuple(rest),) if name == "LSTM" else rest) if len(args) > 1 else (lambda rest: ())

        def function(x, *rest, module=module, hx=hx):
            states, weights = rest[: len(flat) - 1], rest[len(flat) - 1 :]  # noqa: B023
            names = [name for name, _ in module.named_parameters()]
            call = (x, *hx(states))
            return tuple(tensors_of(torch.func.functional_call(module, dict(zip(names, weights, strict=True)), call)))

        every = [*flat, *(p.detach().requires_grad_() for p in module.parameters())]
        assert torch.autograd.gradcheck(function, every, fast_mode=True)
        assert torch.autograd.gradgradcheck(function, every, fast_mode=True)


@pytest.mark.parametrize("name", NAMES)
def test_the_database_s_errors(name: str) -> None:
    info = INFOS[name]
    errors = info.module_error_inputs_func(info, device="cpu", dtype=torch.float32, requires_grad=False, training=True)
    for error in errors:
        of_module, of_call = error.module_error_input.constructor_input, error.module_error_input.forward_input
        with pytest.raises(error.error_type, match=error.error_regex):  # noqa: PT012
            module = OWN[name](*of_module.args, **of_module.kwargs)
            assert error.error_on == common_modules.ModuleErrorEnum.FORWARD_ERROR
            module(*of_call.args, **of_call.kwargs)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("batch_first", [False, True])
def test_memory_formats(name: str, batch_first: bool) -> None:
    """Input whose memory lies in another order changes nothing, and time-major outputs are dense, as in torch.nn."""
    module = OWN[name](4, 5, batch_first=batch_first)
    x, state = torch.randn(3, 6, 4), torch.randn(1, 3 if batch_first else 6, 5)
    hx = (state, state) if name == "LSTM" else state
    y, _ = module(x, hx)
    assert batch_first or y.is_contiguous()
    for other in (x.transpose(0, 1).contiguous().transpose(0, 1), x.transpose(0, 2).contiguous().transpose(0, 2)):
        assert torch.equal(module(other, hx)[0], y)
    far = torch.stack((state, state), dim=-1)[..., 0]
    assert torch.equal(module(x, (far, far) if name == "LSTM" else far)[0], y)


# --- what torch.nn does with modules -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_parametrized_weight_trains(name: str) -> None:
    module = parametrizations.weight_norm(OWN[name](4, 5), "weight_hh_l0")
    optimizer, x = torch.optim.SGD(module.parameters(), 0.1), torch.randn(6, 3, 4)
    before = module(x)[0]
    before.square().sum().backward()
    assert all(p.grad is not None for p in module.parameters())
    optimizer.step()
    assert not torch.equal(module(x)[0], before)


def test_a_whole_module_in_a_file() -> None:
    module, x = elman.torch.LSTM(4, 5, 2, bidirectional=True), torch.randn(6, 3, 4)
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    assert torch.equal(torch.load(file, weights_only=False)(x)[0], module(x)[0])


@pytest.mark.parametrize("name", NAMES)
def test_torch_compile_makes_one_node_of_a_layer(name: str) -> None:
    torch.compiler.reset()
    graphs = []

    def backend(graph: torch.fx.GraphModule, _: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    module, x = OWN[name](4, 5), torch.randn(6, 3, 4)
    y, _ = torch.compile(module, fullgraph=True, backend=backend)(x)
    torch.testing.assert_close(y, module(x)[0])
    (graph,) = graphs
    nodes = [node for node in graph.graph.nodes if "elman" in str(node.target)]
    assert [str(node.target) for node in nodes] == ["elman.forward.default"]


@pytest.mark.medium
@pytest.mark.at_most(1)
@pytest.mark.parametrize("name", NAMES)
def test_torch_compile_differentiates(name: str) -> None:
    torch.compiler.reset()
    module, x = OWN[name](4, 5, 2, bidirectional=True), torch.randn(6, 3, 4)
    torch.compile(module, fullgraph=True, backend="aot_eager")(x)[0].square().sum().backward()
    got = [p.grad.clone() for p in module.parameters()]
    module.zero_grad()
    module(x)[0].square().sum().backward()
    torch.testing.assert_close(got, [p.grad for p in module.parameters()])


def test_torch_export_holds_torch_s_own_operator() -> None:
    module, x = elman.torch.GRU(4, 5, batch_first=True), torch.randn(3, 6, 4)
    program = torch.export.export(module, (x,))
    targets = {str(node.target) for node in program.graph.nodes}
    assert "aten.gru.input" in targets
    assert not any("elman" in target for target in targets)
    torch.testing.assert_close(program.module()(x), module(x))


def test_a_second_derivative_is_that_of_the_plain_operations() -> None:
    x = torch.randn(6, 3, 4, dtype=torch.float64, requires_grad=True)
    native = elman.torch.LSTM(4, 5, dtype=torch.float64)
    stock = torch.nn.LSTM(4, 5, dtype=torch.float64)
    stock.load_state_dict(native.state_dict())
    found = []
    for module in (native, stock):
        (first,) = torch.autograd.grad(module(x)[0].square().sum(), x, create_graph=True)
        found.append(torch.autograd.grad(first.square().sum(), (x, *module.parameters())))
    torch.testing.assert_close(*found)


# --- the route -----------------------------------------------------------------------------------------------------


def test_the_route() -> None:
    x = torch.randn(6, 3, 4)
    module = elman.torch.LSTM(4, 5)
    assert module.route is None
    module(x)
    assert module.route.path == "native"
    assert module.route.reason is None
    off = elman.torch.LSTM(4, 5, native=False)
    off(x)
    assert off.route == elman.Route("torch", None, "native=False asks for it")
    assert repr(off) == "LSTM(4, 5, native=False)"
    off(x, lengths=torch.tensor([6, 2, 1]))
    assert off.route.path == "plain"
    with elman.portable():
        module(x)
    assert module.route.path == "torch"
    with pytest.raises(elman.NativeUnavailable, match="bfloat16"):
        elman.torch.GRU(4, 5, native="require", dtype=torch.bfloat16)(x.bfloat16())


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"input": torch.zeros(2, 2, 2, 2)}, ValueError, "input of 4 dimensions; expected 3"),
        ({"input": torch.zeros(6, 3, 7)}, RuntimeError, "got 7 features; expected input_size=4"),
        ({"hx": torch.zeros(1, 3, 5)}, TypeError, r"got hx of Tensor; expected a pair \(h, c\)"),
        ({"hx": (torch.zeros(1, 2, 5), torch.zeros(1, 3, 5))}, RuntimeError, r"expected \(1, 3, 5\)"),
        ({"lengths": torch.tensor([1, 2])}, ValueError, r"lengths has shape \(2,\)"),
        ({"lengths": torch.tensor([7, 2, 1])}, ValueError, r"lengths\[0\] is 7; expected 0 to 6"),
        ({"resets": torch.zeros(3, 6)}, TypeError, "expected a tensor of dtype bool"),
        ({"resets": torch.zeros(6, 3, dtype=torch.bool)}, ValueError, r"expected \(3, 6\), \(batch, time\)"),
    ],
)
def test_errors(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        elman.torch.LSTM(4, 5)(**{"input": torch.zeros(6, 3, 4)} | arguments)
