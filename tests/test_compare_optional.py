# SPDX-License-Identifier: Apache-2.0
"""The candidates of elman.compare that need a package of their own: the transformer, and MiniROCKET."""

import numpy as np
import pytest

from elman.comparison import attention, candidates, forecast, labelled, sequences
from elman.comparison.asked import Asked
from elman.comparison.model import Choice, Unfit
from elman.comparison.tasks import given
from size import by_size

RNG = np.random.default_rng(0)


def waves(count=60, steps=24):
    """Waves of two lengths, with noise."""
    y = np.arange(count) % 2
    phase = RNG.uniform(0, 6, (count, 1))
    x = np.sin(phase + np.arange(steps) / np.where(y, 1.5, 3.0)[:, None]) + 0.1 * RNG.normal(size=(count, steps))
    return x[:, :, None], y


def fitted(name, task, fold, seed=0):
    return candidates.BY_NAME[name].fits[task](fold, Choice(), seed)


@pytest.mark.medium
@pytest.mark.needs("torch")
def test_the_transformer_forecasts_and_repeats_itself(monkeypatch):
    values = np.sin(np.arange(300) / 3) + 0.05 * RNG.normal(size=300)
    fold = given(values, Asked(window=8)).problem.folds[-1]
    model = fitted("transformer", "forecast", fold)
    last = forecast.Fold.truth(fold) - fold.windows.last(fold.held_out)
    assert np.sqrt(((model.predict(fold.held_out) - fold.truth()) ** 2).mean()) < 0.7 * np.sqrt((last**2).mean())
    assert model.header_bytes is None
    monkeypatch.setattr(attention, "_STEPS", by_size(50, 50, attention._STEPS))
    first, second = (fitted("transformer", "forecast", fold).predict(fold.held_out) for _ in range(2))
    assert (first == second).all()


@pytest.mark.large
@pytest.mark.needs("torch")
def test_the_transformer_takes_categories_of_any_length():
    parts = [RNG.integers(0, 2, length) for length in RNG.integers(3, 7, 80)]
    y = np.array([part[-1] for part in parts])
    codes, mask = sequences.padded([part + 1 for part in parts], "int64")
    data = sequences.Sequences(None, codes, mask, y, ["0", "1"], np.arange(80), 2)
    fold = sequences.stratified(data, 4, 0)[0]
    found = fitted("transformer", "classify", fold).predict(fold.test)
    assert found.sum(1) == pytest.approx(1)
    assert (found.argmax(1) == fold.truth()).mean() > 0.9


@pytest.mark.medium
@pytest.mark.needs("aeon")
def test_minirocket_tells_waves_apart_and_refuses_categories():
    fold = sequences.stratified(labelled.of_arrays(*waves()), 3, 0)[0]
    assert (fitted("MiniROCKET", "classify", fold).predict(fold.test).argmax(1) == fold.truth()).mean() > 0.9
    words = sequences.stratified(labelled.of_arrays(RNG.integers(0, 3, (40, 12)), np.arange(40) % 2), 3, 0)[0]
    with pytest.raises(Unfit, match="takes numbers"):
        fitted("MiniROCKET", "classify", words)
    short = sequences.stratified(labelled.of_arrays(RNG.normal(size=(40, 5, 1)), np.arange(40) % 2), 3, 0)[0]
    with pytest.raises(Unfit, match="9 steps"):
        fitted("MiniROCKET", "classify", short)
