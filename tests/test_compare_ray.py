# SPDX-License-Identifier: Apache-2.0
"""elman.compare with its fits as tasks of Ray: the same figures as in one process, also where a worker is lost."""

import os

import pytest

import elman
from elman.comparison import candidates, forecasters
from elman.comparison.candidates import Candidate
from test_compare import autoregression, without_times

pytestmark = [pytest.mark.large, pytest.mark.needs("ray")]
ARGUMENTS = {"only": ["last value", "linear", "feedforward", "SimpleRNN"], "trials": 2, "seeds": 2}


@pytest.mark.filterwarnings("ignore")  # of Ray's own
def test_ray_finds_the_same_figures(tmp_path):
    here = elman.compare(autoregression(), out=tmp_path / "here", **ARGUMENTS)
    there = elman.compare(autoregression(), out=tmp_path / "there", ray="local", **ARGUMENTS)
    assert without_times(there.to_dict()) == without_times(here.to_dict())


@pytest.mark.filterwarnings("ignore")
def test_a_fit_whose_worker_is_lost_is_done_again(tmp_path, monkeypatch):
    mark = tmp_path / "lost"

    def dies_once(fold, choice, seed):
        if not mark.exists():
            mark.touch()
            os._exit(1)
        return forecasters.linear(fold, choice, seed)

    row = Candidate("linear", {"forecast": dies_once})
    monkeypatch.setitem(candidates.BY_NAME, "linear", row)
    monkeypatch.setattr(candidates, "CANDIDATES", (*candidates.CANDIDATES[:1], row))
    found = elman.compare(autoregression(), out=tmp_path / "run", ray="local", only=["last value", "linear"])
    assert found.recommended == "linear"
