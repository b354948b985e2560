# SPDX-License-Identifier: Apache-2.0
"""Where JAX cannot go natively it says why and goes on in its own operations; a malformed call is a sentence, never
a crash.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import elman
from elman import _jax, _native, route
from elman.options import Options

NATIVE = Path(__file__).resolve().parents[2] / "native"
X, KERNEL, RECURRENT_KERNEL = (np.full(shape, 0.1, np.float32) for shape in ((2, 3, 4), (4, 5), (5, 5)))


@pytest.fixture
def ask_again() -> Iterator[None]:
    """The answer about this process is remembered; a test that changes the process asks again."""
    _jax._register.cache_clear()
    yield
    _jax._register.cache_clear()


def refused() -> str:
    """The sentence with which the native path is refused; "auto" computes the same without."""
    x = jnp.asarray(X)
    with pytest.raises(elman.NativeUnavailable) as caught:
        elman.simple_rnn(x, KERNEL, RECURRENT_KERNEL, native="require")
    y, h = elman.simple_rnn(x, KERNEL, RECURRENT_KERNEL)
    want = elman.simple_rnn(x, KERNEL, RECURRENT_KERNEL, native=False)
    np.testing.assert_array_equal(y, want[0])
    np.testing.assert_array_equal(h, want[1])
    return str(caught.value)


def test_native_is_the_way_here() -> None:
    elman.simple_rnn(jnp.asarray(X), KERNEL, RECURRENT_KERNEL, native="require")


def test_a_backend_that_is_no_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert "JAX's 'gpu' backend" in refused()
    with pytest.raises(elman.NativeUnavailable, match="'gpu'"):
        jax.jit(lambda x: elman.simple_rnn(x, KERNEL, RECURRENT_KERNEL, native="require"))(X)
    put = jax.device_put(X, jax.devices("cpu")[0])  # such an array stays where it is, whatever the default
    assert _jax.facts(put) == route.Facts()


def test_a_library_without_handlers_for_jax(monkeypatch: pytest.MonkeyPatch, ask_again: None) -> None:
    sound = _native.library()

    class Library:
        def __getattr__(self, name: str) -> Any:
            if name.startswith("elman_jax"):
                raise AttributeError(f"undefined symbol: {name}")
            return getattr(sound, name)

    monkeypatch.setattr(_native, "library", Library)
    assert f"jax {jax.__version__} lacks what the native path needs: undefined symbol: elman_jax_forward" in refused()


@pytest.mark.parametrize("module", _jax._MODULES)
def test_a_jax_without_a_module(monkeypatch: pytest.MonkeyPatch, ask_again: None, module: str) -> None:
    monkeypatch.setitem(sys.modules, f"jax.{module}", None)
    assert f"jax.{module}" in refused()


REJECTED = """
    #include "xla_ffi.h"
    static XLA_FFI_Error* handle(XLA_FFI_CallFrame* frame) {
      auto* extension = reinterpret_cast<XLA_FFI_Metadata_Extension*>(frame->extension_start);
      extension->metadata->api_version = {sizeof(XLA_FFI_Api_Version), nullptr, 0, MINOR};
      extension->metadata->traits = 0;
      return nullptr;
    }
    extern "C" XLA_FFI_Error* elman_jax_forward(XLA_FFI_CallFrame* frame) { return handle(frame); }
    extern "C" XLA_FFI_Error* elman_jax_backward(XLA_FFI_CallFrame* frame) { return handle(frame); }
"""
USES_REJECTED = """
    import ctypes, sys
    import jax, numpy as np
    import elman
    from elman import _native
    sound, rejected = _native.library(), ctypes.CDLL(sys.argv[1])
    class Library:
        def __getattr__(self, name): return getattr(rejected if name.startswith("elman_jax") else sound, name)
    _native.library = Library
    def run(x, native): return elman.simple_rnn(x, *(np.ones(s, np.float32) for s in ((4, 5), (5, 5))), native=native)
    x = np.ones((2, 3, 4), np.float32)
    try:
        jax.jit(lambda x: run(x, "require"))(x)  # nothing has started JAX's backend before this call
    except elman.NativeUnavailable as error:
        print(error)
    np.testing.assert_array_equal(jax.jit(lambda x: run(x, "auto"))(x)[0], run(jax.numpy.asarray(x), False)[0])
    print(jax.default_backend(), jax.jit(lambda x: x + 1)(1))
