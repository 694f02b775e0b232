"""The simulator: what it reveals, what it records, and how its strategies are compared."""

# ruff: noqa: NPY002 (that numpy's global generator stays as it was is tested here)

import pickle

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from skorch import NeuralNetClassifier
from torch import nn

from skvaball import (
    ActiveLearner,
    ActiveLearningSimulator,
    VaBQuerySelector,
    learning_curve_scorer,
)
from skvaball.networks import DeepClassifier
from skvaball.selectors import EntropySelector, MarginSelector, QuerySelector, RandomSelector
from skvaball.simulation import initial_positions

hardly_trained = pytest.mark.filterwarnings("ignore::skvaball.exceptions.NothingLearnedWarning")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4)).astype(np.float32)
y = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0.8)


def vab(**params):
    small = {"max_epochs": 2, "n_draws": 4, "n_units": 8, "hidden": (8,), "block_size": 3}
    return VaBQuerySelector(**{**small, **params})


def simulator(selector=None, estimator=None, **params):
    learner = ActiveLearner(
        LogisticRegression() if estimator is None else estimator,
        MarginSelector() if selector is None else selector,
    )
    settings = {"batch_size": 8, "n_rounds": 3, "random_state": 0}
    return ActiveLearningSimulator(learner, **{**settings, **params})


class Spy(LogisticRegression):
    """Notes the labels of every fit; shared by all clones."""

    fits = []  # noqa: RUF012 (clones share it on purpose)

    def fit(self, X, y):
        Spy.fits.append((np.array(X), np.array(y)))
        return super().fit(X, y)


class SpySelector(QuerySelector):
    """Notes how many labels it was given and how many rows it was asked for."""

    _uses_estimator = False
    calls = []  # noqa: RUF012 (clones share it on purpose)

    def _fit_pool(self, X_labeled, codes, X_pool):
        self.codes = codes

    def _select(self, X, n, prepared):
        SpySelector.calls.append({"labels": self.codes.tolist(), "n": n, "n_pool": len(X)})
        return np.arange(n), np.zeros(len(X))


@pytest.fixture(autouse=True)
def _forget():
    Spy.fits, SpySelector.calls = [], []


# The record


@hardly_trained
@pytest.mark.parametrize("selector", [vab(), MarginSelector(), RandomSelector()])
def test_history_says_what_was_bought(selector):
    history = simulator(selector).fit(X, y).history_
    assert [entry["round"] for entry in history] == [0, 1, 2, 3]
    assert [entry["n_labeled"] for entry in history] == [8, 16, 24, 32]
    seen = np.zeros(0, dtype=np.int64)
    for entry in history:
        assert entry["queried"].dtype == np.int64
        assert entry["queried"].shape == (8,)
        assert not np.intersect1d(seen, entry["queried"]).size
        seen = np.concatenate([seen, entry["queried"]])
        np.testing.assert_array_equal(entry["class_counts"], np.bincount(y[seen], minlength=3))
        assert entry["query_time"] >= 0
        assert entry["train_time"] > 0
    assert history[0]["query_time"] == 0
    assert len(np.unique(seen)) == 32
    assert seen.min() >= 0
    assert seen.max() < 60


def test_history_is_the_loop_played_by_hand():
    run = simulator(n_initial=10).fit(X, y)
    start = run.history_[0]["queried"]
    learner = clone(run.learner).set_params(classes=[0, 1, 2]).fit(X[start], y[start])
    labeled, pool = start, np.setdiff1d(np.arange(60), start)
    for entry in run.history_[1:]:
        probabilities = np.sort(learner.predict_proba(X[pool]), axis=1)
        margins = probabilities[:, -1] - probabilities[:, -2]
        bought = pool[np.argsort(margins, kind="stable")[:8]]
        np.testing.assert_array_equal(entry["queried"], bought)
        labeled, pool = np.concatenate([labeled, bought]), np.setdiff1d(pool, bought)
        learner.fit(X[labeled], y[labeled])
    np.testing.assert_allclose(run.predict_proba(X), learner.predict_proba(X), atol=1e-6)


def test_history_makes_a_table():
    table = pd.DataFrame(simulator().fit(X, y).history_)
    assert table.columns.tolist() == [
        "round", "n_labeled", "queried", "class_counts", "query_time", "train_time",
    ]  # fmt: skip
    assert table["n_labeled"].tolist() == [8, 16, 24, 32]


