"""A network classifier that is built from the data it is fitted on."""

from numbers import Integral, Real
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, _fit_context
from sklearn.utils._param_validation import Interval
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from skorch import NeuralNetClassifier

from skvaball.networks.mlp import MLP
from skvaball.networks.resnet import SmallResNet
from skvaball.utils.loading import QUIET, TensorLoader, standardization
from skvaball.utils.random import draw_seed, isolated_generators
from skvaball.utils.rows import iter_chunks

_INTEGER = Interval(Integral, 1, None, closed="left")


class DeepClassifier(ClassifierMixin, BaseEstimator):
    """Neural network classifier that sizes itself to the data; the library's default network.

    It owns a skorch net, ``net_``, made in ``fit`` with as many inputs and outputs as
    the data have. Inputs are standardized (images: per channel), labels may be of any
    type, and the global random generators stay as they were.

    Parameters
    ----------
    module : type of torch.nn.Module or None, default=None
        Called as ``module(n_inputs, n_classes, **module_params)``, where ``n_inputs`` is
        ``X.shape[1]``: features, or channels of images. It returns logits. None means
        :class:`MLP` for two-dimensional input and :class:`SmallResNet` for images.
    module_params : dict or None, default=None
        Further arguments of the module, such as ``{"hidden": (256,)}``.
    max_epochs : int, default=100
        Passes over the training rows.
    lr : float, default=0.003
        Learning rate of AdamW.
    weight_decay : float, default=0.01
        Weight decay of AdamW.
    batch_size : int, default=128
        Rows per training step.
    warm_start : bool, default=False
        Continue from the last fit instead of starting anew; needs the same classes.
    device : str, default="cpu"
        Where the network lives, such as "cuda".
    verbose : int, default=0
        Above 0, print each epoch.
    random_state : int, RandomState instance or None, default=None
        Initial weights and order of the rows.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The class labels.
    net_ : skorch.NeuralNetClassifier
        The trained net; ``net_.module_`` is the torch module.
    mean_, scale_ : ndarray of shape (n_features,) or (n_channels, 1, 1), float32
        The standardization of the inputs.
    n_features_in_ : int
        Number of features seen in fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if X had any.

    See Also
    --------
    skorch.NeuralNetClassifier : For full control; the learner accepts it as it is.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skvaball.networks import DeepClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> clf = DeepClassifier(max_epochs=20, random_state=0).fit(X[:1000], y[:1000])
    >>> bool(clf.score(X[1000:], y[1000:]) > 0.9)
    True
    """

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012 (scikit-learn's convention)
        "module": [callable, None],
        "module_params": [dict, None],
        "max_epochs": [_INTEGER],
        "lr": [Interval(Real, 0, None, closed="neither")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "batch_size": [_INTEGER],
        "warm_start": ["boolean"],
        "device": [str, torch.device],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
    }

    #: Its fit and predict leave the global generators alone, so that no caller has to.
    isolates_generators = True

    def __init__(
        self,
        module: type[torch.nn.Module] | None = None,
        *,
        module_params: dict[str, Any] | None = None,
        max_epochs: int = 100,
        lr: float = 3e-3,
        weight_decay: float = 0.01,
        batch_size: int = 128,
        warm_start: bool = False,
        device: str = "cpu",
        verbose: int = 0,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.module = module
        self.module_params = module_params
        self.max_epochs = max_epochs
        self.lr = lr
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.warm_start = warm_start
        self.device = device
        self.verbose = verbose
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any) -> Self:
        """Train the network.

        Parameters
        ----------
        X : array-like of shape (n, n_features) or (n, n_channels, height, width)
            Training rows.
        y : array-like of shape (n,)
            Labels of any type.

        Returns
        -------
        self
        """
        X, y = validate_data(self, X, y, dtype=np.float32, allow_nd=True)
        check_classification_targets(y)
        classes, codes = np.unique(y, return_inverse=True)
        continued = self.warm_start and hasattr(self, "net_")
        if continued and not np.array_equal(classes, self.classes_):
            raise ValueError(
                f"warm_start=True needs the classes of the last fit, {self.classes_.tolist()}, "
                f"but y has {classes.tolist()}. Fit a clone to start anew."
            )
        with isolated_generators(draw_seed(self.random_state), str(self.device)):
            if not continued:
                self.classes_: np.ndarray = classes
                self.mean_, self.scale_ = standardization(X)
                self.net_ = self._build_net(X)
            self.net_.partial_fit(self.network_input(X), codes.astype(np.int64))
        return self

    def _build_net(self, X: np.ndarray) -> NeuralNetClassifier:
        module = self.module
        if module is None:
            module = MLP if X.ndim == 2 else SmallResNet
        params = {f"module__{name}": value for name, value in (self.module_params or {}).items()}
        net = NeuralNetClassifier(
            _build_module,
            module__kind=module,
            module__n_inputs=X.shape[1],
            module__n_classes=len(self.classes_),
            **params,
            criterion=torch.nn.CrossEntropyLoss,
            optimizer=torch.optim.AdamW,
            optimizer__fused=True,
            optimizer__weight_decay=self.weight_decay,
            lr=self.lr,
            max_epochs=self.max_epochs,
            batch_size=self.batch_size,
            iterator_train=TensorLoader,
            iterator_train__shuffle=True,
            iterator_valid=TensorLoader,
            train_split=None,
            device=str(self.device),
            verbose=int(self.verbose),
            **QUIET if not self.verbose else {},
        )
        return net.initialize()

    def network_input(self, X: np.ndarray) -> np.ndarray:
        """Standardized rows, as the network sees them.

        Parameters
        ----------
        X : array-like of shape (n, n_features) or (n, n_channels, height, width)

        Returns
        -------
        ndarray of the same shape, float32
        """
        standardized: np.ndarray = (np.asarray(X, dtype=np.float32) - self.mean_) / self.scale_
        return standardized

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of the classes.

        Parameters
        ----------
        X : array-like of shape (n, n_features) or (n, n_channels, height, width)

        Returns
        -------
        ndarray of shape (n, n_classes), float64
            Rows sum to one.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float32, allow_nd=True, reset=False)
        with isolated_generators(0, str(self.device)):
            # Batches of one size: a row has the same probabilities whatever stands beside it.
            parts = [
                self.net_.predict_proba(self.network_input(chunk))[:n]
                for chunk, n in iter_chunks(X, self.batch_size, pad=True)
            ]
        probabilities = np.concatenate(parts).astype(np.float64)
        normalized: np.ndarray = probabilities / probabilities.sum(axis=1, keepdims=True)
        return normalized

    def predict(self, X: Any) -> np.ndarray:
        """Predicted labels, shape (n,)."""
        probabilities = self.predict_proba(X)
        labels: np.ndarray = self.classes_[probabilities.argmax(axis=1)]
        return labels


def _build_module(
    kind: type[torch.nn.Module], n_inputs: int, n_classes: int, **params: Any
) -> torch.nn.Module:
    """Call a module with its sizes by position, however it names them."""
    return kind(n_inputs, n_classes, **params)
