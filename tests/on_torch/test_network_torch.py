# SPDX-License-Identifier: Apache-2.0
"""`Network.from_torch` against the module that it was made of: random modules, what it is made of, and
what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import elman.torch
import size
from elman.network import GRU, LSTM, Concat, Dense, Dropout, Last, Network, Reverse, SimpleRNN
from elman.stream import Stream

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


def statistics(norm):
    """A BatchNorm1d that has seen data."""
    with torch.no_grad():
        for tensor in (norm.running_mean, norm.running_var, *norm.parameters()):
            tensor.uniform_(0.5, 2.0)
    return norm


def head_and_states(m, x):
    y, (h, c) = m.rnn(x)
    return m.head(y), (h, c)


def normalized(m, x):
    return m.norm(m.rnn(x)[0].transpose(1, 2)).relu().permute(0, 2, 1)


HELD = {
    "outputs and states": Program(lambda m, x: m.rnn(x), rnn=rnn()),
    "a head and states": Program(head_and_states, rnn=rnn(), head=nn.Linear(4, 2)),
    "a list with h alone": Program(
        lambda m, x: [m.rnn(x)[0][:, -1], m.rnn(x)[1][0]], rnn=nn.LSTM(3, 4, batch_first=True)
    ),
    "the last steps": Program(lambda m, x: m.head(m.rnn(x)[0][:, -2:].flatten(1)), rnn=rnn(), head=nn.Linear(8, 2)),
    "the last step of one": Program(lambda m, x: m.rnn(x)[0][:, -1:, :].reshape(x.size(0), -1), rnn=rnn()),
    "steps of a head": Program(lambda m, x: m.head(m.rnn(x)[0])[:, -3:].squeeze(-1), rnn=rnn(), head=nn.Linear(4, 1)),
    "a head of steps": Program(lambda m, x: m.head(m.rnn(x)[0][:, -3:]).squeeze(2), rnn=rnn(), head=nn.Linear(4, 1)),
    "all steps": Program(
        lambda m, x: m.head(m.flat(m.rnn(x)[0])), rnn=rnn(), flat=nn.Flatten(), head=nn.Linear(5 * 4, 2)
    ),
    "all steps of two": Program(
        lambda m, x: m.head(m.rnn(x)[0].relu().contiguous().view(x.shape[0], -1)) + m.skip(torch.flatten(x, 1)),
        rnn=rnn(),
        head=nn.Linear(5 * 4, 2),
        skip=nn.Linear(5 * 3, 2),
    ),
    "a norm of a vector": Program(
        lambda m, x: m.norm(m.rnn(x)[0][:, -1]), rnn=rnn(), norm=statistics(nn.BatchNorm1d(4))
    ),
    "a norm of steps": Program(normalized, rnn=rnn(), norm=statistics(nn.BatchNorm1d(4))),
    "norms without weights": Program(
        lambda m, x: m.norm(m.rnn(m.norm_x(x.transpose(1, 2)).transpose(1, 2))[0][:, -1]),
        rnn=rnn(),
        norm=nn.BatchNorm1d(4, affine=False),
        norm_x=statistics(nn.BatchNorm1d(3)),
    ),
    "flat vectors": nn.Sequential(statistics(nn.BatchNorm1d(3)), nn.Linear(3, 4), nn.Flatten()),
}


@pytest.mark.parametrize("words", HELD)
def test_a_program_that_a_network_holds(words):
    network, rng = Network.from_torch(HELD[words]), np.random.default_rng(0)
    x = rng.normal(size=(2, 3) if words == "flat vectors" else (2, 5, 3)).astype("float32")
    expected = HELD[words].eval()(torch.from_numpy(x))
    expected = expected[0] if isinstance(expected, tuple | list) else expected
    np.testing.assert_allclose(network(x), expected.detach().numpy(), rtol=1e-5, atol=1e-5)


REFUSED = {
    "proj_size=2": Program(lambda m, x: m.rnn(x)[0], rnn=rnn(proj_size=2)),
    "'conv' (nn.Conv1d)": Program(lambda m, x: m.conv(x), conv=nn.Conv1d(3, 3, 1)),
    "'mean' in forward": Program(lambda m, x: m.rnn(x)[0].mean(1), rnn=rnn()),
    "returns more than one tensor": Program(lambda m, x: (m.rnn(x)[0], m.rnn(x)[0]), rnn=rnn()),
    "returns a tensor of several steps": Program(lambda m, x: m.rnn(x)[0][:, -2:], rnn=rnn()),
    "returns a tensor with the features before": Program(lambda m, x: m.rnn(x)[0].transpose(1, 2), rnn=rnn()),
    "it takes the last 2 steps": Program(lambda m, x: m.two(m.rnn(x)[0][:, -2:])[0], rnn=rnn(), two=nn.GRU(4, 4)),
    "gets all steps of 4 features": Program(
        lambda m, x: m.head(m.rnn(x)[0].flatten(1)), rnn=rnn(), head=nn.Linear(7, 1)
    ),
    "joins the axes 0 to -1": Program(lambda m, x: m.rnn(x)[0].flatten(), rnn=rnn()),
    "makes the shape (-1, 4)": Program(lambda m, x: m.rnn(x)[0].reshape(-1, 4), rnn=rnn()),
    "takes the time for features": Program(lambda m, x: m.norm(m.rnn(x)[0]), rnn=rnn(), norm=nn.BatchNorm1d(4)),
    "track_running_stats=False": Program(
        lambda m, x: m.norm(m.rnn(x)[0][:, -1]), rnn=rnn(), norm=nn.BatchNorm1d(4, track_running_stats=False)
    ),
    "it joins tensors of different steps": Program(lambda m, x: m.rnn(x)[0][:, -2:] + m.rnn(x)[0], rnn=rnn()),
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


def test_a_stream_of_a_module():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    x = torch.randn(9, 3)
    np.testing.assert_allclose(Stream(module).run(x.numpy()), module(x).detach().numpy(), atol=1e-6)
    for own in (nn, elman.torch):
        module = own.LSTM(3, 5, num_layers=2, batch_first=True)
        got = Stream(module).run(x.numpy())
        np.testing.assert_allclose(got, module(x[None])[0][0].detach().numpy(), atol=1e-6)
