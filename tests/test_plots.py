"""Displays: what is drawn equals what a reader would compute by hand."""

import subprocess
import sys

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from skvaball.plots import BudgetCurveDisplay, ClassBalanceDisplay
from skvaball.plots._bands import PALETTE

DISPLAYS = [
    (BudgetCurveDisplay, "balanced_accuracy"),
    (ClassBalanceDisplay, "rare_share"),
]


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def table(values, column="balanced_accuracy", strategy="random"):
    """Tidy results from an array of shape (n_seeds, n_rounds), with 100 labels per round."""
    return pd.DataFrame(
        [
            {"strategy": strategy, "seed": seed, "n_labeled": 100 * (i + 1), column: value}
            for seed, row in enumerate(values)
            for i, value in enumerate(row)
        ]
    )


def band_edges(band):
    """Lower and upper edge of a band, at its abscissas."""
    vertices = np.concatenate([path.vertices for path in band.get_paths()])
    abscissas = np.unique(vertices[:, 0])
    at = [vertices[vertices[:, 0] == x, 1] for x in abscissas]
    return abscissas, np.array([v.min() for v in at]), np.array([v.max() for v in at])


@pytest.mark.parametrize(("display", "column"), DISPLAYS)
def test_line_is_the_mean_and_band_one_standard_error(display, column):
    values = np.array([[0.1, 0.4, 0.9], [0.2, 0.6, 0.7], [0.6, 0.5, 0.8]])
    # Neither the order of the rows nor that of the rounds matters.
    shown = display.from_results(table(values, column).sample(frac=1, random_state=0))
    (line,), (band,) = shown.lines_, shown.bands_
    mean = [0.9 / 3, 1.5 / 3, 2.4 / 3]
    error = [np.std(values[:, i], ddof=1) / np.sqrt(3) for i in range(3)]
    np.testing.assert_array_equal(line.get_xdata(), [100, 200, 300])
    np.testing.assert_allclose(line.get_ydata(), mean)
    abscissas, low, high = band_edges(band)
    np.testing.assert_array_equal(abscissas, [100, 200, 300])
    np.testing.assert_allclose(low, np.subtract(mean, error))
    np.testing.assert_allclose(high, np.add(mean, error))


@pytest.mark.parametrize(("display", "column"), DISPLAYS)
def test_one_seed_has_no_band(display, column):
    both = pd.concat(
        [
            table([[0.1, 0.2]], column, "once"),
            table([[0.1, 0.2], [0.2, 0.3]], column, "twice"),
        ]
    )
    shown = display.from_results(both)
    assert shown.bands_[0] is None
    assert shown.bands_[1] is not None
    assert len(shown.ax_.collections) == 1


@pytest.mark.parametrize(("display", "column"), DISPLAYS)
def test_one_line_per_strategy_in_order_of_appearance(display, column):
    names = ["vab", "random", "entropy"]
    results = pd.concat([table([[0.1 * i, 0.2]], column, name) for i, name in enumerate(names)])
    shown = display.from_results(results)
    assert [line.get_label() for line in shown.lines_] == names
    assert [text.get_text() for text in shown.ax_.get_legend().get_texts()] == names
    assert [to_hex(line.get_color()) for line in shown.lines_] == [c.lower() for c in PALETTE[:3]]
    assert shown.ax_.get_xlabel() == "Number of labeled samples"
    assert shown.figure_ is shown.ax_.figure


def test_many_strategies_all_look_different():
    results = pd.concat([table([[0.1, 0.2]], strategy=f"s{i}") for i in range(21)])
    looks = {
        (line.get_color(), line.get_marker(), line.get_linestyle())
        for line in BudgetCurveDisplay.from_results(results).lines_
    }
    assert len(looks) == 21


def test_metric_names_the_axis():
    results = table([[0.1, 0.2]]).assign(macro_recall=[0.3, 0.4])
    assert BudgetCurveDisplay.from_results(results).ax_.get_ylabel() == "Balanced accuracy"
    shown = BudgetCurveDisplay.from_results(results, metric="macro_recall")
    assert shown.ax_.get_ylabel() == "Macro recall"
    assert shown.lines_[0].get_ydata().tolist() == [0.3, 0.4]


@pytest.mark.parametrize(("display", "column"), DISPLAYS)
def test_given_axes_are_used_and_keywords_reach_matplotlib(display, column):
    _, axes = plt.subplots(1, 2)
    results = table([[0.1, 0.2], [0.2, 0.3]], column)
    shown = display(results).plot(
        axes[1], legend=False, line_kw={"linewidth": 3}, band_kw={"alpha": 0.5}
    )
    assert shown.ax_ is axes[1]
    assert not axes[0].lines
    assert axes[1].get_legend() is None
    assert shown.lines_[0].get_linewidth() == 3
    assert shown.bands_[0].get_alpha() == 0.5


@pytest.mark.parametrize(("display", "column"), DISPLAYS)
def test_legend_lies_beside_the_axes_and_inside_the_figure(display, column):
    shown = display.from_results(table([[0.1, 0.2]], column))
    shown.figure_.draw_without_rendering()
    legend = shown.ax_.get_legend().get_window_extent()
    assert legend.x0 > shown.ax_.get_window_extent().x1
    assert legend.x1 <= shown.figure_.bbox.x1


def test_missing_values_are_left_out():
    results = pd.concat(
        [
            table([[0.1, 0.2], [0.3, np.nan]], strategy="vab"),
            table([[np.nan, np.nan]], strategy="random"),
        ]
    )
    shown = BudgetCurveDisplay.from_results(results)
    (line,) = shown.lines_
    np.testing.assert_allclose(line.get_ydata(), [0.2, 0.2])


def test_reference_is_the_share_in_the_pool():
    results = table([[0.1, 0.2]], "rare_share")
    shown = ClassBalanceDisplay.from_results(results, ["cat", 3], reference=0.25)
    assert list(shown.reference_.get_ydata()) == [0.25, 0.25]
    assert shown.reference_.get_linestyle() == "--"
    texts = [text.get_text() for text in shown.ax_.get_legend().get_texts()]
    assert texts == ["random", "share in the pool"]
    assert shown.ax_.get_ylabel() == "Share of rare classes in the labeled set\n(cat, 3)"
    assert shown.ax_.get_ylim()[0] == 0
    assert ClassBalanceDisplay.from_results(results).reference_ is None
    with pytest.raises(ValueError, match="reference=25 is not a share"):
        ClassBalanceDisplay.from_results(results, reference=25)


@pytest.mark.parametrize(("display", "column"), DISPLAYS)
def test_errors_name_columns_and_rows(display, column):
    results = table([[0.1, 0.2]], column)
    with pytest.raises(ValueError, match=rf"lacks the columns \['seed', '{column}'\].*'n_labeled'"):
        display.from_results(results.drop(columns=["seed", column]))
    with pytest.raises(ValueError, match=rf"no value in the column '{column}'"):
        display.from_results(results.iloc[:0])
    with pytest.raises(ValueError, match=r"several rows for .*'n_labeled': 100"):
        display.from_results(pd.concat([results, results]))


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r'pip install "skvaball\[cli\]"'):
        BudgetCurveDisplay.from_results(table([[0.1, 0.2]]))


def test_importing_the_displays_does_not_import_matplotlib():
    code = "import sys, skvaball.plots; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
