"""The highest scores without all draws for every row: successive elimination."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from skvaball.selectors.base import top_positions


class Top(NamedTuple):
    """The highest scores, and what is known of the others."""

    positions: np.ndarray  # (n,) int64, best first
    scores: np.ndarray  # (n_pool,) float64
    exact: np.ndarray  # (n_pool,) bool: whether the score is by all draws


def eliminate(
    first: np.ndarray,
    second: np.ndarray,
    exact_scores: Callable[[np.ndarray], np.ndarray],
    n: int,
    confidence: float,
) -> Top:
    """The n highest scores, with all draws only for rows that might be on either side.

    How far a score still is from its exact value is measured in units of the step that it
    made when its draws were doubled. Among rows whose exact scores are known that ratio has
    a quantile (split conformal prediction), and a row is left as it is, as one of the n or
    as none of them, once its distance from the n-th highest score is more than that.

    Parameters
    ----------
    first, second : ndarray of shape (n_pool,), float64
        Scores by few draws, and by twice as many.
    exact_scores : callable
        Given positions, the scores by all draws.
    n : int
        How many are sought.
    confidence : float
        With this probability the exact score of a row is within its bound, in (0, 1).

    Returns
    -------
    Top

    References
    ----------
    E. Even-Dar, S. Mannor and Y. Mansour. "Action elimination and stopping conditions for the
    multi-armed bandit and reinforcement learning problems". JMLR 7, 2006.

    V. Vovk, A. Gammerman and G. Shafer. "Algorithmic learning in a random world". 2005.
    """
    step = np.abs(second - first)
    # With the median: the steps of some rows are small by chance.
    unit = step + np.median(step) + np.finfo(np.float64).tiny
    scores, exact = second.copy(), np.zeros(len(second), dtype=bool)
    # Fewer errors than that do not have such a quantile.
    fewest = int(np.ceil(confidence / (1.0 - confidence)))
    new = _nearest_to_threshold(scores, unit, n)[: max(fewest, n // 3)]
    while len(new):
        scores[new], exact[new] = exact_scores(new), True
        known = np.flatnonzero(exact)
        errors = _in_units((scores - second)[known], unit[known])
        bound = _quantile(errors, confidence) * unit
        threshold = np.partition(scores, -n)[-n]
        open_ = np.flatnonzero((np.abs(second - threshold) <= bound) & ~exact)
        # Those nearest to the threshold first, and never more than double: the rows already
        # known tell which of the others are needed.
        new = open_[np.argsort(_in_units(second[open_] - threshold, unit[open_]), kind="stable")]
        new = new[: len(known)]
    return Top(top_positions(scores, n), scores, exact)


def _nearest_to_threshold(scores: np.ndarray, unit: np.ndarray, n: int) -> np.ndarray:
    threshold = np.partition(scores, -n)[-n]
    order: np.ndarray = np.argsort(_in_units(scores - threshold, unit), kind="stable")
    return order


def _in_units(distances: np.ndarray, unit: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # where no score has moved: infinitely many
        lengths: np.ndarray = np.abs(distances) / unit
    return lengths


def _quantile(errors: np.ndarray, confidence: float) -> float:
    """Bound that the error of one more row keeps with the given probability."""
    rank = int(np.ceil((len(errors) + 1) * confidence))
    return float(np.sort(errors)[rank - 1]) if rank <= len(errors) else np.inf