def test_the_budget_ends_when_no_row_is_left():
    run = simulator(batch_size=25, n_rounds=10, n_initial=5).fit(X, y)
    assert [entry["n_labeled"] for entry in run.history_] == [5, 30, 55, 60]
    bought = np.concatenate([entry["queried"] for entry in run.history_])
    assert sorted(bought.tolist()) == list(range(60))
    peer = LogisticRegression(random_state=run.learner_.estimator_.random_state)
    peer.fit(X[bought], y[bought])
    np.testing.assert_allclose(run.predict_proba(X), peer.predict_proba(X))


def test_the_start_may_be_everything_and_rounds_may_be_none():
    assert len(simulator(n_initial=60).fit(X, y).history_) == 1
    run = simulator(n_rounds=0).fit(X, y)
    assert [entry["n_labeled"] for entry in run.history_] == [8]
    assert run.predict(X).shape == (60,)


# What the learner sees


def test_the_classifier_sees_bought_labels_only():
    run = simulator(estimator=Spy()).fit(X, y)
    bought = np.zeros(0, dtype=np.int64)
    assert len(Spy.fits) == 4
    for entry, (rows, labels) in zip(run.history_, Spy.fits, strict=True):
        bought = np.concatenate([bought, entry["queried"]])
        np.testing.assert_array_equal(rows, X[bought])
        np.testing.assert_array_equal(labels, y[bought])


@hardly_trained
@pytest.mark.parametrize("selector", [vab(), EntropySelector(), RandomSelector()])
def test_labels_that_are_never_bought_change_nothing(selector):
    run = simulator(selector).fit(X, y)
    bought = np.concatenate([entry["queried"] for entry in run.history_])
    shuffled = y.copy()
    hidden = np.setdiff1d(np.arange(60), bought)
    shuffled[hidden] = np.random.default_rng(1).permutation(y[hidden])
    other = simulator(selector).fit(X, shuffled)
    for entry, peer in zip(run.history_, other.history_, strict=True):
        np.testing.assert_array_equal(entry["queried"], peer["queried"])
    np.testing.assert_array_equal(run.predict_proba(X), other.predict_proba(X))


def test_the_learner_knows_all_classes_from_the_start():
    rare = np.where(np.arange(60) == 41, "z", np.array(["a", "b"])[np.minimum(y, 1)])
    run = simulator(n_rounds=1).fit(X, rare)
    np.testing.assert_array_equal(run.classes_, ["a", "b", "z"])
    first = run.learners_[0]
    np.testing.assert_array_equal(first.classes_, ["a", "b", "z"])
    assert first.predict_proba(X).shape == (60, 3)
    for entry in run.history_:
        assert entry["class_counts"].shape == (3,)


def test_a_batch_of_several_queries_reads_the_labels_inside_it():
    run = simulator(SpySelector(), Spy(), batch_size=8, query_size=3, n_rounds=2).fit(X, y)
    assert [call["n"] for call in SpySelector.calls] == [3, 3, 2, 3, 3, 2]
    assert [call["n_pool"] for call in SpySelector.calls] == [52, 49, 46, 44, 41, 38]
    order = np.concatenate([entry["queried"] for entry in run.history_])
    for call, n_labels in zip(SpySelector.calls, [8, 11, 14, 16, 19, 22], strict=True):
        assert call["labels"] == y[order[:n_labels]].tolist()
    # The classifier is fitted once a batch.
    assert [len(labels) for _, labels in Spy.fits] == [8, 16, 24]
    assert [entry["n_labeled"] for entry in run.history_] == [8, 16, 24]


def test_queries_of_one_batch_choose_with_the_same_classifier():
    """With a strategy that reads no labels, several queries choose what one chooses."""
    whole, parts = simulator().fit(X, y), simulator(query_size=3).fit(X, y)
    for entry, peer in zip(whole.history_, parts.history_, strict=True):
        np.testing.assert_array_equal(entry["queried"], peer["queried"])


# The start


