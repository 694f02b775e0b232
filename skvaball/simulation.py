"""Replay of active learning on labeled data: the labels are hidden and revealed on request."""

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, _fit_context, clone
from sklearn.metrics import get_scorer
from sklearn.utils import Tags, check_consistent_length, get_tags
from sklearn.utils._param_validation import HasMethods, Interval
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data

from skvaball._progress import RoundProgress
from skvaball.learner import ActiveLearner
from skvaball.stopping import StoppingRule
from skvaball.utils.classifiers import check_instance, validates_itself
from skvaball.utils.labels import check_labels, resolve_classes
from skvaball.utils.random import derive_seed, draw_seed, set_random_states
from skvaball.utils.rows import as_rows, n_rows, take_rows, to_array

#: What a validation callback may return: one number, or several with names.
ValidationResult = float | dict[str, Any]

#: What the progress of a round shows out of its entry in the history.
_SHOWN = ("n_labeled", "stopping", "validation")


def _learner_has(method: str) -> Any:
    def check(self: "ActiveLearningSimulator") -> bool:
        return hasattr(getattr(self, "learner_", None) or self._template(), method)

    return check


class ActiveLearningSimulator(MetaEstimatorMixin, ClassifierMixin, BaseEstimator):
    """Replay of active learning: how good a learner gets with a given budget of labels.

    The simulator plays the annotator. ``fit(X, y)`` hides the labels, reveals those of
    a random start, and then those that the learner queries, round after round. The
    result is a classifier that has seen only the labels it asked for, so
    ``cross_validate`` and ``GridSearchCV`` measure what a strategy is for: accuracy at
    the end of the budget.

    The first labels depend on ``random_state`` and the data alone: with the same seed
    every strategy starts from the same ones, and so does the classifier's
    initialization. Comparisons are paired by that.

    Parameters
    ----------
    learner : ActiveLearner or None, default=None
        Learner with its strategy; cloned. None: ``ActiveLearner()``.
    batch_size : int, default=10
        Labels bought in each round.
    n_rounds : int, default=5
        Rounds after the start, at most. They end early when no row is left, or when the
        stopping rule says so.
    n_initial : int or None, default=None
        Labels of the start; None: ``batch_size``. Where the data have two classes
        or more and the drawn rows only one, the last is replaced by one of another.
    query_size : int or None, default=None
        Rows per query, if a batch is to be made of several: their labels are taught
        with ``refit=False``, so that strategies that read labels inside a batch see
        them, and the classifier is refitted at the end of the batch. None: one query.
    stopping : StoppingRule or None, default=None
        Rule out of :mod:`skvaball.stopping`, asked after each round, the start included,
        and cloned before. None: all rounds are played.
    validation : callable or None, default=None
        Called as ``validation(learner)`` after each round; returns a number, recorded
        as "validation", or a dict of numbers.
    keep_learners : bool, default=True
        Whether to keep the learner of each round, for ``staged_predict`` and
        :func:`learning_curve_scorer`. Turn it off for large networks.
    verbose : int, default=0
        1 shows the progress on the standard error: a bar in a terminal or notebook, and
        a line per round in a log file. 2 always prints lines.
    random_state : int, RandomState instance or None, default=None
        Seed of the start, and of the learner and the stopping rule if they have none.

    Attributes
    ----------
    learner_ : ActiveLearner
        The learner after the last round.
    learners_ : list of ActiveLearner
        The learner after each round, able to predict but without its labeled rows;
        empty if ``keep_learners=False``. After :meth:`iter_rounds` with earlier rounds,
        those of the rounds played since.
    history_ : list of dict
        For each round, the start being round 0: "round", "n_labeled", "queried"
        (int64 positions in X, best first), "class_counts" (labels so far per class, in
        the order of ``classes_``), "query_time" and "train_time" in seconds, "stopping"
        (what the stopping rule measured, if there is one) and what the validation
        returned. ``pandas.DataFrame(history_)`` makes a table of it.
    stopping_ : StoppingRule or None
        The rule after the last round; ``stopping_.stopped_`` says whether it ended the run.
    classes_ : ndarray of shape (n_classes,)
        The classes, sorted.
    n_features_in_ : int
        Number of features seen in fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if X had any.

    Notes
    -----
    The learner is told which classes there are, as an annotator would know them, but
    of the labels only those it has bought.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skvaball import ActiveLearner, ActiveLearningSimulator
    >>> from skvaball.selectors import MarginSelector
    >>> X, y = load_digits(return_X_y=True)
    >>> learner = ActiveLearner(LogisticRegression(max_iter=500), MarginSelector())
    >>> simulator = ActiveLearningSimulator(learner, batch_size=20, n_rounds=2, random_state=0)
    >>> [round_["n_labeled"] for round_ in simulator.fit(X[:500], y[:500]).history_]
    [20, 40, 60]
    """

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012 (scikit-learn's convention)
        "learner": [HasMethods(["fit", "query", "teach"]), None],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "n_rounds": [Interval(Integral, 0, None, closed="left")],
        "n_initial": [Interval(Integral, 1, None, closed="left"), None],
        "query_size": [Interval(Integral, 1, None, closed="left"), None],
        "stopping": [StoppingRule, None],
        "validation": [callable, None],
        "keep_learners": ["boolean"],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        learner: ActiveLearner | None = None,
        *,
        batch_size: int = 10,
        n_rounds: int = 5,
        n_initial: int | None = None,
        query_size: int | None = None,
        stopping: StoppingRule | None = None,
        validation: Callable[[ActiveLearner], ValidationResult] | None = None,
        keep_learners: bool = True,
        verbose: int = 0,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.learner = learner
        self.batch_size = batch_size
        self.n_rounds = n_rounds
        self.n_initial = n_initial
        self.query_size = query_size
        self.stopping = stopping
        self.validation = validation
        self.keep_learners = keep_learners
        self.verbose = verbose
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: ArrayLike) -> Self:
        """Run all rounds.

        Parameters
        ----------
        X : array-like of shape (n, ...)
            Rows; the pool and the start are taken from them.
        y : array-like of shape (n,)
            Labels, all of them; the learner sees those it buys.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If ``n_initial`` exceeds the number of rows, ``query_size`` exceeds
            ``batch_size``, or the learner refuses the data.
        """
        for _ in self._play(X, y, ()):
            pass
        return self

    def iter_rounds(
        self, X: Any, y: ArrayLike, earlier: Sequence[dict[str, Any]] = ()
    ) -> Iterator[dict[str, Any]]:
        """Run round by round, and go on with a run that was interrupted.

        ``fit`` plays all rounds at once. Here each is played when it is asked for, and
        ``learner_`` and ``history_`` are those of the rounds so far.

        Parameters
        ----------
        X, y
            As in :meth:`fit`.
        earlier : sequence of dict, default=()
            The first entries of the ``history_`` of an interrupted run on the same data,
            with the same parameters and an integer as ``random_state``. These rounds are
            not played again: the learner is refitted on the labels that they bought, and
            the rest is the same as without the interruption.

        Yields
        ------
        dict
            The entry in ``history_`` of each round played.

        Raises
        ------
        ValueError
            As :meth:`fit`; and if ``earlier`` is given to a learner with ``warm_start``,
            which cannot be refitted to what it was, or without a fixed ``random_state``,
            or if it is not of a run on these data.

        Examples
        --------
        >>> from sklearn.datasets import load_digits
        >>> from sklearn.linear_model import LogisticRegression
        >>> from skvaball import ActiveLearner, ActiveLearningSimulator
        >>> from skvaball.selectors import MarginSelector
        >>> X, y = load_digits(return_X_y=True)
        >>> learner = ActiveLearner(LogisticRegression(max_iter=500), MarginSelector())
        >>> simulator = ActiveLearningSimulator(learner, batch_size=20, random_state=0)
        >>> rounds = simulator.iter_rounds(X[:500], y[:500])
        >>> saved = [next(rounds), next(rounds)]  # and here the machine stops
        >>> rest = simulator.iter_rounds(X[:500], y[:500], earlier=saved)
        >>> [entry["n_labeled"] for entry in rest]
        [60, 80, 100, 120]
        """
        self._validate_params()
        yield from self._play(X, y, earlier)

    def _play(
        self, X: Any, y: ArrayLike, earlier: Sequence[dict[str, Any]]
    ) -> Iterator[dict[str, Any]]:
        X, labels = self._check_data(X, y)
        seed = draw_seed(self.random_state)
        classes = np.unique(labels)
        learner = clone(self._template())
        given = {"classes": classes, "random_state": derive_seed(seed, "learner")}
        unset = {name: value for name, value in given.items() if getattr(learner, name) is None}
        learner.set_params(**unset)
        self.__dict__.pop("learner_", None)  # unfitted, should this run fail
        self.history_: list[dict[str, Any]] = list(earlier)
        self.learners_: list[ActiveLearner] = []
        self.classes_ = resolve_classes(learner.classes, labels)

        self.stopping_: StoppingRule | None = None
        if self.stopping is not None:
            rule = set_random_states(clone(self.stopping), derive_seed(seed, "stopping"))
            self.stopping_ = rule

        start = initial_positions(labels, self._start_size(), derive_seed(seed, "initial"))
        with RoundProgress(type(self).__name__, self.n_rounds, self.verbose) as progress:
            for entry in self._rounds(learner, X, labels, start, earlier):
                shown = {name: value for name, value in entry.items() if name in _SHOWN}
                progress.advance(entry["round"], shown)
                yield entry

    def _rounds(
        self,
        learner: ActiveLearner,
        X: Any,
        labels: np.ndarray,
        start: np.ndarray,
        earlier: Sequence[dict[str, Any]],
    ) -> Iterator[dict[str, Any]]:
        if earlier:
            self._check_earlier(learner, start, earlier, len(labels))
            labeled = np.concatenate([entry["queried"] for entry in earlier])
            learner.fit(take_rows(X, labeled), labels[labeled])
            # Each query draws anew: the next one must not draw as the first one did.
            size = self.query_size or self.batch_size
            learner.n_queries_ = sum(-(-len(entry["queried"]) // size) for entry in earlier[1:])
            self.learner_ = learner
            pool = np.setdiff1d(np.arange(len(labels)), labeled)
            if self.stopping_ is not None:
                values = [entry["stopping"] for entry in earlier]
                first_pool = np.setdiff1d(np.arange(len(labels)), start)
                self.stopping_.resume(values, learner, take_rows(X, first_pool))
        else:
            clock = time.perf_counter()
            learner.fit(take_rows(X, start), labels[start])
            train_time = time.perf_counter() - clock
            pool = np.setdiff1d(np.arange(len(labels)), start)
            measured = self._ask_rule(learner, X, pool)
            yield self._record(learner, start, 0.0, train_time, measured)
        while len(pool) > 0 and len(self.history_) <= self.n_rounds and not self._stopped():
            queried, pool, query_time, train_time = self._buy_batch(learner, X, labels, pool)
            measured = self._ask_rule(learner, X, pool)
            yield self._record(learner, queried, query_time, train_time, measured)

    def _ask_rule(self, learner: ActiveLearner, X: Any, pool: np.ndarray) -> dict[str, float]:
        """What the stopping rule measured in this round, if there is a rule."""
        if self.stopping_ is None:
            return {}
        self.stopping_.should_stop(learner, take_rows(X, pool))
        return {"stopping": self.stopping_.values_[-1]}

    def _stopped(self) -> bool:
        return self.stopping_ is not None and self.stopping_.stopped_

    def _check_earlier(
        self,
        learner: ActiveLearner,
        start: np.ndarray,
        earlier: Sequence[dict[str, Any]],
        n_rows: int,
    ) -> None:
        if learner.warm_start:
            raise ValueError(
                "A run with warm_start=True cannot be resumed: its network goes on from weights "
                "that are not in the history. Start it anew, with earlier=()."
            )
        if not isinstance(self.random_state, int | np.integer):
            raise ValueError(
                f"A run can be resumed with an integer as random_state, got {self.random_state!r}: "
                "otherwise its seed is not known any more."
            )
        if not np.array_equal(earlier[0]["queried"], start):
            raise ValueError(
                "The earlier rounds are not of this run: they start from other rows. Expected "
                "the history of the same data, n_initial and random_state."
            )
        if self.stopping is not None and not all("stopping" in entry for entry in earlier):
            raise ValueError(
                "The earlier rounds lack what the stopping rule measured, their entry "
                '"stopping". Expected the history of a run with the same rule; or set '
                "stopping=None."
            )
        bought = np.concatenate([entry["queried"] for entry in earlier])
        if len(np.unique(bought)) < len(bought) or bought.min() < 0 or bought.max() >= n_rows:
            raise ValueError(
                "The earlier rounds are damaged: they hold a position twice, or one outside of "
                f"the {n_rows} rows."
            )

    def _start_size(self) -> int:
        return self.batch_size if self.n_initial is None else self.n_initial

    def _check_data(self, X: Any, y: ArrayLike) -> tuple[Any, np.ndarray]:
        if y is None:
            raise ValueError(
                "ActiveLearningSimulator requires y to be passed, but the target y is None."
            )
        check_instance("learner", self.learner)
        X = as_rows(to_array(X), allow_1d=validates_itself(self._template().estimator))
        validate_data(self, X, skip_check_array=True)
        labels = check_labels(y)
        check_consistent_length(X, labels)
        if self._start_size() > n_rows(X):
            raise ValueError(
                f"The start of n_initial={self._start_size()} labels exceeds the number of rows: "
                f"n_samples={n_rows(X)}. Lower n_initial (by default it is batch_size)."
            )
        if self.query_size is not None and self.query_size > self.batch_size:
            raise ValueError(
                f"query_size={self.query_size} exceeds batch_size={self.batch_size}; "
                "a batch is made of queries."
            )
        return X, labels

    def _buy_batch(
        self, learner: ActiveLearner, X: Any, labels: np.ndarray, pool: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, float, float]:
        """Query and teach one batch: the rows bought, the pool left, and both times."""
        missing = min(self.batch_size, len(pool))
        if self.stopping_ is not None:
            missing = self.stopping_.n_allowed(learner, missing)
        bought: list[np.ndarray] = []
        query_time = train_time = 0.0
        while missing > 0:
            size = min(self.query_size or missing, missing)
            missing -= size
            clock = time.perf_counter()
            chosen = self._choose(learner, X, labels, pool, size)
            queried = time.perf_counter()
            rows = pool[chosen]
            learner.teach(take_rows(X, rows), labels[rows], refit=missing == 0)
            query_time += queried - clock
            train_time += time.perf_counter() - queried
            bought.append(rows)
            pool = np.delete(pool, chosen)
        return np.concatenate(bought), pool, query_time, train_time

    def _choose(
        self, learner: ActiveLearner, X: Any, labels: np.ndarray, pool: np.ndarray, n: int
    ) -> np.ndarray:
        """Positions in the pool of the n rows to buy; the labels are for references only."""
        return np.asarray(learner.query(take_rows(X, pool), n))

    def _record(
        self,
        learner: ActiveLearner,
        queried: np.ndarray,
        query_time: float,
        train_time: float,
        measured: dict[str, float],
    ) -> dict[str, Any]:
        self.learner_ = learner
        codes = np.searchsorted(self.classes_, learner.y_labeled_)
        entry: dict[str, Any] = {
            "round": len(self.history_),
            "n_labeled": len(learner.y_labeled_),
            "queried": queried.astype(np.int64),
            "class_counts": np.bincount(codes, minlength=len(self.classes_)),
            "query_time": query_time,
            "train_time": train_time,
            **measured,
        }
        if self.validation is not None:
            entry.update(self._validated(learner, entry))
        self.history_.append(entry)
        if self.keep_learners:
            # teach() replaces attributes and changes none in place: a shallow copy stays
            # as it is. Without the labeled rows, or rounds would cost quadratic memory.
            snapshot = copy.copy(learner)
            snapshot.__dict__.pop("selector_", None)
            del snapshot.X_labeled_, snapshot.y_labeled_
            self.learners_.append(snapshot)
        return entry

    def _validated(self, learner: ActiveLearner, entry: dict[str, Any]) -> dict[str, Any]:
        """What the validation measures, under names that the history does not have itself."""
        assert self.validation is not None
        result = self.validation(learner)
        if not isinstance(result, dict):
            return {"validation": result}
        taken = sorted(set(result) & set(entry))
        if taken:
            raise ValueError(
                f"validation returned entries named {', '.join(taken)}, which the history has "
                "itself. Give them other names."
            )
        return result

    def _template(self) -> ActiveLearner:
        return ActiveLearner() if self.learner is None else self.learner

    @property
    def wrapped_classifier(self) -> Any:
        """The fitted learner, for whoever wants the layers of its classifier."""
        return self.learner_

    def predict(self, X: Any) -> np.ndarray:
        """Labels predicted by the learner after the last round.

        Parameters
        ----------
        X : array-like of shape (n, ...)

        Returns
        -------
        ndarray of shape (n,)
        """
        check_is_fitted(self)
        return np.asarray(self.learner_.predict(X))

    @available_if(_learner_has("predict_proba"))
    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities by the learner after the last round.

        Parameters
        ----------
        X : array-like of shape (n, ...)

        Returns
        -------
        ndarray of shape (n, n_classes), float64
        """
        check_is_fitted(self)
        return np.asarray(self.learner_.predict_proba(X))

    @available_if(_learner_has("decision_function"))
    def decision_function(self, X: Any) -> np.ndarray:
        """Decision values of the learner after the last round.

        Parameters
        ----------
        X : array-like of shape (n, ...)

        Returns
        -------
        ndarray of shape (n,) for two classes, else (n, n_classes)
        """
        check_is_fitted(self)
        return np.asarray(self.learner_.decision_function(X))

    def staged_predict(self, X: Any) -> Iterator[np.ndarray]:
        """Predicted labels after each round whose learner is in ``learners_``.

        Parameters
        ----------
        X : array-like of shape (n, ...)

        Yields
        ------
        ndarray of shape (n,)

        Raises
        ------
        ValueError
            If no learners were kept.
        """
        for learner in self._kept_learners():
            yield learner.predict(X)

    def _kept_learners(self) -> list[ActiveLearner]:
        check_is_fitted(self)
        if not self.learners_:
            reason = (
                "the run was complete when it was resumed. Call fit"
                if self.keep_learners
                else "set keep_learners=True"
            )
            raise ValueError(f"The learners of the rounds were not kept: {reason}.")
        return self.learners_

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "learner_")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        nested = get_tags(self._template())
        tags.input_tags = nested.input_tags
        tags.classifier_tags = nested.classifier_tags
        return tags


def initial_positions(y: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Positions of the first rows to be labeled: random, of two classes if y has two.

    Parameters
    ----------
    y : ndarray of shape (n_rows,)
        Labels.
    n : int
        How many rows.
    seed : int
        The same seed gives the same rows.

    Returns
    -------
    ndarray of shape (n,), int64
    """
    order = np.random.default_rng(seed).permutation(len(y))
    start = order[:n]
    if n > 1 and len(np.unique(y[start])) == 1:
        others = order[n:][y[order[n:]] != y[start[0]]]
        if len(others):
            start[-1] = others[0]
    return start.astype(np.int64)


def learning_curve_scorer(
    scoring: str | Callable[..., float] = "balanced_accuracy",
) -> Callable[..., dict[str, float]]:
    """Scorer that gives ``cross_validate`` one score per round: learning curves.

    Parameters
    ----------
    scoring : str or callable, default="balanced_accuracy"
        A scorer of scikit-learn, by name or as ``scorer(estimator, X, y)``.

    Returns
    -------
    callable
        ``scorer(simulator, X, y)`` returning a dict with "round_0", "round_1", ... Rounds
        that were not played, because of a stopping rule or for want of rows, have NaN: the
        folds may end at different ones. So have rounds before the run was resumed.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.model_selection import cross_validate
    >>> from skvaball import ActiveLearner, ActiveLearningSimulator, learning_curve_scorer
    >>> from skvaball.selectors import MarginSelector
    >>> X, y = load_digits(return_X_y=True)
    >>> learner = ActiveLearner(LogisticRegression(max_iter=500), MarginSelector())
    >>> simulator = ActiveLearningSimulator(learner, batch_size=20, n_rounds=2, random_state=0)
    >>> curves = cross_validate(simulator, X, y, cv=3, scoring=learning_curve_scorer())
    >>> sorted(name for name in curves if name.startswith("test_"))
    ['test_round_0', 'test_round_1', 'test_round_2']
    """
    scorer = get_scorer(scoring) if isinstance(scoring, str) else scoring
    return _StagedScorer(scorer)


class _StagedScorer:
    """A class, not a closure: scorers travel to other processes."""

    def __init__(self, scorer: Callable[..., float]) -> None:
        self.scorer = scorer

    def __call__(self, simulator: ActiveLearningSimulator, X: Any, y: Any) -> dict[str, float]:
        learners = simulator._kept_learners()
        first = len(simulator.history_) - len(learners)
        scores = {f"round_{i}": float("nan") for i in range(simulator.n_rounds + 1)}
        for i, learner in enumerate(learners, first):
            scores[f"round_{i}"] = self.scorer(learner, X, y)
        return scores
