"""scikit-learn's own checks, and the library's, on every public estimator."""

import inspect

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_iris, make_blobs
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC
from sklearn.utils import estimator_checks as sklearn_checks
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch.utils.data import TensorDataset

import skvaball.selectors
from skvaball import ActiveLearner, ActiveLearningSimulator, VaBQuerySelector
from skvaball.networks import DeepClassifier
from skvaball.selectors import (
    BADGESelector,
    BASESelector,
    ClassBalancedSelector,
    CoreSetSelector,
    DIRECTSelector,
    EnsembleSelector,
    EntropySelector,
    GALAXYSelector,
    LearningLossSelector,
    LeastConfidenceSelector,
    MarginSelector,
    MCDropoutSelector,
    RandomSelector,
    StochasticBatchSelector,
    VAALSelector,
)
from skvaball.utils.estimator_checks import CHECKS, parametrize_with_selector_checks

# Tiny data sets teach an autoencoder little; its warning is not what is tested here.
pytestmark = pytest.mark.filterwarnings("ignore::skvaball.exceptions.NothingLearnedWarning")

ESTIMATORS = [
    VaBQuerySelector(),
    VaBQuerySelector(LogisticRegression()),
    VaBQuerySelector(DeepClassifier()),
    ActiveLearner(),
    ActiveLearner(LogisticRegression(), VaBQuerySelector()),
    ActiveLearner(LinearSVC(), RandomSelector()),
    DeepClassifier(),
    ActiveLearningSimulator(ActiveLearner(LogisticRegression(), MarginSelector())),
    RandomSelector(),
    EntropySelector(),
    EntropySelector(LogisticRegression()),
    MarginSelector(),
    MarginSelector(LinearSVC()),
]


@parametrize_with_checks(ESTIMATORS)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


# Checks that check_estimator leaves out, found by name: scikit-learn may rename some.
MORE_CHECKS = [
    "check_dataframe_column_names_consistency",
    "check_param_validation",
]


TRANSFORMER_CHECKS = [
    "check_set_output_transform",
    "check_set_output_transform_pandas",
    "check_set_output_transform_polars",
    "check_global_output_transform_pandas",
    "check_global_set_output_transform_polars",
    "check_transformer_get_feature_names_out",
    "check_transformer_get_feature_names_out_pandas",
]


def _name(estimator):
    return repr(estimator).replace("\n", "")


# One of each strategy whose other checks by scikit-learn are in its own test file.
STRATEGIES = [
    BADGESelector(LogisticRegression()),
    BASESelector(LogisticRegression()),
    ClassBalancedSelector(estimator=LogisticRegression()),
    CoreSetSelector(LogisticRegression()),
    DIRECTSelector(LogisticRegression()),
    EnsembleSelector(LogisticRegression(), n_members=2, bootstrap=True),
    GALAXYSelector(LogisticRegression()),
    LearningLossSelector(LogisticRegression(), max_epochs=2),
    LeastConfidenceSelector(LogisticRegression()),
    MCDropoutSelector(n_passes=2),
    StochasticBatchSelector(EntropySelector(LogisticRegression())),
    VAALSelector(max_iter=3),
]


@pytest.mark.parametrize("name", MORE_CHECKS)
@pytest.mark.parametrize("estimator", ESTIMATORS + STRATEGIES, ids=_name)
def test_checks_that_check_estimator_leaves_out(estimator, name):
    getattr(sklearn_checks, name)(type(estimator).__name__, estimator)


@pytest.mark.parametrize("name", TRANSFORMER_CHECKS)
@pytest.mark.parametrize(
    "estimator", [e for e in ESTIMATORS + STRATEGIES if hasattr(e, "transform")], ids=_name
)
def test_transformer_checks_that_check_estimator_leaves_out(estimator, name):
    getattr(sklearn_checks, name)(type(estimator).__name__, estimator)


# scikit-learn's checks of the others are in their own test files, and all checks of
# SkactivemlSelector, which needs an extra.
SELECTORS = [
    VaBQuerySelector(),
    BADGESelector(),
    BASESelector(),
    ClassBalancedSelector(EntropySelector()),
    CoreSetSelector(),
    DIRECTSelector(),
    EnsembleSelector(n_members=2),
    EntropySelector(),
    GALAXYSelector(),
    LearningLossSelector(),
    LeastConfidenceSelector(),
    MCDropoutSelector(n_passes=10),
    MarginSelector(),
    RandomSelector(),
    StochasticBatchSelector(EntropySelector()),
    VAALSelector(),
]