@hardly_trained
def test_every_strategy_starts_from_the_same_labels_and_the_same_network():
    runs = [
        simulator(selector, DeepClassifier(max_epochs=2), n_rounds=1).fit(X, y)
        for selector in (vab(), MarginSelector(), RandomSelector())
    ]
    for run in runs[1:]:
        np.testing.assert_array_equal(run.history_[0]["queried"], runs[0].history_[0]["queried"])
        np.testing.assert_array_equal(
            run.learners_[0].predict_proba(X), runs[0].learners_[0].predict_proba(X)
        )


@hardly_trained
@pytest.mark.parametrize("selector", [vab(), RandomSelector()])
def test_the_same_seed_gives_the_same_run_and_another_seed_another(selector):
    def bought(seed):
        history = simulator(selector, random_state=seed).fit(X, y).history_
        return np.concatenate([entry["queried"] for entry in history]).tolist()

    assert bought(0) == bought(0)
    assert bought(0) != bought(1)
    assert bought(np.random.RandomState(0)) == bought(np.random.RandomState(0))


def test_a_seed_of_the_learner_is_kept_and_the_start_does_not_depend_on_it():
    starts = []
    for seed in (None, 5, 6):
        run = simulator(RandomSelector()).set_params(learner__random_state=seed).fit(X, y)
        starts.append(run.history_[0]["queried"])
        assert run.learner_.random_state == seed or seed is None
        assert run.learner.random_state == seed
    np.testing.assert_array_equal(starts[0], starts[1])
    np.testing.assert_array_equal(starts[1], starts[2])


@settings(max_examples=100, deadline=None)
@given(
    counts=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    share=st.floats(0, 1),
    seed=st.integers(0, 2**31 - 1),
)
def test_the_start_has_two_classes_wherever_there_are_two(counts, share, seed):
    labels = np.repeat(np.arange(len(counts)), counts)
    n = max(1, round(share * len(labels)))
    start = initial_positions(labels, n, seed)
    assert start.dtype == np.int64
    assert len(np.unique(start)) == n
    assert start.min() >= 0
    assert start.max() < len(labels)
    assert len(np.unique(labels[start])) >= min(2, n, len(counts))
    np.testing.assert_array_equal(start, initial_positions(labels, n, seed))


def test_the_start_is_random_where_it_need_not_be_corrected():
    labels = np.arange(1000) % 2
    drawn = np.concatenate([initial_positions(labels, 100, seed) for seed in range(200)])
    times = np.bincount(drawn, minlength=1000)
    # 200 draws with a chance of 0.1: 20 expected, 5 standard deviations are 21.
    assert times.max() < 42
    assert abs(labels[drawn].mean() - 0.5) < 0.02


def test_rare_data_can_be_learned_from_a_start_of_two():
    labels = (np.arange(60) == 17).astype(int)
    run = simulator(n_initial=2, n_rounds=1).fit(X, labels)
    assert 17 in run.history_[0]["queried"]


# Validation, stages and scores


def test_a_validation_of_one_number_is_recorded():
    run = simulator(validation=lambda learner: learner.score(X, y)).fit(X, y)
    expected = [learner.score(X, y) for learner in run.learners_]
    assert [entry["validation"] for entry in run.history_] == expected


def test_a_validation_of_several_numbers_is_recorded_by_name():
    def validation(learner):
        return {"accuracy": learner.score(X, y), "n": len(learner.y_labeled_)}

    run = simulator(validation=validation).fit(X, y)
    assert [entry["n"] for entry in run.history_] == [8, 16, 24, 32]
    assert all(0 <= entry["accuracy"] <= 1 for entry in run.history_)
    assert all("validation" not in entry for entry in run.history_)


def test_stages_are_the_learners_of_the_rounds():
    run = simulator(estimator=Spy()).fit(X, y)
    stages = list(run.staged_predict(X))
    assert len(stages) == 4
    for predicted, (rows, labels) in zip(stages, list(Spy.fits), strict=True):
        peer = LogisticRegression(random_state=run.learner_.estimator_.random_state)
        np.testing.assert_array_equal(predicted, peer.fit(rows, labels).predict(X))
    np.testing.assert_array_equal(stages[-1], run.predict(X))


def test_kept_learners_predict_but_carry_no_rows():
    run = simulator().fit(X, y)
    for learner in run.learners_:
        assert not hasattr(learner, "X_labeled_")
        assert not hasattr(learner, "y_labeled_")
        assert learner.predict_proba(X).shape == (60, 3)
    assert len(run.learner_.X_labeled_) == 32


