"""The tables on which the claims rest: intervals by hand, and the same from a file of areas."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from experiment_runs import fast_protocol, run
from scipy import stats

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import write_comparison

RNG = np.random.default_rng(0)


def test_the_interval_of_one_sample_is_students():
    sample = RNG.normal(size=7)
    mean, half = write_comparison.mean_and_half_interval([sample])
    low, high = stats.ttest_1samp(sample, 0).confidence_interval()
    np.testing.assert_allclose([mean - half, mean + half], [low, high])


def test_the_interval_of_a_mean_of_samples_is_welchs():
    first, second = RNG.normal(size=5), RNG.normal(scale=3, size=9)
    mean, half = write_comparison.mean_and_half_interval([first, second])
    # The difference of first and minus second is twice the mean.
    low, high = stats.ttest_ind(first, -second, equal_var=False).confidence_interval()
    np.testing.assert_allclose([mean - half, mean + half], [low / 2, high / 2])


def test_only_seeds_of_both_count_and_what_has_no_interval_shows_none():
    areas = pd.DataFrame({"a": [3.0, 2.0, np.nan], "b": [1.0, np.nan, 1.0]})
    assert write_comparison.differences(areas, "a", "b").tolist() == [2.0]
    assert write_comparison.comparison([areas], "a", "b") == ["+2.00 (1)", ""]
    assert write_comparison.way_to_the_oracle(areas, "a") == ""


@pytest.mark.parametrize("strategy", ["margin", "entropy", "oracle"])
def test_a_file_of_areas_stands_in_for_a_store(strategy, tmp_path, monkeypatch, capsys):
    store, areas = tmp_path / "r.db", tmp_path / "areas.csv"
    run(fast_protocol(tmp_path), ["random", "margin", "entropy", "oracle"], [0, 1], store)

    def tables(*arguments):
        monkeypatch.setattr("sys.argv", ["write_comparison.py", *map(str, arguments)])
        write_comparison.main()
        return capsys.readouterr().out

    assert tables(store, "--areas", areas) == ""
    assert len(pd.read_csv(areas)) == 8
    told = tables(areas, "--strategy", strategy)
    assert told == tables(store, "--strategy", strategy)
    assert "| minus random |" in told
