"""Batches of tensors for skorch, without collating row by row."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import torch

#: Arguments of a skorch net that prints nothing: its print log formats a table every epoch
#: even then, which costs a tenth of the training of a small network.
QUIET: dict[str, Any] = {"callbacks__print_log": None}


def _as_tensors(X: Any) -> Any:
    if isinstance(X, dict):
        return {name: torch.as_tensor(part) for name, part in X.items()}
    return torch.as_tensor(X)


class TensorLoader:
    """What a DataLoader does for tensors in memory, one indexing operation a batch.

    A last batch of a single row, on which BatchNorm cannot train, joins the batch before.

    Parameters
    ----------
    dataset : skorch.dataset.Dataset
        Its ``X`` is an array, or a dict of arrays of one length.
    batch_size : int
        Rows per batch.
    shuffle : bool, default=False
        Whether each pass has a new order.
    """

    def __init__(self, dataset: Any, batch_size: int, shuffle: bool = False) -> None:
        self.dataset = dataset
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.X = _as_tensors(dataset.X)
        y = dataset.y
        self.y = torch.zeros(len(dataset)) if y is None else torch.as_tensor(y)

    def __len__(self) -> int:
        return len(self._edges()) - 1

    def _edges(self) -> list[int]:
        n = len(self.dataset)
        edges = [*range(0, n, self.batch_size), n]
        if len(edges) > 2 and edges[-1] - edges[-2] == 1:
            del edges[-2]
        return edges

    def __iter__(self) -> Iterator[tuple[Any, torch.Tensor]]:
        n = len(self.dataset)
        order = torch.randperm(n) if self.shuffle else torch.arange(n)
        edges = self._edges()
        for start, stop in pairwise(edges):
            rows = order[start:stop]
            if isinstance(self.X, dict):
                yield {name: part[rows] for name, part in self.X.items()}, self.y[rows]
            else:
                yield self.X[rows], self.y[rows]


def standardization(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and scale of the features, or of the channels of images, in float32.

    A constant feature has scale 1.
    """
    axes = (0, *range(2, X.ndim))
    mean = X.mean(axis=axes, dtype=np.float64, keepdims=True)[0]
    scale = X.std(axis=axes, dtype=np.float64, keepdims=True)[0]
    # Relative to the mean: a large constant has a tiny deviation by rounding alone.
    constant = scale <= 1e-6 * np.maximum(np.abs(mean), 1e-30)
    return mean.astype(np.float32), np.where(constant, 1.0, scale).astype(np.float32)
