"""Displays: what is drawn equals what a reader would compute by hand."""

import io
import itertools
import subprocess
import sys

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.image import imsave
from matplotlib.text import Text
from scipy import stats

from skvaball.experiments.statistics import friedman_ranks, paired_differences, penalty_matrix
from skvaball.plots import (
    AutoencoderTrainingDisplay,
    BudgetCurveDisplay,
    ClassAccuracyDisplay,
    ClassBalanceDisplay,
    ClassTermsDisplay,
    CriticalDifferenceDisplay,
    GalleryDisplay,
    PairedDifferenceDisplay,
    ParameterCurveDisplay,
    PenaltyMatrixDisplay,
    QueryTimeDisplay,
    ScoreHistogramDisplay,
    strategy_styles,
)
from skvaball.plots._styles import PALETTE

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
    first, grey, second = (to_hex(line.get_color()) for line in shown.lines_)
    assert [first, second] == [c.lower() for c in PALETTE[:2]]
    assert len({grey[1:3], grey[3:5], grey[5:]}) == 1  # random is a reference
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


@pytest.mark.parametrize(("display", "column"), DISPLAYS)
def test_band_can_be_the_t_interval_of_the_mean(display, column):
    values = np.array([[0.1, 0.4], [0.2, 0.6], [0.6, 0.5]])
    (band,) = display.from_results(table(values, column), band="ci").bands_
    _, low, high = band_edges(band)
    for i in range(2):
        interval = stats.ttest_1samp(values[:, i], 0).confidence_interval(0.95)
        assert (low[i], high[i]) == pytest.approx((interval.low, interval.high))
    with pytest.raises(ValueError, match=r"band='sd' is unknown. Expected one of \['ci', 'se'\]"):
        display.from_results(table(values, column), band="sd")


@pytest.mark.parametrize(("display", "column"), DISPLAYS)
def test_full_pool_is_no_curve(display, column):
    full = pd.DataFrame({"strategy": "full", "seed": [0, 1], "n_labeled": 9999, column: [0.8, 0.9]})
    shown = display.from_results(pd.concat([table([[0.1, 0.2]], column), full]))
    assert [line.get_label() for line in shown.lines_] == ["random"]
    assert shown.ax_.get_xlim()[1] < 300
    if display is BudgetCurveDisplay:
        assert list(shown.full_.get_ydata()) == pytest.approx([0.85, 0.85])
        assert "full pool" in [text.get_text() for text in shown.ax_.get_legend().get_texts()]
        assert display.from_results(table([[0.1, 0.2]], column)).full_ is None


def test_references_use_up_no_colour_and_lie_on_top():
    styles = strategy_styles(["random", "entropy", "oracle", "vab", "full"])
    assert [styles[name]["color"] for name in ("entropy", "vab")] == list(PALETTE[:2])
    assert len({str(styles[name]["linestyle"]) for name in styles}) == 3
    assert styles["random"]["linestyle"] != styles["oracle"]["linestyle"]
    results = pd.concat([table([[0.1, 0.2]], strategy=name) for name in ("random", "entropy")])
    random, entropy = BudgetCurveDisplay.from_results(results).lines_
    assert random.get_zorder() > entropy.get_zorder()


def with_details(names=("random", "vab", "entropy"), n_seeds=3, n_rounds=3):
    """Results with all that some display draws; the numbers follow from seed and round."""
    rows = []
    for k, name in enumerate(names):
        for seed, i in itertools.product(range(n_seeds), range(n_rounds)):
            rows.append(
                {
                    "strategy": name,
                    "seed": seed,
                    "n_labeled": 100 * (i + 1),
                    "balanced_accuracy": 0.5 + 0.1 * i + 0.01 * seed + 0.02 * k * i * (seed + 1),
                    "recalls": [0.9, 0.1 * (i + 1) + 0.01 * seed],
                    "class_counts": [80 * (i + 1), 20 * (i + 1) + seed],
                    "query_time": 0.0 if i == 0 else 10.0 ** (k - 1) * (i + seed),
                }
            )
    return pd.DataFrame(rows)


