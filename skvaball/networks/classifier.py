"""A network classifier that is built from the data it is fitted on."""

import copy
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassifierMixin, _fit_context
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from skorch import NeuralNetClassifier
from skorch.callbacks import LRScheduler
from torch.optim import SGD, AdamW
from torch.optim.lr_scheduler import CosineAnnealingLR, MultiStepLR

from skvaball.networks._training_net import TrainingNet
from skvaball.networks.augmentation import crop_flip
from skvaball.networks.logit_adjustment import LogitAdjustedLoss
from skvaball.networks.mlp import MLP
from skvaball.networks.resnet import SmallResNet
from skvaball.utils.loading import QUIET, TensorLoader, standardization
from skvaball.utils.random import draw_seed, isolated_generators
from skvaball.utils.rows import iter_chunks
from skvaball.utils.state import interruptible, unchanged_on_error

_INTEGER = Interval(Integral, 1, None, closed="left")
#: Factor of the learning rate at each milestone (He et al. 2016).
_STEP = 0.1
#: Below it, some convolutions cannot have their channels last; see _check_channels_last.
_CHANNELS_OF_A_BLOCK = 16


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
        Learning rate; with a schedule, that of the first epoch.
    weight_decay : float, default=0.01
        Weight decay of the optimizer: decoupled from the gradient in AdamW, part of it in
        SGD.
    batch_size : int, default=128
        Rows per training step.
    optimizer : {"adamw", "sgd"}, default="adamw"
        AdamW, or stochastic gradient descent with momentum.
    momentum : float, default=0.9
        Momentum of SGD, in [0, 1).
    schedule : {"step", "cosine"}, default="step"
        What becomes of the learning rate after an epoch. "step" divides it by 10 at the
        `milestones`; "cosine" lets it fall along half a cosine, towards 0 at the end [2]_.
    milestones : sequence of int, default=()
        Numbers of epochs after which "step" divides the learning rate; with none, it stays.
    augment : {"crop_flip"} or None, default=None
        Change the images of each training batch at random; see :func:`crop_flip`.
    balance : {"none", "sampling", "logit_adjustment"}, default="none"
        How training answers to classes of unequal size. "sampling" draws the rows with
        replacement, in proportion to one over the size of their class; an epoch has as many
        draws as there are rows. "logit_adjustment" trains with :class:`LogitAdjustedLoss`,
        so that the probabilities are those of balanced classes.
    precision : {"float32", "bfloat16"}, default="float32"
        Type of the products in training. "bfloat16" makes most GPUs faster, and processors
        without instructions for it many times slower. Predictions are in float32.
    channels_last : bool, default=False
        Keep the values of all channels of a pixel side by side: for images faster on most
        processors and GPUs. Results differ by rounding, and dropout draws other values.
    compile : bool, default=False
        Compile the training steps with :func:`torch.compile`, once for all fits of equal
        networks. It takes a minute or more, and only GPUs profit: on the CPU it has no
        effect.
    warm_start : bool, default=False
        Continue from the last fit instead of starting anew; needs the same classes and
        the same network. Other parameters may have changed. A schedule starts anew.
    device : str, default="cpu"
        Where the network lives, such as "cuda". In training all rows are there, too.
    verbose : int, default=0
        Above 0, print each epoch.
    random_state : int, RandomState instance or None, default=None
        Initial weights and order of the rows.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The class labels.
    net_ : skorch.NeuralNetClassifier
        The trained net; ``net_.module_`` is the torch module. ``net_.history`` has the loss
        of each epoch, and with a schedule its learning rate as ``"event_lr"``.
    mean_, scale_ : ndarray of shape (n_features,) or (n_channels, 1, 1), float32
        The standardization of the inputs.
    n_features_in_ : int
        Number of features seen in fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if X had any.

    See Also
    --------
    skorch.NeuralNetClassifier : For full control; the learner accepts it as it is.

    Notes
    -----
    VaB-AL's experiments [1]_ train a ResNet-18 with ``optimizer="sgd", lr=0.1,
    weight_decay=5e-4, max_epochs=200, milestones=(160,)`` and ``augment="crop_flip"``.

    Where each epoch is dear, ``SmallResNet`` with ``module_params={"stem_stride": 2},
    max_epochs=18, batch_size=64, schedule="cosine", augment="crop_flip",
    channels_last=True`` is a good start for images of 32 x 32 pixels: with 2,000 labels of
    CIFAR-10, of which one class dominates, it was at 42 % of a balanced test set where 40
    epochs of the default settings, in seven times the time, were at 37 %.

    References
    ----------
    .. [1] J. Choi, K. M. Yi, J. Kim, J. Choo, B. Kim, J. Chang, Y. Gwon and H. J. Chang.
       "VaB-AL: Incorporating class imbalance and difficulty with variational Bayes for
       active learning". CVPR 2021.
    .. [2] I. Loshchilov and F. Hutter. "SGDR: Stochastic gradient descent with warm
       restarts". ICLR 2017, equation 5, without restarts.

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
        "optimizer": [StrOptions({"adamw", "sgd"})],
        "momentum": [Interval(Real, 0, 1, closed="left")],
        "schedule": [StrOptions({"step", "cosine"})],
        "milestones": ["array-like"],
        "augment": [StrOptions({"crop_flip"}), None],
        "balance": [StrOptions({"none", "sampling", "logit_adjustment"})],
        "precision": [StrOptions({"float32", "bfloat16"})],
        "channels_last": ["boolean"],
        "compile": ["boolean"],
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
        optimizer: str = "adamw",
        momentum: float = 0.9,
        schedule: str = "step",
        milestones: ArrayLike = (),
        augment: str | None = None,
        balance: str = "none",
        precision: str = "float32",
        channels_last: bool = False,
        compile: bool = False,
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
        self.optimizer = optimizer
        self.momentum = momentum
        self.schedule = schedule
        self.milestones = milestones
        self.augment = augment
        self.balance = balance
        self.precision = precision
        self.channels_last = channels_last
        self.compile = compile
        self.warm_start = warm_start
        self.device = device
        self.verbose = verbose
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any) -> Self:
        """Train the network. If that fails or is interrupted, nothing has changed.

        Parameters
        ----------
        X : array-like of shape (n, n_features) or (n, n_channels, height, width)
            Training rows.
        y : array-like of shape (n,)
            Labels of any type.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If X has neither two nor four dimensions and no module was named, the training
            diverges, rows that are no images are to be augmented, the milestones are no numbers of
            epochs, a warm start meets other classes or another network, or
            ``channels_last=True`` a module that it would crash.
        """
        with unchanged_on_error(self):
            self._fit(X, y)
        return self

    def _fit(self, X: Any, y: Any) -> None:
        X, y = validate_data(self, X, y, dtype=np.float32, allow_nd=True)
        check_classification_targets(y)
        self._check_augmentable(X)
        self._check_shape(X)
        classes, codes, counts = np.unique(y, return_inverse=True, return_counts=True)
        earlier = getattr(self, "net_", None) if self.warm_start else None
        if earlier is not None and not np.array_equal(classes, self.classes_):
            raise ValueError(
                f"warm_start=True needs the classes of the last fit, {self.classes_.tolist()}, "
                f"but y has {classes.tolist()}. Fit a clone to start anew."
            )
        if earlier is None:
            self.classes_: np.ndarray = classes
            self.mean_, self.scale_ = standardization(X)
        with isolated_generators(draw_seed(self.random_state), str(self.device)), interruptible():
            self.net_ = self._build_net(X, counts)
            if earlier is not None:
                self._continue_from(earlier)
            self.net_.partial_fit(self.network_input(X), codes.astype(np.int64))
        self._check_finite_weights()

    def _check_shape(self, X: np.ndarray) -> None:
        if self.module is None and X.ndim not in (2, 4):
            raise ValueError(
                f"X has shape {X.shape}. Expected rows of a table, (n, n_features), or images, "
                "(n, n_channels, height, width): X[:, None] gives images of one channel that "
                "dimension. For other rows name a module."
            )

    def _check_finite_weights(self) -> None:
        weights = self.net_.module_.state_dict().values()
        finite = torch.stack([weight.isfinite().all() for weight in weights])
        if not finite.cpu().numpy().all():  # one value is fetched from a GPU, not one per weight
            raise ValueError(
                "The training of the network diverged: it has weights that are not finite, and "
                f"would predict nothing but NaN. Lower lr={self.lr}."
            )

    def _check_augmentable(self, X: np.ndarray) -> None:
        if self.augment is not None and X.ndim != 4:
            raise ValueError(
                f"augment={self.augment!r} is for images, X of shape (n, n_channels, height, "
                f"width), but X has shape {X.shape}. Reshape X, or set augment=None."
            )

    def _build_net(self, X: np.ndarray, counts: np.ndarray) -> NeuralNetClassifier:
        module = self.module
        if module is None:
            module = MLP if X.ndim == 2 else SmallResNet
        taken = {"kind", "n_inputs", "n_classes"} & set(self.module_params or {})
        if taken:
            raise ValueError(
                f"module_params names {sorted(taken)}. Expected other names: the sizes of the "
                "module are given to it, and kind is no argument that can be passed on."
            )
        params = {f"module__{name}": value for name, value in (self.module_params or {}).items()}
        net = TrainingNet(
            _build_module,
            module__kind=module,
            module__n_inputs=X.shape[1],
            module__n_classes=len(self.classes_),
            **params,
            **self._loss(counts),
            **self._optimizer(),
            max_epochs=self.max_epochs,
            batch_size=self.batch_size,
            callbacks=self._callbacks(),
            callbacks__valid_acc=None,  # there are no rows for validation
            callbacks__valid_loss=None,
            iterator_train=TensorLoader,
            iterator_train__shuffle=True,
            iterator_train__balanced=self.balance == "sampling",
            iterator_train__transform=None if self.augment is None else crop_flip,
            iterator_train__device=str(self.device),
            iterator_valid=TensorLoader,
            train_split=None,
            precision=self.precision,
            compiler=self._compiler(),
            device=str(self.device),
            verbose=int(self.verbose),
            **QUIET if not self.verbose else {},
        )
        net.initialize()
        if self.channels_last:
            if torch.device(net.device).type == "cpu":
                _check_channels_last(net.module_)
            # Convolutions follow their weights: the images need not be converted.
            net.module_.to(memory_format=torch.channels_last)
        return net

    def _loss(self, counts: np.ndarray) -> dict[str, Any]:
        if self.balance != "logit_adjustment":
            return {"criterion": torch.nn.CrossEntropyLoss}
        return {"criterion": LogitAdjustedLoss, "criterion__shares": counts / counts.sum()}

    def _optimizer(self) -> dict[str, Any]:
        params = {
            "optimizer": AdamW,
            "optimizer__fused": True,
            "optimizer__weight_decay": self.weight_decay,
            "lr": self.lr,
        }
        if self.optimizer == "sgd":
            params |= {"optimizer": SGD, "optimizer__momentum": self.momentum}
        return params

    def _compiler(self) -> str | None:
        on_cpu = torch.device(self.device).type == "cpu"
        return "inductor" if self.compile and not on_cpu else None

    def _callbacks(self) -> list[tuple[str, LRScheduler]]:
        # last_epoch=-1: a warm start begins with the first epoch again.
        if self.schedule == "cosine":
            scheduler = LRScheduler(CosineAnnealingLR, T_max=self.max_epochs, last_epoch=-1)
            return [("schedule", scheduler)]
        milestones = np.asarray(self.milestones)
        if not len(milestones):
            return []
        whole = np.issubdtype(milestones.dtype, np.integer)
        if milestones.ndim != 1 or not whole or milestones.min() < 1:
            raise ValueError(
                f"milestones={self.milestones!r} are not numbers of epochs. Expected integers "
                "of at least 1, such as (160,)."
            )
        scheduler = LRScheduler(
            MultiStepLR, milestones=milestones.tolist(), gamma=_STEP, last_epoch=-1
        )
        return [("schedule", scheduler)]

    def _continue_from(self, earlier: NeuralNetClassifier) -> None:
        """Take over weights, moments and history; the parameters are those of today."""
        net = self.net_
        try:
            net.module_.load_state_dict(earlier.module_.state_dict())
        except RuntimeError as error:
            raise ValueError(
                "warm_start=True needs the network of the last fit, and this one is another: "
                f"{error} Leave module, module_params and the width of X as they were, or fit a "
                "clone to start anew."
            ) from error
        if type(net.optimizer_) is type(earlier.optimizer_):
            # The learning rate of the earlier one is where its schedule has left it.
            # Copied: torch would go on with the tensors themselves.
            moments = {"state": copy.deepcopy(earlier.optimizer_.state_dict()["state"])}
            net.optimizer_.load_state_dict(net.optimizer_.state_dict() | moments)
            _lay_out_as_weights(net.optimizer_)
        net.history.extend(earlier.history)

    def network_input(self, X: np.ndarray) -> np.ndarray:
        """Standardized rows, as the network sees them.

        Parameters
        ----------
        X : array-like of shape (n, n_features) or (n, n_channels, height, width)

        Returns
        -------
        ndarray of the same shape, float32
        """
        # In one order in memory: convolutions follow it, and round by it.
        X = np.ascontiguousarray(X, dtype=np.float32)
        if X.ndim != self.mean_.ndim + 1:
            raise ValueError(
                f"X has {X.ndim} dimensions. Expected {self.mean_.ndim + 1}, as in fit."
            )
        standardized: np.ndarray = (X - self.mean_) / self.scale_
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
        """Predicted labels.

        Parameters
        ----------
        X : array-like of shape (n, ...)

        Returns
        -------
        ndarray of shape (n,)
        """
        probabilities = self.predict_proba(X)
        labels: np.ndarray = self.classes_[probabilities.argmax(axis=1)]
        return labels


