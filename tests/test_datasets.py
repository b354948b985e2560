# SPDX-License-Identifier: Apache-2.0
"""The recordings that ship: each is there, passes the checks of fit with its facts, and names its source."""

import polars as pl
import pytest

from elman import datasets
from elman.forecasting import reading
from elman.forecasting.settings import Settings
from elman.forecasting.source import open_table


@pytest.mark.parametrize("name", datasets.names())
def test_a_recording_fits_its_facts(name):
    facts = datasets.DATASETS[name]
    known = datasets.arguments(name)
    assert pl.read_parquet(known["table"]).null_count().sum_horizontal().item() == 0
    read = reading.read(open_table(known["table"]), Settings(target=facts.target, time=facts.time))
    assert facts.time is None or read.chosen.time == facts.time
    assert all((facts.title, facts.source, facts.licence, facts.citation, facts.changes))
    said = " ".join(datasets.described(name))
    assert facts.licence in said
    assert facts.source in said


def test_every_file_has_facts_and_a_wrong_name_is_refused():
    folder = datasets.arguments(datasets.names()[0])["table"].parent
    assert sorted(path.stem for path in folder.glob("*.parquet")) == sorted(datasets.names())
    with pytest.raises(ValueError, match="Did you mean 'walk'"):
        datasets.arguments("wlak")
