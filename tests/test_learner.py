"""The learner: fit, query, teach and predict, with any classifier, rows, labels and seeds."""

# ruff: noqa: NPY002 (that numpy's global generator stays as it was is tested here)

import copy
import inspect
import pickle
import subprocess
import sys
import textwrap
import warnings
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
import torch
from imblearn.over_sampling import SMOTE, RandomOverSampler
from imblearn.pipeline import make_pipeline as make_sampler_pipeline
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_digits
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    RidgeClassifier,
    SGDClassifier,
)
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC, LinearSVC
from skorch import NeuralNetClassifier, NeuralNetRegressor
from skorch.callbacks import Callback
from torch import nn
from torch.utils.data import TensorDataset

from skvaball import ActiveLearner, VaBQuerySelector
from skvaball.networks import DeepClassifier
from skvaball.selectors import (
    BASESelector,
    CoreSetSelector,
    EntropySelector,
    MarginSelector,
    QuerySelector,
    RandomSelector,
)

# Where the quality of VaB-AL's autoencoder is not the point it is hardly trained, and says so.
hardly_trained = pytest.mark.filterwarnings("ignore::skvaball.exceptions.NothingLearnedWarning")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(80, 5)).astype(np.float32)
y = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0.5)
NAMES = list("abcde")
START = slice(0, 24)
POOL = slice(24, 80)


def vab(**params):
    small = {"max_epochs": 2, "n_draws": 4, "n_units": 8, "hidden": (8,), "block_size": 3}
    return VaBQuerySelector(**{**small, **params})


def deep(**params):
    return DeepClassifier(**{"max_epochs": 3, **params})


def net(**params):
    settings = {
        "module__in_features": 5,
        "module__out_features": 3,
        "criterion": nn.CrossEntropyLoss,
        "train_split": None,
        "max_epochs": 3,
        "verbose": 0,
    }
    return NeuralNetClassifier(nn.Linear, **{**settings, **params})


CLASSIFIERS = {
    "logistic": LogisticRegression,
    "deep": deep,
    "net": net,
    "pipeline": lambda: make_pipeline(StandardScaler(), deep()),
}
classifiers = pytest.mark.parametrize("make", CLASSIFIERS.values(), ids=CLASSIFIERS)


def fitted(estimator=None, selector=None, **params):
    estimator = LogisticRegression() if estimator is None else estimator
    selector = MarginSelector() if selector is None else selector
    return ActiveLearner(estimator, selector, random_state=0, **params).fit(X[START], y[START])


class CountingSelector(QuerySelector):
    """Remembers what it was fitted on, and takes the rows in their order."""

    _uses_estimator = False

    def _fit_pool(self, X_labeled, codes, X_pool):
        self.codes_ = codes
        self.n_pool_ = len(X_pool)

    def _score(self, X):
        return -np.arange(len(X), dtype=np.float64)


# fit, query, teach, predict


@hardly_trained
def test_everything_has_a_default():
    digits, labels = load_digits(n_class=3, return_X_y=True)
    learner = ActiveLearner().fit(digits[:40], labels[:40])
    positions = learner.query(digits[40:140], 10)
    assert positions.shape == (10,)
    assert positions.dtype == np.int64
    assert isinstance(learner.estimator_, DeepClassifier)
    assert isinstance(learner.selector_, VaBQuerySelector)


@hardly_trained
@classifiers
def test_positions_are_unique_and_best_first(make):
    learner = fitted(make(), vab(batch="top"))
    positions, scores = learner.query(X[POOL], 10, return_scores=True)
    assert positions.dtype == np.int64
    assert len(set(positions.tolist())) == 10
    assert scores.shape == (56,)
    assert scores.dtype == np.float64
    assert (np.diff(scores[positions]) <= 0).all()
    assert scores[positions].min() >= np.delete(scores, positions).max()


@hardly_trained
@classifiers
@pytest.mark.parametrize("posterior", ["normalized", "joint"])
def test_a_rebalanced_batch_has_no_row_twice(make, posterior):
    learner = fitted(make(), vab(batch="rebalance", posterior=posterior))
    positions, scores = learner.query(X[POOL], 10, return_scores=True)
    assert len(set(positions.tolist())) == 10
    assert set(positions.tolist()) <= set(range(56))
    if posterior == "joint":  # only then is nothing weighted before the first pick
        assert positions[0] == scores.argmax()


@pytest.mark.parametrize("n", [1, 56, np.int32(7)])
@pytest.mark.parametrize("selector", [MarginSelector(), RandomSelector(), EntropySelector()])
def test_any_number_of_rows_up_to_the_whole_pool(selector, n):
    positions = fitted(selector=selector).query(X[POOL], n)
    assert positions.shape == (n,)
    assert set(positions.tolist()) <= set(range(56))
    assert len(set(positions.tolist())) == n


def test_margin_query_is_a_sort_of_the_classifiers_margins():
    learner = fitted()
    probabilities = np.sort(learner.predict_proba(X[POOL]), axis=1)
    margins = probabilities[:, -1] - probabilities[:, -2]
    np.testing.assert_array_equal(
        learner.query(X[POOL], 12), np.argsort(margins, kind="stable")[:12]
    )


def test_predictions_are_those_of_the_classifier():
    learner, clf = fitted(), LogisticRegression().fit(X[START], y[START])
    np.testing.assert_array_equal(learner.predict(X), clf.predict(X))
    np.testing.assert_array_equal(learner.predict_proba(X), clf.predict_proba(X))
    np.testing.assert_array_equal(learner.decision_function(X), clf.decision_function(X))
    assert learner.score(X, y) == clf.score(X, y)
    binary = ActiveLearner(LinearSVC(), MarginSelector()).fit(X, y > 0)
    assert binary.decision_function(X).shape == (80,)
    assert not hasattr(binary, "predict_proba")
    assert not hasattr(fitted(deep()), "decision_function")


def test_labels_that_were_taught_are_remembered():
    learner = fitted()
    X_before, y_before = X[START].copy(), y[START].copy()
    learner.teach(X[30:33], y[30:33]).teach(X[40:41].tolist(), y[40:41].tolist())
    np.testing.assert_array_equal(
        learner.X_labeled_, np.concatenate([X_before, X[30:33], X[40:41]])
    )
    np.testing.assert_array_equal(learner.y_labeled_, [*y_before, *y[30:33], y[40]])
    assert learner.n_queries_ == 0
    learner.query(X[POOL], 2)
    assert learner.n_queries_ == 1


def test_fit_forgets_everything_before():
    learner = fitted()
    first = learner.query(X[POOL], 5)
    learner.teach(X[30:40], y[30:40]).fit(X[START], y[START])
    assert len(learner.y_labeled_) == 24
    assert learner.n_queries_ == 0
    np.testing.assert_array_equal(learner.query(X[POOL], 5), first)


def test_rows_of_the_caller_may_change_afterwards():
    rows, labels = X[START].copy(), y[START].copy()
    learner = ActiveLearner(LogisticRegression(), MarginSelector()).fit(rows, labels)
    rows[:], labels[:] = 0, 0
    np.testing.assert_array_equal(learner.X_labeled_, X[START])
    np.testing.assert_array_equal(learner.y_labeled_, y[START])