def draw_with_styles(styles):
    """Colours that each display of several strategies gives to "vab" and "entropy"."""
    results = with_details()
    settings = results.drop_duplicates(["strategy", "seed"]).assign(lam=1.0)
    values = pd.DataFrame({"random": [1.0, 2, 1], "vab": [2, 3, 2], "entropy": [3, 4, 3]})
    lines = {
        "curve": BudgetCurveDisplay.from_results(results, styles=styles).lines_,
        "class": ClassAccuracyDisplay.from_results(results, 1, styles=styles).lines_,
        "query": QueryTimeDisplay.from_results(results, styles=styles).medians_,
        "difference": PairedDifferenceDisplay.from_results(results, styles=styles).means_,
        "parameter": ParameterCurveDisplay.from_results(
            settings, "lam", "balanced_accuracy", styles=styles
        ).lines_,
    }
    colors = {
        kind: {line.get_label(): to_hex(line.get_color()) for line in drawn}
        for kind, drawn in lines.items()
    }
    ranked = CriticalDifferenceDisplay.from_results(values, styles=styles)
    colors["ranks"] = {
        text.get_text().split("(")[0].strip() or text.get_text().split(")")[1].strip(): to_hex(
            text.get_color()
        )
        for text in ranked.labels_
    }
    return colors


def test_a_strategy_keeps_its_colour_in_all_displays():
    styles = strategy_styles(["badge", "random", "vab", "margin", "entropy"])
    for kind, colors in draw_with_styles(styles).items():
        assert colors["vab"] == PALETTE[1].lower(), kind
        assert colors["entropy"] == PALETTE[3].lower(), kind


def test_styles_must_cover_the_strategies():
    with pytest.raises(ValueError, match=r"styles has no entry for \['vab'\].*strategy_styles"):
        BudgetCurveDisplay.from_results(
            with_details(), styles=strategy_styles(["random", "entropy"])
        )


def test_class_accuracy_is_drawn_against_the_labels_of_the_class():
    shown = ClassAccuracyDisplay.from_results(with_details(["vab"]), 1, "cat")
    (line,) = shown.lines_
    np.testing.assert_allclose(line.get_xdata(), [21, 41, 61])  # means over the seeds
    np.testing.assert_allclose(line.get_ydata(), [0.11, 0.21, 0.31])
    assert shown.ax_.get_title() == "cat"
    assert shown.ax_.get_xlabel() == "Labels of the class"
    with pytest.raises(ValueError, match="class_index=2, but results has 2 classes"):
        ClassAccuracyDisplay.from_results(with_details(), 2)
    unmeasured = with_details().assign(recalls=[[0.5, np.nan]] * 27)
    with pytest.raises(ValueError, match="no recall of class 1"):
        ClassAccuracyDisplay.from_results(unmeasured, 1)


def test_query_times_have_median_and_range_without_the_start():
    shown = QueryTimeDisplay.from_results(with_details())
    # Rounds 1 and 2 of the seeds 0 to 2: 1, 2, 2, 3, 3, 4 times 0.1, 1 and 10 seconds.
    assert [p.get_xdata()[0] for p in shown.medians_] == pytest.approx([0.25, 2.5, 25])
    for i, line in enumerate(shown.ranges_):
        assert list(line.get_xdata()) == pytest.approx([10.0 ** (i - 1), 4 * 10.0 ** (i - 1)])
    names = [tick.get_text() for tick in shown.ax_.get_yticklabels()]
    assert names == ["random", "vab", "entropy"]
    assert shown.ax_.get_xscale() == "log"
    assert shown.ax_.yaxis_inverted()
    with pytest.raises(ValueError, match="no query_time after the start"):
        QueryTimeDisplay.from_results(with_details(n_rounds=1))


