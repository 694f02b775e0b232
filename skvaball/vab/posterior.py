"""The terms of Bayes' rule and the probability of a mistake (Eqs. 2-6, 11 and 12).

All arithmetic is in log space and float64: likelihoods of high-dimensional features
differ by hundreds of nats, where exp underflows.
"""

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, logsumexp, softmax

#: Where the temperature is looked for. Outside, the posterior is as good as one-hot or the prior,
#: unless a decoder variance that was given makes the evidence huge.
TEMPERATURE_RANGE = (1e-2, 1e4)
WEIGHT_RANGE = (0.0, 1e2)


def class_difficulty(
    y_true: np.ndarray, y_pred: np.ndarray, n_classes: int, smoothing: float = 1.0
) -> np.ndarray:
    """Probability that a prediction of each class is right, p(y_n | yhat_n) (Eq. 11).

    Parameters
    ----------
    y_true, y_pred : ndarray of shape (n,), int
        Codes of the true and the predicted classes of labeled rows.
    n_classes : int
        Number of classes.
    smoothing : float, default=1.0
        Laplace smoothing: ``(right + s) / (predicted + 2 s)``; a class that is never
        predicted has 0.5.

    Returns
    -------
    ndarray of shape (n_classes,), float64
        In (0, 1]: the lower, the more difficult the class.
    """
    predicted = np.bincount(y_pred, minlength=n_classes)
    right = np.bincount(y_pred[y_true == y_pred], minlength=n_classes)
    difficulty: np.ndarray = (right + smoothing) / (predicted + 2 * smoothing)
    return difficulty


def class_prior(y_pred: np.ndarray, n_classes: int, smoothing: float = 1.0) -> np.ndarray:
    """Share of each predicted class, p(yhat_n) (Eq. 12).

    Parameters
    ----------
    y_pred : ndarray of shape (n,), int
        Codes of the predicted classes.
    n_classes : int
        Number of classes.
    smoothing : float, default=1.0
        Laplace smoothing: ``(count + s) / (n + K s)``.

    Returns
    -------
    ndarray of shape (n_classes,), float64
        Sums to one.
    """
    counts = np.bincount(y_pred, minlength=n_classes) + smoothing
    prior: np.ndarray = counts / counts.sum()
    return prior


