# SPDX-License-Identifier: Apache-2.0
"""Training with Keras on TensorFlow, elman's layer and Keras's own, the latter also with XLA."""

from __future__ import annotations

from elman.bench import on_tensorflow
from elman.bench.train_with_keras import subjects

STEPS = 16  # of one call of a compiled function
facts = on_tensorflow.facts
_plain = subjects("tensorflow", steps_per_execution=STEPS, jit_compile=False)
_jitted = subjects("tensorflow", steps_per_execution=STEPS, jit_compile=True)
BUILD = {**_plain, "keras on tensorflow, jit": _jitted["keras on tensorflow"]}
