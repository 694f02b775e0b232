"""Displays of fitted estimators: what is drawn is what the estimator says."""

import io

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.image import imread
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression

from skvaball import ActiveLearner, ActiveLearningSimulator, VaBQuerySelector
from skvaball.plots import (
    AutoencoderTrainingDisplay,
    ClassBalanceDisplay,
    ClassTermsDisplay,
    GalleryDisplay,
    ScoreHistogramDisplay,
)
from skvaball.selectors import (
    ClassBalancedSelector,
    EntropySelector,
    LearningLossSelector,
    MarginSelector,
    RandomSelector,
    VAALSelector,
)

pytestmark = pytest.mark.filterwarnings("ignore::skvaball.exceptions.NothingLearnedWarning")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 4))
y = np.array(["cat", "dog", "owl"])[(X[:, 0] > 0).astype(int) + (X[:, 1] > 0.8)]


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def simulator():
    selector = VaBQuerySelector(max_epochs=3, n_draws=4, n_units=8, hidden=(8,), block_size=3)
    learner = ActiveLearner(LogisticRegression(), selector)
    return ActiveLearningSimulator(learner, batch_size=12, n_rounds=2, random_state=0).fit(X, y)


def estimators(simulator):
    """Three ways to name the same fitted selector."""
    return simulator, simulator.learner_, simulator.learner_.selector_


def test_class_terms_are_those_of_the_selector(simulator):
    selector = simulator.learner_.selector_
    for estimator in estimators(simulator):
        shown = ClassTermsDisplay.from_estimator(estimator)
        difficulty, prior = ([bar.get_width() for bar in bars] for bars in shown.bars_)
        np.testing.assert_array_equal(difficulty, selector.difficulty_)
        np.testing.assert_array_equal(prior, selector.prior_)
        names = [tick.get_text() for tick in shown.ax_.get_yticklabels()]
        assert names == ["cat", "dog", "owl"]
    with pytest.raises(ValueError, match=r"same length.*'classes': 2, 'difficulty': 1"):
        ClassTermsDisplay(["a", "b"], [1.0], [0.5, 0.5]).plot()


def test_bars_of_a_class_lie_side_by_side(simulator):
    difficulty, prior = ClassTermsDisplay.from_estimator(simulator).bars_
    for k, (one, other) in enumerate(zip(difficulty, prior, strict=True)):
        assert one.get_y() + one.get_height() == pytest.approx(k)
        assert other.get_y() == pytest.approx(k)


def test_training_has_the_history_of_the_autoencoder(simulator):
    history = simulator.learner_.selector_.vae_.history
    shown = AutoencoderTrainingDisplay.from_estimator(simulator)
    terms = ["train_loss", "reconstruction", "kl", "class_loss"]
    assert len(shown.lines_) == 4
    for line, name in zip(shown.lines_, terms, strict=True):
        np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3])
        np.testing.assert_allclose(line.get_ydata(), history[:, name])
    np.testing.assert_allclose(shown.agreement_.get_ydata(), history[:, "agreement"])
    chance = shown.agreement_ax_.lines[1]
    assert list(chance.get_ydata()) == pytest.approx([1 / 3, 1 / 3])
    assert shown.ax_.get_yscale() == "log"
    texts = [text.get_text() for text in shown.ax_.get_legend().get_texts()]
    assert texts[-2:] == ["agreement", "agreement by chance"]


def test_training_without_agreement_or_with_negative_losses():
    shown = AutoencoderTrainingDisplay({"train_loss": [1.0, -1.0]}).plot()
    assert shown.ax_.get_yscale() == "linear"
    assert shown.agreement_ is None
    assert shown.agreement_ax_ is None
    with pytest.raises(ValueError, match=r"no loss.*'train_loss'.*there are \['lr'\]"):
        AutoencoderTrainingDisplay({"lr": [1.0]}).plot()


def test_histograms_count_the_scores_of_each_predicted_class(simulator):
    selector = simulator.learner_.selector_
    scores, labels = selector.score_samples(X), selector.estimator_.predict(X)
    for estimator in estimators(simulator):
        shown = ScoreHistogramDisplay.from_estimator(estimator, X, bins=7)
        np.testing.assert_array_equal(shown.classes_, np.unique(labels))
        for name, counts in zip(shown.classes_, shown.counts_, strict=True):
            expected, edges = np.histogram(scores[labels == name], shown.edges_)
            np.testing.assert_array_equal(counts, expected)
            assert len(edges) == 8
    assert shown.counts_.sum() == 90
    ticks = [tick.get_text() for tick in shown.ax_.get_yticklabels()]
    assert ticks == [f"{name} ({(labels == name).sum()})" for name in shown.classes_]


