"""Imbalanced variants of a data set: a few dominant classes, or a few rare ones."""

from typing import Any

import numpy as np
from imblearn.datasets import make_imbalance
from numpy.typing import ArrayLike, NDArray

from skvaball.utils.labels import check_labels


def make_dominant(
    y: ArrayLike,
    classes: Any,
    keep: float = 0.1,
    random_state: int | np.random.RandomState | None = None,
) -> NDArray[np.int64]:
    """Rows of a variant in which the given classes dominate.

    Every other class is cut to a fraction of its rows, drawn at random. With one class
    and ``keep=0.1`` this is CIFAR-10 +[k] of the paper [1]_, which counts classes from 1:
    +[1] is ``make_dominant(y, classes=0)``.

    Parameters
    ----------
    y : array-like of shape (n,)
        Labels.
    classes : label or list of labels
        The classes that keep all their rows.
    keep : float, default=0.1
        Fraction of the rows that each other class keeps, in (0, 1]; the number of rows is
        rounded to the nearest integer.
    random_state : int, RandomState instance or None, default=None
        Draws the rows that stay; an int gives the same rows each time.

    Returns
    -------
    ndarray of shape (n_kept,), int64
        Positions in `y` of the rows that stay, in increasing order.

    Raises
    ------
    ValueError
        If a class does not occur in `y`, or `keep` is outside (0, 1] or would leave a
        class without a row.

    See Also
    --------
    make_rare : Cuts the given classes instead.
    imblearn.datasets.make_imbalance : Takes the number of rows of each class.

    References
    ----------
    .. [1] J. Choi et al. "VaB-AL: Incorporating class imbalance and difficulty with
       variational Bayes for active learning". CVPR 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from skvaball.datasets import make_dominant
    >>> y = np.repeat([0, 1, 2], 100)
    >>> kept = make_dominant(y, classes=1, random_state=0)
    >>> np.bincount(y[kept]).tolist()
    [10, 100, 10]
    """
    names, codes = np.unique(check_labels(y), return_inverse=True)
    others = np.setdiff1d(np.arange(len(names)), _find(classes, names))
    return _cut(codes, names, others, keep, random_state)


def make_rare(
    y: ArrayLike,
    classes: Any,
    keep: float = 0.1,
    random_state: int | np.random.RandomState | None = None,
) -> NDArray[np.int64]:
    """Rows of a variant in which the given classes are rare.

    They are cut to a fraction of their rows, drawn at random, and the other classes stay
    whole. With one class and ``keep=0.1`` this is CIFAR-10 -[k] of the paper [1]_, which
    counts classes from 1: -[1] is ``make_rare(y, classes=0)``.

    Parameters
    ----------
    y : array-like of shape (n,)
        Labels.
    classes : label or list of labels
        The classes to cut.
    keep : float, default=0.1
        Fraction of the rows that each of them keeps, in (0, 1]; the number of rows is
        rounded to the nearest integer.
    random_state : int, RandomState instance or None, default=None
        Draws the rows that stay; an int gives the same rows each time.

    Returns
    -------
    ndarray of shape (n_kept,), int64
        Positions in `y` of the rows that stay, in increasing order.

    Raises
    ------
    ValueError
        If a class does not occur in `y`, or `keep` is outside (0, 1] or would leave a
        class without a row.

    See Also
    --------
    make_dominant : Cuts all classes but the given ones.
    imblearn.datasets.make_imbalance : Takes the number of rows of each class.

    References
    ----------
    .. [1] J. Choi et al. "VaB-AL: Incorporating class imbalance and difficulty with
       variational Bayes for active learning". CVPR 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from skvaball.datasets import make_rare
    >>> y = np.repeat(["bird", "cat", "dog"], 100)
    >>> kept = make_rare(y, classes=["bird", "dog"], keep=0.05, random_state=0)
    >>> [int(np.sum(y[kept] == name)) for name in ("bird", "cat", "dog")]
    [5, 100, 5]
    """
    names, codes = np.unique(check_labels(y), return_inverse=True)
    return _cut(codes, names, _find(classes, names), keep, random_state)


def _find(classes: Any, names: np.ndarray) -> np.ndarray:
    """Codes of the wanted classes among the names that occur."""
    wanted = np.atleast_1d(np.asarray(classes)).tolist()
    # Python's ==, because numpy would find the string "3" among the integers.
    known = names.tolist()
    unknown = [label for label in wanted if label not in known]
    if unknown:
        raise ValueError(f"Classes {unknown} do not occur in y. Expected some of {known}.")
    if not wanted:
        raise ValueError(f"classes is empty. Expected at least one of {known}.")
    return np.unique([known.index(label) for label in wanted])


def _cut(
    codes: np.ndarray,
    names: np.ndarray,
    rare: np.ndarray,
    keep: float,
    random_state: int | np.random.RandomState | None,
) -> NDArray[np.int64]:
    """Positions of the rows that stay when the rare codes are cut."""
    if not 0 < keep <= 1:
        raise ValueError(f"keep={keep} is out of range. Expected a fraction in (0, 1].")
    counts = np.bincount(codes)
    targets = {int(code): round(keep * int(counts[code])) for code in rare}
    for code, target in targets.items():
        if target == 0:
            raise ValueError(
                f"keep={keep} would leave no row of class {names.tolist()[code]!r}, which has "
                f"{counts[code]}. Pass a larger keep."
            )
    # Codes instead of labels: the same rows stay whatever the classes are called.
    positions = np.arange(len(codes), dtype=np.int64).reshape(-1, 1)
    kept, _ = make_imbalance(positions, codes, sampling_strategy=targets, random_state=random_state)
    kept_sorted: NDArray[np.int64] = np.sort(kept.ravel())
    return kept_sorted
