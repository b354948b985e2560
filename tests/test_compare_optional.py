# SPDX-License-Identifier: Apache-2.0
"""The candidates of elman.compare that need a package of their own: the transformer, MiniROCKET, and Chronos."""

import sys
import types

import numpy as np
import polars as pl
import pytest

import elman
from elman.comparison import attention, candidates, forecast, labelled, sequences, zero_shot
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


class Repeating:
    """A stand-in for the pipeline of Chronos, which repeats the last value."""

    inner_model = types.SimpleNamespace(parameters=lambda: iter([types.SimpleNamespace(numel=lambda: 6)]))

    @classmethod
    def from_pretrained(cls, name, device_map, local_files_only):
        assert (device_map, local_files_only) == ("cpu", True)
        if name == "nowhere":
            raise OSError("offline")
        cls.lengths = []
        return cls()

    def predict_quantiles(self, series, ahead, quantile_levels):
        self.lengths.extend(len(each) for each in series)
        mean = np.array([np.repeat(np.asarray(each)[-1], ahead) for each in series])
        return mean[:, :, None], mean


@pytest.fixture
def chronos(monkeypatch):
    """The stand-in, in place of the package and, for tensors, of torch."""
    torch = types.SimpleNamespace(manual_seed=lambda seed: None, from_numpy=lambda array: array)
    monkeypatch.setitem(sys.modules, "chronos", types.SimpleNamespace(BaseChronosPipeline=Repeating))
    monkeypatch.setitem(sys.modules, "torch", torch)


def test_the_zero_shot_forecaster_reads_the_rows_before_a_window_ends(chronos):
    table = pl.DataFrame({"y": RNG.normal(size=400), "shop": np.repeat(["a", "b"], 200)})
    fold = given(table, Asked(target="y", group="shop", window=8, ahead=3)).problem.folds[-1]
    model = zero_shot.zero_shot(fold, Choice(), 0)
    assert (model.predict(fold.held_out) == fold.windows.last(fold.held_out)).all()
    assert max(Repeating.lengths) <= 200  # of one series
    assert min(Repeating.lengths) > 8
    assert (model.parameters, model.header_bytes) == (6, None)


def test_weights_that_are_not_here_are_not_downloaded(chronos, monkeypatch):
    monkeypatch.setenv(zero_shot.WEIGHTS, "nowhere")
    fold = given(RNG.normal(size=300), Asked(window=8)).problem.folds[-1]
    with pytest.raises(Unfit, match="the weights of nowhere are not on this machine"):
        zero_shot.zero_shot(fold, Choice(), 0)


@pytest.mark.large
@pytest.mark.needs("chronos", "torch")
@pytest.mark.filterwarnings("ignore")  # of the package's own
def test_chronos_itself_forecasts(tmp_path, monkeypatch):
    """A small one with random weights."""
    from chronos.chronos_bolt import ChronosBoltModelForForecasting
    from transformers import T5Config

    own = {
        "context_length": 64, "prediction_length": 8, "input_patch_size": 8, "input_patch_stride": 8,
        "quantiles": [0.1, 0.5, 0.9], "use_reg_token": True,
    }  # fmt: skip
    config = T5Config(d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, vocab_size=2, chronos_config=own)
    config.decoder_start_token_id = config.pad_token_id = 0
    config.chronos_pipeline_class = "ChronosBoltPipeline"
    config.architectures = ["ChronosBoltModelForForecasting"]
    ChronosBoltModelForForecasting(config).save_pretrained(tmp_path / "weights")
    monkeypatch.setenv(zero_shot.WEIGHTS, str(tmp_path / "weights"))
    only = ["last value", "zero-shot"]
    found = elman.compare(np.sin(np.arange(300) / 3), only=only, ahead=3, out=tmp_path / "run")
    (row,) = (row for row in found.rows if row["name"] == "zero-shot")
    assert row["status"] == "compared", row
    assert row["parameters"] > 1000