def test_estimator_and_selector_of_the_caller_stay_as_they_are():
    estimator, selector = LogisticRegression(), MarginSelector()
    fitted(estimator, selector).query(X[POOL], 2)
    assert not hasattr(estimator, "coef_")
    assert selector.estimator is None
    assert selector.random_state is None
    assert not hasattr(selector, "estimator_")


def test_a_selector_keeps_a_classifier_of_its_own():
    learner = fitted(LinearSVC(), EntropySelector(GaussianNB()))
    _, scores = learner.query(X[POOL], 3, return_scores=True)
    peer = EntropySelector(GaussianNB().fit(X[START], y[START])).fit(X[START], y[START])
    np.testing.assert_array_equal(scores, peer.score_samples(X[POOL]))
    assert isinstance(learner.selector_.estimator_, GaussianNB)


# teach


@classifiers
def test_fit_and_teach_equal_a_fit_on_everything(make):
    taught = fitted(make()).teach(X[24:40], y[24:40]).teach(X[40:], y[40:])
    whole = ActiveLearner(make(), MarginSelector(), random_state=0).fit(X, y)
    np.testing.assert_array_equal(taught.predict_proba(X), whole.predict_proba(X))
    np.testing.assert_array_equal(taught.query(X[:50], 9), whole.query(X[:50], 9))


@classifiers
def test_teach_without_refit_leaves_the_classifier_and_the_next_refit_uses_the_labels(make):
    learner = fitted(make())
    before = learner.predict_proba(X)
    estimator = learner.estimator_
    assert learner.teach(X[24:40], y[24:40], refit=False) is learner
    assert learner.estimator_ is estimator
    np.testing.assert_array_equal(learner.predict_proba(X), before)
    learner.teach(X[40:], y[40:])
    whole = ActiveLearner(make(), random_state=0).fit(X, y)
    np.testing.assert_array_equal(learner.predict_proba(X), whole.predict_proba(X))


def test_the_next_query_sees_labels_taught_without_refit():
    learner = fitted(selector=CountingSelector())
    learner.query(X[POOL], 1)
    np.testing.assert_array_equal(learner.selector_.codes_, y[START])
    assert learner.selector_.n_pool_ == 56
    learner.teach(X[24:30], y[24:30], refit=False).query(X[30:], 1)
    np.testing.assert_array_equal(learner.selector_.codes_, y[:30])
    assert learner.selector_.n_pool_ == 50


def test_a_new_class_taught_without_refit_is_known_to_the_next_query():
    learner = ActiveLearner(LogisticRegression(), CountingSelector()).fit(X[:20], np.arange(20) % 2)
    learner.teach(X[20:22], [7, 7], refit=False)
    learner.query(X[30:], 1)
    np.testing.assert_array_equal(learner.selector_.classes_, [0, 1, 7])
    np.testing.assert_array_equal(learner.classes_, [0, 1])
    learner.teach(X[22:24], [0, 1])
    np.testing.assert_array_equal(learner.classes_, [0, 1, 7])


def test_a_net_refuses_a_new_class_without_refit():
    learner = ActiveLearner(net(module__out_features=2), MarginSelector())
    learner.fit(X[:20], np.arange(20) % 2)
    with pytest.raises(ValueError, match=r"\[7\].*refit"):
        learner.teach(X[20:22], [7, 7], refit=False)
    assert len(learner.y_labeled_) == 20


# Continuing instead of starting anew


def test_warm_start_continues_the_training_of_a_net():
    cold = fitted(net()).teach(X[24:], y[24:]).estimator_
    learner = fitted(net(), warm_start=True)
    before = learner.estimator_
    warm = learner.teach(X[24:], y[24:]).estimator_
    assert len(cold.history) == 3
    assert len(warm.history) == 6
    assert len(before.history) == 3
    # Without shuffling, batch norm or dropout nothing random is left: what skorch does itself.
    peer = copy.deepcopy(before).partial_fit(X, y)
    assert warm.history[:, "train_loss"] == peer.history[:, "train_loss"]
    np.testing.assert_array_equal(learner.predict_proba(X), peer.predict_proba(X))


def test_warm_start_continues_the_training_of_a_deep_classifier():
    learner = fitted(deep(), warm_start=True).teach(X[24:], y[24:])
    assert len(learner.estimator_.net_.history) == 6


