# SPDX-License-Identifier: Apache-2.0
"""`elman diagnose` on the file of an `elman.Network`: no framework is imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import elman
from elman.cli.app import app
from elman.network import GRU, Dense, Network, SimpleRNN
from html_pages import Page

X = np.random.default_rng(0).normal(size=(80, 12, 2)).astype("float32")
COMMAND = """
import sys
from typer.testing import CliRunner
from elman.cli.app import app
done = CliRunner().invoke(app, ["diagnose", *sys.argv[1:]])
assert done.exit_code == 0, done.output
print(done.output)
print(*sys.modules, file=sys.stderr)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two networks and data."""
    for name, kind in (("one", SimpleRNN), ("two", GRU)):
        Network([kind(4), Dense(1)], input_shape=(12, 2)).save(tmp_path / f"{name}.safetensors")
    np.savez(tmp_path / "data.npz", x=X, y=X[:, -3, :1])
    return tmp_path


@pytest.mark.slow
def test_a_network_is_diagnosed_and_no_framework_is_imported(folder: Path) -> None:
    words = (folder / "one.safetensors", folder / "data.npz", "--loss", "mae", "--out", folder / "page.html", "--json")
    command = [sys.executable, "-c", COMMAND, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not {"keras", "tensorflow", "jax", "torch"} & set(done.stderr.split())
    found = json.loads(done.stdout)
    expected = elman.diagnose(Network.load(folder / "one.safetensors"), X, X[:, -3, :1], loss="mae")
    assert (found["horizon"], found["loss_name"]) == (expected.horizon, "mae")
    assert found["full_loss"] == pytest.approx(expected.full_loss)
    Page((folder / "page.html").read_text(encoding="utf-8"))


def test_two_networks_are_compared(folder: Path) -> None:
    words = ("one.safetensors", "data.npz", "--against", "two.safetensors", "--out", "page.html")
    names = [str(folder / word) if "." in word else word for word in words]
    done = CliRunner().invoke(app, ["diagnose", *names])
    assert done.exit_code == 0, done.output
    assert "simple_rnn" in done.output


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("none.safetensors", "data.npz"), "none.safetensors does not exist"),
        (("data.npz", "data.npz"), "is not a .keras file"),
        (("cut.safetensors", "data.npz"), "is not a safetensors file, or is damaged"),
        (("one.safetensors", "data.npz", "--loss", "none"), "loss is 'none'"),
        (("one.safetensors", "data.npz", "--layer", "gru"), "layer is 'gru'; expected one of 'simple_rnn'"),
    ],
)
def test_the_command_says_what_is_wrong_in_one_line(folder: Path, words: tuple[str, ...], sentence: str) -> None:
    (folder / "cut.safetensors").write_bytes((folder / "one.safetensors").read_bytes()[:99])
    done = CliRunner().invoke(app, ["diagnose", *(str(folder / word) if "." in word else word for word in words)])
    assert done.exit_code == 2, done.output
    assert sentence in done.output
    assert len(done.output.strip().splitlines()) == 1
