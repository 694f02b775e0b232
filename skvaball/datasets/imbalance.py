"""Imbalanced variants of a data set: dominant classes, rare ones, or a long tail."""

import math
import re
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
    make_variant : Takes the paper's name of a variant.
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
    return _cut(codes, _keep_shares(codes, names, others, keep), random_state)


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
    make_variant : Takes the paper's name of a variant.
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
    return _cut(codes, _keep_shares(codes, names, _find(classes, names), keep), random_state)


#: Fraction of its rows that a cut class keeps in the paper: CIFAR-10 variants name one class,
#: CIFAR-100 variants a range.
KEEP_OF_ONE = 0.1
KEEP_OF_RANGE = 0.6

# A sign, and one class or a range: +[1], -[10], +[45:55].
_VARIANT = re.compile(r"([+-])\[(\d+)(?::(\d+))?\]")


def make_variant(
    y: ArrayLike,
    name: str,
    keep: float | None = None,
    random_state: int | np.random.RandomState | None = None,
) -> NDArray[np.int64]:
    """Rows of a variant that is called by its name in the paper.

    ``+[k]``: class k dominates, and every other class is cut. ``-[k]``: class k is rare, and
    the others stay whole. ``+[first:last]`` and ``-[first:last]`` name a range of classes
    [1]_.

    Parameters
    ----------
    y : array-like of shape (n,)
        Labels.
    name : str
        Name of the variant, such as ``"+[1]"``, ``"-[10]"`` or ``"+[45:55]"``. Classes are
        counted from 1, in the sorted order of the classes that occur in `y`. Both ends of a
        range belong to it: 45:55 are eleven classes, those with the codes 44 to 54.
    keep : float or None, default=None
        Fraction of the rows that a cut class keeps, in (0, 1]; the number of rows is rounded
        to the nearest integer. None takes the paper's: 0.1 when the name has one class
        (CIFAR-10), 0.6 when it has a range (CIFAR-100).
    random_state : int, RandomState instance or None, default=None
        Draws the rows that stay; an int gives the same rows each time.

    Returns
    -------
    ndarray of shape (n_kept,), int64
        Positions in `y` of the rows that stay, in increasing order.

    Raises
    ------
    ValueError
        If `name` is not such a name, it counts a class that `y` does not have, or `keep` is
        outside (0, 1] or would leave a class without a row.

    See Also
    --------
    make_dominant, make_rare : Take the classes by their labels.

    References
    ----------
    .. [1] J. Choi et al. "VaB-AL: Incorporating class imbalance and difficulty with
       variational Bayes for active learning". CVPR 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from skvaball.datasets import make_variant
    >>> y = np.repeat(np.arange(10), 5000)
    >>> kept = make_variant(y, "+[1]", random_state=0)
    >>> np.bincount(y[kept]).tolist()
    [5000, 500, 500, 500, 500, 500, 500, 500, 500, 500]
    """
    match = _VARIANT.fullmatch(name)
    if match is None:
        raise ValueError(
            f"name={name!r} is not the name of a variant. Expected '+[k]' or '-[k]' for class k, "
            "or '+[first:last]' or '-[first:last]' for a range; classes count from 1."
        )
    first = int(match[2])
    last = int(match[3] or first)
    names = np.unique(check_labels(y))
    if not 1 <= first <= last <= len(names):
        raise ValueError(
            f"name={name!r} does not fit the {len(names)} classes of y. "
            f"Expected classes from 1 to {len(names)}, the smaller one first."
        )
    if keep is None:
        keep = KEEP_OF_ONE if match[3] is None else KEEP_OF_RANGE
    make = make_dominant if match[1] == "+" else make_rare
    return make(y, names[first - 1 : last], keep=keep, random_state=random_state)


def make_long_tailed(
    y: ArrayLike,
    imbalance_ratio: float = 100,
    random_state: int | np.random.RandomState | None = None,
) -> NDArray[np.int64]:
    r"""Rows of a long-tailed variant, in which class sizes decay exponentially.

    The first of the K classes, in sorted order, keeps all its :math:`n_0` rows, and class k,
    counted from 0, keeps :math:`\lfloor n_0 \, r^{-k/(K-1)} \rfloor` of its own, drawn at
    random [1]_. The last one has r times fewer rows than the first.

    Parameters
    ----------
    y : array-like of shape (n,)
        Labels, of at least two classes.
    imbalance_ratio : float, default=100
        The ratio r of the largest to the smallest class, at least 1.
    random_state : int, RandomState instance or None, default=None
        Draws the rows that stay; an int gives the same rows each time.

    Returns
    -------
    ndarray of shape (n_kept,), int64
        Positions in `y` of the rows that stay, in increasing order.

    Raises
    ------
    ValueError
        If `imbalance_ratio` is less than 1 or not finite, `y` has a single class, or a class
        has fewer rows than it should keep, or would keep none.

    See Also
    --------
    make_dominant, make_rare : One size for all cut classes.
    imblearn.datasets.make_imbalance : Takes the number of rows of each class.

    References
    ----------
    .. [1] Y. Cui et al. "Class-balanced loss based on effective number of samples".
       CVPR 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from skvaball.datasets import make_long_tailed
    >>> y = np.repeat(np.arange(10), 5000)
    >>> kept = make_long_tailed(y, imbalance_ratio=100, random_state=0)
    >>> np.bincount(y[kept]).tolist()
    [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]
    """
    if not 1 <= imbalance_ratio < math.inf:
        raise ValueError(
            f"imbalance_ratio={imbalance_ratio} is out of range. Expected a finite number of at "
            "least 1: how many times larger the first class is than the last."
        )
    names, codes = np.unique(check_labels(y), return_inverse=True)
    if len(names) < 2:
        raise ValueError(f"y has the single class {names.tolist()[0]!r}. Expected at least two.")
    counts = np.bincount(codes).tolist()
    targets = {}
    for code, available in enumerate(counts):
        size = counts[0] * imbalance_ratio ** (-code / (len(names) - 1))
        # The power is rounded, which must not cost a row: 64 * 64 ** (-5 / 6) is less than 2.
        targets[code] = math.floor(size * (1 + 1e-12))
        if not 1 <= targets[code] <= available:
            raise ValueError(
                f"Class {names.tolist()[code]!r} would keep {targets[code]} of its {available} "
                f"rows, with the first class at {counts[0]}. Pass another imbalance_ratio, or "
                "cut the first class beforehand."
            )
    return _cut(codes, targets, random_state)


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


def _keep_shares(
    codes: np.ndarray, names: np.ndarray, rare: np.ndarray, keep: float
) -> dict[int, int]:
    """Rows that each of the rare codes keeps: a fraction of those it has."""
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
    return targets


def _cut(
    codes: np.ndarray,
    targets: dict[int, int],
    random_state: int | np.random.RandomState | None,
) -> NDArray[np.int64]:
    """Positions of the rows that stay when codes are cut to their target numbers of rows."""
    # Codes instead of labels: the same rows stay whatever the classes are called.
    positions = np.arange(len(codes), dtype=np.int64).reshape(-1, 1)
    kept, _ = make_imbalance(positions, codes, sampling_strategy=targets, random_state=random_state)
    kept_sorted: NDArray[np.int64] = np.sort(kept.ravel())
    return kept_sorted
