# SPDX-License-Identifier: Apache-2.0
"""`elman.patch` and `elman.unpatch`, each in a process of its own, since they replace names for all."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import elman
elman.patch()
import torch
{first}
module = torch.nn.LSTM(4, 5)
module(torch.zeros(6, 3, 4))
assert type(module) is elman.torch.LSTM and module.route.path == "native"
assert isinstance(module, torch.nn.LSTM)
{second}
elman.unpatch()
assert torch.nn.LSTM is torch.nn.modules.rnn.LSTM
assert type(torch.nn.GRU(4, 5)).__module__.startswith("torch.")
"""


CONVERSION = """
for patched in (False, True, False):
    elman.patch() if patched else elman.unpatch()
    for module in (torch.nn.LSTM(4, 5), elman.torch.GRU(4, 5)):
        elman.Network.from_torch(module)
    if "keras" in sys.modules:
        layers = [keras.Input((6, 4)), keras.layers.LSTM(5), keras.layers.Dense(1)]
        network = elman.Network.from_keras(keras.Sequential(layers))
        kinds = {type(layer) for layer in network.to_keras().layers}
        assert not any(kind.__module__.startswith("elman") for kind in kinds), kinds
        elman.diagnose(keras.Sequential(layers), numpy.random.default_rng(0).normal(size=(64, 6, 4)).astype("float32"))
elman.patch()
"""


def run(first: str = "", second: str = "") -> None:
    code = PROGRAM.format(first=first, second=second)
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.medium
def test_names_of_torch_are_replaced_and_put_back_and_conversions_know_its_own_classes() -> None:
    run("import sys", CONVERSION)


def test_names_of_keras_too() -> None:
    run("import keras, numpy, sys", f"assert keras.layers.GRU is elman.GRU; elman.patch()\n{CONVERSION}")