@pytest.mark.parametrize(
    "estimator",
    [LogisticRegression(max_iter=2, C=100), SGDClassifier(max_iter=2, tol=None, random_state=0)],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_warm_start_is_that_of_scikit_learn(estimator):
    learner = fitted(estimator, warm_start=True).teach(X[24:], y[24:])
    peer = clone(estimator).set_params(warm_start=True)
    if isinstance(estimator, LogisticRegression):
        peer.set_params(random_state=learner.estimator_.random_state)
    peer.fit(X[START], y[START]).fit(X, y)
    np.testing.assert_allclose(learner.estimator_.coef_, peer.coef_)
    assert not np.allclose(fitted(estimator).teach(X[24:], y[24:]).estimator_.coef_, peer.coef_)


def test_warm_start_refits_when_the_classes_change():
    learner = ActiveLearner(net(module__out_features=3), warm_start=True, classes=[0, 1, 2])
    learner.fit(X[START], y[START]).teach(X[24:], y[24:])
    assert len(learner.estimator_.history) == 6
    grown = ActiveLearner(deep(), warm_start=True, random_state=0)
    grown.fit(X[:20], np.arange(20) % 2).teach(X[20:24], [0, 1, 2, 2])
    assert len(grown.estimator_.net_.history) == 3
    whole = ActiveLearner(deep(), random_state=0).fit(X[:24], [*(np.arange(20) % 2), 0, 1, 2, 2])
    np.testing.assert_array_equal(grown.predict_proba(X), whole.predict_proba(X))


@pytest.mark.parametrize(
    "estimator",
    [deep(), LogisticRegression(), SGDClassifier(), MLPClassifier((4,), max_iter=5)],
    ids=lambda estimator: type(estimator).__name__,
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_warm_start_refits_when_a_class_that_was_announced_appears(estimator):
    """The learner knows the class from the start, but its classifier does not."""
    learner = ActiveLearner(
        estimator, MarginSelector(), classes=[0, 1, 2], warm_start=True, random_state=0
    )
    learner.fit(X[:20], np.arange(20) % 2).teach(X[20:24], [0, 1, 2, 2])
    assert learner.predict(X).shape == (80,)
    np.testing.assert_array_equal(learner.estimator_.classes_, [0, 1, 2])
    # The same when its first label came without a refit.
    learner.fit(X[:20], np.arange(20) % 2).teach(X[20:22], [2, 2], refit=False)
    learner.teach(X[22:24], [0, 1])
    np.testing.assert_array_equal(learner.estimator_.classes_, [0, 1, 2])


@pytest.mark.parametrize(
    "estimator",
    [RandomForestClassifier(10), HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=2)],
    ids=lambda estimator: type(estimator).__name__,
)
@pytest.mark.filterwarnings("ignore:Warm-start fitting without increasing")
def test_warm_start_does_not_ignore_the_new_labels_of_an_ensemble(estimator):
    """An ensemble continues by adding members; without any to add it would not read them."""
    learner = fitted(estimator, warm_start=True)
    before = learner.predict_proba(X[24:])
    learner.teach(X[24:], 2 - y[24:])
    assert not np.array_equal(learner.predict_proba(X[24:]), before)


def test_warm_start_refits_what_cannot_continue():
    make = CLASSIFIERS["pipeline"]
    taught = fitted(make(), warm_start=True).teach(X[24:], y[24:])
    whole = ActiveLearner(make(), random_state=0).fit(X, y)
    np.testing.assert_array_equal(taught.predict_proba(X), whole.predict_proba(X))


# Classes and labels


@pytest.mark.parametrize("make", [LogisticRegression, deep, GaussianNB])
def test_a_class_not_yet_seen_has_a_column_of_zeros(make):
    learner = ActiveLearner(make(), vab(), classes=[5, 0, 1, 9]).fit(X[:20], np.arange(20) % 2)
    np.testing.assert_array_equal(learner.classes_, [0, 1, 5, 9])
    probabilities = learner.predict_proba(X)
    np.testing.assert_array_equal(probabilities[:, 2:], 0)
    np.testing.assert_array_equal(probabilities[:, :2], learner.estimator_.predict_proba(X))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    learner.teach(X[20:24], [9, 9, 9, 0])
    probabilities = learner.predict_proba(X)
    np.testing.assert_array_equal(probabilities[:, 2], 0)
    np.testing.assert_array_equal(probabilities[:, [0, 1, 3]], learner.estimator_.predict_proba(X))


@hardly_trained
@classifiers
@pytest.mark.parametrize("selector", [vab(), MarginSelector(), EntropySelector()])
def test_queries_work_while_classes_are_unseen(make, selector):
    learner = ActiveLearner(make(), selector, classes=[0, 1, 2]).fit(X[:20], np.arange(20) % 2)
    assert learner.query(X[POOL], 4).shape == (4,)
    np.testing.assert_array_equal(learner.selector_.classes_, [0, 1, 2])


@pytest.mark.parametrize("seen", [[0, 1], [0, 2], [1, 2, 3]])
def test_a_class_not_yet_seen_has_a_decision_value_of_minus_infinity(seen):
    labels = np.array(seen)[np.arange(24) % len(seen)]
    learner = ActiveLearner(LinearSVC(), MarginSelector(), classes=[0, 1, 2, 3])
    values = learner.fit(X[:24], labels).decision_function(X)
    assert values.shape == (80, 4)
    unseen = np.setdiff1d(np.arange(4), seen)
    np.testing.assert_array_equal(values[:, unseen], -np.inf)
    np.testing.assert_array_equal(values.argmax(axis=1), learner.predict(X))
    own = learner.estimator_.decision_function(X)
    if len(seen) == 2:
        np.testing.assert_array_equal(values[:, seen[1]], own)
        np.testing.assert_array_equal(values[:, seen[0]], -own)
    else:
        np.testing.assert_array_equal(values[:, seen], own)


@hardly_trained
@classifiers
@pytest.mark.parametrize(
    "labels",
    [["x", "y", "zz"], [-1, 1, 5], np.array(["x", "y", "zz"], dtype=object), [-1.0, 0.0, 2.0]],
    ids=["strings", "negative", "objects", "floats"],
)
def test_labels_may_be_of_any_type(make, labels):
    labels = np.asarray(labels)
    codes, named = fitted(make(), vab()), ActiveLearner(make(), vab(), random_state=0)
    named.fit(X[START], labels[y[START]])
    np.testing.assert_array_equal(named.classes_, labels)
    np.testing.assert_array_equal(named.predict_proba(X), codes.predict_proba(X))
    np.testing.assert_array_equal(named.predict(X), labels[codes.predict(X)])
    np.testing.assert_array_equal(named.query(X[POOL], 9), codes.query(X[POOL], 9))
    named.teach(X[30:33], labels[y[30:33]].tolist())
    np.testing.assert_array_equal(named.y_labeled_[-3:], labels[y[30:33]])


@hardly_trained
@pytest.mark.parametrize("labels", [[-1, 1], ["no", "yes"], [False, True]])
def test_two_classes_may_have_any_labels(labels):
    labels = np.array(labels)
    learner = ActiveLearner(LogisticRegression(), vab(), random_state=0)
    learner.fit(X[START], labels[np.minimum(y[START], 1)])
    assert learner.query(X[POOL], 4).shape == (4,)
    assert set(learner.predict(X)) == set(labels.tolist())
    assert learner.decision_function(X).shape == (80,)


def test_minus_one_is_a_class_unless_it_is_said_to_be_missing():
    labels = np.where(y[START] == 0, -1, 1)
    assert ActiveLearner(LogisticRegression()).fit(X[START], labels).classes_.tolist() == [-1, 1]
    with pytest.raises(ValueError, match=f"{np.sum(labels == -1)} missing labels among 24"):
        ActiveLearner(LogisticRegression(), missing_label=-1).fit(X[START], labels)


def test_the_selector_counts_minus_one_as_a_class_if_it_is_one():
    learner = fitted(selector=EntropySelector())
    learner.query(X[POOL], 5)
    shifted = ActiveLearner(LogisticRegression(), EntropySelector(), random_state=0)
    shifted.fit(X[START], y[START] - 1).query(X[POOL], 5)
    expected = learner.selector_.score(X[POOL], y[POOL])
    assert shifted.selector_.score(X[POOL], y[POOL] - 1) == expected


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ({0, 1, 2}, "must be a list of the classes"),
        ([[0, 1, 2]], "must be a list of the classes"),
        ([], "must be a list of the classes"),
        ([0.0, 1.0, 2.0, np.nan], "missing value"),
    ],
)
def test_classes_that_are_none_are_named(classes, message):
    learner = ActiveLearner(LogisticRegression(), classes=classes)
    with pytest.raises(ValueError, match=message):
        learner.fit(X, y)


def test_classes_in_another_order_than_the_outputs_of_a_net_are_refused():
    trained, names = net().fit(X, y.astype(np.int64)), np.array(["rock", "jazz", "folk"])
    swapped = {"classes": names.tolist()}
    for fit in (
        EntropySelector(trained, **swapped).fit_pool,
        ActiveLearner(FrozenEstimator(trained), **swapped).fit,
    ):
        with pytest.raises(ValueError, match="are not sorted"):
            fit(X[START], names[y[START]])
    # What is trained here is trained on the codes of these classes, in any order.
    learner = ActiveLearner(net(), MarginSelector(), random_state=0, **swapped)
    assert learner.fit(X, names[y]).classes_.tolist() == sorted(names)


@pytest.mark.parametrize("hole", [None, np.nan, pd.NA])
@pytest.mark.parametrize("labels", [[0, 1, 2], ["x", "y", "zz"]])
def test_missing_labels_are_an_error_that_counts_them(hole, labels):
    partly = np.array(labels, dtype=object)[y[START]]
    partly[[2, 5]] = hole
    with pytest.raises(ValueError, match=r"2 missing labels among 24.*query"):
        ActiveLearner(LogisticRegression()).fit(X[START], partly)
    learner = fitted()
    with pytest.raises(ValueError, match="1 missing labels among 2"):
        learner.teach(X[:2], [0, None])


def test_the_missing_label_may_be_a_string():
    labels = np.array(["x", "y", "zz"])[y[START]]
    labels[3] = "?"
    with pytest.raises(ValueError, match="missing"):
        ActiveLearner(LogisticRegression(), missing_label="?").fit(X[START], labels)


# Rows of every kind


def frame(rows):
    return pd.DataFrame(rows, columns=NAMES)


