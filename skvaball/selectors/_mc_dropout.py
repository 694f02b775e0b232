"""Disagreement of the sub-networks that dropout samples (Gal et al. 2017)."""

from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.utils._param_validation import Interval, StrOptions
from torch import nn

from skvaball.features import torch_net
from skvaball.networks import DeepClassifier
from skvaball.selectors._disagreement import MEASURES
from skvaball.selectors.base import QuerySelector
from skvaball.utils.classifiers import ClassifierView, check_probabilities, device_of
from skvaball.utils.random import derive_seed, isolated_generators
from skvaball.utils.rows import iter_chunks

#: Layers that drop single values, and layers that drop whole channels.
BY_VALUE = (nn.Dropout, nn.AlphaDropout)
BY_CHANNEL = (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.FeatureAlphaDropout)
#: What alpha dropout puts in place of a dropped value: minus scale times alpha of SELU.
ALPHA_DROPPED = -1.7580993408473766
#: Dropout of the default network: what the paper of VaB-AL gives this rival.
DEFAULT_DROPOUT = 0.25


class MCDropoutSelector(QuerySelector):
    """Choose the rows on which the sub-networks of one dropout network disagree.

    The network predicts every row many times, each time with other activations dropped.
    Only its Dropout layers behave as in training; batch normalization and all else stay
    in evaluation mode.

    Parameters
    ----------
    estimator : classifier or None, default=None
        A skorch net or :class:`~skvaball.networks.DeepClassifier` with Dropout layers
        of p > 0, or a Pipeline around one. None: ``DeepClassifier(module_params=
        {"dropout": 0.25})``, or the classifier of the learner around it.
    n_passes : int, default=100
        Stochastic passes, at least 2; 100 as in the paper.
    measure : {"bald", "entropy", "variation_ratio", "mean_std"}, default="bald"
        What the score is. "bald": mutual information of label and weights. "entropy":
        entropy of the mean prediction. "variation_ratio": share of the passes that do
        not predict the most frequent class. "mean_std": standard deviation of the
        probabilities over the passes, averaged over the classes.
    batch_size : int, default=128
        Rows per forward pass.
    classes : array-like of shape (n_classes,) or None, default=None
        All classes, if some may be missing from the labeled rows.
    missing_label : object, default=-1
        The value of y in ``fit`` that marks unlabeled rows.
    random_state : int, RandomState instance or None, default=None
        Seed of the dropout masks, and of a classifier that is fitted here.

    Attributes
    ----------
    estimator_ : classifier
        The fitted classifier; scoring leaves it as it is.
    dropout_layers_ : tuple of str
        Names of the layers that drop activations, in ``net.module_.named_modules()``.
    classes_ : ndarray of shape (n_classes,)
        The classes, sorted.
    n_features_in_ : int
        Number of features seen in fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if X had any.

    Raises
    ------
    ValueError
        In ``fit``, if the classifier is no network or has no Dropout layer with p > 0.

    See Also
    --------
    EnsembleSelector : Many networks instead of many passes.

    Notes
    -----
    All rows share the mask of a pass, which is drawn from the seed alone: each pass is
    one sub-network, drawn once. Expectations are those of masks drawn row by row, as
    in the paper, but a row has the same score in any batch and in any order, and
    differences between rows are free of the noise of their masks. The price is that
    the errors of all scores are correlated. Masks are of the shape (1, ...): the
    first dimension of the activations is taken to be the rows.

    Only Dropout modules are switched on, not dropout inside of recurrent or attention
    layers or by ``torch.nn.functional``.

    Costs ``n_passes`` forward passes of the whole network over the pool. A skorch net
    with the plain DataLoader collates its rows anew in each; an ``iterator_valid``
    that indexes tensors saves most of that for small networks.

    References
    ----------
    Y. Gal, R. Islam and Z. Ghahramani. "Deep Bayesian active learning with image
    data". ICML 2017. Section 4 (the measures and their approximations).

    N. Houlsby, F. Huszar, Z. Ghahramani and M. Lengyel. "Bayesian active learning for
    classification and preference learning". arXiv 1112.5745, 2011. Eq. 2 ("bald").

    A. Kirsch, J. van Amersfoort and Y. Gal. "BatchBALD: Efficient and diverse batch
    acquisition for deep Bayesian active learning". NeurIPS 2019 (consistent dropout:
    masks that stay the same for all rows).

    Examples
    --------
    >>> import numpy as np
    >>> from skvaball.selectors import MCDropoutSelector
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(40, 2)), np.repeat([0, 1, -1], [10, 10, 20])
    >>> selector = MCDropoutSelector(n_passes=20, random_state=0).fit(X, y)
    >>> selector.select(X[y == -1], 3).shape
    (3,)
    """

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012 (scikit-learn's convention)
        **QuerySelector._parameter_constraints,
        "n_passes": [Interval(Integral, 2, None, closed="left")],
        "measure": [StrOptions({"bald", "entropy", "mean_std", "variation_ratio"})],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
    }

    _needs = "predict_proba"

    def __init__(
        self,
        estimator: Any = None,
        *,
        n_passes: int = 100,
        measure: str = "bald",
        batch_size: int = 128,
        classes: ArrayLike | None = None,
        missing_label: Any = -1,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        super().__init__(
            estimator, classes=classes, missing_label=missing_label, random_state=random_state
        )
        self.n_passes = n_passes
        self.measure = measure
        self.batch_size = batch_size

    def _default_estimator(self) -> Any:
        return DeepClassifier(module_params={"dropout": DEFAULT_DROPOUT})

    def _fit_pool(self, X_labeled: Any, codes: np.ndarray, X_pool: Any) -> None:
        net = torch_net(self._view.classifier)
        if net is None:
            raise ValueError(
                "MCDropoutSelector needs a neural network with Dropout layers, and "
                f"{type(self._view.classifier).__name__} is none. Use a skorch net or "
                "DeepClassifier(module_params={'dropout': 0.25}); for any other classifier "
                "there is EnsembleSelector."
            )
        self.dropout_layers_ = _dropout_layers(net.module_)
        if not self.dropout_layers_:
            raise ValueError(
                "MCDropoutSelector needs a network with Dropout layers of p > 0, and "
                f"{type(net.module_).__name__} has none: all its passes would be alike. Add "
                "some; of the networks of this library, with "
                "DeepClassifier(module_params={'dropout': 0.25})."
            )

    def _score(self, X: Any) -> np.ndarray:
        classifier = self._view.classifier
        module = torch_net(classifier).module_
        measure = MEASURES[self.measure]
        parts = []
        # skorch draws from the generators to predict, though nothing depends on it.
        with (
            isolated_generators(0, device_of(classifier)),
            _shared_dropout(module, self.dropout_layers_) as masks,
        ):
            # Chunks of one size: equal rounding whatever rows stand beside a row.
            for chunk, n in iter_chunks(X, self.batch_size, pad=True):
                passes = self._predict_passes(self._view.network_input(chunk), masks)
                parts.append(measure(passes)[:n])
        return np.concatenate(parts)

    def _predict_passes(self, X: Any, masks: "_Masks") -> np.ndarray:
        """Probabilities of shape (n_passes, n, n_columns), float64."""
        net = torch_net(self._view.classifier)
        passes = []
        for i in range(self.n_passes):
            masks.seed = derive_seed(self._seed, "pass", i)
            passes.append(np.asarray(net.predict_proba(X), dtype=np.float64))
        probabilities = np.stack(passes)
        columns = probabilities.shape[-1]
        check_probabilities(probabilities.reshape(-1, columns))
        # Raises if they are not the classes of the network; a learner around it may know more.
        ClassifierView(self._view.classifier, self._view.classes).columns(columns)
        normalized: np.ndarray = probabilities / probabilities.sum(axis=-1, keepdims=True)
        return normalized


def _dropout_layers(module: nn.Module) -> tuple[str, ...]:
    """Names of the Dropout layers that drop anything."""
    return tuple(
        name
        for name, layer in module.named_modules()
        if isinstance(layer, BY_VALUE + BY_CHANNEL) and layer.p > 0
    )


class _Masks:
    """Dropout masks without a dimension of rows, from the seed of a pass."""

    def __init__(self) -> None:
        # On the CPU, so that masks are the same on every device.
        self.generator = torch.Generator()
        self.seed = 0

    def restart(self, *_: Any) -> None:
        """A pre-hook of the network: its layers draw one after the other from the seed.

        Every forward pass begins anew, since skorch may split the rows into batches.
        """
        self.generator.manual_seed(self.seed)

    def drop(self, layer: nn.Module, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        """A forward hook: what the layer would return in training, with one mask for all rows."""
        p = float(layer.p)  # type: ignore[arg-type]
        shape = list(output.shape)
        shape[0] = 1
        if isinstance(layer, BY_CHANNEL):
            shape[2:] = [1] * len(shape[2:])
        kept = (torch.rand(shape, generator=self.generator) >= p).to(output)
        if isinstance(layer, nn.AlphaDropout | nn.FeatureAlphaDropout):
            # Scaled and shifted so that mean 0 and variance 1 stay as they are.
            scale = ((1 - p) * (1 + p * ALPHA_DROPPED**2)) ** -0.5 if p < 1 else 0.0
            dropped = ALPHA_DROPPED * (1 - kept)
            return scale * (output * kept + dropped - ALPHA_DROPPED * p)
        return output * kept / (1 - p) if p < 1 else output * 0.0


@contextmanager
def _shared_dropout(module: nn.Module, names: tuple[str, ...]) -> Iterator[_Masks]:
    """Switch the named layers on, all else off, and leave the module as it was.

    In evaluation mode a Dropout layer returns its input; hooks drop from that.
    """
    masks = _Masks()
    training = {name: layer.training for name, layer in module.named_modules()}
    handles = []
    try:
        handles.append(module.register_forward_pre_hook(masks.restart))
        for name, layer in module.named_modules():
            if name in names:
                handles.append(layer.register_forward_hook(masks.drop))
        yield masks
    finally:
        for handle in handles:
            handle.remove()
        for name, layer in module.named_modules():
            layer.training = training[name]
