# SPDX-License-Identifier: Apache-2.0
"""The native library with threads, forks and failures: eight Python threads at once, a forked child, no library, a
wrong library, no memory and no further thread. A test that may hang or crash runs in a process of its own, with a
limit."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import cases
import elman
import size
import tolerance
from elman import _native, _numpy
from elman.options import Options

PACKAGE = Path(elman.__file__).parent
TESTS = Path(__file__).parent
LIMIT = 60  # seconds after which a process counts as hung
# An editable install has a hook that finds `elman` before PYTHONPATH is searched.
PATH_FIRST = "import sys; from importlib.machinery import PathFinder; sys.meta_path.insert(0, PathFinder)\n"


def run(code: str, package: Path = PACKAGE, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs code in a new process that imports `elman` from that folder, and can import `cases`."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("ELMAN_")}
    path = os.pathsep.join([str(package.parent), str(TESTS)])
    first = "" if package == PACKAGE else PATH_FIRST
    process = subprocess.Popen(
        [sys.executable, "-c", first + textwrap.dedent(code)],
        env={**inherited, **environment, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # so that a process that hangs can be ended with its children
    )
    try:
        said = process.communicate(timeout=LIMIT)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    return subprocess.CompletedProcess(process.args, process.returncode, *said)


def assert_clean(done: subprocess.CompletedProcess[str], said: str = "") -> None:
    assert done.returncode == 0, done.stderr
    assert said in done.stdout, done.stdout + done.stderr


# --- threads ---------------------------------------------------------------------------------------------------


@pytest.mark.medium
def test_eight_threads_at_once_get_the_same_bits_as_one() -> None:
    elman.set_num_threads(3)
    shapes = ((33, 20, 16, 128), (3, 4, 2, 5), (64, 12, 8, 65), (1, 50, 7, 64), (13, 40, 3, 31))
    problems = list(cases.grid(shapes * size.by_size(4, 4, 8)))
    expected = [cases.by_native(case, np.float32) for case in problems]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(size.by_size(1, 1, 4)):
            for case, one, got in zip(
                problems, expected, pool.map(lambda case: cases.by_native(case, np.float32), problems), strict=True
            ):
                assert all(got[name].tobytes() == one[name].tobytes() for name in one), case


def test_threads_may_change_the_number_of_threads_meanwhile() -> None:
    case = cases.make((33, 20, 16, 128))
    expected = cases.by_native(case, np.float32)

    def work(n: int) -> bool:
        elman.set_num_threads(n % 5 + 1)
        got = cases.by_native(case, np.float32)
        return all(got[name].tobytes() == expected[name].tobytes() for name in expected)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(64)))


@pytest.mark.parametrize("n", [0, -1, 1.0, "2", True])
def test_a_wrong_number_of_threads_gets_a_sentence(n: object) -> None:
    with pytest.raises(ValueError, match=f"n={n!r}; expected a positive integer, or None"):
        elman.set_num_threads(n)


def test_the_number_of_threads_is_what_was_set_last() -> None:
    threads = _native.library().elman_num_threads
    default = threads()
    for n in (1, 3, 2):
        elman.set_num_threads(n)
        assert threads() == n
    elman.set_num_threads(None)
    assert threads() == default


@pytest.mark.parametrize(("asked", "given"), [("3", "3"), ("1", "1"), ("", "")])
def test_the_environment_sets_the_number_of_threads(asked: str, given: str) -> None:
    code = "from elman import _native; print(_native.library().elman_num_threads())"
    expected = given or run(code).stdout.strip()
    assert_clean(done := run(code, ELMAN_NUM_THREADS=asked))
    assert done.stdout.strip() == expected


# --- forks -----------------------------------------------------------------------------------------------------

FORK = """
import os, threading
import numpy as np
import cases, elman

elman.set_num_threads(3)
case = cases.make((64, 30, 16, 128))
expected = cases.by_native(case, np.float32)

def right():
    got = cases.by_native(case, np.float32)
    return all(got[name].tobytes() == expected[name].tobytes() for name in expected)

def child_is_right():
    child = os.fork()
    if child == 0:
        os._exit(0 if right() and right() else 7)
    return os.waitpid(child, 0)[1] == 0
