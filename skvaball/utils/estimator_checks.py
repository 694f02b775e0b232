"""Checks that every query strategy should pass, for authors of new ones.

They complement :func:`sklearn.utils.estimator_checks.parametrize_with_checks`, which
knows nothing of pools and batches.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.base import clone
from sklearn.datasets import make_blobs
from torch.utils.data import TensorDataset

from skvaball.learner import ActiveLearner
from skvaball.networks import DeepClassifier
from skvaball.selectors.base import QuerySelector

N_LABELED = 24
N_POOL = 40

_CLASSES = np.array(["cat", "dog", "eel"])


def _data(n: int = N_LABELED + N_POOL) -> tuple[np.ndarray, np.ndarray]:
    """Rows, and labels as strings."""
    X, codes = make_blobs(n, n_features=4, centers=3, cluster_std=2.0, random_state=0)
    return X, _CLASSES[codes]


def _split() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    X, y = _data()
    return X[:N_LABELED], y[:N_LABELED], X[N_LABELED:]


def _seeded(selector: QuerySelector) -> Any:
    selector = clone(selector)
    if "random_state" in selector.get_params():
        selector.set_params(random_state=0)
    return selector


def _raises(message: str, call: Callable[[], Any], *words: str) -> None:
    said = None
    try:
        call()
    except (ValueError, TypeError) as error:
        said = str(error)
    assert said is not None, f"{message}: expected a ValueError"
    for word in words:
        assert word in said, f"{message}: the error should name {word!r}: {said}"


def _check_positions(positions: Any, n: int, size: int) -> None:
    assert isinstance(positions, np.ndarray), f"positions are a {type(positions).__name__}"
    assert positions.dtype == np.int64, f"positions have dtype {positions.dtype}, not int64"
    assert positions.shape == (n,), f"positions have shape {positions.shape}, not ({n},)"
    assert len(np.unique(positions)) == n, "positions are not unique"
    assert positions.min() >= 0, "a position is negative"
    assert positions.max() < size, f"a position lies outside of the pool of {size}"


def check_positions(selector: QuerySelector) -> None:
    """Positions are unique int64 numbers of the pool, for one row, some and all."""
    X, y, pool = _split()
    fitted = _seeded(selector).fit_pool(X, y, pool)
    for n in (1, 7, N_POOL):
        positions, scores = fitted.select(pool, n, return_scores=True)
        _check_positions(positions, n, N_POOL)
        assert scores.shape == (N_POOL,), f"scores have shape {scores.shape}"
        assert scores.dtype == np.float64, f"scores have dtype {scores.dtype}, not float64"
        assert np.isfinite(scores).all(), "scores are not finite"


def check_best_first(selector: QuerySelector) -> None:
    """Without a batch rule scores fall, and a single pick is the first of a batch."""
    X, y, pool = _split()
    positions, scores = _seeded(selector).fit_pool(X, y, pool).select(pool, 7, return_scores=True)
    if _takes_the_highest(selector):
        chosen = scores[positions]
        assert np.all(np.diff(chosen) <= 0), "positions are not ordered by score"
        rest = np.delete(scores, positions)
        assert chosen.min() >= rest.max(), "a row with a higher score was left out"
        one = _seeded(selector).fit_pool(X, y, pool).select(pool, 1)
        assert one[0] == positions[0], "a single pick is not the first of a batch"


def _takes_the_highest(selector: QuerySelector) -> bool:
    return type(selector)._select is QuerySelector._select


def check_deterministic(selector: QuerySelector) -> None:
    """The same seed gives the same picks and scores, fitted twice or asked twice."""
    X, y, pool = _split()
    fitted = _seeded(selector).fit_pool(X, y, pool)
    first = fitted.select(pool, 9, return_scores=True)
    again = fitted.select(pool, 9, return_scores=True)
    other = _seeded(selector).fit_pool(X, y, pool).select(pool, 9, return_scores=True)
    joined = _seeded(selector).fit_select(X, y, pool, 9)
    for name, result in (("asked", again), ("fitted", other), ("fit_select", joined)):
        assert np.array_equal(first[0], result[0]), f"picks differ when {name} twice"
        assert np.array_equal(first[1], result[1]), f"scores differ when {name} twice"


def check_generators_untouched(selector: QuerySelector) -> None:
    """The global generators of numpy and torch are left as they were."""
    X, y, pool = _split()
    numpy_state = np.random.get_state(legacy=False)  # noqa: NPY002
    torch_state = torch.get_rng_state()
    _seeded(selector).fit_select(X, y, pool, 5)
    after = np.random.get_state(legacy=False)  # noqa: NPY002
    assert str(numpy_state) == str(after), "numpy's generator was used"
    assert torch.equal(torch_state, torch.get_rng_state()), "torch's generator was used"


def check_no_mutation(selector: QuerySelector) -> None:
    """Rows, labels and a fitted estimator are left as they were."""
    X, y, pool = _split()
    before = X.copy(), y.copy(), pool.copy()
    estimator = DeepClassifier(module_params={"dropout": 0.25}, max_epochs=5, random_state=0).fit(
        X, y
    )
    weights = copy.deepcopy(estimator.net_.module_.state_dict())
    given = _seeded(selector)
    if given.get_params().get("estimator", "") is None:
        given.set_params(estimator=estimator)
    params = given.get_params(deep=False)
    given.fit_select(X, y, pool, 5)
    for old, new in zip(before, (X, y, pool), strict=True):
        assert np.array_equal(old, new), "an input was changed"
    for name, weight in estimator.net_.module_.state_dict().items():
        assert torch.equal(weight, weights[name]), f"the estimator's {name} was changed"
    hooks = [m for m in estimator.net_.module_.modules() if m._forward_hooks]
    assert not hooks, "hooks were left on the estimator's module"
    for name, value in given.get_params(deep=False).items():
        assert value is params[name], f"the parameter {name} was changed"


def check_missing_class(selector: QuerySelector) -> None:
    """A class without labels is known by ``classes=``."""
    X, y, pool = _split()
    some = y != "eel"
    if "classes" not in selector.get_params():
        return
    fitted = _seeded(selector).set_params(classes=_CLASSES).fit_pool(X[some], y[some], pool)
    assert list(fitted.classes_) == list(_CLASSES), f"classes_ is {fitted.classes_}"
    _check_positions(fitted.select(pool, 5), 5, N_POOL)


def check_memmap_and_dataset(selector: QuerySelector) -> None:
    """A memmap as the pool gives the picks of the array, and a torch Dataset is a pool."""
    X, y, pool = _split()
    X, pool = X.astype(np.float32), pool.astype(np.float32)
    positions, _ = _seeded(selector).fit_select(X, y, pool, 6)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pool.npy"
        np.save(path, pool)
        mapped = np.load(path, mmap_mode="r")
        from_memmap, _ = _seeded(selector).fit_select(X, y, mapped, 6)
        del mapped
    assert np.array_equal(positions, from_memmap), "picks from a memmap differ"
    rows = torch.from_numpy(pool)
    datasets = TensorDataset(rows), TensorDataset(rows, torch.zeros(N_POOL))
    alone, with_targets = (
        _seeded(selector).fit_select(X, y, dataset, 6)[0] for dataset in datasets
    )
    # Not always those of the array: random choice does not read the rows of a Dataset.
    _check_positions(alone, 6, N_POOL)
    assert np.array_equal(alone, with_targets), "picks depend on what else a Dataset gives"


def check_images(selector: QuerySelector) -> None:
    """Images of shape (n, channels, height, width) are rows like others."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 1, 8, 8)).astype(np.float32)
    y = _CLASSES[np.arange(30) % 3]
    X += 2 * (np.arange(30) % 3)[:, None, None, None].astype(np.float32)
    given = _seeded(selector)
    if given.get_params().get("estimator", "") is None:
        given.set_params(
            estimator=DeepClassifier(max_epochs=3, module_params={"dropout": 0.25}, random_state=0)
        )
    positions, _ = given.fit_select(X[:18], y[:18], X[18:], 4)
    _check_positions(positions, 4, 12)


