"""A small network that predicts the loss of the classifier (Yoo & Kweon 2019)."""

import warnings
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.utils._param_validation import Interval, StrOptions
from skorch.dataset import Dataset
from torch import nn

from skvaball.exceptions import NothingLearnedWarning
from skvaball.features import FeatureReader, Features
from skvaball.selectors.base import QuerySelector, top_positions
from skvaball.utils.classifiers import ClassifierView, fit_classifier, is_frozen
from skvaball.utils.loading import TensorLoader, standardization
from skvaball.utils.random import derive_seed, isolated_generators
from skvaball.utils.rows import iter_chunks, take_rows

#: Passes over the labeled rows, and the training steps that few rows are given at least:
#: on digits more steps changed the rank correlation by less than 0.02.
EPOCHS = 20
MIN_STEPS = 300
#: Parts into which the labeled rows are split for losses="out_of_fold".
FOLDS = 5
#: Below this a probability counts as 0, and its loss as 27.6: ranking needs no more.
TINY = 1e-12
#: Rows given to the head at once.
ROWS_PER_CHUNK = 512


class LossPredictor(nn.Module):
    """Predicts the loss of a row from the taps of the classifier.

    Each tap has a linear layer with a ReLU; what they give stands side by side before
    one linear output.

    Parameters
    ----------
    tap_widths : sequence of int
        Number of features of each tap; the input holds the taps side by side.
    n_units : int, default=128
        Units per tap.

    References
    ----------
    D. Yoo and I. S. Kweon. "Learning loss for active learning". CVPR 2019. Section 3.2;
    the averages over positions that precede the linear layers are part of the taps here.

    Examples
    --------
    >>> import torch
    >>> from skvaball.selectors._learning_loss import LossPredictor
    >>> LossPredictor([64, 128])(torch.zeros(5, 192)).shape
    torch.Size([5])
    """

    def __init__(self, tap_widths: Sequence[int], n_units: int = 128) -> None:
        super().__init__()
        self.tap_widths = list(tap_widths)
        self.layers = nn.ModuleList(nn.Linear(width, n_units) for width in tap_widths)
        self.output = nn.Linear(n_units * len(self.layers), 1)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Predicted losses, shape (n,), up to an unknown increasing function."""
        taps = X.split(self.tap_widths, dim=1)
        hidden = [torch.relu(f(tap)) for f, tap in zip(self.layers, taps, strict=True)]
        losses: torch.Tensor = self.output(torch.cat(hidden, dim=1))[:, 0]
        return losses


def ranking_loss(
    predicted: torch.Tensor, losses: torch.Tensor, margin: float = 1.0
) -> torch.Tensor:
    """Mean over all pairs of rows of max(0, margin - sign(l_i - l_j) * (p_i - p_j)).

    Parameters
    ----------
    predicted, losses : tensors of shape (n,)
        Predicted losses p and true losses l.
    margin : float, default=1.0
        How far apart the predictions of two rows should be.

    Returns
    -------
    scalar tensor
        Pairs of equal losses have no order and do not count; 0 if there are no others.

    References
    ----------
    D. Yoo and I. S. Kweon. "Learning loss for active learning". CVPR 2019. Eq. 2.

    Examples
    --------
    >>> import torch
    >>> from skvaball.selectors._learning_loss import ranking_loss
    >>> ranking_loss(torch.tensor([0.0, 0.5]), torch.tensor([2.0, 1.0]))
    tensor(1.5000)
    """
    order = torch.sign(losses[:, None] - losses)
    hinge = torch.relu(margin - order * (predicted[:, None] - predicted))
    # Each pair is counted twice, in both orders, with the same value.
    return (hinge * order.abs()).sum() / order.abs().sum().clamp(min=1.0)


class LearningLossSelector(QuerySelector):
    """Choose the rows with the highest predicted loss.

    A small network, the head, reads the deep features of the fitted classifier and
    learns from the labeled rows to rank rows by their cross-entropy.

    In the paper the head is trained jointly with the target network, which then also
    serves the head. Here it is trained afterwards on the features of the classifier as
    it is, because a selector takes any fitted classifier, and leaves it unchanged.

    Parameters
    ----------
    estimator : classifier or None, default=None
        Classifier with ``predict_proba``. Fitted: used as it is. Unfitted: a clone is
        fitted on the labeled rows. None: a :class:`~skvaball.networks.DeepClassifier`,
        or the classifier of the learner around it.
    layers : list of str, "penultimate" or None, default=None
        Names of the layers of the network whose outputs the head reads. None: the
        module's ``feature_layers``, the four stages of a ResNet, or the input of the
        last weighted layer, which is what "penultimate" means. Without a network the
        features are X itself.
    losses : {"labeled", "out_of_fold"}, default="labeled"
        Where the losses that the head learns come from: from the classifier on its own
        labeled rows (the paper), or from clones that have not seen them (5 more fits).
        See Notes.
    margin : float, default=1.0
        How far apart the predictions for two rows should be, above 0; 1 as in the paper.
    n_units : int, default=128
        Units of the head per tap.
    lr : float, default=0.001
        Learning rate of AdamW.
    max_epochs : int or "auto", default="auto"
        Passes over the labeled rows. "auto" is 20, and more for few rows, so that there
        are at least 300 training steps.
    batch_size : int, default=64
        Labeled rows per training step, and rows per forward pass of the classifier.
    device : str, default="cpu"
        Where the head lives, such as "cuda". The classifier stays where it is.
    classes : array-like of shape (n_classes,) or None, default=None
        All classes, if some may be missing from the labeled rows.
    missing_label : object, default=-1
        The value of y in ``fit`` that marks unlabeled rows.
    random_state : int, RandomState instance or None, default=None
        Seed of the head, of the folds, and of a classifier that is fitted here.

    Attributes
    ----------
    estimator_ : classifier
        The fitted classifier.
    head_ : LossPredictor
        The trained head.
    losses_ : ndarray of shape (n_labeled,)
        The losses that it learned to rank; NaN where there is none.
    history_ : list of float
        Mean ranking loss of each epoch.
    classes_ : ndarray of shape (n_classes,)
        The classes, sorted.
    n_features_in_ : int
        Number of features seen in fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if X had any.

    Raises
    ------
    ValueError
        In ``fit``, if there is a single labeled row, ``losses="out_of_fold"`` meets a
        ``FrozenEstimator`` or no class with two rows, or the training of the head diverges.

    Warns
    -----
    NothingLearnedWarning
        If the losses of all labeled rows are equal, as those of a classifier that has
        memorised them: there is no order to learn, and scores mean nothing.

    See Also
    --------
    EntropySelector : Asks the classifier itself.

    Notes
    -----
    A network has memorised its labeled rows, and their losses are tiny; but their order is
    informative still, and the ranking loss uses nothing else. Measured on digits with
    dominant classes (5 seeds, 100 and 300 labels, on the unlabeled rows): the rank
    correlation of predicted and true loss is 0.82 and 0.92 with "labeled", 0.81 and 0.90
    with "out_of_fold"; the area under the ROC curve of the scores for the classifier's
    mistakes is 0.82 and 0.88 with "labeled", 0.84 and 0.88 with "out_of_fold". For a
    random forest the two differ by 0.02 at most. So "labeled" is the default; what needs
    "out_of_fold" is a classifier that reproduces its labels exactly, such as a decision
    tree. The entropy of the same networks finds their mistakes better (0.90 and 0.95).

    With "out_of_fold", the only row of a class is not held out, and has no loss.

    The ranking loss compares all pairs of a batch; the paper, which has half as many
    pairs as rows, compares each row with one other.

    Costs one forward pass over labeled rows and pool, and the training of the head; with
    "out_of_fold", 5 fits of the classifier as well.

    References
    ----------
    D. Yoo and I. S. Kweon. "Learning loss for active learning". CVPR 2019. Sections 3.2
    (the head) and 3.3 (the ranking loss, Eq. 2).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skvaball.selectors import LearningLossSelector
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(40, 2)), np.repeat([0, 1, -1], [10, 10, 20])
    >>> X[y == 1] += 2
    >>> selector = LearningLossSelector(LogisticRegression(), random_state=0).fit(X, y)
    >>> selector.select(X[y == -1], 3).shape
    (3,)
    """

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012 (scikit-learn's convention)
        **QuerySelector._parameter_constraints,
        "layers": [list, tuple, str, None],
        "losses": [StrOptions({"labeled", "out_of_fold"})],
        "margin": [Interval(Real, 0, None, closed="neither")],
        "n_units": [Interval(Integral, 1, None, closed="left")],
        "lr": [Interval(Real, 0, None, closed="neither")],
        "max_epochs": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 2, None, closed="left")],
        "device": [str, torch.device],
    }

    _needs = "predict_proba"

    _reads_features = True

    def __init__(
        self,
        estimator: Any = None,
        *,
        layers: Sequence[str] | str | None = None,
        losses: str = "labeled",
        margin: float = 1.0,
        n_units: int = 128,
        lr: float = 1e-3,
        max_epochs: int | str = "auto",
        batch_size: int = 64,
        device: str = "cpu",
        classes: ArrayLike | None = None,
        missing_label: Any = -1,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        super().__init__(
            estimator, classes=classes, missing_label=missing_label, random_state=random_state
        )
        self.layers = layers
        self.losses = losses
        self.margin = margin
        self.n_units = n_units
        self.lr = lr
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.device = device

    # -- fitting -------------------------------------------------------------------------

    def _check_needs(self, estimator: Any) -> None:
        super()._check_needs(estimator)
        if self.losses == "out_of_fold" and is_frozen(estimator):
            raise ValueError(
                "losses='out_of_fold' fits clones of the estimator, which a FrozenEstimator does "
                "not allow. Pass the estimator itself, or use losses='labeled'."
            )

    def _fit_pool(self, X_labeled: Any, codes: np.ndarray, X_pool: Any) -> Features:
        if len(codes) < 2:
            raise ValueError(
                "LearningLossSelector compares the losses of labeled rows and needs at least "
                "two of them, got n_samples=1."
            )
        if self.losses == "labeled":
            self.losses_ = _cross_entropy(self._view.predict_proba(X_labeled), codes)
        else:
            self.losses_ = self._held_out_losses(X_labeled, codes)
        self._reader = FeatureReader(self._view, self.layers, self.batch_size, predictions=None)
        labeled = self._reader.read(X_labeled)
        pool = labeled if X_pool is X_labeled else self._reader.read(X_pool)
        self._mean, self._scale = standardization(pool.values)
        rows = np.flatnonzero(~np.isnan(self.losses_))
        self._train_head(self._standardized(labeled.values[rows]), labeled.widths, rows)
        return pool

    def _held_out_losses(self, X: Any, codes: np.ndarray) -> np.ndarray:
        folds = _stratified_folds(codes, derive_seed(self._seed, "folds"))
        if np.all(folds < 0):
            raise ValueError(
                "losses='out_of_fold' needs a class with at least two labeled rows, and each "
                f"of the {len(codes)} rows is the only one of its class. Use losses='labeled'."
            )
        losses = np.full(len(codes), np.nan)
        for i in range(folds.max() + 1):
            train, test = np.flatnonzero(folds != i), np.flatnonzero(folds == i)
            model = fit_classifier(
                self.estimator_,
                take_rows(X, train),
                self.classes_[codes[train]],
                self.classes_,
                derive_seed(self._seed, "fold", i),
            )
            view = ClassifierView(model, self.classes_)
            losses[test] = _cross_entropy(view.predict_proba(take_rows(X, test)), codes[test])
        return losses

    def _train_head(self, X: np.ndarray, widths: list[int], rows: np.ndarray) -> None:
        losses = self.losses_[rows]
        if len(self.classes_) > 1 and np.ptp(losses) == 0:
            advice = "Use losses='out_of_fold'." if self.losses == "labeled" else ""
            warnings.warn(
                f"The classifier's losses on the {len(rows)} labeled rows are all equal: there is "
                f"no order to learn, and the scores mean nothing. {advice}".rstrip(),
                NothingLearnedWarning,
                stacklevel=2,
            )
        # In float64 until here: float32 would tie the losses of memorised rows.
        ranks = np.unique(losses, return_inverse=True)[1].astype(np.float32)
        loader = TensorLoader(Dataset(X, ranks), self.batch_size, shuffle=True)
        epochs = self.max_epochs
        if epochs == "auto":
            epochs = max(EPOCHS, int(np.ceil(MIN_STEPS / len(loader))))
        device = torch.device(self.device)
        self.history_: list[float] = []
        with isolated_generators(derive_seed(self._seed, "head"), str(device)):
            self.head_ = LossPredictor(widths, self.n_units).to(device)
            optimizer = torch.optim.AdamW(self.head_.parameters(), lr=self.lr, fused=True)
            for _ in range(int(epochs)):
                total = 0.0
                for part, order in loader:
                    predicted = self.head_(part.to(device))
                    loss = ranking_loss(predicted, order.to(device), self.margin)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    total += float(loss.detach())
                self.history_.append(total / len(loader))
        if not np.isfinite(self.history_[-1]):
            raise ValueError(
                f"The training of the head diverged: its loss is {self.history_[-1]}. Lower "
                f"lr={self.lr}."
            )
        self.head_.eval()

    # -- scoring -------------------------------------------------------------------------

    def _standardized(self, values: np.ndarray) -> np.ndarray:
        standardized: np.ndarray = (values - self._mean) / self._scale
        return standardized

    def _predicted_losses(self, features: Features) -> np.ndarray:
        parts = []
        # Chunks of one size: a row has the same score whatever rows stand beside it.
        for chunk, n in iter_chunks(features.values, ROWS_PER_CHUNK, pad=True):
            with torch.inference_mode():
                X = torch.from_numpy(self._standardized(chunk)).to(self.device)
                parts.append(self.head_(X)[:n].cpu().double().numpy())
        return np.concatenate(parts)

    def _score(self, X: Any) -> np.ndarray:
        return self._predicted_losses(self._reader.read(X))

    def _select(self, X: Any, n: int, prepared: Any) -> tuple[np.ndarray, np.ndarray]:
        features = self._reader.read(X) if prepared is None else prepared
        scores = self._predicted_losses(features)
        return top_positions(scores, n), scores


def _cross_entropy(probabilities: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Loss of each row, shape (n,): minus the log of the probability of its label."""
    own = probabilities[np.arange(len(codes)), codes]
    losses: np.ndarray = -np.log(np.maximum(own, TINY))
    return losses


def _stratified_folds(codes: np.ndarray, seed: int) -> np.ndarray:
    """Fold of each row, spread over the classes; -1 for the only row of a class.

    Whichever fold is held out, every class has a row in the others.
    """
    shuffled = np.random.default_rng(seed).random(len(codes))
    order = np.lexsort((shuffled, codes))
    order = order[np.bincount(codes)[codes[order]] > 1]
    folds = np.full(len(codes), -1)
    folds[order] = np.arange(len(order)) % min(FOLDS, max(len(order), 1))
    return folds
