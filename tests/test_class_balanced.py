"""Class-balanced choice: the solvers against plain versions, and what they are given."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.optimize import Bounds, LinearConstraint, milp
from sklearn.base import clone
from sklearn.datasets import make_blobs
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import parametrize_with_checks

from skvaball import ActiveLearner, ActiveLearningSimulator
from skvaball.networks import DeepClassifier
from skvaball.selectors import (
    EntropySelector,
    LeastConfidenceSelector,
    MarginSelector,
    QuerySelector,
    RandomSelector,
    StochasticBatchSelector,
)
from skvaball.selectors._class_balanced import (
    ClassBalancedSelector,
    _Problem,
    solve_greedy,
    solve_milp,
    solve_relaxed,
)
from skvaball.utils.estimator_checks import parametrize_with_selector_checks
from skvaball.vab import VaBQuerySelector

SOLVERS = ["relaxed", "milp", "greedy"]


def problem(seed, n_rows, n_classes, n, lam, sharp=0.5):
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(n_classes, sharp), n_rows)
    quotas = np.maximum(0, rng.normal(n / n_classes, n / n_classes, n_classes))
    return _Problem(rng.random(n_rows), probabilities, quotas, lam, n)


def cheapest(p):
    """The lowest cost of any batch, by trying all of them."""
    rows = range(len(p.values))
    return min(p.cost(np.array(batch)) for batch in combinations(rows, p.n))


problems = st.builds(
    lambda seed, n_rows, n_classes, n, lam: problem(seed, n_rows, n_classes, min(n, n_rows), lam),
    seed=st.integers(0, 10**6),
    n_rows=st.integers(1, 11),
    n_classes=st.integers(1, 4),
    n=st.integers(1, 11),
    lam=st.sampled_from([0.0, 0.1, 0.25, 1.0, 5.0]),
)


def check_batch(rows, p):
    assert rows.dtype == np.int64
    assert rows.shape == (p.n,)
    assert len(np.unique(rows)) == p.n


# -- the solvers -------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(problems)
def test_milp_finds_the_optimum(p):
    rows = solve_milp(p, gap=0.0, time_limit=60)
    check_batch(rows, p)
    assert p.cost(rows) <= cheapest(p) + 1e-5


@settings(max_examples=100, deadline=None)
@given(problems)
def test_no_batch_is_better_than_the_relaxation(p):
    relaxed = solve_relaxed(p)
    check_batch(relaxed.rows, p)
    assert relaxed.bound <= cheapest(p) + 1e-6


def plain_milp(p):
    """The best batch, by the integer program as a whole."""
    costs, equations, right, upper = p.program()
    constraints = LinearConstraint(equations, right, right)
    whole = np.isfinite(upper).astype(int)
    solution = milp(costs, constraints=constraints, integrality=whole, bounds=Bounds(0, upper))
    return np.flatnonzero(solution.x[: len(p.values)] > 0.5)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.25, 1.0]))
@example(1800, 0.25)
def test_milp_stays_within_the_gap(seed, lam):
    p = problem(seed, 300, 4, 12, lam)
    rows = solve_milp(p, gap=0.02, time_limit=60)
    check_batch(rows, p)
    tolerance = 0.02 * 12 + 1e-6
    # The relaxation is a bound on the optimum, which may be farther from it than the gap.
    if p.cost(rows) > solve_relaxed(p).bound + tolerance:
        assert p.cost(rows) <= p.cost(plain_milp(p)) + tolerance


@pytest.mark.parametrize("sharp", [0.05, 0.5, 5.0])
def test_the_relaxation_of_a_part_is_that_of_the_whole(sharp):
    # Larger than the part it begins with; the prices must show that no row could improve it.
    p = problem(0, 5000, 6, 20, 0.5, sharp)
    relaxed = solve_relaxed(p)
    from scipy.optimize import linprog

    costs, equations, right, upper = p.program()
    bounds = np.stack([np.zeros_like(upper), upper], axis=1)
    whole = linprog(costs, A_eq=equations, b_eq=right, bounds=bounds)
    assert relaxed.bound == pytest.approx(whole.fun, abs=1e-5)
    # Rounding moves a few rows only.
    assert p.cost(relaxed.rows) <= relaxed.bound + 7


@settings(max_examples=100, deadline=None)
@given(problems)
def test_greedy_takes_the_best_row_each_time(p):
    rows = solve_greedy(p)
    check_batch(rows, p)
    for i, row in enumerate(rows):
        left = [j for j in range(len(p.values)) if j not in rows[:i]]
        costs = [p.cost(np.append(rows[:i], j)) for j in left]
        assert p.cost(np.append(rows[:i], row)) <= min(costs) + 1e-9


def test_worked_by_hand():
    # Quotas 0 and 2. Rows 0 and 1 are worth more, and surely of class 0: with lam 0.25 they
    # cost 0.25 * (2 + 2) - 2 = -1; rows 2 and 3, of class 1, cost 0 - 1.4; one of each
    # 0.25 * 2 - 1.7 = -1.2. With lam 0.1: -1.6, -1.4 and -1.5.
    probabilities = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    p = _Problem(np.array([1.0, 1.0, 0.7, 0.7]), probabilities, np.array([0.0, 2.0]), 0.25, 2)
    for solve in (lambda p: solve_milp(p, 0.0, 60), solve_greedy, lambda p: solve_relaxed(p).rows):
        assert set(solve(p)) == {2, 3}
        assert set(solve(p._replace(lam=0.1))) == {0, 1}
    assert p.cost(np.array([0, 2])) == pytest.approx(-1.2)


def test_running_out_of_time_warns_and_takes_the_best_so_far():
    p = problem(1, 400, 6, 9, 2.0)
    assert p.cost(solve_relaxed(p).rows) > solve_relaxed(p).bound + 0.01
    with pytest.warns(ConvergenceWarning, match=r"time_limit=1e-09 s.* more than the best one"):
        rows = solve_milp(p, gap=1e-3, time_limit=1e-9)
    np.testing.assert_array_equal(rows, solve_relaxed(p).rows)


# -- the selector ------------------------------------------------------------------------


def blobs(n=200):
    X, y = make_blobs(n, centers=3, cluster_std=3.0, random_state=0)
    return X, np.array(["a", "b", "c"])[y]


def fitted_model():
    X, y = blobs()
    return LogisticRegression().fit(X[:30], y[:30])


@pytest.mark.parametrize("solver", SOLVERS)
def test_without_a_weight_the_highest_scores_are_taken(solver):
    X, y = blobs()
    selector = ClassBalancedSelector(estimator=fitted_model(), lam=0, solver=solver)
    picks, scores = selector.fit_select(X[:30], y[:30], X[30:], 20)
    plain, entropy = EntropySelector(fitted_model()).fit_select(X[:30], y[:30], X[30:], 20)
    np.testing.assert_array_equal(scores, entropy)
    np.testing.assert_array_equal(picks, plain)


@pytest.mark.parametrize("solver", SOLVERS)
def test_fills_up_what_is_missing(solver):
    # 20 labels of a, 5 of b and none of c: after 15 more there would be 40 / 3 of each, so
    # that b lacks 8.3 and c 13.3.
    X, y = blobs(600)
    model = LogisticRegression().fit(X[:100], y[:100])
    start = np.r_[np.flatnonzero(y == "a")[:20], np.flatnonzero(y == "b")[:5]]
    selector = ClassBalancedSelector(estimator=model, lam=5, solver=solver, classes=list("abc"))
    picks, _ = selector.fit_select(X[start], y[start], X, 15)
    expected = model.predict_proba(X[picks]).sum(axis=0)
    assert expected[0] < 1
    assert expected[1] <= 25 / 3 + 1
    assert expected[2] <= 40 / 3 + 1
    plain, _ = EntropySelector(model).fit_select(X[start], y[start], X, 15)
    assert model.predict_proba(X[plain]).sum(axis=0)[0] > 2


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_scale_of_the_scores_does_not_matter(solver):
    class Scaled(EntropySelector):
        def _score(self, X):
            return 1e4 * super()._score(X) - 77

    X, y = blobs()
    picks = [
        ClassBalancedSelector(inner, fitted_model(), solver=solver).fit_select(
            X[:30], y[:30], X[30:], 12
        )[0]
        for inner in (EntropySelector(), Scaled())
    ]
    np.testing.assert_array_equal(*picks)


def test_equal_scores_leave_the_balance():
    class Equal(QuerySelector):
        def _score(self, X):
            return np.ones(len(X))

    X, y = blobs()
    selector = ClassBalancedSelector(Equal(), fitted_model(), solver="milp", gap=0.001)
    picks, _ = selector.fit_select(X[:30], y[:30], X[30:], 30)
    counts = np.array([np.sum(y[:30] == c) for c in "abc"])
    after = counts + fitted_model().predict_proba(X[30:][picks]).sum(axis=0)
    np.testing.assert_allclose(after, 20, atol=0.3)


def test_rows_are_ordered_by_score():
    X, y = blobs()
    for solver in ("relaxed", "milp"):
        selector = ClassBalancedSelector(MarginSelector(), fitted_model(), solver=solver)
        picks, scores = selector.fit_select(X[:30], y[:30], X[30:], 20)
        assert np.all(np.diff(scores[picks]) <= 0)


def test_the_strategy_is_given_what_it_leaves_open():
    X, y = blobs()
    inner = RandomSelector()
    selector = ClassBalancedSelector(inner, fitted_model(), random_state=3).fit_pool(
        X[:30], y[:30], X[30:]
    )
    assert selector.selector_ is not inner
    assert inner.random_state is None
    assert selector.selector_.estimator is selector.estimator_
    assert list(selector.selector_.classes) == list("abc")
    again = clone(selector).fit_pool(X[:30], y[:30], X[30:])
    np.testing.assert_array_equal(selector.score_samples(X), again.score_samples(X))
    # On other rows than the labeled ones: it is used as it is.
    own = LogisticRegression(C=1e-3).fit(X, y)
    selector = ClassBalancedSelector(MarginSelector(own), fitted_model())
    selector.fit_pool(X[:30], y[:30], X[30:])
    expected = MarginSelector(own).fit_pool(X[:30], y[:30], X[30:]).score_samples(X)
    np.testing.assert_array_equal(selector.score_samples(X), expected)


@pytest.mark.parametrize("kind", [EntropySelector, LeastConfidenceSelector, MarginSelector])
def test_the_pool_is_predicted_once_if_strategy_and_balance_ask_one_classifier(kind, monkeypatch):
    X, y = blobs()
    calls = []
    predict = LogisticRegression.predict_proba
    monkeypatch.setattr(
        LogisticRegression,
        "predict_proba",
        lambda self, X: calls.append(len(X)) or predict(self, X),
    )
    model = fitted_model()
    expected = kind(model).fit_pool(X[:30], y[:30], X[30:]).score_samples(X[30:])
    calls.clear()
    selector = ClassBalancedSelector(kind(), model)
    _, scores = selector.fit_select(X[:30], y[:30], X[30:], 20)
    assert calls == [170]
    np.testing.assert_array_equal(scores, expected)

    class Negative(kind):
        def _score(self, X):
            return -super()._score(X)

    _, negative = ClassBalancedSelector(Negative(), model).fit_select(X[:30], y[:30], X[30:], 20)
    np.testing.assert_array_equal(negative, -expected)


def test_parameters_of_the_strategy_are_checked():
    X, y = blobs()
    selector = ClassBalancedSelector(VaBQuerySelector(lam=-1), fitted_model())
    with pytest.raises(ValueError, match="'lam' parameter of VaBQuerySelector"):
        selector.fit_pool(X[:30], y[:30], X[30:])
    nothing = VaBQuerySelector(use_difficulty=False, posterior="normalized")
    with pytest.raises(ValueError, match="use_difficulty=False needs"):
        selector.set_params(selector=nothing).fit_select(X[:30], y[:30], X[30:], 5)


def test_parameters_of_the_strategy_can_be_set():
    selector = ClassBalancedSelector(MarginSelector())
    selector.set_params(selector__random_state=4, lam=1)
    assert selector.selector.random_state == 4


def test_what_the_strategy_has_prepared_is_used():
    class Prepares(EntropySelector):
        def _fit_pool(self, X_labeled, codes, X_pool):
            return "prepared"

        def _select(self, X, n, prepared):
            seen.append(prepared)
            return super()._select(X, n, prepared)

    seen = []
    X, y = blobs()
    ClassBalancedSelector(Prepares(), fitted_model()).fit_select(X[:30], y[:30], X[30:], 3)
    assert seen == ["prepared"]


def test_a_dominant_class_is_labeled_less():
    rng = np.random.default_rng(0)
    X, codes = make_blobs([400, 40, 40], centers=None, cluster_std=3.0, random_state=1)
    order = rng.permutation(len(X))
    X, y = X[order], codes[order]
    shares = []
    for selector in (EntropySelector(), ClassBalancedSelector()):
        learner = ActiveLearner(LogisticRegression(), selector)
        simulator = ActiveLearningSimulator(
            learner, batch_size=15, n_rounds=3, n_initial=30, random_state=0
        ).fit(X, y)
        counts = simulator.history_[-1]["class_counts"]
        shares.append(counts[0] / counts.sum())
    assert shares[1] < shares[0]


@pytest.mark.parametrize("wrap", [ClassBalancedSelector, StochasticBatchSelector])
def test_a_fitted_classifier_of_the_inner_selector_may_know_more_classes(wrap):
    X, y = make_blobs(60, centers=3, random_state=0)
    knows_three = LogisticRegression().fit(X, y)
    labeled = np.flatnonzero(y < 2)
    inner = MarginSelector(knows_three)
    selector = wrap(inner, estimator=LogisticRegression(), random_state=0)
    if wrap is StochasticBatchSelector:
        selector.set_params(method="softmax")
    selector.fit_pool(X[labeled], y[labeled], X)
    alone = MarginSelector(knows_three).fit_pool(X[labeled], y[labeled], X)
    np.testing.assert_array_equal(selector.selector_.score_samples(X), alone.score_samples(X))
    assert selector.classes_.tolist() == [0, 1]
    with pytest.raises(ValueError, match=r"\[2\] are not among classes"):
        selector.set_params(classes=[0, 1]).fit_pool(X[labeled], y[labeled], X)


@pytest.mark.parametrize("estimator", [LogisticRegression, "lr"])
def test_an_inner_selector_with_no_classifier_is_refused(estimator):
    selector = ClassBalancedSelector(MarginSelector(estimator), estimator=LogisticRegression())
    with pytest.raises((TypeError, ValueError), match=r"is a class; pass an instance|Got 'lr'"):
        selector.fit_pool(np.eye(4), [0, 1, 0, 1], np.eye(4))


def test_needs_probabilities():
    from sklearn.svm import LinearSVC

    X, y = blobs()
    with pytest.raises(ValueError, match="ClassBalancedSelector needs a classifier with"):
        ClassBalancedSelector(estimator=LinearSVC()).fit_pool(X[:30], y[:30], X[30:])


# -- the checks --------------------------------------------------------------------------


@parametrize_with_checks(
    [
        ClassBalancedSelector(estimator=LogisticRegression()),
        ClassBalancedSelector(MarginSelector(), LogisticRegression(), solver="greedy"),
        ClassBalancedSelector(estimator=LogisticRegression(), solver="milp"),
    ]
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@parametrize_with_selector_checks(
    [
        ClassBalancedSelector(),
        ClassBalancedSelector(estimator=DeepClassifier(max_epochs=3), solver="greedy"),
    ]
)
def test_selector_checks(selector, check):
    check(selector)
