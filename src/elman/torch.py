# SPDX-License-Identifier: Apache-2.0
"""`RNN`, `LSTM` and `GRU`: torch.nn's modules, whose recurrence runs natively on the CPU.

In: what the modules of torch.nn take, and `lengths` and `resets`. Out: what they return. Parameters, their names and
first values, `state_dict`, `repr` and pickling are those of `torch.nn.RNNBase`, from which the modules derive. They do
not derive from `torch.nn.RNN` and its like, which torch.compile refuses.

A layer and direction is one native call, of arrays that are batch-major. Where the native path cannot run, torch's own
operators run, or, with `lengths` or `resets`, elman's plain operations; `route` has the reason. Keras is not needed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from elman import _calls_torch, _torch, route, stack_torch
from elman.cells import BY_KERAS, Cell
from elman.checks import check_extras, check_lengths, short
from elman.options import Options
from elman.route import Decision, Route, before_the_call, decide_for, unavailable

__all__ = ["GRU", "LSTM", "RNN"]

_States = tuple[Tensor, ...]
_CELL_OF = {cell.torch: cell for cell in BY_KERAS.values()}
_exporting = getattr(torch.compiler, "is_exporting", lambda: False)  # young: without it a file holds elman's operator
_OPTIONS = {  # by mode; a table, since torch.compile warns of functions that are cached
    mode: Options(_CELL_OF[mode.partition("_")[0]].name, activation, zero_output_for_mask=True)
    for mode, activation in (("RNN_TANH", "tanh"), ("RNN_RELU", "relu"), ("LSTM", "tanh"), ("GRU", "tanh"))
}
_OPERATORS = {"LSTM": torch.lstm, "GRU": torch.gru, "RNN_TANH": torch.rnn_tanh, "RNN_RELU": torch.rnn_relu}


class _Call(NamedTuple):
    """A call in the one form that the layers take.

    Attributes:
        x: `(batch, time, features)`, or with time first.
        states: One `(layers * directions, batch, units)` for each state; none: zeros.
        lengths: int64 `(batch,)`, or `None`.
        resets: Booleans `(batch, time)`, or `None`.
        packed: Whether the rows come from a `PackedSequence`, the longest first.
        time_first: Whether time is the first axis of x, and of y.
    """

    x: Tensor
    states: _States
    lengths: Tensor | None
    resets: Tensor | None
    packed: bool = False
    time_first: bool = False


class _Recurrent(torch.nn.RNNBase):
    """What the three modules share."""

    def __init__(self, mode: str, *arguments: Any, native: str | bool = "auto", **options: Any) -> None:
        check_extras(None, None, native)
        super().__init__(mode, *arguments, **options)
        self.native = native
        self._ran: tuple[str, str | None, str | None] | None = None

    @property
    def route(self) -> Route | None:
        """How the last call ran: `path` is `"native"`, `"torch"` (torch's own operator) or `"plain"` (elman's plain
        operations), and `reason` says why it was not the native one. `None` before the first call."""
        return None if self._ran is None else Route(*self._ran)

    def extra_repr(self) -> str:
        return super().extra_repr() + ("" if self.native == "auto" else f", native={self.native!r}")

    def forward(
        self,
        input: Any,  # noqa: A002 -- the name in torch.nn
        hx: Any = None,
        *,
        lengths: Tensor | None = None,
        resets: Tensor | None = None,
    ) -> tuple[Any, Any]:
        """Runs the layers over a batch of sequences.

        Args:
            input: Tensor of shape `(time, batch, features)`, or `(batch, time, features)` with `batch_first=True`;
                `(time, features)` for a single sequence; or a `PackedSequence`.
            hx: Optional initial state, `(layers * directions, batch, units)`, of an LSTM a pair `(h, c)`; without the
                batch for a single sequence. Zeros by default.
            lengths: Optional integers of shape `(batch,)`, instead of packing: the first `lengths[b]` steps of
                sequence `b` count. Outputs after them are zero, and final states are those of the last step that
                counts.
            resets: Optional booleans of shape `(batch, time)`, whatever `batch_first` is; `(time,)` for a single
                sequence. Where one is `True` the state returns to the initial one before that step, so that what
                follows is computed as a sequence of its own, in both directions.

        Returns:
            `(output, h)`, of an LSTM `(output, (h, c))`, as the modules of torch.nn return them.

        Raises:
            ValueError: If the number of dimensions, a dtype or a length does not fit.
            RuntimeError: If another size does not fit.
            TypeError: If `hx`, `lengths` or `resets` is not a tensor of its dtype.
            elman.NativeUnavailable: If `native="require"` and the native path cannot run.
        """
        if isinstance(input, PackedSequence):
            return self._packed(input, hx, lengths, resets)
        if input.dim() not in (2, 3):
            raise ValueError(
                f"{self._name} got an input of {input.dim()} dimensions; expected 3, or 2 for a single sequence "
                "(time, features). Reshape it."
            )
        single = input.dim() == 2
        x = input[None] if single else input
        time_first = not (single or self.batch_first)
        batch, time = (x.shape[1], x.shape[0]) if time_first else (x.shape[0], x.shape[1])
        states = self._checked_states(hx, batch, single)
        self._check_input(x, states)
        checked = _checked_lengths(lengths, batch, time, x.device), _checked_resets(resets, batch, time, single)
        y, finals = self._run(_Call(x, states, *checked, time_first=time_first))
        if single:
            return y[0], self._grouped([s[:, 0] for s in finals])
        return y, self._grouped(finals)

    # --- the arguments ---------------------------------------------------------------------------------------------

    @property
    def _name(self) -> str:
        return f"elman.torch.{type(self).__name__}"

    @property
    def _cell(self) -> Cell:
        return _CELL_OF[self.mode.partition("_")[0]]

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    def _grouped(self, states: list[Tensor] | _States) -> Any:
        return tuple(states) if len(self._cell.states) > 1 else states[0]

    def _check_input(self, x: Tensor, states: _States) -> None:
        if x.shape[-1] != self.input_size:
            raise RuntimeError(
                f"{self._name} got {x.shape[-1]} features; expected input_size={self.input_size}. Pass other features, "
                "or make a module of that size."
            )
        wanted = self.weight_ih_l0.dtype
        for name, tensor in (("input", x), *(("hx", state) for state in states)):
            if tensor.dtype != wanted and not torch.is_autocast_enabled(tensor.device.type):
                raise ValueError(  # in the words of torch.nn, which programs match
                    f"RNN {name} dtype ({tensor.dtype}) does not match weight dtype ({wanted}). Convert {name}: "
                    f"{name}.to({wanted}), or convert model: model.to({tensor.dtype})"
                )

    def _checked_states(self, hx: Any, batch: int, single: bool) -> _States:
        """The states of `hx` with a batch, or none for zeros."""
        if hx is None:
            return ()
        several = len(self._cell.states) > 1
        states = tuple(hx) if several and isinstance(hx, tuple | list) else (hx,)
        if len(states) != len(self._cell.states) or not all(isinstance(state, Tensor) for state in states):
            expected = "a pair (h, c) of tensors" if several else "a tensor"
            raise TypeError(
                f"{self._name} got hx of {type(hx).__name__}; expected {expected}. Pass it, or leave it out."
            )
        sizes = [self.proj_size or self.hidden_size, self.hidden_size]
        for state, size in zip(states, sizes, strict=False):
            layers = self.num_layers * self._directions
            wanted = (layers, size) if single else (layers, batch, size)
            if tuple(state.shape) != wanted:
                raise RuntimeError(
                    f"{self._name} got a state of shape {tuple(state.shape)}; expected {wanted}, (layers * directions, "
                    f"{'' if single else 'batch, '}units). Pass a state of that shape, or leave hx out for zeros."
                )
        return tuple([state[:, None] for state in states]) if single else states

    def _packed(self, given: PackedSequence, hx: Any, lengths: Any, resets: Any) -> tuple[PackedSequence, Any]:
        """A call on packed sequences: the rows are in the order in which they were sorted."""
        if lengths is not None:
            raise ValueError(
                f"{self._name} got a PackedSequence and lengths; expected one of them, as a PackedSequence has its "
                "lengths. Leave lengths out."
            )
        data, batch_sizes, order, back = given
        states = self._checked_states(hx, int(batch_sizes[0]), False)
        states = _permuted(states, order)
        self._check_input(data, states)
        decision, _ = self._decide(data)
        if decision.reason and resets is None:
            y, finals = self._by_torch(data, states, batch_sizes)
            self._note("torch", decision)
        else:
            x, lengths = pad_packed_sequence(PackedSequence(data, batch_sizes), batch_first=True)
            resets = _checked_resets(resets, x.shape[0], x.shape[1], False)
            resets = resets if resets is None or order is None else resets.index_select(0, order)
            padded, finals = self._run(_Call(x, states, lengths.to(x.device), resets, packed=True))
            y = pack_padded_sequence(padded, lengths, batch_first=True).data
        return PackedSequence(y, batch_sizes, order, back), self._grouped(_permuted(finals, back))

    # --- the route -------------------------------------------------------------------------------------------------

    def _decide(self, x: Tensor) -> tuple[Decision, Options]:
        options = _OPTIONS[self.mode]
        traced = _torch.traced_environment()
        decide = _decided_once if traced is None else before_the_call
        decision = decide(self.native, options, _torch.dtype(_torch.asarray(x, x)), traced)
        decision = decide_for(decision, _torch, x)
        if not (decision.reason or decision.required) and _exporting():
            decision = Decision(route.reason("export"), asked=True, portable=True)
        if decision.reason and decision.required:
            raise unavailable(decision.reason)
        return decision, options

    def _note(self, path: str, decision: Decision) -> None:
        """Keeps what `route` returns."""
        ran = (path, decision.isa, decision.reason)
        if self._ran != ran:
            self._ran = ran

    def _run(self, call: _Call) -> tuple[Tensor, _States]:
        """`(y, final_states)` of all layers, by the route that the facts allow."""
        decision, options = self._decide(call.x)
        if decision.reason and call.lengths is None and call.resets is None:
            self._note("torch", decision)
            return self._by_torch(call.x, call.states, batch_first=not call.time_first)
        self._note("plain" if decision.reason else "native", decision)
        if not decision.reason and (at_once := self._at_once(call)):
            return stack_torch.run(*at_once, functools.partial(self._again, call, options))
        recur = _torch.plain if decision.reason else _torch.recurrence
        return self._by_layers(call, self.all_weights, options, recur)

    def _at_once(self, call: _Call) -> tuple[stack_torch.Form, stack_torch.Given] | None:
        """The form and the tensors of a call whose layers can be one node of autograd; else `None`."""
        if self.proj_size or (self.dropout and self.training and self.num_layers > 1) or _torch.is_traced(call.x):
            return None
        own = self._parameters
        weights = tuple([own[n] if n in own else getattr(self, n) for n in self._flat_weights_names])
        states, dtype = call.states, call.x.dtype
        plain = all([t.dtype == dtype and t.is_cpu for t in (*states, *weights)])  # noqa: C419 -- a list is faster
        if not plain or not _calls_torch.is_ordinary((call.x, *states, *weights)):
            return None
        form = _form_of(self.mode, self.num_layers, self.bidirectional, self.bias, not call.time_first)
        _check_weights(self, form, weights)
        masks = tuple([_mask(call, bool(reverse)) for reverse in range(self._directions)])
        return form, stack_torch.Given(call.x, states, masks, weights)

    def _again(self, call: _Call, options: Options, given: stack_torch.Given) -> tuple[Tensor, _States]:
        """What `stack_torch.run` computes, by layers."""
        step = len(given.weights) // (self.num_layers * self._directions)
        weights = [list(given.weights[i : i + step]) for i in range(0, len(given.weights), step)]
        return self._by_layers(call._replace(x=given.x, states=given.states), weights, options, _torch.recurrence)

    def _by_torch(
        self, x: Tensor, states: _States, batch_sizes: Tensor | None = None, *, batch_first: bool = True
    ) -> tuple[Tensor, _States]:
        """All layers by torch's own operator; with batch sizes x is packed."""
        batch = x.shape[0 if batch_first else 1] if batch_sizes is None else int(batch_sizes[0])
        if not states:
            layers = self.num_layers * self._directions
            sizes = [self.proj_size or self.hidden_size, self.hidden_size][: len(self._cell.states)]
            states = tuple(x.new_zeros((layers, batch, size)) for size in sizes)
        hx = states if self.mode == "LSTM" else states[0]
        weights = [weight for of_one in self.all_weights for weight in of_one]
        settings = (self.bias, self.num_layers, self.dropout, self.training, self.bidirectional)
        operator = _OPERATORS[self.mode]
        if batch_sizes is None:
            y, *finals = operator(x, hx, weights, *settings, batch_first)
        else:
            y, *finals = operator(x, batch_sizes, hx, weights, *settings)
        return y, tuple(finals)

    # --- the layers ------------------------------------------------------------------------------------------------

    def _by_layers(
        self, call: _Call, weights: list[list[Tensor]], options: Options, recur: Callable[..., Any]
    ) -> tuple[Tensor, _States]:
        """Layer by layer and direction by direction."""
        y, found = call.x.transpose(0, 1) if call.time_first else call.x, []
        for layer in range(self.num_layers):
            if layer and self.dropout and self.training:
                y = _dropped(y, self.dropout, call.lengths if call.packed else None)
            outputs = []
            for reverse in range(self._directions):
                number = layer * self._directions + reverse
                one = call._replace(x=y, states=tuple([state[number] for state in call.states]))
                output, *finals = self._one(one, weights[number], bool(reverse), options, recur)
                outputs.append(output)
                found.append(finals)
            y = outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=-1)
        y = y.transpose(0, 1).contiguous() if call.time_first else y
        return y, tuple(torch.stack(states) for states in zip(*found, strict=True))

    def _one(
        self, call: _Call, weights: list[Tensor], reverse: bool, options: Options, recur: Callable[..., Any]
    ) -> tuple[Tensor, ...]:
        """One layer in one direction, batch-major: its outputs in the order of time, then its final states."""
        states = tuple([_torch.asarray(state, call.x) for state in call.states])
        call = call._replace(x=_torch.asarray(call.x, call.x), states=states)
        if self.proj_size:
            return _projected(self._cell, call, weights, reverse, options, recur)
        return _recurrence(call, _arrays(self._cell, weights), states, reverse, options, recur)


