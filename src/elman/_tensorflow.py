# SPDX-License-Identifier: Apache-2.0
"""The TensorFlow adapter. In: checked tensors, eager or symbolic. Out: new tensors, from the ops of `native/tf_op.cc`.

`register` loads the ops and registers their gradients; a saved graph that holds them needs nothing else. Sizes that
only a run can know are checked by the ops. No maths: `plain` is `_plain` over TensorFlow's own operations.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import struct
import sys
from collections.abc import Callable
from itertools import islice
from types import ModuleType
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from elman import _native, _plain, route
from elman.cells import CELLS
from elman.operands import Operands
from elman.options import Options

if TYPE_CHECKING:
    from pathlib import Path

# Both are private to TensorFlow and may be removed.
try:
    from tensorflow.python.ops.control_flow_util import GraphOrParentsInXlaContext
except ImportError:
    GraphOrParentsInXlaContext = None
try:
    from tensorflow.python.eager.record import could_possibly_record as _recording
except ImportError:

    def _recording() -> bool:
        """`True`: tapes that may not be needed are kept, which only costs memory."""
        return True


TRACES = True
Tensor = Any  # tf.Tensor, whose class carries no types
Tensors = tuple[Tensor, ...]
Attributes = dict[str, Any]

NO_DERIVATIVE = "elman's native path has no second and no forward-mode derivative; pass native=False, which has both."

# The lists among the operands of both ops, by the attributes that count them.
_LISTS = ("n_bias", "n_initial", "n_mask", "n_input_dropout", "n_recurrent_dropout")
_ATTRIBUTES = (
    "cell",
    "activation",
    "recurrent_activation",
    "go_backwards",
    "zero_output_for_mask",
    "return_sequences",
    "truncate_gradient",
    "clip_state_gradient_bits",
    "reset_after",
)


# --- what every adapter knows about its arrays -------------------------------------------------------------


def asarray(value: Any, like: Tensor) -> Tensor:
    """`value` as a tensor of its own dtype; a variable is read."""
    if isinstance(value, tf.Tensor):
        return value
    if isinstance(value, tf.RaggedTensor):
        raise TypeError(
            f"got a RaggedTensor of shape {value.shape}; expected a dense tensor. Pass its to_tensor(), and "
            "lengths=x.row_lengths()."
        )
    return tf.convert_to_tensor(value)


def codes(mask: Tensor | None, resets: Tensor) -> Tensor:
    """The codes of steps of `Operands.mask`, for a mask or lengths (`None`: every step counts) and resets."""
    found = 1 + 2 * tf.cast(resets, tf.uint8)
    if mask is None:
        return found
    counts = mask if len(mask.shape) == 2 else tf.range(tf.shape(resets)[1])[None] < tf.cast(mask, tf.int32)[:, None]
    return found * tf.cast(counts, tf.uint8)


def shape(array: Tensor) -> tuple[int | None, ...]:
    """The shape; a size that is known at run time only is `None`."""
    try:
        return tuple(array.shape.as_list())
    except ValueError as error:
        raise ValueError(
            f"tensor {array.name} has an unknown number of dimensions; expected a known one. Set it with "
            "tf.ensure_shape, for example tf.ensure_shape(x, (None, None, features)) for (batch, time, features)."
        ) from error


def dtype(array: Tensor) -> str:
    """The name of the dtype, as NumPy spells it."""
    return array.dtype.name


def values(array: Tensor) -> Any:
    """The values of the tensor, in NumPy; `None` while a graph is built and there are none yet."""
    return array.numpy() if tf.executing_eagerly() and hasattr(array, "numpy") else None


def is_traced(array: Tensor) -> bool:
    """True if TensorFlow builds a graph, so that nothing made here outlives it."""
    return not tf.executing_eagerly()


def traced_environment() -> None:
    """`None`: no compiler of this framework traces the checks, as torch.compile does."""


def facts(x: Tensor) -> route.Facts:
    """What the route asks about a call on `x`."""
    if missing := register():
        return route.Facts(missing=missing)
    xla = False
    if not tf.executing_eagerly():  # XLA has no kernel for the ops, and TensorFlow finds out only after tracing
        if GraphOrParentsInXlaContext is None:
            symbol = "control_flow_util.GraphOrParentsInXlaContext, which tells whether XLA compiles a function"
            return route.Facts(missing=str(_missing(symbol)))
        xla = bool(GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph()))
    return route.Facts(xla=xla, device=_other_device())


def check_size(x: Tensor, axis: int, expected: int | None, sentence: str) -> Tensor:
    """`x`, with a check at run time that raises InvalidArgumentError with the text `sentence` unless a size is the
    expected one (`None`: any but 0)."""
    size = tf.shape(x)[axis]
    good = size > 0 if expected is None else tf.equal(size, expected)
    with tf.control_dependencies([tf.debugging.Assert(good, [sentence])]):
        return tf.identity(x)


def trackable(variables: list[Any]) -> list[Any]:
    """The variables of a Keras layer in a list that TensorFlow saves."""
    return tf.__internal__.tracking.wrap(variables)


def _other_device() -> str | None:
    """The device that is not the CPU and may hold the arrays, or `None`. With a GPU, TensorFlow would copy to the CPU
    and back silently, unless a scope asks for the CPU."""
    device = _accelerator()
    if device is None or "CPU" in _device():
        return None
    return f"{device}, or may be (under tf.device('CPU') they are not)"


def _device() -> str:
    """The device of a new tensor; in a traced function the device that a scope asks for, or an empty text."""
    return tf.constant(0.0).device


@functools.cache
def _accelerator() -> str | None:
    """A device other than the CPU, if TensorFlow sees any."""
    return next((d.name for d in tf.config.get_visible_devices() if d.device_type != "CPU"), None)


# --- the ops -----------------------------------------------------------------------------------------------


@functools.cache
def register() -> str | None:
    """Registers the native ops and their gradients with TensorFlow, once.

    Returns:
        `None`, or the reason why they cannot be registered. TensorFlow still works then.
    """
    try:
        _ops()
    except _native.NativeUnavailable as error:
        return str(error)
    return None


@functools.cache
def _ops() -> ModuleType:
    """The Python functions of the ops, which TensorFlow generates.

    Raises:
        NativeUnavailable: If the library is missing or does not open, or TensorFlow lacks what it needs.
    """
    _native.library()
    path = _native.library_path("elman_tensorflow")
    if sys.platform == "win32":  # CMakeLists.txt does not build it there
        raise _native.NativeUnavailable("elman has no library for TensorFlow on Windows: use JAX, PyTorch or NumPy")
    for name in ("load_op_library", "RegisterGradient", "errors"):
        if not hasattr(tf, name):  # a substitute for TensorFlow, or one whose import failed
            raise _missing(f"tf.{name}")
    ops = _ops_of_earlier_import() or _load(path)
    for name, gradient in (("ElmanForward", _forward_gradient), ("ElmanBackward", _no_gradient)):
        with contextlib.suppress(KeyError):  # another thread or an earlier import was faster
            tf.RegisterGradient(name)(gradient)
    return ops


def _ops_of_earlier_import() -> ModuleType | None:
    """The ops that an earlier import of elman, perhaps of another copy, has loaded in this process.

    TensorFlow registers the ops of a name once, and runs no op that has two kernels. It keeps the Python functions of
    the ops in `sys.modules`.
    """
    modules = list(sys.modules.values())
    return next((module for module in modules if "elman_forward" in getattr(module, "__dict__", ())), None)


def _load(path: Path) -> ModuleType:
    try:
        ops: ModuleType = tf.load_op_library(str(path))
    except tf.errors.OpError as error:
        raise _native.NativeUnavailable(
            f"elman's library for TensorFlow cannot be opened: {error.message}. Reinstall elman"
        ) from error
    missing = ctypes.CDLL(str(path)).elman_tensorflow_missing
    missing.restype = ctypes.c_char_p
    if symbol := missing().decode():
        raise _missing(symbol)
    return ops


def _missing(what: str) -> _native.NativeUnavailable:
    version = getattr(tf, "__version__", "(of no version)")
    return _native.NativeUnavailable(route.reason("symbol", framework="TensorFlow", version=version, missing=what))


@functools.lru_cache(maxsize=1024)
def _attributes(options: Options) -> tuple[Attributes, bool]:
    """The attributes of the ops for these options, and whether their tape takes memory."""
    (clip_bits,) = struct.unpack("=q", struct.pack("=d", options.clip_state_gradient or 0.0))
    values = {
        **options._asdict(),
        "truncate_gradient": options.truncate_gradient or 0,
        "clip_state_gradient_bits": clip_bits,
    }
    columns = _native.spec(options, 0, 0, 0, 1, "float32").tape_columns
    return {name: values[name] for name in _ATTRIBUTES}, columns > 0


def _listed(tensor: Tensor | None) -> list[Tensor]:
    return [] if tensor is None else [tensor]


def forward(options: Options, operands: Operands, keep_tape: bool = False) -> tuple[Tensor, list[Tensor], Tensor]:
    """One native forward.

    Args:
        options: The recurrence's options.
        operands: Its tensors.
        keep_tape: Keep what the backward needs; else a gradient runs the forward again.

    Returns:
        `(y, final_states, tape)`.
    """
    x, kernel, recurrent_kernel, bias, states, mask, input_dropout, recurrent_dropout = operands
    attributes, tape_takes_memory = _attributes(options)
    y, final_states, tape = _ops().elman_forward(
        x,
        kernel,
        recurrent_kernel,
        _listed(bias),
        list(states),
        _listed(mask),
        _listed(input_dropout),
        _listed(recurrent_dropout),
        A=x.dtype,
        n_states=len(CELLS[options.cell].states),
        keep_tape=keep_tape or not tape_takes_memory,
        **attributes,
    )
    if not tf.executing_eagerly():
        batch, time, _ = x.shape
        units = recurrent_kernel.shape[0]
        y.set_shape((batch, time, units) if options.return_sequences else (batch, units))
        for state in final_states:
            state.set_shape((batch, units))
    return y, final_states, tape


def recurrence(options: Options, *operands: Any) -> tuple[Tensor, Tensors]:
    """The recurrence, natively: `(y, final_states)`. The operands are the fields of `Operands`."""
    y, final_states, _ = forward(options, Operands(*operands), keep_tape=_recording())
    return y, tuple(final_states)


# --- their gradients ---------------------------------------------------------------------------------------


def _forward_gradient(op: Any, dy: Tensor, *others: Tensor) -> list[Tensor | None]:
    """Calls ElmanBackward. In: the gradients of y, of the final states and of the tape (not used). Out: the gradient of
    every operand; masks have none."""
    attribute = _reader(op)
    inputs = iter(op.inputs)
    operands = [*islice(inputs, 3), *(list(islice(inputs, attribute(name))) for name in _LISTS)]
    y, *final_states, tape = op.outputs
    options = {name: attribute(name) for name in _ATTRIBUTES}
    if not attribute("keep_tape"):
        n_states = len(final_states)
        tape = _ops().elman_forward(*operands, A=tape.dtype, n_states=n_states, keep_tape=True, **options)[-1]
    dfinal_states = [asarray(gradient, y) for gradient in others[:-1]]  # which may be indexed slices
    lengths = _gradients_wanted(op, len(operands[3]), len(operands[4]))
    found = _ops().elman_backward(*operands, y, tape, asarray(dy, y), dfinal_states, **lengths, n_norms=0, **options)
    gradients: list[Tensor | None] = []
    lists = [*([array] for array in operands[:3]), *operands[3:]]
    for primals, of_primals in zip(lists, (*found[:-1], [], [], []), strict=True):
        gradients += of_primals or [None] * len(primals)
    if not tf.executing_eagerly():
        for primal, gradient in zip(op.inputs, gradients, strict=True):
            if gradient is not None:
                gradient.set_shape(primal.shape)
    return gradients


def _reader(op: Any) -> Callable[[str], Any]:
    """Reads an attribute of an operation. A GradientTape passes a substitute, whose own method is slow."""
    attributes = getattr(op, "attrs", None)
    return dict(zip(attributes[::2], attributes[1::2], strict=True)).__getitem__ if attributes else op.get_attr


def _gradients_wanted(op: Any, n_bias: int, n_initial: int) -> Attributes:
    """The lengths of the lists of gradients. A GradientTape lists the gradients that nobody needs;
    `tf.gradients` does not."""
    skipped = getattr(op, "skip_input_indices", None) or ()
    dx, dkernel, drecurrent_kernel, *rest = (int(i not in skipped) for i in range(3 + n_bias + n_initial))
    return {
        "n_dx": dx,
        "n_dkernel": dkernel,
        "n_drecurrent_kernel": drecurrent_kernel,
        "n_dbias": sum(rest[:n_bias]),
        "n_dinitial": n_initial * any(rest[n_bias:]),
    }


def _no_gradient(op: Any, *gradients: Tensor) -> None:
    raise NotImplementedError(NO_DERIVATIVE)


# --- in plain TensorFlow -----------------------------------------------------------------------------------


def plain(options: Options, *operands: Any) -> tuple[Tensor, Tensors]:
    """The recurrence in TensorFlow's own operations: `(y, final_states)`. Arguments as `recurrence`."""
    given, gates = Operands(*operands), len(CELLS[options.cell].gates)
    mask = given.mask
    known = given._replace(
        initial_states=tuple(_with_batch_of(given.x, state) for state in given.initial_states),
        # lengths are compared with `_PlainOps.steps`
        mask=tf.cast(mask, tf.int64) if mask is not None and len(mask.shape) == 1 else mask,
        input_dropout=_with_known_masks(given.input_dropout, gates),
        recurrent_dropout=_with_known_masks(given.recurrent_dropout, gates),
    )
    return _plain.recurrence(_PlainOps(given.recurrent_kernel), options, known)


