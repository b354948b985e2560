# SPDX-License-Identifier: Apache-2.0
"""elman.fit when something stops it: a kill, Ctrl-C, a full disk, a damaged checkpoint, another run in the folder."""

import json
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import elman
from elman import checkpoint, files
from elman.forecasting import training
from fit_cases import FINAL, ONCE, SMALL, flipped, frame, names

TESTS = Path(__file__).resolve().parent
pytestmark = pytest.mark.usefixtures("no_pictures")

# A run of fit that kills itself at the n-th time that a file of a name is being written, or a batch ends.
KILLED = """
import os, pathlib, signal, sys
sys.path.insert(0, sys.argv[1])
import elman
from elman import files
from fit_cases import frame
what, moment, counted = sys.argv[3], int(sys.argv[4]), 0
def count(name):
    global counted
    counted += name == what
    if counted == moment:
        os.kill(os.getpid(), signal.SIGKILL)
def counting(original):
    def call(path, *more):
        name = pathlib.Path(path).name  # of a file, or of the one that it is written as
        count(name.split("-", 3)[3] if name.startswith(files.PREFIX) else name)
        return original(path, *more)
    return call
files._to_disk, pathlib.Path.replace = counting(files._to_disk), counting(pathlib.Path.replace)
elman.fit(frame(), out=sys.argv[2], tell=lambda now: count("batch"), **eval(sys.argv[5]))
"""


def numbers(run: elman.Run) -> dict:
    """The metrics without times and the command."""
    kept = json.loads((run.folder / "metrics.json").read_text())
    del kept["command"]
    for epoch in kept["training"]["history"]:
        del epoch["seconds"]
    return kept