"""


def test_a_forked_child_computes_after_its_parent_did() -> None:
    body = """
    assert child_is_right()
    assert right()
    assert child_is_right()
    """
    assert_clean(run(FORK + textwrap.dedent(body)))


def test_a_child_forked_in_the_middle_of_another_threads_call_computes() -> None:
    body = """
    done = threading.Event()
    wrong = []

    def work():
        while not done.is_set():
            if not right():
                wrong.append("parent")

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(40):
        if not child_is_right():
            wrong.append("child")
    done.set()
    for thread in threads:
        thread.join()
    assert not wrong, wrong
    """
    times = size.by_size(5, 15, 40)
    assert_clean(run(FORK + textwrap.dedent(body).replace("range(40)", f"range({times})")))


def test_a_grandchild_computes() -> None:
    body = """
    child = os.fork()
    if child == 0:
        os._exit(0 if right() and child_is_right() else 7)
    assert os.waitpid(child, 0)[1] == 0
    """
    assert_clean(run(FORK + textwrap.dedent(body)))


# --- failures --------------------------------------------------------------------------------------------------

CALL = """
import numpy as np
import elman
x, kernel, recurrent_kernel = (np.ones(shape, np.float32) / 8 for shape in ((2, 5, 3), (3, 4), (4, 4)))
"""
PLAIN = "assert np.array_equal(*(elman.simple_rnn(x, kernel, recurrent_kernel, native=n)[0] for n in ('auto', False)))"


def refusal(sentence: str) -> str:
    """Code that passes if the required native path raises this sentence."""
    return f"""
try:
    elman.simple_rnn(x, kernel, recurrent_kernel, native="require")
except elman.NativeUnavailable as error:
    assert {sentence!r} in str(error), error
    print("refused")
"""


def package_with(folder: Path, library: bytes | None) -> Path:
    """A copy of the package with this file as its library, or without one."""
    copy = shutil.copytree(PACKAGE, folder / "elman", ignore=shutil.ignore_patterns("*.so", "*.dylib", "__pycache__"))
    if library is not None:
        (copy / _native.library_path().name).write_bytes(library)
    return copy


def test_without_the_library_everything_runs_in_plain_operations(tmp_path: Path) -> None:
    copy = package_with(tmp_path, None)
    assert_clean(run(CALL + PLAIN, copy))
    assert_clean(run(CALL + refusal("elman has no native library: libelman"), copy), "refused")
    assert_clean(run(CALL + refusal("reinstall elman"), copy), "refused")


def test_without_the_library_the_number_of_threads_may_be_set_all_the_same(tmp_path: Path) -> None:
    copy = package_with(tmp_path, None)
    assert_clean(run("import elman; elman.set_num_threads(2); elman.set_num_threads(None)", copy))


def test_a_file_that_is_no_library_is_refused(tmp_path: Path) -> None:
    copy = package_with(tmp_path, b"no library")
    assert_clean(run(CALL + PLAIN, copy))
    assert_clean(run(CALL + refusal("elman's native library cannot be opened"), copy), "refused")


def compiled(folder: Path, source: str) -> bytes:
    """A shared library of this C source."""
    (folder / "other.c").write_text(source)
    compiler = next(path for name in ("gcc", "clang", "cc") if (path := shutil.which(name)))
    subprocess.run([compiler, "-shared", "-fPIC", "other.c", "-o", "other.so"], cwd=folder, check=True)
    return (folder / "other.so").read_bytes()


def test_a_library_of_another_abi_is_refused(tmp_path: Path) -> None:
    copy = package_with(tmp_path, compiled(tmp_path, "int elman_abi(void) { return 999; }"))
    assert_clean(run(CALL + PLAIN, copy))
    assert_clean(run(CALL + refusal(f"has ABI 999, this package expects {_native.ABI}"), copy), "refused")


def test_a_library_that_is_not_elmans_is_refused(tmp_path: Path) -> None:
    copy = package_with(tmp_path, compiled(tmp_path, "int other(void) { return 1; }"))
    assert_clean(run(CALL + PLAIN, copy))
    assert_clean(run(CALL + refusal("elman's native library"), copy), "refused")


def test_the_environment_turns_the_native_path_off() -> None:
    assert_clean(run(CALL + PLAIN, ELMAN_NATIVE="off"))
    code = "from elman import _native, _numpy\ndef fail(*a): raise AssertionError\n_numpy.forward = fail\n"
    assert_clean(run(CALL + code + "elman.simple_rnn(x, kernel, recurrent_kernel)", ELMAN_NATIVE="off"))


def test_the_environment_requires_the_native_path(tmp_path: Path) -> None:
    call = CALL + "elman.simple_rnn(x, kernel, recurrent_kernel)"
    assert_clean(run(call, ELMAN_NATIVE="require"))
    assert "NativeUnavailable" in run(call, package_with(tmp_path, None), ELMAN_NATIVE="require").stderr


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("ELMAN_NATIVE", "yes", "ELMAN_NATIVE is 'yes'; expected auto, require or off"),
        ("ELMAN_ISA", "avx1024", "ELMAN_ISA is 'avx1024'; expected one of"),
    ],
)
def test_a_wrong_environment_gets_a_sentence(name: str, value: str, sentence: str) -> None:
    native = "auto" if name == "ELMAN_NATIVE" else "require"
    done = run(CALL + f"elman.simple_rnn(x, kernel, recurrent_kernel, native={native!r})", **{name: value})
    assert done.returncode == 1
    assert sentence in done.stderr.splitlines()[-1]


SCARCE = """
import resource
import numpy as np
import cases, elman