def _build_module(
    kind: type[torch.nn.Module], n_inputs: int, n_classes: int, **params: Any
) -> torch.nn.Module:
    """Call a module with its sizes by position, however it names them."""
    return kind(n_inputs, n_classes, **params)


def _lay_out_as_weights(optimizer: torch.optim.Optimizer) -> None:
    """Store moments in the order of their weights: torch's fused steps go through both as one.

    The orders differ if ``channels_last`` has changed since the moments were computed.
    """
    for weight, state in optimizer.state.items():
        for name, moment in state.items():
            if torch.is_tensor(moment) and moment.shape == weight.shape:
                state[name] = torch.empty_like(weight).copy_(moment)


def _check_channels_last(module: torch.nn.Module) -> None:
    """Refuse convolutions whose gradient is computed out of bounds on the CPU.

    oneDNN 3, which torch calls, fills blocks of channels (8 with AVX2, 16 with AVX-512) and
    for strided 1x1 convolutions takes room for the channels that there are.
    """
    for name, layer in module.named_modules():
        if (
            isinstance(layer, torch.nn.Conv2d)
            and set(layer.kernel_size) == {1}
            and max(layer.stride) > 1
            and layer.in_channels // layer.groups < _CHANNELS_OF_A_BLOCK
        ):
            raise ValueError(
                f"channels_last=True may crash the process in the layer {name!r} on the CPU: a "
                f"1x1 convolution with a stride and {layer.in_channels} input channels. Expected "
                f"at least {_CHANNELS_OF_A_BLOCK}; widen the module or set channels_last=False."
            )
