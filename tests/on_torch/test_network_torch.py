# SPDX-License-Identifier: Apache-2.0
"""`Network.from_torch` against the module that it was made of: random modules, what it is made of, and
what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import size
from elman.network import GRU, LSTM, Concat, Dense, Dropout, Last, Network, Reverse, SimpleRNN

CASES = size.by_size(30, 200, 3000)
ACTIVATIONS = (nn.Tanh, nn.ReLU, nn.Sigmoid, nn.Hardsigmoid, nn.Softplus, nn.ELU, nn.Identity)


class Random(nn.Module):
    """A recurrent stack with layers before and after it; how its results are used is drawn too."""

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__()
        pick = lambda *values: values[int(rng.integers(len(values)))]  # noqa: E731
        features, units, self.batch_first = int(rng.integers(1, 4)), int(rng.integers(1, 5)), pick(True, False)
        self.words = nn.Embedding(9, features) if pick(True, False, False) else None
        self.before = nn.Sequential(nn.Linear(features, features), pick(*ACTIVATIONS)()) if pick(True, False) else None
        kind = pick(nn.RNN, nn.LSTM, nn.GRU)
        own = {"nonlinearity": pick("tanh", "relu")} if kind is nn.RNN else {}
        self.rnn = kind(
            features,
            units,
            num_layers=pick(1, 2, 3),
            bias=pick(True, True, False),
            bidirectional=pick(True, False),
            batch_first=self.batch_first,
            **own,
        )
        self.use = pick("all", "last step", "last state", "both", "zeros")
        width = units * (2 if self.rnn.bidirectional and self.use != "last state" else 1)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 3)
        self.skip = nn.Linear(features, 3) if self.use in ("all", "last step") and pick(True, False) else None
        self.features, self.softmax = features, pick(True, False)

    def forward(self, x: Any, unused: Any = None) -> Any:
        x = x if self.words is None else self.words(x)
        y = x if self.before is None else self.before(x)
        if self.use == "zeros":
            shape = (self.rnn.num_layers * (2 if self.rnn.bidirectional else 1), x.size(0 if self.batch_first else 1))
            h = torch.zeros(*shape, self.rnn.hidden_size, dtype=self.head.weight.dtype, device=x.device)
            out, _ = self.rnn(y, (h, h) if isinstance(self.rnn, nn.LSTM) else h)
        else:
            out, h = self.rnn(y)
            h = h[0] if isinstance(self.rnn, nn.LSTM) else h
        last = (lambda z: z[:, -1]) if self.batch_first else (lambda z: z[-1])
        if self.use == "last state":
            z = h[-1]
        elif self.use == "both":
            z = torch.cat((h[-2], h[-1]), dim=1) if self.rnn.bidirectional else h[-1]
        else:
            z = out if self.use == "all" else last(out)
        z = self.head(torch.tanh(self.norm(z)))
        if self.skip is not None:
            z = z + self.skip(x if self.use == "all" else last(x))
        return z.softmax(-1) if self.softmax else z


@pytest.mark.parametrize("seed", range(CASES))
def test_a_random_module(seed):
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    module = Random(rng).double() if seed % 2 else Random(rng)
    network = Network.from_torch(module)
    assert module.training
    assert network.dtype == (np.float64 if seed % 2 else np.float32)
    value = rng.integers(0, 9, (2, 5)) if module.words is not None else rng.normal(size=(2, 5, module.features))
    x = torch.from_numpy(value if module.words is not None else value.astype(network.dtype))
    expected = module(x if module.batch_first else x.transpose(0, 1)).detach()
    if expected.ndim == 3 and not module.batch_first:
        expected = expected.transpose(0, 1)
    limit = 1e-10 if seed % 2 else 1e-5
    np.testing.assert_allclose(network(value), expected.numpy(), rtol=limit, atol=limit)


def test_what_it_is_made_of():
    class Sentiment(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(3, 4, num_layers=2, batch_first=True, bidirectional=True, dropout=0.2)
            self.head = nn.Sequential(nn.Dropout(0.5), nn.Linear(8, 1))

        def forward(self, x):
            _, (h, _) = self.lstm(x)
            return self.head(torch.cat([h[-2], h[-1]], dim=-1))

    both = Concat([LSTM(4, return_sequences=True), [LSTM(4, return_sequences=True, go_backwards=True), Reverse()]])
    final = Concat([LSTM(4), LSTM(4, go_backwards=True)])
    expected = Network([both, Dropout(0.2), final, Dropout(0.5), Dense(1)])
    assert Network.from_torch(Sentiment()).layers == expected.layers


def test_a_module_by_itself_and_the_last_step():
    assert repr(Network.from_torch(nn.GRU(3, 4))) == repr(Network([GRU(4, return_sequences=True)]))

    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = nn.RNN(3, 4), nn.Linear(4, 4)

        def forward(self, x):
            out, h = self.rnn(x)
            return self.head(out[-1]) + h.squeeze(0)

    network = Network.from_torch(Both())
    assert repr(network.layers) == repr(
        Network([SimpleRNN(4, return_sequences=True), _sum([Last(), Dense(4)], Last())]).layers
    )


def _sum(*branches):
    from elman.network import Sum

    return Sum(branches)


class Program(nn.Module):
    """Modules, and a function of them and the input."""

    def __init__(self, run, **modules):
        super().__init__()
        self.run = run
        for name, module in modules.items():
            setattr(self, name, module)

    def forward(self, x):
        return self.run(self, x)


def rnn(**options):
    return nn.LSTM(3, 4, batch_first=True, **options)


REFUSED = {
    "proj_size=2": Program(lambda m, x: m.rnn(x)[0], rnn=rnn(proj_size=2)),
    "'conv' (nn.Conv1d)": Program(lambda m, x: m.conv(x), conv=nn.Conv1d(3, 3, 1)),
    "'mean' in forward": Program(lambda m, x: m.rnn(x)[0].mean(1), rnn=rnn()),
    "returns more than one tensor": Program(lambda m, x: m.rnn(x)[0:1], rnn=rnn()),
    "rnn.weight_ih_l0: it is in two places": Program(lambda m, x: m.rnn(x)[0] + m.rnn(x + x)[0], rnn=rnn()),
    "expected one of h, such as h[-1]": Program(lambda m, x: m.rnn(x)[1][1][-1], rnn=rnn()),
    "starts from a state that the program computes": Program(
        lambda m, x: m.rnn(x, (torch.ones(1, 3, 4), torch.zeros(1, 3, 4)))[0], rnn=rnn()
    ),
    "cannot trace the forward": Program(lambda m, x: m.rnn(x)[0] if x.sum() > 0 else x, rnn=rnn()),
    "it takes a constant": Program(lambda m, x: m.rnn(x)[0] + 1.0, rnn=rnn()),
    "it takes (slice(None, None, None), 0)": Program(lambda m, x: m.rnn(x)[0][:, 0], rnn=rnn()),
    "batch_first=False": Program(lambda m, x: m.two(m.rnn(x)[0])[0], rnn=rnn(), two=nn.GRU(4, 4)),
    "beta=2": Program(lambda m, x: m.plus(m.rnn(x)[0]), rnn=rnn(), plus=nn.Softplus(2)),
    "acts on axis 1": Program(lambda m, x: m.rnn(x)[0].softmax(1), rnn=rnn()),
    "called with": Program(lambda m, x: torch.add(m.rnn(x)[0], x, alpha=2), rnn=nn.LSTM(3, 3)),
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_a_network_cannot_hold_is_named(words):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the words are asserted below
        Network.from_torch(REFUSED[words])
    assert words in str(caught.value)


def test_other_arguments():
    with pytest.raises(TypeError, match="got OrderedDict"):
        Network.from_torch(nn.GRU(2, 2).state_dict())
    with pytest.raises(ValueError, match="dtype bfloat16"):
        Network.from_torch(nn.Sequential(nn.Linear(2, 2)).bfloat16())
