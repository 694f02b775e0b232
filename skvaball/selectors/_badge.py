"""BADGE: batches by diverse gradient embeddings (Ash et al. 2020)."""

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
from joblib import Memory
from numpy.typing import ArrayLike
from sklearn.utils._param_validation import HasMethods, Interval

from skvaball.features import PENULTIMATE, FeatureReader
from skvaball.selectors.base import QuerySelector
from skvaball.utils.random import derive_seed

#: Values of float64 that exact distances are computed with at once (8 MB).
BLOCK_VALUES = 2**20


class BADGESelector(QuerySelector):
    r"""Choose rows whose gradients are large and differ from one another (BADGE).

    If the predicted class were the true one, the last layer would be changed by the
    gradient :math:`g = (p - \mathbf{1}_{\hat y}) \otimes h`, with the predicted
    probabilities p and the features h that enter the layer. It is large where the
    classifier is unsure. The batch is drawn by k-means++: first the largest gradient,
    then row after row with a probability proportional to the squared distance from the
    nearest gradient chosen so far. The score of a row is the norm of its gradient.

    Parameters
    ----------
    estimator : classifier or None, default=None
        Classifier with ``predict_proba``. Fitted: used as it is. Unfitted: a clone is
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
        Seed of the draws, and of a classifier that is fitted here.

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
    skvaball.selectors.CoreSetSelector : Diverse rows, whatever the predictions.

    Notes
    -----
    The gradient of a row with d features and K classes has d K entries, but it is an
    outer product, and products of two gradients factorise: with :math:`u = p -
    \mathbf{1}_{\hat y}`,

    .. math:: |g-g'|^2 = |u|^2 |h|^2 + |u'|^2 |h'|^2 - 2 (u \cdot u')(h \cdot h').

    So a pick from N rows takes :math:`O(N (d + K))` instead of :math:`O(N d K)`, and no
    gradient is ever formed. Products in float32 tell which rows may have come closer to
    the chosen ones; their distances are then computed in float64, and are zero for equal
    rows.

    No two picks are alike. Once all remaining rows are at distance zero they are taken
    by position.

    References
    ----------
    J. T. Ash, C. Zhang, A. Krishnamurthy, J. Langford and A. Agarwal. "Deep batch active
    learning by diverse, uncertain gradient lower bounds". ICLR 2020.

    D. Arthur and S. Vassilvitskii. "k-means++: the advantages of careful seeding".
    SODA 2007.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skvaball.selectors import BADGESelector
    >>> X, y = load_digits(return_X_y=True)
    >>> clf = LogisticRegression(max_iter=500).fit(X[:100], y[:100])
    >>> selector = BADGESelector(clf, random_state=0).fit_pool(X[:100], y[:100])
    >>> selector.select(X[100:], 5).shape
    (5,)
    """

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012 (scikit-learn's convention)
        **QuerySelector._parameter_constraints,
        "layers": [list, tuple, str, None],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "n_jobs": [Integral, None],
        "memory": [str, HasMethods(["cache"]), None],
    }

    _needs = "predict_proba"

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

    def _gradients(self, X: Any) -> "Gradients":
        residuals = self._view.predict_proba(X)
        rows = np.arange(len(residuals))
        residuals[rows, residuals.argmax(axis=1)] -= 1
        return Gradients(residuals, self._reader.read(X).values)

    def _score(self, X: Any) -> np.ndarray:
        norms: np.ndarray = np.sqrt(self._gradients(X).squared_norms)
        return norms

    def _select(self, X: Any, n: int, prepared: Any) -> tuple[np.ndarray, np.ndarray]:
        gradients = self._gradients(X)
        rng = np.random.default_rng(derive_seed(self._seed, "picks"))
        return sample_plus_plus(gradients, n, rng), np.sqrt(gradients.squared_norms)


