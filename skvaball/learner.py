"""The active learner: a classifier that says which rows it wants labeled next."""

import os
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, _fit_context
from sklearn.utils import Tags, check_consistent_length, get_tags
from sklearn.utils._param_validation import HasMethods
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data
from torch.utils.data import Dataset

from skvaball.networks import DeepClassifier
from skvaball.selectors.base import QuerySelector, check_batch, connect
from skvaball.utils.classifiers import (
    ClassifierView,
    can_continue,
    check_class_decisions,
    check_classifier,
    check_instance,
    fit_classifier,
    guarded,
    is_frozen,
    is_skorch,
    validates_itself,
)
from skvaball.utils.labels import (
    as_labels,
    check_labels,
    check_order_of_outputs,
    is_missing,
    resolve_classes,
)
from skvaball.utils.random import derive_seed, draw_seed
from skvaball.utils.rows import as_rows, concat_rows, is_lazy, take_rows, to_array
from skvaball.utils.state import unchanged_on_error
from skvaball.vab import VaBQuerySelector


def _estimator_has(method: str) -> Any:
    def check(self: "ActiveLearner") -> bool:
        return hasattr(getattr(self, "estimator_", self._template()), method)

    return check


class ActiveLearner(MetaEstimatorMixin, ClassifierMixin, BaseEstimator):
    """Classifier that asks for the labels it needs most.

    ``fit`` on the first labels, ``query`` for the rows of a pool to be labeled next,
    ``teach`` their labels, and so on while the budget lasts.

    Parameters
    ----------
    estimator : classifier or None, default=None
        Any scikit-learn classifier, skorch net, or Pipeline around one (with samplers
        of imbalanced-learn inside, if you like). It is cloned. None:
        :class:`~skvaball.networks.DeepClassifier`.
    selector : QuerySelector or None, default=None
        The query strategy; where its ``estimator``, ``classes`` or ``random_state`` is
        None it is given the learner's. None: :class:`~skvaball.vab.VaBQuerySelector`. With
        a ``random_state`` of its own it begins every query with that; an ``estimator`` of
        its own is fitted anew for each query, unless it is in a
        :class:`~sklearn.frozen.FrozenEstimator`.
    classes : array-like of shape (n_classes,) or None, default=None
        All classes, if some may be missing from the labeled rows. A skorch net with an
        output for each of them needs it then.
    missing_label : object, default=None
        A label that means "not labeled" and is refused by ``fit`` and ``teach``, as NaN
        and None always are. By default any other value, -1 too, is a class.
    warm_start : bool, default=False
        Whether ``teach`` continues the training (of skorch nets, and of estimators with a
        ``warm_start`` parameter that are no ensembles) instead of starting anew, with the
        parameters of the last ``fit``. Ensembles, Pipelines and searches start anew, and all
        do when a new class comes. Starting anew is the paper's protocol, and makes
        ``fit(A).teach(B)`` equal to ``fit(A + B)``.
    random_state : int, RandomState instance or None, default=None
        Seed of all nested parts that have none of their own. For those, each query draws
        anew.

    Attributes
    ----------
    estimator_ : classifier
        The fitted classifier. A skorch net is trained on codes, the positions of the
        labels in ``classes_``, and on float32 rows.
    selector_ : QuerySelector
        The fitted selector of the last query.
    classes_ : ndarray of shape (n_classes,)
        The classes, sorted.
    X_labeled_ : rows of the type of X
        All labeled rows so far.
    y_labeled_ : ndarray of shape (n_labeled,)
        Their labels.
    n_queries_ : int
        Queries answered so far.
    n_features_in_ : int
        Number of features seen in fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if X had any.

    See Also
    --------
    skvaball.ActiveLearningSimulator : Plays the annotator on labeled data.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skvaball import ActiveLearner
    >>> from skvaball.selectors import MarginSelector
    >>> X, y = load_digits(return_X_y=True)
    >>> learner = ActiveLearner(LogisticRegression(max_iter=500), MarginSelector())
    >>> learner = learner.fit(X[:50], y[:50])
    >>> idx = learner.query(X[50:1000], 20)
    >>> learner = learner.teach(X[50:1000][idx], y[50:1000][idx])
    >>> len(learner.y_labeled_)
    70
    """

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012 (scikit-learn's convention)
        "estimator": [HasMethods(["fit", "predict"]), None],
        "selector": [HasMethods(["fit_select"]), None],
        "classes": ["array-like", None],
        "missing_label": "no_validation",
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: Any = None,
        selector: QuerySelector | None = None,
        *,
        classes: ArrayLike | None = None,
        missing_label: Any = None,
        warm_start: bool = False,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.estimator = estimator
        self.selector = selector
        self.classes = classes
        self.missing_label = missing_label
        self.warm_start = warm_start
        self.random_state = random_state

    # -- labels in -----------------------------------------------------------------------

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: ArrayLike) -> Self:
        """Fit the classifier on the first labeled rows, forgetting earlier ones.

        If anything fails or is interrupted, the learner is as it was before.

        Parameters
        ----------
        X : array-like of shape (n, ...)
            Labeled rows, in whatever form the classifier takes them.
        y : array-like of shape (n,)
            Their labels, none missing.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If labels are missing, of mixed type or not among ``classes``, or the
            classifier refuses the rows.
        TypeError
            If ``estimator`` is no classifier, or it or ``selector`` is a class.
        """
        self._check_parts()
        with unchanged_on_error(self):
            X = self._check_rows(to_array(X), reset=True)
            labels = self._check_labels(y)
            check_consistent_length(X, labels)
            classes = resolve_classes(self.classes, labels)
            template = self._template()
            if is_frozen(template) and is_skorch(template):
                check_order_of_outputs(self.classes)
            seed = draw_seed(self.random_state)
            estimator = self._train(template, X, labels, classes, seed)
            self.estimator_ = estimator
            self.classes_ = classes
            self.X_labeled_ = take_rows(X, np.arange(len(labels)))
            self.y_labeled_ = labels.copy()
            self.n_queries_ = 0
            self.__dict__.pop("selector_", None)  # of the rows before
            self._seed = seed
        return self

    def _check_parts(self) -> None:
        """Find out now what would fail in the first query."""
        check_instance("selector", self.selector)
        check_classifier(self.estimator)

    def teach(self, X: Any, y: ArrayLike, *, refit: bool = True) -> Self:
        """Add labeled rows and refit. If that fails or is interrupted, nothing has changed.

        Parameters
        ----------
        X : array-like of shape (n, ...)
            The new rows.
        y : array-like of shape (n,)
            Their labels, none missing.
        refit : bool, default=True
            Whether to refit the classifier. Otherwise the labels are kept for the next
            query and the next refit, and the classifier stays as it is.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If labels are missing, of mixed type or not among ``classes``, the rows
            differ from those of ``fit``, the classifier refuses them, or, with
            ``refit=False``, a label is new to a skorch net.
        """
        check_is_fitted(self)
        X = self._check_rows(to_array(X), reset=False)
        labels = self._check_labels(y)
        check_consistent_length(X, labels)
        # Both through the class check: numbers must not turn into strings unnoticed.
        classes = resolve_classes(self.classes, self.y_labeled_, labels)
        all_X = concat_rows(self.X_labeled_, X)
        all_y = np.concatenate([self.y_labeled_, labels])
        with unchanged_on_error(self):
            if refit:
                warm = self._may_continue(classes, all_y)
                template = self.estimator_ if warm else self._template()
                self.estimator_ = self._train(
                    template, all_X, all_y, classes, self._seed, warm=warm
                )
                self.classes_ = classes
            else:
                self._check_without_refit(X, labels)
            self.X_labeled_, self.y_labeled_ = all_X, all_y
        return self

    def _may_continue(self, classes: np.ndarray, all_labels: np.ndarray) -> bool:
        """Whether to continue the training: asked for, and the classes are the same."""
        if not self.warm_start or not np.array_equal(classes, self.classes_):
            return False
        if not can_continue(self.estimator_) or type(self.estimator_) is not type(self._template()):
            return False
        # A skorch net has an output for every class; others know those they were fitted with.
        return is_skorch(self.estimator_) or np.array_equal(
            self.estimator_.classes_, np.unique(all_labels)
        )

    def _check_without_refit(self, X: Any, labels: np.ndarray) -> None:
        """Find out now what would fail in the next query or refit."""
        if is_skorch(self.estimator_) and not np.isin(labels, self.classes_).all():
            raise ValueError(
                f"Labels {np.setdiff1d(labels, self.classes_).tolist()} are new to the network, "
                "which refit=False leaves as it is. Use refit=True, or pass all classes to the "
                "learner as `classes=`."
            )
        self.predict(X)  # the classifier says whether it can read the rows

    def _template(self) -> Any:
        return DeepClassifier() if self.estimator is None else self.estimator

    def _train(
        self,
        estimator: Any,
        X: Any,
        labels: np.ndarray,
        classes: np.ndarray,
        seed: int,
        *,
        warm: bool = False,
    ) -> Any:
        model = fit_classifier(
            estimator, X, labels, classes, derive_seed(seed, "estimator"), warm=warm
        )
        if is_skorch(model):
            # A network with too few outputs, or none that are probabilities, ends here.
            ClassifierView(model, classes).predict_proba(take_rows(X, np.arange(1)))
        return model

    def _check_labels(self, y: ArrayLike) -> np.ndarray:
        if y is None:
            raise ValueError(
                "ActiveLearner requires y to be passed, but the target y is None. "
                "Unlabeled rows belong into query(X_pool, n)."
            )
        missing = is_missing(as_labels(y), self.missing_label)
        if missing.any():
            raise ValueError(
                f"y has {missing.sum()} missing labels among {len(missing)}; expected labeled "
                "rows only. Unlabeled rows belong into query(X_pool, n)."
            )
        return check_labels(y)

    def _check_rows(self, X: Any, *, reset: bool) -> Any:
        """Check the width of rows; what else is good input, the classifier decides."""
        pipeline = validates_itself(self._template())
        X = as_rows(X, allow_1d=pipeline)
        if is_skorch(self._template()) and not pipeline and not is_lazy(X):
            # skorch itself would train on NaN without a word.
            return validate_data(self, X, reset=reset, dtype="numeric", allow_nd=True)
        validate_data(self, X, reset=reset, skip_check_array=True)
        return X

    # -- queries out ---------------------------------------------------------------------

    def query(
        self, X_pool: Any, n: int, *, return_scores: bool = False
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Choose the rows of a pool to be labeled next.

        Parameters
        ----------
        X_pool : array-like of shape (n_pool, ...) or torch Dataset
            Unlabeled rows. An array of Dask, Zarr or HDF5 is read block by block.
        n : int
            How many to choose, from 1 to n_pool.
        return_scores : bool, default=False
            Whether to return the scores of all rows of the pool as well.

        Returns
        -------
        positions : ndarray of shape (n,), int64
            Positions in the pool, no two alike, best first.
        scores : ndarray of shape (n_pool,), float64
            Only if ``return_scores``: the higher, the sooner to be labeled.

        Raises
        ------
        ValueError
            If the pool is empty, has fewer than n rows, or other columns than in fit, or
            ``selector`` is no strategy.
        TypeError
            If n is not an integer, or ``selector`` is a class.
        """
        check_is_fitted(self)
        self._validate_params()  # the selector may have been replaced since fit
        check_batch(n, X_pool)
        if not isinstance(X_pool, Dataset):
            X_pool = self._check_rows(X_pool, reset=False)
        selector = self._query_selector()
        positions, scores = selector.fit_select(self.X_labeled_, self.y_labeled_, X_pool, n)
        self.selector_ = selector
        self.n_queries_ += 1
        return (positions, scores) if return_scores else positions

    def _query_selector(self) -> Any:
        """A fresh selector that looks at the learner's classifier, classes and seed."""
        template = VaBQuerySelector() if self.selector is None else self.selector
        classes = np.union1d(self.classes_, self.y_labeled_)
        seed = derive_seed(self._seed, "query", self.n_queries_)
        return connect(template, self.estimator_, classes, seed)

    # -- predictions ---------------------------------------------------------------------

    def _view(self) -> ClassifierView:
        check_is_fitted(self)
        return ClassifierView(self.estimator_, self.classes_)

    @property
    def wrapped_classifier(self) -> Any:
        """The fitted classifier, for whoever wants its layers."""
        return self.estimator_

    def predict(self, X: Any) -> np.ndarray:
        """Predicted labels.

        Parameters
        ----------
        X : array-like of shape (n, ...)

        Returns
        -------
        ndarray of shape (n,)
        """
        view = self._view()
        X = self._check_rows(X, reset=False)
        if is_skorch(self.estimator_) or is_lazy(X):
            labels: np.ndarray = self.classes_[view.predict_codes(X)]
            return labels
        with guarded(self.estimator_, 0):
            return np.asarray(self.estimator_.predict(X))

    @available_if(_estimator_has("predict_proba"))
    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of the classes.

        Parameters
        ----------
        X : array-like of shape (n, ...)

        Returns
        -------
        ndarray of shape (n, n_classes), float64
            In the order of ``classes_``; 0 for a class without any label so far.
        """
        view = self._view()
        return view.predict_proba(self._check_rows(X, reset=False))

    @available_if(_estimator_has("decision_function"))
    def decision_function(self, X: Any) -> np.ndarray:
        """Decision values of the classifier.

        Parameters
        ----------
        X : array-like of shape (n, ...)

        Returns
        -------
        ndarray of shape (n,) for two classes, else (n, n_classes)
            In the order of ``classes_``; minus infinity for a class without any label
            so far. Where all classes have labels, what the classifier returns.

        Raises
        ------
        ValueError
            If a class has no label so far, and the values are not one for each class.
        """
        view = self._view()
        values = view.decision_function(self._check_rows(X, reset=False))
        # Those that the values are of: a learner inside this one may have announced more.
        known = np.asarray(view.estimator.classes_)
        if len(known) == len(self.classes_):
            return values
        check_class_decisions(view.estimator, values)
        if values.ndim == 1:
            values = np.stack([-values, values][: len(known)], axis=1)
        full = np.full((len(values), len(self.classes_)), -np.inf)
        full[:, np.searchsorted(self.classes_, known)] = values
        return full if len(self.classes_) > 2 else full[:, 1] - full[:, 0]

    # -- files ---------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str], *, trusted: Sequence[str | type] = ()) -> None:
        """Write the learner, fitted or not, to a file that runs nothing when it is loaded.

        Needs ``pip install "skvaball[skops]"``. The file holds the labeled rows too.

        Parameters
        ----------
        path : str or path-like
            The file; one that is there is replaced once the new one is complete.
        trusted : sequence of str or type, default=()
            Classes and functions, or their full names, to be saved although they are not
            of scikit-learn, torch, skorch or this library. Say the same to :meth:`load`.

        Raises
        ------
        ValueError
            If a part cannot be saved safely, such as a class of your own: the error names
            it, and says what to do. Nothing is written then.
        ImportError
            If skops or safetensors is not installed.

        See Also
        --------
        pickle, joblib.dump : Save any learner, but run whatever is in the file on loading.

        Notes
        -----
        Folders of caches, ``memory`` of a Pipeline or selector, are not taken along: what is
        in them would be unpickled.

        Decision trees, and forests of them, have to be named as trusted
        (``"sklearn.tree._tree.Tree"``): altered ones could crash the process.

        Examples
        --------
        >>> import tempfile
        >>> from pathlib import Path
        >>> from sklearn.datasets import load_digits
        >>> from sklearn.linear_model import LogisticRegression
        >>> from skvaball import ActiveLearner
        >>> from skvaball.selectors import MarginSelector
        >>> X, y = load_digits(return_X_y=True)
        >>> learner = ActiveLearner(LogisticRegression(max_iter=500), MarginSelector())
        >>> learner = learner.fit(X[:50], y[:50])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     learner.save(Path(folder) / "digits.skvaball")
        ...     again = ActiveLearner.load(Path(folder) / "digits.skvaball")
        >>> bool((again.query(X[50:], 5) == learner.query(X[50:], 5)).all())
        True
        """
        from skvaball.saving import save_learner

        save_learner(self, path, trusted)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        trusted: Sequence[str | type] = (),
        device: str | None = None,
    ) -> Self:
        """Read a learner that :meth:`save` has written. Nothing in the file is run.

        Predictions and queries are those of the learner that was saved, on the same
        machine with the same versions.

        Parameters
        ----------
        path : str or path-like
            The file.
        trusted : sequence of str or type, default=()
            Classes and functions, or their full names, that the file may use beside
            those of scikit-learn, torch, skorch and this library. They are imported.
        device : str or None, default=None
            Where the networks are to live, such as "cpu". None: where they were.

        Returns
        -------
        ActiveLearner

        Raises
        ------
        skvaball.exceptions.SavedFileError
            If the file is damaged or altered, holds something else, or asks for a class or
            function that is not trusted. It is a ValueError.
        ImportError
            If skops or safetensors is not installed.
        """
        from skvaball.saving import load_learner

        learner: Self = load_learner(path, trusted, device)
        return learner

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "estimator_")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        nested = get_tags(self._template())
        tags.input_tags = nested.input_tags
        tags.classifier_tags = nested.classifier_tags or tags.classifier_tags
        return tags