def test_paired_differences_are_drawn_with_their_intervals():
    results = with_details(n_seeds=5)
    shown = PairedDifferenceDisplay.from_results(results)
    expected = paired_differences(results)
    assert [p.get_xdata()[0] for p in shown.means_] == pytest.approx(expected["mean"].tolist())
    for line, (low, high) in zip(
        shown.intervals_, expected[["low", "high"]].to_numpy(), strict=True
    ):
        assert list(line.get_xdata()) == pytest.approx([low, high])
    assert "random" in shown.ax_.get_xlabel()
    once = PairedDifferenceDisplay.from_results(with_details(n_seeds=1))
    assert once.intervals_ == [None, None]
    with pytest.raises(ValueError, match="No strategy shares a seed with 'random'"):
        PairedDifferenceDisplay(expected.assign(mean=np.nan)).plot()


def test_penalty_matrix_says_which_way_it_is_read():
    results = with_details(n_seeds=5)
    shown = PenaltyMatrixDisplay.from_results(results)
    matrix = penalty_matrix(results)
    names = list(matrix)
    assert [tick.get_text() for tick in shown.ax_.get_yticklabels()] == names
    assert [tick.get_text() for tick in shown.ax_.get_xticklabels()] == names
    assert shown.ax_.get_ylabel() == "strategy i is better"
    assert shown.ax_.get_xlabel() == "than strategy j"
    best, worst = names.index("entropy"), names.index("random")
    assert shown.text_[best, worst].get_text() == "1.00"  # row, column
    assert shown.text_[best, worst].get_position() == (worst, best)  # x, y
    assert shown.text_[worst, best].get_text() == "0.00"
    assert shown.text_[best, best] is None
    with pytest.raises(ValueError, match="other rows than columns"):
        PenaltyMatrixDisplay(matrix.iloc[::-1]).plot()


def test_critical_difference_bars_join_what_is_not_different():
    # Eight data sets on which a is best and c worst: only they differ from each other, or
    # b from neither; d has the ranks of c.
    values = pd.DataFrame({"a": [4.0] * 8, "b": [3.0] * 8, "c": [2.0] * 8, "d": [1.0] * 8})
    shown = CriticalDifferenceDisplay.from_results(values)
    result = friedman_ranks(values)
    bars = {frozenset(np.round(bar[0].get_xdata(), 6)) for bar in shown.crossbars_}
    ranks = result.ranks.round(6)
    for i, j in itertools.combinations(values, 2):
        joined = any({ranks[i], ranks[j]} <= bar for bar in bars)
        assert joined == (result.p_values.loc[i, j] >= 0.05)
    assert len(bars) == 3
    assert len(CriticalDifferenceDisplay.from_results(values, alpha=1e-4).crossbars_) == 2
    assert sorted(marker.get_offsets()[0][0] for marker in shown.markers_) == [1, 2, 3, 4]
    assert "1 is best" in shown.ax_.get_xlabel()


def test_parameter_curve_has_numbers_in_order_and_a_band():
    values = {0.1: [0.5, 0.7], 0.001: [0.3, 0.4], 0.01: [0.4, 0.4]}
    results = pd.DataFrame(
        [
            {"strategy": "vab", "seed": seed, "lam": lam, "area": area}
            for lam, areas in values.items()
            for seed, area in enumerate(areas)
        ]
    )
    shown = ParameterCurveDisplay.from_results(results, "lam", "area", levels={"random": 0.45})
    (line,), (level,) = shown.lines_, shown.levels_
    np.testing.assert_allclose(line.get_xdata(), [0.001, 0.01, 0.1])
    np.testing.assert_allclose(line.get_ydata(), [0.35, 0.4, 0.6])
    assert shown.ax_.get_xscale() == "log"
    assert [tick.get_text() for tick in shown.ax_.get_xticklabels()] == ["0.001", "0.01", "0.1"]
    assert list(level.get_ydata()) == [0.45, 0.45]
    assert level.get_label() == "random"
    _, low, high = band_edges(shown.bands_[0])
    np.testing.assert_allclose(low, [0.3, 0.4, 0.5])
    np.testing.assert_allclose(high, [0.4, 0.4, 0.7])


def test_levels_of_a_parameter_curve_can_be_told_apart():
    results = pd.DataFrame(
        [{"strategy": "vab", "seed": 0, "lam": lam, "area": lam} for lam in (0.1, 0.2)]
    )
    levels = {"entropy": 0.12, "margin": 0.15}
    shown = ParameterCurveDisplay.from_results(results, "lam", "area", levels=levels)
    entropy, margin = shown.levels_
    assert entropy.get_color() != margin.get_color()
    assert {line.get_linestyle() for line in shown.levels_} == {"--"}


