"""Entropy sampling (Shannon 1948; Settles 2009)."""

import numpy as np
from scipy.special import entr

from skvaball.selectors._of_probabilities import ProbabilitySelector


class EntropySelector(ProbabilitySelector):
    """Choose the rows whose predicted class distribution has the highest entropy.

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

    References
    ----------
    B. Settles. "Active learning literature survey". University of
    Wisconsin-Madison, 2009. Section 3.1.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skvaball.selectors import EntropySelector
    >>> X = np.array([[0.0], [10.0], [1.0], [5.0], [9.0]])
    >>> y = np.array([0, 1, -1, -1, -1])
    >>> EntropySelector(LogisticRegression()).fit(X, y).select(X, 1)
    array([3])
    """

    def _of_probabilities(self, probabilities: np.ndarray) -> np.ndarray:
        entropy: np.ndarray = entr(probabilities).sum(axis=1)
        return entropy
