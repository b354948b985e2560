# SPDX-License-Identifier: Apache-2.0
"""Damaged files, and what a loader may do with one. In: a good file, a random generator. Out: another file.

A safetensors file is 8 bytes with the length of its header, the header in JSON, and the arrays. Half of the changes
keep it a valid file with the right checksum, so that what comes after the checksum is reached too.
"""

from __future__ import annotations

import hashlib
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from elman.errors import DataError

FIXED = 4 << 20  # bytes that reading takes however small the file is: JSON, modules that are loaded late
ODD = (
    -1,
    0,
    1,
    1 << 31,
    1 << 40,
    1 << 62,
    1 << 63,
    1 << 70,
    0.5,
    -2.5,
    True,
    None,
    "a",
    "",
    [],
    {},
    [[]],
    "lstm",
    "nan",
)
Header = dict[str, Any]


def split(data: bytes) -> tuple[Header, bytes]:
    size = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + size]), data[8 + size :]


def joined(header: Header, arrays: bytes) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + arrays


def signed(header: Header, arrays: bytes) -> Header:
    """The header with the checksum of what it holds now, as `elman.checkpoint` computes it."""
    texts = {name: text for name, text in header["__metadata__"].items() if name != "sha256"}
    shapes, values = {}, {}
    for name, entry in header.items():
        if name != "__metadata__":
            first, end = entry["data_offsets"]
            dtype = {"F32": "<f4", "F64": "<f8"}[entry["dtype"]]
            shapes[name], values[name] = [dtype, tuple(entry["shape"])], arrays[first:end]
    digest = hashlib.sha256(json.dumps([shapes, texts], sort_keys=True).encode())
    for name in sorted(values):
        digest.update(values[name])
    return header | {"__metadata__": texts | {"sha256": digest.hexdigest()}}


def places(value: Any) -> list[tuple[Any, Any]]:
    """Each container and key at which something stands, all the way down."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, each in list(items) for place in [(value, key), *places(each)]]


def with_odd_value(rng: np.random.Generator, value: Any) -> Any:
    """JSON with one value replaced, or removed."""
    container, key = (found := places(value))[rng.integers(len(found))]
    if rng.random() < 0.15:
        del container[key]
    else:
        container[key] = ODD[rng.integers(len(ODD))]
    return value


def truncated(rng: np.random.Generator, data: bytes) -> bytes:
    return data[: rng.integers(len(data))]


def flipped(rng: np.random.Generator, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.integers(1, 9)):
        changed[rng.integers(len(changed))] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def repeated(rng: np.random.Generator, data: bytes) -> bytes:
    first, end = np.sort(rng.integers(len(data), size=2))
    return data[:end] + data[first:]


def with_length(rng: np.random.Generator, data: bytes) -> bytes:
    return int(rng.choice([0, 1, 2, 100, 1 << 20, 1 << 40, (1 << 63) - 1])).to_bytes(8, "little") + data[8:]


def with_shape(rng: np.random.Generator, data: bytes) -> bytes:
    header, arrays = split(data)
    names = [name for name in header if name != "__metadata__"]
    entry = header[names[rng.integers(len(names))]]
    entry["shape"] = [[], [1 << 62], [1 << 40, 1 << 40], [*entry["shape"], 1], entry["shape"][::-1], [0], [-1]][
        rng.integers(7)
    ]
    return joined(header, arrays)


def with_entry(rng: np.random.Generator, data: bytes) -> bytes:
    header, arrays = split(data)
    return joined(with_odd_value(rng, header), arrays)


def with_text(rng: np.random.Generator, data: bytes) -> bytes:
    """One text of the file with another value in its JSON, and the right checksum."""
    header, arrays = split(data)
    texts = header["__metadata__"]
    name = [key for key in texts if key != "sha256"][rng.integers(len(texts) - 1)]
    try:
        texts[name] = json.dumps(with_odd_value(rng, json.loads(texts[name])))
    except (ValueError, TypeError):
        texts[name] = str(ODD[rng.integers(len(ODD))])
    return joined(signed(header, arrays), arrays)


def with_deep_text(rng: np.random.Generator, data: bytes) -> bytes:
    header, arrays = split(data)
    texts = header["__metadata__"]
    name = [key for key in texts if key != "sha256"][rng.integers(len(texts) - 1)]
    depth = int(rng.choice([50, 2000, 100_000]))
    texts[name] = [("[" * depth + "]" * depth), '{"layers": ' * depth + "1" + "}" * depth][rng.integers(2)]
    return joined(signed(header, arrays), arrays)


PLAIN = (truncated, flipped, repeated)
SAFETENSORS = (*PLAIN, with_length, with_shape, with_entry, with_text, with_text, with_text, with_deep_text)


def check(load: Callable[[Path], Any], path: Path, errors: tuple[type[Exception], ...] = (DataError,)) -> bool:
    """Loads a file; returns whether it could be loaded.

    Raises:
        AssertionError: If the error is another one, has no message or a long one, or too much memory was taken.
    """
    message = None
    tracemalloc.start()
    try:
        load(path)
    except errors as error:
        message = str(error)
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert message is None or 10 < len(message) < 3000, message[:500]
    most = 4 * path.stat().st_size + FIXED
    assert peak <= most, f"{peak:,} bytes for a file of {path.stat().st_size:,}"
    return message is None
