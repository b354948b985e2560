# SPDX-License-Identifier: Apache-2.0
"""Opens the native library and calls it. In: addresses. Out: errors only.

The library is plain C (`native/elman.h`), opened with ctypes, which releases the GIL during a call. The
structs of that header are packed here field by field; a test compares their sizes and offsets. No arrays
and no framework are known here: adapters pass addresses.
"""

from __future__ import annotations

import ctypes
import functools
import os
import struct
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from elman.cells import CELLS
from elman.checks import is_integer, short
from elman.options import ACTIVATIONS, Options

if TYPE_CHECKING:
    from pathlib import Path

ABI = 4
DTYPES = ("float32", "float64")
MOST_STEPS = 2**31 - 1  # sizes that the library takes are below it
LOSSES = ("mse", "mae", "huber", "quantile", "binary_crossentropy", "sparse_categorical_crossentropy")
OPERATIONS = (  # of a stream's program, in the order of the header
    *("recurrent", "dense", "activation", "normalize", "rescale", "layer_norm"),
    *("embedding", "latest", "last", "mask", "sum", "concat"),
)
DENSE_ACTIVATIONS = ("softplus", "elu", "softmax", "exponential")  # besides `ACTIVATIONS`, from _FIRST_DENSE_ACTIVATION
# What the mask operand holds: nothing, booleans (B, T), lengths (B,) of this dtype, or codes of steps, see ELMAN_STEPS.
MASKS = ("none", "mask", "int32", "int64", "resets")
MASK_OF_DTYPE = {"bool": "mask", "int32": "int32", "int64": "int64", "uint8": "resets"}

_SPEC = struct.Struct("@5qd8iP")
_FORWARD = struct.Struct("14P")
_BACKWARD = struct.Struct("22P")
_DENSE = struct.Struct("@3q2i8P")
_LOSS = struct.Struct("@2q2d2i5P")
_ADAM = struct.Struct("@q6di4P")
_CALLS = {  # the layout of each function's struct
    "forward": _FORWARD,
    "backward": _BACKWARD,
    "dense": _DENSE,
    "dense_backward": _DENSE,
    "loss": _LOSS,
    "adam": _ADAM,
}
_OPERATION = struct.Struct("6iP2q5Pd")
_PROGRAM = struct.Struct("3qP2i")
_STREAM_CALL = struct.Struct("3P")
pack_forward = _FORWARD.pack
_GO_BACKWARDS, _ZERO_OUTPUT_FOR_MASK, _RETURN_SEQUENCES, _RESET_AFTER = 1, 2, 4, 8
_FIRST_DENSE_ACTIVATION, _MASK_ZERO = 16, 16
_OUT_OF_MEMORY, _INTERRUPTED = 2, 4
_raise = ctypes.PYFUNCTYPE(None, *[ctypes.c_void_p] * 3)(("PyErr_Restore", ctypes.pythonapi))


class NativeUnavailable(RuntimeError):
    """The native path was required and cannot run; the message says why."""

    ag_pass_through = True  # otherwise TensorFlow's AutoGraph replaces it by an error of its own


def library_path(name: str = "elman") -> Path:
    """Path of the native library in one of the package's folders; in the first of them if it is in none.

    A wheel has one folder. An editable install has two: `src/elman` and, for the compiled files, one in site-packages.
    """
    from pathlib import Path  # here, as `import elman` is to be quick

    suffix = {"darwin": ".dylib", "win32": ".dll"}.get(sys.platform, ".so")
    folders = [Path(__file__).parent, *map(Path, sys.modules["elman"].__path__)]
    paths = [folder / f"lib{name}{suffix}" for folder in folders]
    return next((path for path in paths if path.exists()), paths[0])


