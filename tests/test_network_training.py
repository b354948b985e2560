# SPDX-License-Identifier: Apache-2.0
"""`Network.fit`: losses and their gradients, the optimizer's formula, the order of examples, checkpoints."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from elman.errors import DataError
from elman.network import (
    GRU,
    LSTM,
    Activation,
    Batch,
    Concat,
    Dense,
    Dropout,
    LayerNorm,
    Network,
    Progress,
    Reverse,
    SimpleRNN,
    losses,
    optimizers,
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 6, 3)).astype("float32")
Y = X[:, -3:].sum(axis=1)[:, :2]


def network(**options):
    return Network([GRU(5, dropout=0.1), Dropout(0.1), Dense(2)], input_shape=(None, 3), **options)


# --- losses ----------------------------------------------------------------------------------------------------------


def problem(name, rng):
    if name == "binary_crossentropy":
        return rng.uniform(0.05, 0.95, (4, 3)), rng.integers(0, 2, (4, 3)).astype("float64")
    if name == "sparse_categorical_crossentropy":
        p = rng.uniform(0.1, 1, (4, 3))
        return p / p.sum(axis=-1, keepdims=True), rng.integers(0, 3, 4)
    return rng.normal(size=(4, 3)), rng.normal(size=(4, 3))


def value_and_gradient(loss, y, target, weight=None, mask=None):
    batch = losses.BatchLoss(losses.named(loss), y.shape, y.dtype)
    return batch(y, target, weight, mask), batch.gradient


WRONG_LOSSES = [
    (lambda: losses.huber(-1), "delta of the huber loss is -1; expected a positive number. Pass losses"),
    (lambda: losses.huber(math.nan), "delta of the huber loss is nan; expected"),
    (lambda: losses.Loss("huber"), "delta of the huber loss is 0.0; expected"),
    (lambda: losses.quantile(7), "share of the quantile loss is 7; expected a number between 0 and 1. Pass losses"),
    (lambda: losses.quantile("half"), "share of the quantile loss is 'half'; expected"),
    (lambda: losses.Loss("mse", 2), "parameter of the loss mse is 2; expected 0: it has none. Leave it out"),
    (lambda: losses.Loss("x"), "loss is 'x'; expected one of mse, mae"),
    (lambda: losses.named("hubber"), "loss is 'hubber'; Did you mean 'huber'"),
    (lambda: losses.named(None), "loss is None; expected one of mse, mae"),
]


@pytest.mark.parametrize(("make", "message"), WRONG_LOSSES)
def test_a_loss_that_cannot_be_is_refused(make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


class Gathered:
    """Examples that are not in an array of their own: `fit` sees a batch at a time."""

    def __init__(self, y):
        self.y = y

    def __len__(self):
        return len(self.y)

    def batch(self, indices):
        return Batch(X[indices], self.y[indices])


@pytest.mark.parametrize("wrong", [3, -1, 1.5, math.nan])
@pytest.mark.parametrize("where", ["training", "validation", "source"])
def test_targets_that_are_not_classes_are_refused_before_training(wrong, where):
    net = Network([SimpleRNN(2), Dense(3, "softmax")], input_shape=(None, 3))
    before, y = net.flat.copy(), np.array([0, 2, wrong])
    given = {"x": X[:3], "y": y}
    if where == "validation":
        given = {"x": X[:3], "y": np.zeros(3), "validation_data": (X[:3], y)}
    elif where == "source":
        given = {"x": Gathered(y), "y": None}
    message = f"a target is {wrong}; expected the number of a class, 0 to 2. Number the classes from 0."
    with pytest.raises(ValueError, match=re.escape(message)):
        net.fit(**given, loss="sparse_categorical_crossentropy")
    assert np.array_equal(net.flat, before)


@pytest.mark.parametrize("name", losses.LOSSES)
@pytest.mark.parametrize("weighted", [False, True])
def test_the_gradient_of_a_loss(name, weighted):
    rng = np.random.default_rng(1)
    y, target = problem(name, rng)
    weight = rng.uniform(0.5, 2, 4) if weighted else None
    _, gradient = value_and_gradient(name, y, target, weight)
    for i in np.ndindex(y.shape):
        ends = []
        for moved in (1e-6, -1e-6):
            changed = y.copy()
            changed[i] += moved
            ends.append(value_and_gradient(name, changed, target, weight)[0])
        assert (ends[0] - ends[1]) / 2e-6 == pytest.approx(gradient[i], rel=1e-6, abs=1e-9)


def test_values_of_the_losses():
    y, target = np.array([[1.0], [2.0]]), np.array([[0.0], [4.0]])
    value = {name: value_and_gradient(name, y, target)[0] for name in ("mse", "mae", "huber")}
    assert value == {"mse": 2.5, "mae": 1.5, "huber": 1.0}
    assert value_and_gradient(losses.quantile(0.9), y, target)[0] == pytest.approx((0.1 + 1.8) / 2)
    p = np.array([[0.25, 0.75]])
    found = value_and_gradient("sparse_categorical_crossentropy", p, np.array([1]))[0]
    assert found == pytest.approx(-math.log(0.75))
    assert value_and_gradient("binary_crossentropy", p, p.round())[0] == pytest.approx(-math.log(0.75))


def test_a_mask_leaves_the_mean_over_valid_steps():
    y, target = RNG.normal(size=(2, 3, 1)), RNG.normal(size=(2, 3, 1))
    mask = np.array([[True, False, False], [True, True, False]])
    value, gradient = value_and_gradient("mse", y, target, mask=mask)
    assert value == pytest.approx(((y - target)[mask] ** 2).mean())
    assert not gradient[~mask].any()


# --- training --------------------------------------------------------------------------------------------------------


def test_adam_takes_the_steps_of_its_formula():
    weights, rng = np.array([1.0, -2.0]), np.random.default_rng(2)
    adam = optimizers.Adam(2, np.dtype("float64"), 0.1)
    w, m, v = weights.copy(), np.zeros(2), np.zeros(2)
    for t in range(1, 6):
        g = rng.normal(size=2)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        w = w - 0.1 * math.sqrt(1 - 0.999**t) / (1 - 0.9**t) * m / (np.sqrt(v) + 1e-7)
        adam.step(weights, g)
    np.testing.assert_allclose(weights, w, rtol=1e-12)


@pytest.mark.parametrize("norm", [5e30, 0.5])
def test_the_norm_is_clipped_without_overflow(norm):
    """Of a gradient above the limit, Adam sees the one of norm 1; of one below, the gradient itself."""
    gradient = np.array([0.6, 0.8], "float32") * np.float32(norm)
    adam, weights = optimizers.Adam(2, np.dtype("float32"), 0.1), np.zeros(2, "float32")
    adam.step(weights, gradient, clip_norm=1.0)
    np.testing.assert_allclose(adam.m, 0.1 * np.array([0.6, 0.8]) * min(norm, 1), rtol=1e-6)


def test_training_learns_and_says_how():
    net, seen = network(), []
    history = net.fit(X, Y, epochs=30, learning_rate=0.02, validation_data=(X[:10], Y[:10]), tell=seen.append)
    assert len(history.loss) == len(history.validation_loss) == 30
    assert history.loss[-1] < 0.5 * history.loss[0]
    assert history.best_epoch == 1 + int(np.argmin(history.validation_loss))
    assert len(seen) == 30 * 2
    assert seen[-1].epoch == 30
    assert isinstance(seen[0], Progress)
    value = np.square(net(X[:10]) - Y[:10]).mean()
    assert value == pytest.approx(min(history.validation_loss), rel=1e-5)


def test_the_same_seed_gives_the_same_bits():
    one, two, other = network(), network(), network()
    for net, seed in ((one, 3), (two, 3), (other, 4)):
        net.fit(X, Y, epochs=3, seed=seed)
    np.testing.assert_array_equal(one.flat, two.flat)
    assert not np.array_equal(one.flat, other.flat)


def test_a_step_does_not_depend_on_the_batches_before():
    """The generator of dropout is set for each epoch, so one that computed before trains alike."""
    one, two = network(), network()
    two.forward(X[:7])
    for net in (one, two):
        net.fit(X, Y, epochs=2)
    np.testing.assert_array_equal(one.flat, two.flat)


def test_patience_ends_training_and_keeps_the_best_weights():
    net = network()
    history = net.fit(
        X[:20], RNG.normal(size=(20, 2)), epochs=500, learning_rate=0.05, validation_data=(X[20:], Y[20:]), patience=6
    )
    assert len(history.loss) < 500
    assert len(history.loss) - history.best_epoch == 6


def test_a_step_that_the_mask_of_the_validation_data_leaves_out_does_not_count():
    net = Network([SimpleRNN(4, return_sequences=True), Dense(1)], input_shape=(None, 3))
    y, mask, weight = RNG.normal(size=(10, 6, 1)), np.arange(6) < RNG.integers(1, 6, (10, 1)), RNG.uniform(size=10)
    spoilt = [np.where(mask[..., None], array, 9.0) for array in (X[:10], y)]
    for given in (None, weight):
        found = [
            net.fit(X, X[..., :1], learning_rate=1e-9, validation_data=(*data, given, valid)).untrained_loss
            for data, valid in (((X[:10], y), mask), (spoilt, mask), (spoilt, None))
        ]
        assert found[0] == pytest.approx(found[1], rel=1e-6)  # rows that are left out change the order of a sum
        assert found[2] > 2 * found[0]
    squares = (net(X[:10]) - y)[..., 0] ** 2
    assert found[0] == pytest.approx((squares * weight[:, None])[mask].sum() / mask.sum(), rel=1e-4)


def test_weights_from_before_training_may_be_the_best():
    net = network()
    before = net.flat.copy()
    y = net(X)
    history = net.fit(X, Y, epochs=2, learning_rate=0.1, validation_data=(X, y))
    assert history.untrained_loss == 0
    assert history.best_epoch == 0
    np.testing.assert_array_equal(net.flat, before)


def test_stop_ends_training_after_an_epoch():
    answers = iter([False, True])
    history = network().fit(X, Y, epochs=5, stop=lambda: next(answers))
    assert (len(history.loss), history.stopped) == (2, True)
    assert len(history.seconds) == 2
    assert not network().fit(X, Y, epochs=1, stop=lambda: True).stopped  # it had ended


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("epoch", [1, 3, 5])
def test_a_checkpoint_resumes_to_the_same_bits(tmp_path, epoch):
    options = {"epochs": 6, "validation_data": (X[:20], Y[:20]), "patience": 4, "clip_norm": 1.0}
    whole = network()
    expected = whole.fit(X, Y, **options)

    def stop(progress):
        if progress.epoch > epoch and progress.step == 2:
            raise Interrupted

    path = tmp_path / "checkpoint"
    with pytest.raises(Interrupted):
        network().fit(X, Y, **options, tell=stop, checkpoint=path)
    resumed = network()
    history = resumed.fit(X, Y, **options, checkpoint=path)
    assert history.resumed == epoch
    assert (history.loss, history.validation_loss) == (expected.loss, expected.validation_loss)
    np.testing.assert_array_equal(resumed.flat, whole.flat)


def test_a_checkpoint_of_another_training_is_refused(tmp_path):
    path = tmp_path / "checkpoint"
    network().fit(X, Y, epochs=1, checkpoint=path)
    with pytest.raises(DataError, match="another network, data or options"):
        network().fit(X, Y, epochs=2, learning_rate=0.5, checkpoint=path)
    with pytest.raises(DataError, match="another network, data or options"):
        network().fit(X, Y, epochs=2, loss="mae", checkpoint=path)
    for other in ({"y": Y + 1}, {"sample_weight": np.ones(len(X))}, {"validation_data": (X, Y)}):
        with pytest.raises(DataError, match="another network, data or options"):
            network().fit(**{"x": X, "y": Y, "epochs": 2, "checkpoint": path, **other})
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match="damaged"):
        network().fit(X, Y, epochs=2, checkpoint=path)


class Windows:
    """Windows of a table that are gathered when they are wanted."""

    def __init__(self, rows, window):
        self.rows, self.window = rows, window

    def __len__(self):
        return len(self.rows) - self.window

    def batch(self, indices):
        return Batch(self.rows[indices[:, None] + np.arange(self.window)], self.rows[indices + self.window, :1])


def test_a_source_trains_as_arrays_do():
    rows = RNG.normal(size=(60, 3)).astype("float32")
    windows = Windows(rows, 5)
    every = windows.batch(np.arange(len(windows)))
    one, two = (Network([LSTM(4), Dense(1)], input_shape=(None, 3)) for _ in range(2))
    one.fit(windows, epochs=2)
    two.fit(every.x, every.y, epochs=2)
    np.testing.assert_array_equal(one.flat, two.flat)


def test_the_order_of_examples_depends_on_seed_and_epoch_alone():
    rows = RNG.normal(size=(60, 3)).astype("float32")

    class Watched(Windows):
        def batch(self, indices):
            seen.extend(indices.tolist())
            return super().batch(indices)

    orders = []
    for seed, epochs in ((0, 2), (1, 1), (0, 1)):
        seen: list[int] = []
        Network([SimpleRNN(2), Dense(1)], input_shape=(None, 3)).fit(Watched(rows, 5), epochs=epochs, seed=seed)
        orders += [seen[1:][i : i + 55] for i in range(0, 55 * epochs, 55)]  # the first one is a check
    assert all(sorted(order) == list(range(55)) for order in orders)
    assert orders[0] == orders[3]
    assert orders[0] not in orders[1:3]
    assert orders[1] != orders[2]


def test_a_weight_of_zero_is_an_example_left_out():
    one, two = (Network([SimpleRNN(4), Dense(2)], input_shape=(None, 3), dtype="float64") for _ in range(2))
    weight = np.array([1.0] * 10 + [0.0] * 10)
    one.fit(X[:20], Y[:20], sample_weight=weight, batch_size=20, shuffle=False)
    two.fit(X[:10], Y[:10], batch_size=10, shuffle=False)
    np.testing.assert_allclose(2 * one.gradient, two.gradient, rtol=1e-9)  # the mean is over 20 examples


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"loss": "msé"}, "loss is 'msé'"),
        ({"optimizer": "sgd"}, "optimizer is 'sgd'"),
        ({"epochs": 0}, "epochs is 0; expected a positive integer"),
        ({"learning_rate": -1}, "learning_rate is -1"),
        ({"patience": 3}, "patience needs validation_data"),
        ({"sample_weight": [1.0]}, "x has 50 examples, and sample_weight has 1"),
        ({"sample_weight": np.ones((50, 6))}, r"sample_weight has shape \(batch, 6\), .* expected \(batch,\)"),
        ({"validation_data": X}, r"validation_data got ndarray; expected \(x, y\)"),
        ({"validation_data": (X,)}, "validation_data got 1 of them"),
        ({"validation_data": (X, Y, None, None, None)}, r"got 5 of them; expected .* \(x, y, sample_weight, mask\)"),
        ({"validation_data": (X, Y, None, np.ones((50, 5)))}, r"mask has shape \(50, 5\); expected \(batch, time\)"),
    ],
)
def test_what_fit_refuses(options, words):
    with pytest.raises((ValueError, TypeError), match=words):
        network().fit(X, Y, **options)


@pytest.mark.parametrize("y", [Y[:, 0], Y[:40], np.zeros((50, 6, 2)), np.array([["a", "b"]] * 50)])
def test_targets_that_do_not_fit(y):
    net = network()
    before = net.flat.copy()
    with pytest.raises(ValueError, match="y has"):
        net.fit(X, y)
    np.testing.assert_array_equal(net.flat, before)


# --- bits and memory -------------------------------------------------------------------------------------------------

TRAIN = """
import hashlib
import numpy as np
from elman.network import Dense, Dropout, Network, SimpleRNN
rng = np.random.default_rng(0)
for outputs, units, batch in ((1, 64, 256), (16, 128, 300)):
    net = Network([SimpleRNN(units, return_sequences=True, dropout=0.1), Dense(outputs)], input_shape=(None, 5))
    x, y = rng.normal(size=(2 * batch, 9, 5)), rng.normal(size=(2 * batch, 9, outputs))
    net.fit(x, y, batch_size=batch, epochs=1, clip_norm=1.0)
    print(hashlib.sha256(net.flat.tobytes()).hexdigest())
