"""VaB-AL: label the rows about which a right prediction would surprise (Choi et al. 2021)."""

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
import torch
from joblib import Memory
from numpy.typing import ArrayLike
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted
from skorch import NeuralNet
from skorch.callbacks import Callback, PassthroughScoring

from skvaball.exceptions import NothingLearnedWarning
from skvaball.features import PENULTIMATE, FeatureReader, Features, torch_net
from skvaball.networks import DeepClassifier
from skvaball.selectors.base import QuerySelector, top_positions
from skvaball.utils.classifiers import ClassifierView, fit_classifier, is_frozen, unwrap
from skvaball.utils.k_center import farthest_first, squared_distances_to_nearest
from skvaball.utils.loading import QUIET, TensorLoader, standardization, unit_of_spread
from skvaball.utils.parallel import map_chunks, map_rows
from skvaball.utils.random import derive_seed, isolated_generators
from skvaball.utils.rows import n_rows, take_rows
from skvaball.utils.state import interruptible
from skvaball.vab.autoencoder import ACTIVITIES, ClassMaskedELBO, ClassMaskedVAE
from skvaball.vab.elimination import eliminate
from skvaball.vab.likelihood import (
    ClassLikelihood,
    Decoded,
    class_evidence,
    draw_noise,
    rows_per_chunk,
)
from skvaball.vab.posterior import (
    SCORES,
    calibrated_scales,
    class_difficulty,
    class_posterior,
    class_prior,
    rebalanced_positions,
)
from skvaball.vab.scorer import Scorer

#: Pool rows on which the decoder's variance and the agreement are measured.
DIAGNOSTIC_ROWS = 1024
#: Passes over the pool for max_epochs="auto", and training steps that a small one gets at least.
EPOCHS = 10
MIN_STEPS = 200
#: Parts into which the labeled rows are split for difficulty="out_of_fold".
FOLDS = 5
#: Draws by which rows are first scored in a query, where elimination decides on the others.
EARLY_DRAWS = 8
#: Rows that are scored at once.
CHUNK_ROWS = 4096
#: Largest exponent of e by which noise may lower a weight.
LARGEST_EXPONENT = 500.0
#: A decoder that reproduces its target exactly would have no variance to divide by.
MIN_VARIANCE = 1e-8


