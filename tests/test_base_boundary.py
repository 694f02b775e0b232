"""BASE: the rows closest to the decision boundaries, evenly over classes."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import make_blobs
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Perceptron
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.utils.estimator_checks import parametrize_with_checks
from skorch import NeuralNetBinaryClassifier, NeuralNetClassifier
from torch import nn

from skvaball.networks import MLP, DeepClassifier
from skvaball.selectors._base_boundary import BASESelector
from skvaball.utils.estimator_checks import parametrize_with_selector_checks


def blobs(n_classes=4, n=160):
    X, y = make_blobs(n, n_features=5, centers=n_classes, cluster_std=4.0, random_state=0)
    return X.astype(np.float32), np.array(list("abcdefgh"))[y]


def boundary_distances(outputs, weights):
    """(f_a - f_c) / |w_a - w_c| as written in the paper; infinite for the predicted class."""
    distances = np.full(outputs.shape, np.inf)
    for i, f in enumerate(outputs):
        a = f.argmax()
        for c in range(len(f)):
            if c != a:
                distances[i, c] = (f[a] - f[c]) / np.linalg.norm(weights[a] - weights[c])
    return distances


def balanced_picks(distances, n):
    """For each class the rows of smallest key that are left, as a set."""
    n_classes = distances.shape[1]
    keys = np.where(np.isinf(distances), distances.min(axis=1, keepdims=True), distances)
    picked = []
    for c in range(n_classes):
        quota = n // n_classes + (c < n % n_classes)
        left = [i for i in np.argsort(keys[:, c]) if i not in picked]
        picked += left[:quota]
    return picked


@pytest.mark.parametrize("n", [1, 6, 40, 120])
@pytest.mark.parametrize(
    "estimator", [LogisticRegression(max_iter=1000), LinearSVC(), Perceptron()], ids=repr
)
def test_linear_models_by_the_formula(estimator, n):
    X, y = blobs()
    estimator.fit(X[:40], y[:40])
    selector = BASESelector(estimator)
    picks, scores = selector.fit_select(X[:40], y[:40], X[40:], n)
    assert selector.distance_ == "feature"
    distances = boundary_distances(estimator.decision_function(X[40:]), estimator.coef_)
    np.testing.assert_allclose(scores, -distances.min(axis=1), rtol=1e-5, atol=1e-6)
    assert set(picks) == set(balanced_picks(distances, n))


def test_networks_by_the_formula():
    X, y = blobs()
    net = DeepClassifier(max_epochs=30, random_state=0).fit(X[:40], y[:40])
    selector = BASESelector(net)
    picks, scores = selector.fit_select(X[:40], y[:40], X[40:], 30)
    assert selector.distance_ == "feature"
    module = net.net_.module_.eval()
    with torch.no_grad():
        outputs = module(torch.from_numpy(net.network_input(X[40:]))).double().numpy()
    distances = boundary_distances(outputs, module.output.weight.detach().double().numpy())
    np.testing.assert_allclose(scores, -distances.min(axis=1), rtol=1e-3, atol=1e-4)
    assert set(picks) == set(balanced_picks(distances, 30))


@pytest.mark.parametrize("n_classes", [2, 3])
def test_data_frames_and_sparse_matrices_are_rows_like_others(n_classes):
    X, y = blobs(n_classes)
    X[np.abs(X) < 3] = 0
    selector = BASESelector(LogisticRegression(max_iter=1000).fit(X[:40], y[:40]))
    expected = selector.fit_select(X[:40], y[:40], X[40:], 12)
    for convert in (sp.csr_array, pd.DataFrame):
        picks, scores = selector.fit_select(convert(X[:40]), y[:40], convert(X[40:]), 12)
        assert selector.distance_ == "feature"
        np.testing.assert_array_equal(picks, expected[0])
        np.testing.assert_allclose(scores, expected[1], rtol=1e-3, atol=1e-5)


def test_two_classes_have_one_boundary():
    # Distance from the boundary: |w x + b| / |w|, for both classes.
    X, y = blobs(2)
    for model in (LogisticRegression(), LinearSVC()):
        model.fit(X[:40], y[:40])
        scores = BASESelector(model).fit_pool(X[:40], y[:40], X[40:]).score_samples(X)
        expected = -np.abs(model.decision_function(X)) / np.linalg.norm(model.coef_)
        np.testing.assert_allclose(scores, expected, rtol=1e-6)


class Nearest(ClassifierMixin, BaseEstimator):
    """The logarithm of the probability falls with the distance from the class's mean."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        self.means_ = np.array([X[y == label].mean() for label in self.classes_])
        return self

    def predict_proba(self, X):
        return softmax(-np.abs(X - self.means_), axis=1)

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