"""


def test_the_same_seed_gives_the_same_bits_for_any_number_of_threads():
    """NumPy's products differ between these settings, so none may be left in a step."""
    settings = [{"OPENBLAS_NUM_THREADS": blas, "ELMAN_NUM_THREADS": own} for blas, own in (("1", "1"), ("2", "4"))]
    running = [
        subprocess.Popen([sys.executable, "-c", TRAIN], env={**os.environ, **each}, stdout=subprocess.PIPE, text=True)
        for each in settings
    ]
    one, other = (process.communicate()[0] for process in running)
    assert len(one.split()) == 2
    assert one == other


def test_a_step_allocates_no_array_after_the_first():
    """Outputs, tapes, gradients and batches stay in the network's memory; small Python objects alone are made."""
    units, time, batch = 32, 40, 64
    options = {"return_sequences": True, "dropout": 0.1}
    both = Concat([LSTM(units, **options), [GRU(units, go_backwards=True, **options), Reverse()]])
    each = [LayerNorm(), Activation("hard_sigmoid"), Dense(units, "exponential"), Dropout(0.1)]
    net = Network([both, *each, SimpleRNN(units), Dense(4, "softmax")])
    x, y = RNG.normal(size=(3 * batch, time, 3)).astype("float32"), RNG.integers(0, 4, 3 * batch)
    options = {"loss": "sparse_categorical_crossentropy", "clip_norm": 1.0, "batch_size": batch}
    net.fit(x, y, **options)
    peaks = []

    def tell(progress):
        if progress.step > 1:
            peaks.append(tracemalloc.get_traced_memory()[1] - before[0])
        tracemalloc.reset_peak()
        before[0] = tracemalloc.get_traced_memory()[0]

    before = [0]
    tracemalloc.start()
    try:
        net.fit(x, y, tell=tell, **options)
    finally:
        tracemalloc.stop()
    assert len(peaks) == 2
    assert max(peaks) < batch * time * units  # a byte for each value of a sequence; NumPy's own buffers are smaller


def test_targets_of_another_size_are_refused():
    batch = losses.BatchLoss(losses.named("mse"), (4, 2), np.dtype("float32"))
    with pytest.raises(ValueError, match=r"the targets have shape \(4, 1\); expected \(4, 2\)"):
        batch(np.zeros((4, 2), "float32"), np.zeros((4, 1)), None, None)
    classes = losses.BatchLoss(losses.named("sparse_categorical_crossentropy"), (1, 3), np.dtype("float32"))
    with pytest.raises(ValueError, match=r"a target is 3; expected the number of a class, 0 to 2"):
        classes(np.ones((1, 3), "float32"), np.array([3]), None, None)