def _recurrence(
    call: _Call,
    arrays: tuple[Tensor, Tensor, Tensor | None],
    states: _States,
    reverse: bool,
    options: Options,
    recur: Callable[..., Any],
) -> tuple[Tensor, ...]:
    """The outputs in the order of time, and the final states."""
    y, finals = recur(options._replace(go_backwards=reverse), call.x, *arrays, states, _mask(call, reverse), None, None)
    return y.flip(1) if reverse else y, *finals


def _projected(
    cell: Cell, call: _Call, weights: list[Tensor], reverse: bool, options: Options, recur: Callable[..., Any]
) -> tuple[Tensor, ...]:
    """An LSTM whose state is projected, as one without: `(h P) U = h (P U)`. It is computed in float64, since rounding
    P U to float32 costs more digits than torch.nn loses."""
    dtype = call.x.dtype
    states = tuple([state.double() for state in call.states])
    call = call._replace(x=call.x.double(), states=states)
    *weights, projection = [weight.double() for weight in weights]
    kernel, recurrent_kernel, bias = _arrays(cell, weights)
    initial = states
    if states:
        call, kernel = _with_projected_state(call, kernel, recurrent_kernel, reverse)
        initial = (torch.zeros_like(states[1]), states[1])
    arrays = (kernel, projection.t() @ recurrent_kernel, bias)
    y, h, c = _recurrence(call, arrays, initial, reverse, options, recur)
    y, h = y @ projection.t(), h @ projection.t()
    if states and call.lengths is not None:  # without a step the state is the one that was given
        h = torch.where(call.lengths[:, None] > 0, h, states[0])
    return y.to(dtype), h.to(dtype), c.to(dtype)


