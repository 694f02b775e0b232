"""Work on the chunks of a pool: one after the other, in processes, or on a cluster."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from joblib import Parallel, delayed

from skvaball.utils.rows import is_dask, iter_chunks


def map_rows(
    function: Callable[[Any], Any], X: Any, size: int, n_jobs: int | None = None
) -> Iterator[Any]:
    """Results of a function for consecutive chunks of rows, in order.

    Parameters
    ----------
    function : callable
        Given a chunk of rows. For more than one job it must be picklable.
    X : array-like or torch Dataset
        The rows. The blocks of a Dask array are not fetched: the function goes to where
        they are, by Dask's own scheduler.
    size : int
        Rows per chunk.
    n_jobs : int or None, default=None
        Chunks at a time, as in joblib; None is 1 unless ``joblib.parallel_config`` says
        otherwise.

    Yields
    ------
    What the function returns for each chunk.
    """
    if is_dask(X):
        from dask.base import compute  # here: whoever has a Dask array has it
        from dask.delayed import delayed as dask_delayed

        task = dask_delayed(function, pure=False)
        # Dask declares no types for it.
        yield from compute(*(task(block) for block in _row_blocks(X)))  # type: ignore[no-untyped-call]
        return
    yield from map_chunks(function, (chunk for chunk, _ in iter_chunks(X, size)), n_jobs)


def map_chunks(
    function: Callable[[Any], Any], chunks: Iterable[Any], n_jobs: int | None = None
) -> Iterator[Any]:
    """Results of a function for chunks, in order; parameters as in :func:`map_rows`."""
    # In a tuple: joblib puts bare arrays on one worker of a Dask cluster before the task is
    # sent, and they, and with them the task, are lost if that worker dies.
    yield from Parallel(n_jobs=n_jobs, return_as="generator")(
        delayed(_call)(function, (chunk,)) for chunk in chunks
    )


def _call(function: Callable[[Any], Any], arguments: tuple[Any]) -> Any:
    return function(*arguments)


def _row_blocks(X: Any) -> list[Any]:
    """The blocks of a Dask array that have any rows, with whole rows each."""
    whole = X.rechunk(dict.fromkeys(range(1, X.ndim), -1))
    blocks = whole.to_delayed().ravel().tolist()
    return [block for block, length in zip(blocks, whole.chunks[0], strict=True) if length]
