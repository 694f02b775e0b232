"""Margin sampling (Scheffer et al. 2001)."""

from typing import Any

import numpy as np

from skvaball.selectors._of_probabilities import ProbabilitySelector


class MarginSelector(ProbabilitySelector):
    """Choose the rows whose two most probable classes are closest.

    The score is minus the difference of the two highest probabilities; of a classifier
    without ``predict_proba``, of the two highest decision values, or, for two classes,
    minus the distance from the decision boundary. Decision values of pairs of classes, as
    of an SVC with ``decision_function_shape="ovo"``, are none of these.

    Parameters
    ----------
    estimator : classifier or None, default=None
        Classifier with ``predict_proba`` or ``decision_function``. Fitted: used as it
        is. Unfitted: a clone is fitted on the labeled rows. None: a
        :class:`~skvaball.networks.DeepClassifier`, or the classifier of the learner
        around it.
    classes : array-like of shape (n_classes,) or None, default=None
        All classes, if some may be missing from the labeled rows.
    missing_label : object, default=-1
        The value of y in ``fit`` that marks unlabeled rows.
    random_state : int, RandomState instance or None, default=None
        Seed of a classifier that is fitted here.

    Attributes
    ----------
    estimator_ : classifier
        The fitted classifier.
    classes_ : ndarray of shape (n_classes,)
        The classes, sorted.
    n_features_in_ : int
        Number of features seen in fit.

    Raises
    ------
    ValueError
        If the classifier has neither ``predict_proba`` nor decision values of classes.

    References
    ----------
    T. Scheffer, C. Decomain and S. Wrobel. "Active hidden Markov models for
    information extraction". IDA 2001.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.svm import LinearSVC
    >>> from skvaball.selectors import MarginSelector
    >>> X = np.array([[0.0], [10.0], [1.0], [5.0], [9.0]])
    >>> y = np.array([0, 1, -1, -1, -1])
    >>> MarginSelector(LinearSVC()).fit(X, y).select(X, 1)
    array([3])
    """

    _needs = ("predict_proba", "decision_function")

    def _of_probabilities(self, probabilities: np.ndarray) -> np.ndarray:
        return -_margin(probabilities)

    def _score(self, X: Any) -> np.ndarray:
        if hasattr(self.estimator_, "predict_proba"):
            return super()._score(X)
        values = self._view.class_decisions(X)
        if values.ndim == 1:
            return np.asarray(-np.abs(values))
        return -_margin(values)


def _margin(values: np.ndarray) -> np.ndarray:
    """Difference of the two highest values of each row; of a single column, its value."""
    if values.shape[1] == 1:
        return np.asarray(values[:, 0], dtype=np.float64)
    highest = np.partition(values, -2, axis=1)[:, -2:]
    margin: np.ndarray = highest[:, 1] - highest[:, 0]
    return margin