@pytest.fixture
def ctrl_c():
    """Ctrl-C as a program finds it that runs in front, whatever runs the tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def test_a_damaged_checkpoint_is_not_resumed_from(tmp_path):
    def stop(now):
        if now.epoch == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        elman.fit(frame(), out=tmp_path, tell=stop, **ONCE)
    path = tmp_path / "checkpoint.safetensors"
    whole = path.read_bytes()
    changes = [lambda c: b"", lambda c: c[:-1], *(flipped(at) for at in (0, 0.001, 0.05, 0.3, 0.6, 0.999))]
    for change in changes:
        path.write_bytes(change(whole))
        with pytest.raises(elman.DataError, match="checkpoint.safetensors is .*damaged.*Remove it"):
            elman.fit(frame(), out=tmp_path, **ONCE)
        assert path.read_bytes() == change(whole)
    path.write_bytes(whole)
    assert elman.fit(frame(), out=tmp_path, **ONCE).metrics["training"]["epochs"] == ONCE["epochs"]


def test_two_runs_at_once_do_not_share_a_folder(tmp_path):
    refused = []

    def begin_another(_):
        if not refused:
            with pytest.raises(elman.DataError, match="another elman fit is at work in") as error:
                elman.fit(frame(), target="temp", window=8, units=4, epochs=1, out=tmp_path / "run", fresh=True)
            refused.append(error)

    own = {"target": "temp", "window": 8, "units": 4, "epochs": 1, "seeds": 1, "out": tmp_path / "run"}
    assert elman.fit(frame(), **own, tell=begin_another).metrics["training"]["epochs"] == 1
    assert refused
    elman.fit(frame(), **own, fresh=True)


@pytest.mark.medium
def test_killed_at_three_moments_it_ends_with_the_same_numbers(tmp_path):
    whole = elman.fit(frame(), out=tmp_path / "whole", **SMALL)
    folder = tmp_path / "killed"
    choose = random.Random(20)  # the moments are random, and the same in every run of the test
    moments = [
        ("batch", choose.randint(1, 4)),  # of the first epoch
        ("checkpoint-2.safetensors", choose.randint(3, 6)),
        (choose.choice([name for name in FINAL if name.endswith(("sors", "csv"))]), choose.randint(1, 2)),
    ]
    for what, moment in moments:
        command = [sys.executable, "-c", KILLED, str(TESTS), str(folder), what, str(moment), repr(SMALL)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert json.loads((folder / "run.json").read_text())
        assert not (folder / "metrics.json").exists()
        for path in folder.glob("checkpoint*"):
            arrays, _ = checkpoint.read(path, "")
            assert all(np.isfinite(array).all() for array in arrays.values())
    resumed = elman.fit(frame(), out=folder, **SMALL)
    assert numbers(resumed) == numbers(whole)
    assert names(folder) == FINAL
    for name, array in whole.model.weights.items():
        assert_array_equal(resumed.model.weights[name], array)


def test_ctrl_c_ends_the_epoch_and_the_same_call_goes_on(ctrl_c, tmp_path):
    wave = np.sin(np.arange(3300) / 7)[:, None] + 0.1 * np.random.default_rng(0).normal(size=(3300, 1))
    arguments = {"window": 5, "units": 2, "epochs": 3, "seeds": 1, "origins": 1}
    whole = elman.fit(wave, out=tmp_path / "whole", **arguments)

    once = iter([True])
    stopped = elman.fit(
        wave,
        out=tmp_path / "run",
        tell=lambda now: next(once, False) and signal.raise_signal(signal.SIGINT),
        **arguments,
    )
    assert stopped.metrics["training"]["interrupted"]
    assert stopped.metrics["training"]["epochs"] == 1
    assert signal.getsignal(signal.SIGINT) is ctrl_c
    assert names(stopped.folder) == ["checkpoint.safetensors", *FINAL]
    resumed = elman.fit(wave, out=tmp_path / "run", **arguments)
    assert numbers(resumed) == numbers(whole)


def test_ctrl_c_while_several_train_and_an_error_in_one_of_them(ctrl_c, tmp_path):
    whole = elman.fit(frame(), out=tmp_path / "whole", **SMALL)

    def fail(now):
        if now.training == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        elman.fit(frame(), out=tmp_path / "run", tell=fail, **SMALL)
    once = iter([True])
    stopped = elman.fit(
        frame(),
        out=tmp_path / "run",
        tell=lambda now: now.training == 2 and next(once, False) and signal.raise_signal(signal.SIGINT),
        **SMALL,
    )
    assert signal.getsignal(signal.SIGINT) is ctrl_c
    assert stopped.metrics["errors"]["models"].keys() == whole.metrics["errors"]["models"].keys()
    assert numbers(elman.fit(frame(), out=tmp_path / "run", **SMALL)) == numbers(whole)
    assert names(tmp_path / "run") == FINAL


def test_fresh_starts_again(tmp_path):
    def stop(_):
        raise InterruptedError

    def after_an_epoch(now):
        if now.epoch == 2:
            stop(now)

    with pytest.raises(InterruptedError):
        elman.fit(frame(), out=tmp_path, tell=after_an_epoch, **ONCE)
    assert names(tmp_path) == ["checkpoint.safetensors", "run.json"]
    (tmp_path / "model.keras").write_text("of the run that is replaced")
    (tmp_path / "notes.txt").write_text("precious")
    with pytest.raises(InterruptedError):
        elman.fit(frame(), out=tmp_path, fresh=True, tell=stop, **ONCE)
    assert names(tmp_path) == ["notes.txt", "run.json"]


def test_a_checkpoint_of_another_training_is_not_resumed_from(tmp_path):
    def stop(now):
        if now.epoch == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        elman.fit(frame(), out=tmp_path, tell=stop, **ONCE)
    path = tmp_path / "checkpoint.safetensors"
    arrays, texts = checkpoint.read(path, "")
    checkpoint.write(path, arrays, texts | {"identity": "another"})
    with pytest.raises(elman.DataError, match="is the checkpoint of a training with another network"):
        elman.fit(frame(), out=tmp_path, **ONCE)


def test_a_model_for_keras_does_not_outlive_the_model_that_it_is_of(tmp_path):
    elman.fit(frame(), out=tmp_path, **SMALL)
    (tmp_path / "model.keras").write_text("of an epoch before")
    (tmp_path / "metrics.json").unlink()
    elman.fit(frame(), out=tmp_path, **SMALL)
    assert names(tmp_path) == FINAL


def test_a_disk_that_fills_while_training_is_one_sentence(tmp_path, monkeypatch):
    write = files.write

    def full(path, content):
        if path.name.startswith("checkpoint"):
            with files.file_errors(path):
                raise OSError(28, "No space left on device")
        write(path, content)

    monkeypatch.setattr(files, "write", full)
    with pytest.raises(elman.DataError, match="the disk is full"):
        elman.fit(frame(), out=tmp_path, **SMALL)
    assert names(tmp_path) == ["run.json"]


def test_the_second_ctrl_c_is_as_ever_and_in_a_thread_every_one(ctrl_c):
    found: list[object] = []
    with training._interrupts(lambda: found.append("once")):
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)

    def enter():
        with training._interrupts(lambda: None):
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert found == ["once", ctrl_c]
    assert signal.getsignal(signal.SIGINT) is ctrl_c
