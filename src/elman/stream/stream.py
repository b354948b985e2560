# SPDX-License-Identifier: Apache-2.0
"""`Stream`: a trained network that takes one row at a time and keeps its states.

In: a network, rows. Out: its outputs, equal to those of the network on the whole sequence. A step is one native call.
"""

from __future__ import annotations

import itertools
import json
import math
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from elman import _native, checkpoint
from elman.checks import is_integer
from elman.errors import DataError
from elman.network import Network
from elman.network.files import network_of
from elman.stream import settling
from elman.stream.native import native_stream, parts_of
from elman.stream.program import program_of
from elman.stream.sources import network_from

Array = np.ndarray
FORMAT, VERSION = "elman.Stream", 1
# One lock for all streams: a stream that held its own could not be copied or pickled.
_BEGINNING = threading.Lock()
_CHUNK, _MULTIPLY_ADDS = 1 << 16, 10**9  # steps of one native call of `run`, after which Python handles signals: half
# a second at most where a core makes 2e9 multiply-adds a second


class Stream:
    """A network that takes one row at a time.

    After each row the output is what the network returns for the whole sequence so far: its last step, if it returns
    sequences. A network whose number of steps is fixed, such as a forecaster, sees a window: the output is what it
    returns for the latest `window` rows, or for all rows while there are fewer. Where it needs rows that have not come
    yet (`Latest(n)`, `Flatten()`), the output is NaN until they have.

    Args:
        model: An `elman.Network`, a Keras model, a torch module, what `elman.fit` returned, the path of its folder, or
            the path of a `.safetensors` or `.keras` file.
        batch: How many independent streams one step takes. `None`: the first row that comes decides.
        settle: Whether to begin with the states that many rows of the mean input lead to, instead of zeros.

    Attributes:
        network: A copy of the network.
        window: Rows that the network sees at a time, or `None` for all.
        features: Numbers of a row.
        outputs: Numbers of an output.
        words: How many words there are, if a row is the number of one (`Embedding`); else `None`.
        dtype: Of rows and outputs.

    Raises:
        elman.DataError: If a file cannot be read.
        TypeError: If `model` is none of these.
        ValueError: If a layer reads rows that are still to come, such as one half of a Bidirectional.

    One thread at a time may use a stream; several streams can run at once.

    Example:

    >>> from elman.network import Dense, Network, SimpleRNN
    >>> net = Network([SimpleRNN(32), Dense(1)], input_shape=(None, 8))
    >>> stream = Stream(net)
    >>> stream.step(np.zeros(8)).shape
    (1,)
    """

    def __init__(self, model: Any, *, batch: int | None = None, settle: bool = False) -> None:
        if batch is not None and not is_integer(batch, least=1):
            raise ValueError(f"batch is {batch!r}; expected a positive integer, or None.")
        network = network_from(model)
        if network.input_shape is None:
            raise ValueError("the network has no weights yet; give it input_shape=, or call it once.")
        self.network = network_of("the network", json.dumps(network.describe()), network.weights)
        self._settle, self._warmup = bool(settle), settling.NOT_MEASURED
        self._settled: Array | None = None
        self._prepare()
        if batch is not None:
            self._begin((int(batch),))

    def _prepare(self) -> None:
        self._program = program_of(self.network)
        self.window, self.features, self.outputs = (
            self._program.window, self._program.features, self._program.outputs,
        )  # fmt: skip
        self.dtype, self.words = self._program.dtype, self._program.words
        self._row_shape = () if self._program.integers else (self._program.features,)
        self._shape: tuple[int, ...] | None = None  # of the rows of a step, once it is known

    def _begin(self, batch: tuple[int, ...]) -> None:
        """Makes the native stream, once: batch () for one row without a batch axis, or (n,).

        Of threads that begin at once the first one decides. The others find the shape when everything else is there.
        """
        with _BEGINNING:
            if self._shape is not None:
                return
            program, shape = self._program, (*batch, *self._row_shape)
            self._batch = batch[0] if batch else 1
            self._native = native_stream(program, self._batch)
            self._parts = parts_of(program, self._native)
            self._x = np.zeros(shape, program.dtype)
            self._y = np.zeros((*batch, program.outputs), program.dtype)
            # Everything a step needs, made once: to make an address of an array takes longer than the step.
            self._call = self._native.call(self._x.ctypes.data, self._y.ctypes.data)
            self._step, self._dtype = self._native.step, program.dtype
            self._begin_again(range(self._batch))
            self._shape = shape

    # --- steps ------------------------------------------------------------------------------------------------------

    def step(self, x: Any, out: Array | None = None, *, resets: Any = None) -> Array:
        """Takes one row, or one row of each stream.

        Args:
            x: (features,), or (batch, features) for independent streams; for an `Embedding` integers () or (batch,).
            out: Array of the output's shape, of float numbers, that is filled and returned; nothing is allocated then.
            resets: Optional boolean, (batch,) for independent streams. Where it is `True`, the stream begins again
                before the row, as by `reset`.

        Returns:
            (outputs,) or (batch, outputs), of the network's dtype.

        Raises:
            TypeError: If `x` does not hold numbers, or `out` is not an array of float numbers.
            ValueError: If a shape does not fit.
        """
        if type(x) is not Array or x.shape != self._shape or x.dtype is not self._dtype:
            x = self._checked(x)
        if out is not None and (type(out) is not Array or out.shape != self._y.shape or out.dtype is not self._dtype):
            self._check_out(out)
        if resets is not None:
            self.reset(self._checked_resets(resets, ()))
        self._x[...] = x
        if status := self._step(self._call):
            _native.raise_last_error(status)
        if out is None:
            return self._y.copy()
        out[...] = self._y
        return out

    def _check_out(self, out: Any) -> None:
        if not isinstance(out, Array) or out.dtype.kind != "f":
            got = f"has dtype {out.dtype}" if isinstance(out, Array) else f"is {type(out).__name__}"
            raise TypeError(f"out {got}; expected an array of float numbers. Pass np.empty(shape, stream.dtype).")
        if out.shape != self._y.shape:
            raise ValueError(f"out has shape {out.shape}; expected {self._y.shape}.")

    def _checked(self, x: Any) -> Array:
        """A row that is not plainly of the right kind, as the step takes it."""
        array = np.asarray(x)
        kinds = "iu" if self._program.integers else "iufb"
        if array.dtype.kind not in kinds:
            expected = "integers, the numbers of words" if self._program.integers else "numbers"
            raise TypeError(f"x has dtype {array.dtype}; expected {expected}.")
        own = len(self._row_shape)
        batch = array.shape[: array.ndim - own]
        fits = array.shape[array.ndim - own :] == self._row_shape and len(batch) <= 1 and 0 not in batch
        if self._shape is None and fits and array.ndim >= own:
            self._begin(batch)
        if array.shape != self._shape:
            raise ValueError(f"x has shape {array.shape}; expected {self._expected()}.")
        self._check_words(array)
        return array

    def _check_words(self, array: Array) -> None:
        words = self.words
        if words is not None and array.size and not 0 <= array.min() <= array.max() < words:
            raise ValueError(
                f"x goes from {array.min()} to {array.max()}; expected the numbers of words, 0 to {words - 1}. Number "
                "the words from 0, as when the network was trained."
            )

    def _checked_resets(self, resets: Any, time: tuple[int, ...]) -> Array:
        """Booleans (batch,) or (batch, time), also of a stream that is alone."""
        array, batch = np.asarray(resets), self._y.shape[:-1]
        if array.shape != (*batch, *time) or array.dtype != bool:
            raise ValueError(
                f"resets has shape {array.shape} and dtype {array.dtype}; expected {(*batch, *time)} and bool, True "
                "before the rows with which a stream begins again. Pass one boolean for each row."
            )
        return array.reshape(self._batch, *time)

    def _expected(self) -> str:
        if self._shape is not None:
            batch = " of a stream of its own. Make another Stream for another batch" if len(self._shape) else ""
            return f"{self._shape}: each row has a state{batch}"
        names = "() or (batch,)" if self._program.integers else "(features,) or (batch, features)"
        return f"{names} with {self._program.features} features"

    def run(self, x: Any, *, resets: Any = None) -> Array:
        """Takes several rows, as so many steps.

        Args:
            x: (time, features), or (batch, time, features) for independent streams; for an `Embedding` integers
                (time,) or (batch, time).
            resets: Optional booleans, (time,) or (batch, time): where a stream begins again before the row.

        Returns:
            The outputs after each row: (time, outputs) or (batch, time, outputs).

        Raises:
            TypeError: If `x` does not hold numbers.
            ValueError: If a shape does not fit.
        """
        array = np.asarray(x)
        axis = array.ndim - 1 - len(self._row_shape)
        if axis not in (0, 1):
            raise ValueError(f"x has shape {array.shape}; expected (time, features) or (batch, time, features).")
        steps = array.shape[axis]
        self._checked(array.take(0, axis) if steps else np.zeros((*array.shape[:axis], *array.shape[axis + 1 :])))
        assert self._shape is not None
        self._check_words(array)
        y = np.empty((*array.shape[:axis], steps, self._program.outputs), self._program.dtype)
        again = None if resets is None else self._checked_resets(resets, (steps,))
        chunk = min(_CHUNK, _MULTIPLY_ADDS // (self._program.multiply_adds * self._batch) + 1)
        begins = {*range(0, steps, chunk), *([] if again is None else np.flatnonzero(again.any(axis=0)).tolist())}
        for first, end in itertools.pairwise(sorted({*begins, steps})):
            if again is not None:
                self.reset(again[:, first])
            rows = slice(first, end)
            some = np.ascontiguousarray(array[rows] if axis == 0 else array[:, rows], self._program.dtype)
            to = np.empty((*y.shape[:axis], rows.stop - first, y.shape[-1]), y.dtype)
            self._native.run(some.ctypes.data, to.ctypes.data, rows.stop - first)
            y[..., rows, :] = to
        return y

    # --- states -----------------------------------------------------------------------------------------------------

    @property
    def state(self) -> dict[str, Array]:
        """Copies of all states, by names such as `lstm/c`; (units,), or (batch, units) for independent streams.

        Setting it needs the same names and shapes. A stream whose batch is not known yet has the states of one row.
        """
        flat = self.flat_state()
        single = len(self._known()) == len(self._row_shape)
        found = {}
        for part in self._parts:
            array = flat[:, part.first : part.end].reshape(self._batch, *part.shape)
            found[part.name] = array[0].copy() if single else array.copy()
        return found

    @state.setter
    def state(self, state: Mapping[str, Any]) -> None:
        expected = {name: array.shape for name, array in self.state.items()}
        arrays = {name: np.asarray(array) for name, array in state.items()}
        if {name: array.shape for name, array in arrays.items()} != expected:
            got = {name: array.shape for name, array in arrays.items()}
            raise ValueError(f"state has {got}; expected {expected}. Set what another stream's state returned.")
        flat = np.empty((self._batch, self._parts[-1].end if self._parts else 0), self._program.dtype)
        for part in self._parts:
            flat[:, part.first : part.end] = arrays[part.name].reshape(self._batch, -1)
        self.set_flat_state(flat)

    def _known(self) -> tuple[int, ...]:
        if self._shape is None:
            self._begin(())
        assert self._shape is not None
        return self._shape

    def flat_state(self) -> Array:
        """All states side by side, (batch, numbers)."""
        self._known()
        flat = np.zeros((self._batch, self._parts[-1].end if self._parts else 0), self._program.dtype)
        for row in range(self._batch):
            self._native.get_state(row, flat[row].ctypes.data)
        return flat

    def set_flat_state(self, flat: Array, rows: Any = None) -> None:
        """Sets what `flat_state` returned, of all streams or of some. The array's form is not checked."""
        for row in range(self._batch) if rows is None else rows:
            self._native.set_state(row, flat[row].ctypes.data)

    def reset(self, rows: Any = None) -> None:
        """Begins again, from zero or learned initial states, or from the settled ones with `settle=True`.

        Args:
            rows: Number of a stream, several of them, or a bool for each; `None`: all streams.

        Raises:
            ValueError: If `rows` names a stream that there is not.
        """
        self._known()
        chosen = np.arange(self._batch) if rows is None else np.atleast_1d(np.asarray(rows))
        if chosen.dtype == bool and chosen.shape == (self._batch,):
            chosen = np.flatnonzero(chosen)
        if chosen.size and (chosen.dtype.kind not in "iu" or not 0 <= chosen.min() <= chosen.max() < self._batch):
            raise ValueError(f"rows is {rows!r}; expected numbers from 0 to {self._batch - 1}, or {self._batch} bools.")
        self._begin_again(chosen.tolist())

    def _begin_again(self, rows: Sequence[int]) -> None:
        for row in rows:
            self._native.reset(row)
        if self._settle:
            self.set_flat_state(self._settled_state().repeat(self._batch, axis=0), rows)

    def _settled_state(self) -> Array:
        if self._settled is None:
            self._settled = settling.settled_state(self._program)
        return self._settled

    @property
    def warmup(self) -> int | None:
        """Rows after which the output no longer depends on where the stream began.

        With a window that is the window. Otherwise pairs of streams begin from different states and get the same random
        rows, and this is the number of rows from which their outputs differ by 5 % of their standard deviation at most,
        as in the horizon of `elman.diagnose`. `None` if they still do after 4,096 rows. It is measured when it is
        first asked for, and kept in the file of `save`.
        """
        if self._warmup is settling.NOT_MEASURED:
            self._warmup = settling.warmup(self._program)
        return self._warmup

    # --- copies and files -------------------------------------------------------------------------------------------

    def copy(self) -> Stream:
        """A stream of its own with the same states."""
        other = object.__new__(Stream)
        other.network, other._program = self.network, self._program
        other.window, other.features, other.outputs = self.window, self.features, self.outputs
        other.dtype, other.words = self.dtype, self.words
        other._settle, other._warmup = self._settle, self._warmup
        other._settled = self._settled_state() if self._settle else None  # measured once for all copies
        other._row_shape, other._shape = self._row_shape, None
        if self._shape is not None:
            other._begin(self._shape[: len(self._shape) - len(self._row_shape)])
            other.set_flat_state(self.flat_state())
        return other

    def save(self, path: Any) -> None:
        """Writes the network and the states to a safetensors file.

        Args:
            path: Where to, a text or a `pathlib.Path`.

        Raises:
            elman.DataError: If the file cannot be written; an older file of that name is then as it was.
        """
        arrays = {f"weights/{name}": array for name, array in self.network.weights.items()}
        facts: dict[str, Any] = {"settle": self._settle, "warmup": self.warmup, "batch": None}
        if self._shape is not None:
            facts["batch"] = list(self._shape[: len(self._shape) - len(self._row_shape)])
            arrays["state"] = self.flat_state()
        texts = {"description": json.dumps(self.network.describe()), "stream": json.dumps(facts)}
        checkpoint.write(Path(path), arrays, {"format": FORMAT, "version": str(VERSION)} | texts)

    @classmethod
    def load(cls, path: Any) -> Stream:
        """The stream in a file that `save` wrote, with its states. Nothing in the file is run.

        Args:
            path: The file, a text or a `pathlib.Path`.

        Raises:
            elman.DataError: If it is not such a file, or is damaged.
        """
        arrays, texts = checkpoint.read(Path(path), "Expected a file of Stream.save: save the stream again.")
        if texts.get("format") != FORMAT or texts.get("version") != str(VERSION):
            raise DataError(
                f"{path} holds {texts.get('format', 'something')!r:.40}, version {texts.get('version', '')!r:.20}; "
                f"expected {FORMAT}, version {VERSION}, as Stream.save writes it."
            )
        weights = {name.removeprefix("weights/"): array for name, array in arrays.items() if name != "state"}
        network = network_of(path, texts.get("description", ""), weights)
        try:
            return cls._restored(network, json.loads(texts["stream"]), arrays.get("state"))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise DataError(f"{path} is damaged: {error}.") from error

    @classmethod
    def _restored(cls, network: Network, facts: Any, state: Array | None) -> Stream:
        stream = object.__new__(cls)
        stream.network, stream._settled = network, None
        settle, warmup, batch = (facts[name] for name in ("settle", "warmup", "batch"))
        if type(settle) is not bool or not (warmup is None or is_integer(warmup, least=0)):
            raise ValueError(f"settle is {settle!r:.50} and warmup {warmup!r:.50}; expected a boolean and rows")
        stream._settle, stream._warmup = settle, warmup
        stream._prepare()
        if state is not None:
            if batch not in ([], [len(state)]) or len(state) != (batch or [1])[0]:  # before memory is taken for them
                raise ValueError(f"it has the states of {len(state)} streams; expected those of batch {batch!r:.50}")
            numbers, least = math.prod(state.shape[1:]), stream._program.kept_numbers
            if numbers < least:
                raise ValueError(f"its states have {numbers} numbers; expected {least} and more")
            stream._begin(tuple(batch))
            expected = stream.flat_state()
            if state.shape != expected.shape or state.dtype != expected.dtype:
                raise ValueError(f"its state has shape {state.shape}, {state.dtype}; expected {expected.shape}")
            stream.set_flat_state(np.ascontiguousarray(state))
        return stream

    def __repr__(self) -> str:
        batch = "" if self._shape is None else f", batch={self._batch}"
        return f"Stream({self.network!r}{batch})"