def test_learners_need_not_be_kept():
    run = simulator(keep_learners=False).fit(X, y)
    assert run.learners_ == []
    assert len(run.history_) == 4
    assert run.predict(X).shape == (60,)
    with pytest.raises(ValueError, match="keep_learners=True"):
        next(run.staged_predict(X))
    with pytest.raises(ValueError, match="keep_learners=True"):
        learning_curve_scorer()(run, X, y)


@pytest.mark.parametrize(
    ("scoring", "metric"),
    [
        ("balanced_accuracy", balanced_accuracy_score),
        ("accuracy", accuracy_score),
        (lambda estimator, X, y: -1.0, lambda y, predicted: -1.0),
    ],
)
def test_cross_validation_gives_learning_curves(scoring, metric):
    folds = StratifiedKFold(3)
    scorer = learning_curve_scorer(scoring)
    curves = cross_validate(simulator(), X, y, cv=folds, scoring=scorer, return_estimator=True)
    for i in range(4):
        assert curves[f"test_round_{i}"].shape == (3,)
    for fold, (_, test) in enumerate(folds.split(X, y)):
        for i, predicted in enumerate(curves["estimator"][fold].staged_predict(X[test])):
            assert curves[f"test_round_{i}"][fold] == metric(y[test], predicted)


def test_the_default_curve_is_of_balanced_accuracy():
    run = simulator().fit(X, y)
    expected = [balanced_accuracy_score(y, predicted) for predicted in run.staged_predict(X)]
    scores = learning_curve_scorer()(run, X, y)
    assert scores == {f"round_{i}": score for i, score in enumerate(expected)}


@pytest.mark.parametrize("turn", [1, -1])
def test_folds_that_run_out_of_rows_have_nan_from_there_on(turn):
    folds = [(np.arange(45), np.arange(45, 60)), (np.arange(20), np.arange(45, 60))][::turn]
    curves = cross_validate(simulator(n_rounds=4), X, y, cv=folds, scoring=learning_curve_scorer())
    played = [np.isfinite(curves[f"test_round_{i}"]).tolist() for i in range(5)]
    assert played == [[True, True]] * 3 + [[True, False][::turn]] * 2


def test_a_class_in_place_of_a_learner_is_refused():
    with pytest.raises(TypeError, match="learner=ActiveLearner is a class"):
        ActiveLearningSimulator(ActiveLearner).fit(X, y)


def test_scorers_travel_to_other_processes():
    run = simulator().fit(X, y)
    scorer = learning_curve_scorer("accuracy")
    assert pickle.loads(pickle.dumps(scorer))(run, X, y) == scorer(run, X, y)


@hardly_trained
@pytest.mark.slow
def test_lam_is_chosen_by_the_accuracy_at_the_end_of_the_budget():
    digits, labels = load_digits(n_class=4, return_X_y=True)
    digits, labels = digits[:120], labels[:120]
    run = simulator(vab(), LogisticRegression(max_iter=1000), batch_size=6, n_rounds=2)
    folds = StratifiedKFold(2)
    grid = {"learner__selector__lam": [1e-3, 10.0]}
    search = GridSearchCV(run, grid, cv=folds, n_jobs=2).fit(digits, labels)
    means = []
    for lam in grid["learner__selector__lam"]:
        scores = []
        for train, test in folds.split(digits, labels):
            fold = clone(run).set_params(learner__selector__lam=lam)
            fold.fit(digits[train], labels[train])
            scores.append(accuracy_score(labels[test], fold.predict(digits[test])))
        means.append(np.mean(scores))
    np.testing.assert_allclose(search.cv_results_["mean_test_score"], means)
    assert search.best_index_ == int(np.argmax(means))
    assert (
        search.best_estimator_.learner_.selector_.lam
        == search.best_params_["learner__selector__lam"]
    )
    assert search.best_estimator_.history_[-1]["n_labeled"] == 18


# Data of every kind


