"""Entropy, margin and random sampling, and what all selectors share."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2, entropy, kstest
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import make_blobs
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, StandardScaler
from sklearn.svm import SVC, LinearSVC
from torch.utils.data import TensorDataset

from skvaball import ActiveLearner
from skvaball.networks import DeepClassifier
from skvaball.selectors import (
    ClassBalancedSelector,
    CoreSetSelector,
    EntropySelector,
    MarginSelector,
    QuerySelector,
    RandomSelector,
    StochasticBatchSelector,
    _random,
)

X, y = make_blobs(400, n_features=3, centers=4, cluster_std=4.0, random_state=0)
N_LABELED = 80
PARTLY = np.where(np.arange(len(y)) < N_LABELED, y, -1)
POOL = X[N_LABELED:]
TWO = np.where(PARTLY == -1, -1, PARTLY % 2)

SELECTORS = [EntropySelector, MarginSelector, RandomSelector]


def fitted(kind, estimator=None, labels=PARTLY, **params):
    """A selector fitted on the blobs, around logistic regression unless told otherwise."""
    estimator = LogisticRegression() if estimator is None else estimator
    return kind(estimator, random_state=0, **params).fit(X, labels)


class Fixed(ClassifierMixin, BaseEstimator):
    """A fitted classifier whose probabilities are the features themselves."""

    def __init__(self, n_classes=3):
        self.n_classes = n_classes

    def fit(self, X, y):
        self.classes_ = np.arange(self.n_classes)
        return self

    def predict_proba(self, X):
        return np.asarray(X)

    def predict(self, X):
        return self.predict_proba(X).argmax(axis=1)


def score_probabilities(kind, probabilities):
    """Scores of rows that have the given probabilities."""
    probabilities = np.asarray(probabilities, dtype=np.float64)
    n_classes = probabilities.shape[1]
    estimator = Fixed(n_classes).fit(None, None)
    labels = np.zeros(len(probabilities), dtype=int)
    return kind(estimator).fit(probabilities, labels).score_samples(probabilities)


@st.composite
def distributions(draw):
    """Rows of probabilities, some of them zero."""
    n_classes = draw(st.integers(2, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**31 - 1)))
    weights = rng.random((5, n_classes)) * (rng.random((5, n_classes)) < 0.7)
    weights[:, 0] += 0.01
    return weights / weights.sum(axis=1, keepdims=True)


# Entropy


@pytest.mark.parametrize("estimator", [LogisticRegression(), DeepClassifier(max_epochs=5)])
def test_entropy_is_that_of_the_predicted_distribution(estimator):
    selector = fitted(EntropySelector, estimator)
    expected = entropy(selector.estimator_.predict_proba(POOL), axis=1)
    np.testing.assert_allclose(selector.score_samples(POOL), expected, rtol=1e-12)


@settings(max_examples=50, deadline=None)
@given(probabilities=distributions())
def test_entropy_of_any_distribution_is_scipys(probabilities):
    scores = score_probabilities(EntropySelector, probabilities)
    np.testing.assert_allclose(scores, entropy(probabilities, axis=1), rtol=1e-12, atol=1e-15)


def test_entropy_of_certainty_is_zero_and_of_ignorance_the_log_of_the_classes():
    scores = score_probabilities(EntropySelector, [[0, 1, 0], [1 / 3, 1 / 3, 1 / 3]])
    np.testing.assert_allclose(scores, [0, np.log(3)], rtol=1e-15)


@pytest.mark.parametrize(
    "wrap", [lambda model: model, lambda m: make_pipeline(StandardScaler(), m)]
)
def test_entropy_of_a_classifier_without_probabilities_is_refused(wrap):
    for estimator in (wrap(LinearSVC()), wrap(LinearSVC()).fit(X, y)):
        with pytest.raises(
            ValueError, match=r"EntropySelector needs a classifier with predict_proba.*Calibrated"
        ):
            EntropySelector(estimator).fit(X, PARTLY)


def test_calibration_gives_a_classifier_probabilities_as_the_error_says():
    selector = fitted(EntropySelector, CalibratedClassifierCV(LinearSVC(), cv=2))
    expected = entropy(selector.estimator_.predict_proba(POOL), axis=1)
    np.testing.assert_allclose(selector.score_samples(POOL), expected, rtol=1e-12)


def test_what_is_no_distribution_is_refused():
    with pytest.raises(ValueError, match="rows sum to"):
        score_probabilities(EntropySelector, [[0.5, 0.2], [0.5, 0.5]])


# Margin


def sorted_difference(values):
    """Highest minus second highest value of each row, by sorting."""
    ordered = [sorted(row, reverse=True) for row in np.asarray(values).tolist()]
    return np.array([row[0] - row[1] for row in ordered])


@pytest.mark.parametrize("estimator", [LogisticRegression(), DeepClassifier(max_epochs=5)])
def test_margin_is_the_difference_of_the_two_highest_probabilities(estimator):
    selector = fitted(MarginSelector, estimator)
    expected = -sorted_difference(selector.estimator_.predict_proba(POOL))
    np.testing.assert_allclose(selector.score_samples(POOL), expected, rtol=1e-12)


@settings(max_examples=50, deadline=None)
@given(probabilities=distributions())
def test_margin_of_any_distribution_is_that_of_sorting(probabilities):
    scores = score_probabilities(MarginSelector, probabilities)
    np.testing.assert_array_equal(scores, -sorted_difference(probabilities))


@pytest.mark.parametrize("estimator", [LinearSVC(), RidgeClassifier(), SVC()])
def test_margin_of_decision_values_with_many_classes(estimator):
    selector = fitted(MarginSelector, estimator)
    expected = -sorted_difference(selector.estimator_.decision_function(POOL))
    np.testing.assert_allclose(selector.score_samples(POOL), expected, rtol=1e-12)


@pytest.mark.parametrize("estimator", [LinearSVC(), RidgeClassifier(), SVC()])
def test_margin_of_decision_values_with_two_classes_is_the_distance(estimator):
    selector = fitted(MarginSelector, estimator, labels=TWO)
    expected = -np.abs(selector.estimator_.decision_function(POOL))
    np.testing.assert_allclose(selector.score_samples(POOL), expected, rtol=1e-12)


def test_margin_and_entropy_of_two_classes_rank_alike():
    estimator = LogisticRegression()
    margin = fitted(MarginSelector, estimator, labels=TWO).select(POOL, len(POOL))
    surprise = fitted(EntropySelector, estimator, labels=TWO).select(POOL, len(POOL))
    np.testing.assert_array_equal(margin, surprise)


def test_margin_of_a_classifier_without_values_is_refused():
    class Labels(ClassifierMixin, BaseEstimator):
        def fit(self, X, y):
            raise AssertionError("trained before the input was checked")

        def predict(self, X):
            return np.zeros(len(X))

    with pytest.raises(ValueError, match=r"MarginSelector needs.*decision_function.*Labels"):
        MarginSelector(Labels()).fit(X, PARTLY)


def test_margin_of_a_single_class_is_the_same_for_all_rows():
    scores = MarginSelector(Fixed(1).fit(None, None)).fit(np.ones((4, 1)), np.zeros(4, dtype=int))
    np.testing.assert_array_equal(scores.score_samples(np.ones((4, 1))), -np.ones(4))


# Random


def random_selector(seed, rows=X, labels=PARTLY):
    """A fitted random selector."""
    return RandomSelector(random_state=seed).fit(rows, labels)


def test_random_scores_are_uniform():
    """Over the rows of one seed and over the seeds of one row; the seeds here are fixed."""
    rows = np.random.default_rng(0).standard_normal((2000, 3))
    scores = random_selector(0).score_samples(rows)
    assert kstest(scores, "uniform").pvalue > 0.01
    seeds = [random_selector(seed).score_samples(rows[:1])[0] for seed in range(300)]
    assert kstest(seeds, "uniform").pvalue > 0.01
    # Two seeds have nothing to do with one another.
    assert abs(np.corrcoef(scores, random_selector(1).score_samples(rows))[0, 1]) < 0.06


def test_random_picks_every_row_equally_often():
    """Chi-square over 600 seeds: picks of 3 of 12 rows."""
    picks = np.zeros(12)
    n_seeds, n = 600, 3
    for seed in range(n_seeds):
        picks[random_selector(seed).select(POOL[:12], n)] += 1
    expected = n_seeds * n / 12
    # Without replacement the counts vary less, by (12 - n) / (12 - 1), than independent ones.
    statistic = np.sum((picks - expected) ** 2 / expected) * 11 / 9
    assert chi2(11).ppf(0.001) < statistic < chi2(11).ppf(0.999)


def test_random_score_belongs_to_the_row_not_to_its_place():
    scores = random_selector(0).score_samples(POOL)
    order = np.random.default_rng(0).permutation(len(POOL))
    np.testing.assert_array_equal(random_selector(0).score_samples(POOL[order]), scores[order])
    np.testing.assert_array_equal(random_selector(0).score_samples(POOL[7:8]), scores[7:8])
    assert len(np.unique(scores)) == len(scores)


def test_random_scores_of_equal_rows_are_equal_whatever_holds_them():
    expected = random_selector(0).score_samples(POOL)
    for rows in (np.asfortranarray(POOL), POOL.tolist(), np.concatenate([POOL, POOL])):
        found = random_selector(0).score_samples(rows)[: len(POOL)]
        np.testing.assert_array_equal(found, expected)
    zeros = np.array([[0.0, 1.0, 2.0], [-0.0, 1.0, 2.0]])
    assert len(set(random_selector(0).score_samples(zeros))) == 1
    whole = np.arange(30.0).reshape(10, 3)
    np.testing.assert_array_equal(
        random_selector(0).score_samples(whole), random_selector(0).score_samples(whole.astype(int))
    )


def test_random_scores_of_a_frame_are_those_of_its_values():
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    selector = RandomSelector(random_state=0).fit(frame, PARTLY)
    np.testing.assert_array_equal(
        selector.score_samples(frame), random_selector(0).score_samples(X)
    )


def test_random_takes_images_and_sparse_rows():
    import scipy.sparse as sp

    images = np.random.default_rng(0).random((20, 1, 4, 4))
    labels = np.where(np.arange(20) < 5, np.arange(20) % 2, -1)
    positions = RandomSelector(random_state=0).fit(images, labels).select(images, 20)
    assert sorted(positions.tolist()) == list(range(20))
    sparse = sp.csr_array(np.round(X))
    selector = RandomSelector(random_state=0).fit(sparse, PARTLY)
    expected = random_selector(0, np.round(X)).score_samples(np.round(X))
    np.testing.assert_array_equal(selector.score_samples(sparse), expected)


def test_random_pool_may_be_a_dataset_and_is_not_read():
    class Unread(torch.utils.data.Dataset):
        def __len__(self):
            return 50

        def __getitem__(self, index):
            raise AssertionError("a row was read")

    selector = RandomSelector(random_state=0).fit_pool(X[:N_LABELED], y[:N_LABELED], Unread())
    positions, scores = selector.select(Unread(), 50, return_scores=True)
    assert sorted(positions.tolist()) == list(range(50))
    assert scores.shape == (50,)
    again = RandomSelector(random_state=0).fit_select(X[:N_LABELED], y[:N_LABELED], Unread(), 50)
    np.testing.assert_array_equal(again[0], positions)
    other = RandomSelector(random_state=1).fit_select(X[:N_LABELED], y[:N_LABELED], Unread(), 50)
    assert not np.array_equal(other[0], positions)


def test_random_seeds():
    np.testing.assert_array_equal(
        random_selector(3).score_samples(POOL), random_selector(3).score_samples(POOL)
    )
    assert not np.array_equal(
        random_selector(3).score_samples(POOL), random_selector(4).score_samples(POOL)
    )
    assert not np.array_equal(
        random_selector(None).score_samples(POOL), random_selector(None).score_samples(POOL)
    )
    largest = 2**32 - 1
    assert np.isfinite(random_selector(largest).score_samples(POOL)).all()


def test_random_needs_no_classifier_but_counts_the_mistakes_of_one():
    selector = random_selector(0)
    assert selector.estimator_ is None
    assert selector.score(POOL, y[N_LABELED:]) == 0.5
    estimator = LogisticRegression().fit(X[:N_LABELED], y[:N_LABELED])
    selector = RandomSelector(estimator, random_state=0).fit(X, PARTLY)
    expected = roc_auc_score(estimator.predict(POOL) != y[N_LABELED:], selector.score_samples(POOL))
    assert selector.score(POOL, y[N_LABELED:]) == expected


# What all share


@pytest.mark.parametrize("kind", SELECTORS)
def test_select_takes_the_highest_scores_best_first_ties_by_position(kind):
    rows = np.concatenate([POOL[:40], POOL[:40], POOL[:20]])
    if kind is RandomSelector:  # which draws equal rows one by one
        rows = POOL[:100]
    selector = fitted(kind)
    for n in (1, 13, len(rows)):
        positions, scores = selector.select(rows, n, return_scores=True)
        expected = sorted(range(len(rows)), key=lambda i: (-scores[i], i))[:n]
        assert positions.tolist() == expected
        assert positions.dtype == np.int64
        assert scores.dtype == np.float64
        np.testing.assert_array_equal(scores, selector.score_samples(rows))


def test_equal_scores_are_taken_by_position():
    class Constant(QuerySelector):
        _uses_estimator = False

        def _score(self, X):
            return np.asarray(X)[:, 0]

    rows = np.array([[1.0], [2.0], [1.0], [2.0], [1.0]] * 20)
    selector = Constant().fit(rows, np.zeros(100, dtype=int))
    positions = selector.select(rows, 100)
    ones, twos = np.flatnonzero(rows[:, 0] == 1), np.flatnonzero(rows[:, 0] == 2)
    np.testing.assert_array_equal(positions, np.concatenate([twos, ones]))


def test_scores_that_are_nan_are_refused():
    class Broken(QuerySelector):
        _uses_estimator = False

        def _score(self, X):
            return np.full(len(X), np.nan)

    selector = Broken().fit(X, PARTLY)
    with pytest.raises(ValueError, match="scores are NaN"):
        selector.select(POOL, 2)


def test_a_strategy_without_a_score_says_what_is_missing():
    with pytest.raises(NotImplementedError, match="QuerySelector must implement _score"):
        fitted(QuerySelector).transform(POOL)


@pytest.mark.parametrize("kind", [EntropySelector, MarginSelector])
def test_rows_of_a_dataset_are_scored_as_the_array(kind):
    rows = X.astype(np.float32)
    network = DeepClassifier(max_epochs=5, random_state=0).fit(rows[:N_LABELED], y[:N_LABELED])
    dataset = TensorDataset(torch.from_numpy(rows[N_LABELED:]))
    labeled = rows[:N_LABELED], y[:N_LABELED]
    expected = kind(network).fit_select(*labeled, rows[N_LABELED:], 9)
    found = kind(network).fit_select(*labeled, dataset, 9)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


@pytest.mark.parametrize("kind", [EntropySelector, MarginSelector])
def test_scores_of_a_network_do_not_depend_on_batch_or_order(kind):
    selector = fitted(kind, DeepClassifier(max_epochs=5, random_state=0))
    scores = selector.score_samples(POOL)
    np.testing.assert_array_equal(selector.score_samples(POOL[::-1])[::-1], scores)
    alone = [selector.score_samples(POOL[i : i + 1])[0] for i in range(0, 320, 9)]
    np.testing.assert_array_equal(alone, scores[::9])


@pytest.mark.parametrize("kind", [EntropySelector, MarginSelector])
def test_a_class_without_labels_is_known_from_classes(kind):
    """The classifier knows fewer classes than there are: the others have probability zero."""
    labels = np.where(PARTLY == 2, -1, PARTLY)
    selector = fitted(kind, labels=labels, classes=[3, 2, 1, 0])
    np.testing.assert_array_equal(selector.classes_, [0, 1, 2, 3])
    probabilities = selector.estimator_.predict_proba(POOL)
    assert probabilities.shape[1] == 3
    expected = entropy(probabilities, axis=1)
    if kind is MarginSelector:
        expected = -sorted_difference(probabilities)
    np.testing.assert_allclose(selector.score_samples(POOL), expected, rtol=1e-12)
    with pytest.raises(ValueError, match=r"Labels \[3\] are not among classes=\[0, 1, 2\]"):
        fitted(kind, labels=labels, classes=[0, 1, 2])


@pytest.mark.parametrize("kind", [EntropySelector, MarginSelector])
def test_a_fitted_classifier_brings_its_classes(kind):
    estimator = LogisticRegression().fit(X, y)
    labels = np.where(PARTLY == 2, -1, PARTLY)
    selector = fitted(kind, estimator, labels=labels)
    np.testing.assert_array_equal(selector.classes_, estimator.classes_)
    assert selector.estimator_ is estimator


@pytest.mark.parametrize("kind", [EntropySelector, MarginSelector])
def test_a_network_whose_outputs_are_not_the_classes_is_refused(kind):
    selector = kind(Fixed(3).fit(None, None))
    selector.fit(np.full((4, 3), 1 / 3), np.array([0, 1, 2, 0]))
    selector.estimator_.n_classes = 2
    selector.estimator_.fit(None, None)
    with pytest.raises(ValueError, match=r"3 columns.*2 classes are known"):
        selector.transform(np.full((4, 3), 1 / 3))


@pytest.mark.parametrize("kind", SELECTORS)
def test_score_is_the_auroc_against_the_mistakes(kind):
    selector = fitted(kind)
    mistakes = selector.estimator_.predict(POOL) != y[N_LABELED:]
    expected = roc_auc_score(mistakes, selector.score_samples(POOL))
    assert selector.score(POOL, y[N_LABELED:]) == expected
    assert selector.score(POOL, selector.estimator_.predict(POOL)) == 0.5
    assert selector.score(POOL, np.full(len(POOL), -1)) == 0.5


@pytest.mark.parametrize("kind", [EntropySelector, MarginSelector])
def test_uncertainty_finds_mistakes(kind):
    assert fitted(kind).score(POOL, y[N_LABELED:]) > 0.6


@pytest.mark.parametrize("kind", SELECTORS)
def test_selectors_work_inside_scikit_learn(kind):
    pipeline = make_pipeline(StandardScaler(), kind(LogisticRegression(), random_state=0))
    assert pipeline.fit_transform(X, PARTLY).shape == (len(X), 1)
    assert pipeline.get_feature_names_out().tolist() == [f"{kind.__name__.lower()}0"]
    spread = np.where(np.arange(len(y)) % 4, y, -1)
    search = GridSearchCV(
        kind(LogisticRegression(), random_state=0),
        {"estimator__C": [0.01, 1.0]},
        cv=2,
        error_score="raise",
    ).fit(X, spread)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


@pytest.mark.parametrize("kind", [EntropySelector, MarginSelector])
def test_wrappers_of_a_classifier_do_not_change_the_scores(kind):
    estimator = LogisticRegression().fit(X[:N_LABELED], y[:N_LABELED])
    expected = fitted(kind, estimator).score_samples(POOL)
    np.testing.assert_array_equal(
        fitted(kind, FrozenEstimator(estimator)).score_samples(POOL), expected
    )
    unfitted = fitted(kind, clone(estimator))
    np.testing.assert_array_equal(unfitted.score_samples(POOL), expected)
    assert unfitted.estimator_ is not unfitted.estimator


@pytest.mark.parametrize("kind", [EntropySelector, MarginSelector])
def test_frames_with_names_need_no_warning(kind, recwarn):
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    estimators = [LogisticRegression().fit(frame[:N_LABELED], y[:N_LABELED])]
    if kind is MarginSelector:
        estimators.append(LinearSVC().fit(frame[:N_LABELED], y[:N_LABELED]))
    for estimator in estimators:
        kind(estimator).fit(frame, PARTLY).select(frame, 3)
    assert [str(warning.message) for warning in recwarn] == []


@pytest.mark.parametrize("n_classes", [3, 4])  # three classes have three pairs
def test_the_margin_of_pairs_of_classes_is_refused(n_classes):
    labels = np.where(PARTLY == -1, -1, PARTLY % n_classes)
    with pytest.raises(ValueError, match="use decision_function_shape='ovr'"):
        fitted(MarginSelector, SVC(decision_function_shape="ovo"), labels).select(POOL, 3)
    assert fitted(MarginSelector, SVC(decision_function_shape="ovo"), TWO).select(POOL, 3).size == 3


def test_random_choice_makes_few_rows_of_a_large_vocabulary_dense(monkeypatch):
    dense = np.zeros((50, 1000))
    dense[np.arange(50), np.arange(50) * 7] = 1.0
    expected = RandomSelector(random_state=0).fit(dense, np.zeros(50)).score_samples(dense)
    sizes = []
    rows = _random._rows
    monkeypatch.setattr(_random, "CHUNK_BYTES", 7 * 8 * 1000)
    monkeypatch.setattr(_random, "_rows", lambda chunk: sizes.append(chunk.shape[0]) or rows(chunk))
    found = (
        RandomSelector(random_state=0).fit(dense, np.zeros(50)).score_samples(sp.csr_matrix(dense))
    )
    assert max(sizes) == 7
    np.testing.assert_array_equal(found, expected)


def test_random_choice_among_the_rows_of_a_table_of_pyarrow():
    table = pa.table({name: X[:, i] for i, name in enumerate("abc")})
    learner = ActiveLearner(LogisticRegression(), RandomSelector(), random_state=0)
    learner.fit(table.slice(0, N_LABELED), y[:N_LABELED])
    found = learner.query(table.slice(N_LABELED), 10)
    frame = pd.DataFrame(X, columns=list("abc"))
    expected = clone(learner).fit(frame[:N_LABELED], y[:N_LABELED]).query(frame[N_LABELED:], 10)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("kind", SELECTORS)
def test_bad_input_is_a_clear_error(kind):
    selector = fitted(kind)
    with pytest.raises(ValueError, match=r"n=6 .*n_pool=5"):
        selector.select(POOL[:5], 6)
    with pytest.raises(ValueError, match="pool is empty"):
        selector.select(POOL[:0], 1)
    with pytest.raises(ValueError, match="n=0 "):
        selector.select(POOL, 0)
    with pytest.raises(TypeError, match="n must be an integer"):
        selector.select(POOL, 1.0)
    with pytest.raises(ValueError, match=f"2 features, but {kind.__name__} is expecting 3"):
        selector.transform(POOL[:, :2])
    with pytest.raises(ValueError, match="NaN"):
        selector.transform(np.full((2, 3), np.nan))
    with pytest.raises(ValueError, match="No row is labeled"):
        fitted(kind, labels=np.full(len(X), -1))
    with pytest.raises(NotFittedError):
        kind(LogisticRegression()).select(POOL, 1)


def test_equal_rows_are_drawn_one_by_one():
    """By scores alone all copies of one row would be drawn together."""
    rows = np.random.default_rng(0).integers(0, 2, (1000, 2)).astype(float)
    labels = np.full(1000, -1)
    labels[:4] = 0, 1, 0, 1
    shares = []
    for seed in range(20):
        selector = RandomSelector(random_state=seed).fit(rows, labels)
        picks, scores = selector.select(rows, 100, return_scores=True)
        np.testing.assert_array_equal(scores, selector.score_samples(rows))
        np.testing.assert_array_equal(picks[:10], selector.select(rows, 10))
        assert len(set(picks)) == 100
        shares.append(np.unique(rows[picks], axis=0, return_counts=True)[1])
    expected = np.unique(rows, axis=0, return_counts=True)[1] / 10
    np.testing.assert_allclose(np.mean(shares, axis=0), expected, atol=5)
    assert np.std(shares) > 1  # drawn, not apportioned


@pytest.mark.parametrize("kind", [MarginSelector, CoreSetSelector])
def test_sparse_rows_of_any_format_are_a_pool(kind):
    rows = sp.coo_matrix(X)
    selector = kind(LogisticRegression())
    positions, scores = selector.fit_select(rows.tocsr()[:50], y[:50], rows, 5)
    again = kind(LogisticRegression()).fit_pool(rows.tocsr()[:50], y[:50], rows)
    np.testing.assert_array_equal(positions, again.select(rows, 5))
    np.testing.assert_array_equal(scores, again.score_samples(rows))


@pytest.mark.parametrize("wrap", [lambda s: s, StochasticBatchSelector])
def test_sparse_rows_of_any_format_are_a_pool_for_a_pipeline(wrap):
    rows = sp.coo_matrix(np.abs(X))
    selector = wrap(EntropySelector(make_pipeline(MaxAbsScaler(), LogisticRegression())))
    selector.fit_pool(rows.tocsr()[:50], y[:50], rows)
    assert selector.select(rows, 5).shape == (5,)
    assert selector.fit(rows, PARTLY).score_samples(rows).shape == (400,)


def test_after_a_fit_that_failed_there_is_nothing_to_ask():
    class Fails(MarginSelector):
        def _fit_pool(self, X_labeled, codes, X_pool):
            if len(self.classes_) < 4:
                raise ValueError("too few classes")

    selector = Fails(LogisticRegression()).fit_pool(X, y, X)
    two = np.flatnonzero(y < 2)
    with pytest.raises(ValueError, match="too few"):
        selector.fit_pool(X[two], y[two], X)
    with pytest.raises(NotFittedError):
        selector.score_samples(X)
    for bad in (y[:-1], ["a", 1] * (len(X) // 2)):  # before anything is trained
        selector.fit_pool(X, y, X)
        with pytest.raises(ValueError, match=r"inconsistent|mixed type"):
            selector.fit_pool(X[:, :2], bad, X[:, :2])
        with pytest.raises(NotFittedError):
            selector.select(X, 3)


def test_a_class_inside_a_selector_is_named():
    for outer in (ClassBalancedSelector, StochasticBatchSelector):
        with pytest.raises(TypeError, match=r"EntropySelector is a class.*EntropySelector\(\)"):
            outer(EntropySelector, estimator=LogisticRegression()).fit(X, PARTLY)


def test_copies_are_drawn_one_by_one_inside_another_selector():
    rows = np.repeat(X[:20], 50, axis=0)
    outer = ClassBalancedSelector(RandomSelector(), LogisticRegression(), lam=0, random_state=0)
    picks, _ = outer.fit_select(X[:50], y[:50], rows, 50)
    assert len(np.unique(rows[picks], axis=0)) > 10


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (LogisticRegression, r"estimator=LogisticRegression is a class.*LogisticRegression\(\)"),
        (LinearRegression(), "LinearRegression is a regressor; expected a classifier"),
        (make_pipeline(StandardScaler(), LinearRegression()), "Pipeline is a regressor"),
    ],
)
def test_what_is_no_classifier_is_refused(estimator, message):
    with pytest.raises(TypeError, match=message):
        MarginSelector(estimator).fit(X, PARTLY)


def test_minus_one_among_strings_is_not_taken_for_a_class():
    names = np.array(["a", "bb", "cc", "dd"])[y]
    names[50:] = -1  # numpy makes it "-1"
    with pytest.raises(ValueError, match=r"label '-1'.*missing_label='-1'"):
        MarginSelector(LogisticRegression()).fit(X, names)
    marked = MarginSelector(LogisticRegression(), missing_label="-1").fit(X, names)
    assert marked.classes_.tolist() == ["a", "bb", "cc", "dd"]
    as_class = MarginSelector(LogisticRegression(), missing_label=None).fit(X, names)
    assert "-1" in as_class.classes_
    letters = np.array(["a", "b", "c", "d"])[y]
    letters[50:] = -1  # there is room for one character
    with pytest.raises(ValueError, match="label '-' in it"):
        MarginSelector(LogisticRegression()).fit(X, letters)
