"""Deep features: what the layers of a fitted network say about a row."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from joblib import Memory
from joblib import hash as joblib_hash
from sklearn.exceptions import NotFittedError
from sklearn.utils import check_array
from sklearn.utils.validation import check_memory
from skorch import NeuralNet
from torch import nn

from skvaball.utils.classifiers import (
    CHUNK_ROWS,
    ClassifierView,
    check_probabilities,
    device_of,
    in_double,
    is_fitted,
    unwrap,
)
from skvaball.utils.parallel import map_rows
from skvaball.utils.random import isolated_generators
from skvaball.utils.rows import iter_chunks, n_rows

#: The four stages of torchvision's ResNets, which the paper taps.
RESNET_STAGES = ("layer1", "layer2", "layer3", "layer4")
#: Features that are worth a warning.
LARGE_BYTES = 4 * 2**30
#: Layers with (n, channels, positions) before and after them; others have (n, tokens, channels).
CHANNELS_FIRST = (
    nn.Conv1d,
    nn.ConvTranspose1d,
    nn.BatchNorm1d,
    nn.InstanceNorm1d,
    nn.AvgPool1d,
    nn.MaxPool1d,
    nn.AdaptiveAvgPool1d,
    nn.AdaptiveMaxPool1d,
)
#: Name for the input of the last weighted layer, whatever the network.
PENULTIMATE = "penultimate"


class Features(NamedTuple):
    """Features of rows, the taps side by side, and the classifier's predictions for them.

    Attributes
    ----------
    values : ndarray of shape (n, sum(widths)), float32
        The features.
    widths : list of int
        Features per tap.
    codes : ndarray of shape (n,), int64
        Predicted classes, as positions in the classes of the view that was read with; -1
        where predictions were not asked for.
    probabilities : ndarray of shape (n, n_classes), float32
        1 for the predicted class if the classifier has none, or codes alone were asked
        for; 0 where predictions were not.

    Examples
    --------
    >>> import numpy as np
    >>> from skvaball.features import Features
    >>> features = Features(np.ones((3, 5)), [2, 3], np.array([0, 1, 1]), np.eye(2)[[0, 1, 1]])
    >>> features.take([0, 2]).codes
    array([0, 1])
    """

    values: np.ndarray
    widths: list[int]
    codes: np.ndarray
    probabilities: np.ndarray

    def take(self, rows: Any) -> "Features":
        """Those of some rows.

        Parameters
        ----------
        rows : slice or ndarray
            Positions, or a mask.

        Returns
        -------
        Features
        """
        values, codes, probabilities = self.values[rows], self.codes[rows], self.probabilities[rows]
        return Features(values, self.widths, codes, probabilities)


class FeatureReader:
    """Reads the deep features of a fitted classifier, in chunks of rows.

    Parameters
    ----------
    view : ClassifierView
        The fitted classifier.
    layers : sequence of str, "penultimate" or None, default=None
        Names of the layers to tap (``dict(net.module_.named_modules())`` lists them).
        None taps the module's ``feature_layers`` if it has that attribute, the four
        stages of a ResNet, or else the input of the last weighted layer.
        "penultimate" is always the latter. A classifier that is no network gives its
        own input as features.
    batch_size : int, default=128
        Rows per forward pass of a network.
    n_jobs : int or None, default=None
        Chunks of rows read at a time, as in joblib.
    memory : str, joblib.Memory or None, default=None
        Where the features of a network's rows are kept on disk, so that whoever asks for
        them again, with the same weights and layers, does not pay for them again.
    predictions : {"codes", "probabilities"} or None, default="codes"
        What a classifier that is no network is asked for beside the features: its
        predictions, its probabilities too, which predicts once more, or nothing. Those of a
        network are known anyway.

    Raises
    ------
    ValueError
        If a layer does not exist, or features are not finite.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skvaball.features import FeatureReader
    >>> from skvaball.networks import DeepClassifier
    >>> from skvaball.utils.classifiers import ClassifierView
    >>> X, y = load_digits(return_X_y=True)
    >>> net = DeepClassifier(max_epochs=2, random_state=0).fit(X, y)
    >>> features = FeatureReader(ClassifierView(net, net.classes_), "penultimate").read(X[:10])
    >>> features.values.shape, features.widths
    ((10, 128), [128])
    """

    def __init__(
        self,
        view: ClassifierView,
        layers: Sequence[str] | str | None = None,
        batch_size: int = 128,
        *,
        n_jobs: int | None = None,
        memory: str | Memory | None = None,
        predictions: Literal["codes", "probabilities"] | None = "codes",
    ) -> None:
        self.view = view
        self.batch_size = batch_size
        self.n_jobs = n_jobs
        self.memory = check_memory(memory)
        self.predictions = predictions
        self.net = torch_net(view.classifier)
        # The steps in front of a classifier that is no network are gone through once.
        self._last = ClassifierView(view.classifier, view.classes)
        self.layers = _tapped_layers(self.net, layers)

    def read(self, X: Any) -> Features:
        """Features and predicted codes of the rows.

        Parameters
        ----------
        X : array-like of shape (n, ...) or torch Dataset

        Returns
        -------
        Features
        """
        if n_rows(X) == 0:
            raise ValueError("Found no rows (n_samples = 0); expected at least one.")
        parts = map_rows(self.chunk_reader(), X, CHUNK_ROWS, self.n_jobs)
        result: Features | None = None
        start = 0
        for part in parts:
            if result is None:
                _warn_if_large(n_rows(X), part.values)
                result = _empty_like(part, n_rows(X))
            stop = start + len(part.codes)
            result.values[start:stop], result.codes[start:stop] = part.values, part.codes
            result.probabilities[start:stop] = part.probabilities
            start = stop
        assert result is not None
        return result

    def chunk_reader(self) -> Callable[[Any], Features]:
        """A function that reads the features of a chunk, from the disk if they are there.

        Returns
        -------
        callable
            Given rows that fit into memory, it returns their :class:`Features`.
        """
        if self.net is None or self.memory.location is None:
            return self.read_chunk
        return partial(self.memory.cache(_read_cached, ignore=["reader"]), self._key(), reader=self)

    def _key(self) -> str:
        """What the features depend on, apart from the rows."""
        weights = {
            name: value.cpu().numpy() for name, value in self.net.module_.state_dict().items()
        }
        # The repr tells networks apart that have the same weights in other places.
        parts = (repr(self.net.module_), weights, self.layers, self.batch_size)
        names = ("mean_", "scale_", "classes_")
        own = [getattr(self.view.classifier, name, None) for name in names]
        return str(joblib_hash((parts, self.view.transformers, own, self.view.classes)))

    def read_chunk(self, X: Any) -> Features:
        """Features and predicted codes of rows that fit into memory, in this process.

        Parameters
        ----------
        X : array-like of shape (n, ...) or torch Dataset

        Returns
        -------
        Features

        Raises
        ------
        ValueError
            If features are not finite.
        """
        # Networks are always given batches of one size: then a row has the same features
        # whatever rows stand beside it. For that, steps before a classifier get float64.
        pad = self.net is not None
        size = self.batch_size if pad else CHUNK_ROWS
        parts: list[np.ndarray] = []
        codes: list[np.ndarray] = []
        probabilities: list[np.ndarray] = []
        widths: list[int] = []
        with self._isolated():
            for chunk, n in iter_chunks(X, size, pad=pad):
                taps, predicted, probable = self._read_batch(chunk)
                widths = [tap.shape[1] for tap in taps]
                parts.append(np.concatenate([tap[:n] for tap in taps], axis=1))
                codes.append(predicted[:n])
                probabilities.append(probable[:n])
        # By rows, also if the features came from a data frame: its layout rounds otherwise.
        values = np.ascontiguousarray(np.concatenate(parts))
        if not np.isfinite(values).all():
            raise ValueError(
                "The features contain NaN or infinity. Impute missing values in a Pipeline, "
                "or check the training of the network."
            )
        return Features(values, widths, np.concatenate(codes), np.concatenate(probabilities))

    def _isolated(self) -> AbstractContextManager[None]:
        # The view takes care of a classifier that is no network.
        if self.net is None:
            return nullcontext()
        return isolated_generators(0, device_of(self.net))

    def _read_batch(self, X: Any) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
        """Taps, predicted codes and probabilities of one batch."""
        if self.net is None:
            seen = self.view.through_steps(X)
            return [_plain_features(seen)], *self._predict(seen)
        with record_layers(self.net.module_, self.layers) as recorded:
            outputs = np.asarray(self.net.predict_proba(self.view.network_input(X)))
        check_probabilities(outputs)
        columns = self._last.columns(outputs.shape[1])
        probabilities = np.zeros((len(outputs), len(self.view.classes)), dtype=np.float32)
        probabilities[:, columns] = outputs
        taps = recorded.arrays(n_outputs=outputs.shape[1])
        return taps, columns[outputs.argmax(axis=1)], probabilities

    def _predict(self, seen: Any) -> tuple[np.ndarray, np.ndarray]:
        """Codes and probabilities by a classifier that is no network, as far as asked for."""
        n_classes = len(self.view.classes)
        if self.predictions is None:
            return np.full(n_rows(seen), -1), np.zeros((n_rows(seen), n_classes), np.float32)
        codes = self._last.predict_codes(seen)
        if self.predictions == "probabilities" and self.view.has_probabilities:
            # By float64 down to float32: a row has the same ones whatever stands beside it.
            return codes, self._last.predict_proba(in_double(seen)).astype(np.float32)
        return codes, np.eye(n_classes, dtype=np.float32)[codes]


def _empty_like(part: Features, n: int) -> Features:
    """Room for the features of n rows."""
    values, _, codes, probabilities = part
    return Features(
        np.empty((n, values.shape[1]), dtype=values.dtype),
        part.widths,
        np.empty(n, dtype=codes.dtype),
        np.empty((n, probabilities.shape[1]), dtype=probabilities.dtype),
    )


def _warn_if_large(n: int, part: np.ndarray) -> None:
    """Say so where sparse rows, of many words for example, fill the memory when they are dense."""
    width = part.shape[1]
    n_bytes = n * width * part.itemsize
    if n_bytes > LARGE_BYTES:
        warnings.warn(
            f"The features of {n} rows, {width} for each, take {n_bytes / 2**30:.1f} GiB, "
            "and a strategy may need that several times. Put a reduction in front of the "
            "classifier, such as TruncatedSVD in a Pipeline, or lower max_samples where the "
            "strategy has it.",
            UserWarning,
            stacklevel=2,
        )


def _read_cached(key: str, X: Any, reader: FeatureReader) -> Features:
    """What is kept on disk, under the key of the network and the rows."""
    return reader.read_chunk(X)


def deep_features(
    estimator: Any, X: Any, layers: Sequence[str] | str | None = None, batch_size: int = 128
) -> list[np.ndarray]:
    """Deep features of the rows, one array per tapped layer.

    Parameters
    ----------
    estimator : fitted classifier
        A skorch net, :class:`~skvaball.networks.DeepClassifier`, either inside a
        Pipeline, frozen or found by a search; any other classifier gives its input.
    X : array-like of shape (n, ...) or torch Dataset
        The rows.
    layers : sequence of str, "penultimate" or None, default=None
        Names of the layers; see :class:`FeatureReader` for None.
    batch_size : int, default=128
        Rows per forward pass.

    Returns
    -------
    list of ndarray of shape (n, n_features_of_layer), float32
        Maps of shape (n, channels, height, width) are averaged over their positions,
        sequences of shape (n, tokens, channels) over their tokens.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.
    ValueError
        If there are no rows, a layer does not exist, or features are not finite.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skvaball.features import deep_features
    >>> from skvaball.networks import DeepClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> net = DeepClassifier(max_epochs=2, random_state=0).fit(X, y)
    >>> [features.shape for features in deep_features(net, X[:10])]
    [(10, 128), (10, 128)]
    """
    if n_rows(X) == 0:
        raise ValueError("Found no rows (n_samples = 0); expected at least one.")
    if not is_fitted(estimator):
        raise NotFittedError(f"This {type(estimator).__name__} is not fitted; call fit first.")
    _, classifier = unwrap(estimator)
    if isinstance(classifier, NeuralNet):
        classes = np.arange(ClassifierView(estimator, np.empty(0)).count_outputs(X))
    else:
        classes = np.asarray(classifier.classes_)
    view = ClassifierView(estimator, classes)
    features = FeatureReader(view, layers, batch_size, predictions=None).read(X)
    return np.split(features.values, np.cumsum(features.widths)[:-1], axis=1)


def torch_net(classifier: Any) -> Any:
    """The skorch net of a classifier that is one or owns one as ``net_``, else None.

    Of a net with ``compile=True``, one with the same weights that is not compiled: a compiled
    module runs no hooks, and so has no layers to look at.

    Parameters
    ----------
    classifier : classifier

    Returns
    -------
    skorch.NeuralNet or None

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skvaball.features import torch_net
    >>> torch_net(LogisticRegression()) is None
    True
    """
    net = classifier if isinstance(classifier, NeuralNet) else getattr(classifier, "net_", None)
    if not isinstance(net, NeuralNet):
        return None
    plain = getattr(getattr(net, "module_", None), "_orig_mod", None)
    if plain is None:
        return net
    uncompiled = object.__new__(type(net))
    vars(uncompiled).update(vars(net) | {"module_": plain})
    return uncompiled


def _tapped_layers(net: Any, layers: Sequence[str] | str | None) -> tuple[str, ...] | None:
    """Check the names of the layers, or choose them; None means the last layer's input."""
    if layers == PENULTIMATE:
        return None
    names = (layers,) if isinstance(layers, str) else tuple(layers or ())
    if net is None:
        if layers is not None:
            raise ValueError(
                f"layers={list(names)} was given, but the classifier is not a network. "
                "Leave layers=None to use its input as features."
            )
        return None
    modules = dict(net.module_.named_modules())
    if layers is None:
        declared = getattr(net.module_, "feature_layers", None)
        if declared is None and all(name in modules for name in RESNET_STAGES):
            declared = RESNET_STAGES
        return None if declared is None else tuple(declared)
    unknown = [name for name in names if name not in modules]
    if unknown or not names:
        available = ", ".join(name for name in modules if name)
        raise ValueError(f"The module has no layer {unknown}; expected one of: {available}.")
    return names