@pytest.mark.parametrize("labels", [["x", "y", "zz"], [-1, 1, 7], [-1.0, 0.0, 5.0]])
def test_labels_may_be_of_any_type(labels):
    labels = np.array(labels)
    codes, named = simulator().fit(X, y), simulator().fit(X, labels[y])
    np.testing.assert_array_equal(named.classes_, labels)
    np.testing.assert_array_equal(named.predict(X), labels[codes.predict(X)])
    for entry, peer in zip(codes.history_, named.history_, strict=True):
        np.testing.assert_array_equal(entry["queried"], peer["queried"])
        np.testing.assert_array_equal(entry["class_counts"], peer["class_counts"])


@pytest.mark.parametrize(
    "convert",
    [np.ndarray.tolist, pd.DataFrame, sp.csr_matrix, sp.coo_matrix],
    ids=["list", "pandas", "csr", "coo"],
)
def test_rows_of_any_kind_give_the_same_run(convert):
    expected = simulator().fit(X, y)
    frame = convert(X)
    if isinstance(frame, pd.DataFrame):
        frame.columns = list("abcd")
    run = simulator().fit(frame, y.tolist())
    for entry, peer in zip(run.history_, expected.history_, strict=True):
        np.testing.assert_array_equal(entry["queried"], peer["queried"])
    np.testing.assert_array_equal(run.predict(frame), expected.predict(X))
    if isinstance(frame, pd.DataFrame):
        assert run.feature_names_in_.tolist() == list("abcd")
    assert run.n_features_in_ == 4


def test_texts_go_through_a_pipeline():
    texts = [f"{a} {b}" for a in ["red", "green", "blue"] for b in ["apple", "pear", "sky", "sea"]]
    topics = ["fruit", "fruit", "water", "water"] * 3
    model = make_pipeline(TfidfVectorizer(), LogisticRegression())
    run = simulator(EntropySelector(), model, batch_size=3, n_rounds=4).fit(texts, topics)
    assert run.history_[-1]["n_labeled"] == 12
    assert run.predict(texts).tolist() == topics


@hardly_trained
@pytest.mark.parametrize("selector", [vab(), MarginSelector()])
def test_images_with_a_raw_skorch_net(selector):
    images = np.random.default_rng(0).normal(size=(30, 1, 4, 4)).astype(np.float32)
    labels = np.array(["dark", "light"])[(images.mean(axis=(1, 2, 3)) > 0).astype(int)]
    net = NeuralNetClassifier(
        lambda: nn.Sequential(
            nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2), nn.Softmax(dim=1)
        ),
        train_split=None,
        max_epochs=2,
        verbose=0,
    )
    run = simulator(selector, net, n_rounds=2).fit(images, labels)
    assert [entry["n_labeled"] for entry in run.history_] == [8, 16, 24]
    assert run.predict_proba(images).shape == (30, 2)
    assert set(run.predict(images)) <= {"dark", "light"}
    if isinstance(selector, VaBQuerySelector):
        again = simulator(selector, net, n_rounds=2).fit(images, labels)
        np.testing.assert_array_equal(again.predict_proba(images), run.predict_proba(images))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("estimator", [LogisticRegression(), DeepClassifier(max_epochs=2)])
def test_a_learner_that_continues_its_training_meets_rare_classes_late(estimator):
    labels = np.where(np.isin(np.arange(60), [13, 50]), 2, np.minimum(y, 1))
    run = simulator(estimator=estimator, n_rounds=10).set_params(learner__warm_start=True)
    run.fit(X, labels)
    np.testing.assert_array_equal(run.learner_.estimator_.classes_, [0, 1, 2])


# A citizen of scikit-learn


def test_predictions_are_those_of_the_last_learner():
    run = simulator().fit(X, y)
    np.testing.assert_array_equal(run.predict(X), run.learner_.predict(X))
    np.testing.assert_array_equal(run.predict_proba(X), run.learner_.predict_proba(X))
    np.testing.assert_array_equal(run.decision_function(X), run.learner_.decision_function(X))
    assert run.score(X, y) == accuracy_score(y, run.predict(X))
    assert not hasattr(simulator(estimator=LinearSVC()).fit(X, y), "predict_proba")


def test_the_learner_of_the_caller_stays_as_it_is():
    learner = ActiveLearner(LogisticRegression(), MarginSelector())
    ActiveLearningSimulator(learner, n_rounds=1).fit(X, y)
    assert not hasattr(learner, "estimator_")
    assert learner.classes is None
    assert learner.random_state is None


