# SPDX-License-Identifier: Apache-2.0
"""A stream between two files: rows in, a prediction for each out, states kept for each key and in a checkpoint.

In: file descriptors. Out: lines, flushed whenever the input pauses. After a kill the same command goes on from the
checkpoint: the input is read from the saved position, and what the output has beyond its saved size is cut off.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from elman import checkpoint
from elman.checks import is_integer
from elman.errors import DataError
from elman.stream.lines import Csv, Ndjson, Rows, format_of
from elman.stream.stream import Stream

Array = np.ndarray
_CHUNK = 1 << 18  # bytes of a read
_LONGEST = 1 << 24  # bytes of a line that are kept until its end comes


class Process:
    """One run of `elman stream`.

    Args:
        stream: A stream that has seen no row. It serves all keys, each with states of its own.
        key: Name of the column whose values have a stream each, or `None`.
        form: One of `lines.FORMATS`, or `None`: what the first line looks like.
        saved: File of the checkpoint, or `None`.
        every: Rows between two checkpoints.
        tell: Gets a sentence for each line that is not a row.

    Attributes:
        rows: Rows that have a prediction.
        wrong: Lines that are not rows.
    """

    def __init__(
        self,
        stream: Stream,
        key: str | None,
        form: str | None,
        saved: Path | None,
        every: int,
        tell: Callable[[str], None],
    ) -> None:
        self.stream, self.key, self.form, self.saved, self.every, self.tell = stream, key, form, saved, every, tell
        self.begin = stream.flat_state()  # of a key that is new
        self.states: dict[str, Array] = {}  # of all keys but the current one, whose states the stream has
        self.current: str | None = None
        self.rows = self.wrong = self.line = self.position = 0
        self.reader: Csv | Ndjson | None = None
        self.since = 0

    def run(self, source: int, target: int) -> None:
        """Reads `source` to its end, and writes to `target`.

        Raises:
            DataError: If the first line does not fit, a line does not end, or the checkpoint is of another network or
                output.
        """
        if self.saved is not None and self.saved.exists():
            self._resume(source, target)
        for lines, length in self._lines(source):
            _write_all(target, self._predicted(lines))
            self.position += length
            self.since += len(lines)
            if self.saved is not None and self.since >= self.every:
                self._save(target)
        if self.saved is not None:
            self._save(target)

    def _lines(self, source: int) -> Iterator[tuple[list[bytes], int]]:
        """Whole lines as they come, at most `every` at once, and the bytes that they take."""
        pieces: list[bytes] = []  # of a line that has not ended
        held = 0
        while data := os.read(source, _CHUNK):
            whole, newline, rest = data.rpartition(b"\n")
            if newline:
                lines = b"".join([*pieces, whole]).split(b"\n")
                for first in range(0, len(lines), self.every):
                    some = lines[first : first + self.every]
                    yield some, sum(map(len, some)) + len(some)
                pieces, held = [], 0
            pieces.append(rest)
            held += len(rest)
            if held > _LONGEST:
                raise DataError(
                    f"line {self.line + 1} is longer than {_LONGEST:,} bytes; expected a row on each line. Check that "
                    "the input is text, with a newline after each row."
                )
        if held:
            yield [b"".join(pieces)], held

    def _predicted(self, lines: list[bytes]) -> bytes:
        if self.reader is None:
            self.reader = format_of(lines[0], self.stream.features, self.key, self.form)
            if self.reader.header(lines[0]):
                lines, self.line = lines[1:], self.line + 1
        kept = [line for line in lines if line.strip()]
        found = _with_words(self.reader.read(kept), self.stream.words)
        if found.errors:
            numbers = [i for i, line in enumerate(lines, self.line + 1) if line.strip()]
            for i, reason in found.errors:
                self.tell(f"line {numbers[i]}: {reason}")
        y = self._outputs(found.x, found.keys)
        self.line += len(lines)
        self.wrong += len(found.errors)
        self.rows += len(y)
        return self.reader.write(y, found.keys if self.key is not None else []) if len(y) else b""

    def _outputs(self, x: Array, keys: list[str]) -> Array:
        if self.stream.words is not None:
            x = x[:, 0].astype("int64")
        if self.key is None:
            self._turn_to("")
            return self.stream.run(x)
        y = np.empty((len(x), self.stream.outputs), self.stream.dtype)
        for i, (key, row) in enumerate(zip(keys, x, strict=True)):
            if key != self.current:
                self._turn_to(key)
            self.stream.step(row, y[i])
        return y

    def _turn_to(self, key: str) -> None:
        """Gives the stream the states of a key."""
        if key == self.current:
            return
        if self.current is not None:
            self.states[self.current] = self.stream.flat_state()
        self.stream.set_flat_state(self.states.get(key, self.begin))
        self.states.setdefault(key, self.begin)  # its place among the keys
        self.current = key

    # --- the checkpoint ------------------------------------------------------------------------------------------

    def _identity(self) -> str:
        """What must be the same for a checkpoint to be of this run."""
        network = self.stream.network
        digest = hashlib.sha256(json.dumps([network.describe(), self.key]).encode())
        for array in network.weights.values():
            digest.update(array.tobytes())
        return digest.hexdigest()

    def _save(self, target: int) -> None:
        assert self.saved is not None
        size = _size(target)
        if size is not None:
            os.fsync(target)
        facts = {
            "position": self.position, "line": self.line, "rows": self.rows, "wrong": self.wrong, "size": size,
            "reader": None if self.reader is None else type(self.reader).__name__.lower(),
            "column": getattr(self.reader, "column", -1), "names": getattr(self.reader, "names", None),
            "keys": list(self.states),
        }  # fmt: skip
        if self.current is not None:
            self.states[self.current] = self.stream.flat_state()
        states = np.concatenate(list(self.states.values())) if self.states else self.begin[:0]
        checkpoint.write(self.saved, {"states": states}, {"identity": self._identity(), "facts": json.dumps(facts)})
        self.since = 0

    def _resume(self, source: int, target: int) -> None:
        assert self.saved is not None
        arrays, texts = checkpoint.read(self.saved, "Remove it, or choose another --checkpoint.")
        if texts.get("identity") != self._identity():
            raise DataError(f"{self.saved} is of another network or key. Remove it, or choose another --checkpoint.")
        try:
            facts = self._restored(json.loads(texts["facts"]), arrays["states"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise DataError(f"{self.saved} is damaged: {error}. Remove it, and begin again.") from error
        size = _size(target)
        if size is not None and facts["size"] is not None:
            if size < facts["size"]:
                raise DataError(
                    f"the output has {size} bytes, and {self.saved} was written after {facts['size']}. Append to the "
                    "output of the interrupted run (>>), or remove the checkpoint."
                )
            os.ftruncate(target, facts["size"])
        _skip(source, self.position)

    def _restored(self, facts: dict[str, Any], states: Array) -> dict[str, Any]:
        """Takes what a checkpoint holds."""
        keys, numbers = facts["keys"], [facts[name] for name in ("position", "line", "rows", "wrong")]
        if states.shape != (len(keys), self.begin.shape[1]) or states.dtype != self.begin.dtype:
            raise ValueError(f"its states have shape {states.shape}, {states.dtype}, for {len(keys)} keys")
        if not all(is_integer(n, least=0) for n in (*numbers, 0 if facts["size"] is None else facts["size"])):
            raise ValueError(f"its positions are {[*numbers, facts['size']]!r:.100}")
        self.states = {str(key): states[i : i + 1].copy() for i, key in enumerate(keys)}
        self.position, self.line, self.rows, self.wrong = numbers
        if facts["reader"]:
            self.reader = format_of(b"", self.stream.features, self.key, facts["reader"])
            self.reader.column = int(facts["column"])  # type: ignore[union-attr]
            self.reader.names = _names(facts.get("names"))  # type: ignore[union-attr]
        return facts


def _with_words(rows: Rows, words: int | None) -> Rows:
    """The rows that are numbers of words; the others are errors."""
    if words is None:
        return rows
    x = rows.x[:, 0]
    right = (x >= 0) & (x < words) & (np.floor(x) == x)
    good = np.flatnonzero(right).tolist()
    wrong = [
        (rows.lines[i], f"{x[i]:g}; expected the number of a word, 0 to {words - 1}") for i in np.flatnonzero(~right)
    ]
    keys = [rows.keys[i] for i in good] if rows.keys else []
    return Rows(rows.x[good], keys, [rows.lines[i] for i in good], sorted([*rows.errors, *wrong]))


def _names(value: Any) -> list[str] | None:
    """The names of a checkpoint; of an older one there are none."""
    if value is not None and not (isinstance(value, list) and all(isinstance(name, str) for name in value)):
        raise ValueError(f"its names are {value!r:.100}")
    return value


def _skip(source: int, position: int) -> None:
    """Moves to a position of the input: what comes before it has been taken already."""
    if stat.S_ISREG(os.fstat(source).st_mode):
        os.lseek(source, position, os.SEEK_SET)
        return
    while position > 0:
        data = os.read(source, min(position, _CHUNK))
        if not data:
            raise DataError(f"the input ends {position:,} bytes before the checkpoint's position. Pass the same input.")
        position -= len(data)


def _size(target: int) -> int | None:
    """Bytes of the output, if it is a file."""
    found = os.fstat(target)
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def _write_all(target: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(target, view) :]
        except OSError as error:
            if sys.platform == "win32" and error.errno == errno.EINVAL:  # its word for a pipe that nobody reads
                raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)) from error
            raise


def summary(process: Process) -> str:
    """What a run has done, as a sentence."""
    wrong = "" if not process.wrong else f", {process.wrong:,} lines that are not rows"
    return f"{process.rows:,} rows{wrong}"


def to_standard_error(sentence: str) -> None:
    """Prints a sentence for the operator."""
    print(f"elman: {sentence}", file=sys.stderr)
