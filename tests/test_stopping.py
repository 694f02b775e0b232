"""Stopping rules: what they measure, when they stop, in a loop and in the simulator."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import cohen_kappa_score
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.svm import LinearSVC

from skvaball import (
    ActiveLearner,
    ActiveLearningSimulator,
    VaBQuerySelector,
    learning_curve_scorer,
)
from skvaball.selectors import (
    ClassBalancedSelector,
    LeastConfidenceSelector,
    MarginSelector,
    RandomSelector,
    StochasticBatchSelector,
)
from skvaball.stopping import (
    ExpectedError,
    LabelBudget,
    StablePredictions,
    StoppingRule,
    cohen_kappa,
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 3))
y = (X[:, 0] + 0.3 * RNG.normal(size=120) > 0).astype(int)

RULES = [
    LabelBudget(20),
    StablePredictions(0.9, window=2),
    ExpectedError(0.2),
    ExpectedError(0.2, LeastConfidenceSelector(), n_rows=30, random_state=0),
]


class Predicts(BaseEstimator):
    """A fitted learner that predicts what it is told."""

    def __init__(self, *labels):
        self.labels = list(labels)

    def fit(self, X, y):
        return self

    def __sklearn_is_fitted__(self):
        return True

    def predict(self, X):
        return np.asarray(self.labels.pop(0))


def learner(n=20, estimator=None):
    return ActiveLearner(estimator or LogisticRegression(), MarginSelector()).fit(X[:n], y[:n])


def simulator(stopping, **params):
    given = {"batch_size": 5, "n_rounds": 15, "n_initial": 8, "random_state": 0, **params}
    template = ActiveLearner(LogisticRegression(), MarginSelector())
    return ActiveLearningSimulator(template, stopping=stopping, **given)


# What is measured


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40))
def test_kappa_is_that_of_scikit_learn(pairs):
    first, second = np.array(pairs).T
    kappa = cohen_kappa(first, second)
    if len(set(first) | set(second)) == 1:
        assert np.isnan(kappa)
    else:
        assert kappa == pytest.approx(cohen_kappa_score(first, second), abs=1e-12)
        assert kappa == pytest.approx(cohen_kappa(second, first), abs=1e-12)


def test_kappa_takes_labels_of_any_type():
    assert cohen_kappa(["a", "b"], ["a", "b"]) == 1
    assert cohen_kappa(["a", "b"], ["b", "a"]) == -1


def test_stable_predictions_average_the_last_kappas():
    a, b, c = [0, 0, 1, 1], [0, 0, 1, 0], [0, 1, 1, 0]
    rule = StablePredictions(0.8, window=2, stop_set=X[:4])
    told = Predicts(a, b, c, c, c)
    assert [rule.should_stop(told, X) for _ in range(5)] == [False, False, False, False, True]
    # Kappa of b and c: they agree in 3 of 4, by chance in (3 * 2 + 1 * 2) / 16.
    assert rule.values_[1:] == [0.5, 0.5, 1.0, 1.0]
    assert np.isnan(rule.values_[0])


def test_a_classifier_that_knows_one_class_is_not_stable():
    rule = StablePredictions(0.5, window=1, stop_set=X[:3])
    told = Predicts([0, 0, 0], [0, 0, 0], [0, 0, 1], [0, 0, 1])
    assert [rule.should_stop(told, X) for _ in range(4)] == [False, False, False, True]


@given(
    values=st.lists(st.floats(-1, 1) | st.just(float("nan")), max_size=8),
    window=st.integers(1, 4),
    threshold=st.floats(0.1, 1),
)
def test_stable_predictions_stop_when_the_mean_of_the_window_is_high(values, window, threshold):
    told = Predicts([0, 1, 0])
    rule = StablePredictions(threshold, window, stop_set=X[:3])
    values = [float("nan"), *values]
    rule.resume(values, told, X)
    last = values[1:][-window:]
    expected = len(last) == window and bool(np.mean(last) >= threshold)
    assert rule.stopped_ == expected


def test_a_rule_that_is_resumed_at_the_start_forgets_its_other_run():
    rule = StablePredictions(window=1, n_stop=10, random_state=0)
    for _ in range(2):
        rule.should_stop(learner(), X[20:])
    rule.resume([], learner(), X)
    rule.should_stop(learner(), X)
    assert np.isnan(rule.values_).all()
    assert not rule.stopped_


def test_a_rule_that_cannot_be_resumed_is_as_it_was():
    rule = StablePredictions(window=1, n_stop=10, random_state=0)
    rule.should_stop(learner(), X[20:])
    before = dict(vars(rule))
    with pytest.raises(ValueError, match="features"):
        rule.resume([1.0], learner(), X[:, :2])
    assert vars(rule) == before


def test_the_stop_set_is_drawn_once_from_the_first_pool():
    rule = StablePredictions(n_stop=10, random_state=0)
    rule.should_stop(learner(), X[20:])
    drawn = rule.stop_set_
    assert drawn.shape == (10, 3)
    assert all((X[20:] == row).all(axis=1).any() for row in drawn)
    rule.should_stop(learner(), X[40:])
    assert rule.stop_set_ is drawn
    whole = StablePredictions()
    whole.should_stop(learner(), X[20:])
    np.testing.assert_array_equal(whole.stop_set_, X[20:])


def test_expected_error_is_one_minus_the_mean_confidence():
    taught = learner()
    rule = ExpectedError()
    rule.should_stop(taught, X[20:])
    expected = np.mean(1 - taught.predict_proba(X[20:]).max(axis=1))
    assert rule.values_ == [pytest.approx(expected, abs=1e-12)]
    # LeastConfidenceSelector has the same probabilities.
    other = ExpectedError(selector=LeastConfidenceSelector())
    other.should_stop(taught, X[20:])
    assert other.values_ == pytest.approx(rule.values_, abs=1e-12)
    assert ExpectedError(bound=expected + 1e-6).should_stop(taught, X[20:])
    assert not ExpectedError(bound=expected - 1e-6).should_stop(taught, X[20:])


@pytest.mark.filterwarnings("ignore::skvaball.exceptions.NothingLearnedWarning")
def test_expected_error_is_the_mean_score_of_vab():
    small = {"max_epochs": 2, "n_draws": 4, "n_units": 8, "hidden": (8,), "block_size": 3}
    selector = VaBQuerySelector(posterior="normalized", random_state=1, **small)
    taught = learner()
    rule = ExpectedError(selector=selector)
    rule.should_stop(taught, X[20:])
    own = clone(selector).set_params(estimator=taught.estimator_)
    own.fit_pool(X[:20], y[:20], X[20:])
    assert rule.values_ == [own.score_samples(X[20:]).mean()]
    assert not hasattr(selector, "estimator_")
    for form in ("joint", "surprise"):
        other = ExpectedError(selector=VaBQuerySelector(posterior=form, **small))
        with pytest.raises(ValueError, match=r"no probabilities.*posterior='normalized'"):
            other.should_stop(taught, X[20:])
    # Random scores are from 0 to 1, and yet no probabilities of a mistake.
    for chosen in (
        StochasticBatchSelector(VaBQuerySelector(**small)),
        MarginSelector(),
        RandomSelector(),
        ClassBalancedSelector(),
    ):
        with pytest.raises(ValueError, match=r"Selector.* are no probabilities of a mistake"):
            ExpectedError(selector=chosen).should_stop(taught, X[20:])
    inside = ExpectedError(selector=ClassBalancedSelector(LeastConfidenceSelector()))
    inside.should_stop(taught, X[20:])
    assert 0 < inside.values_[0] < 1


def test_expected_error_of_a_sample_is_near_that_of_the_pool():
    taught = learner()
    pool = np.tile(X, (20, 1))
    whole, part = ExpectedError(), ExpectedError(n_rows=500, random_state=0)
    again = clone(part)
    for rule in (whole, part, again):
        rule.should_stop(taught, pool)
    assert part.values_ == pytest.approx(whole.values_, abs=0.02)
    assert part.values_ == again.values_
    assert part.values_ != whole.values_


# The interface


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_every_rule_ends_a_loop(rule):
    rule = clone(rule)
    taught, pool = learner(8), np.arange(8, 120)
    while not rule.should_stop(taught, X[pool]):
        bought = taught.query(X[pool], rule.n_allowed(taught, 5))
        taught.teach(X[pool[bought]], y[pool[bought]])
        pool = np.delete(pool, bought)
    assert len(taught.y_labeled_) < 120
    assert rule.stopped_
    assert len(rule.values_) == 1 + np.ceil((len(taught.y_labeled_) - 8) / 5)


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_an_empty_pool_stops_every_rule(rule):
    rule = clone(rule)
    assert rule.should_stop(learner(), X[:0])
    assert np.isnan(rule.values_[0])


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_bad_input_leaves_a_rule_as_it_was(rule):
    rule = clone(rule)
    with pytest.raises(NotFittedError):
        rule.should_stop(ActiveLearner(), X)
    assert not hasattr(rule, "values_")
    taught = learner()
    rule.should_stop(taught, X[20:])
    before = dict(vars(rule))
    with pytest.raises(NotFittedError):
        rule.should_stop(ActiveLearner(), X[20:])
    if not isinstance(rule, LabelBudget | StablePredictions):
        with pytest.raises(ValueError, match="features"):
            rule.should_stop(taught, X[20:, :2])
    assert vars(rule) == before


def test_a_stop_set_that_the_learner_cannot_read_leaves_no_trace():
    rule = StablePredictions(stop_set=X[:, :2])
    with pytest.raises(ValueError, match="features"):
        rule.should_stop(learner(), X[20:])
    assert not hasattr(rule, "stop_set_")
    assert not hasattr(rule, "values_")


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        (LabelBudget(0), "n_labels"),
        (LabelBudget(2.5), "n_labels"),
        (StablePredictions(1.1), "threshold"),
        (StablePredictions(window=0), "window"),
        (StablePredictions(n_stop=0), "n_stop"),
        (ExpectedError(0), "bound"),
        (ExpectedError(selector="vab"), "selector"),
        (ExpectedError(n_rows=0), "n_rows"),
    ],
)
def test_parameters_out_of_range_are_named(rule, name):
    with pytest.raises(ValueError, match=f"The '{name}' parameter of {type(rule).__name__} must"):
        rule.should_stop(learner(), X[20:])
    with pytest.raises(ValueError, match=name):
        simulator(rule).fit(X, y)


def test_expected_error_needs_probabilities():
    taught = learner(estimator=LinearSVC())
    with pytest.raises(ValueError, match=r"needs a classifier with predict_proba.*Calibrated"):
        ExpectedError().should_stop(taught, X[20:])


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_rules_are_cloned_and_pickled(rule):
    used = clone(rule)
    used.should_stop(learner(), X[20:])
    fresh = clone(used)
    assert not hasattr(fresh, "values_")
    assert repr(fresh) == repr(rule)
    again = pickle.loads(pickle.dumps(used))
    taught = learner(40)
    assert again.should_stop(taught, X[40:]) == used.should_stop(taught, X[40:])
    np.testing.assert_array_equal(again.values_, used.values_)


def test_a_rule_of_your_own_needs_two_methods():
    with pytest.raises(NotImplementedError, match="StoppingRule must implement _measure"):
        StoppingRule().should_stop(learner(), X)


# In the simulator


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_the_simulator_plays_the_loop(rule):
    run = simulator(rule).fit(X, y)
    again, labeled = clone(run.stopping_), np.zeros(0, dtype=int)
    answers = []
    for entry in run.history_:
        labeled = np.concatenate([labeled, entry["queried"]])
        taught = clone(run.learner_).fit(X[labeled], y[labeled])
        answers.append(again.should_stop(taught, np.delete(X, labeled, axis=0)))
    assert answers == [False] * (len(answers) - 1) + [True]
    assert [entry["stopping"] for entry in run.history_] == pytest.approx(
        again.values_, nan_ok=True
    )
    assert run.stopping_.stopped_
    assert len(answers) < 16
    assert not hasattr(rule, "values_")


def test_a_budget_is_spent_to_the_last_label_and_no_further():
    run = simulator(LabelBudget(20)).fit(X, y)
    assert [entry["n_labeled"] for entry in run.history_] == [8, 13, 18, 20]
    assert len(simulator(LabelBudget(3)).fit(X, y).history_) == 1
    parts = simulator(LabelBudget(20), query_size=2).fit(X, y)
    assert [entry["n_labeled"] for entry in parts.history_] == [8, 13, 18, 20]


def test_rounds_remain_the_upper_limit():
    run = simulator(LabelBudget(100), n_rounds=2).fit(X, y)
    assert len(run.history_) == 3
    assert not run.stopping_.stopped_


def test_without_a_rule_nothing_is_recorded():
    run = simulator(None, n_rounds=1).fit(X, y)
    assert run.stopping_ is None
    assert "stopping" not in run.history_[0]


@pytest.mark.parametrize("rule", RULES, ids=repr)
@settings(max_examples=3, deadline=None)
@given(data=st.data())
def test_a_resumed_run_stops_where_it_would_have(rule, data):
    whole = simulator(rule).fit(X, y).history_
    k = data.draw(st.integers(1, len(whole)))
    run = simulator(rule)
    rest = list(run.iter_rounds(X, y, earlier=whole[:k]))
    assert [entry["n_labeled"] for entry in run.history_] == [e["n_labeled"] for e in whole]
    assert len(rest) == len(whole) - k
    for entry, expected in zip(rest, whole[k:], strict=True):
        np.testing.assert_array_equal(entry["queried"], expected["queried"])
        np.testing.assert_array_equal(entry["stopping"], expected["stopping"])
    assert run.stopping_.stopped_


def test_a_history_without_measurements_cannot_be_resumed_with_a_rule():
    history = simulator(None, n_rounds=1).fit(X, y).history_
    with pytest.raises(ValueError, match=r"lack what the stopping rule measured.*stopping=None"):
        list(simulator(LabelBudget()).iter_rounds(X, y, earlier=history))


def test_rules_are_searched_over_and_scored_by_round():
    search = GridSearchCV(
        simulator(StablePredictions(window=1, n_stop=20)),
        {"stopping__threshold": [0.3, 1.0], "stopping": [StablePredictions(window=1)]},
        cv=2,
    ).fit(X, y)
    assert not hasattr(search.best_estimator_.stopping, "values_")
    assert search.best_estimator_.stopping_.values_
    curves = cross_validate(
        simulator(StablePredictions(0.6, window=1), n_rounds=6),
        X,
        y,
        cv=3,
        scoring=learning_curve_scorer("accuracy"),
    )
    for i in range(7):
        assert curves[f"test_round_{i}"].shape == (3,)
    assert not np.isnan(curves["test_round_1"]).any()
    assert np.isnan(curves["test_round_6"]).any()


@pytest.mark.parametrize(("first", "second"), [([1], [1, 1, 2]), ([1, 2], [1, 2, 1, 2])])
def test_kappa_needs_labelings_of_one_length(first, second):
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        cohen_kappa(first, second)