def test_histograms_do_not_reach_into_the_class_above():
    shown = ScoreHistogramDisplay([0, 0, 0, 1, 1], ["a", "a", "a", "b", "b"]).plot(bins=2)
    for k, stairs in enumerate(shown.stairs_):
        values, _, baseline = stairs.get_data()
        assert baseline == k
        assert k - 1 < values.min() < k  # upwards, as the axis points down
    assert shown.ax_.yaxis_inverted()
    with pytest.raises(ValueError, match="no scores"):
        ScoreHistogramDisplay([], []).plot()
    with pytest.raises(ValueError, match=r"same length.*'scores': 1, 'labels': 2"):
        ScoreHistogramDisplay([1.0], ["a", "b"]).plot()


def test_gallery_has_the_terms_of_the_selector(simulator):
    selector = simulator.learner_.selector_
    rows, images = X[:3], np.arange(3 * 16, dtype=np.uint8).reshape(3, 4, 4)
    for estimator in estimators(simulator):
        shown = GalleryDisplay.from_estimator(estimator, rows, y[:3], images=images)
        predicted = selector.estimator_.predict(rows)
        codes = np.searchsorted(selector.classes_, predicted)
        likelihoods = selector.class_log_likelihood(rows)
        table = shown.gallery
        assert table["true_label"].tolist() == y[:3].tolist()
        assert table["predicted_label"].tolist() == predicted.tolist()
        np.testing.assert_array_equal(table["likelihood"], likelihoods[[0, 1, 2], codes])
        np.testing.assert_array_equal(table["difficulty"], selector.difficulty_[codes])
        np.testing.assert_array_equal(table["prior"], selector.prior_[codes])
        np.testing.assert_array_equal(table["score"], selector.score_samples(rows))
        for picture, axis, png in zip(images, shown.axes_, table["png"], strict=True):
            assert axis.images[0].get_array().shape[:2] == (4, 4)
            seen = imread(io.BytesIO(png))[..., 0] * 255
            np.testing.assert_allclose(seen, picture, atol=0.5)


@pytest.mark.parametrize("shape", [(3, 5, 6), (3, 5, 6, 3), (3, 3, 5, 6), (3, 1, 5, 6)], ids=str)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_gallery_draws_images_of_every_layout(shape, dtype, simulator):
    images = (255 * RNG.random(shape)).astype(dtype)
    images.flat[0], images.flat[-1] = 0, 255
    shown = GalleryDisplay.from_estimator(simulator, X[:3], images=images, n_images=2)
    assert len(shown.axes_) == 2
    channel = images[0] if images.ndim == 3 else images[0, 0]
    if shape == (3, 5, 6, 3):
        channel = images[0, ..., 0]
    seen = imread(io.BytesIO(shown.gallery["png"][0]))[..., 0] * 255
    if dtype == np.uint8:
        np.testing.assert_allclose(seen, channel, atol=0.5)
    else:  # from the lowest to the highest value of the images that are shown
        assert np.corrcoef(seen.ravel(), channel.ravel())[0, 1] > 0.999
    assert shown.axes_[0].get_title().startswith("predicted: ")


def test_gallery_of_other_strategies_has_scores_only():
    learner = ActiveLearner(LogisticRegression(), MarginSelector()).fit(X[:30], y[:30])
    bought = X[30:][learner.query(X[30:], 4)]
    shown = GalleryDisplay.from_estimator(learner, bought, images=bought.reshape(4, 2, 2))
    scores = shown.gallery["score"].to_numpy()
    assert (np.diff(scores) <= 0).all()
    assert shown.gallery[["likelihood", "difficulty", "prior"]].isna().all(axis=None)
    assert "\N{EN DASH}" in shown.axes_[0].get_xlabel()


def test_gallery_says_which_images_it_takes(simulator):
    with pytest.raises(ValueError, match=r"shape \(3, 4\) cannot be drawn.*`images`"):
        GalleryDisplay.from_estimator(simulator, X[:3])
    with pytest.raises(ValueError, match=r"same length.*'X': 3, 'y': 2"):
        GalleryDisplay.from_estimator(simulator, X[:3], y[:2], images=np.zeros((3, 2, 2)))
    with pytest.raises(ValueError, match=r"same length.*'images': 4"):
        GalleryDisplay.from_estimator(simulator, X[:3], images=np.zeros((4, 2, 2)))


def test_class_balance_is_that_of_the_history(simulator):
    shown = ClassBalanceDisplay.from_estimator(simulator, ["owl", "dog"], reference=0.5)
    (line,) = shown.lines_
    bought = np.concatenate([entry["queried"] for entry in simulator.history_])
    sizes = [12, 24, 36]
    np.testing.assert_array_equal(line.get_xdata(), sizes)
    expected = [np.mean(y[bought[:n]] != "cat") for n in sizes]
    np.testing.assert_allclose(line.get_ydata(), expected)
    assert line.get_label() == "VaBQuerySelector"
    other = ClassBalanceDisplay.from_estimator(simulator, ["owl"], name="mine", ax=shown.ax_)
    assert other.ax_ is shown.ax_
    assert other.lines_[0].get_label() == "mine"
    for wrong in (["cow"], []):
        with pytest.raises(ValueError, match=r"must name at least one.*\['cat', 'dog', 'owl'\]"):
            ClassBalanceDisplay.from_estimator(simulator, wrong)


