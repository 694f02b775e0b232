"""The data sets of the experiments by name, in a training and a test part."""

from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.utils import Bunch

from skvaball.datasets.cifar import fetch_cifar10, fetch_cifar100
from skvaball.datasets.image_folder import load_image_folder
from skvaball.datasets.neu import load_neu

DATA_SETS = ("cifar10", "cifar100", "neu", "digits")


def load_train_test(
    name: str,
    path: str | Path | None = None,
    *,
    test_size: float = 0.2,
    download_if_missing: bool = True,
    random_state: int | np.random.RandomState | None = None,
) -> Bunch:
    """Load a data set by name, in a training and a test part.

    Parameters
    ----------
    name : {"cifar10", "cifar100", "neu", "digits"}
        The data set: CIFAR-10, CIFAR-100, NEU-CLS-64, or the handwritten digits of
        scikit-learn.
    path : str, Path or None, default=None
        Where the data are.

        - CIFAR: a folder with the class folders ``train/<class>/`` and ``test/<class>/``, or
          the `data_home` of :func:`fetch_cifar10`; None is its default.
        - NEU: the folder or archive that :func:`load_neu` takes; needed.
        - Digits: None, as they come with scikit-learn.
    test_size : float, default=0.2
        Share of the rows that is held out, in (0, 1), stratified by class. CIFAR has a test
        part of its own.
    download_if_missing : bool, default=True
        Download CIFAR if it is not at `path`. False raises an error instead.
    random_state : int, RandomState instance or None, default=None
        Draws the rows that are held out; an int gives the same rows each time. CIFAR has a
        test part of its own.

    Returns
    -------
    parts : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with the attributes

        data_train, data_test : ndarray of shape (n, ...)
            What a network is fitted to: the images in uint8, (n, channels, height, width);
            for the digits their 64 features from 0 to 16 in float32, (n, 64).
        images_train, images_test : ndarray of shape (n, channels, height, width), uint8
            The images to look at, from 0 to 255; for CIFAR and NEU the data themselves.
        target_train, target_test : ndarray of shape (n,), int64
            Codes of the classes.
        target_names : ndarray of shape (n_classes,)
            Names of the classes, by code.
        DESCR : str
            What was loaded.

    Raises
    ------
    ValueError
        If `name` is unknown, `path` is missing for NEU or given for the digits, or the data
        are not of the expected form.
    FileNotFoundError
        If `path` does not exist, or CIFAR is missing and `download_if_missing` is False.
    OSError
        If the download fails.
    ImportError
        If Pillow or torchvision is not installed.

    See Also
    --------
    fetch_cifar10, fetch_cifar100, load_neu, load_image_folder : Load one data set.
    make_variant, make_long_tailed : Imbalanced variants of a training part.

    Examples
    --------
    >>> from skvaball.datasets import load_train_test
    >>> digits = load_train_test("digits", random_state=0)
    >>> digits.data_train.shape, digits.data_test.shape
    ((1437, 64), (360, 64))
    >>> digits.images_train.shape
    (1437, 1, 8, 8)
    """
    if name not in DATA_SETS:
        raise ValueError(f"The data set {name!r} is unknown. Expected one of {DATA_SETS}.")
    if path is not None and not Path(path).exists():
        raise FileNotFoundError(f"path={str(path)!r} does not exist. Expected the data of {name}.")
    if name == "digits":
        return _digits(path, test_size, random_state)
    if name == "neu":
        parts = _neu(path, test_size, random_state)
    else:
        fetch = fetch_cifar10 if name == "cifar10" else fetch_cifar100
        parts = _cifar(fetch, path, download_if_missing)
    parts.images_train, parts.images_test = parts.data_train, parts.data_test
    return parts


def _cifar(fetch: Any, path: str | Path | None, download_if_missing: bool) -> Bunch:
    """Both parts from class folders where there are any, else through torchvision."""
    if path is not None and (Path(path) / "train").is_dir() and (Path(path) / "test").is_dir():
        train = load_image_folder(Path(path) / "train")
        test = load_image_folder(Path(path) / "test")
        if train.target_names.tolist() != test.target_names.tolist():
            raise ValueError(
                f"The class folders of {path} differ: {train.target_names.tolist()} in train, "
                f"{test.target_names.tolist()} in test. Expected the same in both."
            )
        if train.data.shape[1:] != test.data.shape[1:]:
            raise ValueError(
                f"The images of {path} differ: {train.data.shape[1:]} in train, "
                f"{test.data.shape[1:]} in test (channels, height, width). Expected the same."
            )
    else:
        train, test = (
            fetch(data_home=path, subset=subset, download_if_missing=download_if_missing)
            for subset in ("train", "test")
        )
    return Bunch(
        data_train=train.data,
        data_test=test.data,
        target_train=train.target,
        target_test=test.target,
        target_names=train.target_names,
        DESCR=f"Training part: {train.DESCR}\nTest part: {test.DESCR}",
    )


def _neu(path: str | Path | None, test_size: float, random_state: Any) -> Bunch:
    if path is None:
        raise ValueError(
            "NEU-CLS-64 is not downloaded. Pass path=, the folder of its class folders or the "
            "archive."
        )
    return load_neu(path, test_size=test_size, random_state=random_state)


def _digits(path: str | Path | None, test_size: float, random_state: Any) -> Bunch:
    if path is not None:
        raise ValueError(f"path={str(path)!r} has no use: the digits come with scikit-learn.")
    digits = load_digits()
    train, test = train_test_split(
        np.arange(len(digits.target)),
        test_size=test_size,
        stratify=digits.target,
        random_state=random_state,
    )
    data = digits.data.astype(np.float32)
    images = np.rint(digits.images[:, np.newaxis] * (255 / 16)).astype(np.uint8)
    target = digits.target.astype(np.int64)
    return Bunch(
        data_train=data[train],
        data_test=data[test],
        images_train=images[train],
        images_test=images[test],
        target_train=target[train],
        target_test=target[test],
        target_names=digits.target_names.astype(str),
        DESCR=digits.DESCR,
    )
