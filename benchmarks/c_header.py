# SPDX-License-Identifier: Apache-2.0
"""The networks of EdgeMark (arXiv 2502.01700) as C headers: size for a Cortex-M4F, instructions of a step, error.

    python benchmarks/c_header.py

In: nothing. Out: one JSON object, a row for each cell in float and in int8. The networks are SimpleRNN, GRU and LSTM of
64 units on 32 features with a Dense(32) at each step: their 8,288, 20,896 and 26,912 parameters are EdgeMark's. Sizes
need arm-none-eabi-gcc; instructions need arm-linux-gnueabihf-gcc and qemu-arm, which runs them one at a time here.
They are Thumb-2 with VFPv4, as those of a Cortex-M4F are but for the width of loads.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import elman
from elman.network import GRU, LSTM, Dense, Network, SimpleRNN

FEATURES, UNITS, OUTPUTS, STEPS = 32, 64, 32, 100
LINUX = "arm-linux-gnueabihf-gcc"
FLAGS = ("-std=c99", "-O2", "-mthumb", "-march=armv7-a", "-mfpu=vfpv4-d16", "-mfloat-abi=hard", "-static")
DRIVER = """\
#include "net.h"
static net_state state;
int main(int count, char** words) {
  float x[NET_FEATURES] = {0.5f}, y[NET_OUTPUTS];
  (void)words;
  net_init(&state);
  for (int t = 1; t < count; ++t) net_step(&state, x, y);
  return 0;
}
"""


def network(kind: type) -> Network:
    """A network of EdgeMark's sizes."""
    layers = [kind(UNITS, return_sequences=True), Dense(OUTPUTS)]
    return Network(layers, input_shape=(None, FEATURES), seed=0)


def sizes(notes: tuple[str, ...]) -> dict[str, int]:
    """Text, data and bss that an export has found; none without the compiler."""
    found = re.search(r"text (\d+), data (\d+), bss (\d+)", " ".join(notes))
    return dict(zip(("text", "data", "bss"), map(int, found.groups()), strict=True)) if found else {}


def instructions(folder: Path) -> int | None:
    """Instructions of a step: those of ten steps more, over ten; `None` without the programs."""
    if shutil.which(LINUX) is None or shutil.which("qemu-arm") is None:
        return None
    (folder / "driver.c").write_text(DRIVER)
    subprocess.run([LINUX, *FLAGS, "driver.c", "-o", "driver", "-lm"], cwd=folder, check=True)
    options = subprocess.run(["qemu-arm", "-h"], capture_output=True, text=True).stdout
    one = "-one-insn-per-tb" if "-one-insn-per-tb" in options else "-singlestep"  # its name before QEMU 8.1

    def run(steps: int) -> int:
        log = folder / "log"
        command = ["qemu-arm", one, "-d", "exec,nochain", "-D", str(log), str(folder / "driver")]
        subprocess.run([*command, *["x"] * steps], check=True)
        with log.open() as lines:
            return sum(line.startswith("Trace") for line in lines)

    return (run(12) - run(2)) // 10


def selftest(folder: Path) -> bool | None:
    """Whether the header's own test passes on 32-bit ARM."""
    if shutil.which(LINUX) is None or shutil.which("qemu-arm") is None:
        return None
    command = [LINUX, *FLAGS, "-DNET_SELFTEST", "-x", "c", "net.h", "-o", "selftest", "-lm"]
    subprocess.run(command, cwd=folder, check=True)
    return subprocess.run(["qemu-arm", str(folder / "selftest")], check=False).returncode == 0


def main() -> None:
    """Measures and prints."""
    rows: list[dict[str, Any]] = []
    for kind in (SimpleRNN, GRU, LSTM):
        for int8 in (False, True):
            folder = Path(tempfile.mkdtemp())
            net = network(kind)
            found = elman.export(net, folder / "net.h", int8=int8)
            of_int8 = re.search(r"int8: largest error ([\d.e+-]+)", " ".join(found.notes))
            rows.append({
                "cell": kind.__name__, "weights": "int8" if int8 else "float",
                "parameters": sum(array.size for array in net.weights.values()),
                **sizes(found.notes), "instructions": instructions(folder), "selftest": selftest(folder),
                "error": found.error, "int8_error": float(of_int8[1]) if of_int8 else None,
            })  # fmt: skip
            print(rows[-1], file=sys.stderr, flush=True)
    json.dump({"rows": rows, "steps": STEPS}, sys.stdout)


if __name__ == "__main__":
    main()
