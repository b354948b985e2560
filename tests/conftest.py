# SPDX-License-Identifier: Apache-2.0
"""What every test shares: which tests are collected, the line that says so, and the state of the library after each
test."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Iterator

import numpy as np
import pytest

import collecting
import elman
import size
from elman import _native

KERAS_BACKEND = collecting.keras_backend()
LEFT_OUT = collecting.left_out(collecting.TESTS, KERAS_BACKEND)
collect_ignore = [str(path.relative_to(collecting.TESTS)) for path in LEFT_OUT]

CASES = 1  # of each test, where `pytest` runs all files at the small size; of slow tests none

# Most of the time of a test on JAX is that of XLA, which optimizes code that runs once. For the long grids it pays.
# The emitters of fusions take half of what is left. XLA ends the process at a flag that it does not know.
if size.SIZE != "large" and KERAS_BACKEND == "jax":
    os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
    if importlib.metadata.version("jaxlib").startswith(("0.9.", "0.10.")):
        flags = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
        os.environ["XLA_FLAGS"] = f"{flags} {os.environ.get('XLA_FLAGS', '')}"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(*names): collected where these modules and programs are installed")
    config.addinivalue_line("markers", "backends(*names): collected where Keras runs one of these backends")
    config.addinivalue_line("markers", "at_most(n): below the large size n of its cases are collected")
    config.addinivalue_line("markers", "once: collected on the first of ELMAN_TEST_BACKENDS")
    config.addinivalue_line("markers", "slow: not collected where `pytest` runs all files at the small size")
    config.addinivalue_line("markers", "shared: each case is collected on one of ELMAN_TEST_BACKENDS")
    for name in size.SIZES[1:]:
        config.addinivalue_line("markers", f"{name}: collected if ELMAN_TEST_SIZE is {name} or larger")


def pytest_report_header(config: pytest.Config) -> list[str]:
    native = _native.reason()
    if native is None:
        library = _native.library()
        native = f"{library.elman_isa().decode()} of {library.elman_isas().decode()}"
    left_out = [f"{path.relative_to(collecting.TESTS)} ({reason})" for path, reason in LEFT_OUT.items()]
    return [
        f"elman {elman.__version__} ({native}), NumPy {np.__version__}, backend {KERAS_BACKEND}, size {size.SIZE}"
        + (f", {CASES} case of each quick test; give a path for all of them" if takes_few_cases(config) else ""),
        f"left out: {', '.join(left_out) or 'nothing'}",
    ]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Drops the tests that cannot run here and those that are too long for this size."""
    kept = [item for item in items if runs_here(item)]
    tested = os.environ.get("ELMAN_TEST_BACKENDS", "").split()  # those of a run of all suites
    if size.SIZE != "large":
        kept = collecting.at_most(kept)
        kept = collecting.share(kept, KERAS_BACKEND, tested) if tested else kept
    if takes_few_cases(config):
        kept = collecting.few([item for item in kept if not item.get_closest_marker("slow")], CASES)
    here = set(kept)
    dropped = [item for item in items if item not in here]
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = kept


def takes_few_cases(config: pytest.Config) -> bool:
    """Whether this is `pytest` by itself: of a path on the command line all cases run."""
    return size.SIZE == "small" and config.args_source is not pytest.Config.ArgsSource.ARGS


def runs_here(item: pytest.Item) -> bool:
    """Whether a test's marks agree with the size, the backend and what is installed."""
    if any(item.get_closest_marker(name) for name in size.SIZES[size.SIZES.index(size.SIZE) + 1 :]):
        return False
    needs = [name for mark in item.iter_markers("needs") for name in mark.args]
    backends = item.get_closest_marker("backends")
    return all(map(collecting.is_installed, needs)) and (backends is None or KERAS_BACKEND in backends.args)


@pytest.fixture(autouse=True)
def default_threads() -> Iterator[None]:
    """A test may set the number of threads; the next one has the default again."""
    yield
    elman.set_num_threads(None)


@pytest.fixture(scope="module")
def no_pictures() -> Iterator[None]:
    """From here to the end of a module, runs of `elman.fit` write empty pictures: to draw takes most of their time."""
    with pytest.MonkeyPatch.context() as patched:
        for name in ("forecast", "learning"):
            patched.setattr(f"elman.forecasting.pictures.{name}", lambda *_: b"")
        yield