DRAW = [
    lambda estimator: ClassTermsDisplay.from_estimator(estimator),
    lambda estimator: AutoencoderTrainingDisplay.from_estimator(estimator),
    lambda estimator: ScoreHistogramDisplay.from_estimator(estimator, X),
    lambda estimator: GalleryDisplay.from_estimator(estimator, X[:2], images=np.zeros((2, 3, 3))),
]


@pytest.mark.parametrize("draw", DRAW)
def test_what_is_not_fitted_or_not_asked_is_an_error(draw):
    learner = ActiveLearner(LogisticRegression(), MarginSelector())
    for estimator in (learner, MarginSelector(), ActiveLearningSimulator(learner)):
        with pytest.raises(NotFittedError):
            draw(estimator)
    with pytest.raises(ValueError, match=r"answered no query yet.*Call query first"):
        draw(learner.fit(X[:30], y[:30]))


@pytest.mark.parametrize(
    ("draw", "advice"),
    [
        *((draw, "Pass a fitted Va") for draw in DRAW[:2]),
        *((draw, "Give the") for draw in DRAW[2:]),
    ],
)
def test_selectors_without_what_is_drawn_are_named(draw, advice):
    selector = RandomSelector().fit(X, y)  # has no classifier
    with pytest.raises(ValueError, match=rf"RandomSelector.*{advice}"):
        draw(selector)


def test_a_selector_around_another_is_drawn_by_its_own_scores():
    selector = ClassBalancedSelector(EntropySelector(), estimator=LogisticRegression())
    selector.fit(X, np.where(np.arange(90) < 30, y, None))
    shown = ScoreHistogramDisplay.from_estimator(selector, X, bins=5)
    np.testing.assert_array_equal(shown.scores, selector.score_samples(X))


def test_given_axes_are_used(simulator):
    _, axes = plt.subplots(1, 3)
    displays = [
        ClassTermsDisplay.from_estimator(simulator, ax=axes[0], bar_kw={"alpha": 0.5}),
        AutoencoderTrainingDisplay.from_estimator(simulator, ax=axes[1], line_kw={"linewidth": 3}),
        ScoreHistogramDisplay.from_estimator(simulator, X, ax=axes[2], stairs_kw={"alpha": 0.4}),
    ]
    assert [shown.ax_ for shown in displays] == list(axes)
    assert displays[0].bars_[0][0].get_alpha() == 0.5
    assert displays[1].lines_[0].get_linewidth() == 3
    assert displays[2].stairs_[0].get_alpha() == 0.4
    assert plt.get_fignums() == [1]


def test_what_has_nothing_to_show_is_named(simulator):
    classifier = LogisticRegression().fit(X, y)
    with pytest.raises(TypeError, match=r"Expected a fitted selector, .* LogisticRegression"):
        ScoreHistogramDisplay.from_estimator(classifier, X)
    with pytest.raises(TypeError, match=r"ActiveLearningSimulator.* got a ActiveLearner"):
        ClassBalanceDisplay.from_estimator(simulator.learner_, [1])
    one, several = (
        ClassBalanceDisplay.from_estimator(simulator, rare) for rare in ("cat", ["cat"])
    )
    np.testing.assert_array_equal(one.lines_[0].get_ydata(), several.lines_[0].get_ydata())


@pytest.mark.parametrize("kind", [LearningLossSelector, VAALSelector])
def test_selectors_with_a_history_or_an_autoencoder_of_their_own_are_what_they_are(kind):
    """Not simulators, which have a history too, nor VaB-AL."""
    params = {"max_epochs": 1} if kind is LearningLossSelector else {"max_iter": 2}
    selector = kind(LogisticRegression(max_iter=300), random_state=0, **params)
    selector.fit_pool(X[:50], y[:50], X[50:150])
    assert ScoreHistogramDisplay.from_estimator(selector, X[50:150]).figure_ is not None
    for display in (ClassTermsDisplay, AutoencoderTrainingDisplay):
        with pytest.raises(ValueError, match=f"but got a {kind.__name__}"):
            display.from_estimator(selector)


def test_simulators_on_one_axes_look_different_and_share_one_reference(simulator):
    ax = plt.figure().add_subplot()
    for name in ("random", "margin", "vab"):
        ClassBalanceDisplay.from_estimator(simulator, ["owl"], name=name, reference=0.3, ax=ax)
    lines = {line.get_label(): line for line in ax.get_lines()}
    colors = [lines[name].get_color() for name in ("random", "margin", "vab")]
    assert len(set(colors)) == 3
    _, labels = ax.get_legend_handles_labels()
    assert labels.count("share in the pool") == 1


def test_class_terms_twice_on_one_axes_keep_the_first_class_on_top(simulator):
    shown = ClassTermsDisplay.from_estimator(simulator)
    bottom, top = ClassTermsDisplay.from_estimator(simulator, ax=shown.ax_).ax_.get_ylim()
    assert bottom > top