def polars_frame(rows):
    return pl.DataFrame({name: rows[:, i] for i, name in enumerate(NAMES)})


@hardly_trained
@classifiers
@pytest.mark.parametrize("selector", [vab(), EntropySelector(), RandomSelector()])
@pytest.mark.parametrize("to_frame", [frame, polars_frame])
def test_data_frames_give_what_arrays_give_without_a_warning(make, selector, to_frame):
    learner = fitted(make(), selector).teach(X[24:30], y[24:30])
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*feature names")
        framed = ActiveLearner(make(), selector, random_state=0)
        framed.fit(to_frame(X[START]), y[START]).teach(to_frame(X[24:30]), y[24:30])
        positions = framed.query(to_frame(X[30:]), 6)
        np.testing.assert_array_equal(framed.predict(to_frame(X)), learner.predict(X))
    np.testing.assert_array_equal(framed.feature_names_in_, NAMES)
    np.testing.assert_array_equal(positions, learner.query(X[30:], 6))


def test_rows_taught_as_an_array_join_those_of_a_data_frame():
    """As elsewhere in scikit-learn, an array may follow a data frame; a warning tells."""
    learner = ActiveLearner(LogisticRegression(), MarginSelector()).fit(frame(X[START]), y[START])
    with pytest.warns(UserWarning, match="feature names"):
        learner.teach(X[24:30], y[24:30])
    np.testing.assert_array_equal(np.asarray(learner.X_labeled_), X[:30])


def test_numbered_columns_of_data_frames_are_paired_by_their_place():
    table = pd.DataFrame(np.c_[y, X])  # the columns of the features are 1 to 5
    model = make_pipeline(StandardScaler(), LogisticRegression())
    learner = ActiveLearner(model, MarginSelector(), random_state=0)
    learner.fit(table.iloc[START, 1:], y[START]).teach(pd.DataFrame(X[24:30]), y[24:30])
    np.testing.assert_array_equal(np.asarray(learner.X_labeled_, dtype=np.float32), X[:30])
    assert learner.query(table.iloc[30:, 1:], 3).shape == (3,)


@pytest.mark.parametrize("taught", [pd.Categorical(["blue"]), ["blue"]])
def test_categories_stay_categories(taught):
    """Rows that have some of the categories, or new ones, do not turn the column into objects."""
    colours = pd.Categorical(np.array(["green", "red"])[(X[:, 0] > 0).astype(int)])
    table = pd.DataFrame({"size": X[:, 0], "colour": colours})
    model = HistGradientBoostingClassifier(max_iter=5, categorical_features="from_dtype")
    learner = ActiveLearner(model, MarginSelector(), random_state=0).fit(table[:24], y[:24])
    learner.teach(table[24:25].assign(colour=pd.Categorical(["red"])), y[24:25], refit=False)
    learner.teach(table[25:26].assign(colour=taught), y[25:26])
    assert learner.X_labeled_["colour"].dtype.categories.tolist() == ["green", "red", "blue"]
    assert learner.X_labeled_["colour"].tolist() == [*colours[:24], "red", "blue"]
    assert learner.query(table[26:], 3).shape == (3,)


def test_new_categories_of_an_ordered_column_are_refused():
    sizes = pd.Series(pd.Categorical(["S", "L"] * 12, ["S", "L"], ordered=True))
    table = pd.DataFrame({"size": sizes, "x": X[START, 0]})
    encode = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["size"]))
    learner = ActiveLearner(make_pipeline(encode, LogisticRegression()), MarginSelector())
    learner.fit(table, y[START])
    with pytest.raises(ValueError, match=r"'size' has new categories \['M'\]"):
        learner.teach(table[:1].assign(size=["M"]), y[:1])
    assert len(learner.y_labeled_) == 24


def test_data_frames_with_other_columns_are_refused():
    learner = ActiveLearner(LogisticRegression(), MarginSelector()).fit(frame(X[START]), y[START])
    swapped = frame(X[POOL])[NAMES[::-1]]
    for call in (learner.predict, lambda rows: learner.query(rows, 2)):
        with pytest.raises(ValueError, match="feature names"):
            call(swapped)


@hardly_trained
@pytest.mark.parametrize("selector", [vab(), MarginSelector(), RandomSelector()])
def test_data_frames_with_text_columns_go_through_a_pipeline(selector):
    table = pd.DataFrame({"size": X[:, 0].astype(float), "colour": np.array(["r", "g", "b"])[y]})
    encode = make_column_transformer((OneHotEncoder(), ["colour"]), (StandardScaler(), ["size"]))
    learner = ActiveLearner(make_pipeline(encode, LogisticRegression()), selector)
    learner.fit(table[:30], y[:30])
    positions = learner.query(table[30:], 5)
    learner.teach(table[30:].iloc[positions], y[30:][positions])
    assert learner.predict(table).tolist() == y.tolist()


@hardly_trained
@pytest.mark.parametrize("make", [LogisticRegression, LinearSVC])
@pytest.mark.parametrize("convert", [sp.csr_matrix, sp.coo_matrix, sp.csr_array, sp.csc_matrix])
@pytest.mark.parametrize("selector", [vab(), MarginSelector(), RandomSelector()])
def test_sparse_rows_give_what_dense_rows_give(make, convert, selector):
    Z = X * (np.abs(X) > 0.3)

    def learner(to):
        fitted = ActiveLearner(make(), selector, random_state=0).fit(to(Z[START]), y[START])
        return fitted.teach(to(Z[24:30]), y[24:30])

    sparse, dense = learner(convert), learner(np.asarray)
    assert sp.issparse(sparse.X_labeled_)
    np.testing.assert_array_equal(sparse.predict(convert(Z)), dense.predict(Z))
    positions, scores = sparse.query(convert(Z[30:]), 6, return_scores=True)
    expected, dense_scores = dense.query(Z[30:], 6, return_scores=True)
    np.testing.assert_allclose(scores, dense_scores, rtol=1e-3, atol=1e-5)
    np.testing.assert_array_equal(positions, expected)


@hardly_trained
@classifiers
def test_lists_give_what_arrays_give(make):
    learner = fitted(make(), vab())
    listed = ActiveLearner(make(), vab(), random_state=0)
    listed.fit(X[START].tolist(), y[START].tolist())
    np.testing.assert_array_equal(listed.query(X[POOL].tolist(), 6), learner.query(X[POOL], 6))
    np.testing.assert_array_equal(listed.predict(X.tolist()), learner.predict(X))


TEXTS = [
    f"{a} {b}"
    for a in ("red", "green", "blue", "dark red", "pale green")
    for b in ("apple", "pear", "plum", "sky", "sea", "wave")
]
TOPICS = np.array(["fruit"] * 3 + ["water"] * 3)[np.arange(30) % 6]


@pytest.mark.parametrize("first", [list, np.array, pd.Series])
@pytest.mark.parametrize("second", [list, np.array, pd.Series])
def test_texts_may_come_in_any_container(first, second):
    model = make_pipeline(TfidfVectorizer(), LogisticRegression())
    learner = ActiveLearner(model, EntropySelector(), random_state=0)
    learner.fit(first(TEXTS[:12]), TOPICS[:12]).teach(second(TEXTS[12:20]), TOPICS[12:20])
    assert list(learner.X_labeled_) == TEXTS[:20]


