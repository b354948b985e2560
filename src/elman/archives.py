# SPDX-License-Identifier: Apache-2.0
"""A `.keras` file as an archive, read without Keras: its parts, each with a size and a checksum.

In: a path. Out: the bytes of some parts, or a `DataError` that says what is damaged.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

from elman.errors import DataError
from elman.files import ARCHIVE_ERRORS

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
_LONGEST_CONFIG = 1 << 26  # bytes: a thousand times that of a model of a thousand layers
# Above this size, a part may not unpack to a hundred times its size. Keras does not compress weights.
_UNPACKED, _EXPANSION = 1 << 28, 100


def read_texts(path: Path) -> tuple[bytes, bytes]:
    """Checks all parts of a `.keras` file, and returns its config and its metadata, `b"{}"` without any.

    Raises:
        DataError: If it is not an archive with a config, a part is damaged, or a part would fill the memory.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                _check_size(path, entry)
            config, metadata = archive.read(CONFIG), b"{}"
            if METADATA in archive.namelist():
                metadata = archive.read(METADATA)
            wrong = archive.testzip()  # Keras reads damaged weights as far as it can
    except ARCHIVE_ERRORS as error:
        raise damaged(path, f"{error}") from error
    if wrong is not None:
        raise damaged(path, f"the checksum of {wrong} is wrong")
    return config, metadata


def damaged(path: Path, reason: str) -> DataError:
    """The error for a model file that cannot be read."""
    return DataError(
        f"{path} cannot be read as a {path.suffix} file: it is damaged, or not such a file ({reason.rstrip('.')}). "
        "Save the model again."
    )


def _check_size(path: Path, entry: zipfile.ZipInfo) -> None:
    """Raises if a part of an archive would fill the memory."""
    size = entry.file_size
    most = _LONGEST_CONFIG if entry.filename in {CONFIG, METADATA} else max(_UNPACKED, _EXPANSION * entry.compress_size)
    if size > most:
        raise DataError(
            f"{path} has a part {entry.filename} that unpacks from {entry.compress_size:,} to {size:,} bytes; expected "
            f"at most {most:,}, more than Keras writes. Open a file whose origin you know."
        )
