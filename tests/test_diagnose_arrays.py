# SPDX-License-Identifier: Apache-2.0
"""The arrays that `elman diagnose` reads: a file with one bit changed is read as it was, or refused in one sentence."""

import numpy as np
import pytest

from elman import DataError
from elman.cli.diagnose import _arrays

X = np.random.default_rng(0).normal(size=(4, 3, 2)).astype("float32")


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_a_flipped_bit_is_seen_or_harmless(suffix, tmp_path):
    path = tmp_path / f"data{suffix}"
    if suffix == ".npy":
        np.save(path, X)
    else:
        np.savez_compressed(path, x=X)
    whole = path.read_bytes()
    refused = 0
    for i in range(len(whole)):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ (1 << i % 8)]) + whole[i + 1 :])
        try:
            x, y = _arrays(path)
        except DataError:
            refused += 1
            continue
        assert y is None
        assert suffix == ".npy" or np.array_equal(x, X)  # an archive has checksums, a single array has none
    assert refused > 60


def test_an_array_larger_than_any_memory_is_refused(tmp_path):
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 9, 3), }".ljust(117) + "\n"
    path = tmp_path / "data.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode())
    with pytest.raises(DataError, match="data.npy cannot be read"):
        _arrays(path)