def test_a_table_does_not_join_texts():
    model = make_pipeline(TfidfVectorizer(), LogisticRegression())
    learner = ActiveLearner(model, EntropySelector()).fit(pd.Series(TEXTS[:12]), TOPICS[:12])
    with pytest.raises(ValueError, match="pass a Series"):
        learner.teach(pd.DataFrame({"text": TEXTS[12:14]}), TOPICS[12:14])
    assert len(learner.X_labeled_) == 12


@hardly_trained
@pytest.mark.parametrize("selector", [vab(), EntropySelector(), RandomSelector()])
@pytest.mark.parametrize("container", [list, np.array, pd.Series])
def test_texts_go_through_a_pipeline(selector, container):
    model = make_pipeline(TfidfVectorizer(), LogisticRegression())
    learner = ActiveLearner(model, selector, random_state=0)
    learner.fit(container(TEXTS[:12]), TOPICS[:12])
    pool = TEXTS[12:]
    positions = learner.query(container(pool), 4)
    learner.teach(container([pool[i] for i in positions]), TOPICS[12:][positions])
    bought = [*range(12), *(12 + positions)]
    peer = clone(model).fit([TEXTS[i] for i in bought], TOPICS[bought])
    assert learner.predict(container(TEXTS)).tolist() == peer.predict(TEXTS).tolist()
    expected = clone(learner).fit(TEXTS[:12], TOPICS[:12]).query(pool, 4)
    np.testing.assert_array_equal(positions, expected)


@hardly_trained
@pytest.mark.parametrize("sampler", [RandomOverSampler(), SMOTE(k_neighbors=2)])
@classifiers
def test_samplers_act_in_training_only(sampler, make):
    # A start of which four rows are of the last class.
    start = np.r_[
        np.flatnonzero(y == 0)[:14], np.flatnonzero(y == 1)[:12], np.flatnonzero(y == 2)[:4]
    ]
    pool = np.setdiff1d(np.arange(80), start)
    inner = make()
    inner = inner[-1] if isinstance(inner, Pipeline) else inner
    model = make_sampler_pipeline(StandardScaler(), sampler, inner)
    learner = ActiveLearner(model, vab(), random_state=0).fit(X[start], y[start])
    positions, scores = learner.query(X[pool], 5, return_scores=True)
    assert scores.shape == (50,)
    learner.teach(X[pool][positions], y[pool][positions])
    assert len(learner.y_labeled_) == 35
    assert learner.predict_proba(X).shape == (80, 3)
    # What the classifier was given is not what the sampler was given: balanced.
    _, balanced = learner.estimator_[:-1].fit_resample(learner.X_labeled_, learner.y_labeled_)
    assert len(set(np.bincount(balanced).tolist())) == 1


@pytest.mark.parametrize("make", [LogisticRegression, net, deep])
def test_a_sampler_changes_what_is_learned(make):
    labels = (X[:, 0] > 1.2).astype(int)
    params = {"module__out_features": 2, "max_epochs": 30, "lr": 0.5} if make is net else {}
    plain = ActiveLearner(make(**params), random_state=0).fit(X, labels)
    sampled = make_sampler_pipeline(RandomOverSampler(), make(**params))
    balanced = ActiveLearner(sampled, random_state=0).fit(X, labels)
    assert balanced.predict_proba(X)[:, 1].mean() > plain.predict_proba(X)[:, 1].mean()


@hardly_trained
@pytest.mark.parametrize("selector", [vab(), MarginSelector()])
@pytest.mark.parametrize(
    ("make", "grid"),
    [
        (LogisticRegression, {"C": [0.01, 1.0]}),
        (net, {"lr": [0.01, 0.1]}),
        (CLASSIFIERS["pipeline"], {"deepclassifier__lr": [0.01, 0.1]}),
    ],
)
def test_a_search_may_be_the_estimator(selector, make, grid):
    learner = fitted(GridSearchCV(make(), grid, cv=2), selector)
    positions = learner.query(X[POOL], 5)
    learner.teach(X[POOL][positions], y[POOL][positions])
    assert learner.estimator_.best_params_.keys() == grid.keys()
    assert learner.predict_proba(X).shape == (80, 3)
    assert set(learner.predict(X)) <= {0, 1, 2}


def test_missing_values_are_for_the_classifier_to_judge():
    holes = X.copy()
    holes[::3, 1] = np.nan
    trees = HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=3)
    learner = ActiveLearner(trees, MarginSelector()).fit(holes[:40], y[:40])
    positions, scores = learner.query(holes[40:], 5, return_scores=True)
    probabilities = np.sort(learner.predict_proba(holes[40:]), axis=1)
    np.testing.assert_allclose(scores, probabilities[:, -2] - probabilities[:, -1])
    learner.teach(holes[40:][positions], y[40:][positions])
    assert learner.predict(holes).shape == (80,)
    for estimator in (LogisticRegression(), deep(), net()):
        with pytest.raises(ValueError, match="NaN"):
            ActiveLearner(estimator).fit(holes, y)


@hardly_trained
@classifiers
@pytest.mark.parametrize("selector", [vab(), MarginSelector(), RandomSelector()])
def test_a_memmap_as_pool_gives_what_an_array_gives(make, selector, tmp_path):
    mapped = np.memmap(tmp_path / "pool.bin", np.float32, mode="w+", shape=(56, 5))
    mapped[:] = X[POOL]
    expected = fitted(make(), selector).query(X[POOL], 8)
    np.testing.assert_array_equal(fitted(make(), selector).query(mapped, 8), expected)


@hardly_trained
@classifiers
@pytest.mark.parametrize("selector", [vab(), MarginSelector(), EntropySelector()])
def test_a_dataset_as_pool_gives_what_an_array_gives(make, selector):
    tensors = torch.as_tensor(X[POOL])
    expected, scores = fitted(make(), selector).query(X[POOL], 8, return_scores=True)
    for pool in (TensorDataset(tensors), TensorDataset(tensors, torch.zeros(56))):
        positions, own = fitted(make(), selector).query(pool, 8, return_scores=True)
        np.testing.assert_array_equal(positions, expected)
        np.testing.assert_allclose(own, scores, rtol=1e-6)


def test_a_dataset_is_never_read_to_choose_at_random():
    class Unreadable(torch.utils.data.Dataset):
        def __len__(self):
            return 30

        def __getitem__(self, i):
            raise AssertionError("read")

    positions = fitted(selector=RandomSelector()).query(Unreadable(), 7)
    assert len(set(positions.tolist())) == 7


def test_a_dataset_may_hold_labeled_rows():
    whole = fitted().teach(X[24:30], y[24:30])
    learner = ActiveLearner(LogisticRegression(), MarginSelector(), random_state=0)
    learner.fit(TensorDataset(torch.as_tensor(X[START])), y[START])
    learner.teach(TensorDataset(torch.as_tensor(X[24:30])), y[24:30])
    np.testing.assert_allclose(
        learner.predict_proba(TensorDataset(torch.as_tensor(X))), whole.predict_proba(X)
    )


# Failures leave everything as it was


