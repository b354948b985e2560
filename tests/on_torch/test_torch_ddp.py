# SPDX-License-Identifier: Apache-2.0
"""Two processes train one module of elman.torch under DistributedDataParallel, on the CPU by gloo. The weights
are those of one process that trains torch.nn's module on the whole batch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import elman.torch

TRAIN = """
import sys
import torch
import torch.distributed as dist
import elman.torch

def data():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(8, 6, 3, generator=generator), torch.randn(8, 4, generator=generator)

def train(module, rows):
    x, y = data()
    optimizer = torch.optim.SGD(module.parameters(), 0.1)
    for _ in range(3):
        optimizer.zero_grad()
        h = module(x[rows])[0][:, -1]
        torch.nn.functional.mse_loss(h, y[rows]).backward()
        optimizer.step()
"""
PROCESS = f"""{TRAIN}
rank, name, meeting, out = int(sys.argv[1]), *sys.argv[2:]
dist.init_process_group("gloo", init_method=f"file://{{meeting}}", rank=rank, world_size=2)
torch.manual_seed(0)
module = getattr(elman.torch, name)(3, 4, batch_first=True, native="require")
train(torch.nn.parallel.DistributedDataParallel(module), slice(4 * rank, 4 * rank + 4))
torch.save(module.state_dict(), f"{{out}}.{{rank}}")
dist.destroy_process_group()
"""


@pytest.mark.large
@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_two_processes_train_as_one(name, tmp_path):
    commands = [
        [
            sys.executable,
            "-W",
            "ignore",
            "-c",
            PROCESS,
            str(rank),
            name,
            str(tmp_path / "meeting"),
            str(tmp_path / "out"),
        ]
        for rank in (0, 1)
    ]
    processes = [subprocess.Popen(command) for command in commands]
    assert [process.wait() for process in processes] == [0, 0]
    torch.manual_seed(0)
    alone = getattr(torch.nn, name)(3, 4, batch_first=True)
    names: dict = {}
    exec(TRAIN, names)
    names["train"](alone, slice(None))
    for rank in (0, 1):
        found = torch.load(Path(f"{tmp_path / 'out'}.{rank}"))
        for key, weight in alone.state_dict().items():
            torch.testing.assert_close(found[key], weight, rtol=1e-5, atol=1e-6)
    assert list(found) == list(getattr(elman.torch, name)(3, 4).state_dict())
