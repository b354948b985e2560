# SPDX-License-Identifier: Apache-2.0
"""Signals during one long native call: their handlers run, and one that raises ends the call."""

from __future__ import annotations

import ctypes
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from elman import _native, _numpy
from elman.options import Options

Array = np.ndarray
UNITS = 96
pytestmark = pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="signals of POSIX")


def operands(batch: int, time: int, cell: str = "lstm") -> tuple:
    gates = {"simple_rnn": 1, "lstm": 4, "gru": 3}[cell]
    rng = np.random.default_rng(0)
    x, kernel, recurrent_kernel = (
        (0.05 * rng.normal(size=shape)).astype(np.float32)
        for shape in ((batch, time, 2), (2, gates * UNITS), (UNITS, gates * UNITS))
    )
    return x, kernel, recurrent_kernel, None, (), None, None, None


@contextmanager
def signalled_during(call: Array, number: int, handler: Callable) -> Iterator[None]:
    """Sends the signal to this thread once the first element of `call` is written, which is NaN until then."""

    def send() -> None:
        while np.isnan(call.flat[0]):
            pass
        signal.pthread_kill(threading.main_thread().ident, number)

    before = signal.signal(number, handler)
    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield
    finally:
        sender.join()
        signal.signal(number, before)


def addresses(y: Array, arrays: tuple) -> list[int]:
    x, kernel, recurrent_kernel, *_ = arrays
    return [_numpy.address(a) for a in (x, kernel, recurrent_kernel)] + [0] * 6 + [_numpy.address(y), 0, 0, 0]


@pytest.mark.parametrize("threads", [1, 2])
def test_ctrl_c_ends_a_forward_long_before_its_end(threads: int) -> None:
    batch, time = 2, 200_000
    arrays = operands(batch, time)
    y = np.full((batch, time, UNITS), np.nan, np.float32)
    _native.library().elman_set_num_threads(threads)
    spec = _native.spec(Options("lstm"), batch, time, 2, UNITS, "float32")
    with signalled_during(y, signal.SIGINT, signal.default_int_handler), pytest.raises(KeyboardInterrupt):
        _native.forward(spec, *addresses(y, arrays))
    assert np.isnan(y[:, -1]).all()


def test_ctrl_c_ends_a_backward_long_before_its_end() -> None:
    batch, time = 1, 100_000
    arrays = operands(batch, time)
    y, _, tape = _numpy.forward(Options("lstm"), arrays, keep_tape=True)
    norms = np.full((batch, time), np.nan, np.float32)
    gradients = [np.empty_like(array) for array in arrays[1:3]]
    given = [_numpy.address(a) for a in (*arrays[:3], *[None] * 6, y, tape, y, None, None, None)]
    results = [_numpy.address(a) for a in (*gradients, None, None, None, norms)]
    spec = _native.spec(Options("lstm"), batch, time, 2, UNITS, "float32")
    last_first = norms[:, ::-1]
    with signalled_during(last_first, signal.SIGINT, signal.default_int_handler), pytest.raises(KeyboardInterrupt):
        _native.backward(spec, *given, *results)
    assert np.isnan(norms[:, 0]).all()


def test_what_the_users_own_handler_raises_comes_out_of_the_call() -> None:
    class Stop(Exception):
        pass

    def handler(number: int, frame: object) -> None:
        raise Stop(number)

    y = np.full((1, 200_000, UNITS), np.nan, np.float32)
    spec = _native.spec(Options("lstm"), 1, 200_000, 2, UNITS, "float32")
    with signalled_during(y, signal.SIGTERM, handler), pytest.raises(Stop, match=str(int(signal.SIGTERM))) as raised:
        _native.forward(spec, *addresses(y, operands(1, 200_000)))
    assert raised.traceback[-1].name == "handler"


def test_a_handler_that_does_not_raise_leaves_the_call_and_its_bits() -> None:
    arrays = operands(1, 30_000)
    expected, _, _ = _numpy.forward(Options("lstm"), arrays)
    small = operands(1, 3)
    inner, _, _ = _numpy.forward(Options("lstm"), small)
    seen = []

    def handler(number: int, frame: object) -> None:
        """Calls the library itself, on the same thread, while its call runs; with the denormals of Python."""
        tiny = np.finfo(np.float32).smallest_subnormal
        seen.append((_numpy.forward(Options("lstm"), small)[0].tobytes(), bool(tiny * np.float32(3) > 0)))

    y = np.full((1, 30_000, UNITS), np.nan, np.float32)
    spec = _native.spec(Options("lstm"), 1, 30_000, 2, UNITS, "float32")
    with signalled_during(y, signal.SIGUSR1, handler):
        _native.forward(spec, *addresses(y, arrays))
    assert seen == [(inner.tobytes(), True)]
    assert y.tobytes() == expected.tobytes()


def test_a_hook_ends_a_call_with_a_status_and_a_sentence() -> None:
    asked = []
    hook = ctypes.CFUNCTYPE(ctypes.c_int)(lambda: asked.append(1) or 1)
    time = 200_000
    arrays, y = operands(1, time), np.full((1, time, UNITS), np.nan, np.float32)
    spec = _native.spec(Options("lstm"), 1, time, 2, UNITS, "float32")
    memory = bytearray(spec.memory.raw)
    memory[-ctypes.sizeof(ctypes.c_void_p) :] = bytes(ctypes.cast(hook, ctypes.c_void_p))
    held = ctypes.create_string_buffer(bytes(memory), len(memory))
    status = spec.forward(_native.pack_forward(ctypes.addressof(held), *addresses(y, arrays)))
    assert (status, asked) == (4, [1])
    assert b"interrupted" in _native.library().elman_last_error()
    assert np.isnan(y[0, -1]).all()


def test_another_thread_than_the_main_one_is_never_asked() -> None:
    hook = ctypes.CFUNCTYPE(ctypes.c_int)(lambda: 1)
    time = 30_000
    arrays, y = operands(1, time), np.full((1, time, UNITS), np.nan, np.float32)
    spec = _native.spec(Options("lstm"), 1, time, 2, UNITS, "float32")
    memory = bytearray(spec.memory.raw)
    memory[-ctypes.sizeof(ctypes.c_void_p) :] = bytes(ctypes.cast(hook, ctypes.c_void_p))
    held = ctypes.create_string_buffer(bytes(memory), len(memory))
    said = []
    call = _native.pack_forward(ctypes.addressof(held), *addresses(y, arrays))
    thread = threading.Thread(target=lambda: said.append(spec.forward(call)))
    thread.start()
    thread.join()
    assert said == [0]