def class_posterior(log_likelihood: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Bayes' rule: p(yhat_n | x), shape (n, n_classes), from log p(x | yhat_n) (Eq. 3)."""
    posterior: np.ndarray = softmax(log_likelihood + np.log(prior), axis=1)
    return posterior


def expected_weight(
    log_likelihood: np.ndarray, prior: np.ndarray, class_weight: np.ndarray
) -> np.ndarray:
    """Weight of a row's class in the expectation: sum_n p(yhat_n | x) w_n.

    With weights of 1 / (K p(yhat_n)) it is the density of x among K equally frequent
    classes over that among classes as frequent as the prior says: the importance weight
    by which a sum over rows that are so distributed becomes one over a balanced population.

    Parameters
    ----------
    log_likelihood : ndarray of shape (n, n_classes), float64
        log p(x | yhat_n), up to a constant per row.
    prior, class_weight : ndarray of shape (n_classes,)
        p(yhat_n) and w_n.

    Returns
    -------
    ndarray of shape (n,), float64
    """
    return _by_row(class_posterior(log_likelihood, prior), class_weight)


def calibrated_scales(
    evidence: np.ndarray, class_evidence: np.ndarray, prior: np.ndarray, probabilities: np.ndarray
) -> tuple[float, float]:
    """Temperature, and weight of the class loss, by which the posterior is the classifier's.

    A Gaussian decoder takes its outputs for independent. Those of a network's features are
    not, so its likelihood counts the same evidence many times over, and the posterior is far
    too sure. Dividing the log-likelihoods by a temperature mends that (Guo et al. 2017, "On
    calibration of modern neural networks", do so for the logits of classifiers). The class
    loss, which the autoencoder was trained to lower, is too sure as well.

    Parameters
    ----------
    evidence : ndarray of shape (n, n_classes), float64
        log p(x | yhat_n), at a temperature of 1.
    class_evidence : ndarray of shape (n, n_classes), float64
        Minus the class loss under each label; zeros if it is not to count.
    prior : ndarray of shape (n_classes,)
        p(yhat_n).
    probabilities : ndarray of shape (n, n_classes)
        The classifier's, for the same rows.

    Returns
    -------
    temperature : float
        Within ``TEMPERATURE_RANGE``.
    weight : float
        Within ``WEIGHT_RANGE``. Together they minimize the cross entropy of the posterior
        against the probabilities; both are 1 for a single class.
    """
    if len(prior) == 1:
        return 1.0, 1.0
    # Relative to the row's best: large constants would cost digits.
    terms = np.stack([evidence - evidence.max(axis=1, keepdims=True), class_evidence])
    log_prior = np.log(prior)

    def cross_entropy(scales: np.ndarray) -> tuple[float, np.ndarray]:
        log_posterior = log_softmax(np.einsum("t,tnk->nk", scales, terms) + log_prior, axis=1)
        slope = np.einsum("nk,tnk->t", np.exp(log_posterior) - probabilities, terms)
        loss = -(probabilities * log_posterior).sum()
        return float(loss) / len(evidence), slope / len(evidence)

    lowest, highest = TEMPERATURE_RANGE
    bounds = [(1 / highest, 1 / lowest), WEIGHT_RANGE]
    # Convex in both: one start is enough.
    found = minimize(cross_entropy, np.array([0.1, 0.1]), jac=True, bounds=bounds)
    return float(1 / found.x[0]), float(found.x[1])


def normalized_score(
    log_likelihood: np.ndarray, prior: np.ndarray, difficulty: np.ndarray
) -> np.ndarray:
    """Probability of a mistake, CVPR form: 1 - sum_n p(yhat_n | x) p(y_n | yhat_n) (Eq. 4).

    Parameters
    ----------
    log_likelihood : ndarray of shape (n, n_classes), float64
        log p(x | yhat_n), up to a constant per row.
    prior, difficulty : ndarray of shape (n_classes,)
        p(yhat_n) and p(y_n | yhat_n).

    Returns
    -------
    ndarray of shape (n,), float64
        In [0, 1]; computed as a sum of probabilities of mistakes, so that small values
        keep their digits.
    """
    # Row by row: a matrix product would round a row differently in a batch of another size.
    score: np.ndarray = (class_posterior(log_likelihood, prior) * (1.0 - difficulty)).sum(axis=1)
    return score


def joint_score(
    log_likelihood: np.ndarray, prior: np.ndarray, difficulty: np.ndarray
) -> np.ndarray:
    """Surprise at a right prediction, arXiv form (Eq. 6), in nats.

    ``-log sum_n p(y_n | yhat_n) p(x | yhat_n) p(yhat_n)``; parameters as in
    :func:`normalized_score`.

    Returns
    -------
    ndarray of shape (n,), float64
    """
    score: np.ndarray = -logsumexp(log_likelihood + np.log(prior) + np.log(difficulty), axis=1)
    return score


def surprise_score(
    log_likelihood: np.ndarray, prior: np.ndarray, difficulty: np.ndarray
) -> np.ndarray:
    """Expected surprise at a right prediction: -sum_n p(yhat_n | x) log p(y_n, yhat_n | x).

    Between the two forms of the paper: the surprise of the joint one, -log of the
    probability of being right with class n, ``p(yhat_n | x) p(y_n | yhat_n)``, in the
    expectation of the normalized one. It is the entropy of the posterior plus the
    difficulty of the classes, ``-sum_n p(yhat_n | x) log p(y_n | yhat_n)``; parameters as
    in :func:`normalized_score`.

    Returns
    -------
    ndarray of shape (n,), float64
        In nats, at least 0.
    """
    log_posterior = log_softmax(log_likelihood + np.log(prior), axis=1)
    surprise = np.exp(log_posterior) * -(log_posterior + np.log(difficulty))
    score: np.ndarray = surprise.sum(axis=1)
    return score


#: The forms of the score, by the name of the option.
SCORES = {"surprise": surprise_score, "normalized": normalized_score, "joint": joint_score}


def rebalanced_positions(
    log_likelihood: np.ndarray,
    counts: np.ndarray,
    difficulty: np.ndarray,
    n: int,
    posterior: str = "normalized",
) -> np.ndarray:
    """Best-first batch whose class counts, and with them the prior, grow with each pick.

    After each pick its expected class, p(yhat_n | x), is added to the counts. In the
    joint form the score follows the prior that results. The other forms have no such
    effect of their own (a class already picked would only become more probable), so there
    the score is weighted by the expected scarcity of the row's class,
    ``sum_n p(yhat_n | x) / counts_n``. The posterior p(yhat_n | x) in both is the
    one from before the batch.

    Parameters
    ----------
    log_likelihood : ndarray of shape (n_pool, n_classes), float64
        log p(x | yhat_n).
    counts : ndarray of shape (n_classes,), float64
        Positive counts of the classes among the labeled rows: the prior is their share.
    difficulty : ndarray of shape (n_classes,)
        p(y_n | yhat_n).
    n : int
        How many rows to choose.
    posterior : {"surprise", "normalized", "joint"}, default="normalized"
        Form of the score.

    Returns
    -------
    ndarray of shape (n,), int64
        Positions, in the order of the picks.
    """
    counts = np.array(counts, dtype=np.float64)
    prior = counts / counts.sum()
    expected = class_posterior(log_likelihood, prior)
    if posterior != "joint":
        scores = SCORES[posterior](log_likelihood, prior, difficulty)
    else:
        shift = log_likelihood.max(axis=1)
        # With the row's maximum taken out no exp can underflow to zero in every class.
        likelihood = np.exp(log_likelihood - shift[:, None])
    free = np.zeros(len(log_likelihood))
    positions = np.empty(n, dtype=np.int64)
    for i in range(n):
        if posterior != "joint":
            utility = scores * _by_row(expected, 1.0 / counts)
        else:
            prior = counts / counts.sum()
            utility = -np.log(_by_row(likelihood, difficulty * prior)) - shift
        positions[i] = best = int(np.argmax(utility + free))
        free[best] = -np.inf
        counts += expected[best]
    return positions


def _by_row(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted sum of each row, rounded alike for equal rows (a matrix product is not)."""
    total: np.ndarray = np.einsum("nk,k->n", values, weights)
    return total
