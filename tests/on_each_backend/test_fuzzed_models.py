# SPDX-License-Identifier: Apache-2.0
"""Damaged model files in `elman.load_model`: one clear error, no crash, little memory."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import elman
import fuzzing
from size import by_size

COUNT = by_size(20, 60, 2500)


@pytest.fixture(scope="module", params=[".keras", ".h5"])
def good(request, tmp_path_factory) -> Path:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((5, 2)), elman.GRU(3, return_sequences=True), elman.SimpleRNN(2)])
    path = tmp_path_factory.mktemp("models") / f"good{request.param}"
    model.save(path)
    return path


def with_config(rng: np.random.Generator, data: bytes) -> bytes:
    """A .keras file with one value of its config replaced, or with a config that is nested too deep."""
    read, written = zipfile.ZipFile(io.BytesIO(data)), io.BytesIO()
    with zipfile.ZipFile(written, "w") as to:
        for name in read.namelist():
            content = read.read(name)
            if name == "config.json":
                deep = '{"config": ' * 100_000 + "1" + "}" * 100_000
                changed = json.dumps(fuzzing.with_odd_value(rng, json.loads(content)))
                content = (deep if rng.random() < 0.2 else changed).encode()
            to.writestr(name, content)
    return written.getvalue()


@pytest.mark.slow
@pytest.mark.shared
def test_a_damaged_model_file_is_one_clear_error(good, tmp_path):
    data = good.read_bytes()
    changes: tuple[Any, ...] = (*fuzzing.PLAIN, *((with_config,) * 3 if good.suffix == ".keras" else ()))
    for seed in range(COUNT):
        rng = np.random.default_rng(seed)
        change = changes[rng.integers(len(changes))]
        path = tmp_path / f"bad{good.suffix}"
        path.write_bytes(change(rng, data))
        try:
            fuzzing.check(elman.load_model, path, (elman.DataError, ValueError, TypeError))  # the last two are Keras's
        except BaseException:
            print(f"file {seed}, by {change.__name__}")
            raise