class _Recorded:
    """Outputs of layers, gathered pass by pass."""

    def __init__(self, names: tuple[str, ...] | None) -> None:
        self.names = names
        self.batches: dict[str, list[torch.Tensor]] = {}
        self.current: dict[str, torch.Tensor] = {}
        self.last_layer: tuple[str, nn.Module] | None = None

    def add(self, name: str, output: Any, *, channels_first: bool = False) -> None:
        """Record an output; of a layer that runs several times in a pass, the last."""
        if isinstance(output, list | tuple):
            output = output[0]
        self.current[name] = _pool(output.detach(), channels_first=channels_first)

    def end_pass(self) -> None:
        """File the outputs of one forward pass of the whole module."""
        for name, output in self.current.items():
            self.batches.setdefault(name, []).append(output)
        self.current = {}

    def arrays(self, n_outputs: int) -> list[np.ndarray]:
        names = self.names
        if names is None:
            # One output is enough for two classes.
            fitting = (n_outputs, 1) if n_outputs == 2 else (n_outputs,)
            if self.last_layer is None or len(self.last_layer[1].weight) not in fitting:  # type: ignore[arg-type]
                raise ValueError(
                    "The last weighted layer of the module does not give its output, so the "
                    "default features are not known. Name the layers to tap: layers=[...]."
                )
            names = (self.last_layer[0],)
        silent = [name for name in names if name not in self.batches]
        if silent:
            raise ValueError(f"The layers {silent} did not run in the forward pass; tap others.")
        return [torch.cat(self.batches[name]).float().cpu().numpy() for name in names]


