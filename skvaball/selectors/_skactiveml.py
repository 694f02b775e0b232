"""Strategies of scikit-activeml (Kottke et al. 2021) behind this library's interface."""

import inspect
from collections.abc import Sequence
from functools import cache
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import clone
from sklearn.ensemble import (
    BaggingClassifier,
    ExtraTreesClassifier,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.utils._param_validation import HasMethods, Interval

from skvaball.features import FeatureReader
from skvaball.selectors.base import QuerySelector, top_positions
from skvaball.utils.classifiers import ClassifierView, fit_classifier, is_frozen, is_skorch
from skvaball.utils.extras import needs_extra
from skvaball.utils.labels import encode
from skvaball.utils.random import derive_seed, isolated_generators, set_random_states
from skvaball.utils.rows import to_array

#: Ensembles of scikit-learn whose members predict the positions of the ensemble's classes.
ENSEMBLES = (RandomForestClassifier, ExtraTreesClassifier, BaggingClassifier, VotingClassifier)
#: Arguments of ``query`` that every strategy has.
COMMON_ARGUMENTS = ("self", "X", "y", "candidates", "batch_size", "return_utilities")
#: Parameters by which strategies ask a classifier for features, and how ours is asked.
EMBEDDING_PARAMETERS: dict[str, Any] = {
    "clf_embedding_flag_name": "return_features",
    "predict_dict": {"return_features": True},
}


class SkactivemlSelector(QuerySelector):
    """Choose rows with a pool-based query strategy of scikit-activeml.

    The strategy is given the labeled rows, the pool, and the fitted classifier in the
    form that scikit-activeml wants; the labels are codes, the positions in ``classes_``.
    Needs ``pip install "skvaball[skactiveml]"``.

    Parameters
    ----------
    strategy : str, class or instance
        A strategy for a single annotator: its name in ``skactiveml.pool``, its class, or
        an instance with settings of its own, which is left as it is. Parameters named
        ``missing_label`` and ``classes`` are set for it, and a ``random_state`` of None.
    estimator : classifier or None, default=None
        Classifier with ``predict_proba``. Fitted: used as it is. Unfitted: a clone is
        fitted on the labeled rows. None: a :class:`~skvaball.networks.DeepClassifier`,
        or the classifier of the learner around it.
    layers : list of str, "penultimate" or None, default=None
        None: the strategy sees the rows themselves. Otherwise names of the layers whose
        outputs it sees: in place of the rows if it needs no classifier, such as CoreSet
        or TypiClust; as embeddings beside the probabilities if it can ask for these,
        such as Badge, ContrastiveAL, DropQuery or Clue.
    batch_size : int, default=128
        Rows per forward pass of a network when features are read.
    query_params : dict or None, default=None
        More arguments for the ``query`` method of the strategy. They take precedence over
        what is given here, and labels in them are codes.
    classes : array-like of shape (n_classes,) or None, default=None
        All classes, if some may be missing from the labeled rows.
    missing_label : object, default=-1
        The value of y in ``fit`` that marks unlabeled rows.
    random_state : int, RandomState instance or None, default=None
        Seed of a strategy that has none, and of a classifier that is fitted here.

    Attributes
    ----------
    estimator_ : classifier
        The fitted classifier.
    classes_ : ndarray of shape (n_classes,)
        The classes, sorted.
    n_features_in_ : int
        Number of features seen in fit.

    Raises
    ------
    ValueError
        In ``fit``, if the strategy needs something that is not here, or trains clones of
        the classifier and that is a ``FrozenEstimator``.

    Notes
    -----
    What a strategy's ``query`` takes is filled in by name: ``clf`` and ``estimator`` with
    the fitted classifier, which is not fitted again (except by strategies that try out
    labels, such as MonteCarloEER); ``ensemble`` with the members of a
    random forest, extra trees, bagging or voting classifier; ``discriminator`` with an
    unfitted clone. Anything else that it cannot do without belongs into
    ``query_params``.

    The scores are the utilities for the first pick. For strategies that look at one row
    at a time, such as UncertaintySampling, the score of a row does not depend on the rows
    beside it. For those that look at the whole pool, such as TypiClust, MaxHerding or
    RandomSampling, it does: then ``transform`` scores the rows as one pool. Rows for which
    the strategy has no utility, such as those of clusters that it passed over, get the
    smallest utility that any row has. If a strategy picks a row twice, as Badge may when no
    two remaining rows differ, rows of the highest scores complete the batch.

    Cost and memory are those of the strategy; utilities for n picks from N rows take
    8 n N bytes. Rows of a memmap or torch Dataset are read into memory.

    References
    ----------
    D. Kottke, M. Herde, T. P. Minh, A. Benz, P. Mergard, A. Roghman, C. Sandrock and
    B. Sick. "scikit-activeml: a library and toolbox for active learning algorithms".
    Preprints 202103.0194, 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skvaball.selectors import SkactivemlSelector
    >>> X = np.array([[0.0], [10.0], [1.0], [5.0], [9.0]])
    >>> y = np.array([0, 1, -1, -1, -1])
    >>> selector = SkactivemlSelector("UncertaintySampling", LogisticRegression())
    >>> selector.fit(X, y).select(X[2:], 1)  # doctest: +SKIP
    array([1])
    """

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012 (scikit-learn's convention)
        **QuerySelector._parameter_constraints,
        "strategy": [str, HasMethods(["query"])],
        "layers": [list, tuple, str, None],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "query_params": [dict, None],
    }

    _reads_features = True

    def __init__(
        self,
        strategy: Any,
        estimator: Any = None,
        *,
        layers: Sequence[str] | str | None = None,
        batch_size: int = 128,
        query_params: dict[str, Any] | None = None,
        classes: ArrayLike | None = None,
        missing_label: Any = -1,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        super().__init__(
            estimator, classes=classes, missing_label=missing_label, random_state=random_state
        )
        self.strategy = strategy
        self.layers = layers
        self.batch_size = batch_size
        self.query_params = query_params

    def _fit_pool(self, X_labeled: Any, codes: np.ndarray, X_pool: Any) -> None:
        self._labeled = _dense(X_labeled), codes.astype(np.float64)
        self._columns = _column_names(X_labeled)
        self._reader = FeatureReader(self._view, self.layers, self.batch_size, predictions=None)
        # Before any query: what the strategy needs and cannot be given is an error of fit.
        self._arguments(self._new_strategy())

    def _score(self, X: Any) -> np.ndarray:
        return self._query(X, 1)[1]

    def _select(self, X: Any, n: int, prepared: Any) -> tuple[np.ndarray, np.ndarray]:
        return self._query(X, n)

    def _query(self, X: Any, n: int) -> tuple[np.ndarray, np.ndarray]:
        strategy = self._new_strategy()
        arguments = self._arguments(strategy)
        labeled, codes = self._labeled
        rows = np.concatenate([labeled, _dense(X)])
        if self.layers is not None and not _embedding_parameters(strategy):
            rows = self._reader.read(_framed(rows, self._columns)).values
        y = np.concatenate([codes, np.full(len(rows) - len(codes), np.nan)])
        try:
            with isolated_generators(derive_seed(self._seed, "query")):
                picks, utilities = strategy.query(
                    X=rows, y=y, batch_size=int(n), return_utilities=True, **arguments
                )
        except TypeError as error:
            raise TypeError(
                f"{type(strategy).__name__} refuses what it is given: {error} If it needs a "
                "classifier of scikit-activeml, pass one: query_params={'clf': ...}."
            ) from error
        scores = np.asarray(utilities, dtype=np.float64)[0, len(codes) :]
        known = np.isfinite(scores)
        scores = np.where(known, scores, scores[known].min() if known.any() else 0.0)
        return _complete(np.asarray(picks, dtype=np.int64) - len(codes), scores, n), scores

    def _accepts(self, tag: str) -> bool:
        return tag != "allow_nan" and super()._accepts(tag)

    def _new_strategy(self) -> Any:
        """An unused copy of the strategy that knows our codes and has a seed."""
        pool = _import_pool()
        strategy = self.strategy
        codes = list(range(len(self.classes_)))
        if isinstance(strategy, str):
            if strategy not in pool.__all__:
                names = ", ".join(name for name in pool.__all__ if name[0].isupper())
                raise ValueError(
                    f"strategy={strategy!r} is not in skactiveml.pool; expected one of: {names}."
                )
            strategy = getattr(pool, strategy)
        if isinstance(strategy, type):
            takes_classes = "classes" in inspect.signature(strategy).parameters
            strategy = strategy(classes=codes) if takes_classes else strategy()
        else:
            strategy = clone(strategy)
        from skactiveml.base import SingleAnnotatorPoolQueryStrategy

        if not isinstance(strategy, SingleAnnotatorPoolQueryStrategy):
            raise TypeError(
                f"strategy must be a pool-based strategy of scikit-activeml for a single "
                f"annotator, got {type(strategy).__name__}."
            )
        names = strategy.get_params(deep=True)
        own = {name: np.nan for name in names if name.split("__")[-1] == "missing_label"}
        own |= {name: codes for name in names if name.split("__")[-1] == "classes"}
        if self.layers is not None:
            own |= _embedding_parameters(strategy)
        return set_random_states(strategy.set_params(**own), derive_seed(self._seed, "strategy"))

    def _arguments(self, strategy: Any) -> dict[str, Any]:
        """The arguments of the strategy's query besides rows, labels and numbers."""
        arguments = dict(self.query_params or {})
        parameters = _query_parameters(strategy)
        wanted = {
            name: parameter
            for name, parameter in parameters.items()
            if name not in COMMON_ARGUMENTS and name not in arguments
        }
        for name, parameter in wanted.items():
            if name in ("clf", "estimator"):
                # Strategies that try out labels train anew, and insist on the first training.
                refits = "ignore_partial_fit" in parameters
                if refits:
                    self._check_trainable(strategy)
                arguments |= {name: self._classifier(self._view), f"fit_{name}": refits}
            elif name == "ensemble":
                arguments |= {name: self._members(strategy), f"fit_{name}": False}
            elif name == "discriminator":
                arguments[name] = self._discriminator(strategy)
            elif parameter.default is parameter.empty:
                raise ValueError(
                    f"{type(strategy).__name__} needs {name!r}, which SkactivemlSelector does not "
                    f"have. Pass it yourself: query_params={{{name!r}: ...}}."
                )
        needs_classifier = {"clf", "estimator", "ensemble", "discriminator"} & set(wanted)
        if self.layers is not None and needs_classifier and not _embedding_parameters(strategy):
            raise ValueError(
                f"layers={self.layers!r} was given, but {type(strategy).__name__} needs a "
                "classifier of the rows themselves. Use layers=None."
            )
        return arguments

    def _classifier(self, view: Any) -> Any:
        """A fitted classifier in scikit-activeml's form that predicts with the view."""
        if not hasattr(view.estimator, "predict_proba"):
            raise ValueError(
                f"The strategy needs a classifier with predict_proba, which "
                f"{type(view.estimator).__name__} does not have. Use one that has, or wrap it in "
                "sklearn.calibration.CalibratedClassifierCV."
            )
        classifier = _classifier_type()(
            self.estimator_,
            self.classes_,
            reader=self._reader,
            columns=self._columns,
            classes=list(range(len(self.classes_))),
            random_state=derive_seed(self._seed, "refit"),
        )
        return classifier.attach(view, *self._labeled)

    def _members(self, strategy: Any) -> list[Any]:
        ensemble = self._view.classifier
        if not isinstance(ensemble, ENSEMBLES):
            raise ValueError(
                f"{type(strategy).__name__} needs an ensemble, which {type(ensemble).__name__} is "
                "not. Use a RandomForestClassifier, ExtraTreesClassifier, BaggingClassifier or "
                "VotingClassifier, or pass query_params={'ensemble': ...}."
            )
        n_members = len(ensemble.estimators_)
        return [self._classifier(_MemberView(self._view, i)) for i in range(n_members)]

    def _check_trainable(self, strategy: Any) -> None:
        if is_frozen(self.estimator_):
            raise ValueError(
                f"{type(strategy).__name__} trains clones of the classifier, which a "
                "FrozenEstimator does not allow. Pass the estimator itself."
            )

    def _discriminator(self, strategy: Any) -> Any:
        if is_skorch(self.estimator_):
            raise ValueError(
                f"{type(strategy).__name__} tells labeled from unlabeled rows with a classifier "
                "of two classes, which a skorch net for others cannot be. Pass one of "
                "scikit-activeml: query_params={'discriminator': ...}."
            )
        self._check_trainable(strategy)
        seed = derive_seed(self._seed, "discriminator")
        return _classifier_type()(clone(self.estimator_), columns=self._columns, random_state=seed)


class _MemberView:
    """Predictions of one member of an ensemble, in the codes of all classes."""

    def __init__(self, view: ClassifierView, i: int) -> None:
        self.classes = view.classes
        self.transformers = view.transformers
        self.estimator = view.classifier.estimators_[i]
        subsets = getattr(view.classifier, "estimators_features_", None)
        self.columns = slice(None) if subsets is None else subsets[i]
        # The members know positions in the ensemble's classes, forests as floats.
        known = view.classifier.classes_[np.asarray(self.estimator.classes_, dtype=np.int64)]
        self.codes = encode(known, view.classes)

    def predict_proba(self, X: Any) -> np.ndarray:
        for transformer in self.transformers:
            X = transformer.transform(X)
        # The members never saw the names of columns.
        X = _dense(X)[:, self.columns]
        full = np.zeros((len(X), len(self.classes)))
        full[:, self.codes] = self.estimator.predict_proba(X)
        return full


def _import_pool() -> Any:
    with needs_extra("SkactivemlSelector", "skactiveml"):
        from skactiveml import pool
    return pool


@cache
def _classifier_type() -> Any:
    """A class, made here because its base class is not there without the extra."""
    from skactiveml.base import SkactivemlClassifier

    class PoolClassifier(SkactivemlClassifier):
        """A classifier of this library as one of scikit-activeml."""

        __qualname__ = "PoolClassifier"

        def __init__(
            self,
            estimator: Any = None,
            labels: Any = None,
            reader: Any = None,
            columns: Any = None,
            classes: Any = None,
            missing_label: Any = np.nan,
            cost_matrix: Any = None,
            random_state: Any = None,
        ) -> None:
            super().__init__(classes, missing_label, cost_matrix, random_state)
            self.estimator = estimator
            self.labels = labels
            self.reader = reader
            self.columns = columns

        def attach(self, view: Any, X: np.ndarray, y: np.ndarray) -> Any:
            """Be fitted without fitting: predict with what is there."""
            self._check(X, y)
            self.view_ = view
            return self

        def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
            """Fit a clone of the classifier on the labeled rows."""
            if sample_weight is not None:
                raise ValueError("sample_weight was given, but the classifier takes none.")
            X, codes = self._check(X, y)
            labels = np.asarray(self.classes_ if self.labels is None else self.labels)
            rows = np.flatnonzero(codes >= 0)
            model = fit_classifier(
                self.estimator,
                _framed(X[rows], self.columns),
                labels[codes[rows]],
                labels,
                self.random_state,
            )
            self.view_ = ClassifierView(model, labels)
            return self

        def _check(self, X: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
            X, codes, _ = self._validate_data(X, y, check_X_dict={"allow_nd": True, "dtype": None})
            return X, codes.astype(np.int64)

        def predict_proba(self, X: Any, return_features: bool = False) -> Any:
            """Probabilities, and the features of the layers if asked for."""
            X = _framed(np.asarray(X), self.columns)
            probabilities = self.view_.predict_proba(X)
            if not return_features:
                return probabilities
            return probabilities, self.reader.read(X).values

    return PoolClassifier


def _query_parameters(strategy: Any) -> Any:
    """Parameters of the query method; wrappers pass theirs on to the strategy inside."""
    parameters = inspect.signature(strategy.query).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return _query_parameters(strategy.query_strategy)
    return parameters


def _embedding_parameters(strategy: Any) -> dict[str, Any]:
    """The parameters by which the strategy asks for features, and their values."""
    return {
        name: EMBEDDING_PARAMETERS[name.split("__")[-1]]
        for name in strategy.get_params(deep=True)
        if name.split("__")[-1] in EMBEDDING_PARAMETERS
    }


def _complete(picks: np.ndarray, scores: np.ndarray, n: int) -> np.ndarray:
    """Leave out what was picked before, and add the rows of the highest scores up to n."""
    _, first = np.unique(picks, return_index=True)
    picks = picks[np.sort(first)]
    rest = np.setdiff1d(np.arange(len(scores)), picks)
    return np.concatenate([picks, rest[top_positions(scores[rest], n - len(picks))]])


def _column_names(X: Any) -> list[str] | None:
    """Names of the columns of a data frame, or of a table of pyarrow; None of an array."""
    names = getattr(X, "column_names", getattr(X, "columns", None))
    return None if names is None else list(names)


def _framed(X: np.ndarray, columns: list[str] | None) -> Any:
    """Rows as a data frame if they came as one: a classifier may want the names back."""
    if columns is None:
        return X
    import pandas as pd  # here: whoever has no data frames need not load pandas

    return pd.DataFrame(X, columns=columns)


def _dense(X: Any) -> np.ndarray:
    """Rows as one array."""
    X = to_array(X)
    return np.asarray(X.toarray() if hasattr(X, "toarray") else X)
