"""Random sampling: the strategy that every other has to beat."""

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import scipy.sparse as sp
from torch.utils.data import Dataset

from skvaball.selectors.base import QuerySelector, top_positions
from skvaball.utils.classifiers import CHUNK_ROWS
from skvaball.utils.rows import iter_chunks, n_rows

#: Sparse rows are made dense in chunks of so many bytes at most.
CHUNK_BYTES = 2**26


class RandomSelector(QuerySelector):
    """Choose rows at random, every row with the same chance.

    The score of a row is a random number that depends on the seed and on the row
    itself, not on its place: equal rows have equal scores. A batch is drawn without
    regard to that: the second of two equal rows has a number of its own there. Rows of a torch
    Dataset are not read; their scores depend on the seed and the position.

    Parameters
    ----------
    estimator : classifier or None, default=None
        Not used to choose; ``score`` counts its mistakes.
    classes : array-like of shape (n_classes,) or None, default=None
        All classes, if some may be missing from the labeled rows.
    missing_label : object, default=-1
        The value of y in ``fit`` that marks unlabeled rows.
    random_state : int, RandomState instance or None, default=None
        Seed of the choice.

    Attributes
    ----------
    estimator_ : classifier or None
        The fitted classifier, if there is one.
    classes_ : ndarray of shape (n_classes,)
        The classes, sorted.
    n_features_in_ : int
        Number of features seen in fit.

    Examples
    --------
    >>> import numpy as np
    >>> from skvaball.selectors import RandomSelector
    >>> X, y = np.arange(10.0)[:, None], np.array([0, 1] + [-1] * 8)
    >>> selector = RandomSelector(random_state=0).fit(X, y)
    >>> selector.select(X[2:], 3).shape
    (3,)
    """

    _uses_estimator = False

    def _score(self, X: Any) -> np.ndarray:
        if isinstance(X, Dataset):
            return np.random.default_rng(self._seed).random(n_rows(X))
        size = CHUNK_ROWS
        if sp.issparse(X):  # made dense in parts: a vocabulary may be large
            size = max(1, min(size, CHUNK_BYTES // (8 * X.shape[1])))
        return self._numbers(
            _row_bytes(row) for chunk, _ in iter_chunks(X, size) for row in _rows(chunk)
        )

    def _select(self, X: Any, n: int, prepared: Any) -> tuple[np.ndarray, np.ndarray]:
        scores = self._score(X)
        return top_positions(self._without_ties(scores), n), scores

    def _pool_scores(self, X: Any, prepared: Any) -> np.ndarray:
        return self._without_ties(self._score(X))

    def _without_ties(self, scores: np.ndarray) -> np.ndarray:
        """The scores, with a number of its own for every row that repeats an earlier one."""
        order = np.argsort(scores, kind="stable")
        first = np.flatnonzero(np.diff(scores[order], prepend=-1.0))
        counts = np.diff(first, append=len(order))
        earlier = np.arange(len(order)) - np.repeat(first, counts)
        repeated = np.flatnonzero(earlier)
        numbers = scores.copy()
        numbers[order[repeated]] = self._numbers(
            scores[order[i]].tobytes() + int(earlier[i]).to_bytes(8, "little") for i in repeated
        )
        return numbers

    def _numbers(self, parts: Iterable[bytes]) -> np.ndarray:
        """Random numbers in [0, 1) that depend on the seed and the bytes alone."""
        key = self._seed.to_bytes(8, "little")
        digests = [hashlib.blake2b(part, digest_size=8, key=key).digest() for part in parts]
        uniform: np.ndarray = np.frombuffer(b"".join(digests), dtype="<u8") / 2.0**64
        return uniform


def _rows(chunk: Any) -> Any:
    if hasattr(chunk, "to_numpy"):
        return chunk.to_numpy()
    if hasattr(chunk, "toarray"):
        return chunk.toarray()
    # A table of pyarrow would be iterated over by columns.
    return np.asarray(chunk) if hasattr(chunk, "columns") else chunk


def _row_bytes(row: Any) -> bytes:
    values = np.asarray(row)
    if values.dtype.kind in "biuf":
        # Adding zero turns -0.0 into 0.0: equal rows, equal bytes.
        return bytes((values.astype(np.float64) + 0.0).tobytes())
    return repr(values.tolist()).encode()
