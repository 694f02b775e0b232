"""How much several predictions of one row disagree.

Every measure takes probabilities of shape (n_members, n, n_classes), in which a member is
a stochastic pass or a classifier, and returns float64 of shape (n,). Entropies are in nats.
"""

from collections.abc import Callable

import numpy as np
from scipy.special import entr, rel_entr


def bald(probabilities: np.ndarray) -> np.ndarray:
    """Mutual information of label and member: entropy of the mean minus mean entropy.

    Parameters
    ----------
    probabilities : ndarray of shape (n_members, n, n_classes)

    Returns
    -------
    ndarray of shape (n,), float64
        In [0, log(n_classes)].

    References
    ----------
    N. Houlsby, F. Huszar, Z. Ghahramani and M. Lengyel. "Bayesian active learning for
    classification and preference learning". arXiv 1112.5745, 2011. Eq. 2.

    Examples
    --------
    >>> import numpy as np
    >>> from skvaball.selectors._disagreement import bald
    >>> sure_but_opposite, unsure_alike = [[1.0, 0.0], [0.0, 1.0]], [[0.5, 0.5], [0.5, 0.5]]
    >>> bald(np.stack([sure_but_opposite, unsure_alike], axis=1)).round(3)
    array([0.693, 0.   ])
    """
    of_mean = predictive_entropy(probabilities)
    mean_of = entr(probabilities).sum(axis=-1).mean(axis=0)
    # Never negative but for rounding, when all members agree.
    information: np.ndarray = np.maximum(of_mean - mean_of, 0.0)
    return information


def predictive_entropy(probabilities: np.ndarray) -> np.ndarray:
    """Entropy of the mean prediction."""
    entropy: np.ndarray = entr(probabilities.mean(axis=0)).sum(axis=-1)
    return entropy


def consensus_kl(probabilities: np.ndarray) -> np.ndarray:
    """Mean Kullback-Leibler divergence of the members from their mean (McCallum & Nigam 1998).

    Equal to :func:`bald` but for rounding.
    """
    divergence = rel_entr(probabilities, probabilities.mean(axis=0)).sum(axis=-1)
    mean: np.ndarray = np.maximum(divergence.mean(axis=0), 0.0)
    return mean


def mean_std(probabilities: np.ndarray) -> np.ndarray:
    """Standard deviation over the members, averaged over the classes (Gal et al. 2017)."""
    spread: np.ndarray = probabilities.std(axis=0).mean(axis=-1)
    return spread


def vote_shares(probabilities: np.ndarray) -> np.ndarray:
    """Share of the members that predict each class, shape (n, n_classes)."""
    n_classes = probabilities.shape[-1]
    votes = probabilities.argmax(axis=-1)
    shares: np.ndarray = (votes[..., None] == np.arange(n_classes)).mean(axis=0)
    return shares


def variation_ratio(probabilities: np.ndarray) -> np.ndarray:
    """Share of the members that do not vote for the most popular class (Freeman 1965)."""
    minority: np.ndarray = 1.0 - vote_shares(probabilities).max(axis=-1)
    return minority


def vote_entropy(probabilities: np.ndarray) -> np.ndarray:
    """Entropy of the members' votes (Dagan & Engelson 1995)."""
    entropy: np.ndarray = entr(vote_shares(probabilities)).sum(axis=-1)
    return entropy


#: What a selector's ``measure`` may name.
MEASURES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "bald": bald,
    "entropy": predictive_entropy,
    "kl": consensus_kl,
    "mean_std": mean_std,
    "variation_ratio": variation_ratio,
    "vote_entropy": vote_entropy,
}