@functools.lru_cache(maxsize=4096)
def _decided_once(native: Any, options: Options, dtype: str, traced: None) -> Decision:
    return before_the_call(native, options, dtype, traced)


@functools.cache
def _form_of(mode: str, layers: int, bidirectional: bool, bias: bool, batch_first: bool) -> stack_torch.Form:
    options = _OPTIONS[mode]
    cell = _CELL_OF[mode.partition("_")[0]]
    same = cell.torch_gates == cell.gates
    return stack_torch.Form(
        (options, options._replace(go_backwards=True)) if bidirectional else (options,),
        layers,
        None if same else tuple([cell.torch_gates.index(gate) for gate in cell.gates]),
        4 if bias else 2,
        cell.two_biases(reset_after=True),
        len(cell.states),
        batch_first,
    )


def _check_weights(module: _Recurrent, form: stack_torch.Form, weights: tuple[Tensor, ...]) -> None:
    """Raises if a parameter was replaced by one of another shape: the native library reads what the sizes say."""
    wanted = _shapes(form, len(module._cell.gates) * module.hidden_size, module.input_size, module.hidden_size)
    found = tuple([weight.shape for weight in weights])
    if found != wanted:
        raise RuntimeError(
            f"{module._name} has parameters of the shapes {', '.join(str(tuple(shape)) for shape in found)}; expected "
            f"{', '.join(map(str, wanted))}, which follow from its sizes. Make a module of the right sizes, and load "
            "the parameters into it."
        )


