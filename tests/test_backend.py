# SPDX-License-Identifier: Apache-2.0
"""Which backend `import elman` chooses for Keras: one test for each branch of the rule, and a process in which neither
Keras nor a framework is installed. What is installed is made up here, so that no framework is needed."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import elman
from elman import backend

Install = Callable[..., None]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Install:
    """Makes some packages the installed ones, in a home without a `keras.json`. None is before it is called."""
    known = {"keras", *backend.BACKENDS}
    installed: set[str] = set()
    for name in known:
        monkeypatch.delitem(sys.modules, name, raising=False)
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: (name in installed or None) if name in known else find(name)
    )
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    return lambda *names: installed.update(names)


def chosen() -> str | None:
    backend.choose()
    return os.environ.get("KERAS_BACKEND")


def configure(folder: Path, content: str | bytes | dict) -> None:
    text = json.dumps(content) if isinstance(content, dict) else content
    (folder / "keras.json").write_bytes(text if isinstance(text, bytes) else text.encode())


# --- the rule -------------------------------------------------------------------------------------------------------


def test_the_backend_of_an_imported_keras_stays(install, monkeypatch):
    install("keras", "jax")
    monkeypatch.setitem(sys.modules, "keras", types.ModuleType("keras"))
    assert chosen() is None


def test_the_environment_goes_before_the_file_and_what_is_installed(install, monkeypatch, tmp_path):
    install("keras", *backend.BACKENDS)
    configure(tmp_path, {"backend": "tensorflow"})
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    assert chosen() == "torch"


def test_an_empty_environment_variable_says_nothing(install, monkeypatch):
    install("keras", "jax")
    monkeypatch.setenv("KERAS_BACKEND", "")
    assert chosen() == "jax"


def test_a_configured_backend_that_is_installed_is_left_to_keras(install, tmp_path):
    install("keras", *backend.BACKENDS)
    configure(tmp_path, {"backend": "torch"})
    assert chosen() is None


def test_a_configured_backend_that_is_not_ours_is_left_to_keras(install, tmp_path):
    install("keras", *backend.BACKENDS)
    configure(tmp_path, {"backend": "numpy"})
    assert chosen() is None


def test_a_configured_backend_that_is_missing_gives_way_to_the_first_installed(install, tmp_path):
    install("keras", "jax", "torch")
    configure(tmp_path, {"backend": "tensorflow"})  # as Keras writes it by itself
    assert chosen() == "jax"


@pytest.mark.parametrize(
    ("installed", "expected"),
    [
        (("tensorflow", "jax", "torch"), "tensorflow"),
        (("jax", "torch"), "jax"),
        (("torch",), "torch"),
        ((), None),
    ],
)
def test_without_a_word_the_first_installed_is_taken(install, installed, expected):
    install("keras", *installed)
    assert chosen() == expected


def test_without_keras_nothing_is_chosen(install):
    install("jax")
    assert chosen() is None


# --- the file -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        "",
        '{"backend": "torch"',
        b'\xff\xfe{"backend": "torch"}',
        '["torch"]',
        "null",
        {},
        {"backend": None},
        {"backend": ""},
        {"backend": 3},
        {"backend": "torch.nn"},
        {"backend": "./torch"},
    ],
    ids=str,
)
def test_a_file_that_names_no_backend_is_passed_over(install, tmp_path, content):
    install("keras", *backend.BACKENDS)
    configure(tmp_path, content)
    assert chosen() == "tensorflow"


def test_a_file_that_cannot_be_read_is_passed_over(install, tmp_path):
    install("keras", "jax")
    (tmp_path / "keras.json").mkdir()
    assert chosen() == "jax"


def test_the_file_is_in_the_home_that_the_environment_names(install, monkeypatch, tmp_path):
    install("keras", *backend.BACKENDS)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KERAS_HOME", "~/of keras")
    (tmp_path / "of keras").mkdir()
    configure(tmp_path / "of keras", {"backend": "jax"})
    assert chosen() is None


def test_the_file_is_in_the_users_home_else(install, monkeypatch, tmp_path):
    install("keras", *backend.BACKENDS)
    monkeypatch.delenv("KERAS_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".keras").mkdir()
    configure(tmp_path / ".keras", {"backend": "jax"})
    assert chosen() is None


def test_without_a_home_that_can_be_written_the_file_is_where_keras_puts_it(monkeypatch, tmp_path):
    monkeypatch.delenv("KERAS_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "missing"))
    assert backend._keras_home() == "/tmp/.keras"


# --- what counts as installed ---------------------------------------------------------------------------------------


def test_a_module_that_stands_in_for_a_framework_counts(install, monkeypatch):
    install("keras")
    monkeypatch.setitem(sys.modules, "jax", types.ModuleType("jax"))  # without a spec
    assert chosen() == "jax"


def test_a_framework_that_is_barred_does_not_count(install, monkeypatch):
    install("keras", "tensorflow", "jax")
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    assert chosen() == "jax"


def test_choosing_imports_no_framework(install):
    install("keras", *backend.BACKENDS)
    before = set(sys.modules)
    assert chosen() == "tensorflow"
    assert not set(sys.modules) - before


# --- nothing is installed -------------------------------------------------------------------------------------------

BARE = """
import importlib.util
import numpy as np
import elman

assert not any(map(importlib.util.find_spec, ("keras", "tensorflow", "jax", "torch")))
y, h = elman.simple_rnn(*(np.ones(s, "float32") for s in ((2, 5, 3), (3, 4), (4, 4))))
assert y.shape == (2, 5, 4) and h.shape == (2, 4)
with elman.portable():
    elman.simple_rnn(np.ones((2, 5, 3)), np.ones((3, 4)), np.ones((4, 4)))
for name in ("SimpleRNN", "RNN", "load_model"):
    try:
        getattr(elman, name)
    except ImportError as error:
        print(error)
"""


@pytest.fixture
def bare_site(tmp_path: Path) -> Path:
    """A folder that holds elman and NumPy, and nothing else of what is installed."""
    site = Path(np.__file__).parents[1]
    for package in (Path(elman.__file__).parent, *site.glob("numpy*")):
        (tmp_path / package.name).symlink_to(package)
    return tmp_path


def test_with_numpy_alone_the_functions_work_and_the_layers_name_what_to_install(bare_site):
    code = f"import sys; sys.path.insert(0, {str(bare_site)!r})\n{BARE}"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    sentences = done.stdout.splitlines()
    assert len(sentences) == 3
    for name, sentence in zip(("SimpleRNN", "RNN", "load_model"), sentences, strict=True):
        assert sentence.startswith(f"elman.{name} needs Keras and a backend")
        assert all(f"elman[{extra}]" in sentence for extra in backend.BACKENDS)
