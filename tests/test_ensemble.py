"""Disagreement: the formulas against hand computations and closed forms, and the ensemble."""

import copy
import math
import warnings

import joblib
import numpy as np
import pytest
import torch
from scipy.special import digamma, entr
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits, make_blobs
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from skorch import NeuralNetClassifier

from skvaball.networks import MLP, DeepClassifier
from skvaball.selectors._disagreement import (
    MEASURES,
    bald,
    consensus_kl,
    mean_std,
    predictive_entropy,
    variation_ratio,
    vote_entropy,
)
from skvaball.selectors._ensemble import EnsembleSelector
from skvaball.utils.estimator_checks import parametrize_with_selector_checks

# On tiny, well separated data an ensemble may well agree.
pytestmark = pytest.mark.filterwarnings("ignore:The .* members agree")

NET = DeepClassifier(max_epochs=5)


# -- formulas --------------------------------------------------------------------------------

# Two members and three rows: at odds, alike and unsure, alike and sure.
TABLE = np.array(
    [
        [[0.9, 0.1], [0.5, 0.5], [1.0, 0.0]],
        [[0.3, 0.7], [0.5, 0.5], [1.0, 0.0]],
    ]
)


def h(*probabilities):
    """Entropy in nats, written out."""
    return -sum(p * math.log(p) for p in probabilities if p > 0)


def test_bald_by_hand():
    at_odds = h(0.6, 0.4) - (h(0.9, 0.1) + h(0.3, 0.7)) / 2
    assert bald(TABLE) == pytest.approx([at_odds, 0.0, 0.0], abs=1e-15)
    assert at_odds == pytest.approx(0.2050, abs=1e-4)


def test_entropy_of_the_mean_by_hand():
    assert predictive_entropy(TABLE) == pytest.approx([h(0.6, 0.4), math.log(2), 0.0])


def test_kl_to_consensus_by_hand():
    first = 0.9 * math.log(0.9 / 0.6) + 0.1 * math.log(0.1 / 0.4)
    second = 0.3 * math.log(0.3 / 0.6) + 0.7 * math.log(0.7 / 0.4)
    assert consensus_kl(TABLE) == pytest.approx([(first + second) / 2, 0.0, 0.0], abs=1e-15)


def test_mean_std_by_hand():
    assert mean_std(TABLE) == pytest.approx([0.3, 0.0, 0.0])


def test_votes_by_hand():
    # Votes of four members: 0 0 1 2, and 1 1 1 1.
    votes = np.array([[0, 1], [0, 1], [1, 1], [2, 1]])
    probabilities = 0.4 * np.eye(3)[votes] + 0.2
    assert vote_entropy(probabilities) == pytest.approx([h(0.5, 0.25, 0.25), 0.0])
    assert variation_ratio(probabilities) == pytest.approx([0.5, 0.0])


@pytest.mark.parametrize("n_members", [1, 2, 7])
def test_mean_kl_to_consensus_is_bald(n_members):
    probabilities = np.random.default_rng(0).dirichlet([0.3] * 5, size=(n_members, 200))
    np.testing.assert_allclose(consensus_kl(probabilities), bald(probabilities), atol=1e-14)


@pytest.mark.parametrize(
    "alpha", [(1.0, 1.0), (0.2, 0.2, 0.2), (5.0, 1.0, 0.5), (30.0, 10.0), (1.0,) * 10]
)
def test_bald_of_a_dirichlet_ensemble_is_its_closed_form(alpha):
    alpha = np.array(alpha)
    total = alpha.sum()
    mean = alpha / total
    expected_entropy = digamma(total + 1) - np.sum(mean * digamma(alpha + 1))
    information = entr(mean).sum() - expected_entropy
    n_draws = 20_000
    draws = np.random.default_rng(0).dirichlet(alpha, size=(n_draws, 1))
    # Five standard errors of the mean entropy; the mean itself adds less.
    tolerance = 5 * entr(draws).sum(axis=-1).std() / math.sqrt(n_draws)
    assert tolerance < 0.02
    assert bald(draws)[0] == pytest.approx(information, abs=tolerance)


@pytest.mark.parametrize("name", sorted(MEASURES))
def test_measures_do_not_depend_on_the_order_of_members_or_rows(name):
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet([0.5] * 4, size=(6, 50))
    scores = MEASURES[name](probabilities)
    assert scores.shape == (50,)
    np.testing.assert_allclose(MEASURES[name](probabilities[::-1]), scores, atol=1e-14)
    order = rng.permutation(50)
    np.testing.assert_array_equal(MEASURES[name](probabilities[:, order]), scores[order])


@pytest.mark.parametrize("name", sorted(set(MEASURES) - {"entropy"}))
def test_members_that_are_alike_do_not_disagree(name):
    probabilities = np.random.default_rng(0).dirichlet([0.5] * 4, size=(1, 50))
    scores = MEASURES[name](np.repeat(probabilities, 5, axis=0))
    assert np.all(np.abs(scores) < 1e-15)
    assert np.all(scores >= 0)


# -- the selector ----------------------------------------------------------------------------


def digits(n=150):
    X, y = load_digits(return_X_y=True)
    return X[:n], y[:n], X[n : n + 500], y[n : n + 500]


