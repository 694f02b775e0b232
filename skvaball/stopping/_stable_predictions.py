"""Stop when the predictions no longer change (Bloodgood and Vijay-Shanker 2009)."""

from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_consistent_length
from sklearn.utils._param_validation import Interval

from skvaball.stopping.base import StoppingRule, sample_rows


class StablePredictions(StoppingRule):
    """Stop when successive classifiers agree about rows that nobody has to label.

    After each round the classifier predicts a fixed *stop set*; Cohen's kappa says how
    far its labels agree with those of the round before, beyond what two classifiers
    would by chance. When the average of the last kappas is high enough, more labels
    change little.

    Parameters
    ----------
    threshold : float, default=0.99
        Average kappa at which to stop, in (0, 1]. The paper's; lower stops sooner.
    window : int, default=3
        Number of kappas to average, at least 1; so that nothing stops before the learner
        was asked ``window + 1`` times.
    stop_set : array-like of shape (n, ...) or None, default=None
        Rows to predict, like those that the classifier is for; labels are not needed.
        None: rows drawn from the first pool.
    n_stop : int, default=1000
        How many rows to draw from the first pool; all if it has fewer.
    random_state : int, RandomState instance or None, default=None
        Seed of that draw.

    Attributes
    ----------
    values_ : list of float
        The kappa of each round with the one before. NaN in the first round, and where
        both predict one and the same class for all rows: their agreement is that of
        chance then, and does not count as stable. Classifiers that are taught few labels
        of imbalanced data often begin so.
    stopped_ : bool
        The last answer.
    stop_set_ : rows of the type of the pool
        The rows that are predicted.
    predictions_ : ndarray of shape (n,)
        Their labels in the last round.

    See Also
    --------
    ExpectedError : Stop when few mistakes are left.

    References
    ----------
    M. Bloodgood and K. Vijay-Shanker. "A method for stopping active learning based on
    stabilizing predictions and the need for user-adjustable stopping". CoNLL 2009.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skvaball import ActiveLearner, ActiveLearningSimulator
    >>> from skvaball.selectors import MarginSelector
    >>> from skvaball.stopping import StablePredictions
    >>> X, y = load_digits(return_X_y=True)
    >>> learner = ActiveLearner(LogisticRegression(max_iter=500), MarginSelector())
    >>> simulator = ActiveLearningSimulator(
    ...     learner,
    ...     batch_size=20,
    ...     n_rounds=100,
    ...     stopping=StablePredictions(0.95, window=2, stop_set=X[1000:]),
    ...     random_state=0,
    ... )
    >>> simulator = simulator.fit(X[:1000], y[:1000])
    >>> len(simulator.learner_.y_labeled_) < 300
    True
    """

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012 (scikit-learn's convention)
        "threshold": [Interval(Real, 0, 1, closed="right")],
        "window": [Interval(Integral, 1, None, closed="left")],
        "stop_set": "no_validation",  # the learner says whether it can read the rows
        "n_stop": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        threshold: float = 0.99,
        window: int = 3,
        *,
        stop_set: Any = None,
        n_stop: int = 1000,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.threshold = threshold
        self.window = window
        self.stop_set = stop_set
        self.n_stop = n_stop
        self.random_state = random_state

    def _begin(self, learner: Any, X_first_pool: Any) -> None:
        stop_set = self._draw(X_first_pool)
        self.predictions_: np.ndarray = learner.predict(stop_set)
        self.stop_set_: Any = stop_set

    def _measure(self, learner: Any, X_pool: Any) -> float:
        if not hasattr(self, "predictions_"):
            self._begin(learner, X_pool)
            return np.nan
        predictions = learner.predict(self.stop_set_)
        kappa = cohen_kappa(self.predictions_, predictions)
        self.predictions_ = predictions
        return kappa

    def _draw(self, X_pool: Any) -> Any:
        if self.stop_set is not None:
            return self.stop_set
        return sample_rows(X_pool, self.n_stop, self.random_state, "stop set")

    def _decide(self, values: list[float]) -> bool:
        # A mean with a NaN in it is none, and not high enough.
        return len(values) > self.window and bool(np.mean(values[-self.window :]) >= self.threshold)

    def _resume(self, learner: Any, X_first_pool: Any) -> None:
        self._begin(learner, X_first_pool)


def cohen_kappa(first: ArrayLike, second: ArrayLike) -> float:
    """Agreement of two labelings beyond chance, (p_o - p_e) / (1 - p_e).

    Parameters
    ----------
    first, second : array-like of shape (n,)
        Labels of the same rows.

    Returns
    -------
    float
        1 for equal labels, 0 for the agreement of chance; NaN where both give one and
        the same label to all rows.

    Raises
    ------
    ValueError
        If they are not of one length.

    Examples
    --------
    >>> from skvaball.stopping import cohen_kappa
    >>> cohen_kappa([0, 0, 1, 1], [0, 0, 1, 0])
    0.5
    """
    first, second = np.asarray(first), np.asarray(second)
    check_consistent_length(first, second)
    classes, codes = np.unique(np.concatenate([first, second]), return_inverse=True)
    counts = [np.bincount(part, minlength=len(classes)) for part in np.split(codes, 2)]
    n = len(first)
    # In whole numbers: rounding must not make up an agreement where there is none.
    by_chance = int(counts[0] @ counts[1])
    if by_chance == n * n:
        return float("nan")
    return (n * int(np.sum(first == second)) - by_chance) / (n * n - by_chance)