@functools.lru_cache(maxsize=1024)
def _shapes(form: stack_torch.Form, rows: int, features: int, units: int) -> tuple[tuple[int, ...], ...]:
    """The shapes of all parameters."""
    found: list[tuple[int, ...]] = []
    directions = len(form.options)
    for layer in range(form.layers):
        columns = units * directions if layer else features
        found += ([(rows, columns), (rows, units)] + [(rows,)] * (form.parameters - 2)) * directions
    return tuple(found)


def _arrays(cell: Cell, weights: list[Tensor]) -> tuple[Tensor, Tensor, Tensor | None]:
    """The kernel, the recurrent kernel and the bias of `Operands`, from torch's parameters of a layer."""
    if cell.torch_gates != cell.gates:
        order = [cell.torch_gates.index(gate) for gate in cell.gates]
        weights = [torch.cat([weight.chunk(len(order))[i] for i in order]) for weight in weights]
    w_ih, w_hh, *biases = weights
    if not biases:
        return w_ih.t(), w_hh.t(), None
    return w_ih.t(), w_hh.t(), torch.stack(biases) if cell.two_biases(reset_after=True) else biases[0] + biases[1]


def _mask(call: _Call, reverse: bool) -> Tensor | None:
    """The mask of `Operands`: lengths, or the codes of steps with resets."""
    if call.resets is None:
        return call.lengths
    resets = call.resets
    if reverse:  # read backwards, a sequence begins at the step before the one at which the next begins
        resets = torch.cat((resets[:, 1:], torch.zeros_like(resets[:, :1])), dim=1)
    return _torch.codes(call.lengths, resets)


