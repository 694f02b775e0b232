"""One ranking of all rows for each class: what GALAXY and DIRECT search for thresholds."""

from typing import Any, NamedTuple

import numpy as np

from skvaball.selectors.base import QuerySelector


class Rankings(NamedTuple):
    """Rows ranked by how much they look like each class; labeled rows come first in `place`.

    There is one list for each class, and only that of the first class where there are two
    (that of the second is the same, upside down) or one.
    """

    order: np.ndarray  # (n_lists, n) int64: rows, from the top of the list to its bottom
    place: np.ndarray  # (n_lists, n) int64: where each row stands in each list
    margins: np.ndarray  # (n_lists, n): probability of the class minus the best other's
    signs: np.ndarray  # (n_lists, n_labeled) int64: 1 for a label of the class, else -1
    predicted: np.ndarray  # (n,) int64: codes of the predicted classes

    @property
    def n_labeled(self) -> int:
        """How many of the rows are labeled: the first ones."""
        return int(self.signs.shape[1])

    def labels(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        """Places of the labeled rows in list i, ascending, and their signs."""
        places = self.place[i, : self.n_labeled]
        ascending = np.argsort(places)
        return places[ascending], self.signs[i, ascending]


def rank_rows(labeled: np.ndarray, codes: np.ndarray, pool: np.ndarray) -> Rankings:
    """Rank labeled rows and pool together, once for each class.

    Rows that are predicted to be of the class come first, the most confident at the top;
    the others follow by how far the class is behind the predicted one.

    Parameters
    ----------
    labeled : ndarray of shape (n_labeled, n_classes)
        Probabilities of the labeled rows.
    codes : ndarray of shape (n_labeled,)
        Their labels.
    pool : ndarray of shape (n_pool, n_classes)
        Probabilities of the pool.

    Returns
    -------
    Rankings
        Ties are broken by row: labeled rows first, then the pool in its order.
    """
    probabilities = np.concatenate([labeled, pool])
    margins = class_margins(probabilities)
    n_lists = len(margins)
    # How far a class is behind is its margin; where it is predicted, none is negative.
    keys = np.where(margins >= 0, probabilities.T[:n_lists], margins)
    order = np.stack([stable_order(-key) for key in keys])
    place = np.empty_like(order)
    for places, rows in zip(place, order, strict=True):
        places[rows] = np.arange(len(rows))
    return Rankings(
        order=order,
        place=place,
        margins=margins,
        signs=np.where(np.arange(n_lists)[:, None] == codes, 1, -1),
        predicted=probabilities.argmax(axis=1),
    )


def stable_order(values: np.ndarray) -> np.ndarray:
    """Positions of the values, ascending, ties by position: a stable argsort.

    numpy's default sort is several times faster than its stable one, and values seldom tie.

    Parameters
    ----------
    values : ndarray of shape (n,)

    Returns
    -------
    ndarray of shape (n,), int64
    """
    order = np.argsort(values)
    ascending = values[order]
    equal = ascending[1:] == ascending[:-1]
    if equal.any():
        run = np.concatenate([[0], np.cumsum(~equal)])
        tied = np.flatnonzero(np.append(equal, False) | np.append(False, equal))
        # One number for the run of equal values and the position: sorted, both are.
        order[tied] = np.sort(run[tied] * len(values) + order[tied]) % len(values)
    return order


def count_lists(n_classes: int) -> int:
    """Number of lists: one for each class, and a single one for two classes."""
    return n_classes if n_classes > 2 else 1


def class_margins(probabilities: np.ndarray) -> np.ndarray:
    """Probability of each list's class minus that of the best other class.

    Parameters
    ----------
    probabilities : ndarray of shape (n, n_classes)

    Returns
    -------
    ndarray of shape (n_lists, n)
        Positive where the class is predicted.
    """
    n_classes = probabilities.shape[1]
    columns = np.ascontiguousarray(probabilities.T[: count_lists(n_classes)])
    if n_classes == 1:
        return columns.copy()
    second, highest = np.partition(probabilities, -2, axis=1)[:, -2:].T
    margins: np.ndarray = columns - np.where(columns == highest, second, highest)
    return margins


class RankingSelector(QuerySelector):
    """What GALAXY and DIRECT share: the lists, and scores by the distance from their cuts.

    A strategy implements ``_find_cuts(rankings)``, one margin for each list or NaN, and
    ``_pick(rankings, n)``, the rows to be labeled, positions in the pool.
    """

    _needs = "predict_proba"

    def _fit_pool(self, X_labeled: Any, codes: np.ndarray, X_pool: Any) -> Rankings:
        self._codes = codes
        self._labeled_probabilities = self._view.predict_proba(X_labeled)
        rankings = self._rank(X_pool)
        self.cuts_ = self._find_cuts(rankings)
        return rankings

    def _rank(self, X: Any) -> Rankings:
        return rank_rows(self._labeled_probabilities, self._codes, self._view.predict_proba(X))

    def _score(self, X: Any) -> np.ndarray:
        return self._closeness(class_margins(self._view.predict_proba(X)))

    def _closeness(self, margins: np.ndarray) -> np.ndarray:
        """Minus the smallest distance from a cut; without any cut, from the classifier's own."""
        known = ~np.isnan(self.cuts_)
        if not known.any():
            return np.asarray(-np.abs(margins).min(axis=0))
        distances = np.abs(margins[known] - self.cuts_[known, None])
        closeness: np.ndarray = -distances.min(axis=0)
        return closeness

    def _select(self, X: Any, n: int, prepared: Any) -> tuple[np.ndarray, np.ndarray]:
        rankings = self._rank(X) if prepared is None else prepared
        scores = self._closeness(rankings.margins[:, rankings.n_labeled :])
        return self._pick(rankings, n), scores

    def _find_cuts(self, rankings: Rankings) -> np.ndarray:
        raise NotImplementedError

    def _pick(self, rankings: Rankings, n: int) -> np.ndarray:
        raise NotImplementedError