@functools.cache
def library() -> ctypes.CDLL:
    """The opened library.

    Raises:
        NativeUnavailable: If there is none, or if it is from another build.
    """
    path = library_path()
    if not path.exists():
        raise NativeUnavailable(
            f"elman has no native library: {path.name} is not in {path.parent}. The package was built with "
            "ELMAN_NATIVE=0 or copied without it: reinstall elman without ELMAN_NATIVE."
        )
    try:
        opened = ctypes.CDLL(str(path))
    except OSError as error:
        raise NativeUnavailable(f"elman's native library cannot be opened: {error}. Reinstall elman.") from error
    if not hasattr(opened, "elman_abi"):
        raise NativeUnavailable(f"{path} is not elman's native library: reinstall elman.")
    if opened.elman_abi() != ABI:
        raise NativeUnavailable(
            f"elman's native library has ABI {opened.elman_abi()}, this package expects {ABI}: reinstall elman."
        )
    for name in _CALLS:
        call = getattr(opened, f"elman_{name}")
        call.argtypes, call.restype = [ctypes.c_char_p], ctypes.c_int
    for text in (opened.elman_last_error, opened.elman_version, opened.elman_isa, opened.elman_isas):
        text.argtypes, text.restype = [], ctypes.c_char_p
    opened.elman_tape_columns.argtypes, opened.elman_tape_columns.restype = [ctypes.c_void_p], ctypes.c_int64
    opened.elman_peak_gflops.argtypes = [ctypes.c_int] * 3
    opened.elman_peak_gflops.restype = ctypes.c_double
    opened.elman_set_isa.argtypes = [ctypes.c_char_p]
    opened.elman_stream_run.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_int64]
    python = ("PyGILState_Ensure", "PyGILState_Release", "PyErr_CheckSignals", "PyErr_Fetch")
    functions = [ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p) for name in python]
    opened.elman_python_use((ctypes.c_void_p * len(functions))(*functions))
    threads = os.environ.get("ELMAN_NUM_THREADS")
    if threads and not (threads.isascii() and threads.isdigit() and threads.strip("0")):
        raise NativeUnavailable(
            f"ELMAN_NUM_THREADS is {short(threads)}; expected a positive integer. Unset or correct it."
        )
    if not opened.elman_isa():
        raise NativeUnavailable(
            f"ELMAN_ISA is {os.environ.get('ELMAN_ISA')!r}; expected one of {opened.elman_isas().decode()} on this "
            "machine. Unset or correct it."
        )
    return opened


@functools.cache
def reason() -> str | None:
    """The reason why no native call can run in this process, or `None`."""
    try:
        library()
    except NativeUnavailable as error:
        return str(error)
    return None


class Environment(NamedTuple):
    """What is known about the native path before any array is known.

    Attributes:
        mode: ELMAN_NATIVE: `"auto"`, `"require"` or `"off"`.
        reason: The reason why the library cannot run, or `None`.
        isa: The instruction set that runs, where the library does.
    """

    mode: str
    reason: str | None
    isa: str | None


@functools.cache
def environment() -> Environment:
    """The environment as it was at the first call.

    Raises:
        ValueError: If ELMAN_NATIVE is none of `"auto"`, `"require"` and `"off"`.
    """
    mode = os.environ.get("ELMAN_NATIVE") or "auto"
    mode = "off" if mode == "0" else mode  # at build time, 0 leaves the library out
    if mode not in ("auto", "require", "off"):
        raise ValueError(f"ELMAN_NATIVE is {mode!r}; expected auto, require or off. Unset or correct it.")
    return Environment(mode, reason(), None if reason() else library().elman_isa().decode())


class Spec(NamedTuple):
    """An `elman_spec` in memory, and values that follow from it.

    Attributes:
        memory: Holds it.
        address: Its address, valid as long as `memory` exists.
        tape_columns: Columns of the tape per batch row and step.
        y_shape: Shape of y.
        state_shape: Shape of each state.
        states: How many states the cell has.
        forward: `elman_forward`, which takes an `elman_forward_call` as `pack_forward` makes it of the spec's
            address and the others, and returns a status.
    """

    memory: ctypes.Array[ctypes.c_char]
    address: int
    tape_columns: int
    y_shape: tuple[int, ...]
    state_shape: tuple[int, int]
    states: int
    forward: Callable[[bytes], int]


@functools.lru_cache(maxsize=1024)
def spec(
    options: Options,
    batch: int,
    time: int,
    features: int,
    units: int,
    dtype: str,
    mask: str = "none",
    input_dropout_masks: int = 0,
    recurrent_dropout_masks: int = 0,
) -> Spec:
    """The `elman_spec` of the C contract for these options and shapes. `mask` is one of `MASKS`."""
    flags = (
        _GO_BACKWARDS * options.go_backwards
        | _ZERO_OUTPUT_FOR_MASK * options.zero_output_for_mask
        | _RETURN_SEQUENCES * options.return_sequences
        | _RESET_AFTER * options.reset_after
    )
    memory = ctypes.create_string_buffer(
        _SPEC.pack(
            batch,
            time,
            features,
            units,
            min(options.truncate_gradient or 0, MOST_STEPS),
            options.clip_state_gradient or 0.0,
            CELLS[options.cell].number,
            DTYPES.index(dtype),
            ACTIVATIONS.index(options.activation),
            ACTIVATIONS.index(options.recurrent_activation),
            MASKS.index(mask),
            flags,
            input_dropout_masks,
            recurrent_dropout_masks,
            ctypes.cast(library().elman_python_interrupted, ctypes.c_void_p).value,
        ),
        _SPEC.size,
    )
    address = ctypes.addressof(memory)
    y_shape = (batch, time, units) if options.return_sequences else (batch, units)
    columns = library().elman_tape_columns(address)
    states = len(CELLS[options.cell].states)
    return Spec(memory, address, columns, y_shape, (batch, units), states, library().elman_forward)


