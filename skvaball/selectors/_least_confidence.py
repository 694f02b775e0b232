"""Least-confidence sampling (Lewis & Gale 1994)."""

import numpy as np

from skvaball.selectors._of_probabilities import ProbabilitySelector


class LeastConfidenceSelector(ProbabilitySelector):
    """Choose the rows whose most probable class is least probable.

    The score is one minus the highest probability: what the classifier itself expects
    its chance of a mistake to be.

    Parameters
    ----------
    estimator : classifier or None, default=None
        Classifier with ``predict_proba``. Fitted: used as it is. Unfitted: a clone is
        fitted on the labeled rows. None: a :class:`~skvaball.networks.DeepClassifier`,
        or the classifier of the learner around it.
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

    See Also
    --------
    skvaball.selectors.MarginSelector : Compares the two most probable classes.
    skvaball.selectors.EntropySelector : Looks at all classes.

    Notes
    -----
    With two classes the order is that of margin and entropy. The cost is that of the
    predictions.

    References
    ----------
    D. D. Lewis and W. A. Gale. "A sequential algorithm for training text classifiers".
    SIGIR 1994.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skvaball.selectors import LeastConfidenceSelector
    >>> X = np.array([[0.0], [10.0], [1.0], [5.0], [9.0]])
    >>> y = np.array([0, 1, -1, -1, -1])
    >>> LeastConfidenceSelector(LogisticRegression()).fit(X, y).select(X, 1)
    array([3])
    """

    scores_are_probabilities = True

    def _of_probabilities(self, probabilities: np.ndarray) -> np.ndarray:
        score: np.ndarray = 1 - probabilities.max(axis=1)
        return score
