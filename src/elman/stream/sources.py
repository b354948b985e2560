# SPDX-License-Identifier: Apache-2.0
"""The network of whatever a user has: a `Network`, a model of a framework, a run of `fit`, or a file.

A framework is met only if the model is of it, so that it is imported already.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from elman.errors import DataError
from elman.network import Network

_OF_A_RUN = ("model.safetensors", "model.keras")  # the first that the folder of a run has


def network_from(model: Any) -> Network:
    """The network of a model.

    Args:
        model: A `Network`, a Keras model, a torch module, what `elman.fit` returned, or a path.

    Raises:
        elman.DataError: If a file cannot be read.
        ImportError: If Keras is needed and not installed.
        TypeError: If it is none of these.
    """
    if isinstance(model, Network):
        return model
    if isinstance(model, (str, os.PathLike)):
        return _read(Path(model))
    if _is_of("keras", "Model", model):
        return Network.from_keras(model)
    if _is_of("torch", "nn.Module", model):
        return Network.from_torch(model)
    if isinstance(found := getattr(model, "model", None), Network):  # a run
        return found
    raise TypeError(
        f"got {type(model).__name__}; expected an elman.Network, a Keras model, a torch module, what elman.fit "
        "returned, or the path of a file or of a run's folder."
    )


def _is_of(package: str, name: str, model: Any) -> bool:
    found: Any = sys.modules.get(package)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found is not None and isinstance(model, found)


def _read(path: Path) -> Network:
    if path.is_dir():
        inside = [path / name for name in _OF_A_RUN if (path / name).exists()]
        if not inside:
            raise DataError(f"{path} holds no model; expected the folder of a finished run, with {_OF_A_RUN[0]}.")
        path = inside[0]
    if not path.exists():
        raise DataError(f"{path} does not exist; expected a run's folder, a .safetensors file or a .keras file.")
    if path.suffix in (".keras", ".h5"):
        need_keras(path)
        return Network.from_keras(path)
    return Network.load(path)


def need_keras(path: Path) -> None:
    """Checks that Keras can be imported, for a file.

    Raises:
        ImportError: If it is not installed, or no backend is.
    """
    try:
        import keras  # noqa: F401
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{path} needs Keras and a backend, and {error.name} is not installed. Install one of elman[tensorflow], "
            "elman[jax] and elman[torch]."
        ) from error