def forward(spec: Spec, *addresses: int) -> None:
    """`elman_forward`: the addresses of x, kernel, recurrent_kernel, bias, two initial states, mask,
    input_dropout, recurrent_dropout; then y, two final states, tape. 0: left out."""
    if status := spec.forward(pack_forward(spec.address, *addresses)):
        raise_last_error(status)


def backward(spec: Spec, *addresses: int) -> None:
    """`elman_backward`: the nine operands as `forward`; then y, tape, dy, two final states' gradients; then dx,
    dkernel, drecurrent_kernel, dbias, two initial states' gradients, norms. 0: left out."""
    if status := library().elman_backward(_BACKWARD.pack(spec.address, *addresses)):
        raise_last_error(status)


class Call:
    """A call that is made again and again with most of its fields as they were.

    Args:
        name: Of the function, without `elman_`.
        *fields: Of its struct, in the order of `elman.h`; 0 for an address that comes later.

    Attributes:
        fields: They, to be changed before a call.
    """

    def __init__(self, name: str, *fields: float) -> None:
        self.function, self.pack = getattr(library(), f"elman_{name}"), _CALLS[name].pack
        self.fields = list(fields)

    def __call__(self) -> None:
        """Calls it.

        Raises:
            ValueError: If the library refuses the call; the message says why.
        """
        if status := self.function(self.pack(*self.fields)):
            raise_last_error(status)


class NativeOperation(NamedTuple):
    """An `elman_op`: the fields of the header, with names for numbers.

    Attributes:
        kind: One of `OPERATIONS`.
        inputs: Numbers of the values that it reads.
        cell: Number of the cell.
        activation: Name of the activation.
        recurrent_activation: Name of that of the gates.
        return_sequences: Whether the output has a time axis.
        zero_output_for_mask: As in `Options`.
        reset_after: As in `Options`.
        mask_zero: Whether word 0 of an embedding is not valid.
        size: Units, or rows.
        words: Rows of an embedding.
        weights: Addresses of the weights; 0: none.
        number: The mask's value, or epsilon.
    """

    kind: str
    inputs: tuple[int, ...]
    cell: int = 0
    activation: str = "linear"
    recurrent_activation: str = "linear"
    return_sequences: bool = True
    zero_output_for_mask: bool = False
    reset_after: bool = False
    mask_zero: bool = False
    size: int = 0
    words: int = 0
    weights: tuple[int, ...] = ()
    number: float = 0.0

    def pack(self, inputs_address: int) -> bytes:
        """As the header has it."""
        flags = (
            _ZERO_OUTPUT_FOR_MASK * self.zero_output_for_mask
            | _RETURN_SEQUENCES * self.return_sequences
            | _RESET_AFTER * self.reset_after
            if self.kind == "recurrent"
            else _MASK_ZERO * self.mask_zero
        )
        activations = [_activation(name) for name in (self.activation, self.recurrent_activation)]
        weights = (*self.weights, *[0] * (5 - len(self.weights)))
        kind = OPERATIONS.index(self.kind)
        return _OPERATION.pack(
            *(kind, self.cell, *activations, flags, len(self.inputs), inputs_address),
            *(self.size, self.words, *weights, self.number),
        )


def _activation(name: str) -> int:
    if name in ACTIVATIONS:
        return ACTIVATIONS.index(name)
    return _FIRST_DENSE_ACTIVATION + DENSE_ACTIVATIONS.index(name)


