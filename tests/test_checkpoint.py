# SPDX-License-Identifier: Apache-2.0
"""A checkpoint: what was written is read back, and a file with one bit changed, or cut short, is refused."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from elman import DataError, checkpoint

ARRAYS = {"a": np.arange(6, dtype="float32").reshape(2, 3), "b": np.array(3, "int64"), "c": np.zeros((0, 2))}
REMEDY = "Remove it."
TEXTS = {"history": "[]", "backend": "jax"}


@pytest.fixture
def path(tmp_path):
    checkpoint.write(tmp_path / "checkpoint", ARRAYS | {"d": ARRAYS["a"].T}, TEXTS)
    return tmp_path / "checkpoint"


def test_what_was_written_is_read_back(path):
    arrays, texts = checkpoint.read(path, REMEDY)
    assert texts == TEXTS
    assert sorted(arrays) == ["a", "b", "c", "d"]
    for name, array in arrays.items():
        assert_array_equal(array, ARRAYS.get(name, ARRAYS["a"].T))


def test_one_changed_bit_is_seen(path):
    whole = path.read_bytes()
    for i in range(len(whole)):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ (1 << i % 8)]) + whole[i + 1 :])
        try:
            found = checkpoint.read(path, REMEDY)
        except DataError:
            continue
        # JSON has several ways to write the same header.
        assert found[1] == TEXTS
        assert all(np.array_equal(found[0][name], array) for name, array in ARRAYS.items())
        assert chr(whole[i]).isspace()


@pytest.mark.parametrize("kept", [0, 4, 8, 100, -1])
def test_a_file_that_is_cut_short_is_refused(path, kept):
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match="checkpoint is not a safetensors file, or is damaged: .* Remove it"):
        checkpoint.read(path, REMEDY)


def test_another_safetensors_file_is_refused(path):
    import safetensors.numpy

    path.write_bytes(safetensors.numpy.save(ARRAYS))
    with pytest.raises(DataError, match="checkpoint is damaged.*what was written. Remove it"):
        checkpoint.read(path, REMEDY)
    found, texts = checkpoint.read(path, REMEDY, may_lack_checksum=True)
    assert (sorted(found), texts) == (["a", "b", "c"], {})
    path.write_bytes(safetensors.numpy.save(ARRAYS, {"shb256": "0" * 64}))  # the name of a checksum with another bit
    with pytest.raises(DataError, match="checkpoint is damaged"):
        checkpoint.read(path, REMEDY, may_lack_checksum=True)
    with pytest.raises(DataError, match="none does not exist"):
        checkpoint.read(path.with_name("none"), REMEDY)