def _with_projected_state(call: _Call, kernel: Tensor, recurrent_kernel: Tensor, reverse: bool) -> tuple[_Call, Tensor]:
    """The first step of an LSTM with a projection reads a state that is no projection of another. That state becomes
    further features of the step, whose weights are those of the state, and the state that the loop starts from is
    zero."""
    batch, time, _ = call.x.shape
    steps = torch.arange(time, device=call.x.device)
    first = 0 if not reverse else time - 1 if call.lengths is None else call.lengths[:, None] - 1
    begins = (steps == first).expand(batch, time)
    if call.resets is not None:
        begins = begins | (_mask(call, reverse) == 3)
    given = torch.where(begins[..., None], call.states[0][:, None], 0)
    return call._replace(x=torch.cat((call.x, given), dim=-1)), torch.cat((kernel, recurrent_kernel))


def _dropped(y: Tensor, rate: float, packed: Tensor | None) -> Tensor:
    """Dropout between layers, on numbers in the order of torch.nn, so that a seed draws what it draws there: of
    sequences that were packed, with these lengths, in that form, else time-major."""
    dropout = torch.nn.functional.dropout
    if packed is None:
        return dropout(y.transpose(0, 1).contiguous(), rate).transpose(0, 1)
    given = pack_padded_sequence(y, packed.cpu(), batch_first=True)
    return pad_packed_sequence(PackedSequence(dropout(given.data, rate), given.batch_sizes), batch_first=True)[0]