def check_in_learner(selector: QuerySelector) -> None:
    """A learner can query with it, teach, and query again."""
    X, y = _data()
    estimator = DeepClassifier(module_params={"dropout": 0.25}, max_epochs=5)
    learner = ActiveLearner(estimator, selector, classes=_CLASSES, random_state=0)
    learner.fit(X[:N_LABELED], y[:N_LABELED])
    pool, labels = X[N_LABELED:], y[N_LABELED:]
    positions = np.asarray(learner.query(pool, 5))
    _check_positions(positions, 5, N_POOL)
    learner.teach(pool[positions], labels[positions], refit=False)
    rest = np.delete(pool, positions, axis=0)
    _check_positions(learner.query(rest, 5), 5, len(rest))


def check_set_output(selector: QuerySelector) -> None:
    """``transform`` gives one column, as a pandas frame too, named by the strategy."""
    import pandas as pd

    X, y, pool = _split()
    fitted = _seeded(selector).fit_pool(X, y, pool)
    column = fitted.transform(pool)
    assert column.shape == (N_POOL, 1), f"transform gives shape {column.shape}"
    assert np.array_equal(column[:, 0], fitted.score_samples(pool)), "transform is not the score"
    frame = fitted.set_output(transform="pandas").transform(pool)
    assert isinstance(frame, pd.DataFrame), "set_output(transform='pandas') has no effect"
    assert list(frame.columns) == list(fitted.get_feature_names_out()), "the column is misnamed"


