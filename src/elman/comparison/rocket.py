# SPDX-License-Identifier: Apache-2.0
"""The candidate `MiniROCKET`: random convolutions and a ridge classifier, from aeon, where that is installed."""

from __future__ import annotations

import numpy as np

from elman.comparison.classifiers import standardized
from elman.comparison.model import Array, Choice, Model, Unfit
from elman.comparison.sequences import Fold

_LEAST_STEPS = 9  # of the convolutions


def rocket(fold: Fold, choice: Choice, seed: int) -> Model:
    """Dempster, Schmidt and Webb, "MiniRocket: a very fast (almost) deterministic transform", 2021.

    Raises:
        Unfit: If the sequences are of categories, or too short.
    """
    from aeon.classification.convolution_based import MiniRocketClassifier

    data = fold.data
    if data.x is None:
        raise Unfit("MiniROCKET takes numbers, and these are categories")
    if data.steps < _LEAST_STEPS:
        raise Unfit(f"MiniROCKET needs {_LEAST_STEPS} steps or more, and these are {data.steps}")
    inputs = np.ascontiguousarray(standardized(fold).transpose(0, 2, 1))  # channels before time
    known = np.concatenate([fold.train, fold.validation])
    model = MiniRocketClassifier(random_state=seed, n_jobs=1).fit(inputs[known], data.y[known])
    classes = np.asarray(model.classes_, int)

    def predict(some: Array) -> Array:
        found = np.zeros((len(some), len(data.classes)))
        found[:, classes] = model.predict_proba(inputs[some])
        return found

    kernels, ridge = 2, len(classes)  # numbers for each of its features: bias and place, and a weight for each class
    return Model(predict, model.n_kernels * (kernels + ridge), None, {"kernels": model.n_kernels})