@contextmanager
def record_layers(module: nn.Module, names: tuple[str, ...] | None) -> Iterator[_Recorded]:
    """Record the outputs of the named layers, or the input of the last weighted layer.

    The hooks are gone when the block ends, whatever happens inside it.

    Parameters
    ----------
    module : torch.nn.Module
    names : tuple of str or None
        Names of its layers; None: the last weighted layer.

    Yields
    ------
    object
        What is recorded; its ``arrays(n_outputs)`` are the outputs, when the
        block has ended, for a module with so many outputs.

    Examples
    --------
    >>> import torch
    >>> from skvaball.features import record_layers
    >>> from skvaball.networks import MLP
    >>> module = MLP(4, 3, hidden=(8,))
    >>> with record_layers(module, None) as recorded:
    ...     _ = module(torch.zeros(5, 4))
    >>> [array.shape for array in recorded.arrays(3)]
    [(5, 8)]
    """
    recorded = _Recorded(names)
    handles = []

    def record_output(name: str) -> Any:
        return lambda layer, inputs, output: recorded.add(
            name, output, channels_first=isinstance(layer, CHANNELS_FIRST)
        )

    def record_input(name: str) -> Any:
        def hook(layer: nn.Module, inputs: Any, output: Any) -> None:
            recorded.last_layer = (name, layer)
            recorded.add(name, inputs[0], channels_first=isinstance(layer, CHANNELS_FIRST))

        return hook

    try:
        for name, layer in module.named_modules():
            if names is not None:
                if name in names:
                    handles.append(layer.register_forward_hook(record_output(name)))
            elif getattr(layer, "weight", None) is not None and layer.weight.ndim >= 2:
                handles.append(layer.register_forward_hook(record_input(name)))
        handles.append(module.register_forward_hook(lambda *_: recorded.end_pass()))
        yield recorded
    finally:
        for handle in handles:
            handle.remove()


def _pool(output: torch.Tensor, *, channels_first: bool) -> torch.Tensor:
    """One value per channel: the mean over positions, tokens or frames.

    Always a copy: a later layer may change the output in place.
    """
    if output.ndim == 3:
        return output.mean(dim=2 if channels_first else 1)
    if output.ndim > 3:
        return output.flatten(2).mean(dim=2)
    return output.clone() if output.ndim == 2 else output[:, None].clone()


def _plain_features(X: Any) -> np.ndarray:
    """Rows as one float32 array; sparse rows become dense, images and the like are flattened."""
    X = X.toarray() if hasattr(X, "toarray") else X
    # Gaps are reported by whoever reads the rows.
    X = check_array(X, dtype=np.float32, allow_nd=True, ensure_all_finite=False, input_name="X")
    features: np.ndarray = X.reshape(len(X), -1)
    return features