def _permuted(states: _States, order: Tensor | None) -> _States:
    return states if order is None else tuple([state.index_select(1, order) for state in states])


def _checked_lengths(lengths: Any, batch: int, time: int, device: Any) -> Tensor | None:
    if lengths is None:
        return None
    lengths = torch.as_tensor(lengths, device=device)
    if tuple(lengths.shape) != (batch,) or lengths.dtype not in (torch.int32, torch.int64):
        raise ValueError(
            f"lengths has shape {tuple(lengths.shape)} and dtype {lengths.dtype}; expected {(batch,)}, "
            "(batch,), of int32 or int64. Pass the number of steps of each sequence."
        )
    check_lengths(_torch.values(lengths), time)
    return lengths.long()


def _checked_resets(resets: Any, batch: int, time: int, single: bool) -> Tensor | None:
    if resets is None:
        return None
    if not isinstance(resets, Tensor) or resets.dtype != torch.bool:
        raise TypeError(f"resets is {short(resets)}; expected a tensor of dtype bool. Pass resets != 0.")
    wanted = (time,) if single else (batch, time)
    if tuple(resets.shape) != wanted:
        raise ValueError(
            f"resets has shape {tuple(resets.shape)}; expected {wanted}, {'(time,)' if single else '(batch, time)'}, "
            "whatever batch_first is. Transpose it, or pass one boolean a step."
        )
    return resets[None] if single else resets


