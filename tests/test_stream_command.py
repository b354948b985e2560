# SPDX-License-Identifier: Apache-2.0
"""`elman stream`: a prediction for each row, wrong lines named, and no row lost or counted twice after a kill."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest

from elman.errors import DataError
from elman.network import GRU, Dense, Embedding, Network
from elman.stream import Stream, process
from elman.stream.process import Process, summary

STEPS = 400
# The command without the import of all others, which takes a second.
QUICK = """
import sys
from pathlib import Path
from elman.stream import Stream
from elman.stream.process import Process
model, key, saved = sys.argv[1:]
Process(Stream(model), key or None, None, Path(saved), 32, print).run(0, 1)
"""


class Done(NamedTuple):
    """What a run has written."""

    stdout: bytes
    stderr: list[str]


@pytest.fixture
def network(tmp_path):
    made = Network([GRU(4), Dense(1)], input_shape=(None, 2), seed=1)
    made.save(tmp_path / "net.safetensors")
    return made


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(STEPS, 2)).round(6)


def run(tmp_path: Path, text: str, key: str | None = None, form: str | None = None) -> Done:
    """A run in this process."""
    (tmp_path / "in").write_bytes(text.encode())
    said: list[str] = []
    process = Process(Stream(tmp_path / "net.safetensors"), key, form, None, 32, said.append)
    with (tmp_path / "in").open("rb") as source, (tmp_path / "out").open("wb") as out:
        process.run(source.fileno(), out.fileno())
    return Done((tmp_path / "out").read_bytes(), [*said, summary(process)])


def command(tmp_path: Path, key: str = "") -> list[str]:
    return [sys.executable, "-c", QUICK, str(tmp_path / "net.safetensors"), key, str(tmp_path / "state")]


def csv(x) -> str:
    return "".join(f"{a},{b}\n" for a, b in x.tolist())


def test_csv_and_ndjson_give_what_the_stream_gives(tmp_path, network, x):
    expected = Stream(network).run(x)[:, 0]
    for header in ("", "a,b\n"):
        done = run(tmp_path, header + csv(x))
        np.testing.assert_array_equal(np.array(done.stdout.split(), "float32"), expected)
        assert done.stderr == [f"{STEPS} rows"]
    text = "".join(json.dumps({"a": a, "b": b}) + "\n" for a, b in x.tolist())
    got = [json.loads(line)["y"] for line in run(tmp_path, text).stdout.splitlines()]
    np.testing.assert_array_equal(np.array(got, "float32"), expected)
    lists = "".join(f"{row}\n" for row in x.tolist())
    got = [json.loads(line)["y"] for line in run(tmp_path, lists).stdout.splitlines()]
    np.testing.assert_array_equal(np.array(got, "float32"), expected)


def test_each_key_has_its_state(tmp_path, network, x):
    keys = np.array(["north", "south", "east"])[np.random.default_rng(1).integers(0, 3, STEPS)]
    text = "b,sensor,a\n" + "".join(f"{a},{key},{b}\n" for key, (a, b) in zip(keys, x.tolist(), strict=True))
    for form, words in (("csv", text), ("ndjson", None)):
        if words is None:
            pairs = zip(keys.tolist(), x.tolist(), strict=True)
            words = "".join(json.dumps({"sensor": key, "b": a, "a": b}) + "\n" for key, (a, b) in pairs)
        lines = run(tmp_path, words, "sensor").stdout.decode().splitlines()
        if form == "csv":
            got = [tuple(line.split(",")) for line in lines]
        else:
            got = [(found["sensor"], found["y"]) for found in map(json.loads, lines)]
        assert [key for key, _ in got] == keys.tolist()
        values = np.array([value for _, value in got], "float32")
        for key in set(keys):
            np.testing.assert_array_equal(values[keys == key], Stream(network).run(x[keys == key])[:, 0])


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("1,2,3", "3 columns; expected 2"),
        ("1", "1 columns; expected 2"),
        ("1,x", "could not convert"),
        ("\x00\xff,", "could not convert"),
    ],
)
@pytest.mark.parametrize("blank", ["", "  ", "\r"])
def test_wrong_lines_are_named_and_counted(tmp_path, network, x, bad, reason, blank):
    lines = csv(x[:6]).splitlines()
    done = run(tmp_path, "\n".join(["a,b", blank, *lines[:2], bad, *lines[2:]]))
    assert done.stderr[0].startswith(f"line 5: {reason}")
    assert done.stderr[1] == "6 rows, 1 lines that are not rows"
    np.testing.assert_array_equal(np.array(done.stdout.split(), "float32"), Stream(network).run(x[:6])[:, 0])


def test_a_wrong_first_row_is_not_a_header(tmp_path, network, x):
    done = run(tmp_path, "1,\n" + csv(x[:3]))
    assert done.stderr[0].startswith("line 1: ")
    assert len(done.stdout.splitlines()) == 3


def test_wrong_objects_are_named(tmp_path, network):
    done = run(tmp_path, '{"a": 1, "b": 2}\n{"a": 1}\n[1, "2"]\n{"a": 1, "b":\n7\n{"a": 1, "b": null}\n[3, 4]\n')
    assert [line.split(":")[0] for line in done.stderr[:5]] == [f"line {n}" for n in (2, 3, 4, 5, 6)]
    assert len(done.stdout.splitlines()) == 2


@pytest.mark.parametrize("keyed", [False, True])
def test_rows_of_words(tmp_path, keyed):
    made = Network([Embedding(5, 3), GRU(4), Dense(1)], input_shape=(None,), seed=1)
    made.save(tmp_path / "net.safetensors")
    lines = ["word", "1", "4", "5", "-1", "0.5", "a", "", "0", "2.0"]
    if keyed:
        lines = [f"{line},{'key' if line == 'word' else 'k'}" if line else line for line in lines]
    done = run(tmp_path, "\n".join(lines), "key" if keyed else None)
    assert done.stderr[:2] == [f"line {n}: {x}; expected the number of a word, 0 to 4" for n, x in ((4, 5), (5, -1))]
    assert [line.split(":")[0] for line in done.stderr[2:4]] == ["line 6", "line 7"]
    assert done.stderr[4] == "4 rows, 4 lines that are not rows"
    got = [float(line.split(b",")[-1]) for line in done.stdout.splitlines()]
    np.testing.assert_array_equal(np.array(got, "float32"), Stream(made).run(np.array([1, 4, 0, 2]))[:, 0])


def test_the_names_of_the_first_object_say_the_order(tmp_path, network):
    lines = ['{"a": 1, "b": 2}', '{"b": 4, "a": 3}', "[5, 6]", '{"a": 1, "c": 2}', '{"b": 8, "a": 7}']
    expected = Stream(network).run(np.arange(1.0, 9).reshape(4, 2))[:, 0]
    done = run(tmp_path, "\n".join(lines))
    assert done.stderr[0] == "line 4: the names a, c; expected a, b"
    got = [json.loads(line)["y"] for line in done.stdout.splitlines()]
    np.testing.assert_array_equal(np.array(got, "float32"), expected)
    for some in (lines[:1], lines[:2]):  # a process that goes on knows the names
        (tmp_path / "in").write_text("".join(f"{line}\n" for line in some))
        with (tmp_path / "in").open("rb") as source, (tmp_path / "out").open("ab" if some[1:] else "wb") as out:
            Process(Stream(network), None, None, tmp_path / "state", 32, print).run(source.fileno(), out.fileno())
    got = [json.loads(line)["y"] for line in (tmp_path / "out").read_text().splitlines()]
    np.testing.assert_array_equal(np.array(got, "float32"), expected[:2])


def test_what_is_wrong_does_not_depend_on_the_lines_next_to_it(tmp_path, network):
    done = run(tmp_path, '{"a": 1, "b": 2}\n{"a": true, "b": 2}\n{"a": 1' + "0" * 400 + ', "b": 2}\n{"a": 3, "b": 4}\n')
    assert [line.split(":")[0] for line in done.stderr[:2]] == ["line 2", "line 3"]
    assert len(done.stdout.splitlines()) == 2
    done = run(tmp_path, '{"a": 1, "b": 2}\n{"a": true, "b": 2}\n')
    assert done.stderr[0].startswith("line 2: a value that is not a number")


@pytest.mark.parametrize("keyed", [False, True])
def test_a_killed_process_goes_on_where_it_was(tmp_path, network, x, keyed):
    rows = csv(x).splitlines()
    text = "key,a,b\n" + "".join(f"k{i % 3},{row}\n" for i, row in enumerate(rows)) if keyed else "a,b\n" + csv(x)
    key = "key" if keyed else ""
    whole = run(tmp_path, text, key or None).stdout
    (tmp_path / "out").unlink()
    (tmp_path / "in").write_text(text)
    own = command(tmp_path, key)
    with (tmp_path / "out").open("ab") as out, subprocess.Popen(own, stdin=subprocess.PIPE, stdout=out) as process:
        half = text.encode()[: len(text) * 3 // 5]
        process.stdin.write(half)
        process.stdin.flush()
        while (tmp_path / "out").stat().st_size < len(whole) // 2:  # it flushes whenever the input pauses
            assert process.poll() is None
        process.kill()
    assert (tmp_path / "state").exists()
    with (tmp_path / "in").open("rb") as source, (tmp_path / "out").open("ab") as out:
        subprocess.run(own, stdin=source, stdout=out, check=True)
    assert (tmp_path / "out").read_bytes() == whole
    os.truncate(tmp_path / "out", 10)
    again = Process(Stream(network), key or None, None, tmp_path / "state", 32, print)
    with (
        (tmp_path / "in").open("rb") as source,
        (tmp_path / "out").open("ab") as out,
        pytest.raises(DataError, match="Append to the output"),
    ):
        again.run(source.fileno(), out.fileno())


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        ("a,b,c\n", None, "has 3 columns; expected the network's 2"),
        ("a,b\n", "k", "has no column 'k'"),
    ],
)
def test_what_cannot_start_is_a_sentence(tmp_path, network, text, key, words):
    with pytest.raises(DataError, match=words):
        run(tmp_path, text, key)


@pytest.mark.parametrize("end", ["", "\n"])
def test_a_line_may_come_in_pieces_and_has_an_end(tmp_path, network, x, monkeypatch, end):
    monkeypatch.setattr(process, "_CHUNK", 7)
    monkeypatch.setattr(process, "_LONGEST", 60)
    text = csv(x[:20]) + f"{'0' * 40}1.5,2{end}"
    expected = Stream(network).run([*x[:20], (1.5, 2)])[:, 0]
    np.testing.assert_array_equal(np.array(run(tmp_path, text).stdout.split(), "float32"), expected)
    with pytest.raises(DataError, match="line 21 is longer than 60 bytes; expected a row on each line"):
        run(tmp_path, csv(x[:20]) + "1" * 70 + end)
    assert len((tmp_path / "out").read_bytes().splitlines()) == 20


@pytest.mark.slow
def test_the_command(tmp_path, network, x):
    begin = [sys.executable, "-m", "elman.cli", "stream", str(tmp_path / "net.safetensors")]
    done = subprocess.run(begin, input=csv(x).encode(), capture_output=True, check=True)
    assert len(done.stdout.splitlines()) == STEPS
    assert done.stderr == f"elman: {STEPS} rows\n".encode()


def test_windows_has_another_word_for_a_pipe_that_nobody_reads(monkeypatch):
    def write(*_):
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(process, "os", SimpleNamespace(write=write, strerror=os.strerror))
    for platform, expected in (("linux", OSError), ("win32", BrokenPipeError)):
        monkeypatch.setattr(sys, "platform", platform)
        with pytest.raises(OSError, match=".") as raised:
            process._write_all(1, b"1\n")
        assert raised.type is expected
