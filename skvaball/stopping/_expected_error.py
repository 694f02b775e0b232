"""Stop when few mistakes of the classifier are expected to be left."""

from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils._param_validation import HasMethods, Interval

from skvaball.selectors.base import QuerySelector, connect
from skvaball.stopping.base import StoppingRule, sample_rows
from skvaball.utils.random import derive_seed, draw_seed


class ExpectedError(StoppingRule):
    """Stop when the expected share of mistakes in the pool is below a bound.

    The share is the mean probability of a mistake over the rows of the pool: by the
    classifier's own word, or by a selector whose scores are such probabilities, as those
    of VaB-AL in the paper's form are. Without labels of the pool this is an estimate by a
    model that was fitted to few labels, and it may be wrong either way: classifiers are too
    sure of themselves or not sure enough, and VaB-AL counts its difficulty on few labeled
    rows, with Laplace smoothing. ``docs/stopping.md`` has measurements. Try a bound in a
    simulation before you rely on it; an error in the pool is not that on new rows either,
    because the hard ones have been labeled.

    Parameters
    ----------
    bound : float, default=0.05
        Stop when the expected error is below it, in (0, 1].
    selector : QuerySelector or None, default=None
        Strategy whose scores are probabilities of a mistake (``scores_are_probabilities``),
        such as
        ``VaBQuerySelector(posterior="normalized", difficulty="out_of_fold")`` or
        ``LeastConfidenceSelector()``.
        It is cloned, given the learner's classifier and fitted in each round, beside the
        learner's own selector. None: one minus the highest probability of the classifier.
    n_rows : int or None, default=None
        Measure on as many rows, drawn anew each round; None: on the whole pool.
    random_state : int, RandomState instance or None, default=None
        Seed of that draw, and of the selector if it has none. The same for all rounds, if
        it is an integer.

    Attributes
    ----------
    values_ : list of float
        The expected error in each round.
    stopped_ : bool
        The last answer.

    See Also
    --------
    StablePredictions : Needs no probabilities.
    skvaball.VaBQuerySelector : Where the probability of a mistake comes from.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skvaball import ActiveLearner
    >>> from skvaball.selectors import MarginSelector
    >>> from skvaball.stopping import ExpectedError
    >>> X, y = load_digits(return_X_y=True)
    >>> learner = ActiveLearner(LogisticRegression(max_iter=500), MarginSelector())
    >>> learner = learner.fit(X[:20], y[:20])
    >>> rule = ExpectedError(bound=0.05)
    >>> rule.should_stop(learner, X[20:])
    False
    >>> rule.should_stop(learner.teach(X[20:900], y[20:900]), X[900:])
    True
    """

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012 (scikit-learn's convention)
        "bound": [Interval(Real, 0, 1, closed="right")],
        "selector": [HasMethods(["fit_pool", "score_samples"]), None],
        "n_rows": [Interval(Integral, 1, None, closed="left"), None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        bound: float = 0.05,
        selector: QuerySelector | None = None,
        *,
        n_rows: int | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.bound = bound
        self.selector = selector
        self.n_rows = n_rows
        self.random_state = random_state

    def _measure(self, learner: Any, X_pool: Any) -> float:
        seed = draw_seed(self.random_state)
        if self.n_rows is not None:
            X_pool = sample_rows(X_pool, self.n_rows, seed, "rows")
        return float(np.mean(self._mistakes(learner, X_pool, seed)))

    def _mistakes(self, learner: Any, X: Any, seed: int) -> np.ndarray:
        """Probability of a mistake for each row."""
        if self.selector is None:
            if not hasattr(learner, "predict_proba"):
                raise ValueError(
                    "ExpectedError needs a classifier with predict_proba. Use one, wrap it in "
                    "sklearn.calibration.CalibratedClassifierCV, or give a `selector` whose "
                    "scores are probabilities of a mistake."
                )
            certainty: np.ndarray = learner.predict_proba(X).max(axis=1)
            return 1.0 - certainty
        classes = np.union1d(learner.classes_, learner.y_labeled_)
        selector = connect(
            self.selector, learner.estimator_, classes, derive_seed(seed, "selector")
        )
        if not getattr(selector, "scores_are_probabilities", False):
            raise ValueError(
                f"The scores of this {type(selector).__name__} are no probabilities of a "
                "mistake. Those of LeastConfidenceSelector() are, those of VaBQuerySelector with "
                "posterior='normalized', and those of a selector of your own that sets "
                "scores_are_probabilities = True."
            )
        selector.fit_pool(learner.X_labeled_, learner.y_labeled_, X)
        scores: np.ndarray = selector.score_samples(X)
        return scores

    def _decide(self, values: list[float]) -> bool:
        return values[-1] < self.bound