@parametrize_with_checks(
    [
        EnsembleSelector(NET, n_members=2),
        EnsembleSelector(LogisticRegression(), n_members=2, bootstrap=True),
    ]
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@parametrize_with_selector_checks(
    [EnsembleSelector(NET, n_members=2), EnsembleSelector(NET, n_members=3, bootstrap=True)]
)
def test_selector_checks(selector, check):
    check(selector)


@pytest.mark.parametrize("measure", ["bald", "kl", "entropy", "vote_entropy", "variation_ratio"])
def test_scores_are_the_measure_of_the_members(measure):
    X, y, pool, _ = digits()
    selector = EnsembleSelector(
        LogisticRegression(max_iter=50), measure=measure, bootstrap=True, random_state=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 50 steps are enough here
        selector.fit_pool(X, y, pool)
    probabilities = np.stack([member.predict_proba(pool) for member in selector.members_])
    np.testing.assert_allclose(selector.score_samples(pool), MEASURES[measure](probabilities))


def test_disagreement_finds_mistakes():
    X, y, pool, labels = digits()
    selector = EnsembleSelector(DeepClassifier(max_epochs=30), n_members=3, random_state=0)
    # Measured with three seeds: 0.80 to 0.83; chance is 0.5.
    assert selector.fit_pool(X, y, pool).score(pool, labels) > 0.7


def test_members_differ_even_if_the_estimator_has_a_seed():
    X, y, pool, _ = digits()
    net = DeepClassifier(max_epochs=3, random_state=7)
    for estimator in (net, make_pipeline(StandardScaler(), net), net.fit(X, y)):
        selector = EnsembleSelector(estimator, n_members=2, random_state=0).fit_pool(X, y, pool)
        first, second = (member.predict_proba(pool) for member in selector.members_)
        assert np.abs(first - second).max() > 1e-3
    assert net.random_state == 7


def test_a_fitted_estimator_is_left_as_it_is():
    X, y, pool, _ = digits()
    net = DeepClassifier(max_epochs=3, random_state=0).fit(X, y)
    weights = copy.deepcopy(net.net_.module_.state_dict())
    selector = EnsembleSelector(net, n_members=2, random_state=0)
    selector.fit_select(X, y, pool, 5)
    assert selector.estimator_ is net
    for name, weight in net.net_.module_.state_dict().items():
        assert torch.equal(weight, weights[name])


def test_classifier_without_randomness_needs_the_bootstrap():
    X, y = make_blobs(60, centers=3, cluster_std=4.0, random_state=0)
    with pytest.warns(UserWarning, match="use\\s+bootstrap=True"):
        alike = EnsembleSelector(LogisticRegression(), random_state=0).fit_pool(X[:30], y[:30], X)
    assert alike.score_samples(X).max() < 1e-12
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        selector = EnsembleSelector(LogisticRegression(), bootstrap=True, random_state=0)
        selector.fit_pool(X[:30], y[:30], X)
    assert selector.score_samples(X).max() > 0.01


def test_bootstrap_keeps_every_class():
    X, y = make_blobs([30, 30, 1, 2], random_state=0)
    selector = EnsembleSelector(
        LogisticRegression(), n_members=8, bootstrap=True, random_state=0
    ).fit_pool(X, y, X)
    for member in selector.members_:
        assert member.classes_.tolist() == [0, 1, 2, 3]


def test_a_class_without_labels_counts_nothing():
    X, y = make_blobs(60, centers=3, cluster_std=4.0, random_state=0)
    params = {"bootstrap": True, "random_state": 0}
    some = EnsembleSelector(LogisticRegression(), **params).fit_pool(X[:30], y[:30], X)
    more = EnsembleSelector(LogisticRegression(), classes=range(5), **params)
    more.fit_pool(X[:30], y[:30], X)
    np.testing.assert_allclose(some.score_samples(X), more.score_samples(X), atol=1e-12)


def test_frozen_estimators_are_refused():
    X, y = make_blobs(30, centers=2, random_state=0)
    frozen = FrozenEstimator(LogisticRegression().fit(X, y))
    calibrated = CalibratedClassifierCV(frozen).fit(X, y)
    one_by_one = OneVsRestClassifier(frozen).fit(X, y)
    piped = make_pipeline(StandardScaler(), frozen).fit(X, y)
    for estimator in (frozen, piped, calibrated, one_by_one):
        with pytest.raises(ValueError, match="FrozenEstimator"):
            EnsembleSelector(estimator).fit_pool(X, y, X)


def test_members_have_splits_of_their_own():
    """Where only the folds are random, members with the same folds would be alike."""
    X, y = make_blobs(80, centers=3, cluster_std=4, random_state=0)
    calibrated = CalibratedClassifierCV(GaussianNB(), cv=StratifiedKFold(3, shuffle=True))
    selector = EnsembleSelector(calibrated, random_state=0).fit_pool(X[:40], y[:40], X[40:])
    assert len({member.cv.random_state for member in selector.members_}) == 5
    assert selector.score_samples(X[40:]).max() > 1e-3


def test_the_number_of_jobs_changes_nothing():
    X, y, pool, _ = digits()
    alone = EnsembleSelector(NET, n_members=3, random_state=0).fit_pool(X, y, pool)
    with joblib.parallel_config(backend="threading"):
        jobs = EnsembleSelector(NET, n_members=3, n_jobs=2, random_state=0).fit_pool(X, y, pool)
    np.testing.assert_array_equal(alone.score_samples(pool), jobs.score_samples(pool))


def test_rows_of_a_raw_skorch_net_do_not_depend_on_their_batch():
    X, y, pool, _ = digits()
    net = NeuralNetClassifier(
        MLP,
        module__n_inputs=64,
        module__n_classes=10,
        criterion=torch.nn.CrossEntropyLoss,
        max_epochs=2,
        train_split=None,
        verbose=0,
    )
    selector = EnsembleSelector(net, n_members=2, random_state=0).fit_pool(X, y, pool)
    scores = selector.score_samples(pool)
    order = np.random.default_rng(0).permutation(len(pool))
    np.testing.assert_allclose(selector.score_samples(pool[order]), scores[order], atol=1e-12)
    np.testing.assert_allclose(selector.score_samples(pool[:1]), scores[:1], atol=1e-12)
