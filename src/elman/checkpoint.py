# SPDX-License-Identifier: Apache-2.0
"""Arrays and texts in one safetensors file, with a checksum over all of them: checkpoints, and networks.

In: arrays and texts by name. Out: the same, or a `DataError` if one bit of the file has changed.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError, safe_open

from elman import files
from elman.errors import DataError

_CHECKSUM, _DIGITS = "sha256", "[0-9a-f]{64}"


def write(path: Path, arrays: dict[str, np.ndarray], texts: dict[str, str]) -> None:
    """Writes a file.

    Raises:
        DataError: If it cannot be written.
    """
    # In C order, since safetensors writes memory as it lies.
    arrays = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    files.write(path, safetensors.numpy.save(arrays, texts | {_CHECKSUM: _checksum(arrays, texts)}))


def read(path: Path, remedy: str, *, may_lack_checksum: bool = False) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Reads a file.

    Args:
        path: Of the file.
        remedy: A sentence for the error: what to do if it is damaged.
        may_lack_checksum: Whether a file without a checksum is read, too.

    Raises:
        DataError: If there is no such file, or it is damaged.
    """
    try:
        with safe_open(path, "np") as file:
            texts = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist.") from error
    except (SafetensorError, OSError, ValueError, TypeError) as error:  # of a dtype that NumPy lacks, too
        raise DataError(f"{path} is not a safetensors file, or is damaged: {error}. {remedy}") from error
    found = texts.pop(_CHECKSUM, None)
    has_none = found is None and not any(re.fullmatch(_DIGITS, text) for text in texts.values())  # its name may be hurt
    if not (has_none and may_lack_checksum) and found != _checksum(arrays, texts):
        raise DataError(f"{path} is damaged: its content is not what was written. {remedy}")
    return arrays, texts


def _checksum(arrays: dict[str, np.ndarray], texts: dict[str, str]) -> str:
    """Over names, types, shapes, values and texts."""
    shapes = {name: [array.dtype.str, array.shape] for name, array in arrays.items()}
    digest = hashlib.sha256(json.dumps([shapes, texts], sort_keys=True).encode())
    for name in sorted(arrays):
        digest.update(arrays[name].tobytes())
    return digest.hexdigest()
