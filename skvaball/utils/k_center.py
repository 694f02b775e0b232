"""Greedy k-center: rows that are far from all labeled ones and from each other."""

import numpy as np

#: Rows, and centers, whose distances are formed together (8 MB of them), and the values of
#: float64 that they may have together (8 MB again): wide rows come in smaller blocks.
BLOCK_ROWS = 1024
BLOCK_VALUES = 2**20
#: Rows that are brought up to date first when the farthest one may be out of date.
FIRST_STALE = 64


def squared_distances_to_nearest(features: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Squared Euclidean distance of each row to the nearest center, (n,) float64."""
    minima = np.full(len(features), np.inf)
    # Equal centers, as a network gives them whose units have died, would all be the nearest.
    _lower(minima, features, np.arange(len(features)), np.unique(centers, axis=0))
    return minima


def farthest_first(
    features: np.ndarray, minima: np.ndarray, n: int, weights: np.ndarray | None = None
) -> np.ndarray:
    """Greedy k-center: n times the row farthest from all centers, which becomes a center.

    Parameters
    ----------
    features : ndarray of shape (n_rows, n_features), float32
    minima : ndarray of shape (n_rows,), float64
        Squared distances to the nearest of the centers there are already.
    n : int
        How many rows.
    weights : ndarray of shape (n_rows,) or None, default=None
        At least 0: the row of the largest product of weight and squared distance is chosen
        then, and each row once.

    Returns
    -------
    ndarray of shape (n,), int64
        Positions in the order of choice; ties go to the first position.
    """
    # A row may not have been compared with the latest centers: then its value is an
    # upper bound only, and matters only when it is the largest of all.
    distances = minima.copy()
    weights = np.ones(len(distances)) if weights is None else weights
    values = weights * distances
    compared = np.zeros(len(values), dtype=np.int64)
    chosen = np.empty(n, dtype=np.int64)
    for k in range(n):
        n_stale = FIRST_STALE
        farthest = int(values.argmax())
        while compared[farthest] < k and values[farthest] > 0:
            stale = _largest(values, n_stale)
            stale = stale[compared[stale] < k]
            new = chosen[compared[stale].min() : k]
            _lower(distances, features, stale, features[new])
            # The minimum: what is chosen stays so.
            values[stale] = np.minimum(values[stale], weights[stale] * distances[stale])
            compared[stale] = k
            farthest = int(values.argmax())
            n_stale *= 2
        chosen[k] = farthest
        values[farthest] = -np.inf
    return chosen


def _largest(values: np.ndarray, n: int) -> np.ndarray:
    """Positions of the n largest values, ties by position."""
    if n >= len(values):
        return np.arange(len(values))
    threshold = np.partition(values, -n)[-n]
    positions = np.flatnonzero(values >= threshold)
    return positions[np.argsort(-values[positions], kind="stable")[:n]]


def _lower(
    minima: np.ndarray, features: np.ndarray, positions: np.ndarray, centers: np.ndarray
) -> None:
    """Lower the squared distances ``minima`` at the positions to those to the new centers."""
    # Near the centers the products below are small, and so are their rounding errors.
    origin = centers.mean(axis=0, dtype=np.float64)
    size = max(1, min(BLOCK_ROWS, BLOCK_VALUES // centers.shape[1]))
    for first in range(0, len(centers), size):
        center_block = centers[first : first + size]
        shifted_centers = center_block - origin
        for start in range(0, len(positions), size):
            block = positions[start : start + size]
            rows = features[block]
            lowered = minima[block]
            near = _possibly_nearest(rows - origin, shifted_centers, lowered)
            for part in range(0, len(near), size):
                i, j = near[part : part + size].T
                difference = rows[i] - center_block[j].astype(np.float64)
                squared = np.square(difference).sum(axis=1)
                np.minimum.at(lowered, i, squared)
            minima[block] = lowered


def _possibly_nearest(rows: np.ndarray, centers: np.ndarray, minima: np.ndarray) -> np.ndarray:
    """Pairs (row, center) that may be closer than all others and than the minima, (n, 2)."""
    row_norms = np.einsum("ij,ij->i", rows, rows)
    center_norms = np.einsum("ij,ij->i", centers, centers)
    # Half the squared distance, less the half norm of the row, which all centers share.
    halves = rows @ centers.T
    np.subtract(0.5 * center_norms, halves, out=halves)
    # Bound on the rounding error of sums of d products, here and in the exact distance.
    slack = (4 * rows.shape[1] + 16) * np.finfo(np.float64).eps * (row_norms + center_norms.max())
    reach = np.minimum(halves.min(axis=1), 0.5 * (minima - row_norms)) + slack
    return np.argwhere(halves <= reach[:, None])
