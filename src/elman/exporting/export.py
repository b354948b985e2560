# SPDX-License-Identifier: Apache-2.0
"""`elman.export`: finds the network in what the user has, and the writer that the file's suffix asks for."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from elman.errors import DataError
from elman.network import Network


def export(model: Any, path: Any) -> None:
    """Writes a model to a file.

    Args:
        model: An `elman.Network`; what `elman.fit` returned, or the path of its folder; a Keras model; or the path of a
            `.safetensors` file of a `Network` or of a `.keras` file.
        path: The file. `.safetensors` is read by `elman.Network.load`, and `.keras` by Keras, without elman. A `.keras`
            file needs Keras and a backend.

    Raises:
        elman.DataError: If the suffix is another one, or a file cannot be read or written; a `ValueError`.
        ImportError: If Keras is needed and not installed.
        TypeError: If `model` is something else.
        ValueError: If a Keras model has a layer that a `Network` cannot hold.

    Example:

        elman.export("elman-runs/beach-1f2e3d4c", "beach.keras")
    """
    path = Path(path)
    if path.suffix not in _WRITERS:
        raise DataError(
            f"{path} has the suffix {path.suffix!r}; expected one of {', '.join(_WRITERS)}. Give the file such a name."
        )
    _WRITERS[path.suffix](_network(model), path)


def _network(model: Any) -> Network:
    if isinstance(model, Network):
        return model
    if isinstance(model, str | os.PathLike):
        return _read(Path(model))
    if isinstance(found := getattr(model, "model", None), Network):  # a run
        return found
    if "keras" not in sys.modules:
        raise TypeError(
            f"export got {type(model).__name__}; expected an elman.Network, a run of elman.fit, a Keras model, or the "
            "path of one."
        )
    return Network.from_keras(model)


def _read(path: Path) -> Network:
    if path.is_dir():
        from elman.forecasting import Run

        return Run.load(path).model
    if not path.exists():
        raise DataError(f"{path} does not exist; expected a run's folder, a .safetensors file or a .keras file.")
    if path.suffix == ".keras":
        _need_keras(path)
        return Network.from_keras(path)
    return Network.load(path)


def _to_keras(network: Network, path: Path) -> None:
    _need_keras(path)
    from elman import files
    from elman.exporting import keras_file

    model = network.to_keras()
    files.write_with(path, lambda to: keras_file.save(model, to))


def _need_keras(path: Path) -> None:
    try:
        import keras  # noqa: F401
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{path} needs Keras and a backend, and {error.name} is not installed. Install one of elman[tensorflow], "
            "elman[jax] and elman[torch]."
        ) from error


_WRITERS: dict[str, Callable[[Network, Path], None]] = {".keras": _to_keras, ".safetensors": Network.save}
