# SPDX-License-Identifier: Apache-2.0
"""PyTorch's DistributedDataParallel, by gloo, over several processes.

    python examples/distributed/torch_ddp.py 2

Each process has a copy of the module and runs the native recurrence on its own rows; gloo sums the gradients while the
backward runs. With `torchrun` the processes may be on several machines.
"""

import argparse
import tempfile
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import elman.torch


class Model(nn.Module):
    def __init__(self, recurrent):
        super().__init__()
        self.recurrent = recurrent
        self.dense = nn.Linear(16, 1)

    def forward(self, x):
        return self.dense(self.recurrent(x)[0][:, -1])


def train(model, rank, processes):
    """Three epochs on the rows of one process."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x = torch.randn(256, 20, 3, generator=torch.Generator().manual_seed(0))
    y = x[:, -3:, 0].sum(dim=1, keepdim=True)
    own = 64 // processes  # rows of each batch
    for first in 3 * list(range(0, 256, 64)):
        rows = slice(first + rank * own, first + (rank + 1) * own)
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x[rows]), y[rows])
        loss.backward()
        optimizer.step()
    return loss.detach()


def process(rank, processes, cell, meeting, out):
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=processes)
    torch.manual_seed(0)
    model = Model(getattr(elman.torch, cell)(3, 16, batch_first=True, native="require"))
    loss = train(DistributedDataParallel(model), rank, processes) / processes
    dist.all_reduce(loss)
    if rank == 0:
        print(f"{processes} processes, loss {loss.item():.4f}")
        if out is not None:
            torch.save(model.state_dict(), out)
    dist.destroy_process_group()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("processes", type=int, nargs="?", default=2)
    parser.add_argument("--cell", default="GRU", choices=["RNN", "LSTM", "GRU"])
    parser.add_argument("--out", help="a file for the trained weights")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        meeting = str(Path(folder) / "meeting")
        arguments = (given.processes, given.cell, meeting, given.out)
        torch.multiprocessing.spawn(process, arguments, nprocs=given.processes)


if __name__ == "__main__":
    main()
