"""GALAXY: bisection between labels that disagree."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import parametrize_with_checks

from skvaball import ActiveLearner, ActiveLearningSimulator
from skvaball.selectors._galaxy import GALAXYSelector
from skvaball.selectors._rankings import class_margins, rank_rows, stable_order
from skvaball.utils.estimator_checks import parametrize_with_selector_checks


class ReadsProbabilities(ClassifierMixin, BaseEstimator):
    """A classifier whose input is its output, so that a test can set the rankings."""

    def fit(self, X, y):
        self.classes_ = np.arange(X.shape[1])
        return self

    def predict_proba(self, X):
        return np.asarray(X)

    def predict(self, X):
        return np.asarray(X).argmax(axis=1)


def line(n):
    """Rows of two classes; row i stands at place i of the only list."""
    first = np.linspace(1, 0, n)
    return np.stack([first, 1 - first], axis=1)


def ask(X, labels, n, **params):
    """The rows, positions in X, that a query with the given {row: label} picks."""
    labeled = np.array(list(labels))
    pool = np.setdiff1d(np.arange(len(X)), labeled)
    params = {"random_state": 0, "classes": np.arange(X.shape[1]), **params}
    selector = GALAXYSelector(ReadsProbabilities(), **params)
    picks, _ = selector.fit_select(X[labeled], np.array(list(labels.values())), X[pool], n)
    return pool[picks].tolist()


# -- worked by hand ----------------------------------------------------------------------


def test_bisects_with_a_label_after_each_pick():
    # Places 0 to 6 are of class 0, the others of class 1; the first and the last are known.
    X, truth = line(11), [0] * 7 + [1] * 4
    labels = {0: 0, 10: 1}
    asked = []
    for _ in range(6):
        (row,) = ask(X, labels, 1)
        labels[row] = truth[row]
        asked.append(row)
    # Middle of 0 and 10: 5, of class 0. Middle of 5 and 10: 7, of class 1. Middle of 5 and
    # 7: 6. The threshold is at 6.5: 8 is closest (1.5), then 4 and 9 (2.5), top one first.
    assert asked == [5, 7, 6, 8, 4, 9]


def test_predictions_stand_in_for_labels_inside_a_query():
    # The classifier's own threshold is at 5.5: place 5 has even odds, predicted as class 0.
    # 5 (taken for 0), middle of 5 and 10: 7 (for 1), middle of 5 and 7: 6 (for 1). Closest
    # to 5.5: 4 (1.5), then 3 and 8 (2.5), top one first.
    assert ask(line(11), {0: 0, 10: 1}, 5) == [5, 7, 6, 4, 3]


def test_the_shortest_run_comes_first():
    # Runs 1..4 and 6..8 disagree; 10..18 does not. The shorter one is 6..8, its middle 7.
    assert ask(line(20), {0: 0, 5: 1, 9: 0, 19: 0}, 1) == [7]


def test_of_equally_short_runs_the_upper_one_comes_first():
    assert ask(line(9), {0: 0, 4: 1, 8: 0}, 1) == [2]


def test_a_run_whose_ends_agree_is_left_alone():
    # Row 2 lies between labels that agree; rows 4 and 5 between labels that do not.
    assert ask(line(7), {0: 0, 1: 0, 3: 0, 6: 1}, 1) == [4]


def test_rows_are_ranked_by_confidence_where_predicted_and_by_deficit_below():
    P = np.array(
        [
            [0.5, 0.3, 0.2],  # class 0 predicted with 0.5
            [0.4, 0.6, 0.0],  # 0.2 behind
            [0.45, 0.1, 0.45],  # predicted too, with 0.45: on a par with class 2
            [0.1, 0.2, 0.7],  # 0.6 behind
            [0.9, 0.1, 0.0],  # the most confident
        ]
    )
    rankings = rank_rows(P[:2], np.array([0, 1]), P[2:])
    assert rankings.order[0].tolist() == [4, 0, 2, 1, 3]
    # Class 1 is predicted for row 1 only; behind by 0.2, 0.35, 0.5 and 0.8.
    assert rankings.order[1].tolist() == [1, 0, 2, 3, 4]
    assert rankings.signs.tolist() == [[1, -1], [-1, 1], [-1, -1]]
    np.testing.assert_allclose(class_margins(P)[0], [0.2, -0.2, 0.0, -0.6, 0.8])


@given(
    arrays(np.float64, st.integers(1, 60), elements=st.sampled_from([-1.0, -0.0, 0.0, 0.5, 2.0]))
)
@settings(deadline=None)
def test_ties_are_ordered_by_position(values):
    np.testing.assert_array_equal(stable_order(values), np.argsort(values, kind="stable"))


@pytest.mark.parametrize("decimals", [1, 3, 17])
def test_long_lists_are_ordered_as_by_a_stable_sort(decimals):
    values = np.random.default_rng(0).random(5000).round(decimals)
    np.testing.assert_array_equal(stable_order(values), np.argsort(values, kind="stable"))


def test_classes_take_turns_from_query_to_query():
    P = np.array(
        [
            [0.90, 0.06, 0.04],
            [0.08, 0.87, 0.05],
            [0.03, 0.12, 0.85],
            [0.60, 0.30, 0.10],
            [0.25, 0.55, 0.20],
            [0.20, 0.35, 0.45],
        ]
    )
    # List 0 is 0 3 5 4 1 2 with labels at places 0, 4, 5: with three labels it is its turn,
    # and the middle of 0 and 4 is row 5.
    labels = {0: 0, 1: 1, 2: 2}
    assert ask(P, labels, 1) == [5]
    # List 1 is 1 4 5 3 2 0: with four labels it asks for row 4, between 1 and 5; list 0
    # would have asked for row 3.
    labels[5] = 2
    assert ask(P, labels, 1) == [4]
    # List 2 is 2 5 4 3 1 0, known but for row 3: between 4, of class 1, and 1 there is no
    # run with ends that disagree, and 3 is the only row left.
    labels[4] = 1
    assert ask(P, labels, 1) == [3]


def test_a_list_without_disagreement_asks_at_random():
    X = line(50)
    asked = {ask(X, {0: 0, 3: 0}, 1, random_state=seed)[0] for seed in range(20)}
    assert len(asked) > 10


@pytest.mark.parametrize("order", ["round_robin", "uniform"])
def test_random_picks_differ_between_queries_with_a_fixed_seed(order):
    X = line(500)
    first = ask(X, {0: 0, 3: 0}, 1, order=order)
    second = ask(X, {0: 0, 3: 0, 5: 0}, 1, order=order)
    assert first != second


# -- against a plain version of the rule -------------------------------------------------


def plain_galaxy(lists, labels, predicted, n, turns):
    """GALAXY by scanning whole lists; -1 stands for a random pick."""
    known, picks = dict(labels), []
    for turn in turns[:n]:
        order = lists[turn]
        signs = [None if row not in known else known[row] == turn for row in order]
        places = [p for p, sign in enumerate(signs) if sign is not None]
        pairs = [(a, b) for a, b in zip(places, places[1:]) if signs[a] != signs[b]]  # noqa: B905, RUF007
        runs = [(b - a, a, b) for a, b in pairs if b - a > 1]
        if runs:
            _, a, b = min(runs)
            row = order[(a + b) // 2]
        elif pairs:
            open_places = [p for p, sign in enumerate(signs) if sign is None]
            row = order[min(open_places, key=lambda p: min(abs(p - a - 0.5) for a, _ in pairs))]
        else:
            return [*picks, -1]
        picks.append(row)
        known[row] = predicted[row]
    return picks


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 5), st.integers(1, 12), st.integers(1, 25))
def test_picks_are_those_of_the_plain_rule(seed, n_classes, n_labeled, n_pool):
    rng = np.random.default_rng(seed)
    X = rng.dirichlet(np.ones(n_classes), n_labeled + n_pool)
    codes = rng.integers(n_classes, size=n_labeled)
    selector = GALAXYSelector(ReadsProbabilities(), classes=np.arange(n_classes), random_state=seed)
    n = int(rng.integers(1, n_pool + 1))
    picks, scores = selector.fit_select(X[:n_labeled], codes, X[n_labeled:], n)
    assert len(np.unique(picks)) == n
    assert np.isfinite(scores).all()
    rankings = rank_rows(X[:n_labeled], codes, X[n_labeled:])
    # With two classes the only list counts from the first one.
    turns = [(n_labeled + j) % len(rankings.order) for j in range(n)]
    expected = plain_galaxy(
        rankings.order.tolist(), dict(enumerate(codes)), X.argmax(axis=1), n, turns
    )
    if expected and expected[-1] == -1:
        expected.pop()
    assert (picks[: len(expected)] + n_labeled).tolist() == expected


# -- properties --------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 299), st.integers(0, 100))
def test_finds_the_threshold_with_logarithmically_many_labels(cut, seed):
    n = 300
    X = np.arange(float(n))[:, None]
    y = np.where(np.arange(n) < cut, "low", "up")
    learner = ActiveLearner(LogisticRegression(), GALAXYSelector(), random_state=seed)
    learner.fit(X[[0, -1]], y[[0, -1]])
    pool = np.arange(1, n - 1)
    for _ in range(int(np.ceil(np.log2(n)))):
        (position,) = learner.query(X[pool], 1)
        learner.teach(X[pool[[position]]], y[pool[[position]]], refit=False)
        pool = np.delete(pool, position)
    assert {cut - 1, cut} <= set(learner.X_labeled_[:, 0].astype(int))


def test_the_row_asked_next_scores_highest():
    X = line(20)
    selector = GALAXYSelector(ReadsProbabilities())
    picks, scores = selector.fit_select(X[[0, 5, 19]], np.array([0, 1, 1]), X[1:5], 1)
    assert picks[0] == scores.argmax()
    assert scores[picks[0]] == 0
    np.testing.assert_array_equal(selector.score_samples(X[1:5]), scores)


def test_scores_are_margins_where_no_labels_disagree():
    X = line(20)
    selector = GALAXYSelector(ReadsProbabilities(), classes=[0, 1])
    selector.fit_pool(X[:2], np.array([0, 0]), X[2:])
    assert np.isnan(selector.cuts_).all()
    np.testing.assert_allclose(selector.score_samples(X), -np.abs(X[:, 0] - X[:, 1]))


def test_select_from_another_pool_ranks_that_pool():
    X, y = line(40), np.array([0, 1])
    selector = GALAXYSelector(ReadsProbabilities()).fit_pool(X[[0, -1]], y, X[1:10])
    fitted_there = GALAXYSelector(ReadsProbabilities()).fit_pool(X[[0, -1]], y, X[20:39])
    np.testing.assert_array_equal(selector.select(X[20:39], 5), fitted_there.select(X[20:39], 5))


def test_labels_inside_a_batch_reach_it_through_the_simulator():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 2))
    y = (X[:, 0] > 1).astype(int)
    learner = ActiveLearner(LogisticRegression(), GALAXYSelector())
    at_once, one_by_one = (
        ActiveLearningSimulator(
            learner, batch_size=8, n_rounds=1, query_size=size, random_state=0
        ).fit(X, y)
        for size in (None, 1)
    )
    a, b = at_once.history_[1]["queried"], one_by_one.history_[1]["queried"]
    assert a[0] == b[0]
    assert set(a) != set(b)


# -- the checks --------------------------------------------------------------------------


@parametrize_with_checks(
    [GALAXYSelector(LogisticRegression()), GALAXYSelector(LogisticRegression(), order="uniform")]
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@parametrize_with_selector_checks([GALAXYSelector(), GALAXYSelector(order="uniform")])
def test_selector_checks(selector, check):
    check(selector)