class NativeStream:
    """An `elman_stream`. Its functions keep the GIL, which takes less time than to give it away for a step.

    Args:
        operations: The program.
        batch: Independent rows of a step.
        features: Numbers of a row.
        window: Rows that the network sees at a time, or `None` for all.
        dtype: `"float32"` or `"float64"`.

    Attributes:
        step: `elman_stream_step_of`, which takes what `call` returns, and returns a status.
    """

    def __init__(
        self, operations: Sequence[NativeOperation], batch: int, features: int, window: int | None, dtype: str
    ) -> None:
        functions = _stream_functions()
        inputs = [(ctypes.c_int32 * len(each.inputs))(*each.inputs) for each in operations]
        packed = b"".join(each.pack(ctypes.addressof(at)) for each, at in zip(operations, inputs, strict=True))
        memory = ctypes.create_string_buffer(packed, max(1, len(packed)))
        program = _PROGRAM.pack(
            batch, features, window or 0, ctypes.addressof(memory), len(operations), DTYPES.index(dtype)
        )
        handle = ctypes.c_void_p()
        if status := functions.elman_stream_create(program, ctypes.byref(handle)):
            raise_last_error(status)
        self.handle, self.step = handle, functions.elman_stream_step_of
        self._functions, self._destroy = functions, functions.elman_stream_destroy

    def __del__(self) -> None:
        if handle := getattr(self, "handle", None):
            self._destroy(handle)

    def call(self, x: int, y: int) -> bytes:
        """An `elman_stream_call`: addresses of (batch, features) and (batch, outputs)."""
        return _STREAM_CALL.pack(self.handle.value, x, y)

    def run(self, x: int, y: int, steps: int) -> None:
        """`elman_stream_run`: addresses of (batch, steps, features) and (batch, steps, outputs). Gives the GIL away."""
        if status := library().elman_stream_run(self.handle, x, y, steps):
            raise_last_error(status)

    def reset(self, row: int) -> None:
        """`elman_stream_reset`."""
        self._checked(self._functions.elman_stream_reset(self.handle, row))

    def state_columns(self, operation: int) -> int:
        """`elman_stream_state_columns`."""
        return self._functions.elman_stream_state_columns(self.handle, operation)

    def get_state(self, row: int, to: int) -> None:
        """`elman_stream_get_state`, to an address."""
        self._checked(self._functions.elman_stream_get_state(self.handle, row, to))

    def set_state(self, row: int, source: int) -> None:
        """`elman_stream_set_state`, from an address."""
        self._checked(self._functions.elman_stream_set_state(self.handle, row, source))

    def _checked(self, status: int) -> None:
        if status:
            raise_last_error(status)


@functools.cache
def _stream_functions() -> ctypes.PyDLL:
    """The library, opened once more for calls that keep the GIL."""
    library()  # checked
    opened = ctypes.PyDLL(str(library_path()))
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    opened.elman_stream_create.argtypes = [ctypes.c_char_p, pointer]
    opened.elman_stream_destroy.argtypes, opened.elman_stream_destroy.restype = [pointer], None
    opened.elman_stream_reset.argtypes = [pointer, number]
    opened.elman_stream_state_columns.argtypes = [pointer, number]
    opened.elman_stream_state_columns.restype = number
    for name in ("elman_stream_get_state", "elman_stream_set_state"):
        getattr(opened, name).argtypes = [pointer, number, pointer]
    return opened  # no argtypes of elman_stream_step_of: it takes bytes, which need no conversion


def raise_last_error(status: int) -> None:
    """Raises the error text of the failed call, as `MemoryError` or `ValueError`. After a signal it raises what the
    signal's handler raised, such as `KeyboardInterrupt`."""
    if status == _INTERRUPTED:
        exception = (ctypes.c_void_p * 3)()
        library().elman_python_raised(exception)
        _raise(*exception)
    text = library().elman_last_error().decode()
    raise MemoryError(text) if status == _OUT_OF_MEMORY else ValueError(text)


def num_threads() -> int:
    """How many threads one native call may use; 1 without the library."""
    return library().elman_num_threads() if reason() is None else 1


def set_num_threads(n: int | None) -> None:
    """Sets how many threads one native call may use.

    Args:
        n: Positive integer, or `None` for the default: `ELMAN_NUM_THREADS`, else what CPU affinity
            and cgroup quota allow. Results do not depend on it, to the last bit.

    Raises:
        ValueError: If `n` is neither.
    """
    if n is not None and not is_integer(n, least=1):
        raise ValueError(f"set_num_threads got n={short(n)}; expected a positive integer, or None for the default.")
    if reason() is None:  # without the library elman has no threads
        library().elman_set_num_threads(0 if n is None else min(int(n), 255))