@parametrize_with_selector_checks(SELECTORS)
def test_selector_checks(selector, check):
    check(selector)


def test_every_strategy_is_checked():
    public = {name for name in skvaball.selectors.__all__ if name != "QuerySelector"}
    checked = {type(selector).__name__ for selector in SELECTORS} - {"VaBQuerySelector"}
    assert checked == public - {"SkactivemlSelector"}
    assert {type(e).__name__ for e in STRATEGIES + ESTIMATORS} >= checked


# Of a Dataset, RandomSelector reads nothing but its length.
@pytest.mark.parametrize(
    "selector", [s for s in SELECTORS if not isinstance(s, RandomSelector)], ids=_name
)
def test_a_dataset_gives_the_picks_and_scores_of_the_array(selector):
    X, y, pool = _rows()
    dataset = TensorDataset(torch.from_numpy(pool))
    expected = clone(selector).set_params(random_state=0).fit_select(X, y, pool, 6)
    found = clone(selector).set_params(random_state=0).fit_select(X, y, dataset, 6)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


# Strategies with a rule for the batch that goes through it row by row; the others divide the
# batch into parts, and what falls into them depends on its size.
ONE_BY_ONE = (BADGESelector, CoreSetSelector, GALAXYSelector, StochasticBatchSelector)
DIVIDED = (BASESelector, ClassBalancedSelector, DIRECTSelector, VaBQuerySelector)


@pytest.mark.parametrize(
    "selector", [s for s in SELECTORS if not isinstance(s, ONE_BY_ONE + DIVIDED)], ids=_name
)
def test_the_highest_scores_come_first(selector):
    X, y, pool = _rows()
    fitted = clone(selector).set_params(random_state=0).fit_pool(X, y, pool)
    positions, scores = fitted.select(pool, len(pool), return_scores=True)
    np.testing.assert_array_equal(positions, np.argsort(-scores, kind="stable"))
    np.testing.assert_array_equal(fitted.select(pool, 7), positions[:7])


@pytest.mark.parametrize("selector", [s for s in SELECTORS if isinstance(s, ONE_BY_ONE)], ids=_name)
def test_a_smaller_batch_is_the_beginning_of_a_larger_one(selector):
    X, y, pool = _rows()
    fitted = clone(selector).set_params(random_state=0).fit_pool(X, y, pool)
    whole = fitted.select(pool, 9)
    for n in (1, 3, 6):
        np.testing.assert_array_equal(fitted.select(pool, n), whole[:n])


def _rows():
    """Labeled rows, their labels, and a pool."""
    X, y = make_blobs(70, n_features=4, centers=3, cluster_std=2.0, random_state=1)
    X, y = X.astype(np.float32), np.array(["cat", "dog", "eel"])[y]
    return X[:25], y[:25], X[25:]


def test_every_selector_check_is_documented():
    assert all(inspect.getdoc(check) for check in CHECKS)


class _Broken(RandomSelector):
    """Returns the same position over and over."""

    def _select(self, X, n, prepared):
        positions, scores = super()._select(X, n, prepared)
        return positions * 0, scores


class _Careless(RandomSelector):
    """Draws from the global generator."""

    def _score(self, X):
        import numpy as np

        return np.random.random(len(X))  # noqa: NPY002


@pytest.mark.parametrize(
    ("selector", "name"),
    [
        (_Broken(), "check_positions"),
        (_Careless(), "check_deterministic"),
        (_Careless(), "check_generators_untouched"),
    ],
)
def test_selector_checks_catch_broken_selectors(selector, name):
    check = next(check for check in CHECKS if check.__name__ == name)
    with pytest.raises(AssertionError):
        check(selector)


@pytest.mark.filterwarnings("error:X does not have valid feature names")
@pytest.mark.parametrize("selector", [EntropySelector(), VaBQuerySelector()], ids=_name)
def test_a_classifier_fitted_on_a_data_frame_is_asked_with_one(selector):
    X, y = load_iris(return_X_y=True, as_frame=True)
    rows = np.random.default_rng(0).permutation(len(y))
    X, y = X.iloc[rows], y.iloc[rows]
    learner = ActiveLearner(LogisticRegression(max_iter=500), selector, random_state=0)
    learner.fit(X[:30], y[:30])
    learner.query(X[30:], 5)
