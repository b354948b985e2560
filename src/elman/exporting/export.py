# SPDX-License-Identifier: Apache-2.0
"""`elman.export`: finds the network in what the user has, and the writer that the file's suffix asks for.

Each kind of file is a module with `write(network, path, ...)`, and a row of `WRITERS`.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from elman.errors import DataError
from elman.exporting.found import Exported
from elman.stream.sources import network_from

# suffix -> the module that writes it, and the options that it takes
WRITERS: dict[str, tuple[str, tuple[str, ...]]] = {
    ".keras": ("keras_file", ()),
    ".h": ("c_file", ("name", "int8")),
    ".onnx": ("onnx_file", ("step", "state")),
    ".safetensors": ("network_file", ()),
}


def export(
    model: Any, path: Any, *, step: bool = False, state: bool = False, int8: bool = False, name: str | None = None
) -> Exported:
    """Writes a network to a file that other programs run, and compares what the file computes with the network.

    Args:
        model: An `elman.Network`, a Keras model, a torch module, what `elman.fit` returned, or the path of a file or of
            a run's folder.
        path: The file. Its suffix says of which kind it is: `.h`, a C99 header with `NAME_init`, `NAME_step` and
            `NAME_reset`; `.onnx`; `.safetensors`, which `elman.Network.load` reads; `.keras`, which Keras reads without
            elman, and which needs Keras and a backend.
        step: `.onnx`: a graph of one step with states in and out, of MatMul, Add, Tanh and Sigmoid, for runtimes
            without recurrent nodes.
        state: `.onnx`: initial and final states are inputs and outputs.
        int8: `.h`: weights are integers with a scale for each output.
        name: `.h`: what its names begin with; by default the file's name.

    Returns:
        What was found.

    Raises:
        elman.DataError: If the suffix is another one, an option is of another kind of file, a file cannot be read or
            written, or it computes something else than the network and was removed.
        ImportError: If Keras is needed and not installed.
        TypeError: If `model` is something else.
        ValueError: If a layer cannot be written to such a file.

    Example:

        elman.export(network, "net.h", int8=True)
        elman.export("elman-runs/beach-1f2e3d4c", "beach.keras")
    """
    path = Path(path)
    if path.suffix not in WRITERS:
        raise DataError(
            f"{path} has the suffix {path.suffix!r}; expected one of {', '.join(WRITERS)}. Give the file such a name."
        )
    module, takes = WRITERS[path.suffix]
    given = {"step": step, "state": state, "int8": int8, "name": name}
    for option, value in given.items():
        if value and option not in takes:
            others = ", ".join(suffix for suffix, (_, options) in WRITERS.items() if option in options)
            raise DataError(
                f"{option}={value!r} is not an option of {path.suffix}; it is one of {others}. Leave it out."
            )
    writer = importlib.import_module(f"elman.exporting.{module}")
    return writer.write(network_from(model), path, **{option: given[option] for option in takes})
