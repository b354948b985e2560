# SPDX-License-Identifier: Apache-2.0
"""One small network that elman itself trains, with NumPy alone: `Network`, its layers and combinators.

A row of the layer table is a class; `LAYERS` has them all by name. In: arrays. Out: arrays. No framework.
"""

from elman.network.combine import Concat, Sum
from elman.network.dense import Activation, Dense, Dropout, LayerNorm, Normalize, Rescale
from elman.network.network import Network
from elman.network.recurrent import GRU, LSTM, SimpleRNN
from elman.network.sequences import Embedding, Flatten, Last, Latest, Mask, Reverse
from elman.network.training import Batch, History, Progress, Source

LAYERS = {
    row.__name__: row
    for row in (
        SimpleRNN,
        LSTM,
        GRU,
        Dense,
        Activation,
        Embedding,
        Normalize,
        Rescale,
        LayerNorm,
        Dropout,
        Mask,
        Flatten,
        Latest,
        Last,
        Reverse,
    )
}
COMBINATORS = {each.__name__: each for each in (Sum, Concat)}

__all__ = [
    "COMBINATORS", "GRU", "LAYERS", "LSTM", "Activation", "Batch", "Concat", "Dense", "Dropout", "Embedding", "Flatten",
    "History", "Last", "Latest", "LayerNorm", "Mask", "Network", "Normalize", "Progress", "Rescale", "Reverse",
    "SimpleRNN", "Source", "Sum",
]  # fmt: skip
