# SPDX-License-Identifier: Apache-2.0
"""A network as a C header file: written, compiled, run next to the network, and left only where both agree.

In: a network. Out: the file and what was found. Without a C compiler nothing is compared, and the notes say so.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from elman import files
from elman.errors import DataError
from elman.exporting import c_header
from elman.exporting.found import Exported, allowed, comparable, largest_error
from elman.exporting.twin import twin
from elman.network import Network
from elman.stream import Stream
from elman.stream.program import Program, program_of
from elman.stream.settling import typical_rows

Array = np.ndarray
_STEPS, _TEST_ROWS = 10_000, 16
_STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-pedantic")
_LIBRARIES = () if sys.platform == "win32" else ("-lm",)
_INT8 = ("kernel", "recurrent_kernel", "embeddings")  # the weights that are integers then
_DRIVER = """\
#define _CRT_SECURE_NO_WARNINGS
#include <stdio.h>
#include "NAME.h"
int main(void) {
  static NAME_state s;
  float x[UPPER_FEATURES], y[UPPER_OUTPUTS];
  FILE *rows = fopen("x.bin", "rb"), *results = fopen("y.bin", "wb"); /* standard input is text on Windows */
  if (!rows || !results) return 1;
  NAME_init(&s);
  while (fread(x, sizeof x, 1, rows) == 1) {
    NAME_step(&s, x, y);
    fwrite(y, sizeof y, 1, results);
  }
  return fclose(rows) | fclose(results);
}
"""


def write(network: Network, path: Path, *, name: str | None = None, int8: bool = False) -> Exported:
    """Writes the header.

    Args:
        network: The network; one of float64 is rounded to float32.
        path: The file.
        name: What its names begin with; by default the file's name.
        int8: Whether the weights of products are integers with a scale for each output; all else stays in float.

    Raises:
        DataError: If the name is not one of C, or the file computes something else; it is removed then, and an earlier
            one stays.
        ValueError: If a layer reads rows that are still to come.
    """
    name = path.stem if name is None else name
    if not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
        raise DataError(f"name is {name!r}; expected letters, digits and _, not beginning with a digit. Pass name=.")
    for weight, array in network.weights.items():
        if not np.isfinite(array).all():
            raise DataError(
                f"the network's {weight} has numbers that are not finite; expected numbers that C can write. Train it "
                "again, with a smaller learning rate or with clip_norm."
            )
    single = twin(network)
    scales, integers = _quantized(single) if int8 else (None, single)
    program, stream = program_of(integers), Stream(integers)
    x = typical_rows(program, np.random.default_rng(0), (_STEPS,))
    y = stream.run(_rows_of(program, x))
    wide = Stream(twin(integers, "float64")).run(_rows_of(program, x))
    rows = comparable(y, wide)
    x, y = x[:rows], y[:rows]
    limit = allowed(y, wide[:rows])
    vector = c_header.Vector(x[:_TEST_ROWS], y[:_TEST_ROWS], limit)
    text = c_header.text(program, name, vector, _facts(program, network, stream, int8=int8), scales)
    notes = [f"int8: largest error {largest_error(y, Stream(single).run(_rows_of(program, x))):.3g} from float"] * int8
    errors: list[float | None] = []

    def write_compared(to: Path) -> None:
        to.write_bytes(text.encode())
        errors.append(_compared(path, to, name, x, y, limit, notes))

    files.write_with(path, write_compared)
    return Exported(path, path.stat().st_size, errors[0], (*notes, *_sizes(path, name)))


def _rows_of(program: Program, x: Array) -> Array:
    return x[:, 0].astype(int) if program.integers else x


def _quantized(network: Network) -> tuple[dict[int, dict[str, Array]], Network]:
    """The scale of each column, by operation and weight; and the network of the weights that the integers stand for."""
    weights = network.weights
    scales: dict[int, dict[str, Array]] = {}
    for number, each in enumerate(program_of(network).operations, 1):
        for key in _INT8:
            if key in each.weights:
                array = each.weights[key]
                largest = np.abs(array).max(axis=0)
                scale = np.where(largest > 0, largest / 127, 1).astype("float32")
                scales.setdefault(number, {})[key] = scale
                weights[f"{each.name}/{key}"] = (np.rint(array / scale) * scale).astype("float32")
    return scales, twin(network, weights=weights)


def _facts(program: Program, network: Network, stream: Stream, *, int8: bool) -> list[str]:
    warmup = stream.warmup
    remembers = "it depends on the start for more than 4096 rows" if warmup is None else f"after {warmup} rows"
    window = "" if program.window is None else f", the latest {program.window} at a time"
    return [
        f"{program.features} numbers in, {program.outputs} out, row by row{window}.",
        f"Weights: {'int8 with a scale for each output' if int8 else 'float'}. Arithmetic: float.",
        f"The output no longer depends on where the stream began: {remembers}.",
        *network.summary().splitlines(),
    ]


def compiler() -> str | None:
    """A C compiler of this machine."""
    return next(
        (found for each in (os.environ.get("CC"), "cc", "gcc", "clang") if each and (found := shutil.which(each))), None
    )


def _compared(path: Path, written: Path, name: str, x: Array, y: Array, limit: float, notes: list[str]) -> float | None:
    """The largest error of the compiled header over all rows; `None` without a compiler."""
    cc = compiler()
    if cc is None:
        notes.append("not compared: there is no C compiler here")
        return None
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, f"{name}.h").write_bytes(written.read_bytes())
        driver = Path(folder, "driver.c")
        names = {"NAME": name, "UPPER": name.upper()}  # in one pass, since a name may hold these words
        driver.write_bytes(re.sub("|".join(names), lambda found: names[found[0]], _DRIVER).encode())
        program = Path(folder, "driver.exe")
        command = [cc, *_STRICT, "-O1", driver, "-o", program, *_LIBRARIES]
        built = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        if built.returncode:
            raise DataError(
                f"{path} does not compile, and was removed: {built.stderr[:400]}. This is an error of elman."
            )
        Path(folder, "x.bin").write_bytes(x.astype("float32").tobytes())
        subprocess.run([program], cwd=folder, capture_output=True, check=True)
        got = np.fromfile(Path(folder, "y.bin"), "float32").reshape(y.shape)
    error = largest_error(got, y)
    if not error <= limit:
        raise DataError(f"{path} differs by {error:.3g} from the network, and was removed; allowed are {limit:.3g}.")
    notes.append(f"compiled by {Path(cc).name} and compared over {len(x):,} rows")
    return error


def _sizes(path: Path, name: str) -> tuple[str, ...]:
    """Text, data and bss of the functions on a Cortex-M4F, where its compiler is at hand."""
    cc, size = shutil.which("arm-none-eabi-gcc"), shutil.which("arm-none-eabi-size")
    if cc is None or size is None:
        return ()
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "size.c")
        run, begin = f"{{ {name}_step(&s, x, y); }}", f"{{ {name}_init(&s); }}"
        calls = f"void run(const float* x, float* y) {run}\nvoid begin(void) {begin}\n"
        source.write_bytes(f'#include "{path.resolve().as_posix()}"\n{name}_state s;\n{calls}'.encode())
        flags = ("-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16", "-Os", "-std=c99")
        subprocess.run([cc, *flags, "-c", source, "-o", f"{folder}/size.o"], check=True, capture_output=True)
        done = subprocess.run([size, f"{folder}/size.o"], check=True, capture_output=True, text=True)
    text, data, bss = done.stdout.splitlines()[1].split()[:3]
    return (f"Cortex-M4F: text {text}, data {data}, bss {bss} bytes",)
