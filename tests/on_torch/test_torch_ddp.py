# SPDX-License-Identifier: Apache-2.0
"""Two processes train one module of elman.torch under DistributedDataParallel, on the CPU by gloo. The weights
are those of one process that trains torch.nn's module on the whole batch."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "distributed" / "torch_ddp.py"


@pytest.mark.large
@pytest.mark.parametrize("cell", ["RNN", "LSTM", "GRU"])
def test_two_processes_train_as_one(cell, tmp_path):
    out = tmp_path / "weights.pt"
    subprocess.run([sys.executable, "-W", "ignore", str(EXAMPLE), "2", "--cell", cell, "--out", str(out)], check=True)
    example = runpy.run_path(str(EXAMPLE))
    torch.manual_seed(0)
    alone = example["Model"](getattr(torch.nn, cell)(3, 16, batch_first=True))
    example["train"](alone, 0, 1)
    found = torch.load(out)
    assert list(found) == list(alone.state_dict())
    for key, weight in alone.state_dict().items():
        torch.testing.assert_close(found[key], weight, rtol=1e-5, atol=1e-6)
