"""Stochastic batches: sample by score instead of taking the top (Kirsch et al. 2021)."""

from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import xlogy
from scipy.stats import rankdata
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from skvaball.selectors._wrapping import WrappingSelector
from skvaball.selectors.base import QuerySelector, connect_inner
from skvaball.utils.random import derive_seed

#: How far below zero, relative to the largest score, rounding may put a score of zero.
NEGATIVE_TOLERANCE = 1e-9


class StochasticBatchSelector(WrappingSelector):
    r"""Draw the batch with probabilities that grow with the scores of another selector.

    The highest scores often belong to rows that resemble each other. Drawing without
    replacement, each row with a weight that grows with its score s, spreads the batch at
    no cost. The weights are

    ========== ====================== ==========================================
    method     weight of a row        when
    ========== ====================== ==========================================
    power      :math:`s^\beta`        scores that are zero for a useless row
    softmax    :math:`e^{\beta s}`    scores of any sign, whose differences count
    softrank   :math:`r^{-\beta}`     only the order counts; r = 1 is the best
    ========== ====================== ==========================================

    Parameters
    ----------
    selector : QuerySelector
        The strategy that scores the rows, left as it is. Where its ``estimator``,
        ``classes`` or ``random_state`` is None it is given this selector's.
    estimator : classifier or None, default=None
        Classifier for the inner selector. None: the inner selector's own, or the
        classifier of the learner around it.
    method : {"power", "softmax", "softrank"}, default="power"
        How scores become weights. "power" needs scores of at least 0, such as those of
        entropy, least confidence or a probability.
    beta : float, default=1.0
        At least 0. 0 draws uniformly; the larger, the closer to taking the top.
    classes : array-like of shape (n_classes,) or None, default=None
        All classes, if some may be missing from the labeled rows.
    missing_label : object, default=-1
        The value of y in ``fit`` that marks unlabeled rows.
    random_state : int, RandomState instance or None, default=None
        Seed of the draws, and of an inner selector that has none.

    Attributes
    ----------
    selector_ : QuerySelector
        The fitted inner selector.
    estimator_ : classifier or None
        ``estimator``, fitted, or else the classifier of the inner selector. A selector
        with a classifier of its own scores with that; ``score`` looks for mistakes of this one.
    classes_ : ndarray of shape (n_classes,)
        The classes, sorted.
    n_features_in_ : int
        Number of features seen in fit.

    Notes
    -----
    Adding independent Gumbel noise to the logarithms of the weights and taking the n
    largest sums draws n rows without replacement, one after the other, each with a
    probability proportional to its weight among those left. It takes
    :math:`O(N \log N)` for N rows. Positions are in the order of the draws.

    The scores are those of the inner selector, without noise. Equal scores share the
    mean of their ranks, so that equal rows have equal chances with "softrank" too.

    References
    ----------
    A. Kirsch, S. Farquhar, P. Atighehchian, A. Jesson, F. Branchaud-Charron and Y. Gal.
    "Stochastic batch acquisition: a simple baseline for deep active learning". TMLR 2023
    (arXiv 2106.12059, 2021).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skvaball.selectors import MarginSelector, StochasticBatchSelector
    >>> X = np.array([[0.0], [10.0], [1.0], [5.0], [9.0]])
    >>> y = np.array([0, 1, -1, -1, -1])
    >>> margin = MarginSelector(LogisticRegression())
    >>> selector = StochasticBatchSelector(margin, method="softmax", beta=100, random_state=0)
    >>> selector.fit(X, y).select(X, 1)
    array([3])
    """

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012 (scikit-learn's convention)
        **QuerySelector._parameter_constraints,
        "selector": [HasMethods(["fit_pool", "score_samples"])],
        "method": [StrOptions({"power", "softmax", "softrank"})],
        "beta": [Interval(Real, 0, None, closed="left")],
    }

    # The inner selector has the classifier, or none if it needs none.
    _uses_estimator = False

    def __init__(
        self,
        selector: QuerySelector,
        *,
        estimator: Any = None,
        method: str = "power",
        beta: float = 1.0,
        classes: ArrayLike | None = None,
        missing_label: Any = -1,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        super().__init__(
            estimator, classes=classes, missing_label=missing_label, random_state=random_state
        )
        self.selector = selector
        self.method = method
        self.beta = beta

    def _fit_pool(self, X_labeled: Any, codes: np.ndarray, X_pool: Any) -> Any:
        classes: Any = self.classes if self.estimator_ is None else self.classes_
        seed = derive_seed(self._seed, "selector")
        self.selector_ = connect_inner(
            self.selector, self.estimator_, classes, seed, widen=self.classes is None
        )
        _, prepared = self.selector_._fit_apart(X_labeled, self.classes_[codes], X_pool)
        if self.estimator_ is None and self.selector_.estimator_ is not None:
            self.estimator_ = self.selector_.estimator_
            self.classes_ = self.selector_.classes_
            self._view = self.selector_._view
        return prepared

    def _score(self, X: Any) -> np.ndarray:
        scores: np.ndarray = self.selector_.score_samples(X)
        return scores

    def _select(self, X: Any, n: int, prepared: Any) -> tuple[np.ndarray, np.ndarray]:
        scores = self.selector_._pool_scores(X, prepared)
        rng = np.random.default_rng(derive_seed(self._seed, "picks"))
        noise = rng.gumbel(size=len(scores))
        keys = self._log_weights(scores) + noise
        # By the noise where the keys are equal: minus infinity, of rows whose score is 0.
        return np.lexsort((-noise, -keys))[:n].astype(np.int64), scores

    def _log_weights(self, scores: np.ndarray) -> np.ndarray:
        if self.method == "softmax":
            return np.asarray(self.beta * scores)
        if self.method == "softrank":
            return np.asarray(-self.beta * np.log(rankdata(-scores)))
        lowest = scores.min()
        if lowest < -NEGATIVE_TOLERANCE * np.abs(scores).max():
            raise ValueError(
                f"method='power' needs scores of at least 0, but {type(self.selector).__name__} "
                f"gave {lowest:.3g}. Use method='softmax' or method='softrank'."
            )
        return np.asarray(xlogy(self.beta, np.maximum(scores, 0.0)))

    # -- input: what the inner selector takes --------------------------------------------

    def _leaves_rows_to_estimator(self) -> bool:
        if self.estimator is not None:
            return super()._leaves_rows_to_estimator()
        return bool(self.selector._leaves_rows_to_estimator())

    def _accepts(self, tag: str) -> bool:
        if self.estimator is not None:
            return super()._accepts(tag)
        return bool(self.selector._accepts(tag))