def check_misuse(selector: QuerySelector) -> None:
    """Misuse raises, and the error says what was wrong."""
    X, y, pool = _split()
    new = partial(_seeded, selector)
    _raises("no labels", lambda: new().fit(X, np.full(len(X), -1)), "labeled")
    _raises("n above the pool", lambda: new().fit_select(X, y, pool, N_POOL + 1), str(N_POOL))
    _raises("an empty pool", lambda: new().fit_select(X, y, pool[:0], 1), "pool")
    fitted = new().fit_pool(X, y, pool)
    _raises("n of 0", lambda: fitted.select(pool, 0), "n=0")
    _raises("n above the pool", lambda: fitted.select(pool, N_POOL + 1), f"n={N_POOL + 1}")
    _raises("an empty pool", lambda: fitted.select(pool[:0], 1), "pool")
    _raises("n that is no integer", lambda: fitted.select(pool, 1.5), "integer")
    _raises("other columns", lambda: fitted.select(pool[:, :2], 1), "features")
    mixed = np.array(["cat", 1] * (len(X) // 2), dtype=object)
    _raises("labels of mixed type", lambda: new().fit_pool(X, mixed, pool), "mixed")
    holed = pool.copy()
    holed[3, 1] = np.nan
    _raises("NaN in the pool", lambda: fitted.select(holed, 1), "NaN")


#: All checks, in the order in which they run.
CHECKS: tuple[Callable[[QuerySelector], None], ...] = (
    check_positions,
    check_best_first,
    check_deterministic,
    check_generators_untouched,
    check_no_mutation,
    check_missing_class,
    check_memmap_and_dataset,
    check_images,
    check_in_learner,
    check_set_output,
    check_misuse,
)


def selector_checks_generator(
    selector: QuerySelector,
) -> Iterator[tuple[QuerySelector, Callable[[], None]]]:
    """Yield the selector with each check, ready to be called.

    Parameters
    ----------
    selector : QuerySelector
        Unfitted, with ``estimator=None`` where it takes one.

    Yields
    ------
    selector : QuerySelector
        The one that was given.
    check : callable
        Runs one check on it; raises an AssertionError if it fails.

    Examples
    --------
    >>> from skvaball.selectors import RandomSelector
    >>> from skvaball.utils.estimator_checks import selector_checks_generator
    >>> for _, check in selector_checks_generator(RandomSelector()):
    ...     check()
    """
    for check in CHECKS:
        yield selector, partial(check, selector)


def check_selector(selector: QuerySelector) -> None:
    """Run all checks on a selector; raises at the first that fails.

    Parameters
    ----------
    selector : QuerySelector
        Unfitted, with ``estimator=None`` where it takes one.

    Examples
    --------
    >>> from skvaball.selectors import RandomSelector
    >>> from skvaball.utils.estimator_checks import check_selector
    >>> check_selector(RandomSelector())
    """
    for _, check in selector_checks_generator(selector):
        check()


def parametrize_with_selector_checks(selectors: list[QuerySelector]) -> Any:
    """Decorate a pytest function that runs every check on every selector.

    Parameters
    ----------
    selectors : list of QuerySelector
        Unfitted, with ``estimator=None`` where they take one.

    Returns
    -------
    pytest mark
        Parametrizes the arguments ``selector`` and ``check`` of the test.

    Examples
    --------
    >>> from skvaball.selectors import RandomSelector
    >>> from skvaball.utils.estimator_checks import parametrize_with_selector_checks
    >>> @parametrize_with_selector_checks([RandomSelector()])
    ... def test_my_selectors(selector, check):
    ...     check(selector)
    """
    import pytest

    cases = [
        pytest.param(selector, check, id=f"{selector!r}-{check.__name__}".replace("\n", ""))
        for selector in selectors
        for check in CHECKS
    ]
    return pytest.mark.parametrize(("selector", "check"), cases)
