"""The data of a protocol and a seed: rows to be labeled, and rows to measure on."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from joblib import Memory, Parallel, delayed
from sklearn.datasets import get_data_home
from sklearn.utils import Bunch

from skvaball._version import __version__
from skvaball.datasets import load_train_test, make_long_tailed, make_variant
from skvaball.datasets.image_folder import SUFFIXES
from skvaball.experiments.protocol import Protocol
from skvaball.utils.extras import needs_extra

#: Data sets whose test part does not depend on the seed.
FIXED_SPLIT = ("cifar10", "cifar100")
#: Cells of the gradient histograms along each side of an image.
HOG_CELLS = 4
HOG_CHUNK = 500
#: In data that no variant has cut, a class is called rare below this part of the mean size.
RARE_SHARE = 0.6


class Split(NamedTuple):
    """Data of one seed.

    Attributes
    ----------
    X_train, y_train : ndarrays of shape (n, ...) and (n,)
        The pool and the start; labels are codes of the classes.
    X_test, y_test : ndarrays of shape (n_test, ...) and (n_test,)
        What the classifier is measured on.
    images : ndarray of shape (n, channels, height, width), uint8
        The training rows to look at.
    class_names : list of str
    rare : list of int
        Codes of the classes whose share among the labels is followed.

    Examples
    --------
    >>> from skvaball.experiments import load_protocol, make_split
    >>> split = make_split(load_protocol("digits"), 0)
    >>> split.class_names[:3], split.images.shape[1:]
    (['0', '1', '2'], (1, 8, 8))
    """

    X_train: np.ndarray
    y_train: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    images: np.ndarray
    class_names: list[str]
    rare: list[int]


def make_split(protocol: Protocol, seed: int, folder: str | Path | None = None) -> Split:
    """The data of a protocol for one seed.

    Parameters
    ----------
    protocol : Protocol
    seed : int
        Draws the rows that a variant leaves out and, where the data set has no test part of
        its own, the test rows.
    folder : str, Path or None, default=None
        Where the data set is; see :func:`~skvaball.datasets.load_train_test`.

    Returns
    -------
    Split

    Examples
    --------
    >>> from skvaball.experiments import load_protocol, make_split
    >>> make_split(load_protocol("digits"), 0).X_train.shape[1]
    64
    """
    parts = load_parts(protocol, seed, folder)
    y_train, y_test = np.asarray(parts.target_train), np.asarray(parts.target_test)
    rows = _variant_rows(protocol, y_train, seed)
    test = _test_rows(y_test, protocol.data.test_rows)
    return Split(
        _as_input(parts.data_train[rows]),
        y_train[rows],
        _as_input(parts.data_test[test]),
        y_test[test],
        np.asarray(parts.images_train[rows]),
        [str(name) for name in parts.target_names],
        _rare_classes(protocol, y_train, y_train[rows]),
    )


def fingerprint(protocol: Protocol, folder: str | Path | None) -> str:
    """What changes with the images or the labels of a data set.

    Not with features that are computed from the images, whose last digits may differ between
    machines.
    """
    parts = _load_images(protocol, 0, folder)
    found = hashlib.blake2b(digest_size=16)
    for name in ("images_train", "images_test", "target_train", "target_test"):
        part = np.asarray(parts[name])
        found.update(f"{part.shape}{part.dtype}".encode())
        found.update(np.ascontiguousarray(part).data)
    return found.hexdigest()


def count_rows(
    protocol: Protocol, seeds: Iterable[int], folder: str | Path | None
) -> dict[int, int]:
    """How many training rows each seed has; no features are computed for that."""
    counts: dict[int, int] = {}
    y = np.empty(0)
    for seed in seeds:
        if not counts or protocol.data.set not in FIXED_SPLIT:
            y = np.asarray(_load_images(protocol, seed, folder).target_train)
        counts[seed] = len(_variant_rows(protocol, y, seed))
    return counts


def load_parts(protocol: Protocol, seed: int, folder: str | Path | None) -> Bunch:
    """The whole data set, from a cache on the disk once it was read and its features computed.

    The cache is a folder of this version in ``skvaball`` in scikit-learn's data home: another
    version may read or compute otherwise.
    """
    source = _source(protocol, seed, folder)
    parts = Bunch(**_memory().cache(_load)(*source))
    if protocol.data.features == "hog":
        parts.data_train, parts.data_test = _memory().cache(_load_hog)(*source)
    return parts


def _load_images(protocol: Protocol, seed: int, folder: str | Path | None) -> Bunch:
    """The whole data set without features that are computed from the images."""
    return Bunch(**_memory().cache(_load)(*_source(protocol, seed, folder)))


def _source(
    protocol: Protocol, seed: int, folder: str | Path | None
) -> tuple[str, str | None, int, str | None]:
    """What the cache knows a data set by: its name, place, split and state."""
    name, path = protocol.data.set, None if folder is None else str(Path(folder).resolve())
    if name == "digits":
        path = None
    split = 0 if name in FIXED_SPLIT else seed
    stamp = None if path is None or not os.path.exists(path) else _stamp(path)
    return name, path, split, stamp


def _stamp(path: str) -> str:
    """What changes with an archive, or with the images of a folder, so that they are read again.

    Not with other files: the cache itself and a store of results may lie beside the images.
    """
    found = hashlib.blake2b(digest_size=16)
    inside = (os.path.join(glob.escape(path), *["*"] * depth) for depth in (1, 2, 3))
    for file in [path, *(file for pattern in inside for file in sorted(glob.iglob(pattern)))]:
        image = file == path or os.path.splitext(file)[1].lower() in SUFFIXES
        if image and os.path.isfile(file):  # not a folder, nor a link to nowhere
            state = os.stat(file)
            found.update(os.fsencode(file) + f"|{state.st_size}|{state.st_mtime_ns}\n".encode())
    return found.hexdigest()


@cache
def _memory() -> Memory:
    # Memory-mapped: processes on one machine share what they read.
    return Memory(Path(get_data_home()) / "skvaball" / __version__, mmap_mode="r", verbose=0)


def _load(name: str, path: str | None, seed: int, stamp: str | None) -> dict[str, Any]:
    parts = load_train_test(name, path, random_state=seed)
    return {key: value for key, value in parts.items() if key != "DESCR"}


def _load_hog(
    name: str, path: str | None, seed: int, stamp: str | None
) -> tuple[np.ndarray, np.ndarray]:
    """Features of the training and of the test images."""
    parts = _memory().cache(_load)(name, path, seed, stamp)
    return hog_features(parts["images_train"]), hog_features(parts["images_test"])


def hog_features(images: np.ndarray) -> np.ndarray:
    """Histograms of oriented gradients, 4 x 4 cells with 9 orientations in blocks of 2 x 2.

    Parameters
    ----------
    images : ndarray of shape (n, channels, height, width)
        Of channels, the one with the largest gradient counts at each pixel.

    Returns
    -------
    ndarray of shape (n, 324), float32
    """
    chunks = [images[i : i + HOG_CHUNK] for i in range(0, len(images), HOG_CHUNK)]
    return np.concatenate(Parallel(n_jobs=-1)(delayed(_hog_chunk)(chunk) for chunk in chunks))


def _hog_chunk(images: np.ndarray) -> np.ndarray:
    with needs_extra("A protocol with histograms of gradients", "experiments"):
        from skimage.feature import hog  # here: few protocols need it

    cell = (images.shape[2] // HOG_CELLS, images.shape[3] // HOG_CELLS)
    return np.stack(
        [
            hog(image, pixels_per_cell=cell, cells_per_block=(2, 2), channel_axis=0)
            for image in images
        ]
    ).astype(np.float32)


def _as_input(rows: np.ndarray) -> np.ndarray:
    """Float32 rows; images from 0 to 1."""
    scale = np.float32(1 / 255) if rows.dtype == np.uint8 else np.float32(1)
    return rows.astype(np.float32) * scale


def _variant_rows(protocol: Protocol, y: np.ndarray, seed: int) -> np.ndarray:
    variant = protocol.variant
    if variant.name == "none":
        return np.arange(len(y))
    if variant.name == "long-tailed":
        return make_long_tailed(y, variant.ratio, random_state=seed)
    return make_variant(y, variant.name, keep=variant.keep, random_state=seed)


def _test_rows(y: np.ndarray, n: int | None) -> np.ndarray:
    """Positions of n rows, as evenly from all classes as they can be; the same every time."""
    if n is None or n >= len(y):
        return np.arange(len(y))
    return np.sort(balanced_positions(np.empty(0), y, n, seed=0))


def _rare_classes(protocol: Protocol, y: np.ndarray, kept: np.ndarray) -> list[int]:
    """Codes of the classes whose share among the labels is followed, of all labels and those kept.

    Those that the protocol names, else those that its variant cut, else those with less than
    ``RARE_SHARE`` of the mean number of rows.
    """
    if protocol.metrics.rare is not None:
        n_classes = len(np.unique(y))
        if max(protocol.metrics.rare, default=1) > n_classes:
            raise ValueError(
                f"The protocol {protocol.name} names the rare classes "
                f"{list(protocol.metrics.rare)}; the data have the classes 1 to {n_classes}."
            )
        return [number - 1 for number in protocol.metrics.rare]
    counts = np.bincount(kept)
    if protocol.variant.name.startswith(("+", "-")):
        rare = counts < np.bincount(y)
    else:
        rare = counts < RARE_SHARE * counts.mean()
    return [int(k) for k in np.flatnonzero(rare)]


def balanced_positions(labeled: np.ndarray, pool: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Positions of n rows that bring the class counts as close to each other as can be.

    Parameters
    ----------
    labeled : ndarray of shape (n_labeled,)
        Labels so far.
    pool : ndarray of shape (n_pool,)
        True labels of the pool.
    n : int
        How many rows, at most n_pool.
    seed : int
        Seed of the choice inside a class.

    Returns
    -------
    ndarray of shape (n,), int64
    """
    classes, codes = np.unique(pool, return_inverse=True)
    # The i-th row of a class, in random order, would be number counts + i: the lowest go first.
    order = np.random.default_rng(seed).permutation(len(pool))
    number = np.empty(len(pool))
    for k, label in enumerate(classes):
        rows = order[codes[order] == k]
        number[rows] = np.sum(labeled == label) + np.arange(len(rows))
    chosen: np.ndarray = order[np.argsort(number[order], kind="stable")][:n].astype(np.int64)
    return chosen
