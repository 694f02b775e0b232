"""One view of every classifier: scikit-learn estimator, skorch net, or Pipeline around one.

A skorch net knows codes 0..K-1 and float32 inputs, a scikit-learn classifier the labels
themselves. Here both answer in codes of one list of classes.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.base import MetaEstimatorMixin, clone
from sklearn.ensemble import BaseEnsemble, HistGradientBoostingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection._search import BaseSearchCV
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted
from skorch import NeuralNet, NeuralNetBinaryClassifier, NeuralNetRegressor
from skorch.dataset import Dataset as SkorchDataset

from skvaball.utils.labels import encode
from skvaball.utils.random import isolated_generators, set_random_states
from skvaball.utils.rows import iter_chunks, take_rows, to_array
from skvaball.utils.state import interruptible

#: Rows given to a classifier at once when nothing asks for less.
CHUNK_ROWS = 4096
#: How far the probabilities of a row may sum from one: room for half precision.
SUM_TOLERANCE = 1e-2


def nested(estimator: Any, *, through_meta: bool = False) -> Iterator[Any]:
    """An estimator and all that is in it, from the outside in.

    Pipelines (imbalanced-learn's too), frozen estimators, search objects and learners are
    opened, however they are nested.

    Parameters
    ----------
    estimator : estimator
        Fitted or not.
    through_meta : bool, default=False
        Whether to open what predicts otherwise than what is in it as well, such as a
        calibration. Not ensembles, which train many.

    Yields
    ------
    estimators
    """
    yield estimator
    while (estimator := _inside(estimator, through_meta=through_meta)) is not None:
        yield estimator


def _inside(estimator: Any, *, through_meta: bool) -> Any:
    """What is directly inside a wrapper, fitted if the wrapper is; None of what wraps nothing."""
    if isinstance(estimator, Pipeline):
        return estimator.steps[-1][1]
    if isinstance(estimator, FrozenEstimator):  # first: it hands every attribute on
        return estimator.estimator
    if isinstance(estimator, BaseSearchCV):
        return getattr(estimator, "best_estimator_", estimator.estimator)
    if hasattr(estimator, "wrapped_classifier"):  # a fitted learner or simulator
        return estimator.wrapped_classifier
    is_meta = isinstance(estimator, MetaEstimatorMixin) and not isinstance(estimator, BaseEnsemble)
    if through_meta and is_meta:
        return getattr(estimator, "estimator", getattr(estimator, "learner", None))
    return None


def unwrap(estimator: Any) -> tuple[list[Any], Any]:
    """Split an estimator into the transformers in front and the classifier at the end.

    Parameters
    ----------
    estimator : estimator
        Fitted or not; see :func:`nested` for what is opened.

    Returns
    -------
    transformers : list of estimators
        Without samplers, which act in training only.
    classifier : estimator
    """
    parts = list(nested(estimator))
    steps = [step for part in parts if isinstance(part, Pipeline) for _, step in part.steps[:-1]]
    kept = [s for s in steps if s not in (None, "passthrough") and not hasattr(s, "fit_resample")]
    return kept, parts[-1]


def is_skorch(estimator: Any) -> bool:
    """Whether the classifier at the end is a skorch net, which needs codes and float32."""
    return isinstance(unwrap(estimator)[1], NeuralNet)


def judge_of_rows(estimator: Any) -> Any:
    """What decides which rows are good input: a Pipeline, or the classifier itself."""
    parts = list(nested(estimator, through_meta=True))
    return next((part for part in parts if isinstance(part, Pipeline)), parts[-1])


def validates_itself(estimator: Any) -> bool:
    """Whether the estimator's own steps decide what input is good (text, missing values...)."""
    return isinstance(judge_of_rows(estimator), Pipeline)


def check_instance(parameter: str, value: Any) -> None:
    """Raise a TypeError for a class that was passed in place of an instance."""
    if isinstance(value, type):
        name = value.__name__
        raise TypeError(f"{parameter}={name} is a class; pass an instance: {name}().")


def check_classifier(estimator: Any) -> None:
    """Raise a TypeError for a class, and for what says that it is no classifier."""
    check_instance("estimator", estimator)
    last = unwrap(estimator)[1]
    if isinstance(last, NeuralNet) and not isinstance(last, NeuralNetRegressor):
        return  # a net of skorch's that does not say what it is
    if not hasattr(estimator, "__sklearn_tags__"):
        return
    kind = get_tags(estimator).estimator_type
    if kind not in (None, "classifier"):
        raise TypeError(f"{type(estimator).__name__} is a {kind}; expected a classifier.")


def is_fitted(estimator: Any) -> bool:
    """Whether an estimator can predict as it is."""
    if isinstance(estimator, BaseSearchCV) and not hasattr(estimator, "best_estimator_"):
        return False  # also around a net that is trained already
    transformers, classifier = unwrap(estimator)
    if isinstance(classifier, NeuralNet) and not transformers:
        return bool(getattr(classifier, "initialized_", False)) and len(classifier.history) > 0
    try:
        check_is_fitted(estimator)
    except NotFittedError:
        return False
    return True


def is_frozen(estimator: Any) -> bool:
    """Whether clones of a classifier cannot be trained anew."""
    return any(isinstance(part, FrozenEstimator) for part in nested(estimator, through_meta=True))


def device_of(estimator: Any) -> str:
    """The device whose generator an estimator draws from."""
    classifier = unwrap(estimator)[1]
    return str(getattr(classifier, "device", None) or "cpu")


def guarded(estimator: Any, seed: int) -> AbstractContextManager[None]:
    """Isolate the global generators around a call of an estimator.

    An estimator that isolates its own calls (:class:`~skvaball.networks.DeepClassifier`)
    is left to it, however deep it is nested: a meta-estimator may run it in threads, and
    they would wait for the lock that this thread holds.
    """
    parts = [estimator, unwrap(estimator)[1], *estimator.get_params(deep=True).values()]
    if any(getattr(part, "isolates_generators", False) for part in parts):
        return nullcontext()
    return isolated_generators(seed, device_of(estimator))


def in_double(X: Any) -> Any:
    """Input of a step in front of a classifier: what is float32 becomes float64.

    A product of float32 matrices rounds a row by its place in the batch; in float64 that
    is lost when the features become float32.
    """
    if hasattr(X, "iloc") and hasattr(X, "columns"):  # a Series of texts has no columns
        narrow = X.columns[X.dtypes == np.float32]
        return X.astype(dict.fromkeys(narrow, np.float64)) if len(narrow) else X
    if type(X).__module__.startswith("polars"):
        import polars as pl

        return X.cast({pl.Float32: pl.Float64})
    return X.astype(np.float64) if getattr(X, "dtype", None) == np.float32 else X


def network_array(X: Any) -> np.ndarray:
    """Input of a skorch net: a float32 array; float64, integers and data frames are converted."""
    X = X.toarray() if sp.issparse(X) else X
    return np.ascontiguousarray(X, dtype=np.float32)


def _hands_on(estimator: Any) -> bool:
    """Whether an estimator only passes on what another one predicts."""
    return isinstance(estimator, FrozenEstimator) or hasattr(estimator, "wrapped_classifier")


class ClassifierView:
    """Predictions of a fitted classifier in the codes of one list of classes.

    Parameters
    ----------
    estimator : fitted classifier
        A scikit-learn classifier, a skorch net, or either inside a Pipeline.
    classes : ndarray of shape (n_classes,)
        All classes, sorted; the classifier may know fewer.
    """

    def __init__(self, estimator: Any, classes: np.ndarray) -> None:
        # Not a learner or a FrozenEstimator, which hand on what is said by what is in them.
        self.estimator = next(part for part in nested(estimator) if not _hands_on(part))
        self.classes = classes
        self.transformers, self.classifier = unwrap(estimator)

    @property
    def has_probabilities(self) -> bool:
        """Whether the classifier gives probabilities."""
        return isinstance(self.classifier, NeuralNet) or hasattr(self.estimator, "predict_proba")

    def columns(self, n_columns: int) -> np.ndarray:
        """Codes of the columns of the classifier's probabilities.

        Raises
        ------
        ValueError
            If the number of columns is not the number of classes known.
        """
        if isinstance(self.classifier, NeuralNet):
            known = self.classes
        else:
            known = np.asarray(self.estimator.classes_)
        if n_columns != len(known):
            raise ValueError(
                f"The classifier returns {n_columns} columns of probabilities, but "
                f"{len(known)} classes are known: {known.tolist()}. Pass all "
                "classes as `classes=`; column k must be that of the k-th in sorted order."
            )
        return encode(known, self.classes)

    def predict_codes(self, X: Any) -> np.ndarray:
        """Codes (int64) of the predicted classes, shape (n,)."""
        if isinstance(self.classifier, NeuralNet):
            codes: np.ndarray = self.predict_proba(X).argmax(axis=1)
            return codes
        return self._in_chunks(
            X, lambda chunk: encode(self.estimator.predict(chunk), self.classes)
        ).astype(np.int64)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities (float64) of all classes, shape (n, n_classes); 0 for unknown ones.

        Raises
        ------
        ValueError
            If the columns do not fit the classes, or rows do not sum to one.
        """
        return self.map_probabilities(lambda probabilities: probabilities, X)

    def map_probabilities(self, function: Callable[[np.ndarray], np.ndarray], X: Any) -> np.ndarray:
        """What a function of probabilities, (n, n_classes), says of each row, chunk by chunk."""

        def expand(chunk: Any) -> np.ndarray:
            probabilities = self._raw_probabilities(chunk).astype(np.float64)
            check_probabilities(probabilities)
            full = np.zeros((len(probabilities), len(self.classes)))
            full[:, self.columns(probabilities.shape[1])] = probabilities
            return function(full)

        return self._in_chunks(X, expand)

    def decision_function(self, X: Any) -> np.ndarray:
        """What the classifier returns, shape (n,) or (n, n_columns)."""
        return self._in_chunks(X, lambda chunk: np.asarray(self.estimator.decision_function(chunk)))

    def class_decisions(self, X: Any) -> np.ndarray:
        """Decision values of the known classes, shape (n,) for two, else (n, n_known).

        Raises
        ------
        ValueError
            If the values are those of pairs of classes.
        """
        values = self.decision_function(X)
        check_class_decisions(self.estimator, values)
        return values

    def _in_chunks(self, X: Any, function: Any) -> np.ndarray:
        # The generators are isolated because DataLoaders draw from them even to predict.
        with guarded(self.estimator, 0):
            return np.concatenate([function(chunk) for chunk, _ in iter_chunks(X, CHUNK_ROWS)])

    def through_steps(self, X: Any) -> Any:
        """Rows as the classifier at the end sees them, through all steps in front of it."""
        for transformer in self.transformers:
            X = transformer.transform(in_double(X))
        return X

    def network_input(self, X: Any) -> np.ndarray:
        """Input of the network at the end, float32."""
        prepare = getattr(self.classifier, "network_input", network_array)
        return np.asarray(prepare(self.through_steps(X)))

    def _raw_probabilities(self, X: Any) -> np.ndarray:
        if isinstance(self.classifier, NeuralNet):
            # Not through a Pipeline: a scaler in it may hand float64 to the float32 net.
            return np.asarray(self.classifier.predict_proba(self.network_input(X)))
        return np.asarray(self.estimator.predict_proba(X))

    def count_outputs(self, X: Any) -> int:
        """Number of columns of probabilities that the classifier returns."""
        with guarded(self.estimator, 0):
            return int(self._raw_probabilities(to_array(take_rows(X, np.arange(1)))).shape[1])


def has_class_decisions(estimator: Any, n_values: int) -> bool:
    """Whether a classifier has a decision value for each class, not for each pair of them."""
    pairs = getattr(unwrap(estimator)[1], "decision_function_shape", None) == "ovo"
    n_known = len(estimator.classes_)
    return bool(n_values == n_known and not (pairs and n_known > 2))


def check_class_decisions(estimator: Any, values: np.ndarray) -> None:
    """Raise unless there is a decision value for each class; of two or one, a single one."""
    n_known = len(estimator.classes_)
    n_values = min(2, n_known) if values.ndim == 1 else values.shape[1]
    if not has_class_decisions(estimator, n_values):
        raise ValueError(
            f"decision_function of {type(unwrap(estimator)[1]).__name__} returns {n_values} "
            f"values for {n_known} classes, which are not one for each class. Of an SVC, use "
            "decision_function_shape='ovr'."
        )


def check_probabilities(probabilities: np.ndarray) -> None:
    """Raise unless every row is a finite probability distribution."""
    if not np.all(np.isfinite(probabilities)):
        raise ValueError(
            "The classifier's probabilities contain NaN or infinity. "
            "Check its training: a smaller learning rate or scaled inputs often help."
        )
    sums = probabilities.sum(axis=1)
    worst = np.max(np.abs(sums - 1.0), initial=0.0)
    if worst > SUM_TOLERANCE or np.min(probabilities, initial=0.0) < -SUM_TOLERANCE:
        raise ValueError(
            "predict_proba does not return probabilities: rows sum to "
            f"{sums.min():.3g} .. {sums.max():.3g}, expected 1. A skorch net whose module "
            "returns logits needs criterion=torch.nn.CrossEntropyLoss."
        )


def fit_classifier(
    estimator: Any, X: Any, y: np.ndarray, classes: np.ndarray, seed: int, *, warm: bool = False
) -> Any:
    """Fit a clone of a classifier, or continue the training of a copy.

    Parameters
    ----------
    estimator : classifier
        Left as it is.
    X, y : rows and their labels
    classes : ndarray of shape (n_classes,)
        All classes, sorted; a skorch net is trained on their codes.
    seed : int
        Seeds every nested ``random_state`` that is None and the global generators.
    warm : bool, default=False
        Continue from the fitted estimator where it can.

    Returns
    -------
    The fitted classifier.
    """
    warm = warm and can_continue(estimator)
    model = copy.deepcopy(estimator) if warm else clone(estimator)
    model = set_random_states(model, seed)
    X = to_array(X)
    with guarded(model, seed), interruptible():
        if is_skorch(model):
            y = encode(y, classes)
            if isinstance(unwrap(model)[1], NeuralNetBinaryClassifier):
                y = y.astype(np.float32)
            _fit_around_net(model, X, y, classes, warm)
        else:
            if warm:
                model.set_params(warm_start=True)
            model.fit(X, y)
    return model


def _fit_around_net(model: Any, X: Any, y: np.ndarray, classes: np.ndarray, warm: bool) -> None:
    """Fit a skorch net or whatever is wrapped around one.

    A Pipeline is fitted step by step, as it would do itself, so that the net can be
    checked, and given float32, after the steps in front of it.
    """
    if isinstance(model, Pipeline):
        X = in_double(X)
        for _, step in model.steps[:-1]:
            if step in (None, "passthrough"):
                continue
            if hasattr(step, "fit_resample"):
                X, y = step.fit_resample(X, y)
            elif hasattr(step, "fit_transform"):
                X = step.fit_transform(X, y)
            else:  # a frozen step
                X = step.fit(X, y).transform(X)
        _fit_around_net(model.steps[-1][1], X, y, classes, warm)
    elif isinstance(model, NeuralNet):
        X = network_array(X)
        n_train = _check_net(model, X, y, classes)
        fit = model.partial_fit if warm else model.fit
        with _no_batch_of_one(model, n_train):
            fit(X, y)
    else:  # a search: it clones what it wraps, and sees to it itself
        transformers, net = unwrap(model)
        if isinstance(model, BaseSearchCV) and net.dataset is SkorchDataset:
            net.set_params(dataset=_Float32Dataset)
        model.fit(X if transformers else network_array(X), y)


class _Float32Dataset(SkorchDataset):
    """Rows as float32, whatever the steps in front of a net in a search made of them."""

    def __init__(self, X: Any, y: Any = None, length: int | None = None) -> None:
        rows = isinstance(X, np.ndarray) or sp.issparse(X)
        super().__init__(network_array(X) if rows else X, y, length)


def can_continue(estimator: Any) -> bool:
    """Whether an estimator can go on training: a skorch net, or one with ``warm_start``.

    Ensembles understand it differently: they keep their members and add new ones only if
    ``n_estimators`` has grown, and would not see the new labels.
    """
    if isinstance(estimator, BaseEnsemble | HistGradientBoostingClassifier):
        return False
    return isinstance(estimator, NeuralNet) or "warm_start" in estimator.get_params(deep=False)


def _check_net(net: NeuralNet, X: np.ndarray, y: np.ndarray, classes: np.ndarray) -> int:
    """Find out before the training what would go wrong after it; the number of its rows."""
    # Isolated once more: the net shall start from the seed as if nothing had been tried.
    with isolated_generators(0, device_of(net)):
        probe = clone(net).set_params(verbose=0).initialize()
        n_train = len(probe.get_split_datasets(X, y)[0])
        try:
            probabilities = np.asarray(probe.predict_proba(X[:2]))
        except RuntimeError:
            pass  # the shapes of some modules are set by a callback when training begins
        else:
            check_probabilities(probabilities)
            ClassifierView(net, classes).columns(probabilities.shape[1])
    return n_train


@contextmanager
def _no_batch_of_one(net: NeuralNet, n_train: int) -> Iterator[None]:
    """Train with a batch size that leaves no last batch of one row: BatchNorm cannot use it."""
    given = net.get_params_for("iterator_train").get("batch_size", net.batch_size)
    batch_size = given
    while 1 < batch_size < n_train and n_train % batch_size == 1:
        batch_size += 1
    if batch_size == given:
        yield
        return
    own = vars(net).get("iterator_train__batch_size")
    # Not by set_params, which refuses it for a net that is trained already.
    net.iterator_train__batch_size = batch_size
    try:
        yield
    finally:  # the next training, of other rows, begins with what the user has set
        if own is None:
            del net.iterator_train__batch_size
        else:
            net.iterator_train__batch_size = own
