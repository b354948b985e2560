# SPDX-License-Identifier: Apache-2.0
"""sb3-contrib's RecurrentPPO on CartPole without velocities, as its documentation shows it. It knows nothing of elman.

Out: JSON with actions' means on fixed observations after training, and the CPU seconds of training.
"""

import json
import time

import gymnasium
import numpy as np
import torch
from sb3_contrib import RecurrentPPO


class WithoutVelocities(gymnasium.ObservationWrapper):
    def __init__(self, env):
        super().__init__(env)
        low, high = env.observation_space.low[[0, 2]], env.observation_space.high[[0, 2]]
        self.observation_space = gymnasium.spaces.Box(low, high)

    def observation(self, observation):
        return observation[[0, 2]]


model = RecurrentPPO(
    "MlpLstmPolicy",
    WithoutVelocities(gymnasium.make("CartPole-v1")),
    n_steps=256,
    batch_size=128,
    policy_kwargs={"lstm_hidden_size": 64},
    seed=0,
    device="cpu",
)
begin = time.process_time()
model.learn(1024)
seconds = time.process_time() - begin
observations = np.random.default_rng(0).normal(size=(20, 2)).astype("float32") / 10
values = []
with torch.no_grad():
    states = None
    for observation in observations:
        action, states = model.predict(observation, states, deterministic=True)
        values += [float(state.mean()) for state in states]
print(json.dumps({"parts": {"sb3-contrib, RecurrentPPO, 1,024 steps": {"numbers": values, "seconds": seconds}}}))
