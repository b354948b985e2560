# SPDX-License-Identifier: Apache-2.0
"""The PyTorch adapter under whatever traces or transforms it: torch.compile, torch.export, torch.func, checkpoints,
dispatch modes, tensor subclasses. What comes out is held against plain eager calls."""

from __future__ import annotations

import functools
import io
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

import cases
import elman
import tolerance
from elman import _native, _operators_torch, _torch
from elman.options import Options

NAMES = ("x", "kernel", "recurrent_kernel", "bias", "initial_state")
Function = Callable[..., Any]
# torch's own forward mode, its compilers, and Dynamo at any autograd.Function call what torch no longer likes.
pytestmark = [
    pytest.mark.filterwarnings("ignore:`torch.jit.[a-z_]*` is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning"),
]


def problem(shape: tuple[int, int, int, int] = (3, 4, 2, 5), seed: int = 0) -> list[torch.Tensor]:
    """x, kernel, recurrent_kernel, bias, initial_state, in float64."""
    case = cases.make(shape, {"initial_state": True}, seed)
    return [torch.tensor(getattr(case, name), dtype=torch.float64) for name in NAMES]


def flat(tree: Any) -> Iterator[torch.Tensor]:
    if isinstance(tree, torch.Tensor):
        yield tree
    else:
        for branch in tree:
            yield from flat(branch)


def assert_same(got: Any, expected: Any) -> None:
    for g, e in zip(flat(got), flat(expected), strict=True):
        tolerance.assert_float64(g.detach().numpy(), e.detach().numpy(), e.shape)


def with_gradients(function: Function, inputs: list[torch.Tensor], wanted: tuple[int, ...] = (0, 1, 2, 3, 4)) -> Any:
    """The outputs of a function, and the gradients of a loss of all of them."""
    inputs = [t.detach().requires_grad_(i in wanted) for i, t in enumerate(inputs)]
    outputs = list(flat(function(*inputs)))
    sum(o.square().sum() for o in outputs).backward()
    assert all((t.grad is not None) == (i in wanted) for i, t in enumerate(inputs))
    return outputs, [inputs[i].grad for i in wanted]


def run(*inputs: torch.Tensor, **options: Any) -> Any:
    return elman.simple_rnn(*inputs, **{"native": "require"} | options)


def last(*inputs: torch.Tensor) -> torch.Tensor:
    """The last output alone, which needs a tape."""
    x, kernel, recurrent_kernel, bias, state = inputs
    options = Options(return_sequences=False)
    return _torch.recurrence(options, x, kernel, recurrent_kernel, bias, (state,), None, None, None)[0]


@pytest.fixture(autouse=True)
def nothing_compiled() -> None:
    torch.compiler.reset()


