"""The interface of every query strategy."""

from typing import Any, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    _fit_context,
    clone,
)
from sklearn.metrics import roc_auc_score
from sklearn.utils import Tags, check_consistent_length, get_tags
from sklearn.utils._param_validation import HasMethods
from sklearn.utils.validation import check_is_fitted, validate_data
from torch.utils.data import Dataset

from skvaball.networks import DeepClassifier
from skvaball.utils.classifiers import (
    ClassifierView,
    check_classifier,
    check_instance,
    fit_classifier,
    is_fitted,
    is_skorch,
    judge_of_rows,
    unwrap,
    validates_itself,
)
from skvaball.utils.labels import (
    as_labels,
    check_labels,
    check_order_of_outputs,
    encode,
    is_class,
    is_missing,
    resolve_classes,
)
from skvaball.utils.random import derive_seed, draw_seed
from skvaball.utils.rows import is_lazy, n_rows, take_rows


class QuerySelector(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Base class of query strategies: estimators that score the rows of a pool.

    A strategy of your own implements ``_score``, and ``_fit_pool`` if its scores need
    something that is learned from the pool; it inherits the rest:

    ``_fit_pool(X_labeled, codes, X_pool)``
        Learn what the scores need. ``codes`` are the labels as positions in
        ``classes_``; ``self._view`` predicts with ``estimator_`` in the same codes,
        ``self._seed`` is the seed of all randomness.
    ``_score(X)``
        Scores, float64 of shape (n,): the higher, the sooner to be labeled. The
        score of a row must not depend on the rows beside it.

    Strategies that choose a batch as a whole override ``_select(X, n, prepared)`` too;
    ``prepared`` is what ``_fit_pool`` returned for the same pool, so that costly work
    such as deep features is not done twice in one query.

    Parameters
    ----------
    estimator : classifier or None, default=None
        The classifier whose labels are to be improved. Fitted: used as it is.
        Unfitted: a clone is fitted on the labeled rows. None: a
        :class:`~skvaball.networks.DeepClassifier`. Inside an
        :class:`~skvaball.ActiveLearner`, None means the learner's own classifier, and
        another one is fitted anew for each query, unless it is in a
        :class:`~sklearn.frozen.FrozenEstimator`.
    classes : array-like of shape (n_classes,) or None, default=None
        All classes, if some may be missing from the labeled rows.
    missing_label : object, default=-1
        The value of y in ``fit`` that marks unlabeled rows. NaN, None and pd.NA
        always do.
    random_state : int, RandomState instance or None, default=None
        Seed of all randomness of the strategy.

    Attributes
    ----------
    scores_are_probabilities : bool
        Whether a score is the probability that the classifier is wrong about the row, which
        :class:`~skvaball.stopping.ExpectedError` relies on. False, unless a class says so.
    estimator_ : classifier
        The fitted classifier.
    classes_ : ndarray of shape (n_classes,)
        The classes, sorted.
    n_features_in_ : int
        Number of features seen in fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if X had any.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skvaball.selectors import QuerySelector
    >>> class UnsureSelector(QuerySelector):
    ...     def _score(self, X):
    ...         return 1 - self._view.predict_proba(X).max(axis=1)
    >>> X, y = load_iris(return_X_y=True)
    >>> selector = UnsureSelector(LogisticRegression(max_iter=500))
    >>> selector.fit_pool(X[::10], y[::10], X).select(X, 3).shape
    (3,)
    """

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012 (scikit-learn's convention)
        "estimator": [HasMethods(["fit", "predict"]), None],
        "classes": ["array-like", None],
        "missing_label": "no_validation",
        "random_state": ["random_state"],
    }

    #: What the strategy asks of its classifier beyond fit and predict: a method, or several of
    #: which it must have one.
    _needs: str | tuple[str, ...] = ()
    #: Whether the strategy needs a classifier; if not, none is fitted for it.
    _uses_estimator: bool = True

    def __init__(
        self,
        estimator: Any = None,
        *,
        classes: ArrayLike | None = None,
        missing_label: Any = -1,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.estimator = estimator
        self.classes = classes
        self.missing_label = missing_label
        self.random_state = random_state

    # Properties, so that a subclass may compute them; a plain attribute overrides them too.

    @property
    def scores_are_probabilities(self) -> bool:
        """Whether a score is the probability that the classifier is wrong about the row."""
        return False

    @property
    def _reads_features(self) -> bool:
        """Whether the strategy looks at features of the rows, which must not have gaps."""
        return False

    # -- fitting -------------------------------------------------------------------------

    def _validate_params(self) -> None:
        super()._validate_params()
        check_classifier(self.estimator)

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: ArrayLike) -> Self:
        """Fit on labeled and unlabeled rows together.

        Parameters
        ----------
        X : array-like of shape (n, n_features) or (n, n_channels, height, width)
            All rows.
        y : array-like of shape (n,)
            Labels; ``missing_label`` marks the rows of the pool. Without any
            unlabeled row all rows serve as the pool.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If no row is labeled, labels are of mixed type, or X is not finite.
        """
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None."
            )
        self._forget()
        X = self._check_rows(X, reset=True)
        labels = as_labels(y)
        check_consistent_length(X, labels)
        missing = is_missing(labels, self.missing_label)
        if missing.all():
            raise ValueError(
                f"No row is labeled: all {len(labels)} values of y mark a missing label "
                f"(missing_label={self.missing_label!r}). Label some rows first."
            )
        if not missing.any():
            self._fit_checked(X, check_labels(labels), X)
            return self
        rows = np.flatnonzero(~missing)
        pool = take_rows(X, np.flatnonzero(missing))
        self._fit_checked(take_rows(X, rows), check_labels(labels[rows]), pool)
        return self

    @_fit_context(prefer_skip_nested_validation=False)
    def fit_pool(self, X_labeled: Any, y_labeled: ArrayLike, X_pool: Any = None) -> Self:
        """Fit on labeled rows and a pool that stay apart; a large pool is not copied.

        Parameters
        ----------
        X_labeled : array-like of shape (n_labeled, ...)
            Labeled rows.
        y_labeled : array-like of shape (n_labeled,)
            Their labels, none missing.
        X_pool : array-like of shape (n_pool, ...), torch Dataset or None
            Unlabeled rows; None: the labeled rows serve as the pool.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If there are no labeled rows, the pool is empty, or rows are not finite.
        """
        self._fit_apart(X_labeled, y_labeled, X_pool)
        return self

    def _fit_apart(self, X_labeled: Any, y_labeled: ArrayLike, X_pool: Any) -> tuple[Any, Any]:
        """The pool as it was checked, and what was prepared for it."""
        self._forget()
        X_labeled = self._check_rows(X_labeled, reset=True)
        labels = check_labels(y_labeled, "y_labeled")
        check_consistent_length(X_labeled, labels)
        X_pool = X_labeled if X_pool is None else self._check_pool(X_pool)
        return X_pool, self._fit_checked(X_labeled, labels, X_pool)

    def _forget(self) -> None:
        """Count as unfitted: if a fit fails, what is left belongs to two fits."""
        self.__dict__.pop("_n_features_out", None)

    def _fit_checked(self, X_labeled: Any, labels: np.ndarray, X_pool: Any) -> Any:
        self._seed = draw_seed(self.random_state)
        self._resolve_estimator(X_labeled, labels)
        prepared = self._fit_pool(X_labeled, encode(labels, self.classes_), X_pool)
        self._n_features_out = 1
        return prepared

    def _resolve_estimator(self, X_labeled: Any, labels: np.ndarray) -> None:
        estimator = self.estimator
        if estimator is None:
            if not self._uses_estimator:
                self.estimator_: Any = None
                self.classes_ = resolve_classes(self.classes, labels)
                return
            estimator = self._default_estimator()
        known = []
        fitted = is_fitted(estimator)
        if fitted and not is_skorch(estimator):
            known.append(np.asarray(estimator.classes_))
        elif fitted:
            check_order_of_outputs(self.classes)
        self.classes_ = resolve_classes(self.classes, labels, *known)
        self._check_needs(estimator)
        if not fitted:
            seed = derive_seed(self._seed, "estimator")
            estimator = fit_classifier(estimator, X_labeled, labels, self.classes_, seed)
        self.estimator_ = estimator
        self._view = ClassifierView(estimator, self.classes_)

    def _default_estimator(self) -> Any:
        """The unfitted classifier that ``estimator=None`` stands for."""
        return DeepClassifier()

    def _check_needs(self, estimator: Any) -> None:
        """Refuse a classifier or options that cannot work, before anything is trained."""
        needs = (self._needs,) if isinstance(self._needs, str) else self._needs
        if needs and not any(hasattr(estimator, name) for name in needs):
            raise ValueError(
                f"{type(self).__name__} needs a classifier with {' or '.join(needs)}, which "
                f"{type(estimator).__name__} does not have. Use one that has, or wrap it in "
                "sklearn.calibration.CalibratedClassifierCV."
            )

    def _fit_pool(self, X_labeled: Any, codes: np.ndarray, X_pool: Any) -> Any:
        """Learn what the scores need, and return what ``_select`` can use again, or None."""
        return None

    # -- scoring -------------------------------------------------------------------------

    def score_samples(self, X: Any) -> np.ndarray:
        """Scores of the rows: the higher, the sooner to be labeled.

        Parameters
        ----------
        X : array-like of shape (n, ...) or torch Dataset

        Returns
        -------
        ndarray of shape (n,), float64
        """
        check_is_fitted(self)
        return self._score(self._check_pool(X))

    def _score(self, X: Any) -> np.ndarray:
        raise NotImplementedError(f"{type(self).__name__} must implement _score(X).")

    def transform(self, X: Any) -> np.ndarray:
        """Scores as a column.

        Parameters
        ----------
        X : array-like of shape (n, ...) or torch Dataset

        Returns
        -------
        ndarray of shape (n, 1), float64
            See :meth:`score_samples`.
        """
        return self.score_samples(X)[:, None]

    def select(
        self, X_pool: Any, n: int, *, return_scores: bool = False
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Choose the rows of the pool to be labeled next.

        Parameters
        ----------
        X_pool : array-like of shape (n_pool, ...) or torch Dataset
            The pool.
        n : int
            How many rows, from 1 to n_pool.
        return_scores : bool, default=False
            Whether to return the scores of all rows as well.

        Returns
        -------
        positions : ndarray of shape (n,), int64
            Positions in the pool, no two alike, best first.
        scores : ndarray of shape (n_pool,), float64
            Only if ``return_scores``.

        Raises
        ------
        ValueError
            If the pool is empty or has fewer than n rows.
        TypeError
            If n is not an integer.
        """
        check_is_fitted(self)
        check_batch(n, X_pool)
        X_pool = self._check_pool(X_pool)
        positions, scores = self._select(X_pool, n, None)
        return (positions, scores) if return_scores else positions

    def _select(self, X: Any, n: int, prepared: Any) -> tuple[np.ndarray, np.ndarray]:
        """Positions of the n rows to label, by default those of the highest scores; scores."""
        scores = self._score(X)
        return top_positions(scores, n), scores

    def _pool_scores(self, X: Any, prepared: Any) -> np.ndarray:
        """Scores of the pool that was prepared, for a strategy around this one."""
        return self._select(X, 1, prepared)[1]

    def fit_select(
        self, X_labeled: Any, y_labeled: ArrayLike, X_pool: Any, n: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """``fit_pool`` and ``select`` on one pool, with the work they share done once.

        Parameters
        ----------
        X_labeled, y_labeled, X_pool
            As in :meth:`fit_pool`.
        n : int
            As in :meth:`select`.

        Returns
        -------
        positions : ndarray of shape (n,), int64
        scores : ndarray of shape (n_pool,), float64
        """
        self._validate_params()
        check_batch(n, X_pool)
        X_pool, prepared = self._fit_apart(X_labeled, y_labeled, X_pool)
        return self._select(X_pool, n, prepared)

    def score(self, X: Any, y: ArrayLike) -> float:
        """How well the scores find the classifier's mistakes on labeled rows.

        Parameters
        ----------
        X : array-like of shape (n, ...)
        y : array-like of shape (n,)
            Labels; rows with a missing label are left out. ``missing_label`` counts as a
            label if it is one of the classes.

        Returns
        -------
        float
            Area under the ROC curve of the scores against the mistakes of
            ``estimator_``, in [0, 1]; 0.5 where it is undefined because the classifier
            is right, or wrong, on all labeled rows, or there is no classifier.
        """
        check_is_fitted(self)
        X = self._check_pool(X)
        labels = as_labels(y)
        check_consistent_length(X, labels)
        # In a learner, and with classes=, what marks a missing label in fit may be a class.
        marker = None if is_class(self.missing_label, self.classes_) else self.missing_label
        rows = np.flatnonzero(~is_missing(labels, marker))
        if len(rows) == 0 or self.estimator_ is None:
            return 0.5
        X = take_rows(X, rows)
        predicted = self.classes_[self._view.predict_codes(X)]
        mistakes = predicted != check_labels(labels[rows])
        if mistakes.all() or not mistakes.any():
            return 0.5
        return float(roc_auc_score(mistakes, self._score(X)))

    # -- input and tags ------------------------------------------------------------------

    def _check_pool(self, X: Any) -> Any:
        if n_rows(X) == 0:
            raise ValueError(
                "The pool is empty: Found array with 0 sample(s) (n_samples=0) while a "
                "minimum of 1 is required."
            )
        return self._check_rows(X, reset=False)

    def _check_rows(self, X: Any, *, reset: bool) -> Any:
        """Check rows; a Pipeline checks its own input, a Dataset is read later."""
        if isinstance(X, Dataset):
            return X
        if is_lazy(X) or self._leaves_rows_to_estimator() or _has_words(X):
            # The width alone: the steps of a Pipeline decide on types and gaps, a classifier
            # on categories, and the rows of a lazy array are looked at when they are read.
            validate_data(self, X, reset=reset, skip_check_array=True)
            return X.tocsr() if sp.issparse(X) else X
        # float32 and float64 stay as they are: a memmap is checked, not copied.
        checked = validate_data(
            self,
            X,
            reset=reset,
            dtype="numeric",
            accept_sparse="csr" if self._accepts("sparse") else False,
            allow_nd=True,
            ensure_all_finite="allow-nan" if self._accepts("allow_nan") else True,
        )
        # A data frame stays one: a classifier fitted with names of columns wants them back.
        return X if hasattr(X, "columns") else checked

    def _leaves_rows_to_estimator(self) -> bool:
        """Whether the steps of a Pipeline are between the rows and all that looks at them."""
        if self.estimator is None or not validates_itself(self.estimator):
            return False
        # Of some wrappers, such as CalibratedClassifierCV, the features are the rows themselves.
        return not self._reads_features or bool(unwrap(self.estimator)[0])

    def _accepts(self, tag: str) -> bool:
        """Whether the classifier takes sparse rows ("sparse") or gaps ("allow_nan")."""
        if self.estimator is None:
            return tag == "sparse" and not self._uses_estimator
        if tag == "allow_nan" and self._reads_features and not self._leaves_rows_to_estimator():
            return False
        # Searches and other wrappers do not say that what is in them takes gaps.
        judges = (self.estimator, judge_of_rows(self.estimator))
        return any(getattr(get_tags(judge).input_tags, tag) for judge in judges)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = self._accepts("sparse")
        tags.input_tags.allow_nan = self._accepts("allow_nan")
        tags.target_tags.required = True
        tags.transformer_tags.preserves_dtype = []
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_n_features_out")


def _has_words(X: Any) -> bool:
    """Whether a data frame of pandas has columns that are no numbers."""
    if not (hasattr(X, "iloc") and hasattr(X, "columns")):
        return False
    from pandas.api.types import is_numeric_dtype  # here: whoever has no frames need not load it

    return not all(is_numeric_dtype(dtype) for dtype in X.dtypes)


def connect(selector: QuerySelector, estimator: Any, classes: np.ndarray, seed: int) -> Any:
    """Clone a selector and give it what it leaves open: classifier, classes and seed.

    Parameters
    ----------
    selector : QuerySelector
        Left as it is. What it has set itself is kept.
    estimator : fitted classifier
        Given to ``estimator``, if the selector has that parameter and it is None;
        likewise the classes and the seed.
    classes : ndarray of shape (n_classes,)
    seed : int

    Returns
    -------
    QuerySelector
        Unfitted.
    """
    check_instance("selector", selector)
    own = {"estimator": estimator, "classes": classes, "random_state": seed}
    params = selector.get_params(deep=False)
    missing = {name: value for name, value in own.items() if params.get(name, "") is None}
    return clone(selector).set_params(**missing)


def connect_inner(
    selector: QuerySelector, estimator: Any, classes: Any, seed: int, *, widen: bool
) -> QuerySelector:
    """As :func:`connect`, for a selector inside another: a fitted classifier stays fitted.

    ``widen``: it may know classes that no label has, where nobody has said which there are.
    """
    inner: QuerySelector = connect(selector, estimator, classes, seed)
    inner._validate_params()
    name, own = _given_estimator(selector)
    if own is None:
        return inner
    # The clone that connect made is unfitted, and would be fitted again.
    inner.set_params(**{name: own})
    left_open = widen and classes is not None and selector.classes is None
    if left_open and is_fitted(own) and not is_skorch(own):
        inner.set_params(classes=resolve_classes(None, classes, np.asarray(own.classes_)))
    return inner


def _given_estimator(selector: Any) -> tuple[str, Any]:
    """The estimator given to a selector, or else to the one inside it: parameter and value."""
    name = "estimator"
    while getattr(selector, "estimator", None) is None and hasattr(selector, "selector"):
        selector, name = selector.selector, f"selector__{name}"
    return name, getattr(selector, "estimator", None)


def top_positions(scores: np.ndarray, n: int) -> np.ndarray:
    """Positions (int64) of the n highest scores, best first, ties by position."""
    if np.isnan(scores).any():
        raise ValueError(f"{np.isnan(scores).sum()} scores are NaN; expected numbers.")
    return np.argsort(-scores, kind="stable")[:n].astype(np.int64)


def check_batch(n: Any, X_pool: Any) -> None:
    """Raise unless n rows can be chosen from the pool."""
    if isinstance(n, bool) or not isinstance(n, int | np.integer):
        raise TypeError(f"n must be an integer, got {n!r} of type {type(n).__name__}.")
    size = n_rows(X_pool)
    if size == 0:
        raise ValueError(f"The pool is empty: n={n} rows were asked for, n_pool=0.")
    if not 1 <= n <= size:
        raise ValueError(
            f"n={n} rows were asked for from a pool of n_pool={size}; expected 1 <= n <= {size}."
        )