def test_parameter_curve_sets_names_side_by_side():
    results = pd.DataFrame(
        {
            "strategy": "vab",
            "seed": [0] * 3,
            "activity": ["square", "abs", "sigmoid"],
            "area": [0.1, 0.2, 0.3],
        }
    )
    shown = ParameterCurveDisplay.from_results(results, "activity", "area")
    ticks = [tick.get_text() for tick in shown.ax_.get_xticklabels()]
    assert ticks == ["abs", "sigmoid", "square"]
    np.testing.assert_allclose(shown.lines_[0].get_ydata(), [0.2, 0.3, 0.1])
    flags = results.assign(activity=[True, False, "auto"])
    shown = ParameterCurveDisplay.from_results(flags, "activity", "area")
    ticks = [tick.get_text() for tick in shown.ax_.get_xticklabels()]
    assert ticks == ["False", "True", "auto"]
    objects = results.assign(activity=[{}, "balanced", [1, 2]])
    shown = ParameterCurveDisplay.from_results(objects, "activity", "area")
    ticks = [tick.get_text() for tick in shown.ax_.get_xticklabels()]
    assert ticks == ["[1, 2]", "balanced", "{}"]
    np.testing.assert_allclose(shown.lines_[0].get_ydata(), [0.3, 0.2, 0.1])


def gallery(n=3):
    png = io.BytesIO()
    imsave(png, np.random.default_rng(0).random((8, 8, 3)), format="png")
    return pd.DataFrame(
        {
            "rank": range(n),
            "png": [png.getvalue()] * n,
            "true_label": ["cat", "dog", "cow"][:n],
            "predicted_label": ["cat", "cat", "cat"][:n],
            "likelihood": [-123.456, -0.5, np.nan][:n],
            "difficulty": [0.5, 0.25, 1.0][:n],
            "prior": [0.1, 0.1, 0.1][:n],
            "score": [0.75, 0.5, 0.25][:n],
        }
    )


def test_gallery_has_labels_and_terms_by_rank():
    shown = GalleryDisplay.from_results(gallery().iloc[::-1], n_images=2)
    assert [ax.get_title() for ax in shown.axes_] == ["cat", "dog, not cat"]
    terms = shown.axes_[0].get_xlabel().split("\n")
    assert terms == [
        "log p(x|ŷ) = \N{MINUS SIGN}123",
        "p(y|ŷ) = 0.500",
        "p(ŷ) = 0.100",
        "score = 0.750",
    ]
    assert shown.axes_[0].images[0].get_array().shape[:2] == (8, 8)
    third = GalleryDisplay.from_results(gallery()).axes_[2]
    assert third.get_xlabel().startswith("log p(x|ŷ) = \N{EN DASH}\n")  # has no such term


def test_gallery_wants_one_query_and_an_axes_for_each_image():
    with pytest.raises(ValueError, match="several images of one rank"):
        GalleryDisplay.from_results(pd.concat([gallery(), gallery()]))
    with pytest.raises(ValueError, match="no image"):
        GalleryDisplay.from_results(gallery().iloc[:0])
    _, axes = plt.subplots(1, 2)
    with pytest.raises(ValueError, match="2 axes for 3 images"):
        GalleryDisplay.from_results(gallery(), ax=axes)
    assert GalleryDisplay(gallery(), 2).plot(axes).axes_ == list(axes)