def limit(more):
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + more, resource.RLIM_INFINITY))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space as Linux does")
def test_without_memory_for_a_thread_a_call_runs_on_those_there_are() -> None:
    """The stack of a thread takes 8 MB of addresses. The call itself has them already."""
    code = """
    case = cases.make((64, 30, 16, 128))
    elman.set_num_threads(1)
    expected = cases.by_native(case, np.float32)
    elman.set_num_threads(3)
    limit(4 << 20)
    for _ in range(3):
        got = cases.by_native(case, np.float32)
        assert all(got[name].tobytes() == expected[name].tobytes() for name in expected)
    print("right")
    """
    assert_clean(run(SCARCE + textwrap.dedent(code)), "right")


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space as Linux does")
def test_without_memory_a_call_raises_and_the_next_one_is_right() -> None:
    code = """
    elman.set_num_threads(1)
    small = cases.make((3, 4, 2, 5))
    large = [np.zeros(shape, np.float32) for shape in ((3, 40, 1), (1, 2000), (2000, 2000))]
    expected = cases.by_native(small, np.float32)
    limit(8 << 20)  # the packed weights alone are 16 MB
    for _ in range(2):
        try:
            elman.simple_rnn(*large)
        except MemoryError as error:
            assert "out of memory" in str(error), error
            print("raised")
        got = cases.by_native(small, np.float32)
        assert all(got[name].tobytes() == expected[name].tobytes() for name in expected)
    """
    assert_clean(run(SCARCE + textwrap.dedent(code)), "raised\nraised\n")


def test_an_error_belongs_to_the_thread_that_made_it() -> None:
    case = cases.make((4, 6, 2, 3), {"mask": "int64 lengths"})

    def fail(length: int) -> str:
        wrong = case.replace(mask=np.full(4, length))
        with pytest.raises(ValueError, match=rf"lengths\[0\] is {length}; expected 0 to 6") as caught:
            _numpy.forward(wrong.options, wrong.operands)
        return str(caught.value)

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(fail, range(7, 207)))) == 200


# --- size ------------------------------------------------------------------------------------------------------


def test_a_million_steps() -> None:
    time = 1_000_000
    x = np.sin(np.arange(time, dtype=np.float64)).reshape(1, time, 1)
    kernel, recurrent_kernel = np.full((1, 1), 0.7), np.full((1, 1), 0.5)
    y, h = elman.simple_rnn(x, kernel, recurrent_kernel, activation="linear")
    tail = x[0, -100:, 0] * 0.7
    expected = float(np.sum(tail * 0.5 ** np.arange(99, -1, -1)))
    assert abs(float(h[0, 0]) - expected) <= tolerance.FLOAT64_RELATIVE
    assert y[0, -1, 0] == h[0, 0]


def test_many_rows() -> None:
    elman.set_num_threads(2)
    x = np.ones((70_000, 2, 1), np.float32)
    y, _ = elman.simple_rnn(x, np.ones((1, 2), np.float32), np.zeros((2, 2), np.float32), activation="linear")
    assert np.all(y == 1)


@pytest.mark.parametrize("size", ["batch", "time", "features", "units"])
def test_a_size_beyond_the_librarys_counters_gets_a_sentence(size: str) -> None:
    sizes = {"batch": 1, "time": 1, "features": 1, "units": 1, size: 2**31}
    spec = _native.spec(Options(), *sizes.values(), "float32")
    memory = ctypes.create_string_buffer(64)
    with pytest.raises(ValueError, match=f"is {2**31}; expected 0 to 2147483646"):
        _native.forward(spec, *[ctypes.addressof(memory)] * 13)


@pytest.mark.parametrize("value", ["abc", "0", "-3", "2.5"])
def test_a_wrong_number_of_threads_in_the_environment_is_told(value: str) -> None:
    assert_clean(run(CALL + refusal(f"ELMAN_NUM_THREADS is '{value}'"), ELMAN_NUM_THREADS=value), "refused")


def test_more_threads_than_there_can_be_are_as_many_as_there_can_be() -> None:
    elman.set_num_threads(2**70)
    assert _native.library().elman_num_threads() == 255
