"""The comparison runner, the demo and the command."""

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import trapezoid
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from typer.testing import CliRunner

import skvaball
from skvaball import ActiveLearner, cli
from skvaball.experiments import Split, area_under_curve, compare_strategies, curve_areas, demo
from skvaball.selectors import MarginSelector, RandomSelector


def _split(seed):
    X, y = load_digits(return_X_y=True)
    rows = np.random.default_rng(seed).permutation(400)
    return Split(X[rows[:200]], y[rows[:200]], X[rows[200:]], y[rows[200:]])


def _compare(n_jobs=None):
    learners = {
        "random": ActiveLearner(LogisticRegression(max_iter=200), RandomSelector()),
        "margin": ActiveLearner(LogisticRegression(max_iter=200), MarginSelector()),
    }
    runs = compare_strategies(
        learners,
        _split,
        [0, 1],
        batch_size=20,
        n_rounds=2,
        rare_classes=[3, 4],
        n_jobs=n_jobs,
    )
    return pd.DataFrame([entry for run in runs for entry in run])


def test_comparison_has_every_round_of_every_strategy_and_seed():
    results = _compare()
    assert len(results) == 2 * 2 * 3
    assert sorted(results["n_labeled"].unique()) == [20, 40, 60]
    assert results["rare_share"].between(0, 1).all()


def test_strategies_are_paired_by_seed():
    start = _compare().query("round == 0")
    by_seed = start.pivot(index="seed", columns="strategy", values="balanced_accuracy")
    assert (by_seed["random"] == by_seed["margin"]).all()
    assert by_seed["random"].nunique() == 2


def test_processes_give_the_same_results():
    columns = ["strategy", "seed", "round", "balanced_accuracy", "rare_share"]
    one, two = (_compare(n)[columns].sort_values(columns[:3], ignore_index=True) for n in (None, 2))
    pd.testing.assert_frame_equal(one, two)


def test_area_is_the_trapezoid_over_the_scaled_budget():
    n, values = np.array([10, 20, 50]), np.array([0.2, 0.6, 0.7])
    assert area_under_curve(n, values) == pytest.approx(trapezoid(values, n) / 40)
    assert area_under_curve(n, np.full(3, 0.4)) == pytest.approx(0.4)
    assert area_under_curve(n[:1], values[:1]) == 0.2


def test_areas_are_per_strategy_and_seed():
    results = _compare()
    areas = curve_areas(results)
    curve = results.query("strategy == 'margin' and seed == 1").sort_values("round")
    expected = area_under_curve(
        curve["n_labeled"].to_numpy(), curve["balanced_accuracy"].to_numpy()
    )
    assert areas.loc[1, "margin"] == expected
    assert list(areas.columns) == list(results["strategy"].unique())


def test_demo_digits_are_dominated_by_zero_and_tested_on_balanced_ones():
    split = demo.dominated_digits(0)
    counts = np.bincount(split.y_train)
    assert counts[0] > 4 * counts[1:].max()
    assert np.ptp(np.bincount(split.y_test)) <= 3


def test_table_has_mean_and_spread_of_each_round():
    results = _compare()
    table = cli.summary_table(results)
    assert [str(column.header) for column in table.columns] == ["labels", "random", "margin"]
    last = results.query("strategy == 'random' and n_labeled == 60")["balanced_accuracy"] * 100
    cell = list(table.columns[1].cells)[2]
    assert cell == f"{last.mean():.1f} ± {last.std():.1f}"


def test_demo_writes_a_table_and_a_picture(tmp_path, monkeypatch):
    learners = demo.demo_learners()
    monkeypatch.setattr(demo, "N_ROUNDS", 1)
    monkeypatch.setattr(
        demo, "demo_learners", lambda: {name: learners[name] for name in ("random", "margin")}
    )
    picture = tmp_path / "new" / "demo.png"
    result = CliRunner().invoke(
        cli.app, ["demo", "--seeds", "1", "--jobs", "1", "--output", str(picture)]
    )
    assert result.exit_code == 0, result.output
    assert "margin" in result.output
    assert "area" in result.output
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_demo_compares_the_four_strategies():
    assert list(demo.demo_learners()) == ["random", "entropy", "margin", "VaB-AL"]


def test_version_is_printed():
    result = CliRunner().invoke(cli.app, ["--version"])
    assert result.output == f"skvaball {skvaball.__version__}\n"


def test_an_error_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["skvaball", "demo", "--output", "/dev/null/no/demo.png"])
    monkeypatch.setattr(demo, "demo_learners", lambda: pytest.fail("ran before the check"))
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert "/dev/null" in str(stopped.value)
    assert "--debug" in str(stopped.value)