class VaBQuerySelector(QuerySelector):
    r"""Choose rows that the classifier is probably wrong about (VaB-AL).

    Bayes' rule splits the probability of that into three terms for each class n: the
    difficulty :math:`p(y_n|\hat y_n)` and the prior :math:`p(\hat y_n)`, counted on the
    labeled rows, and the likelihood :math:`p(x|\hat y_n)`, from a variational
    autoencoder over the classifier's own deep features whose latent space has one
    block for each class. Setting block n to zero and decoding asks how well the row
    would be explained as a member of class n.

    The autoencoder is trained on the pool with the classifier's predicted labels. By
    default its likelihood is pooled with what the classifier itself says, the score is
    the expected surprise at a right prediction, and a batch is chosen for its scores,
    weighted by class, for being spread out, and to some extent by chance;
    ``docs/defaults.md`` has the measurements behind that. The settings of the paper are
    those of :meth:`from_paper`.

    Parameters
    ----------
    estimator : classifier or None, default=None
        The classifier whose mistakes are sought. Fitted: used as it is. Unfitted: a
        clone is fitted on the labeled rows. None: a
        :class:`~skvaball.networks.DeepClassifier`, or the classifier of the learner
        around it. Any scikit-learn classifier, skorch net, or Pipeline around one.
    lam : float, default=0.1
        Weight of the class loss in the autoencoder's training (Eq. 10), at least 0. The
        paper has 0.005.
    layers : list of str, "penultimate" or None, default=None
        Names of the layers of the network whose outputs are the deep features. None:
        the module's ``feature_layers``, the four stages of a ResNet, or the input of
        the last weighted layer, which is what "penultimate" means. Without a network
        the features are X itself.
    posterior : {"surprise", "normalized", "joint"}, default="surprise"
        Form of the score. "normalized" (CVPR): the probability of a mistake, from 0 to
        1. "joint" (arXiv): minus the log of the joint density of x and a right
        prediction, in nats; it also ranks by how unusual the row is. "surprise", between
        them: the expected minus log of the probability of a right prediction, in nats,
        which is the entropy of the class posterior plus the difficulty of the classes.
    difficulty : {"labeled", "out_of_fold"}, default="labeled"
        Where p(y_n|yhat_n) is counted: on the labeled rows (the paper), which the
        classifier may have memorised, or on predictions of clones of the classifier
        that have not seen them (5 more fits).
    prior : {"labeled", "pool"}, default="labeled"
        Where p(yhat_n) is counted: on the labeled rows (the paper; with
        ``difficulty="out_of_fold"`` as the clones predict them) or on the pool.
    use_difficulty : bool, default=True
        Whether the difficulty enters the score; False does not go with
        ``posterior="normalized"``, which is constant without it.
    use_prior : bool, default=True
        Whether the prior enters the score; otherwise it is uniform.
    batch : {"diverse", "rebalance", "top"}, default="diverse"
        How a batch is chosen. "diverse": one row after the other, each the one with the
        largest product of its score and its squared distance to the nearest row that is
        labeled or chosen already, in the features of the last layer (without a network, in
        the columns that the classifier sees, each divided by its range); ``class_weight``
        says which classes count more, and ``beta`` how much is left to chance. "rebalance": by
        score and scarcity of the class, while the expected class of each pick is added to
        the class counts. "top": the highest scores (the paper), which tend to be alike, and
        with ``posterior="normalized"`` of the two or three most difficult classes.
    class_weight : dict, "balanced" or None, default="balanced"
        With ``batch="diverse"``, what a mistake in each class counts: the score (with
        ``posterior="joint"`` what it is above the lowest in the pool) is multiplied by the
        weight of the row's class, in the expectation. "balanced": :math:`1 / (K p(\hat y_n))`
        for K classes and the shares in ``prior_``, so that every class counts the same
        however small its share, as in balanced accuracy; nothing with ``use_prior=False``,
        which makes the shares equal. None: every row counts the same. A dict has finite
        weights above 0 by class; classes that it does not name have 1.
    beta : "odds" or float, default="odds"
        With ``batch="diverse"``, how closely the batch follows the weighted scores, above 0:
        each is multiplied by :math:`e^{g / \beta}` with noise g of a Gumbel distribution,
        which alone, without distances, would draw rows in proportion to the score to the
        power of beta. ``float("inf")``: no noise. "odds": the odds that the likeliest class
        is the right one, by the posterior and averaged over at most 1,024 rows of the pool, so
        that a classifier that expects to be right nine times out of ten is followed closely
        (9), and one that expects to be wrong about most rows hardly at all. That is no better
        than the probabilities are: decision trees, nearest neighbors and classifiers without
        ``predict_proba`` are too sure of themselves, random forests too unsure. Calibrate
        them (:class:`sklearn.calibration.CalibratedClassifierCV`), or give a number.
    smoothing : float, default=1.0
        Laplace smoothing of difficulty and prior, above 0.
    block_size : int or sequence of int, default=10
        Latent dimensions of each class, at least 1; a sequence has one number per class.
    activity : {"square", "abs", "sigmoid"}, default="square"
        Activity of a latent value z in a class block (Eq. 7): z^2, abs(z) or sigmoid(z).
    projection : {"learned", "fixed"}, default="learned"
        Whether the projection of the taps, which is what the autoencoder
        reconstructs, is trained with it or stays as it was drawn.
    mask_in_training : bool, default=True
        Whether the block of the predicted class is set to zero in training as well.
    n_units : int, default=128
        Outputs of the projection per tap, at least 1.
    hidden : sequence of int, default=(128, 128, 128)
        Widths of the hidden layers of encoder and decoder, at least 1 each.
    n_draws : int, default=8
        Monte-Carlo draws of the latent variables per row and class (Eq. 9), at least 1;
        powers of two are spread best. The paper has 100.
    confidence : float or None, default=0.99
        With ``batch="top"`` and at least 16 draws, a query gives all draws only to rows that
        might be among the n highest or not; the others are left after 8 draws. This is the
        probability that the score of a row is within the bound by which it is left, in
        (0, 1); the bound needs the exact scores of at least confidence / (1 - confidence) rows,
        99 by default. None: all draws for every row. ``score_samples`` and ``transform`` use all
        draws always.
    decoder_variance : "ml" or float, default="ml"
        Variance of the Gaussian decoder in the likelihood, above 0; "ml" is its
        maximum-likelihood value, the mean squared error on the pool.
    temperature : "calibrated" or float, default="calibrated"
        Divides the log-likelihoods, above 0: more than 1 softens the posterior over the
        classes. "calibrated" is the value at which that posterior is closest to the
        classifier's probabilities on the pool; the paper has none, which is 1.
    class_term : bool, default=True
        Whether the class loss under each label (Eq. 8) counts as evidence for it beside
        the reconstruction under its mask, as the total loss (Eq. 10) has both; its weight
        is calibrated with the temperature, or 1. The paper scores with the reconstruction
        alone.
    classifier_weight : float, default=0.5
        Weight in the likelihood of what the classifier itself says, p(yhat_n|x) / p(yhat_n),
        from 0 to 1: two opinions, pooled by their geometric mean. Counts for nothing with
        a classifier that has no probabilities. The paper has the autoencoder alone, 0.
    lr : float, default=0.003
        Learning rate of Adam, above 0. The paper has 0.0001.
    max_epochs : int or "auto", default="auto"
        Passes over the pool. "auto" is 10, and more for small pools, so that there are at
        least 200 training steps. The paper has 20.
    batch_size : int, default=256
        Rows per training step, and per forward pass of the classifier; at least 2.
    max_samples : int or None, default=65536
        Rows of the pool on which the autoencoder is trained, at least 1: a random sample of
        a larger pool, whose features are then never held in memory together. None: all rows.
    device : str, default="cpu"
        Where the autoencoder lives, such as "cuda". The classifier stays where it is.
    precision : {"float32", "tf32", "bfloat16"}, default="float32"
        Of the products by which rows are scored; training is in float32. "tf32" makes a
        difference on CUDA devices only, "bfloat16" is slow on most CPUs. See
        ``docs/scoring.md`` for what they change.
    n_jobs : int or None, default=None
        Chunks of rows whose features are read, or which are scored, at a time, as in joblib:
        inside ``joblib.parallel_config("dask")`` on the workers of a cluster.
    memory : str, joblib.Memory or None, default=None
        Where the features of a network are kept on disk for the next who wants them, as
        another strategy with the same classifier and pool.
    classes : array-like of shape (n_classes,) or None, default=None
        All classes, if some may be missing from the labeled rows.
    missing_label : object, default=-1
        The value of y in ``fit`` that marks unlabeled rows. NaN, None and pd.NA always
        do.
    verbose : int, default=0
        1 prints the time of each stage, 2 each epoch as well.
    random_state : int, RandomState instance or None, default=None
        Seed of the autoencoder, of its draws, of the chance in a batch, and of a classifier
        that is fitted here.

    Attributes
    ----------
    estimator_ : classifier
        The fitted classifier.
    classes_ : ndarray of shape (n_classes,)
        The classes, sorted; all arrays over classes follow this order.
    difficulty_ : ndarray of shape (n_classes,)
        p(y_n|yhat_n), Eq. 11: the share of right predictions. Low means difficult.
    prior_ : ndarray of shape (n_classes,)
        p(yhat_n), Eq. 12; uniform if ``use_prior=False``.
    vae_ : skorch.NeuralNet
        The trained autoencoder; ``vae_.history`` has loss, reconstruction, KL, class
        loss and agreement of each epoch.
    vae_agreement_ : float
        Share of pool rows whose label by the autoencoder (Eq. 7) is the classifier's,
        on at most 1,024 rows.
    likelihood_agreement_ : float
        The same for the class with the highest masked likelihood.
    decoder_variance_ : float
        Variance of the Gaussian decoder.
    temperature_ : float
        What the log-likelihoods are divided by.
    class_term_weight_ : float
        Weight of the class loss beside them.
    expected_error_ : float
        Probability that the likeliest class of a pool row is not its own, by the
        posterior, averaged over at most 1,024 rows.
    beta_ : float
        ``beta``, or the odds that it stands for.
    draws_used_ : ndarray of shape (n_pool,), int64
        Draws behind the score of each row in the last query: fewer than ``n_draws`` for
        rows that were left early. Only after a query.
    timings_ : dict of str to float
        Seconds of each stage of ``fit``, and of the last query's scores.
    n_features_in_ : int
        Number of features seen in fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if X had any.

    Raises
    ------
    ValueError
        In ``fit``, if ``use_difficulty=False`` goes with ``posterior="normalized"``, if
        ``class_weight`` names a class that is not there or has a weight that is not finite
        and above 0, if ``block_size`` does not fit the classes, if ``layers`` are named for
        a classifier that is no network, if ``difficulty="out_of_fold"`` meets a
        ``FrozenEstimator`` or a single labeled row, or if the training of the autoencoder
        diverges.

    Warns
    -----
    NothingLearnedWarning
        If the masked likelihoods hardly tell the classes apart: averaged over the
        classes they agree with the classifier less than twice as often as chance (or
        than halfway between chance and certainty, for two or three classes).

    See Also
    --------
    skvaball.ActiveLearner : Learner that queries with a selector.
    skvaball.selectors.EntropySelector : Uncertainty by the classifier alone.

    Notes
    -----
    Three readings of the paper matter. Losses are means over dimensions in training
    (with sums, a lam of 0.005 vanishes). In the score the likelihood is that of a
    Gaussian decoder, summed over dimensions; the masked block contributes no KL
    divergence. The draws are made once in ``fit`` and shared by all rows, so that a
    row has the same score in any batch and in any order.

    A selector fitted without unlabeled rows trains its autoencoder on the labeled
    ones. With a single class every score is the same, that of its difficulty.

    References
    ----------
    J. Choi, K. M. Yi, J. Kim, J. Choo, B. Kim, J. Chang, Y. Gwon and H. J. Chang.
    "VaB-AL: Incorporating class imbalance and difficulty with variational Bayes for
    active learning". CVPR 2021. Equations are numbered as in arXiv 2003.11249.

    J. C. Gower. "A general coefficient of similarity and some of its properties".
    Biometrics 27, 1971: differences divided by ranges.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skvaball.vab import VaBQuerySelector
    >>> X, y = load_digits(return_X_y=True)
    >>> partly = np.where(np.arange(len(y)) < 100, y, -1)
    >>> clf = LogisticRegression(max_iter=1000).fit(X[:100], y[:100])
    >>> selector = VaBQuerySelector(clf, random_state=0).fit(X, partly)
    >>> selector.select(X[100:], 5).shape
    (5,)
    """

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012 (scikit-learn's convention)
        **QuerySelector._parameter_constraints,
        "lam": [Interval(Real, 0, None, closed="left")],
        "layers": [list, tuple, str, None],
        "posterior": [StrOptions(set(SCORES))],
        "difficulty": [StrOptions({"labeled", "out_of_fold"})],
        "prior": [StrOptions({"labeled", "pool"})],
        "use_difficulty": ["boolean"],
        "use_prior": ["boolean"],
        "batch": [StrOptions({"diverse", "rebalance", "top"})],
        "class_weight": [dict, StrOptions({"balanced"}), None],
        "beta": [StrOptions({"odds"}), Interval(Real, 0, None, closed="right")],
        "smoothing": [Interval(Real, 0, None, closed="neither")],
        "block_size": [Interval(Integral, 1, None, closed="left"), "array-like"],
        "activity": [StrOptions(set(ACTIVITIES))],
        "projection": [StrOptions({"learned", "fixed"})],
        "mask_in_training": ["boolean"],
        "n_units": [Interval(Integral, 1, None, closed="left")],
        "hidden": ["array-like"],
        "n_draws": [Interval(Integral, 1, None, closed="left")],
        "confidence": [Interval(Real, 0, 1, closed="neither"), None],
        "decoder_variance": [StrOptions({"ml"}), Interval(Real, 0, None, closed="neither")],
        "temperature": [StrOptions({"calibrated"}), Interval(Real, 0, None, closed="neither")],
        "class_term": ["boolean"],
        "classifier_weight": [Interval(Real, 0, 1, closed="both")],
        "lr": [Interval(Real, 0, None, closed="neither")],
        "max_epochs": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 2, None, closed="left")],
        "max_samples": [Interval(Integral, 1, None, closed="left"), None],
        "device": [str, torch.device],
        "precision": [StrOptions({"float32", "tf32", "bfloat16"})],
        "n_jobs": [Integral, None],
        "memory": [str, HasMethods(["cache"]), None],
        "verbose": ["verbose"],
    }

    _reads_features = True

    def __init__(
        self,
        estimator: Any = None,
        *,
        lam: float = 0.1,
        layers: Sequence[str] | str | None = None,
        posterior: str = "surprise",
        difficulty: str = "labeled",
        prior: str = "labeled",
        use_difficulty: bool = True,
        use_prior: bool = True,
        batch: str = "diverse",
        class_weight: dict[Any, float] | str | None = "balanced",
        beta: str | float = "odds",
        smoothing: float = 1.0,
        block_size: int | Sequence[int] = 10,
        activity: str = "square",
        projection: str = "learned",
        mask_in_training: bool = True,
        n_units: int = 128,
        hidden: Sequence[int] = (128, 128, 128),
        n_draws: int = 8,
        confidence: float | None = 0.99,
        decoder_variance: str | float = "ml",
        temperature: str | float = "calibrated",
        class_term: bool = True,
        classifier_weight: float = 0.5,
        lr: float = 3e-3,
        max_epochs: int | str = "auto",
        batch_size: int = 256,
        max_samples: int | None = 65536,
        device: str = "cpu",
        precision: str = "float32",
        n_jobs: int | None = None,
        memory: str | Memory | None = None,
        classes: ArrayLike | None = None,
        missing_label: Any = -1,
        verbose: int = 0,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        super().__init__(
            estimator, classes=classes, missing_label=missing_label, random_state=random_state
        )
        self.lam = lam
        self.layers = layers
        self.posterior = posterior
        self.difficulty = difficulty
        self.prior = prior
        self.use_difficulty = use_difficulty
        self.use_prior = use_prior
        self.batch = batch
        self.class_weight = class_weight
        self.beta = beta
        self.smoothing = smoothing
        self.block_size = block_size
        self.activity = activity
        self.projection = projection
        self.mask_in_training = mask_in_training
        self.n_units = n_units
        self.hidden = hidden
        self.n_draws = n_draws
        self.confidence = confidence
        self.decoder_variance = decoder_variance
        self.temperature = temperature
        self.class_term = class_term
        self.classifier_weight = classifier_weight
        self.lr = lr
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.max_samples = max_samples
        self.device = device
        self.precision = precision
        self.n_jobs = n_jobs
        self.memory = memory
        self.verbose = verbose

    @classmethod
    def from_paper(cls, estimator: Any = None, **params: Any) -> Self:
        """Selector with the settings that the paper states.

        lam 0.005, Adam with learning rate 0.0001 for 20 epochs, 10 latent dimensions
        per class, three hidden layers of 128, 100 draws, a trained projection of 128
        units per tap, no temperature, neither class loss nor classifier in the likelihood,
        difficulty and prior from the labeled rows, the n highest of the normalized scores.
        Where the paper is silent the defaults of the class hold, but for batches of 64,
        all draws for every row and training on the whole pool.

        Parameters
        ----------
        estimator : classifier or None, default=None
            As in the class.
        **params
            Parameters that are to differ, such as ``posterior="joint"``.

        Returns
        -------
        VaBQuerySelector

        Examples
        --------
        >>> from skvaball.vab import VaBQuerySelector
        >>> VaBQuerySelector.from_paper(random_state=0).lam
        0.005
        """
        settings: dict[str, Any] = {
            "lam": 0.005,
            "lr": 1e-4,
            "max_epochs": 20,
            "batch_size": 64,
            "block_size": 10,
            "hidden": (128, 128, 128),
            "n_units": 128,
            "n_draws": 100,
            "confidence": None,
            "max_samples": None,
            "projection": "learned",
            "activity": "square",
            "temperature": 1.0,
            "class_term": False,
            "classifier_weight": 0.0,
            "posterior": "normalized",
            "difficulty": "labeled",
            "prior": "labeled",
            "batch": "top",
        }
        return cls(estimator, **{**settings, **params})

    @property
    def scores_are_probabilities(self) -> bool:
        """Whether a score is the probability of a mistake, as in the paper's form."""
        return self.posterior == "normalized"

    # -- fitting -------------------------------------------------------------------------

    def _validate_params(self) -> None:
        super()._validate_params()
        if not self.use_difficulty and self.posterior == "normalized":
            raise ValueError(
                "use_difficulty=False needs posterior='surprise' or 'joint': without the "
                "difficulty the normalized score is 0 for every row."
            )
        if len(self.hidden) == 0 or not all(_is_count(width) for width in self.hidden):
            raise ValueError(
                f"hidden={self.hidden!r} must name the width of at least one hidden layer, "
                "each at least 1."
            )

    def _check_needs(self, estimator: Any) -> None:
        super()._check_needs(estimator)
        self._block_sizes()
        self._check_class_weight()
        self._check_layers(estimator)
        if self.difficulty == "out_of_fold" and is_frozen(estimator):
            raise ValueError(
                "difficulty='out_of_fold' fits clones of the estimator, which a "
                "FrozenEstimator does not allow. Pass the estimator itself, or use "
                "difficulty='labeled'."
            )

    def _check_class_weight(self) -> None:
        if not isinstance(self.class_weight, dict):
            return
        unknown = [label for label in self.class_weight if label not in self.classes_.tolist()]
        if unknown:
            raise ValueError(
                f"class_weight names {unknown}, which are not among the classes "
                f"{self.classes_.tolist()}. Name existing ones only, or pass classes=."
            )
        for weight in self.class_weight.values():
            if not isinstance(weight, Real) or not 0 < float(weight) < np.inf:
                raise ValueError(
                    f"class_weight={self.class_weight} must have finite numbers above 0 as weights."
                )

    def _weight_of_classes(self) -> np.ndarray:
        """What a mistake in each class counts, (n_classes,)."""
        if self.class_weight == "balanced":
            weights: np.ndarray = 1.0 / (len(self.prior_) * self.prior_)
            return weights
        given = self.class_weight if isinstance(self.class_weight, dict) else {}
        return np.array([float(given.get(label, 1.0)) for label in self.classes_.tolist()])

    def _check_layers(self, estimator: Any) -> None:
        classifier = unwrap(estimator)[1]
        network = isinstance(classifier, NeuralNet | DeepClassifier) or torch_net(classifier)
        if self.layers not in (None, PENULTIMATE) and not network:
            layers = [self.layers] if isinstance(self.layers, str) else list(self.layers)
            raise ValueError(
                f"layers={layers} was given, but {type(classifier).__name__} is not a "
                "network. Leave layers=None to use its input as features."
            )

    def _fit_pool(self, X_labeled: Any, codes: np.ndarray, X_pool: Any) -> Features | None:
        self.timings_: dict[str, float] = {}
        block_sizes = self._block_sizes()
        asks_probabilities = self.classifier_weight > 0 or self.temperature == "calibrated"
        with self._timed("features"):
            self._reader = FeatureReader(
                self._view,
                self.layers,
                self.batch_size,
                n_jobs=self.n_jobs,
                memory=self.memory,
                predictions="probabilities" if asks_probabilities else "codes",
            )
            labeled = self._reader.read(X_labeled)
            sample = self._sample(n_rows(X_pool))
            pool = self._reader.read(X_pool if sample is None else take_rows(X_pool, sample))
        with self._timed("difficulty and prior"):
            predicted = self._predict_labeled(X_labeled, codes, labeled.codes)
            self._count_classes(codes, predicted, pool.codes)
            # What a diverse batch keeps away from.
            self._centers = _last_tap(labeled).copy()
        with self._timed("autoencoder"):
            mean, scale = standardization(pool.values)
            standardized = pool.values - mean
            standardized /= scale
            self.vae_ = self._train_vae(standardized, pool, block_sizes)
            del standardized
            noise = draw_noise(self.n_draws, sum(block_sizes), derive_seed(self._seed, "noise"))
            self._likelihood = ClassLikelihood(
                self.vae_.module_, noise, mean, scale, self.precision
            )
        with self._timed("diagnostics"):
            self._measure(pool)
        return pool if sample is None else None

    def _sample(self, n_pool: int) -> np.ndarray | None:
        """Rows of the pool that the autoencoder is trained on, None for all."""
        if self.max_samples is None or n_pool <= self.max_samples:
            return None
        rng = np.random.default_rng(derive_seed(self._seed, "sample"))
        return np.sort(rng.choice(n_pool, self.max_samples, replace=False))

    def _block_sizes(self) -> list[int]:
        n_classes = len(self.classes_)
        if isinstance(self.block_size, int | np.integer):
            return [int(self.block_size)] * n_classes
        sizes = list(self.block_size)
        if len(sizes) != n_classes or not all(_is_count(size) for size in sizes):
            raise ValueError(
                f"block_size={self.block_size!r} must be a positive int or one positive int "
                f"for each of the {n_classes} classes."
            )
        return [int(size) for size in sizes]

    def _predict_labeled(
        self, X_labeled: Any, codes: np.ndarray, predicted: np.ndarray
    ) -> np.ndarray:
        """What the labeled rows are taken for: by the classifier, or by clones out of fold."""
        if self.difficulty == "labeled":
            return predicted
        n_folds = min(FOLDS, len(codes))
        if n_folds < 2:
            raise ValueError(
                "difficulty='out_of_fold' needs at least two labeled rows, got n_samples=1. "
                "Use difficulty='labeled'."
            )
        # Stratified by hand: classes with fewer rows than folds are welcome.
        shuffled = np.random.default_rng(derive_seed(self._seed, "folds")).random(len(codes))
        fold = np.empty(len(codes), dtype=np.int64)
        fold[np.lexsort((shuffled, codes))] = np.arange(len(codes)) % n_folds
        predicted = np.empty_like(codes)
        for i in range(n_folds):
            train, test = np.flatnonzero(fold != i), np.flatnonzero(fold == i)
            if len(np.unique(codes[train])) == 1:  # many classifiers would refuse that
                predicted[test] = codes[train[0]]
                continue
            seed = derive_seed(self._seed, "fold", i)
            model = fit_classifier(
                self.estimator_,
                take_rows(X_labeled, train),
                self.classes_[codes[train]],
                self.classes_,
                seed,
            )
            predicted[test] = ClassifierView(model, self.classes_).predict_codes(
                take_rows(X_labeled, test)
            )
        return predicted

    def _count_classes(self, codes: np.ndarray, predicted: np.ndarray, pool: np.ndarray) -> None:
        n_classes = len(self.classes_)
        self.difficulty_ = class_difficulty(codes, predicted, n_classes, self.smoothing)
        source = pool if self.prior == "pool" else predicted
        self.prior_ = class_prior(source, n_classes, self.smoothing)
        # What a pick is added to when a batch is rebalanced: the prior as counts of labels.
        self._counts = self.prior_ * (len(codes) + self.smoothing * n_classes)
        if not self.use_prior:
            self.prior_ = np.full(n_classes, 1.0 / n_classes)
        self._class_weights = self._weight_of_classes()

    def _train_vae(
        self, standardized: np.ndarray, pool: Features, block_sizes: list[int]
    ) -> NeuralNet:
        n_batches = int(np.ceil(len(pool.codes) / self.batch_size))
        epochs = self.max_epochs
        if epochs == "auto":
            epochs = max(EPOCHS, int(np.ceil(MIN_STEPS / n_batches)))
        net = NeuralNet(
            ClassMaskedVAE,
            module__tap_widths=pool.widths,
            module__block_sizes=block_sizes,
            module__projection=self.projection,
            module__n_units=self.n_units,
            module__hidden=tuple(self.hidden),
            module__activity=self.activity,
            module__mask_in_training=self.mask_in_training,
            criterion=ClassMaskedELBO,
            criterion__lam=self.lam,
            optimizer=torch.optim.Adam,
            optimizer__fused=True,
            lr=self.lr,
            max_epochs=epochs,
            batch_size=self.batch_size,
            iterator_train=TensorLoader,
            iterator_train__shuffle=True,
            iterator_train__device=str(self.device),
            train_split=None,
            callbacks=_loss_terms(),
            device=str(self.device),
            verbose=max(0, int(self.verbose) - 1),
            **QUIET if self.verbose < 2 else {},
        )
        seed = derive_seed(self._seed, "autoencoder")
        with isolated_generators(seed, str(self.device)), interruptible():
            net.fit({"X": standardized, "labels": pool.codes}, pool.codes)
        if not np.isfinite(net.history[-1, "train_loss"]):
            raise ValueError(
                "The training of the autoencoder diverged: its loss is "
                f"{net.history[-1, 'train_loss']}. Lower lr={self.lr}."
            )
        return net

    def _measure(self, pool: Features) -> None:
        """Variance and temperature, and how well autoencoder and classifier agree."""
        rng = np.random.default_rng(derive_seed(self._seed, "diagnostics"))
        rows = np.arange(len(pool.codes))
        if len(rows) > DIAGNOSTIC_ROWS:
            rows = np.sort(rng.choice(rows, DIAGNOSTIC_ROWS, replace=False))
        sample = pool.take(rows)
        codes = sample.codes
        decoded = self._likelihood.decode(sample.values)
        if self.decoder_variance == "ml":
            own = decoded.errors[np.arange(len(rows)), codes]
            n_outputs = self.vae_.module_.projection.n_outputs
            self.decoder_variance_ = max(float(own.mean() / n_outputs), MIN_VARIANCE)
        else:
            self.decoder_variance_ = float(self.decoder_variance)
        self._likelihood.variance = self.decoder_variance_
        self.vae_agreement_ = float(np.mean(decoded.activity.argmin(axis=1) == codes))
        self._calibrate(decoded, sample.probabilities)
        favoured = self._likelihood.evidence(decoded).argmax(axis=1)
        self.likelihood_agreement_ = float(np.mean(favoured == codes))
        self._measure_odds(self._likelihood.of(decoded, sample.probabilities))
        if self.classifier_weight < 1 or not self._view.has_probabilities:
            _warn_if_nothing_learned(favoured, codes, len(self.classes_))

    def _measure_odds(self, log_likelihood: np.ndarray) -> None:
        """How often the posterior expects to be wrong, and the odds that a batch goes by."""
        posterior = class_posterior(log_likelihood, self.prior_)
        self.expected_error_ = error = float(np.mean(1.0 - posterior.max(axis=1)))
        odds = (1.0 - error) / error if error > 0 else np.inf
        self.beta_ = odds if self.beta == "odds" else float(self.beta)

    def _calibrate(self, decoded: Decoded, probabilities: np.ndarray) -> None:
        """Weigh the parts of the likelihood against each other."""
        likelihood = self._likelihood
        evidence, class_term = likelihood.evidence(decoded), class_evidence(decoded)
        if not self.class_term:
            class_term = np.zeros_like(class_term)
        if self.temperature == "calibrated":
            scales = calibrated_scales(evidence, class_term, self.prior_, probabilities)
        else:
            scales = float(self.temperature), 1.0
        self.temperature_ = likelihood.temperature = scales[0]
        weight = scales[1] if self.class_term else 0.0
        self.class_term_weight_ = likelihood.class_term_weight = weight
        likelihood.prior = self.prior_
        if self._view.has_probabilities:
            likelihood.classifier_weight = float(self.classifier_weight)

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.timings_[stage] = time.perf_counter() - start
        if self.verbose:
            print(f"[VaBQuerySelector] {stage}: {self.timings_[stage]:.1f} s")

    # -- scoring -------------------------------------------------------------------------

    @property
    def _scorer(self) -> Scorer:
        difficulty = self.difficulty_ if self.use_difficulty else np.ones(len(self.classes_))
        return Scorer(self._likelihood, self.posterior, self.prior_, difficulty)

    def _map(self, function: Callable[[Features], Any], X: Any, prepared: Any) -> Any:
        """Results of a function of features for all rows, chunk after chunk."""
        # Whole numbers of what is decoded at once.
        n_latent = sum(self.vae_.module_.block_sizes)
        step = rows_per_chunk(self.n_draws, n_latent, self.device)
        size = step * int(np.ceil(CHUNK_ROWS / step))
        if prepared is not None:
            starts = range(0, len(prepared.codes), size)
            chunks = (prepared.take(slice(start, start + size)) for start in starts)
            return map_chunks(function, chunks, self.n_jobs)
        of_rows = partial(_of_features, function, self._reader.chunk_reader())
        return map_rows(of_rows, X, size, self.n_jobs)

    def _log_likelihood(self, X: Any, prepared: Any = None) -> np.ndarray:
        return np.concatenate(list(self._map(self._likelihood, X, prepared)))

    def _score(self, X: Any, prepared: Any = None) -> np.ndarray:
        return np.concatenate(list(self._map(self._scorer, X, prepared)))

    def _select(self, X: Any, n: int, prepared: Any) -> tuple[np.ndarray, np.ndarray]:
        with self._timed("scores"):
            self.draws_used_ = np.full(n_rows(X), self.n_draws)
            if self.batch == "rebalance":
                return self._select_rebalanced(X, n, prepared)
            if self.batch == "diverse":
                return self._select_diverse(X, n, prepared)
            if self.confidence is None or self.n_draws < 2 * EARLY_DRAWS:
                scores = self._score(X, prepared)
                return top_positions(scores, n), scores
            return self._select_by_elimination(X, n, prepared)

    def _select_rebalanced(self, X: Any, n: int, prepared: Any) -> tuple[np.ndarray, np.ndarray]:
        log_likelihood = self._log_likelihood(X, prepared)
        counts = self._counts if self.use_prior else np.full_like(self._counts, self._counts.mean())
        scorer = self._scorer
        positions = rebalanced_positions(
            log_likelihood, counts, scorer.difficulty, n, self.posterior
        )
        return positions, scorer.of(log_likelihood)

    def _pool_scores(self, X: Any, prepared: Any) -> np.ndarray:
        return self._score(X, prepared)

    def _select_diverse(self, X: Any, n: int, prepared: Any) -> tuple[np.ndarray, np.ndarray]:
        scores, weights = self._weighted_scores(X, prepared)
        weights = self._left_to_chance(weights)
        # By weight, so that rows at no distance at all follow it too. Of a pool too large to be
        # held in memory, those that have a chance.
        n_candidates = len(scores) if self.max_samples is None else max(n, self.max_samples)
        candidates = top_positions(weights, n_candidates)
        if prepared is None:
            features = self._read_last_tap(X, candidates)
        else:
            features = _last_tap(prepared)[candidates]
        centers = self._centers
        if self._reader.net is None:
            # The outputs of one layer have one unit, the columns of a table need not.
            unit = _ranges(features, centers)
            features /= unit
            centers = centers / unit
        minima = squared_distances_to_nearest(features, centers)
        return candidates[farthest_first(features, minima, n, weights[candidates])], scores

    def _weighted_scores(self, X: Any, prepared: Any) -> tuple[np.ndarray, np.ndarray]:
        """Scores of all rows, and what they are with the weights of the classes, at least 0."""
        weigh = partial(self._scorer.with_weights, class_weight=self._class_weights)
        scores, class_weights = np.concatenate(list(self._map(weigh, X, prepared)), axis=1)
        # The joint form is a log density, whose zero means nothing.
        utility = scores - scores.min() if self.posterior == "joint" else scores
        return scores, utility * class_weights

    def _left_to_chance(self, weights: np.ndarray) -> np.ndarray:
        """Weights times as much noise as ``beta`` allows, up to a common factor."""
        if np.isinf(self.beta_):
            return weights
        rng = np.random.default_rng(derive_seed(self._seed, "batch"))
        noise = rng.gumbel(size=len(weights))
        noise -= noise.max()
        # So that no factor is rounded to 0. Where that limits beta the noise decides anyway.
        beta = max(self.beta_, -noise.min() / LARGEST_EXPONENT)
        noisy: np.ndarray = weights * np.exp(noise / beta)
        return noisy

    def _read_last_tap(self, X: Any, positions: np.ndarray) -> np.ndarray:
        """What the last layer says about rows of the pool; of these alone it is held."""
        rows = np.sort(positions)
        if len(rows) == n_rows(X):
            parts = list(self._map(_last_tap, X, None))
        else:
            blocks = (rows[i : i + CHUNK_ROWS] for i in range(0, len(rows), CHUNK_ROWS))
            parts = [
                tap for block in blocks for tap in self._map(_last_tap, take_rows(X, block), None)
            ]
        features: np.ndarray = np.concatenate(parts)[np.searchsorted(rows, positions)]
        return features

    def _select_by_elimination(
        self, X: Any, n: int, prepared: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        assert self.confidence is not None
        early = partial(self._scorer.early, n_draws=EARLY_DRAWS)
        first, second = np.concatenate(list(self._map(early, X, prepared)), axis=1)

        def exact_scores(rows: np.ndarray) -> np.ndarray:
            if prepared is None:
                return self._score(take_rows(X, rows))
            return self._score(None, prepared.take(rows))

        top = eliminate(first, second, exact_scores, n, self.confidence)
        self.draws_used_[~top.exact] = EARLY_DRAWS
        return top.positions, top.scores

    def class_log_likelihood(self, X: Any) -> np.ndarray:
        """Log-likelihood of each row under each class, log p(x|yhat_n) (Eq. 9).

        Parameters
        ----------
        X : array-like of shape (n, ...) or torch Dataset

        Returns
        -------
        ndarray of shape (n, n_classes), float64
            In nats: the evidence lower bound under each class mask, divided by the
            temperature, with ``class_term`` minus the class loss under each label, and with
            ``classifier_weight`` pooled with what the classifier says.
        """
        check_is_fitted(self)
        return self._log_likelihood(self._check_pool(X))

    def class_posterior(self, X: Any) -> np.ndarray:
        """Posterior of each predicted class, p(yhat_n|x) (Eq. 3).

        Parameters
        ----------
        X : array-like of shape (n, ...) or torch Dataset

        Returns
        -------
        ndarray of shape (n, n_classes), float64
            Rows sum to one.
        """
        return class_posterior(self.class_log_likelihood(X), self.prior_)

    def vae_labels(self, X: Any) -> np.ndarray:
        """The autoencoder's own label of each row: the class of its least active block (Eq. 7).

        Parameters
        ----------
        X : array-like of shape (n, ...) or torch Dataset

        Returns
        -------
        ndarray of shape (n,)
            Labels out of ``classes_``.
        """
        check_is_fitted(self)
        found = self._map(partial(_least_active, self._likelihood), self._check_pool(X), None)
        labels: np.ndarray = self.classes_[np.concatenate(list(found))]
        return labels


def _of_features(
    function: Callable[[Features], Any], read: Callable[[Any], Features], X: Any
) -> Any:
    """A function of features, for rows. Here and below: functions that go to other processes."""
    return function(read(X))


def _least_active(likelihood: ClassLikelihood, features: Features) -> np.ndarray:
    least: np.ndarray = likelihood.decode(features.values).activity.argmin(axis=1)
    return least


def _ranges(*parts: np.ndarray) -> np.ndarray:
    """Highest minus lowest value of each column, by which Gower (1971) divides differences."""
    # A standard deviation would blow up columns that are constant but for a few rows.
    high = np.max([part.max(axis=0) for part in parts], axis=0)
    low = np.min([part.min(axis=0) for part in parts], axis=0)
    # The range of thousands of rows that differ by rounding is several times that.
    size = np.maximum(np.abs(high), np.abs(low))
    return unit_of_spread(high - low, size, parts[0].dtype, n_eps=8)


def _last_tap(features: Features) -> np.ndarray:
    """What the last of the tapped layers says, where the classes are farthest apart."""
    last: np.ndarray = features.values[:, -features.widths[-1] :]
    return last


def _is_count(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 1


class _RecordTerms(Callback):
    """Write the terms of the loss into the history of the net."""

    def on_batch_end(self, net: NeuralNet, training: bool = False, **kwargs: Any) -> None:
        for name, value in net.criterion_.terms.items():
            net.history.record_batch(name, float(value))


def _loss_terms() -> list[tuple[str, Any]]:
    terms = ("reconstruction", "kl", "class_loss", "agreement")
    means = [(name, PassthroughScoring(name, on_train=True)) for name in terms]
    return [("terms", _RecordTerms()), *means]


def _warn_if_nothing_learned(favoured: np.ndarray, codes: np.ndarray, n_classes: int) -> None:
    if n_classes < 2:
        return
    # Averaged over classes: always naming the dominant class is no better than chance.
    present = np.unique(codes)
    agreement = np.mean([np.mean(favoured[codes == k] == k) for k in present])
    chance = 1.0 / n_classes
    needed = min(2 * chance, (1 + chance) / 2)
    if agreement < needed:
        warnings.warn(
            "The autoencoder has learned next to nothing about the classes: its masked "
            f"likelihoods agree with the classifier in {agreement:.2f} of the rows, averaged "
            f"over classes, at least {needed:.2f} expected (chance: {chance:.2f}). What it "
            "adds to the scores means little. Try more epochs (max_epochs), a larger lam or lr, "
            "or other layers.",
            NothingLearnedWarning,
            stacklevel=2,
        )
