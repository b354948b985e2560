# SPDX-License-Identifier: Apache-2.0
"""The candidate `transformer`: a small encoder in PyTorch, where that is installed. One layer with four heads.

In: a fold, a choice and a seed. Out: a `Model`. A forecast is the standardized change from the last value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from elman.comparison import classifiers, forecast, sequences
from elman.comparison.model import Array, Choice, Model, Unfit

_HEADS, _DROPOUT, _BATCH, _NORM = 4, 0.1, 64, 1.0
_STEPS, _PATIENCE, _LEAST_EPOCHS = 1_500, 300, 5  # of training, at most, and without a smaller validation loss


def forecaster(fold: forecast.Fold, choice: Choice, seed: int) -> Model:
    """Forecasts from the window."""
    windows = fold.windows
    scale = windows.of_outputs(fold.std)
    first, held_out = windows.starts["train"], windows.measured(windows.starts["validation"])
    if not len(held_out):
        raise Unfit("the values to validate by were filled")
    starts = np.concatenate([first, held_out])
    train, validation = np.split(np.arange(len(starts)), [len(first)])

    def inputs(some: Array) -> Array:
        return ((windows.inputs(some) - fold.mean) / fold.std).astype("float32")

    changes = ((windows.targets(starts) - windows.last(starts)) / scale).astype("float32")
    found = _fitted(inputs(starts), None, 0, changes, windows.ahead, (train, validation), choice, seed)
    predict, size, about, loss = found
    return Model(lambda some: windows.last(some) + scale * predict(inputs(some), None), size, None, about, None, loss)


def classifier(fold: sequences.Fold, choice: Choice, seed: int) -> Model:
    """Probabilities of the classes."""
    data = fold.data
    inputs = classifiers.standardized(fold) if data.codes is None else data.codes
    mask = data.mask if data.codes is None else data.codes > 0
    classes, symbols = len(data.classes), 0 if data.codes is None else data.symbols + 1
    found = _fitted(inputs, mask, symbols, data.y, classes, (fold.train, fold.validation), choice, seed)
    predict, size, about, loss = found

    def shares(some: Array) -> Array:
        scores = predict(inputs[some], None if mask is None else mask[some])
        scores = np.exp(scores - scores.max(1, keepdims=True))
        return scores / scores.sum(1, keepdims=True)

    return Model(shares, size, None, about, None, loss)


def _fitted(
    x: Array,
    mask: Array | None,
    symbols: int,
    y: Array,
    outputs: int,
    parts: tuple[Array, Array],
    choice: Choice,
    seed: int,
) -> tuple[Callable[[Array, Array | None], Array], int, dict[str, Any], float]:
    """Trains an encoder; returns a function of inputs and their mask, parameters, facts, and the validation loss."""
    import torch

    with _alone(seed):
        net = _encoder(x, symbols, outputs, choice.units)
        measure = torch.nn.functional.cross_entropy if y.dtype.kind == "i" else torch.nn.functional.mse_loss
        optimizer = torch.optim.Adam(net.parameters(), choice.learning_rate)
        train, validation = parts
        rng = np.random.default_rng(seed)
        each = -(-len(train) // _BATCH)
        best, least, waited, epochs = None, np.inf, 0, 0
        while epochs < max(_LEAST_EPOCHS, _STEPS // each) and waited < max(_LEAST_EPOCHS, _PATIENCE // each):
            net.train()
            order = rng.permutation(train)
            for first in range(0, len(order), _BATCH):
                some = order[first : first + _BATCH]
                optimizer.zero_grad()
                measure(_run(net, x[some], None if mask is None else mask[some]), torch.as_tensor(y[some])).backward()
                torch.nn.utils.clip_grad_norm_(net.parameters(), _NORM)
                optimizer.step()
            net.eval()
            with torch.no_grad():
                held = _run(net, x[validation], None if mask is None else mask[validation])
                loss = float(measure(held, torch.as_tensor(y[validation])))
            epochs, waited = epochs + 1, waited + 1
            if loss < least:
                least, waited = loss, 0
                best = {name: value.clone() for name, value in net.state_dict().items()}
        if best is not None:
            net.load_state_dict(best)
        net.eval()

    def predict(inputs: Array, valid: Array | None) -> Array:
        with torch.no_grad():
            return _run(net, inputs, valid).numpy().astype("float64")

    size = sum(value.numel() for value in net.parameters())
    return predict, size, {"width": net.width, "learning_rate": choice.learning_rate, "epochs": epochs}, least


@contextmanager
def _alone(seed: int) -> Iterator[None]:
    """A seed, and one thread, so that sums do not depend on their number; both as before afterwards."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(threads)


def _encoder(x: Array, symbols: int, outputs: int, units: int) -> Any:
    """The modules: inputs to vectors, positions, one encoder layer, and the last step to the outputs."""
    import torch

    width = max(_HEADS, units // _HEADS * _HEADS)
    net = torch.nn.Module()
    net.width = width
    net.first = torch.nn.Embedding(symbols, width) if symbols else torch.nn.Linear(x.shape[2], width)
    net.positions = torch.nn.Parameter(0.02 * torch.randn(x.shape[1], width))
    net.layer = torch.nn.TransformerEncoderLayer(width, _HEADS, 2 * width, _DROPOUT, batch_first=True, norm_first=True)
    net.last = torch.nn.Linear(width, outputs)
    return net


def _run(net: Any, x: Array, mask: Array | None) -> Any:
    import torch

    hidden = net.first(torch.as_tensor(x)) + net.positions
    padding = None if mask is None else torch.as_tensor(~mask)
    return net.last(net.layer(hidden, src_key_padding_mask=padding)[:, -1])
