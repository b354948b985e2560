# SPDX-License-Identifier: Apache-2.0
"""Which tests `make check` takes for a changed file."""

from __future__ import annotations

from pathlib import Path

import pytest

import changed
import collecting

FILES = sorted(collecting.TESTS.rglob("test_*.py"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "some"),
    [
        ("src/elman/reference.py", {"test_reference.py"}),
        ("src/elman/layers.py", {"test_layer.py", "test_layer_errors.py"}),
        ("src/elman/_jax.py", {"test_jax_numbers.py", "test_jax_transforms.py"}),
        ("src/elman/forecasting/windows.py", {"test_fit_baselines.py"}),
        ("tests/test_hooks.py", {"test_hooks.py"}),
        ("tests/tolerance.py", {"test_kernel.py", "test_functional.py"}),
        ("native/simd.h", {"on_each_isa", "test_native_header.py"}),
        ("docs/routes.md", {"test_pages.py", "test_routes_page.py"}),
        ("Makefile", set()),
    ],
)
def test_the_tests_of_a_file(path, some):
    chosen = {file.name for file in changed.tests_of(Path(path), FILES)}
    assert some <= chosen
    assert "test_datasets.py" not in chosen


@pytest.mark.slow
def test_every_module_has_a_test():
    modules = [path.relative_to(changed.ROOT) for path in (changed.ROOT / "src" / "elman").glob("*.py")]
    without = [path.stem for path in modules if not changed.tests_of(path, FILES)]
    assert not without