def _with_batch_of(x: Tensor, state: Tensor) -> Tensor:
    """The state, with the batch of x where tracing does not know it: a batch of one would be broadcast otherwise."""
    if x.shape[0] is not None and state.shape[0] is not None:
        return state
    batch = tf.shape(x)[0] if x.shape[0] is None else x.shape[0]
    return tf.reshape(state, (batch, tf.shape(state)[1] if state.shape[1] is None else state.shape[1]))


def _with_known_masks(masks: Tensor | None, gates: int) -> Tensor | None:
    """Dropout masks; one for each gate where tracing does not know whether there is one for all gates."""
    if masks is None or masks.shape[0] is not None:
        return masks
    return tf.ensure_shape(tf.broadcast_to(masks, (gates, *tf.unstack(tf.shape(masks)[1:]))), (gates, *masks.shape[1:]))


class _PlainOps:
    """The operations of `_plain.Ops`."""

    def __init__(self, recurrent_kernel: Tensor) -> None:
        self.recurrent_kernel = recurrent_kernel

    def activation(self, name: str) -> Callable[[Tensor], Tensor]:
        return {
            "linear": tf.identity,
            "tanh": tf.tanh,
            "relu": tf.nn.relu,
            "sigmoid": tf.sigmoid,
            "hard_sigmoid": lambda z: tf.clip_by_value(z / 6 + 0.5, 0, 1),
        }[name]

    def scan(
        self, step: Callable[[Tensors, Tensors], tuple[Tensors, Tensor]], carry: Tensors, inputs: Tensors
    ) -> tuple[Tensors, Tensor]:
        time = tf.shape(inputs[0])[0] if inputs[0].shape[0] is None else inputs[0].shape[0]
        arrays = [tf.TensorArray(i.dtype, time, element_shape=i.shape[1:]).unstack(i) for i in inputs]
        # Outputs have the shape of the last carry, which is written first, as an empty array cannot be stacked.
        outputs = tf.TensorArray(carry[-1].dtype, time + 1, element_shape=carry[-1].shape).write(0, carry[-1])

        def body(t: Tensor, carry: Tensors, outputs: tf.TensorArray) -> tuple[Tensor, Tensors, tf.TensorArray]:
            carry, output = step(carry, tuple(array.read(t) for array in arrays))
            return t + 1, carry, outputs.write(t + 1, output)

        start = (tf.constant(0), carry, outputs)
        _, carry, outputs = tf.while_loop(lambda t, *_: t < time, body, start, maximum_iterations=time)
        return carry, outputs.stack()[1:]

    def clip_gradient(self, states: Tensors, limit: float) -> Tensors:
        @tf.custom_gradient
        def clipped(*states: Tensor) -> tuple[list[Tensor], Callable[..., list[Tensor]]]:
            def gradient(*arriving: Tensor) -> list[Tensor]:
                return list(_plain.clipped(self, arriving, limit))

            return [tf.identity(state) for state in states], gradient

        return tuple(clipped(*states))

    def maximum(self, x: Tensor, y: Tensor | float) -> Tensor:
        return tf.maximum(x, y)

    def minimum(self, x: Tensor, y: Tensor | float) -> Tensor:
        return tf.minimum(x, y)

    def row_maximum(self, x: Tensor) -> Tensor:
        return tf.reduce_max(x, axis=-1, keepdims=True)

    def row_sum(self, x: Tensor) -> Tensor:
        return tf.reduce_sum(x, axis=-1, keepdims=True)

    def sqrt(self, x: Tensor) -> Tensor:
        return tf.sqrt(x)

    def largest_number(self, x: Tensor) -> float:
        return float(x.dtype.max)

    def is_codes(self, mask: Tensor) -> bool:
        return mask.dtype == tf.uint8

    def split(self, x: Tensor, parts: int) -> list[Tensor]:
        return tf.split(x, parts, axis=-1)

    def stop_gradient(self, x: Tensor) -> Tensor:
        return tf.stop_gradient(x)

    def where(self, condition: Tensor, x: Tensor, y: Tensor) -> Tensor:
        return tf.where(condition, x, y)

    def sum_of_time(self, x: Tensor) -> Tensor:
        return tf.reduce_sum(x, axis=1, keepdims=True)

    def swap_batch_and_time(self, x: Tensor) -> Tensor:
        return tf.transpose(x, (1, 0, *range(2, len(x.shape))))

    def flip_time(self, x: Tensor) -> Tensor:
        return tf.reverse(x, (0,))

    def steps(self, x: Tensor) -> Tensor:
        return tf.range(tf.shape(x, out_type=tf.int64)[0])

    def zeros(self, x: Tensor, units: int | None) -> Tensor:
        batch = tf.shape(x)[1] if x.shape[1] is None else x.shape[1]
        return tf.zeros((batch, tf.shape(self.recurrent_kernel)[0] if units is None else units), x.dtype)