@hardly_trained
def test_everything_has_a_default():
    run = ActiveLearningSimulator(n_rounds=1, batch_size=5).set_params(
        learner=ActiveLearner(DeepClassifier(max_epochs=1), vab())
    )
    assert run.fit(X, y).history_[-1]["n_labeled"] == 10
    assert ActiveLearningSimulator(n_rounds=0).fit(X, y).predict(X).shape == (60,)


def test_a_run_inside_a_pipeline_is_scored_on_transformed_rows():
    model = make_pipeline(StandardScaler(), simulator())
    scores = cross_validate(model, X, y, cv=3, error_score="raise")["test_score"]
    assert scores.shape == (3,)
    assert model.fit(X, y).predict(X).shape == (60,)


def test_a_pickle_predicts_the_same_and_a_clone_is_unfitted():
    run = simulator().fit(X, y)
    copied = pickle.loads(pickle.dumps(run))
    np.testing.assert_array_equal(copied.predict_proba(X), run.predict_proba(X))
    assert len(copied.learners_) == 4
    with pytest.raises(NotFittedError):
        clone(run).predict(X)


@hardly_trained
def test_global_generators_are_left_alone():
    before = np.random.get_state(), torch.get_rng_state()
    simulator(vab(), DeepClassifier(max_epochs=1), random_state=None, n_rounds=1).fit(X, y)
    after = np.random.get_state(), torch.get_rng_state()
    assert all(np.array_equal(a, b) for a, b in zip(before[0], after[0], strict=True))
    assert torch.equal(before[1], after[1])


# Errors


# Runs that are interrupted


@hardly_trained
@pytest.mark.parametrize("played", [1, 2, 3])
@pytest.mark.parametrize(
    ("selector", "params"),
    [(vab(), {}), (RandomSelector(), {"query_size": 3}), (MarginSelector(), {"n_initial": 5})],
)
def test_an_interrupted_run_ends_as_an_undisturbed_one(selector, params, played):
    estimator = DeepClassifier(max_epochs=3)
    whole = simulator(selector, estimator, **params).fit(X, y)
    rounds = simulator(selector, estimator, **params).iter_rounds(X, y)
    saved = [next(rounds) for _ in range(played)]
    resumed = simulator(selector, estimator, **params)
    rest = list(resumed.iter_rounds(X, y, earlier=saved))
    assert [entry["round"] for entry in rest] == list(range(played, 4))
    assert len(resumed.history_) == len(whole.history_)
    for entry, expected in zip(resumed.history_, whole.history_, strict=True):
        np.testing.assert_array_equal(entry["queried"], expected["queried"])
    np.testing.assert_array_equal(resumed.predict_proba(X), whole.predict_proba(X))


def test_a_finished_run_has_no_rounds_left_and_predicts():
    whole = simulator().fit(X, y)
    again = simulator()
    assert list(again.iter_rounds(X, y, earlier=whole.history_)) == []
    np.testing.assert_array_equal(again.predict_proba(X), whole.predict_proba(X))

    with pytest.raises(ValueError, match="complete when it was resumed"):
        next(again.staged_predict(X))


def test_curves_of_a_resumed_run_have_the_rounds_that_were_played_since():
    whole = simulator().fit(X, y)
    again = simulator()
    assert len(list(again.iter_rounds(X, y, earlier=whole.history_[:2]))) == 2
    expected = learning_curve_scorer()(whole, X, y)
    found = learning_curve_scorer()(again, X, y)
    assert np.isnan([found["round_0"], found["round_1"]]).all()
    assert {name: found[name] for name in ("round_2", "round_3")} == {
        name: expected[name] for name in ("round_2", "round_3")
    }


def test_a_run_that_fails_leaves_no_learner_of_an_earlier_one():
    run = simulator().fit(X, y)
    with pytest.raises(ValueError, match="NaN"):
        run.fit(np.where(X > 0, np.nan, X), y)
    with pytest.raises(NotFittedError):
        run.predict(X)


def test_rounds_are_played_when_they_are_asked_for():
    run = simulator(SpySelector())
    rounds = run.iter_rounds(X, y)
    next(rounds)
    assert SpySelector.calls == []
    next(rounds)
    assert len(SpySelector.calls) == 1
    assert len(run.history_) == 2
    assert run.predict(X).shape == (60,)