class RNN(_Recurrent):
    """The simple recurrent network (Elman, 1990) of `torch.nn.RNN`, run natively on the CPU.

    Parameters, their first values, `state_dict` and results are those of `torch.nn.RNN`.

    Args:
        input_size: Integer, the number of features of a step.
        hidden_size: Integer, the number of units.
        num_layers: Integer, the number of layers, each of which reads the outputs of the one before it.
        nonlinearity: `"tanh"` or `"relu"`.
        bias: Whether the layers have biases.
        batch_first: Whether input and output are `(batch, time, features)` instead of `(time, batch, features)`.
        dropout: Float from 0 to 1, the rate of the dropout between layers, in training.
        bidirectional: Whether each layer also reads the sequences backwards.
        device: The device of the parameters. The recurrence is native on the CPU only.
        dtype: The dtype of the parameters; on the native path float32 or float64.
        native: `"auto"` runs natively where it can, `"require"` raises an error where it cannot, `False` runs torch's
            own operator.

    Call arguments:
        See `forward`: `input`, `hx`, `lengths` and `resets`.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument has a value that is not possible.

    Example:

    >>> module = elman.torch.RNN(8, 32, batch_first=True)
    >>> y, h = module(torch.randn(4, 100, 8))
    >>> y.shape, module.route.path
    (torch.Size([4, 100, 32]), 'native')
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        native: str | bool = "auto",
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"nonlinearity is {nonlinearity!r}; expected 'tanh' or 'relu'. Pass one of them.")
        self.nonlinearity = nonlinearity
        sizes = (input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional)
        super().__init__(f"RNN_{nonlinearity.upper()}", *sizes, device=device, dtype=dtype, native=native)


class LSTM(_Recurrent):
    """The LSTM (Hochreiter and Schmidhuber, 1997) of `torch.nn.LSTM`, run natively on the CPU.

    Parameters, their first values, `state_dict` and results are those of `torch.nn.LSTM`.

    Args:
        input_size: Integer, the number of features of a step.
        hidden_size: Integer, the number of units.
        num_layers: Integer, the number of layers, each of which reads the outputs of the one before it.
        bias: Whether the layers have biases.
        batch_first: Whether input and output are `(batch, time, features)` instead of `(time, batch, features)`.
        dropout: Float from 0 to 1, the rate of the dropout between layers, in training.
        bidirectional: Whether each layer also reads the sequences backwards.
        proj_size: Integer; above 0 the state is projected to that size, as in Sak et al. (2014).
        device: The device of the parameters. The recurrence is native on the CPU only.
        dtype: The dtype of the parameters; on the native path float32 or float64.
        native: `"auto"` runs natively where it can, `"require"` raises an error where it cannot, `False` runs torch's
            own operator.

    Call arguments:
        See `forward`: `input`, `hx`, `lengths` and `resets`.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument has a value that is not possible.

    Example:

    >>> module = elman.torch.LSTM(8, 32, batch_first=True)
    >>> y, (h, c) = module(torch.randn(4, 100, 8))
    >>> y.shape, module.route.path
    (torch.Size([4, 100, 32]), 'native')
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
        *,
        native: str | bool = "auto",
    ) -> None:
        sizes = (input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, proj_size)
        super().__init__("LSTM", *sizes, device=device, dtype=dtype, native=native)


class GRU(_Recurrent):
    """The GRU (Cho et al., 2014) of `torch.nn.GRU`, run natively on the CPU.

    Parameters, their first values, `state_dict` and results are those of `torch.nn.GRU`.

    Args:
        input_size: Integer, the number of features of a step.
        hidden_size: Integer, the number of units.
        num_layers: Integer, the number of layers, each of which reads the outputs of the one before it.
        bias: Whether the layers have biases.
        batch_first: Whether input and output are `(batch, time, features)` instead of `(time, batch, features)`.
        dropout: Float from 0 to 1, the rate of the dropout between layers, in training.
        bidirectional: Whether each layer also reads the sequences backwards.
        device: The device of the parameters. The recurrence is native on the CPU only.
        dtype: The dtype of the parameters; on the native path float32 or float64.
        native: `"auto"` runs natively where it can, `"require"` raises an error where it cannot, `False` runs torch's
            own operator.

    Call arguments:
        See `forward`: `input`, `hx`, `lengths` and `resets`.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument has a value that is not possible.

    Example:

    >>> module = elman.torch.GRU(8, 32, batch_first=True)
    >>> y, h = module(torch.randn(4, 100, 8))
    >>> y.shape, module.route.path
    (torch.Size([4, 100, 32]), 'native')
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        native: str | bool = "auto",
    ) -> None:
        sizes = (input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional)
        super().__init__("GRU", *sizes, device=device, dtype=dtype, native=native)