def test_picks_of_the_classes_take_turns_closest_first():
    # Three classes around 0, 10 and 20. The distance of x, predicted as class a, from the
    # boundary with c is |x - c| - |x - a|:
    #   row   x      a   0     1     2
    #   0     4      0   -     2    12
    #   1     1      0   -     8    18
    #   2     14     1   10    -     2
    #   3     9.5    1   9     -    10
    #   4     18     2   16    6     -
    #   5     15.5   2   11    1     -
    # Class 0 takes 2 rows: row 0 (2) and row 1 (8). Class 1 takes 2: row 5 (1) and row 2
    # (its nearest boundary: 2). Class 2 takes 1: of rows 3 (10) and 4 (nearest: 6) the
    # latter.
    pool = np.array([[4.0], [1.0], [14.0], [9.5], [18.0], [15.5]])
    selector = BASESelector(Nearest())
    picks, scores = selector.fit_select(np.array([[0.0], [10.0], [20.0]]), [0, 1, 2], pool, 5)
    np.testing.assert_allclose(scores, [-2, -8, -2, -9, -6, -1])
    assert picks.tolist() == [0, 5, 4, 1, 2]


@pytest.mark.parametrize(
    "estimator",
    [
        RandomForestClassifier(20, random_state=0),
        KNeighborsClassifier(),
        OneVsRestClassifier(LogisticRegression()),
    ],
    ids=repr,
)
def test_other_classifiers_by_the_logarithms_of_probabilities(estimator):
    X, y = blobs(3)
    estimator.fit(X[:40], y[:40])
    selector = BASESelector(estimator).fit_pool(X[:40], y[:40], X[40:])
    assert selector.distance_ == "probability"
    highest = np.sort(estimator.predict_proba(X).astype(float), axis=1)[:, ::-1]
    expected = np.log(np.maximum(highest[:, 1], np.finfo(float).tiny)) - np.log(highest[:, 0])
    np.testing.assert_allclose(selector.score_samples(X), expected, rtol=1e-9)
    with pytest.raises(ValueError, match="distance='feature' needs"):
        BASESelector(estimator, distance="feature").fit_pool(X[:40], y[:40], X[40:])


def test_weights_of_pairs_of_classes_are_not_those_of_classes():
    # With three classes there are as many pairs, and so as many rows of coef_.
    X, y = blobs(3)
    svc = SVC(kernel="linear").fit(X[:40], y[:40])
    assert svc.coef_.shape == (3, 5)
    with pytest.raises(ValueError, match="for SVC no weights"):
        BASESelector(svc, distance="feature").fit_pool(X[:40], y[:40], X[40:])


@pytest.mark.parametrize("n_classes", [3, 4])
def test_decision_values_of_pairs_of_classes_are_not_those_of_classes(n_classes):
    """They are what coef_ says, which are the weights of pairs as well."""
    X, y = blobs(n_classes)
    svc = SVC(kernel="linear", decision_function_shape="ovo").fit(X[:60], y[:60])
    with pytest.raises(ValueError, match="for SVC no weights"):
        BASESelector(svc, distance="feature").fit_pool(X[:60], y[:60], X[60:])
    two = y != "c" if n_classes == 3 else np.isin(y, ["a", "b"])
    binary = SVC(kernel="linear", decision_function_shape="ovo").fit(X[two], y[two])
    selector = BASESelector(binary, distance="feature").fit_pool(X[two], y[two], X)
    expected = np.abs(binary.decision_function(X)) / np.linalg.norm(binary.coef_)
    np.testing.assert_allclose(-selector.score_samples(X), expected, rtol=1e-5)


def test_probability_distance_of_a_linear_model():
    X, y = blobs()
    model = LogisticRegression(max_iter=1000).fit(X[:40], y[:40])
    selector = BASESelector(model, distance="probability").fit_pool(X[:40], y[:40], X[40:])
    assert selector.distance_ == "probability"
    outputs = np.sort(model.decision_function(X), axis=1)
    np.testing.assert_allclose(
        selector.score_samples(X), outputs[:, -2] - outputs[:, -1], rtol=1e-4, atol=1e-5
    )


class Tempered(MLP):
    """An MLP whose output is not that of its last layer."""

    def forward(self, X):
        return torch.tanh(super().forward(X))