@pytest.fixture
def native_calls(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How many native calls there were."""
    counts = {"forward": 0, "backward": 0}

    def counted(name: str, function: Callable[..., None]) -> Callable[..., None]:
        def call(*arguments: Any) -> None:
            counts[name] += 1
            function(*arguments)

        return call

    for name in counts:
        monkeypatch.setattr(_native, name, counted(name, getattr(_native, name)))
    return counts


# --- outputs that are changed --------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["compiled", "outside what is compiled", "torch.func", "a dispatch mode"])
def test_outputs_may_be_changed_in_place(way: str) -> None:
    inputs = problem()

    def changed(*inputs: torch.Tensor) -> torch.Tensor:
        return torch.relu_(run(*inputs)[0]).square().sum()

    def expected(*inputs: torch.Tensor) -> torch.Tensor:
        return torch.relu(run(*inputs, native=False)[0]).square().sum()

    if way == "compiled":
        got = with_gradients(torch.compile(changed, backend="aot_eager", fullgraph=True), inputs)
    elif way == "outside what is compiled":
        inside = torch.compile(lambda *inputs: run(*inputs)[0], backend="aot_eager", fullgraph=True)
        got = with_gradients(lambda *inputs: torch.relu_(inside(*inputs)).square().sum(), inputs)
    elif way == "a dispatch mode":
        with Watch():
            got = with_gradients(changed, inputs)
    else:
        got = torch.func.grad(changed, tuple(range(5)))(*inputs)
    assert_same(
        got,
        torch.func.grad(expected, tuple(range(5)))(*inputs)
        if way == "torch.func"
        else with_gradients(expected, inputs),
    )


# --- the operators -----------------------------------------------------------------------------------------


def operands(row: dict[str, Any], differentiable: bool) -> tuple[cases.Case, tuple[Any, ...]]:
    case = cases.make((3, 4, 2, 5), row).astype(np.float64)
    tensors = [None if a is None else torch.tensor(a) for a in (getattr(case, n) for n in NAMES)]
    x, kernel, recurrent_kernel, bias, state = (t if t is None else t.requires_grad_(differentiable) for t in tensors)
    rest = (None if a is None else torch.tensor(a) for a in (case.mask, case.input_dropout, case.recurrent_dropout))
    return case, (x, kernel, recurrent_kernel, bias, [] if state is None else [state], *rest)


@pytest.mark.medium
@pytest.mark.at_most(6)
@pytest.mark.parametrize("differentiable", [False, True])
@pytest.mark.parametrize("row", range(0, len(cases.COVERING), 4))
def test_torch_has_nothing_against_the_operators(row: int, differentiable: bool) -> None:
    case, given = operands(cases.COVERING[row], differentiable)
    options = case.options._asdict()
    torch.library.opcheck(torch.ops.elman.forward.default, given, options | {"keep_tape": bool(row % 8)})
    with torch.no_grad():
        y, _, tape = torch.ops.elman.forward.default(*given, **options, keep_tape=True)
    case, given = operands(cases.COVERING[row], False)  # a gradient of the gradient is refused
    dy, dfinal = (None if a is None else torch.tensor(a) for a in (case.dy, case.dfinal))
    wanted = {"want_dx": bool(row % 3), "want_weights": bool(row % 5), "want_norms": bool(row % 2)}
    torch.library.opcheck(torch.ops.elman.backward.default, (*given, y, tape, dy, [dfinal]), options | wanted)


def test_a_stored_graph_may_leave_attributes_out() -> None:
    x, kernel, recurrent_kernel, *_ = problem()
    y, (h,), tape = torch.ops.elman.forward(x, kernel, recurrent_kernel, None, [], None, None, None)
    assert_same((y, h), run(x, kernel, recurrent_kernel))
    assert tape.shape == (3, 4, 0)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("kernel", torch.zeros(3, 5).double()),
        ("recurrent_kernel", torch.zeros(5, 6).double()),
        ("bias", torch.zeros(5)),
        ("initial_states", [torch.zeros(2, 5).double()]),
        ("mask", torch.ones(3, 5, dtype=torch.bool)),
        ("mask", torch.ones(3, 4)),
        ("mask", torch.ones(3, dtype=torch.int16)),
        ("input_dropout", torch.ones(2, 3, 2).double()),
        ("recurrent_dropout", torch.ones(3, 5).double()),
        ("y", torch.zeros(3, 5).double()),
        ("tape", torch.zeros(3, 4, 5).double()),
        ("dy", torch.zeros(3, 4, 5)),
        ("dfinal_states", [torch.zeros(3, 4).double()]),
    ],
)
def test_an_operator_holds_its_tensors_to_their_shapes_and_dtypes(name: str, wrong: Any) -> None:
    x, kernel, recurrent_kernel, bias, state = problem()
    given = {"x": x, "kernel": kernel, "recurrent_kernel": recurrent_kernel, "bias": bias, "initial_states": [state]}
    given |= {"mask": None, "input_dropout": None, "recurrent_dropout": None}
    y, _, tape = torch.ops.elman.forward(**given)
    results = {"y": y, "tape": tape, "dy": y, "dfinal_states": [state]}
    if name in given:
        with pytest.raises(ValueError, match=rf"elman's recurrence got {name} of shape .*; expected \("):
            torch.ops.elman.forward(**given | {name: wrong})
    with pytest.raises(ValueError, match=rf"elman's recurrence got {name} of shape .*; expected \("):
        torch.ops.elman.backward(**given | results | {name: wrong})
    with pytest.raises(ValueError, match=r"elman's recurrence got x of shape \(4, 2\) and dtype float64"):
        torch.ops.elman.forward(**given | {"x": x[0]})


# --- torch.compile -----------------------------------------------------------------------------------------

LENGTHS = torch.tensor([4, 0, 2])
COMPILED = {
    "native": {},
    "lengths and limits": {
        "lengths": LENGTHS,
        "go_backwards": True,
        "clip_state_gradient": 0.5,
        "truncate_gradient": 3,
    },
    "mask": {"mask": torch.arange(4) < LENGTHS[:, None], "zero_output_for_mask": True, "activation": "relu"},
    "plain": {"native": False, "lengths": LENGTHS, "truncate_gradient": 3},
    "plain with a limit": {"native": False, "clip_state_gradient": 0.5},
    "own activation": {"native": "auto", "activation": torch.sin},
}


@pytest.mark.medium
@pytest.mark.at_most(3)
@pytest.mark.parametrize("options", COMPILED.values(), ids=COMPILED)
def test_compiled_whole_forward_and_backward(options: dict[str, Any]) -> None:
    function = functools.partial(run, **options)
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    inputs = problem()
    assert_same(compiled(*inputs), function(*inputs))
    for wanted in ((0, 1, 2, 3, 4), (1, 3), (0,)):
        assert_same(with_gradients(compiled, inputs, wanted), with_gradients(function, inputs, wanted))
    with torch.no_grad():
        assert_same(compiled(*inputs), function(*inputs))


@pytest.mark.parametrize("function", [run, last])
def test_compiled_once_for_every_batch_and_time(function: Function) -> None:
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager", dynamic=True)
    with_gradients(compiled, problem())
    with torch.compiler.set_stance("fail_on_recompile"):
        for shape in ((5, 4, 2, 5), (3, 9, 2, 5), (7, 2, 2, 5)):
            assert_same(with_gradients(compiled, problem(shape)), with_gradients(function, problem(shape)))


@pytest.mark.medium
def test_compiled_by_inductor(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))

    def function(x: torch.Tensor, *weights: torch.Tensor) -> Any:
        y, h = run(x * 2, *weights)
        return y.tanh(), h + 1

    compiled = torch.compile(function, fullgraph=True, backend="inductor")
    assert_same(with_gradients(compiled, problem()), with_gradients(function, problem()))


class Net(torch.nn.Module):
    """A recurrence with parameters."""

    def __init__(self, native: str | bool) -> None:
        super().__init__()
        self.native = native
        _, *weights = problem()
        self.weights = torch.nn.ParameterList(weights[:3])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return elman.simple_rnn(x, *self.weights, native=self.native)[0]


@pytest.mark.parametrize("native", ["require", False])
def test_a_compiled_module_under_autocast(native: str | bool) -> None:
    net = Net(native).float()
    x = problem()[0].float()

    def step(net: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return net(x @ torch.eye(2))  # the product is in bfloat16

    y = torch.compile(step, fullgraph=True, backend="aot_eager")(net, x)
    assert y.dtype == torch.float32
    assert torch.equal(y, step(net, x))


FIRST_CALL = """
import warnings
import torch
import torch._dynamo
import elman
warnings.simplefilter("error")
x, kernel, recurrent_kernel = torch.randn(3, 4, 2), torch.randn(2, 5), torch.nn.Parameter(torch.randn(5, 5))
run = lambda x: elman.simple_rnn(x, kernel, recurrent_kernel, native={native})[0]
y = torch.compile(run, fullgraph=True, backend="aot_eager")(x)
y.sum().backward()
assert torch.equal(y, run(x)), (y, run(x))
"""


@pytest.mark.medium
@pytest.mark.at_most(1)
@pytest.mark.parametrize("native", ['"require"', "False"])
def test_the_first_call_of_a_process_may_be_compiled(native: str) -> None:
    subprocess.run([sys.executable, "-c", FIRST_CALL.format(native=native)], check=True)


def test_transforms_inside_a_compiled_function_take_plain_operations() -> None:
    x, *weights = problem()

    def function(x: torch.Tensor, native: str | bool = "auto") -> Any:
        loss = lambda x: elman.simple_rnn(x, *weights, native=native)[0].square().sum()  # noqa: E731
        return torch.func.grad(loss)(x), torch.func.vmap(loss)(torch.stack([x, x + 1]))

    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    assert_same(compiled(x), function(x))
    with pytest.raises(
        Exception, match=r"torch\.compile traces a torch\.func transform"
    ):  # torch wraps ours in its own
        compiled(x, native="require")


def test_compiled_autograd() -> None:
    def step(*inputs: torch.Tensor) -> None:
        sum(o.square().sum() for o in run(*inputs)).backward()

    inputs = [t.requires_grad_() for t in problem()]
    with torch._dynamo.config.patch(compiled_autograd=True):
        torch.compile(lambda: step(*inputs), backend="aot_eager")()
    assert_same([t.grad for t in inputs], with_gradients(run, problem())[1])


# --- torch.export, and tracers before it ---------------------------------------------------------------------


def operators(graph: torch.fx.Graph) -> set[str]:
    return {str(node.target) for node in graph.nodes if "elman" in str(node.target)}


OPENS_ANYWHERE = """
import io, sys
import torch
sys.modules["elman"] = None  # as where it is absent
program = torch.export.load(io.BytesIO(sys.stdin.buffer.read()))
x = torch.linspace(-1, 1, 24, dtype=torch.float64).reshape(3, 4, 2)
print(program.module()(x).sum().item())
"""


@pytest.mark.medium
@pytest.mark.at_most(1)
@pytest.mark.parametrize("strict", [False, True])
def test_an_exported_file_of_plain_operations_opens_without_elman(strict: bool) -> None:
    net = Net(False)
    x = torch.linspace(-1, 1, 24, dtype=torch.float64).reshape(3, 4, 2)
    file = io.BytesIO()
    program = torch.export.export(net, (torch.zeros_like(x),), strict=strict)
    torch.export.save(program, file)
    assert not operators(program.graph)
    opened = subprocess.run(
        [sys.executable, "-c", OPENS_ANYWHERE], input=file.getvalue(), capture_output=True, check=True
    )
    assert float(opened.stdout) == pytest.approx(net(x).sum().item(), rel=1e-12)


@pytest.mark.parametrize("strict", [False, True])
def test_an_exported_native_graph_runs_and_trains(strict: bool) -> None:
    net = Net("require")
    batch, time = torch.export.Dim("batch"), torch.export.Dim("time")
    exported = torch.export.export(net, (problem()[0],), dynamic_shapes={"x": {0: batch, 1: time}}, strict=strict)
    assert operators(exported.graph) == {"elman.forward.default"}
    module = exported.module()
    x = problem((7, 9, 2, 5))[0]
    got = torch.autograd.grad(module(x).square().sum(), list(module.parameters()))
    assert_same(got, torch.autograd.grad(net(x).square().sum(), list(net.parameters())))


def test_make_fx_records_the_operators() -> None:
    x, *weights = problem()
    function = torch.func.grad(lambda x: run(x, *weights)[0].square().sum())
    traced = make_fx(function)(x)
    assert operators(traced.graph) == {"elman.forward.default", "elman.backward.default"}
    assert_same(traced(x + 1), function(x + 1))


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_jit_trace_does_not_take_the_result_for_a_constant() -> None:
    x, *weights = problem()
    traced = torch.jit.trace(lambda x: run(x, *weights)[0], (x,))
    assert_same(traced(x + 1), run(x + 1, *weights)[0])


# --- torch.func --------------------------------------------------------------------------------------------


def loss(*inputs: torch.Tensor, **options: Any) -> torch.Tensor:
    y, h = run(*inputs, **options)
    return y.square().sum() + h.pow(3).sum()


@pytest.mark.parametrize("function", [loss, lambda *inputs: last(*inputs).square().sum()])
def test_func_grad(function: Function, native_calls: dict[str, int]) -> None:
    got = torch.func.grad(function, argnums=(0, 1, 2, 3, 4))(*problem())
    assert native_calls == {"forward": 1, "backward": 1}
    assert_same(got, torch.autograd.grad(function(*(i := [t.requires_grad_() for t in problem()])), i))


def stacked(count: int) -> list[torch.Tensor]:
    """Several problems side by side."""
    return [torch.stack(each) for each in zip(*(problem(seed=i) for i in range(count)), strict=True)]


FOLDED = {
    "x": ((0, None, None, None, None), {}),
    "x and state, odd axes": ((2, None, None, None, 1), {}),
    "state": ((None, None, None, None, 0), {}),
}
LOOPED = {"kernel": (None, 0, None, None, None), "bias": (0, None, None, 1, None), "everything": (0, 0, 0, 0, 0)}


def batched(in_dims: tuple[int | None, ...]) -> list[torch.Tensor]:
    return [
        single if dim is None else many.movedim(0, dim)
        for single, many, dim in zip(problem(), stacked(3), in_dims, strict=True)
    ]


@pytest.mark.parametrize("in_dims", [d for d, _ in FOLDED.values()] + list(LOOPED.values()), ids=[*FOLDED, *LOOPED])
def test_vmap(in_dims: tuple[int | None, ...], native_calls: dict[str, int]) -> None:
    inputs = batched(in_dims)
    got = torch.vmap(run, in_dims)(*inputs)
    assert native_calls["forward"] == (3 if any(d is not None for d in in_dims[1:4]) else 1)
    assert_same(got, torch.vmap(functools.partial(run, native=False), in_dims)(*inputs))


@pytest.mark.parametrize("mask", [torch.rand(3, 3, 4) < 0.6, torch.tensor([[4, 0, 2], [1, 1, 1], [3, 4, 0]])])
def test_vmap_over_masks_and_dropout_too(mask: torch.Tensor, native_calls: dict[str, int]) -> None:
    x, kernel, recurrent_kernel, *_ = problem()
    drop, recurrent_drop = torch.rand(1, 3, 2, 3).double(), torch.rand(3, 1, 3, 5).double()

    def function(recur: Function, mask: torch.Tensor, drop: torch.Tensor, recurrent_drop: torch.Tensor) -> Any:
        return recur(Options(), x, kernel, recurrent_kernel, None, (), mask, drop, recurrent_drop)

    got, expected = (
        torch.vmap(functools.partial(function, recur), (0, 3, 0))(mask, drop, recurrent_drop)
        for recur in (_torch.recurrence, _torch.plain)
    )
    assert native_calls["forward"] == 1
    assert_same(got, expected)


@pytest.mark.parametrize("in_dims", [d for d, _ in FOLDED.values()] + list(LOOPED.values()), ids=[*FOLDED, *LOOPED])
@pytest.mark.parametrize("argnums", [(0,), (0, 1, 2, 3, 4)])
def test_vmap_of_grad(in_dims: tuple[int | None, ...], argnums: tuple[int, ...], native_calls: dict[str, int]) -> None:
    inputs = batched(in_dims)
    got = torch.vmap(torch.func.grad(loss, argnums), in_dims)(*inputs)
    if argnums == (0,) and in_dims[1:4] == (None,) * 3:
        assert native_calls == {"forward": 1, "backward": 1}
    plain = functools.partial(loss, native=False)
    assert_same(got, torch.vmap(torch.func.grad(plain, argnums), in_dims)(*inputs))


def test_grad_of_vmap() -> None:
    x, *weights = stacked(3)[:1] + problem()[1:]
    for function in (loss, lambda *inputs, **_: last(*inputs).square().sum()):
        total = lambda *inputs: torch.vmap(function, (0, None, None, None, None))(*inputs).sum()  # noqa: B023, E731
        got = torch.func.grad(total, argnums=(0, 1, 2, 3, 4))(x, *weights)
        each = [torch.func.grad(function, argnums=(0, 1, 2, 3, 4))(one, *weights) for one in x]
        rows = zip(*each, strict=True)
        expected = [torch.stack(next(rows)), *(sum(row) for row in rows)]
        assert_same(got, expected)


def test_vmap_of_vmap(native_calls: dict[str, int]) -> None:
    x, *weights = problem()
    x = torch.stack([torch.stack([x, x + 1, x + 2]), torch.stack([-x, x - 1, x - 2])])
    got = torch.vmap(torch.vmap(lambda x: run(x, *weights)))(x)
    assert native_calls["forward"] == 1
    y, h = run(x.flatten(0, 2), *weights[:3], weights[3].repeat(6, 1))
    assert_same(got, (y.reshape(2, 3, 3, 4, 5), h.reshape(2, 3, 3, 5)))


def test_jacrev_and_vjp(native_calls: dict[str, int]) -> None:
    inputs = problem()
    got = torch.func.jacrev(run)(*inputs)
    assert native_calls == {"forward": 1, "backward": 1}
    assert_same(got, torch.func.jacrev(functools.partial(run, native=False))(*inputs))
    got = torch.func.jacrev(run, argnums=2)(*inputs)
    assert_same(got, torch.func.jacrev(functools.partial(run, native=False), argnums=2)(*inputs))
    (y, h), pull_back = torch.func.vjp(run, *inputs)
    expected, plain_pull_back = torch.func.vjp(functools.partial(run, native=False), *inputs)
    assert_same((y, h, pull_back((y, h))), (*expected, plain_pull_back((y, h))))


def test_functional_call() -> None:
    net, x = Net("require"), problem()[0]
    other = {name: p.detach() + 0.1 for name, p in net.named_parameters()}
    got = torch.func.grad(lambda p: torch.func.functional_call(net, p, (x,)).square().sum())(other)
    net.load_state_dict(other)
    expected = torch.autograd.grad(net(x).square().sum(), list(net.parameters()))
    assert_same(list(got.values()), expected)


def test_plain_operations_with_a_limit_under_transforms() -> None:
    options = {"native": False, "clip_state_gradient": 0.5, "truncate_gradient": 3}
    x, *weights = batched((0, None, None, None, None))
    got = torch.vmap(torch.func.grad(functools.partial(loss, **options)), (0, *(None,) * 4))(x, *weights)
    native = torch.func.grad(functools.partial(loss, **options | {"native": "require"}))
    assert_same(got, torch.stack([native(each, *weights) for each in x]))


# --- what the native path refuses --------------------------------------------------------------------------


def dual(function: Function) -> Function:
    def call(x: torch.Tensor) -> Any:
        with torch.autograd.forward_ad.dual_level():
            return function(torch.autograd.forward_ad.make_dual(x, torch.ones_like(x)))

    return call


def twice(function: Function) -> Function:
    def call(x: torch.Tensor) -> Any:
        x = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(function(x), x, create_graph=True)
        return torch.autograd.grad(gradient.sum(), x)

    return call


ORDINARY = {
    "autograd twice": twice,
    "functional.hessian": lambda f: functools.partial(torch.autograd.functional.hessian, f),
    "functional.hvp": lambda f: lambda x: torch.autograd.functional.hvp(f, x, x),
}
SECOND = {
    "grad of grad": lambda f: torch.func.grad(lambda x: torch.func.grad(f)(x).sum()),
    "jacrev of jacrev": lambda f: torch.func.jacrev(torch.func.jacrev(f)),
    "vmap of grad of grad": lambda f: lambda x: torch.vmap(SECOND["grad of grad"](f))(torch.stack([x, x])),
    "operator": lambda f: twice(by_operator),
}
FORWARD = {
    "dual numbers": dual,
    "dual numbers without gradients": lambda f: torch.no_grad()(dual(f)),
    "jvp": lambda f: lambda x: torch.func.jvp(f, (x,), (x,)),
    "jacfwd": torch.func.jacfwd,
    "hessian": torch.func.hessian,
    "jacrev of jacfwd": lambda f: torch.func.jacrev(torch.func.jacfwd(f)),
    "jvp of vmap": lambda f: lambda x: torch.func.jvp(torch.vmap(f), (x[None],), (x[None],)),
    "vmap of jvp": lambda f: torch.vmap(lambda x: torch.func.jvp(f, (x,), (x,)), 0),
}


def by_operator(x: torch.Tensor) -> torch.Tensor:
    _, kernel, recurrent_kernel, *_ = problem()
    return torch.ops.elman.forward(x, kernel, recurrent_kernel, None, [], None, None, None)[0].square().sum()


@pytest.mark.parametrize("derivative", SECOND)
def test_a_second_derivative_names_the_way_out(derivative: str) -> None:
    x, *weights = problem()
    with pytest.raises(
        NotImplementedError, match=r"no second derivative of what is traced.*pass native=False"
    ) as error:
        SECOND[derivative](lambda x: loss(x, *weights))(x)
    assert str(error.value) == _operators_torch.SECOND_DERIVATIVE


@pytest.mark.parametrize("derivative", ORDINARY)
def test_a_second_derivative_of_ordinary_tensors_is_that_of_the_plain_operations(derivative: str) -> None:
    x, *weights = problem()
    got = ORDINARY[derivative](lambda x: loss(x, *weights))(x)
    assert_same(got, ORDINARY[derivative](lambda x: loss(x, *weights, native=False))(x))


def test_a_gradient_that_could_be_differentiated_but_is_not() -> None:
    inputs = [t.requires_grad_() for t in problem()]
    got = torch.autograd.grad(loss(*inputs), inputs, create_graph=True)
    assert all(g.requires_grad for g in got)
    assert_same(got, torch.autograd.grad(loss(*inputs), inputs))


@pytest.mark.parametrize("derivative", FORWARD)
def test_forward_mode_names_the_way_out(derivative: str) -> None:
    x, *weights = problem()
    function = lambda x: loss(x, *weights)  # noqa: E731
    if derivative == "vmap of jvp":
        x = x[None]
    with pytest.raises(NotImplementedError, match=r"no forward-mode derivative; pass native=False") as error:
        FORWARD[derivative](function)(x)
    assert str(error.value) == _operators_torch.FORWARD_MODE


def test_batched_gradients_of_an_eager_graph_name_the_way_out() -> None:
    inputs = [t.requires_grad_() for t in problem()]
    y, _ = run(*inputs)
    each = torch.eye(y.numel(), dtype=y.dtype).reshape(-1, *y.shape)
    with pytest.raises(NotImplementedError, match=r"For batched gradients use torch\.func .*, or pass native=False"):
        torch.autograd.grad(y, inputs, each, is_grads_batched=True)
    y, _ = run(*inputs, native=False)
    torch.autograd.grad(y, inputs, each, is_grads_batched=True)


# --- checkpoints, hooks, modes, subclasses -----------------------------------------------------------------


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpoint(reentrant: bool) -> None:
    function = functools.partial(checkpoint, run, use_reentrant=reentrant)
    assert_same(with_gradients(function, problem()), with_gradients(run, problem()))


def test_selective_checkpoint_may_keep_the_forward(native_calls: dict[str, int]) -> None:
    def policy(ctx: Any, operator: Any, *_: Any, **__: Any) -> CheckpointPolicy:
        keep = operator is torch.ops.elman.forward.default
        return CheckpointPolicy.MUST_SAVE if keep else CheckpointPolicy.PREFER_RECOMPUTE

    contexts = functools.partial(create_selective_checkpoint_contexts, policy)
    function = functools.partial(checkpoint, run, use_reentrant=False, context_fn=contexts)
    got = with_gradients(function, problem())
    assert native_calls == {"forward": 1, "backward": 1}
    assert_same(got, with_gradients(run, problem()))


def test_tensors_saved_elsewhere() -> None:
    def function(*inputs: torch.Tensor) -> Any:
        with torch.autograd.graph.saved_tensors_hooks(lambda t: t.numpy().copy(), torch.from_numpy):
            return run(*inputs)

    assert_same(with_gradients(function, problem()), with_gradients(run, problem()))


def test_hooks_see_gradients() -> None:
    inputs = [t.requires_grad_() for t in problem()]
    seen: list[torch.Tensor] = []
    inputs[1].register_hook(seen.append)
    y, h = run(*inputs)
    y.register_hook(lambda d: d * 2)
    (y.sum() + h.sum()).backward()
    got = list(seen)
    y, h = run(*inputs)
    assert_same(got, torch.autograd.grad(2 * y.sum() + h.sum(), inputs[1]))


class Watch(torch.utils._python_dispatch.TorchDispatchMode):
    """Writes down the operators that run."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.append(str(function))
        return function(*args, **(kwargs or {}))


def test_dispatch_modes_see_the_operators() -> None:
    with Watch() as watch:
        got = with_gradients(run, problem())
    assert [name for name in watch.seen if "elman" in name] == ["elman.forward.default", "elman.backward.default"]
    assert_same(got, with_gradients(run, problem()))


def test_fake_tensors() -> None:
    with torch._subclasses.FakeTensorMode() as mode:
        y, h = run(*(mode.from_tensor(t) for t in problem()))
    assert (y.shape, h.shape) == ((3, 4, 5), (3, 5))


class Tagged(torch.Tensor):
    """A subclass of a user's own."""


class OwnParameter(torch.nn.Parameter):
    """Another."""


def test_subclasses() -> None:
    x, *weights = problem()

    def function(x: torch.Tensor, *weights: torch.Tensor) -> Any:
        y, h = run(x.as_subclass(Tagged), *weights)
        assert type(y) is Tagged
        return y.as_subclass(torch.Tensor), h.as_subclass(torch.Tensor)

    assert_same(with_gradients(function, [x, *weights]), with_gradients(run, [x, *weights]))
    own = [OwnParameter(w) for w in weights]
    assert_same(torch.autograd.grad(loss(x, *own), own), torch.func.grad(loss, (1, 2, 3, 4))(x, *weights))
