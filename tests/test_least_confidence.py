"""Least confidence, and all uncertainty scores against scikit-activeml's."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import parametrize_with_checks

from skvaball.selectors import EntropySelector, MarginSelector
from skvaball.selectors._least_confidence import LeastConfidenceSelector
from skvaball.utils.estimator_checks import parametrize_with_selector_checks

N_LABELED = 60


@parametrize_with_checks([LeastConfidenceSelector(), LeastConfidenceSelector(LogisticRegression())])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@parametrize_with_selector_checks([LeastConfidenceSelector()])
def test_selector_checks(selector, check):
    check(selector)


def _digits():
    X, y = load_digits(return_X_y=True)
    clf = LogisticRegression(max_iter=500, C=0.01).fit(X[:N_LABELED], y[:N_LABELED])
    return X, y, clf


def test_score_is_one_minus_the_highest_probability():
    X, y, clf = _digits()
    selector = LeastConfidenceSelector(clf).fit_pool(X[:N_LABELED], y[:N_LABELED])
    expected = 1 - clf.predict_proba(X).max(axis=1)
    np.testing.assert_allclose(selector.score_samples(X), expected, rtol=1e-12)


def test_a_class_without_labels_counts_as_impossible():
    X, y, clf = _digits()
    selector = LeastConfidenceSelector(clf, classes=np.arange(12))
    scores = selector.fit_pool(X[:N_LABELED], y[:N_LABELED]).score_samples(X)
    np.testing.assert_allclose(scores, 1 - clf.predict_proba(X).max(axis=1), rtol=1e-12)


@pytest.mark.parametrize(
    ("selector", "method"),
    [
        (LeastConfidenceSelector(), "least_confident"),
        (MarginSelector(), "margin_sampling"),
        (EntropySelector(), "entropy"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_picks_of_scikit_activeml(selector, method):
    pytest.importorskip("skactiveml", reason="scikit-activeml is the reference")
    from skactiveml.classifier import SklearnClassifier
    from skactiveml.pool import UncertaintySampling

    X, y, clf = _digits()
    partly = np.where(np.arange(len(y)) < N_LABELED, y, np.nan)
    theirs = UncertaintySampling(method=method, random_state=0).query(
        X, partly, SklearnClassifier(clf, classes=range(10)), fit_clf=False, batch_size=200
    )
    selector.set_params(estimator=clf).fit_pool(X[:N_LABELED], y[:N_LABELED])
    scores = selector.score_samples(X[N_LABELED:])
    assert len(np.unique(scores)) == len(scores), "ties are broken in different ways"
    np.testing.assert_array_equal(selector.select(X[N_LABELED:], 200), theirs - N_LABELED)
