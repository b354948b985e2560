# SPDX-License-Identifier: Apache-2.0
"""elman.sklearn: scikit-learn's own checks of an estimator, and the estimators in its tools."""

import numpy as np
import pytest

pytestmark = pytest.mark.needs("sklearn")
SERIES = np.sin(np.arange(260) / 4)


def estimators():
    import elman

    return [elman.sklearn.Forecaster(epochs=80, random_state=0), elman.sklearn.Classifier(epochs=60, random_state=0)]


@pytest.mark.medium
@pytest.mark.parametrize("kind", [0, 1])
def test_the_checks_of_scikit_learn(kind):
    from sklearn.utils.estimator_checks import check_estimator

    results = check_estimator(estimators()[kind], on_skip=None, on_fail="raise")
    assert {result["status"] for result in results} <= {"passed", "skipped"}


def test_a_forecaster_works_in_cross_validation_and_in_a_pipeline():
    from sklearn.model_selection import TimeSeriesSplit, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    import elman

    windows = np.lib.stride_tricks.sliding_window_view(SERIES[:-1], 8)
    model = make_pipeline(StandardScaler(), elman.sklearn.Forecaster("GRU", 8, epochs=40, random_state=0))
    scores = cross_val_score(model, windows, SERIES[8:], cv=TimeSeriesSplit(2))
    assert scores.min() > 0.9


def test_several_steps_ahead_and_an_early_end():
    import elman

    windows = np.lib.stride_tricks.sliding_window_view(SERIES, 10)
    model = elman.sklearn.Forecaster(
        units=8, epochs=60, validation_fraction=0.2, n_iter_no_change=2, random_state=0
    ).fit(windows[:, :8, None], windows[:, 8:])
    assert model.predict(windows[:5, :8, None]).shape == (5, 2)
    assert model.n_iter_ <= 60
    again = elman.sklearn.Forecaster(**model.get_params()).fit(windows[:, :8, None], windows[:, 8:])
    assert (again.predict(windows[:, :8, None]) == model.predict(windows[:, :8, None])).all()


def test_a_classifier_returns_the_users_classes():
    import elman

    x = np.random.default_rng(0).normal(size=(120, 4, 2))
    y = np.where(x[:, -1, 0] > 0, "up", "down")
    model = elman.sklearn.Classifier("LSTM", 8, epochs=60, learning_rate=0.01, random_state=0).fit(x, y)
    assert model.score(x, y) > 0.9
    assert model.predict_proba(x).sum(1) == pytest.approx(1)
    with pytest.raises(ValueError, match="one class"):
        elman.sklearn.Classifier().fit(x, np.zeros(120, int))
    with pytest.raises(ValueError, match="cell is 'RNN'"):
        elman.sklearn.Classifier("RNN").fit(x, y)