class Gradients:
    """Outer products of residuals and features, which are never formed.

    Parameters
    ----------
    residuals : ndarray of shape (n, n_classes), float64
        Predicted probabilities, less one at the predicted class.
    features : ndarray of shape (n, n_features), float32

    Attributes
    ----------
    squared_norms : ndarray of shape (n,), float64
    """

    def __init__(self, residuals: np.ndarray, features: np.ndarray) -> None:
        self.residuals = residuals
        self.features = features
        self._feature_norms = np.empty(len(features))
        for block in self._blocks(np.arange(len(features))):
            rows = features[block].astype(np.float64)
            self._feature_norms[block] = _dot(rows, rows)
        self._residual_norms = _dot(residuals, residuals)
        self.squared_norms: np.ndarray = self._residual_norms * self._feature_norms

    def lower(self, nearest: np.ndarray, center: int) -> None:
        """Lower the squared distances ``nearest`` to those to the gradient of one row."""
        rows = np.flatnonzero(self._lower_bounds(center) < nearest)
        for block in self._blocks(rows):
            nearest[block] = np.minimum(nearest[block], self._squared_distances(block, center))

    def _blocks(self, rows: np.ndarray) -> list[np.ndarray]:
        size = max(1, BLOCK_VALUES // self.features.shape[1])
        return [rows[start : start + size] for start in range(0, len(rows), size)]

    def _lower_bounds(self, center: int) -> np.ndarray:
        """Lower bounds of the squared distances to one row, by products in float32."""
        norm = np.sqrt(self._feature_norms[center])
        # As a unit vector the center can neither overflow nor underflow the products.
        direction = (self.features[center] / (norm or 1.0)).astype(np.float32)
        products = (self.features @ direction).astype(np.float64) * norm
        products *= self.residuals @ self.residuals[center]
        # The rounding error of a sum of d products is below d units of the norms'.
        n_products = self.features.shape[1] + 16
        norms, center_norm = self.squared_norms, self.squared_norms[center]
        bounds: np.ndarray = norms + center_norm - 2 * products
        bounds -= n_products * np.finfo(np.float32).eps * np.sqrt(norms * center_norm)
        bounds -= n_products * np.finfo(np.float64).eps * (norms + center_norm)
        return bounds

    def _squared_distances(self, rows: np.ndarray, center: int) -> np.ndarray:
        """Squared distances to one row; of equal rows exactly zero."""
        features = self.features[rows].astype(np.float64)
        feature = self.features[center].astype(np.float64)
        residual = self.residuals[center]
        products = (self.residuals[rows] @ residual) * (features @ feature)
        squared: np.ndarray = self.squared_norms[rows] + self.squared_norms[center] - 2 * products
        equal = (features == feature).all(axis=1) & (self.residuals[rows] == residual).all(axis=1)
        squared[equal] = 0.0
        np.maximum(squared, 0.0, out=squared)  # which rounding may have undercut
        return squared


def _dot(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Dot products of the rows of both."""
    products: np.ndarray = np.einsum("ij,ij->i", left, right)
    return products


def sample_plus_plus(gradients: Gradients, n: int, rng: np.random.Generator) -> np.ndarray:
    """Draw rows as k-means++ draws its centers, starting with the largest gradient.

    Parameters
    ----------
    gradients : Gradients
    n : int
        How many rows.
    rng : numpy.random.Generator
        One uniform number is drawn for each row after the first, as long as not all
        remaining rows are at distance zero.

    Returns
    -------
    ndarray of shape (n,), int64
        Positions in the order of choice, no two alike.
    """
    nearest = np.full(len(gradients.squared_norms), np.inf)
    remaining = np.ones(len(nearest), dtype=bool)
    chosen = np.empty(n, dtype=np.int64)
    for k in range(n):
        if k == 0:
            pick = int(gradients.squared_norms.argmax())
        else:
            cumulated = np.cumsum(nearest)
            total = cumulated[-1]
            if total > 0:
                # Strictly below the total, or rounding could find no row.
                drawn = min(rng.random() * total, np.nextafter(total, 0.0))
                pick = int(np.searchsorted(cumulated, drawn, side="right"))
            else:
                pick = int(remaining.argmax())
        chosen[k] = pick
        remaining[pick] = False
        gradients.lower(nearest, pick)
        nearest[pick] = 0.0
    return chosen
