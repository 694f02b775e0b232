"""Batches of tensors for skorch, without collating row by row."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike

#: Arguments of a skorch net that prints nothing: its print log formats a table every epoch
#: even then, which costs a tenth of the training of a small network.
QUIET: dict[str, Any] = {"callbacks__print_log": None}


#: Rows that are brought into float64 at a time.
CHUNK_ROWS = 4096


def _as_tensors(X: Any, device: str) -> Any:
    if isinstance(X, dict):
        return {name: torch.as_tensor(part, device=device) for name, part in X.items()}
    return torch.as_tensor(X, device=device)


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
    balanced : bool, default=False
        Whether each pass draws as many rows as there are with replacement, so that the
        classes are equally frequent in expectation. The labels must be codes 0..K-1.
    transform : callable or None, default=None
        Applied to the inputs of every batch, such as
        :func:`~skvaball.networks.crop_flip`.
    device : str, default="cpu"
        Where the tensors are kept, whole: then no batch has to be copied there.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int,
        shuffle: bool = False,
        *,
        balanced: bool = False,
        transform: Callable[[Any], Any] | None = None,
        device: str = "cpu",
    ) -> None:
        self.dataset = dataset
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.balanced = balanced
        self.transform = transform
        self.device = device
        self.X = _as_tensors(dataset.X, device)
        y = torch.zeros(len(dataset)) if dataset.y is None else dataset.y
        self.y = torch.as_tensor(y, device=device)

    def __len__(self) -> int:
        return len(self._edges()) - 1

    def _edges(self) -> list[int]:
        n = len(self.dataset)
        edges = [*range(0, n, self.batch_size), n]
        if len(edges) > 2 and edges[-1] - edges[-2] == 1:
            del edges[-2]
        return edges

    def _order(self) -> torch.Tensor:
        """Rows of one pass, drawn on the CPU: the same on every device."""
        n = len(self.dataset)
        if self.balanced:
            y = self.y.cpu()
            weights = 1 / torch.bincount(y).double()
            return torch.multinomial(weights[y], n, replacement=True)
        return torch.randperm(n) if self.shuffle else torch.arange(n)

    def __iter__(self) -> Iterator[tuple[Any, torch.Tensor]]:
        order = self._order().to(self.device)
        for start, stop in pairwise(self._edges()):
            rows = order[start:stop]
            if isinstance(self.X, dict):
                X = {name: part[rows] for name, part in self.X.items()}
            else:
                X = self.X[rows]
            yield X if self.transform is None else self.transform(X), self.y[rows]


def standardization(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and scale of the features, or of the channels of images, in float32.

    A constant feature has scale 1, or, if it is large, that of its rounding.
    """
    axes = (0, *range(2, X.ndim))
    # In chunks: float64 copies of all rows would need twice their memory.
    chunks = [X[start : start + CHUNK_ROWS] for start in range(0, len(X), CHUNK_ROWS)]
    n_values = X.size // X.shape[1]
    total = sum(chunk.sum(axis=axes, dtype=np.float64, keepdims=True) for chunk in chunks)
    mean = total[0] / n_values
    squares = sum(np.square(chunk - mean).sum(axis=axes, keepdims=True) for chunk in chunks)
    scale = np.sqrt(squares[0] / n_values)
    return mean.astype(np.float32), unit_of_spread(scale, np.abs(mean), np.float32)


def unit_of_spread(
    spread: np.ndarray, size: np.ndarray, dtype: DTypeLike, n_eps: int = 2
) -> np.ndarray:
    """What features are divided by: their spread, if that is more than their rounding.

    Parameters
    ----------
    spread : ndarray
        Range or standard deviation of each feature.
    size : ndarray
        How large its values are.
    dtype : dtype
        Type of the values.
    n_eps : int, default=2
        Rounding of a value, in units of its last place.

    Returns
    -------
    ndarray
        Of a constant feature 1, or, if its rounding is more than that, the rounding.
    """
    # And nothing is divided by what is next to nothing.
    rounding = np.maximum(n_eps * np.finfo(dtype).eps * size, 1e-30)
    return np.where(spread > rounding, spread, np.maximum(rounding, 1)).astype(dtype)