def long_names(kind):
    """A display of eight strategies with names as long as they come."""
    names = ["random", "class-balanced", *(f"vab-joint-prior-{i}" for i in range(6))]
    results = with_details(names)
    settings = results.drop_duplicates(["strategy", "seed"])
    if kind is ClassAccuracyDisplay:
        return kind.from_results(results, 1, "a class")
    if kind is ParameterCurveDisplay:
        results = pd.concat([settings.assign(lam=lam) for lam in (0.005, 0.05, 0.5)])
        return kind.from_results(results, "lam", "balanced_accuracy")
    if kind is CriticalDifferenceDisplay:
        ranks = np.random.default_rng(0).random((5, len(names)))
        return kind.from_results(pd.DataFrame(ranks, columns=names))
    if kind is GalleryDisplay:
        return kind.from_results(gallery())
    if kind is AutoencoderTrainingDisplay:
        curves = dict.fromkeys(["train_loss", "reconstruction", "kl", "class_loss"], (3.0, 0.001))
        return kind({**curves, "agreement": [0.1, 0.99]}, chance=0.1).plot()
    if kind is ClassTermsDisplay:
        return kind(names, np.full(8, 0.9), np.full(8, 0.1)).plot()
    if kind is ScoreHistogramDisplay:
        return kind(np.random.default_rng(0).random(800), np.repeat(names, 100)).plot()
    if kind is ClassBalanceDisplay:
        return kind.from_results(results.assign(rare_share=0.5), reference=0.4)
    return kind.from_results(results)


@pytest.mark.parametrize(
    "kind",
    [
        AutoencoderTrainingDisplay,
        BudgetCurveDisplay,
        ClassAccuracyDisplay,
        ClassBalanceDisplay,
        ClassTermsDisplay,
        CriticalDifferenceDisplay,
        GalleryDisplay,
        PairedDifferenceDisplay,
        ParameterCurveDisplay,
        PenaltyMatrixDisplay,
        QueryTimeDisplay,
        ScoreHistogramDisplay,
    ],
)
def test_no_text_is_cut_off_or_overlaps_another(kind, monkeypatch):
    figure = long_names(kind).figure_
    drawn, draw = [], Text.draw
    monkeypatch.setattr(Text, "draw", lambda text, r: (drawn.append(text), draw(text, r)))
    figure.canvas.draw()
    # Not the slanted names of columns: the boxes around them overlap though they do not.
    texts = [t for t in dict.fromkeys(drawn) if t.get_visible() and t.get_rotation() != 45]
    texts = [text for text in texts if text.get_text().strip()]
    boxes = [text.get_window_extent().padded(-1) for text in texts]
    assert len(boxes) >= 4
    for box in boxes:
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1
    for (one, a), (other, b) in itertools.combinations(zip(texts, boxes, strict=True), 2):
        assert not a.overlaps(b), (one, other)


def test_drawn_on_given_axes_no_new_figure_is_made():
    results = with_details()
    settings = results.drop_duplicates(["strategy", "seed"]).assign(lam=1.0)
    values = pd.DataFrame({"a": [1, 2, 3.0], "b": [2, 1, 2.0], "c": [3, 3, 1.0]})
    _, axes = plt.subplots(2, 3)
    axes = axes.ravel()
    displays = [
        ClassAccuracyDisplay.from_results(results, 0, ax=axes[0]),
        QueryTimeDisplay.from_results(results, ax=axes[1]),
        PairedDifferenceDisplay.from_results(results, ax=axes[2]),
        PenaltyMatrixDisplay.from_results(results, ax=axes[3]),
        ParameterCurveDisplay.from_results(settings, "lam", "balanced_accuracy", ax=axes[4]),
        CriticalDifferenceDisplay.from_results(values, ax=axes[5]),
    ]
    assert [shown.ax_ for shown in displays] == list(axes)
    assert plt.get_fignums() == [1]


@pytest.mark.parametrize(
    "kind",
    [
        AutoencoderTrainingDisplay,
        ClassTermsDisplay,
        GalleryDisplay,
        PairedDifferenceDisplay,
        PenaltyMatrixDisplay,
        QueryTimeDisplay,
        ScoreHistogramDisplay,
    ],
)
def test_other_displays_name_the_extra_too(kind, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r'pip install "skvaball\[cli\]"'):
        long_names(kind)


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r'pip install "skvaball\[cli\]"'):
        BudgetCurveDisplay.from_results(table([[0.1, 0.2]]))


def test_importing_the_displays_does_not_import_matplotlib():
    code = "import sys, skvaball.plots; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