"""


@pytest.mark.medium
@pytest.mark.parametrize("minor", [0, 99])
def test_a_version_that_xla_rejects_leaves_jax_unharmed(tmp_path: Path, minor: int) -> None:
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    assert compiler, "this test needs a C++ compiler; install g++ or set CXX"
    (tmp_path / "rejected.cc").write_text(textwrap.dedent(REJECTED))
    library = str(tmp_path / "rejected.so")
    options = ["-std=c++17", f"-DMINOR={minor}", f"-I{NATIVE}", "-shared", "-fPIC", "-o", library]
    subprocess.run([compiler, *options, str(tmp_path / "rejected.cc")], check=True)
    script = textwrap.dedent(USES_REJECTED)
    done = subprocess.run([sys.executable, "-c", script, library], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.search(rf"cannot run: jax .* lacks .*API version \(0\.{minor}\) is incompatible", done.stdout)
    assert done.stdout.endswith("\ncpu 2\n")


@pytest.mark.slow
def test_importing_the_adapter_starts_nothing() -> None:
    script = "import elman._jax, jax; jax.config.update('jax_num_cpu_devices', 3); print(jax.device_count())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "3\n", done.stderr


# --- what the handlers say -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("lengths", [[4, 0], [-1, 3]])
def test_lengths_outside_the_sequence(lengths: list[int]) -> None:
    with pytest.raises(jax.errors.JaxRuntimeError, match=r"lengths\[0\]"):
        elman.simple_rnn(
            jnp.asarray(X), KERNEL, RECURRENT_KERNEL, lengths=np.array(lengths, np.int32), native="require"
        )


OPERANDS = {
    "x": X,
    "kernel": KERNEL,
    "recurrent_kernel": RECURRENT_KERNEL,
    "bias": np.ones(5, np.float32),
    "mask": np.ones((2, 3), bool),
}
RESULTS = {"y": (2, 3, 5), "final_h": (2, 5)}
ATTRIBUTES: dict[str, Any] = {"cell": "simple_rnn", "activation": "tanh", "return_sequences": True}


def handle(
    operands: dict[str, Any] = OPERANDS,
    results: dict[str, Any] = RESULTS,
    target: str = _jax.FORWARD,
    attributes: dict[str, Any] = ATTRIBUTES,
) -> Any:
    """A call of a handler as no adapter makes it."""
    assert _jax.facts(jnp.ones(1)) == route.Facts()
    names = {"operands": " ".join(operands), "results": " ".join(results)}
    types = [jax.ShapeDtypeStruct(shape, np.float32) for shape in results.values()]
    return jax.ffi.ffi_call(target, types)(*operands.values(), **(names | attributes))


def test_the_handler_takes_its_attributes_by_name_and_leaves_the_others_off() -> None:
    y, h = handle()
    x, kernel, recurrent_kernel, bias, mask = OPERANDS.values()
    want = elman.simple_rnn(x, kernel, recurrent_kernel, bias, mask=mask)
    np.testing.assert_allclose(y, want[0], rtol=1e-6)
    np.testing.assert_allclose(h, want[1], rtol=1e-6)


def operands(*order: str, **more: Any) -> dict[str, Any]:
    return {"operands": {name: OPERANDS[name] for name in order or OPERANDS} | more}


def attributes(**more: Any) -> dict[str, Any]:
    return {"attributes": ATTRIBUTES | more}


HALF = np.ones(5, np.float16)
MALFORMED = {
    "a wrong shape": (operands(bias=np.ones(6, np.float32)), r"bias has shape \(6,\).*expected shape \(5,\)"),
    "a wrong rank": (operands(kernel=np.ones(20, np.float32)), r"kernel has shape \(20,\).*\(4, 5\)"),
    "a wrong dtype": (operands(bias=HALF), "bias has .*is of another dtype; .*the dtype of x"),
    "a wrong dtype of x": (operands(x=X.astype(np.float16)), "x is of another dtype; expected float32"),
    "a wrong dtype of mask": (operands(mask=np.ones((2, 3), np.int8)), "mask has .*bool"),
    "a wrong dtype of lengths": (operands("x", "kernel", "recurrent_kernel", lengths=np.ones(2, np.int8)), "int64"),
    "a wrong result": ({"results": RESULTS | {"final_h": (2, 6)}}, r"final_h has shape \(2, 6\)"),
    "two dropout masks": (operands(input_dropout=np.ones((2, 2, 4), np.float32)), r"\(2, 2, 4\).*\(1, 2, 4\)"),
    "too few operands": (operands("x"), "begin with x"),
    "operands of other ranks": (operands(x=X[0]), "begin with x"),
    "no y": ({"results": {"final_h": (2, 5)}}, "no .* y or tape"),
    "a buffer too many": (attributes(operands="x kernel recurrent_kernel bias"), "another number"),
    "a buffer too few": (attributes(results="y final_h tape"), "another number"),
    "an unknown buffer": (operands(gamma=X), "does not know the buffer 'gamma'"),
    "another order": (operands("x", "kernel", "recurrent_kernel", "mask", "bias"), "'bias', or not in this place"),
    "an unknown attribute": (attributes(peephole=True), "does not know the attribute 'peephole'"),
    "an unknown value": (attributes(activation="softplus"), "cannot read the attribute 'activation'"),
    "another type": (attributes(truncate_gradient=np.int32(1)), "cannot read the attribute 'truncate_gradient'"),
    "a string for a number": (attributes(clip_state_gradient="1"), "cannot read the attribute 'clip_state_gradient'"),
    "a number for a string": (attributes(cell=1.0), "cannot read the attribute 'cell'"),
    "a backward without its tape": (
        operands(y=np.ones((2, 5), np.float32))
        | {"results": {"dx": X.shape}, "target": _jax.BACKWARD, "attributes": ATTRIBUTES | {"return_sequences": False}},
        "no .* y or tape",
    ),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_call_is_a_sentence(name: str) -> None:
    call, sentence = MALFORMED[name]
    with pytest.raises(jax.errors.JaxRuntimeError, match=sentence):
        handle(**call)


def test_an_activation_that_is_not_native_is_a_sentence() -> None:
    x = jnp.asarray(X)
    with pytest.raises(elman.NativeUnavailable, match="softplus"):
        elman.simple_rnn(x, KERNEL, RECURRENT_KERNEL, activation=jax.nn.softplus, native="require")
    y, _ = elman.simple_rnn(x, KERNEL, RECURRENT_KERNEL, activation=jax.nn.softplus)
    step = jax.nn.softplus(X[:, 0] @ KERNEL)
    np.testing.assert_allclose(y[:, 0], step, rtol=1e-6)


def test_half_precision_goes_in_jax_operations() -> None:
    arrays = [jnp.asarray(a, jnp.bfloat16) for a in (X, KERNEL, RECURRENT_KERNEL)]
    with pytest.raises(elman.NativeUnavailable, match="bfloat16"):
        elman.simple_rnn(*arrays, native="require")
    y, h = elman.simple_rnn(*arrays, clip_state_gradient=1.0)
    assert y.dtype == h.dtype == jnp.bfloat16


def test_options_are_told_apart() -> None:
    assert _jax.Call(_jax.FORWARD, Options(), ("x",), ("y",)).axes("y") == "bth"
    assert _jax.Call(_jax.FORWARD, Options(return_sequences=False), ("x",), ("y",)).axes("dy") == "bh"
