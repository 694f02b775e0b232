"""The interface of every stopping rule."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from skvaball.utils.random import derive_seed, draw_seed
from skvaball.utils.rows import n_rows, take_rows
from skvaball.utils.state import unchanged_on_error


class StoppingRule(BaseEstimator):
    """Base class of stopping rules: one number is measured a round, and decides.

    Ask :meth:`should_stop` once after each round of labels, of one learner; a clone
    (:func:`sklearn.base.clone`) starts anew. The parameter ``stopping`` of
    :class:`~skvaball.ActiveLearningSimulator` does the same.

    A rule of your own implements two methods and inherits the rest:

    ``_measure(learner, X_pool)``
        The number of this round, a float. What the next round needs of this one is
        kept in attributes that end with an underscore.
    ``_decide(values)``
        Whether to stop, from the numbers of all rounds so far, the last one last.

    A rule that keeps more than the numbers overrides ``_resume`` too.

    Attributes
    ----------
    values_ : list of float
        What was measured in each round; NaN where nothing could be measured.
    stopped_ : bool
        The last answer.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skvaball import ActiveLearner
    >>> from skvaball.selectors import MarginSelector
    >>> from skvaball.stopping import StoppingRule
    >>> class Classes(StoppingRule):
    ...     "Stop when every class has a label."
    ...     def _measure(self, learner, X_pool):
    ...         return len(set(learner.y_labeled_))
    ...     def _decide(self, values):
    ...         return values[-1] == 10
    >>> X, y = load_digits(return_X_y=True)
    >>> learner = ActiveLearner(LogisticRegression(max_iter=500), MarginSelector())
    >>> learner, pool = learner.fit(X[:5], y[:5]), list(range(5, 300))
    >>> rule = Classes()
    >>> while not rule.should_stop(learner, X[pool]):
    ...     bought = [pool[i] for i in learner.query(X[pool], 5)]
    ...     learner = learner.teach(X[bought], y[bought])
    ...     pool = [i for i in pool if i not in bought]
    >>> len(set(learner.y_labeled_))
    10
    """

    _parameter_constraints: dict[str, Any] = {}  # noqa: RUF012 (scikit-learn's convention)

    def should_stop(self, learner: Any, X_pool: Any) -> bool:
        """Measure this round, and say whether the labels so far are enough.

        Parameters
        ----------
        learner : ActiveLearner
            Fitted on the labels so far.
        X_pool : array-like of shape (n_pool, ...) or torch Dataset
            The rows that are still unlabeled. An empty pool stops every rule.

        Returns
        -------
        bool

        Raises
        ------
        ValueError
            If a parameter is out of its range, or the learner cannot read the rows. The
            rule is as it was before then.
        """
        self._validate_params()
        check_is_fitted(learner)
        empty = n_rows(X_pool) == 0
        value = np.nan if empty else float(self._measure(learner, X_pool))
        self.values_ = [*getattr(self, "values_", []), value]
        self.stopped_ = empty or bool(self._decide(self.values_))
        return self.stopped_

    def n_allowed(self, learner: Any, n: int) -> int:
        """How many of n labels may be bought in one round; all, unless the rule is a budget.

        Parameters
        ----------
        learner : ActiveLearner
            Fitted on the labels so far.
        n : int
            How many labels are wanted.

        Returns
        -------
        int
            At most n, and at least 1 as long as the rule has not stopped.
        """
        return n

    def resume(self, values: Sequence[float], learner: Any, X_first_pool: Any) -> Self:
        """Take up the state after some rounds of a run that was interrupted.

        Parameters
        ----------
        values : sequence of float
            ``values_`` after those rounds.
        learner : ActiveLearner
            The learner as it was in the last of them.
        X_first_pool : array-like of shape (n_pool, ...)
            The pool as it was in the first of them.

        Returns
        -------
        self
        """
        self._validate_params()
        values = [float(value) for value in values]
        with unchanged_on_error(self):
            for name in [name for name in vars(self) if name.endswith("_")]:
                delattr(self, name)  # what is left of another run
            if values:
                self._resume(learner, X_first_pool)
            self.values_ = values
            self.stopped_ = bool(values) and bool(self._decide(values))
        return self

    def _measure(self, learner: Any, X_pool: Any) -> float:
        raise NotImplementedError(
            f"{type(self).__name__} must implement _measure(learner, X_pool)."
        )

    def _decide(self, values: list[float]) -> bool:
        raise NotImplementedError(f"{type(self).__name__} must implement _decide(values).")

    def _resume(self, learner: Any, X_first_pool: Any) -> None:
        """Take up what the rule keeps beside its values."""

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "values_")


def sample_rows(X: Any, n: int, random_state: Any, purpose: str) -> Any:
    """At most n rows of X, drawn without replacement, in their order in X."""
    if n_rows(X) <= n:
        return take_rows(X, np.arange(n_rows(X)))
    rng = np.random.default_rng(derive_seed(draw_seed(random_state), purpose))
    return take_rows(X, np.sort(rng.choice(n_rows(X), n, replace=False)))
