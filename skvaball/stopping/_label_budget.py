"""Stop when the labels that can be paid for are used up."""

from numbers import Integral
from typing import Any

from sklearn.utils._param_validation import Interval

from skvaball.stopping.base import StoppingRule


class LabelBudget(StoppingRule):
    """Stop when the learner has a given number of labels.

    Parameters
    ----------
    n_labels : int, default=500
        Labels that may be bought, those of the start included.

    Attributes
    ----------
    values_ : list of float
        Number of labels in each round.
    stopped_ : bool
        The last answer.

    See Also
    --------
    StablePredictions : Stop when more labels change little.

    Examples
    --------
    The simulator buys a smaller last batch where a full one would exceed the budget; in a
    loop of your own, ask for ``learner.query(X_pool, rule.n_allowed(learner, 20))``.

    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skvaball import ActiveLearner, ActiveLearningSimulator
    >>> from skvaball.selectors import MarginSelector
    >>> from skvaball.stopping import LabelBudget
    >>> X, y = load_digits(return_X_y=True)
    >>> learner = ActiveLearner(LogisticRegression(max_iter=500), MarginSelector())
    >>> simulator = ActiveLearningSimulator(
    ...     learner, batch_size=20, n_rounds=100, stopping=LabelBudget(50), random_state=0
    ... )
    >>> [entry["n_labeled"] for entry in simulator.fit(X[:500], y[:500]).history_]
    [20, 40, 50]
    """

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012 (scikit-learn's convention)
        "n_labels": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(self, n_labels: int = 500) -> None:
        self.n_labels = n_labels

    def n_allowed(self, learner: Any, n: int) -> int:
        """How many of n labels the budget still pays for.

        Parameters
        ----------
        learner : ActiveLearner
            Fitted on the labels so far.
        n : int
            How many labels are wanted.

        Returns
        -------
        int
            At least 0, at most n.
        """
        return max(0, min(n, self.n_labels - len(learner.y_labeled_)))

    def _measure(self, learner: Any, X_pool: Any) -> float:
        return float(len(learner.y_labeled_))

    def _decide(self, values: list[float]) -> bool:
        return values[-1] >= self.n_labels