class Explosive(ClassifierMixin, BaseEstimator):
    """Refuses to be fitted on more than 24 rows, after having begun."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        self.n_seen_ = len(y)
        if len(y) > 24:
            raise RuntimeError("boom")
        return self

    def predict(self, X):
        return np.full(len(X), self.classes_[0])

    def predict_proba(self, X):
        return np.tile(np.eye(len(self.classes_))[0], (len(X), 1))


def state(learner):
    return {name: (id(value), pickle.dumps(value)) for name, value in vars(learner).items()}


holes = X[24:26].copy()
holes[0, 0] = np.nan

FAILURES = {
    "rows that are not finite": (holes, y[24:26]),
    "fewer columns": (X[24:26, :4], y[24:26]),
    "a single row": (X[24], y[24:25]),
    "strings for numbers": (X[24:26], ["0", "1"]),
    "mixed types": (X[24:26], [0, "1"]),
    "a missing label": (X[24:26], [0, None]),
    "continuous labels": (X[24:26], [0.5, 0.25]),
    "a class that was not announced": (X[24:26], [0, 3]),
    "fewer labels than rows": (X[24:27], y[24:26]),
    "no labels": (X[24:26], None),
    "no rows": (X[:0], y[:0]),
}


@pytest.mark.parametrize("refit", [True, False])
@pytest.mark.parametrize("rows_and_labels", FAILURES.values(), ids=FAILURES)
@classifiers
def test_a_teach_that_fails_changes_nothing(make, rows_and_labels, refit):
    learner = fitted(make(), classes=[0, 1, 2])
    learner.query(X[POOL], 3)
    before, probabilities = state(learner), learner.predict_proba(X)
    with pytest.raises((ValueError, TypeError)):
        learner.teach(*rows_and_labels, refit=refit)
    assert state(learner) == before
    np.testing.assert_array_equal(learner.predict_proba(X), probabilities)
    learner.teach(X[30:33], y[30:33]).query(X[40:], 3)


@pytest.mark.parametrize("warm_start", [True, False])
def test_a_teach_during_which_the_classifier_fails_changes_nothing(warm_start):
    learner = fitted(Explosive(), classes=[0, 1, 2], warm_start=warm_start)
    before = state(learner)
    with pytest.raises(RuntimeError, match="boom"):
        learner.teach(X[24:26], y[24:26])
    assert state(learner) == before
    assert learner.estimator_.n_seen_ == 24


def test_a_warm_teach_that_fails_does_not_train_the_old_net():
    class Fail(Callback):
        def on_epoch_begin(self, net, dataset_train=None, **kwargs):
            if len(dataset_train) > 24 and len(net.history) == 5:
                raise RuntimeError("boom")

    learner = fitted(net(callbacks=[Fail()]), warm_start=True)
    weights = learner.estimator_.module_.weight.detach().clone()
    with pytest.raises(RuntimeError, match="boom"):
        learner.teach(X[24:], y[24:])
    assert len(learner.estimator_.history) == 3
    assert torch.equal(learner.estimator_.module_.weight, weights)


@pytest.mark.parametrize(
    ("pool", "n", "numbers"),
    [
        (X[POOL], 57, ("57", "56")),
        (X[POOL], 0, ("0", "56")),
        (X[POOL], -1, ("-1", "56")),
        (X[:0], 3, ("3", "0")),
        ([], 3, ("3", "0")),
        (pd.DataFrame(X[:0]), 3, ("3", "0")),
        (TensorDataset(torch.zeros(0, 5)), 3, ("3", "0")),
        (TensorDataset(torch.zeros(2, 5)), 3, ("3", "2")),
    ],
)
def test_a_pool_too_small_is_an_error_with_both_numbers(pool, n, numbers):
    learner = fitted()
    with pytest.raises(ValueError, match="pool") as error:
        learner.query(pool, n)
    for number in numbers:
        assert f"={number}" in str(error.value)
    assert learner.n_queries_ == 0


@pytest.mark.parametrize("n", [2.0, "2", True, None])
def test_the_number_of_rows_must_be_an_integer(n):
    with pytest.raises(TypeError, match="integer"):
        fitted().query(X[POOL], n)


def test_a_pool_with_other_columns_is_an_error():
    with pytest.raises(ValueError, match=r"4 features.*5 features"):
        fitted().query(X[POOL, :4], 3)


@pytest.mark.parametrize(
    "call",
    [
        lambda learner: learner.query(X, 2),
        lambda learner: learner.teach(X, y),
        lambda learner: learner.predict(X),
        lambda learner: learner.predict_proba(X),
        lambda learner: learner.decision_function(X),
    ],
)
def test_an_unfitted_learner_says_so(call):
    with pytest.raises(NotFittedError):
        call(ActiveLearner(LogisticRegression()))


def test_a_new_fit_forgets_the_selector_of_the_last_query():
    learner = ActiveLearner(LogisticRegression(), RandomSelector()).fit(X[:10], np.arange(10) % 2)
    learner.query(X[10:], 2)
    assert not hasattr(learner.fit(X[:10], np.arange(10) % 2), "selector_")


@pytest.mark.parametrize("wrap", [lambda inner: inner, FrozenEstimator])
def test_decision_values_around_a_learner_have_a_column_for_each_class(wrap):
    """Also of the classes that the inner learner has announced, but never seen."""
    y = (X[:, 0] > 0).astype(int)
    inner = ActiveLearner(LogisticRegression(), RandomSelector(), classes=[0, 1, 2]).fit(X, y)
    for classes in ([0, 1, 2], [0, 1, 2, 3]):
        outer = ActiveLearner(wrap(inner), RandomSelector(), classes=classes).fit(X, y)
        values = outer.decision_function(X)
        np.testing.assert_array_equal(values[:, :3], inner.decision_function(X))
        assert (values[:, 2:] == -np.inf).all()


def test_a_selector_that_needs_probabilities_says_what_to_do():
    with pytest.raises(ValueError, match=r"predict_proba.*CalibratedClassifierCV"):
        fitted(LinearSVC(), EntropySelector()).query(X[POOL], 2)


# Seeds


@hardly_trained
@classifiers
@pytest.mark.parametrize("selector", [vab(), RandomSelector()])
def test_the_same_seed_gives_the_same_queries(make, selector):
    def run(seed):
        learner = ActiveLearner(make(), selector, random_state=seed).fit(X[START], y[START])
        first = learner.query(X[POOL], 5)
        learner.teach(X[POOL][first], y[POOL][first])
        return [*first, *learner.query(X[POOL], 5)]

    assert run(0) == run(0)
    assert len({tuple(run(seed)) for seed in range(4)}) > 1
    assert run(np.random.RandomState(3)) == run(np.random.RandomState(3))


def test_each_query_draws_anew():
    learner = fitted(selector=RandomSelector())
    queries = [tuple(learner.query(X[POOL], 5)) for _ in range(10)]
    assert len(set(queries)) == 10
    again = fitted(selector=RandomSelector())
    assert [tuple(again.query(X[POOL], 5)) for _ in range(10)] == queries


def test_without_a_seed_two_learners_differ():
    queries = [
        ActiveLearner(LogisticRegression(), RandomSelector())
        .fit(X[START], y[START])
        .query(X[POOL], 10)
        for _ in range(2)
    ]
    assert not np.array_equal(*queries)


def test_seeds_of_the_children_are_kept_and_the_others_differ():
    learner = fitted(selector=RandomSelector(random_state=7))
    first, second = learner.query(X[POOL], 5), learner.query(X[POOL], 5)
    np.testing.assert_array_equal(first, second)
    assert learner.selector_.random_state == 7
    model = make_sampler_pipeline(RandomOverSampler(random_state=3), deep())
    learner = fitted(model, vab())
    assert learner.estimator_[0].random_state == 3
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        learner.query(X[POOL], 2)
    seeds = {learner.estimator_[1].random_state, learner.selector_.random_state, 3, 0}
    assert len(seeds) == 4
    assert None not in seeds
    assert model[1].random_state is None


@hardly_trained
@pytest.mark.parametrize("pool", [X[POOL], TensorDataset(torch.as_tensor(X[POOL]))])
@pytest.mark.parametrize(
    ("estimator", "selector"),
    [
        (deep(), vab()),
        (net(), vab()),
        (net(), EntropySelector()),
        (RandomForestClassifier(5), vab()),
        (LogisticRegression(), RandomSelector()),
        (LinearSVC(), MarginSelector()),
        (make_sampler_pipeline(SMOTE(k_neighbors=1), net()), MarginSelector()),
        (GridSearchCV(deep(), {"lr": [0.1]}, cv=2), vab()),
    ],
)
def test_global_generators_are_left_alone(estimator, selector, pool):
    before = np.random.get_state(), torch.get_rng_state()
    learner = ActiveLearner(estimator, selector).fit(X[START], y[START])
    positions = learner.query(pool, 3)
    learner.teach(X[POOL][positions], y[POOL][positions]).predict(pool)
    if hasattr(learner, "predict_proba"):
        learner.predict_proba(pool)
    after = np.random.get_state(), torch.get_rng_state()
    assert all(np.array_equal(a, b) for a, b in zip(before[0], after[0], strict=True))
    assert torch.equal(before[1], after[1])


def test_splitters_that_shuffle_are_seeded_and_leave_the_generators_alone():
    """Around a network of ours, which isolates its own training only."""
    search = GridSearchCV(
        deep(max_epochs=1), {"lr": [1e-3, 1e-2]}, cv=StratifiedKFold(3, shuffle=True)
    )
    scores = []
    for seed in (1, 2):
        np.random.seed(seed)
        before = np.random.get_state()
        learner = ActiveLearner(search, MarginSelector(), random_state=0).fit(X[START], y[START])
        assert np.array_equal(np.random.get_state()[1], before[1])
        scores.append(learner.estimator_.cv_results_["mean_test_score"])
    np.testing.assert_array_equal(*scores)
    assert search.cv.random_state is None


@hardly_trained
@pytest.mark.parametrize("wrap", [lambda learner: learner, FrozenEstimator])
def test_a_learner_that_lacks_labels_of_a_class_is_a_classifier_like_others(wrap):
    two = y < 2
    for estimator in (LogisticRegression(), LinearSVC(), deep()):
        inner = ActiveLearner(estimator, RandomSelector(), classes=[0, 1, 2])
        inner.fit(X[two][:30], y[two][:30])
        for kind in (MarginSelector, vab, BASESelector, CoreSetSelector):
            selector = kind(estimator=wrap(inner))
            picks = selector.fit_pool(X[two][:30], y[two][:30], X[POOL]).select(X[POOL], 5)
            assert len(set(picks)) == 5


def test_one_class_with_decision_values_can_be_queried():
    learner = ActiveLearner(RidgeClassifier(), MarginSelector(), classes=[0, 1])
    learner.fit(X[:5], [0] * 5)
    assert learner.query(X[POOL], 3).shape == (3,)
    assert (learner.decision_function(X) == -np.inf).all()  # as if sure of the first class
    assert (learner.fit(X[:5], [1] * 5).decision_function(X) == np.inf).all()


def test_warm_start_begins_anew_with_another_estimator():
    learner = fitted(deep(), warm_start=True).set_params(estimator=LogisticRegression())
    learner.teach(X[24:], y[24:])
    assert isinstance(learner.estimator_, LogisticRegression)
    pipeline = fitted(make_pipeline(StandardScaler(), LogisticRegression()), warm_start=True)
    pipeline.set_params(estimator__logisticregression__C=1e-6).teach(X[24:], y[24:])
    assert pipeline.estimator_[-1].C == 1e-6


def test_texts_and_categories_for_a_calibrated_pipeline():
    """As the error of a pipeline without probabilities advises."""
    texts = [f"word{i % 3} {'good' if i % 2 else 'bad'}" for i in range(40)]
    labels = np.arange(40) % 2
    calibrated = CalibratedClassifierCV(make_pipeline(TfidfVectorizer(), LinearSVC()), cv=2)
    learner = ActiveLearner(calibrated, EntropySelector()).fit(texts[:20], labels[:20])
    assert learner.query(texts[20:], 3).shape == (3,)
    frame = pd.DataFrame({"a": np.arange(40) % 7, "b": texts})
    columns = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["b"]))
    calibrated = CalibratedClassifierCV(make_pipeline(columns, LinearSVC()), cv=2)
    learner = ActiveLearner(calibrated, EntropySelector()).fit(frame[:20], labels[:20])
    assert learner.query(frame[20:], 3).shape == (3,)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda boosting: GridSearchCV(boosting, {"max_leaf_nodes": [3]}, cv=2),
        lambda boosting: CalibratedClassifierCV(boosting, cv=2),
    ],
)
def test_gaps_are_for_what_is_wrapped_to_judge(wrap):
    gaps = np.where(RNG.random(X.shape) < 0.1, np.nan, X)
    learner = ActiveLearner(wrap(HistGradientBoostingClassifier(max_iter=3)), MarginSelector())
    assert learner.fit(gaps[START], y[START]).query(gaps[POOL], 3).shape == (3,)
    with pytest.raises(ValueError, match="NaN"):
        ActiveLearner(LogisticRegression(), MarginSelector()).fit(X[START], y[START]).query(gaps, 3)


def test_strategies_that_read_features_check_rows_that_no_step_prepares_for_them():
    """The features behind a CalibratedClassifierCV are the rows themselves, gaps and all."""
    gaps = np.where(RNG.random(X.shape) < 0.1, np.nan, X)
    imputed = make_pipeline(SimpleImputer(), LinearSVC())
    calibrated = CalibratedClassifierCV(imputed, cv=2)
    learner = ActiveLearner(calibrated, CoreSetSelector()).fit(gaps[START], y[START])
    with pytest.raises(ValueError, match="Input X contains NaN"):
        learner.query(gaps[POOL], 3)
    learner = ActiveLearner(imputed, CoreSetSelector()).fit(gaps[START], y[START])
    assert learner.query(gaps[POOL], 3).shape == (3,)


def test_categories_beside_booleans_and_nullable_numbers():
    frame = pd.DataFrame(
        {
            "a": pd.Series(X[:, 0]).astype("Float64"),
            "b": X[:, 1] > 0,
            "c": pd.Series(np.where(X[:, 2] > 0, "x", "y"), dtype="category"),
        }
    )
    boosting = HistGradientBoostingClassifier(max_iter=3, categorical_features="from_dtype")
    for selector in (MarginSelector(), RandomSelector()):
        learner = ActiveLearner(boosting, selector).fit(frame[START], y[START])
        assert learner.query(frame[POOL], 3).shape == (3,)


@hardly_trained
def test_global_seeds_do_not_change_what_is_learned():
    results = []
    for seed in (1, 2):
        np.random.seed(seed)
        torch.manual_seed(seed)
        learner = fitted(net(), vab())
        results.append((learner.predict_proba(X), learner.query(X[POOL], 9)))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1], results[1][1])


# A citizen of scikit-learn


@hardly_trained
@classifiers
def test_pickles_predict_and_query_the_same(make, tmp_path):
    learner = fitted(make(), vab())
    learner.query(X[POOL], 2)
    joblib.dump(learner, tmp_path / "learner.joblib")
    copies = [pickle.loads(pickle.dumps(learner)), joblib.load(tmp_path / "learner.joblib")]
    expected = learner.query(X[POOL], 5)
    for copied in copies:
        np.testing.assert_array_equal(copied.predict_proba(X), learner.predict_proba(X))
        np.testing.assert_array_equal(copied.query(X[POOL], 5), expected)
        copied.teach(X[30:33], y[30:33])
    assert len(learner.y_labeled_) == 24


def test_a_clone_is_unfitted_and_has_the_same_parameters():
    learner = fitted(selector=vab(lam=0.3), classes=[0, 1, 2], warm_start=True)
    copied = clone(learner)
    assert not hasattr(copied, "estimator_")
    assert copied.selector.lam == 0.3
    assert copied.classes == [0, 1, 2]
    assert copied.selector is not learner.selector
    assert list(inspect.signature(ActiveLearner).parameters) == [
        "estimator", "selector", "classes", "missing_label", "warm_start", "random_state",
    ]  # fmt: skip


@hardly_trained
@pytest.mark.slow
def test_parameters_of_the_children_can_be_searched():
    learner = ActiveLearner(LogisticRegression(), vab(), random_state=0)
    grid = {"selector__lam": [0.01, 0.1], "estimator__C": [1e-4, 1.0]}
    search = GridSearchCV(learner, grid, cv=2, n_jobs=2).fit(X, y)
    assert search.best_params_["estimator__C"] == 1.0
    # The selector has no say in what the first labels teach.
    by_strength = {}
    for params, score in zip(
        search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True
    ):
        by_strength.setdefault(params["estimator__C"], set()).add(score)
    assert all(len(scores) == 1 for scores in by_strength.values())
    assert search.best_estimator_.query(X, 3).shape == (3,)


def test_cross_validation_scores_the_classifier():
    learner = ActiveLearner(LogisticRegression(), random_state=0)
    np.testing.assert_array_equal(
        cross_val_score(learner, X, y, cv=3), cross_val_score(LogisticRegression(), X, y, cv=3)
    )


@hardly_trained
def test_a_learner_inside_a_pipeline():
    model = make_pipeline(StandardScaler(), ActiveLearner(deep(), vab(), random_state=0))
    model.fit(X[START], y[START])
    scaler, learner = model
    positions = learner.query(scaler.transform(X[POOL]), 5)
    learner.teach(scaler.transform(X[POOL][positions]), y[POOL][positions])
    assert model.predict_proba(X).shape == (80, 3)
    np.testing.assert_array_equal(
        model.predict(X), learner.predict(StandardScaler().fit(X[START]).transform(X))
    )


@hardly_trained
def test_a_pipeline_inside_a_learner_is_fitted_anew_with_its_transformers():
    learner = fitted(make_pipeline(StandardScaler(), LogisticRegression()), vab())
    # The rows are float32: a mean near zero has few digits left, so both in float64.
    rows = X.astype(np.float64)
    np.testing.assert_allclose(learner.estimator_[0].mean_, rows[START].mean(axis=0), rtol=1e-5)
    positions = learner.query(X[POOL], 5)
    learner.teach(X[POOL][positions], y[POOL][positions])
    seen = np.concatenate([rows[START], rows[POOL][positions]])
    np.testing.assert_allclose(learner.estimator_[0].mean_, seen.mean(axis=0), rtol=1e-5)


@hardly_trained
@pytest.mark.parametrize("make", [deep, net])
def test_threads_give_what_one_after_the_other_gives(make):
    def run(seed):
        learner = ActiveLearner(make(), vab(), random_state=seed).fit(X[START], y[START])
        positions = learner.query(X[POOL], 5)
        learner.teach(X[POOL][positions], y[POOL][positions])
        return positions.tolist(), learner.predict_proba(X).tolist()

    expected = [run(seed) for seed in range(4)]
    before = torch.get_rng_state()
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(run, range(4))) == expected
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.slow
def test_a_search_in_threads_inside_a_learner_comes_to_an_end():
    """In a process of its own: if it did not end, its threads would block other tests."""
    program = """
        import joblib, numpy as np
        from sklearn.model_selection import GridSearchCV
        from skvaball import ActiveLearner
        from skvaball.networks import DeepClassifier
        X, y = np.eye(12), np.arange(12) % 2
        search = GridSearchCV(DeepClassifier(max_epochs=1), {"lr": [0.1]}, cv=2, n_jobs=2)
        with joblib.parallel_config("threading"):
            ActiveLearner(search).fit(X, y)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True, timeout=60)


