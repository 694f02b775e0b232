"""Rows of whatever holds data: arrays, memmaps, data frames, sparse matrices, lists, Datasets.

Arrays of Dask, Zarr and HDF5, whose rows are elsewhere, are never read as a whole.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from sklearn.utils import _safe_indexing, check_array
from sklearn.utils.validation import _num_samples
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset

#: What is read at once of a lazy array that is stored in one piece.
BLOCK_BYTES = 2**26


def is_lazy(X: Any) -> bool:
    """Whether X is an array in chunks that are elsewhere: of Dask, Zarr or HDF5."""
    return hasattr(X, "chunks") and hasattr(X, "shape") and hasattr(X, "dtype")


def is_dask(X: Any) -> bool:
    """Whether X is a Dask array."""
    return is_lazy(X) and hasattr(X, "__dask_graph__")


def n_rows(X: Any) -> int:
    """Number of rows.

    Raises
    ------
    ValueError
        If a Dask array does not know it.
    """
    if isinstance(X, Dataset):
        return len(X)  # type: ignore[arg-type]  # map-style datasets have a length
    if is_lazy(X) and np.isnan(X.shape[0]):
        raise ValueError(
            "The Dask array does not know how many rows it has. Call compute_chunk_sizes() on it."
        )
    return int(_num_samples(X))


def take_rows(X: Any, positions: np.ndarray) -> Any:
    """Rows at the positions, of the same kind as X (of a memmap or a lazy array: in memory)."""
    if isinstance(X, Dataset):
        return Subset(X, positions.tolist())
    return _take_lazily(X, positions) if is_lazy(X) else _safe_indexing(X, positions)


def _take_lazily(X: Any, positions: np.ndarray) -> np.ndarray:
    """Rows of a lazy array: each block with any of them is read once."""
    rows = np.empty((len(positions), *X.shape[1:]), dtype=X.dtype)
    start = 0
    for block in _blocks(X):
        wanted = np.flatnonzero((positions >= start) & (positions < start + len(block)))
        if len(wanted):
            rows[wanted] = np.asarray(block)[positions[wanted] - start]
        start += len(block)
    return rows


class _Block:
    """Consecutive rows of a lazy array, read when they are asked for."""

    def __init__(self, X: Any, start: int, stop: int) -> None:
        self.X, self.start, self.stop = X, start, stop

    def __len__(self) -> int:
        return self.stop - self.start

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.X[self.start : self.stop], dtype=dtype)


def _blocks(X: Any) -> Iterator[_Block]:
    """The rows of a lazy array in the blocks in which they are stored."""
    total = n_rows(X)
    lengths = X.chunks[0] if X.chunks else _rows_at_once(X)  # HDF5: None if it is in one piece
    if isinstance(lengths, int | np.integer):  # Zarr and HDF5: all of one size, but the last
        lengths = np.diff([*range(0, total, lengths), total])
    stops = np.cumsum(lengths)
    for length, stop in zip(lengths, stops, strict=True):
        yield _Block(X, int(stop - length), int(stop))


def _rows_at_once(X: Any) -> int:
    row_bytes = math.prod(X.shape[1:]) * X.dtype.itemsize
    return max(1, BLOCK_BYTES // max(1, int(row_bytes)))


def _lazy_chunks(X: Any, size: int) -> Iterator[np.ndarray]:
    """Chunks of a lazy array, all of one size but the last, however large its blocks are."""
    parts: list[np.ndarray] = []
    missing = size
    for block in _blocks(X):
        rows = np.asarray(block)
        while missing <= len(rows):
            yield np.concatenate([*parts, rows[:missing]])
            parts, rows, missing = [], rows[missing:], size
        if len(rows):
            parts.append(rows.copy())  # a view would keep the whole block
            missing -= len(rows)
    if parts:
        yield np.concatenate(parts)


def to_array(X: Any) -> Any:
    """A torch Dataset as one array of its inputs, a lazy array in memory; others as they are."""
    if is_lazy(X):
        return np.asarray(X)
    if not isinstance(X, Dataset):
        return X
    batches = [
        batch[0] if isinstance(batch, list | tuple) else batch
        # A generator of its own: a DataLoader draws from the global one even to read in order.
        for batch in DataLoader(X, batch_size=256, generator=torch.Generator())
    ]
    return np.concatenate([np.asarray(batch) for batch in batches])


def as_rows(X: Any, *, allow_1d: bool = False) -> Any:
    """Rows in a form whose parts can be taken; values are left to whoever reads them.

    Parameters
    ----------
    X : array-like, sparse matrix or torch Dataset
        Arrays, lazy ones too, and data frames stay as they are, a Dataset becomes an array.
    allow_1d : bool, default=False
        Whether a row may be a single thing, such as a text.

    Returns
    -------
    array, lazy array, data frame, CSR matrix or (if ``allow_1d``) list

    Raises
    ------
    ValueError
        If there are no rows, or they are one-dimensional without ``allow_1d``.
    """
    if isinstance(X, Dataset):
        X = to_array(X)
    elif sp.issparse(X):
        X = X.tocsr()
    elif not hasattr(X, "shape") and not allow_1d:
        X = check_array(X, dtype=None, allow_nd=True, ensure_all_finite=False)
    if n_rows(X) == 0:
        raise ValueError(
            "Found array with 0 sample(s) (n_samples=0) while a minimum of 1 is required."
        )
    if getattr(X, "ndim", 2) == 1 and not allow_1d:
        raise ValueError(
            "Expected 2D array, got 1D array instead. Reshape your data: X.reshape(-1, 1) for a "
            "single feature, X.reshape(1, -1) for a single row."
        )
    return X


def iter_chunks(X: Any, size: int, *, pad: bool = False) -> Iterator[tuple[Any, int]]:
    """Consecutive chunks of rows, and how many rows of each are real.

    Parameters
    ----------
    X : array-like or torch Dataset
        The rows; a Dataset gives its inputs as arrays.
    size : int
        Rows per chunk.
    pad : bool, default=False
        Fill the last chunk up by repeating its last row. Products of matrices round
        differently for different numbers of rows; with chunks of one size a row has
        the same result in any batch.

    Yields
    ------
    (chunk, n) : the rows, and the number of rows that are not padding
    """
    if is_lazy(X):
        for rows in _lazy_chunks(X, size):
            yield from iter_chunks(rows, size, pad=pad)
        return
    total = n_rows(X)
    for start in range(0, total, size):
        stop = min(start + size, total)
        if isinstance(X, np.ndarray) and not (pad and stop - start < size):
            yield X[start:stop], stop - start  # nothing is copied
            continue
        positions = np.arange(start, start + size if pad else stop)
        yield to_array(take_rows(X, np.minimum(positions, stop - 1))), stop - start


def concat_rows(first: Any, second: Any) -> Any:
    """Rows of both, one after the other, of the kind of the first.

    Rows of an array take over the names of the columns of a data frame.
    """
    if isinstance(first, Dataset):
        return ConcatDataset([first, second])
    if sp.issparse(second) and not sp.issparse(first):
        second = second.toarray()
    if sp.issparse(first):
        return sp.vstack([first, second], format="csr")
    if hasattr(first, "iloc"):
        return _concat_pandas(first, second)
    if hasattr(first, "vstack"):  # polars
        if not hasattr(second, "vstack"):
            second = type(first)(np.asarray(second), schema=first.columns)
        import polars as pl

        return pl.concat([first, second], how="vertical_relaxed")
    if type(first).__module__.startswith("pyarrow"):
        import pyarrow as pa

        if not hasattr(second, "column_names"):
            second = pa.table(list(np.asarray(second).T), names=first.column_names)
        return pa.concat_tables([first, second])
    if isinstance(first, list):
        return first + list(second)
    return np.concatenate([np.asarray(first), np.asarray(second)])


def _concat_pandas(first: Any, second: Any) -> Any:
    """Rows of a data frame or Series and others; columns are paired by their place."""
    import pandas as pd  # here: whoever has no data frames need not load pandas

    if not hasattr(first, "columns"):  # a Series of texts
        if hasattr(second, "columns"):
            raise ValueError("The new rows are a data frame, the others a Series: pass a Series.")
        return pd.concat([first, pd.Series(list(second))], ignore_index=True)
    if not hasattr(second, "columns"):
        second = pd.DataFrame(np.asarray(second), columns=first.columns)
    # Names that are strings have been compared already. Others may differ, and pandas would
    # put what is called 0 beside what is called 1.
    second = second.set_axis(first.columns, axis=1)
    first = first.copy(deep=False)
    for i, dtype in enumerate(first.dtypes):
        if isinstance(dtype, pd.CategoricalDtype):
            both = _categories_of_both(dtype, second.iloc[:, i])
            first.isetitem(i, first.iloc[:, i].astype(both))
            second.isetitem(i, second.iloc[:, i].astype(both))
    return pd.concat([first, second], ignore_index=True)


def _categories_of_both(dtype: Any, column: Any) -> Any:
    """A categorical type with those of a column besides: other types would be objects."""
    new = [value for value in column.dropna().unique() if value not in dtype.categories]
    if new and dtype.ordered:
        raise ValueError(
            f"The column {column.name!r} has new categories {new}, but its categories "
            f"{dtype.categories.tolist()} are ordered. Set them in all rows from the start."
        )
    return type(dtype)(dtype.categories.tolist() + new, ordered=dtype.ordered)
