"""Disagreement of an ensemble of classifiers (Beluch et al. 2018)."""

import warnings
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import clone
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.parallel import Parallel, delayed
from skorch import NeuralNet

from skvaball.selectors._disagreement import MEASURES
from skvaball.selectors.base import QuerySelector, top_positions
from skvaball.utils.classifiers import CHUNK_ROWS, ClassifierView, fit_classifier, is_frozen
from skvaball.utils.random import derive_seed, set_random_states
from skvaball.utils.rows import iter_chunks, take_rows

#: Rows given to a raw skorch net at once.
NETWORK_ROWS = 128
#: Scores up to this are rounding errors: the members are of one mind.
AGREED = 1e-12


class EnsembleSelector(QuerySelector):
    """Choose the rows on which classifiers trained from different seeds disagree.

    Members are clones of the classifier, trained on all labeled rows; they differ in
    their seeds alone (initial weights, order of the rows) and, with ``bootstrap=True``,
    in the rows they are trained on.

    Parameters
    ----------
    estimator : classifier or None, default=None
        Classifier with ``predict_proba`` whose clones are the members; every
        ``random_state`` inside a clone is replaced by a seed of its own. None: a
        :class:`~skvaball.networks.DeepClassifier`, or the classifier of the learner
        around it. A classifier without randomness, such as LogisticRegression, needs
        ``bootstrap=True``: otherwise its clones are all alike.
    n_members : int, default=5
        Members of the ensemble, at least 2; 5 as in the paper.
    measure : {"bald", "kl", "vote_entropy", "variation_ratio", "entropy"}, default="bald"
        What the score is. "bald": mutual information of label and member. "kl": mean
        Kullback-Leibler divergence of the members from their mean, which is the same
        number under the name it has in query by committee. "vote_entropy": entropy of
        the members' votes. "variation_ratio": share of votes that the most popular
        class did not get. "entropy": entropy of the mean prediction. Votes are few:
        many rows tie at 0, and ties go to the first rows.
    bootstrap : bool, default=False
        Train each member on as many rows drawn with replacement, class by class, so
        that no class is lost.
    n_jobs : int or None, default=None
        Members trained at the same time, through joblib.
    classes : array-like of shape (n_classes,) or None, default=None
        All classes, if some may be missing from the labeled rows.
    missing_label : object, default=-1
        The value of y in ``fit`` that marks unlabeled rows.
    random_state : int, RandomState instance or None, default=None
        Seed of the members, and of a classifier that is fitted here.

    Attributes
    ----------
    estimator_ : classifier
        The fitted classifier. It is not a member: one that was passed fitted may have
        been trained otherwise.
    members_ : list of n_members classifiers
        The fitted members.
    classes_ : ndarray of shape (n_classes,)
        The classes, sorted.
    n_features_in_ : int
        Number of features seen in fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if X had any.

    Raises
    ------
    ValueError
        In ``fit``, if the classifier has no ``predict_proba``, or is or wraps a
        ``FrozenEstimator``, whose clones cannot be trained.

    Warns
    -----
    UserWarning
        If the score of every row of the pool is 0: then rows are chosen by their
        position. It happens when the members are all alike.

    See Also
    --------
    MCDropoutSelector : One network and many passes instead of many networks.

    Notes
    -----
    Costs ``n_members`` fits of the classifier and as many predictions of the pool.

    References
    ----------
    W. H. Beluch, T. Genewein, A. Nuernberger and J. M. Koehler. "The power of
    ensembles for active learning in image classification". CVPR 2018.

    A. McCallum and K. Nigam. "Employing EM and pool-based active learning for text
    classification". ICML 1998 ("kl").

    I. Dagan and S. P. Engelson. "Committee-based sampling for training probabilistic
    classifiers". ICML 1995 ("vote_entropy").

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skvaball.selectors import EnsembleSelector
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(40, 2)), np.repeat([0, 1, -1], [10, 10, 20])
    >>> X[y == 1] += 2
    >>> selector = EnsembleSelector(LogisticRegression(), bootstrap=True, random_state=0)
    >>> selector.fit(X, y).select(X[y == -1], 3).shape
    (3,)
    """

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012 (scikit-learn's convention)
        **QuerySelector._parameter_constraints,
        "n_members": [Interval(Integral, 2, None, closed="left")],
        "measure": [StrOptions({"bald", "entropy", "kl", "variation_ratio", "vote_entropy"})],
        "bootstrap": ["boolean"],
        "n_jobs": [Integral, None],
    }

    _needs = "predict_proba"

    def __init__(
        self,
        estimator: Any = None,
        *,
        n_members: int = 5,
        measure: str = "bald",
        bootstrap: bool = False,
        n_jobs: int | None = None,
        classes: ArrayLike | None = None,
        missing_label: Any = -1,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        super().__init__(
            estimator, classes=classes, missing_label=missing_label, random_state=random_state
        )
        self.n_members = n_members
        self.measure = measure
        self.bootstrap = bootstrap
        self.n_jobs = n_jobs

    def _check_needs(self, estimator: Any) -> None:
        super()._check_needs(estimator)
        if is_frozen(estimator):
            raise ValueError(
                "EnsembleSelector trains clones of the estimator, which a FrozenEstimator does "
                "not allow. Pass the estimator itself."
            )

    def _fit_pool(self, X_labeled: Any, codes: np.ndarray, X_pool: Any) -> np.ndarray:
        labels = self.classes_[codes]
        jobs = []
        for member in range(self.n_members):
            seed = derive_seed(self._seed, "member", member)
            X, y = X_labeled, labels
            if self.bootstrap:
                rows = _bootstrap_rows(codes, derive_seed(seed, "bootstrap"))
                X, y = take_rows(X_labeled, rows), labels[rows]
            jobs.append(delayed(_fit_member)(self.estimator_, X, y, self.classes_, seed))
        self.members_: list[Any] = Parallel(n_jobs=self.n_jobs)(jobs)
        scores = self._score(X_pool)
        self._warn_if_agreed(scores)
        return scores

    def _warn_if_agreed(self, scores: np.ndarray) -> None:
        if len(scores) < 2 or len(self.classes_) < 2 or scores.max() > AGREED:
            return
        advice = "Train more members (n_members), or use another measure."
        if not self.bootstrap:
            advice = (
                "A classifier without randomness gives members that are all alike: use "
                "bootstrap=True."
            )
        warnings.warn(
            f"The {self.n_members} members agree on every row of the pool (measure="
            f"{self.measure!r} is 0 throughout), so that rows are chosen by their position. "
            f"{advice}",
            stacklevel=2,
        )

    def _score(self, X: Any) -> np.ndarray:
        views = [ClassifierView(member, self.classes_) for member in self.members_]
        # A raw skorch net is given chunks of one size, for equal rounding in any batch;
        # other classifiers, DeepClassifier too, see to that themselves.
        pad = isinstance(views[0].classifier, NeuralNet)
        measure = MEASURES[self.measure]
        parts = []
        for chunk, n in iter_chunks(X, NETWORK_ROWS if pad else CHUNK_ROWS, pad=pad):
            probabilities = np.stack([view.predict_proba(chunk) for view in views])
            parts.append(measure(probabilities)[:n])
        return np.concatenate(parts)

    def _select(self, X: Any, n: int, prepared: Any) -> tuple[np.ndarray, np.ndarray]:
        scores = self._score(X) if prepared is None else prepared
        return top_positions(scores, n), scores


def _fit_member(estimator: Any, X: Any, y: np.ndarray, classes: np.ndarray, seed: int) -> Any:
    # Also where a seed was set: with equal seeds members would be alike.
    reseeded = set_random_states(clone(estimator), seed, anew=True)
    return fit_classifier(reseeded, X, y, classes, seed)


def _bootstrap_rows(codes: np.ndarray, seed: int) -> np.ndarray:
    """As many rows of each class as there are, drawn with replacement."""
    rng = np.random.default_rng(seed)
    rows = [np.flatnonzero(codes == code) for code in np.unique(codes)]
    return np.concatenate([rng.choice(own, len(own)) for own in rows])