@pytest.mark.parametrize(
    ("params", "name"),
    [
        ({"estimator": 3}, "estimator"),
        ({"selector": LogisticRegression()}, "selector"),
        ({"classes": 3}, "classes"),
        ({"warm_start": 2}, "warm_start"),
        ({"random_state": "seed"}, "random_state"),
    ],
)
def test_bad_parameters_are_named(params, name):
    with pytest.raises(ValueError, match=f"'{name}' parameter"):
        ActiveLearner(**params).fit(X, y)


def test_a_refit_that_fails_leaves_the_learner_as_it_was():
    learner = fitted()
    before = learner.predict(X)
    for narrow in (X[:6, :3], X[:6]):
        with pytest.raises(ValueError, match="class"):
            learner.fit(narrow, np.zeros(6))
        np.testing.assert_array_equal(learner.predict(X), before)
        assert learner.n_features_in_ == X.shape[1]


def test_a_selector_that_was_replaced_is_looked_at_by_the_query():
    learner = fitted().set_params(selector="margin")
    with pytest.raises(ValueError, match="'selector' parameter"):
        learner.query(X[POOL], 2)


@pytest.mark.parametrize(
    ("estimator", "selector", "message"),
    [
        (LogisticRegression(), MarginSelector, r"selector=MarginSelector is a class.*instance"),
        (LogisticRegression, MarginSelector(), r"estimator=LogisticRegression is a class"),
        (LinearRegression(), MarginSelector(), "LinearRegression is a regressor"),
        (NeuralNetRegressor(nn.Linear), MarginSelector(), "NeuralNetRegressor is a regressor"),
    ],
)
def test_parts_that_cannot_work_are_refused_by_fit(estimator, selector, message):
    with pytest.raises(TypeError, match=message):
        ActiveLearner(estimator, selector).fit(X, y)


@pytest.mark.parametrize("n", [3, 4])  # three classes have three pairs
def test_decisions_between_pairs_of_classes_are_not_given_to_a_new_class(n):
    labels = np.arange(len(X)) % n
    pairs = SVC(decision_function_shape="ovo")
    learner = ActiveLearner(pairs, MarginSelector(), classes=range(n + 1)).fit(X, labels)
    with pytest.raises(ValueError, match=rf"values for {n} classes.*'ovr'"):
        learner.decision_function(X)
    learner.set_params(estimator__decision_function_shape="ovr").fit(X, labels)
    values = learner.decision_function(X)
    assert values.shape == (len(X), n + 1)
    assert (values[:, n] == -np.inf).all()
    np.testing.assert_array_equal(values[:, :n], learner.estimator_.decision_function(X))
