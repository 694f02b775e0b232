"""Labels: which are missing, which classes there are, and their codes 0..K-1."""

import numbers
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import check_classification_targets


def as_labels(y: ArrayLike) -> np.ndarray:
    """Labels as a one-dimensional array; lists with None keep it as an object."""
    labels = np.asarray(y)
    if labels.dtype.kind == "U" and isinstance(y, list | tuple):
        # numpy turns None and numbers beside strings into strings without a word.
        labels = np.asarray(y, dtype=object)
    return np.asarray(column_or_1d(labels, warn=True))


def is_missing(y: np.ndarray, missing_label: Any) -> np.ndarray:
    """Mask of the unlabeled rows: the missing label, and always NaN, None and pd.NA.

    Parameters
    ----------
    y : ndarray of shape (n,)
        Labels.
    missing_label : object
        The value that marks an unlabeled row; None adds nothing to NaN, None and pd.NA.

    Returns
    -------
    ndarray of shape (n,), bool

    Raises
    ------
    ValueError
        If numpy has turned a missing label that is a number into a string.
    """
    if y.dtype == object:
        missing = np.array([_is_null(label) for label in y], dtype=bool)
    else:
        missing = y != y if y.dtype.kind == "f" else np.zeros(len(y), dtype=bool)
    if _is_null(missing_label):
        return missing
    if y.dtype.kind in "US" and not isinstance(missing_label, str):
        _refuse_number_among_strings(y, missing_label)
        return missing  # a number never equals a string
    if y.dtype.kind in "biuf" and not isinstance(missing_label, numbers.Number):
        return missing
    if y.dtype == object:
        known = np.flatnonzero(~missing)
        missing[known] = [label == missing_label for label in y[known]]
        return missing
    both: np.ndarray = missing | (y == missing_label)
    return both


def _refuse_number_among_strings(y: np.ndarray, missing_label: Any) -> None:
    """``labels[rows] = -1`` writes "-1" into an array of strings, or "-" if they are short."""
    written = np.asarray(str(missing_label)).astype(y.dtype)
    if np.any(y == written):
        raise ValueError(
            f"y is an array of strings with the label {str(written)!r} in it, as numpy writes the "
            f"missing_label {missing_label} there. If those rows are unlabeled, mark them with "
            f"None in an array of objects, or pass missing_label={str(written)!r}; if it is a "
            "class, pass missing_label=None."
        )


def _is_null(value: Any) -> bool:
    """Whether a value is None, NaN or pd.NA."""
    try:
        return value is None or bool(value != value)
    except (TypeError, ValueError):  # pd.NA has no truth value; an array has many
        return True


def check_labels(y: ArrayLike, name: str = "y") -> np.ndarray:
    """Labels of labeled rows, one-dimensional, of one type and without missing values."""
    labels = as_labels(y)
    if labels.dtype == object:
        if any(_is_null(label) for label in labels):
            raise ValueError(f"{name} contains missing labels; expected labeled rows only.")
        kinds = {"string" if isinstance(v, str) else "number" for v in labels}
        if len(kinds) > 1:
            raise ValueError(
                f"{name} has labels of mixed type (strings and numbers); "
                "expected all strings or all numbers. Convert them to one type."
            )
        labels = np.array(labels.tolist())
    if labels.dtype.kind == "f" and np.any(np.isnan(labels)):
        raise ValueError(f"{name} contains NaN; expected labeled rows only.")
    check_classification_targets(labels)
    return labels


def resolve_classes(classes: ArrayLike | None, *labels: ArrayLike) -> np.ndarray:
    """Sorted classes: those given, or all that occur in the labels.

    Parameters
    ----------
    classes : array-like or None
        Classes known beforehand; every label must be among them.
    *labels : array-like
        Labels, or classes that an estimator was fitted with.

    Returns
    -------
    ndarray of shape (n_classes,)

    Raises
    ------
    ValueError
        If a label is not among the given classes, or types are mixed.
    """
    groups = [np.asarray(part) for part in labels if len(np.asarray(part))]
    if classes is not None:
        classes = _given_classes(classes)
        groups.append(classes)
    if len({group.dtype.kind in "USO" for group in groups}) > 1:
        raise ValueError(
            "Labels and classes have mixed type (strings and numbers); "
            "expected the labels of y, `classes` and the fitted estimator to be of one type."
        )
    found = np.unique(np.concatenate(groups))
    if classes is None:
        return found
    known = np.unique(np.asarray(classes))
    unknown = np.setdiff1d(found, known)
    if len(unknown):
        raise ValueError(
            f"Labels {unknown.tolist()} are not among classes={known.tolist()}. "
            "Add them to `classes`, or leave it None to use the classes that occur."
        )
    return known


def is_class(label: Any, classes: np.ndarray) -> bool:
    """Whether a label is one of the classes; a missing value never is."""
    return not _is_null(label) and label in classes.tolist()


def _given_classes(classes: ArrayLike) -> np.ndarray:
    """Classes that a user has named, none missing, as an array of one type."""
    given = np.asarray(classes)
    if given.ndim != 1 or len(given) == 0:
        raise ValueError(f"classes={classes!r} must be a list of the classes, or None.")
    if given.dtype.kind == "U" and isinstance(classes, list | tuple):
        # numpy turns NaN and numbers beside strings into strings without a word.
        given = np.asarray(classes, dtype=object)
    if is_missing(given, None).any():
        raise ValueError(f"classes={given.tolist()} have a missing value among them.")
    if given.dtype != object:
        return given
    if len({isinstance(label, str) for label in given}) > 1:
        raise ValueError(
            f"classes={given.tolist()} have mixed type (strings and numbers); expected one type."
        )
    return np.asarray(given.tolist())  # numbers too: of a column that had gaps they are objects


def check_order_of_outputs(classes: ArrayLike | None) -> None:
    """Refuse classes in another order than the outputs of a fitted network have.

    It knows codes alone, and code k is the k-th class in sorted order.
    """
    if classes is None:
        return
    given = np.asarray(classes)
    if not np.array_equal(given, np.unique(given)):
        raise ValueError(
            f"classes={given.tolist()} are not sorted, but the outputs of a fitted network count "
            f"as those of the sorted classes, {np.unique(given).tolist()}. If that is their "
            "order, pass them sorted; if not, use codes 0, 1, ... as labels."
        )


def encode(labels: ArrayLike, classes: np.ndarray) -> np.ndarray:
    """Codes (int64) of labels: their positions in the sorted classes."""
    labels = np.asarray(labels)
    codes = np.clip(np.searchsorted(classes, labels), 0, len(classes) - 1)
    wrong = classes[codes] != labels
    if np.any(wrong):
        raise ValueError(
            f"Labels {np.unique(labels[wrong]).tolist()} are not among the classes "
            f"{classes.tolist()}. Pass all classes as `classes=`."
        )
    return codes.astype(np.int64)
