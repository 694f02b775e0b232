"""What displays take from fitted estimators."""

from __future__ import annotations

from typing import Any

from sklearn.utils.validation import check_is_fitted

from skvaball.learner import ActiveLearner
from skvaball.selectors.base import QuerySelector
from skvaball.simulation import ActiveLearningSimulator
from skvaball.vab import VaBQuerySelector


def fitted_selector(estimator: Any) -> Any:
    """The fitted selector of a learner or simulator, or the selector itself.

    Raises
    ------
    ValueError
        If a learner has not been asked yet.
    TypeError
        If it is something else.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.
    """
    check_is_fitted(estimator)
    if isinstance(estimator, ActiveLearningSimulator):
        estimator = estimator.learner_
    if isinstance(estimator, QuerySelector):
        return estimator
    if not isinstance(estimator, ActiveLearner):
        raise TypeError(
            f"Expected a fitted selector, ActiveLearner or ActiveLearningSimulator, got a "
            f"{type(estimator).__name__}."
        )
    if not hasattr(estimator, "selector_"):
        raise ValueError(
            f"The {type(estimator).__name__} has answered no query yet, so its selector is not "
            "fitted. Call query first."
        )
    return estimator.selector_


def fitted_vab(estimator: Any, display: type) -> Any:
    """The fitted VaBQuerySelector of a learner or simulator, or the selector itself."""
    selector = fitted_selector(estimator)
    if not isinstance(selector, VaBQuerySelector):
        raise ValueError(
            f"{display.__name__} shows what a VaBQuerySelector has learned, but got a "
            f"{type(selector).__name__}. Pass a fitted VaBQuerySelector, or a learner that "
            "queries with one."
        )
    return selector


def check_lengths(**parts: Any) -> None:
    """Raise a ValueError unless all parts have the same length."""
    lengths = {name: len(part) for name, part in parts.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"Expected the same length of all, got {lengths}.")


def fitted_with_classifier(estimator: Any) -> Any:
    """The fitted selector of :func:`fitted_selector`, if it has a classifier that predicts."""
    selector = fitted_selector(estimator)
    if selector.estimator_ is None:
        raise ValueError(
            f"{type(selector).__name__} has no classifier, so that there are no predicted "
            "classes. Give the selector one as `estimator`."
        )
    return selector
