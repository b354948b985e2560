# SPDX-License-Identifier: Apache-2.0
"""A transformer of one block for two classes, in PyTorch, next to which a SimpleRNN is measured.

In: sequences of integers or of numbers, and classes. Out: the share of wrong answers on unseen ones.
"""

from __future__ import annotations

import threading

import numpy as np
import torch
from torch import nn

from elman.claims.tasks import Data
from elman.claims.training import BATCH

_WIDTH, _HEADS = 16, 2
_DRAWING = threading.Lock()  # PyTorch draws first weights from one generator for all threads


class _Transformer(nn.Module):
    """An embedding or a linear map of each step, places, one block of attention, the mean over time, two classes."""

    def __init__(self, steps: int, features: int, words: int) -> None:
        super().__init__()
        self.first = nn.Embedding(words, _WIDTH) if words else nn.Linear(features, _WIDTH)
        self.places = nn.Parameter(0.1 * torch.randn(steps, _WIDTH))
        self.block = nn.TransformerEncoderLayer(_WIDTH, _HEADS, 2 * _WIDTH, dropout=0.0, batch_first=True)
        self.last = nn.Linear(_WIDTH, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, time[, features]) -> (batch, 2)."""
        return self.last(self.block(self.first(x) + self.places).mean(dim=1))


def wrong(seen: Data, unseen: Data, *, steps: int, seed: int, learning_rate: float = 0.003) -> float:
    """Trains with Adam and returns the share of wrong answers.

    Args:
        seen: Examples to learn from.
        unseen: Examples to judge by.
        steps: Updates.
        seed: Of the weights and of the order of the examples.
        learning_rate: Size of a step.
    """
    integers = seen.x.dtype.kind == "i"
    words = int(max(seen.x.max(), unseen.x.max())) + 1 if integers else 0
    with _DRAWING, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _Transformer(seen.x.shape[1], seen.x.shape[-1], words)
    x, y = torch.from_numpy(seen.x), torch.from_numpy(seen.y)
    optimizer, rng = torch.optim.Adam(model.parameters(), learning_rate), np.random.default_rng(seed)
    for _ in range(steps):
        chosen = torch.from_numpy(rng.integers(0, len(x), BATCH))
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[chosen]), y[chosen]).backward()
        optimizer.step()
    with torch.no_grad():
        return float((model(torch.from_numpy(unseen.x)).argmax(dim=1).numpy() != unseen.y).mean())