class Sigmoid(nn.Module):
    """One output for two classes."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 1))

    def forward(self, X):
        return self.layers(X).squeeze(-1)


def test_networks_whose_output_is_not_linear_fall_back():
    X, y = blobs()
    net = DeepClassifier(Tempered, max_epochs=5, random_state=0).fit(X[:40], y[:40])
    selector = BASESelector(net).fit_pool(X[:40], y[:40], X[40:])
    assert selector.distance_ == "probability"
    with pytest.raises(ValueError, match="for DeepClassifier no weights"):
        BASESelector(net, distance="feature").fit_pool(X[:40], y[:40], X[40:])


def unwrapped(estimator):
    return estimator[-1] if hasattr(estimator, "steps") else estimator


def test_raw_skorch_nets_and_pipelines_around_them():
    X, y = blobs()
    settings = {"train_split": None, "verbose": 0, "max_epochs": 5}
    net = NeuralNetClassifier(
        MLP,
        module__n_inputs=5,
        module__n_classes=4,
        criterion=nn.CrossEntropyLoss,
        **settings,
    )
    for estimator in (net, make_pipeline(StandardScaler(), net)):
        selector = BASESelector(estimator, random_state=0)
        picks, scores = selector.fit_select(X[:40], y[:40], X[40:], 10)
        assert selector.distance_ == "feature"
        assert len(np.unique(picks)) == 10
        fitted = selector.estimator_
        rows = X[40:] if fitted is unwrapped(fitted) else fitted[:-1].transform(X[40:])
        module = unwrapped(fitted).module_.eval()
        with torch.no_grad():
            outputs = module.hidden(torch.from_numpy(rows)) @ module.output.weight.T
            outputs = (outputs + module.output.bias).numpy()
        distances = boundary_distances(outputs, module.output.weight.detach().numpy())
        np.testing.assert_allclose(scores, -distances.min(axis=1), rtol=1e-3, atol=1e-4)


def test_a_network_with_a_single_output():
    X, y = blobs(2)
    net = NeuralNetBinaryClassifier(Sigmoid, train_split=None, verbose=0, max_epochs=5)
    selector = BASESelector(net, random_state=0).fit_pool(X[:40], y[:40], X[40:])
    assert selector.distance_ == "feature"
    module = selector.estimator_.module_
    with torch.no_grad():
        outputs = module(torch.from_numpy(X)).numpy()
    norm = torch.linalg.norm(module.layers[-1].weight).item()
    np.testing.assert_allclose(
        selector.score_samples(X), -np.abs(outputs) / norm, rtol=1e-3, atol=1e-5
    )


def test_pipelines_measure_behind_their_transformers():
    X, y = blobs()
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    pipeline.fit(X[:40], y[:40])
    inside = BASESelector(pipeline[-1]).fit_pool(
        pipeline[:-1].transform(X[:40]), y[:40], pipeline[:-1].transform(X[40:])
    )
    around = BASESelector(pipeline).fit_pool(X[:40], y[:40], X[40:])
    assert around.distance_ == "feature"
    np.testing.assert_allclose(
        around.score_samples(X), inside.score_samples(pipeline[:-1].transform(X))
    )


@pytest.mark.parametrize(
    "estimator", [LogisticRegression(max_iter=1000), RandomForestClassifier(10, random_state=0)]
)
def test_a_class_unknown_to_the_classifier_takes_the_closest_to_any_boundary(estimator):
    X, y = blobs(3)
    known = y[:40] != "c"
    selector = BASESelector(estimator, classes=["a", "b", "c"], random_state=0)
    picks, scores = selector.fit_select(X[:40][known], y[:40][known], X[40:], 9)
    assert np.isfinite(scores).all()
    assert len(np.unique(picks)) == 9
    # Two classes with one boundary: all picks are those closest to it.
    np.testing.assert_allclose(np.sort(scores[picks]), np.sort(scores)[-9:])


def test_a_single_class_has_no_boundary():
    X = np.arange(10.0)[:, None]
    model = RandomForestClassifier(2, random_state=0)
    picks, scores = BASESelector(model).fit_select(X[:3], np.zeros(3, int), X[3:], 4)
    assert len(np.unique(picks)) == 4
    assert not scores.any()


def test_without_probabilities_and_weights_there_is_no_distance():
    X, y = blobs(3)
    with pytest.raises(ValueError, match="needs predict_proba of SVC"):
        BASESelector(SVC()).fit_pool(X[:40], y[:40], X[40:])
    with pytest.raises(ValueError, match="needs predict_proba of LinearSVC"):
        BASESelector(LinearSVC(), distance="probability").fit_pool(X[:40], y[:40], X[40:])


@parametrize_with_checks(
    [
        BASESelector(LogisticRegression()),
        BASESelector(LinearSVC()),
        BASESelector(LogisticRegression(), distance="probability"),
    ]
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@parametrize_with_selector_checks([BASESelector(), BASESelector(distance="probability")])
def test_selector_checks(selector, check):
    check(selector)
