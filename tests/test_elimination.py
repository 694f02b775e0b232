"""Successive elimination: the same top rows with most of the draws left out."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from skvaball.selectors.base import top_positions
from skvaball.vab import VaBQuerySelector
from skvaball.vab.elimination import eliminate
from skvaball.vab.selector import EARLY_DRAWS

X, y = load_digits(return_X_y=True)
LABELED, POOL, Y = X[:200], X[200:1200], y[:200]


def noisy(exact, noise, seed):
    """Scores by few draws, by twice as many, and a function for the exact ones."""
    rng = np.random.default_rng(seed)
    first = exact + noise * rng.normal(size=len(exact))
    second = exact + noise * rng.normal(size=len(exact)) / np.sqrt(2)
    asked = []

    def exact_scores(rows):
        asked.append(rows)
        return exact[rows]

    return first, second, exact_scores, asked


def test_scores_that_are_exact_already_are_asked_for_hardly_at_all():
    exact = np.random.default_rng(0).permutation(10_000) / 10_000.0
    first, second, exact_scores, asked = noisy(exact, 0.0, 0)
    top = eliminate(first, second, exact_scores, 100, 0.99)
    np.testing.assert_array_equal(top.positions, top_positions(exact, 100))
    assert sum(map(len, asked)) <= 2 * 100


@pytest.mark.parametrize("noise", [0.001, 0.01, 0.05])
@pytest.mark.parametrize("spread", ["uniform", "peaked", "skewed"])
def test_nearly_all_of_the_top_are_found_at_a_part_of_the_cost(noise, spread):
    """Over 20 pools the stated share, up to chance, where rows differ in their noise."""
    found, cost = [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        exact = {
            "uniform": rng.uniform(size=4000),
            "peaked": 0.5 + 0.1 * rng.normal(size=4000),
            "skewed": rng.exponential(0.2, size=4000),
        }[spread]
        own = noise * rng.exponential(size=4000)
        first, second, exact_scores, asked = noisy(exact, own, seed)
        top = eliminate(first, second, exact_scores, 200, 0.99)
        found.append(np.isin(top_positions(exact, 200), top.positions).mean())
        cost.append(len(np.concatenate(asked)) / 4000)
    standard_error = np.std(found) / np.sqrt(20)
    assert np.mean(found) + 3 * standard_error >= 0.99
    assert np.mean(cost) < 0.5


def test_the_confidence_holds_for_a_small_batch():
    """Few known errors have no such quantile: the row that looked best is mostly not."""
    found = []
    for seed in range(200):
        exact = np.random.default_rng(seed).uniform(size=1000)
        first, second, exact_scores, _ = noisy(exact, 0.005, seed + 1000)
        found.append(eliminate(first, second, exact_scores, 1, 0.99).positions[0] == exact.argmax())
    assert np.mean(found) + 3 * np.std(found) / np.sqrt(200) >= 0.99


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    n_pool=st.integers(1, 300),
    share=st.floats(0.01, 1),
    noise=st.sampled_from([0.0, 0.01, 1.0, 100.0]),
    levels=st.sampled_from([1, 2, 5, 10**6]),
    confidence=st.floats(0.5, 0.999),
)
def test_no_row_is_asked_for_twice_and_what_is_said_is_so(
    seed, n_pool, share, noise, levels, confidence
):
    """Whatever the scores: equal ones, hopelessly noisy ones, or all of them wanted."""
    n = max(1, int(share * n_pool))
    exact = np.floor(np.random.default_rng(seed).uniform(size=n_pool) * levels) / levels
    first, second, exact_scores, asked = noisy(exact, noise, seed)
    top = eliminate(first, second, exact_scores, n, confidence)
    rows = np.concatenate(asked)
    assert len(np.unique(rows)) == len(rows)
    np.testing.assert_array_equal(np.flatnonzero(top.exact), np.sort(rows))
    np.testing.assert_array_equal(top.scores[top.exact], exact[top.exact])
    np.testing.assert_array_equal(top.scores[~top.exact], second[~top.exact])
    np.testing.assert_array_equal(top.positions, top_positions(top.scores, n))


def selector(**params):
    clf = LogisticRegression(max_iter=500).fit(LABELED, Y)
    settings = {"random_state": 0, "max_epochs": 10, "n_draws": 64, "batch": "top"}
    return VaBQuerySelector(clf, **{**settings, **params})


def test_a_query_says_which_scores_are_by_all_draws():
    fitted = selector()
    positions, scores = fitted.fit_select(LABELED, Y, POOL, 50)
    assert set(fitted.draws_used_) == {EARLY_DRAWS, 64}
    assert (fitted.draws_used_ == 64).mean() < 0.5
    exact = fitted.score_samples(POOL)
    assert np.array_equal(scores == exact, fitted.draws_used_ == 64)
    assert len(np.intersect1d(positions, top_positions(exact, 50))) >= 49


@pytest.mark.parametrize(
    "params", [{"confidence": None}, {"batch": "rebalance"}, {"n_draws": EARLY_DRAWS}]
)
def test_without_elimination_every_score_is_exact(params):
    fitted = selector(**params)
    _, scores = fitted.fit_select(LABELED, Y, POOL, 50)
    np.testing.assert_array_equal(scores, fitted.score_samples(POOL))
    assert (fitted.draws_used_ == fitted.n_draws).all()


def test_transform_uses_all_draws():
    fast, full = (selector(confidence=c).fit_pool(LABELED, Y, POOL) for c in (0.9, None))
    np.testing.assert_array_equal(fast.transform(POOL), full.transform(POOL))


@pytest.mark.parametrize("confidence", [0, 1, -0.5, "high"])
def test_a_confidence_that_is_no_probability_is_refused(confidence):
    with pytest.raises(ValueError, match="confidence"):
        selector(confidence=confidence).fit_pool(LABELED, Y, POOL)


def test_scores_that_have_not_moved_are_no_overflow():
    scores = np.r_[np.zeros(1700), np.linspace(1, 2, 300)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        top = eliminate(scores, scores, lambda rows: scores[rows], 50, 0.99)
    assert set(top.positions) == set(range(1950, 2000))
