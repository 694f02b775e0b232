"""Stochastic batches against exact probabilities."""

from itertools import permutations

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from skvaball import ActiveLearner
from skvaball.selectors import EntropySelector, MarginSelector, QuerySelector, RandomSelector
from skvaball.selectors._stochastic_batch import StochasticBatchSelector
from skvaball.utils.estimator_checks import parametrize_with_selector_checks


@parametrize_with_checks(
    [
        StochasticBatchSelector(RandomSelector()),
        StochasticBatchSelector(EntropySelector(LogisticRegression())),
        StochasticBatchSelector(
            MarginSelector(), estimator=LogisticRegression(), method="softrank"
        ),
    ]
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@parametrize_with_selector_checks(
    [
        StochasticBatchSelector(EntropySelector()),
        StochasticBatchSelector(MarginSelector(), method="softmax", beta=5.0),
        StochasticBatchSelector(RandomSelector(), method="softrank"),
    ]
)
def test_selector_checks(selector, check):
    check(selector)


def test_rows_that_score_nothing_are_drawn_by_chance():
    """Not the first ones of the pool: there may be one class only among them."""
    scores = np.zeros(100)
    scores[[30, 60]] = 1.0
    batches = np.array(draw(scores, 12, range(200)))
    assert all({30, 60} == set(batch[:2]) for batch in batches)
    counts = np.bincount(batches[:, 2:].ravel(), minlength=100)
    # Each of the other 98 rows in 10 of 98 batches: 20.4 times, standard deviation 4.3.
    assert counts[np.delete(np.arange(100), [30, 60])].min() > 3
    assert counts.max() < 45


class FirstColumn(QuerySelector):
    """The score of a row is its first value."""

    _uses_estimator = False

    def _score(self, X):
        return np.asarray(X, dtype=np.float64)[:, 0]


def draw(scores, n, seeds, **params):
    """One batch for each seed."""
    X = np.asarray(scores, dtype=np.float64)[:, None]
    selector = StochasticBatchSelector(FirstColumn(), **params).fit_pool(X[:1], [0], X)
    batches = []
    for seed in seeds:
        selector._seed = seed
        batches.append(selector._select(X, n, None)[0])
    return batches


def inclusion(weights, n):
    """Probability of each row to be drawn, one after the other without replacement."""
    shares = np.zeros(len(weights))
    for drawn in permutations(range(len(weights)), n):
        rest, probability = sum(weights), 1.0
        for i in drawn:
            probability *= weights[i] / rest
            rest -= weights[i]
        shares[list(drawn)] += probability
    return shares


SCORES = np.array([0.3, 1.7, 0.9, 0.05, 1.1])


@pytest.mark.parametrize(
    ("method", "beta", "weights"),
    [
        ("power", 1.0, SCORES),
        ("power", 2.5, SCORES**2.5),
        ("softmax", 2.0, np.exp(2.0 * SCORES)),
        ("softrank", 1.0, 1 / np.array([4.0, 1, 3, 5, 2])),
        ("softrank", 0.5, np.array([4.0, 1, 3, 5, 2]) ** -0.5),
        ("power", 0.0, np.ones(5)),
    ],
)
@pytest.mark.parametrize("n", [1, 2, 4])
def test_inclusion_probabilities(method, beta, weights, n):
    n_draws = 3000
    batches = draw(SCORES, n, range(n_draws), method=method, beta=beta)
    counts = np.bincount(np.concatenate(batches), minlength=5)
    expected = inclusion(weights, n)
    error = np.sqrt(expected * (1 - expected) / n_draws)
    # Beyond 4.5 standard errors once in 150,000 comparisons; rare rows are drawn in threes
    # as rarely.
    assert np.all(np.abs(counts / n_draws - expected) <= 4.5 * error + 3 / n_draws)


@pytest.mark.parametrize("method", ["power", "softmax", "softrank"])
def test_a_large_beta_takes_the_top(method):
    scores = np.random.default_rng(0).permutation(50) / 10.0
    expected = np.argsort(-scores)[:20]
    for picks in draw(scores, 20, range(20), method=method, beta=1e6):
        np.testing.assert_array_equal(picks, expected)


def test_equal_scores_have_equal_chances_by_rank():
    batches = draw([1.0, 5.0, 1.0, 1.0], 1, range(2000), method="softrank", beta=1.0)
    counts = np.bincount(np.concatenate(batches), minlength=4)
    weights = 1 / np.array([3.0, 1, 3, 3])
    error = np.sqrt(0.25 / 2000)
    np.testing.assert_allclose(counts / 2000, weights / weights.sum(), atol=4.5 * error)


def test_scores_of_zero_come_last_with_power():
    scores = np.array([0.0, 1.0, 0.0, 2.0, 0.0])
    for picks in draw(scores, 5, range(50)):
        assert set(picks[:2]) == {1, 3}
        assert set(picks[2:]) == {0, 2, 4}


def test_power_refuses_negative_scores():
    with pytest.raises(ValueError, match=r"FirstColumn gave -0\.5\. Use method='softmax'"):
        draw([1.0, -0.5], 1, [0])
    X = np.array([[0.0], [10.0], [1.0], [5.0]])
    selector = StochasticBatchSelector(MarginSelector(LogisticRegression()))
    with pytest.raises(ValueError, match="MarginSelector"):
        selector.fit(X, [0, 1, -1, -1]).select(X, 2)


def test_power_accepts_a_zero_that_rounding_made_negative():
    np.testing.assert_array_equal(draw([-1e-16, 2.0], 2, [0])[0], [1, 0])


def test_scores_are_those_of_the_inner_selector():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((60, 3)), np.arange(20) % 2
    clf = LogisticRegression().fit(X[:20], y)
    inner = EntropySelector(clf).fit_pool(X[:20], y)
    selector = StochasticBatchSelector(EntropySelector(clf), random_state=0).fit_pool(X[:20], y)
    _, scores = selector.select(X[20:], 5, return_scores=True)
    np.testing.assert_array_equal(scores, inner.score_samples(X[20:]))
    np.testing.assert_array_equal(selector.score_samples(X[20:]), scores)
    assert selector.score(X[:20], y) == inner.score(X[:20], y)


def test_the_inner_selector_is_left_as_it_is():
    inner = EntropySelector()
    X = np.random.default_rng(0).standard_normal((30, 2))
    learner = ActiveLearner(
        LogisticRegression(), StochasticBatchSelector(inner), random_state=0
    ).fit(X[:10], np.arange(10) % 2)
    first, second = learner.query(X[10:], 5), learner.query(X[10:], 5)
    assert learner.selector_.selector_.estimator_ is learner.estimator_
    assert inner.estimator is None
    assert not hasattr(inner, "classes_")
    assert set(first) != set(second)  # each query draws anew


def test_the_inner_selector_keeps_its_own_classifier_and_classes():
    X = np.random.default_rng(0).standard_normal((30, 2))
    clf = LogisticRegression().fit(X, np.array(["a", "b", "c"])[np.arange(30) % 3])
    selector = StochasticBatchSelector(EntropySelector(clf))
    selector.fit_pool(X[:4], ["a", "b", "a", "b"], X[4:])
    assert selector.estimator_ is clf
    assert list(selector.classes_) == ["a", "b", "c"]
    selector.set_params(classes=["a", "b", "c", "d"]).fit_pool(X[:4], ["a", "b", "a", "b"])
    assert list(selector.selector_.classes_) == ["a", "b", "c", "d"]


def test_what_the_inner_selector_prepares_is_used():
    class Prepared(FirstColumn):
        def _fit_pool(self, X_labeled, codes, X_pool):
            return "prepared"

        def _select(self, X, n, prepared):
            assert prepared == "prepared"
            return super()._select(X, n, prepared)

    X = np.arange(5.0)[:, None]
    positions, _ = StochasticBatchSelector(Prepared()).fit_select(X[:1], [0], X, 3)
    assert len(positions) == 3


def test_texts_and_sparse_rows():
    texts = ["good fun", "bad", "fun film", "bad film", "dull", "good plot", "bad plot"]
    pipeline = make_pipeline(CountVectorizer(), LogisticRegression())
    for selector in (
        StochasticBatchSelector(EntropySelector(pipeline), random_state=0),
        StochasticBatchSelector(EntropySelector(), estimator=pipeline, random_state=0),
        StochasticBatchSelector(StochasticBatchSelector(EntropySelector(pipeline)), random_state=0),
    ):
        positions, _ = selector.fit_select(texts[:2], ["good", "bad"], texts[2:], 3)
        assert len(set(positions)) == 3
    X = CountVectorizer().fit_transform(texts)
    for inner in (EntropySelector(LogisticRegression()), RandomSelector()):
        positions, _ = StochasticBatchSelector(inner).fit_select(X[:2], [1, 0], X[2:], 3)
        assert len(set(positions)) == 3