def test_history_of_another_run_is_refused():
    history = simulator().fit(X, y).history_[:2]
    with pytest.raises(ValueError, match="not of this run"):
        next(simulator(random_state=1).iter_rounds(X, y, earlier=history))
    twice = [history[0], history[1] | {"queried": history[0]["queried"]}]
    with pytest.raises(ValueError, match="damaged"):
        next(simulator().iter_rounds(X, y, earlier=twice))
    with pytest.raises(ValueError, match="integer as random_state, got None"):
        next(simulator(random_state=None).iter_rounds(X, y, earlier=history))
    run = simulator().set_params(learner__warm_start=True)
    with pytest.raises(ValueError, match="warm_start=True cannot be resumed"):
        next(run.iter_rounds(X, y, earlier=history))


def test_a_start_larger_than_the_data_is_an_error_with_both_numbers():
    for params in ({"n_initial": 61}, {"batch_size": 61}):
        with pytest.raises(ValueError, match=r"n_initial=61.*60"):
            simulator(**params).fit(X, y)


def test_a_query_larger_than_the_batch_is_an_error_with_both_numbers():
    with pytest.raises(ValueError, match=r"query_size=9.*batch_size=8"):
        simulator(query_size=9).fit(X, y)


@pytest.mark.parametrize("hole", [None, np.nan])
def test_missing_labels_are_an_error(hole):
    partly = y.astype(object)
    partly[3] = hole
    with pytest.raises(ValueError, match="missing"):
        simulator().fit(X, partly)


def test_fewer_labels_than_rows_are_an_error():
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        simulator().fit(X, y[:-1])


@pytest.mark.parametrize("method", ["predict", "predict_proba", "decision_function"])
def test_an_unfitted_simulator_says_so(method):
    with pytest.raises(NotFittedError):
        getattr(simulator(), method)(X)
    with pytest.raises(NotFittedError):
        next(simulator().staged_predict(X))


@pytest.mark.parametrize(
    ("params", "name"),
    [
        ({"batch_size": 0}, "batch_size"),
        ({"n_rounds": -1}, "n_rounds"),
        ({"n_initial": 0}, "n_initial"),
        ({"query_size": 0}, "query_size"),
        ({"validation": "accuracy"}, "validation"),
        ({"keep_learners": 1}, "keep_learners"),
        ({"learner": LogisticRegression()}, "learner"),
    ],
)
def test_bad_parameters_are_named(params, name):
    with pytest.raises(ValueError, match=f"'{name}' parameter"):
        ActiveLearningSimulator(**params).fit(X, y)


# Progress


def test_a_run_is_silent_by_default(capsys):
    simulator().fit(X, y)
    assert capsys.readouterr() == ("", "")


def test_a_log_file_has_a_line_for_each_round(capsys):
    simulator(verbose=1, validation=lambda learner: 0.123456, keep_learners=False).fit(X, y)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        f"[ActiveLearningSimulator] round {i} of 3: n_labeled={8 * (i + 1)}, validation=0.1235"
        for i in range(4)
    ]


def test_a_terminal_has_one_bar_that_is_closed(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    simulator(verbose=1).fit(X, y)
    _, err = capsys.readouterr()
    assert err.count("\n") == 1
    last = err.strip().split("\r")[-1]
    assert "ActiveLearningSimulator: 100%" in last
    assert "3/3" in last
    assert "n_labeled=32" in last
    simulator(verbose=2).fit(X, y)
    assert len(capsys.readouterr().err.splitlines()) == 4


def test_the_progress_of_a_resumed_run_goes_on_where_it_ended(capsys):
    history = simulator().fit(X, y).history_
    list(simulator(verbose=1).iter_rounds(X, y, earlier=history[:3]))
    assert capsys.readouterr().err == ("[ActiveLearningSimulator] round 3 of 3: n_labeled=32\n")


def test_a_validation_must_not_overwrite_the_history():
    with pytest.raises(ValueError, match=r"entries named n_labeled, queried, which the history"):
        simulator(validation=lambda _: {"queried": 0, "n_labeled": 1, "mine": 2}).fit(X, y)
