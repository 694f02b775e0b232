"""Core-set selection by greedy k-center (Sener & Savarese 2018)."""

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
from joblib import Memory
from numpy.typing import ArrayLike
from sklearn.utils._param_validation import HasMethods, Interval

from skvaball.features import PENULTIMATE, FeatureReader
from skvaball.selectors.base import QuerySelector
from skvaball.utils.k_center import farthest_first, squared_distances_to_nearest


class CoreSetSelector(QuerySelector):
    r"""Choose rows that cover the pool: each is the farthest from all labeled ones.

    Greedy k-center on the classifier's deep features. The labeled rows are the first
    centers; the row with the largest distance to its nearest center is chosen and
    becomes a center itself, and so on. The score of a row is its distance to the nearest
    labeled row, before anything is chosen.

    Parameters
    ----------
    estimator : classifier or None, default=None
        Classifier whose features are used. Fitted: used as it is. Unfitted: a clone is
        fitted on the labeled rows. None: a :class:`~skvaball.networks.DeepClassifier`,
        or the classifier of the learner around it. The features of a classifier that is
        no network are X itself.
    layers : list of str, "penultimate" or None, default="penultimate"
        Names of the layers whose outputs are the features; "penultimate" is the input of
        the last weighted layer. See :class:`~skvaball.features.FeatureReader` for None.
    batch_size : int, default=128
        Rows per forward pass of a network.
    n_jobs : int or None, default=None
        Chunks of rows whose features are read at a time, as in joblib.
    memory : str, joblib.Memory or None, default=None
        Where the features of a network are kept on disk for the next who wants them.
    classes : array-like of shape (n_classes,) or None, default=None
        All classes, if some may be missing from the labeled rows.
    missing_label : object, default=-1
        The value of y in ``fit`` that marks unlabeled rows.
    random_state : int, RandomState instance or None, default=None
        Seed of a classifier that is fitted here; the choice itself is not random.

    Attributes
    ----------
    estimator_ : classifier
        The fitted classifier.
    centers_ : ndarray of shape (n_labeled, n_features_of_layers), float32
        Features of the labeled rows.
    classes_ : ndarray of shape (n_classes,)
        The classes, sorted.
    n_features_in_ : int
        Number of features seen in fit.

    See Also
    --------
    skvaball.selectors.BADGESelector : Diverse and uncertain rows.

    Notes
    -----
    The greedy choice covers the pool with at most twice the smallest radius that n
    further centers can reach.

    For n picks from N rows with L labeled ones and d features, the distances to the
    labeled rows take :math:`O(N L d)`, the picks at most :math:`O(N n d)`. A distance to
    the nearest center can only shrink, so an old one is an upper bound, and only rows
    whose bound still reaches the top are compared with the centers chosen since. Memory
    beyond the features is O(N): distances are formed in blocks, never pool by labeled or
    pool by pool.

    Matrix products only tell which centers can be the nearest; the distances to these
    are then summed from differences in float64. So equal rows are at distance zero, ties
    are real ones (the first row of the pool wins), and the score of a row does not depend
    on the rows beside it.

    References
    ----------
    O. Sener and S. Savarese. "Active learning for convolutional neural networks: a
    core-set approach". ICLR 2018.

    T. F. Gonzalez. "Clustering to minimize the maximum intercluster distance".
    Theoretical Computer Science 38, 1985.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skvaball.selectors import CoreSetSelector
    >>> X = np.array([[0.0], [1.0], [2.0], [7.0], [10.0]])
    >>> y = np.array([0, 1, -1, -1, -1])
    >>> selector = CoreSetSelector(LogisticRegression()).fit(X, y)
    >>> selector.select(X[2:], 2)
    array([2, 1])
    >>> selector.score_samples(X[2:])
    array([1., 6., 9.])
    """

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012 (scikit-learn's convention)
        **QuerySelector._parameter_constraints,
        "layers": [list, tuple, str, None],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "n_jobs": [Integral, None],
        "memory": [str, HasMethods(["cache"]), None],
    }

    _reads_features = True

    def __init__(
        self,
        estimator: Any = None,
        *,
        layers: Sequence[str] | str | None = PENULTIMATE,
        batch_size: int = 128,
        n_jobs: int | None = None,
        memory: str | Memory | None = None,
        classes: ArrayLike | None = None,
        missing_label: Any = -1,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        super().__init__(
            estimator, classes=classes, missing_label=missing_label, random_state=random_state
        )
        self.layers = layers
        self.batch_size = batch_size
        self.n_jobs = n_jobs
        self.memory = memory

    def _fit_pool(self, X_labeled: Any, codes: np.ndarray, X_pool: Any) -> None:
        self._reader = FeatureReader(
            self._view,
            self.layers,
            self.batch_size,
            n_jobs=self.n_jobs,
            memory=self.memory,
            predictions=None,
        )
        self.centers_ = self._reader.read(X_labeled).values

    def _score(self, X: Any) -> np.ndarray:
        features = self._reader.read(X).values
        distances: np.ndarray = np.sqrt(squared_distances_to_nearest(features, self.centers_))
        return distances

    def _select(self, X: Any, n: int, prepared: Any) -> tuple[np.ndarray, np.ndarray]:
        features = self._reader.read(X).values
        minima = squared_distances_to_nearest(features, self.centers_)
        return farthest_first(features, minima, n), np.sqrt(minima)
