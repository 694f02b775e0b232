"""CIFAR-10 and CIFAR-100, downloaded and read by torchvision."""

from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import get_data_home
from sklearn.utils import Bunch

from skvaball.utils.extras import needs_extra

Subset = Literal["train", "test", "all"]


@overload
def fetch_cifar10(
    *,
    data_home: str | Path | None = ...,
    subset: Subset = ...,
    download_if_missing: bool = ...,
    return_X_y: Literal[False] = ...,
) -> Bunch: ...


@overload
def fetch_cifar10(
    *,
    data_home: str | Path | None = ...,
    subset: Subset = ...,
    download_if_missing: bool = ...,
    return_X_y: Literal[True],
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]: ...


def fetch_cifar10(
    *,
    data_home: str | Path | None = None,
    subset: Subset = "train",
    download_if_missing: bool = True,
    return_X_y: bool = False,
) -> Any:
    """Load CIFAR-10, downloading it (170 MB) if necessary.

    60,000 colour images of 32 x 32 pixels in 10 classes of equal size [1]_: 50,000 for
    training and 10,000 for testing. torchvision downloads, checks and reads them.

    Parameters
    ----------
    data_home : str, Path or None, default=None
        Folder of the data. It holds, or is given, the folder ``cifar-10-batches-py``, so the
        `root` of torchvision's ``CIFAR10`` will do. None is scikit-learn's folder: what the
        environment variable ``SCIKIT_LEARN_DATA`` names, else ``~/scikit_learn_data``.
    subset : {"train", "test", "all"}, default="train"
        Images to load; "all" is the training images followed by the test images.
    download_if_missing : bool, default=True
        Download the data if they are not in `data_home`. False raises an error instead.
    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a Bunch.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with the attributes

        data : ndarray of shape (n, 3, 32, 32), uint8
            The images; the channels are red, green and blue.
        target : ndarray of shape (n,), int64
            Codes of the classes, 0 to 9.
        target_names : ndarray of shape (10,)
            Names of the classes, by code.
        DESCR : str
            What was loaded.
    (data, target) : tuple if ``return_X_y=True``

    Raises
    ------
    FileNotFoundError
        If the data are missing or damaged and `download_if_missing` is False.
    OSError
        If the download fails.
    ValueError
        If `subset` is unknown.
    ImportError
        If torchvision is not installed.

    See Also
    --------
    fetch_cifar100 : The same number of images in 100 classes.
    load_image_folder : Loads a copy of the images in class folders.
    make_variant : Imbalanced variants of what was loaded.

    Notes
    -----
    Without a network, put the archive ``cifar-10-python.tar.gz`` from
    https://www.cs.toronto.edu/~kriz/cifar.html into `data_home`: it is unpacked there and
    nothing is downloaded. Networks expect floating-point input:
    ``data.astype("float32") / 255``.

    References
    ----------
    .. [1] A. Krizhevsky. "Learning multiple layers of features from tiny images". Technical
       report, University of Toronto, 2009.

    Examples
    --------
    >>> from skvaball.datasets import fetch_cifar10
    >>> cifar = fetch_cifar10()  # doctest: +SKIP
    >>> cifar.data.shape  # doctest: +SKIP
    (50000, 3, 32, 32)

    Where nothing may be downloaded, missing data are an error:

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     fetch_cifar10(data_home=folder, download_if_missing=False)
    Traceback (most recent call last):
        ...
    FileNotFoundError: CIFAR-10 is missing or damaged in ...
    """
    return _fetch("CIFAR-10", data_home, subset, download_if_missing, return_X_y)


@overload
def fetch_cifar100(
    *,
    data_home: str | Path | None = ...,
    subset: Subset = ...,
    download_if_missing: bool = ...,
    return_X_y: Literal[False] = ...,
) -> Bunch: ...


@overload
def fetch_cifar100(
    *,
    data_home: str | Path | None = ...,
    subset: Subset = ...,
    download_if_missing: bool = ...,
    return_X_y: Literal[True],
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]: ...


def fetch_cifar100(
    *,
    data_home: str | Path | None = None,
    subset: Subset = "train",
    download_if_missing: bool = True,
    return_X_y: bool = False,
) -> Any:
    """Load CIFAR-100 with its fine labels, downloading it (169 MB) if necessary.

    60,000 colour images of 32 x 32 pixels in 100 classes of equal size [1]_: 50,000 for
    training and 10,000 for testing. torchvision downloads, checks and reads them.

    Parameters
    ----------
    data_home : str, Path or None, default=None
        Folder of the data. It holds, or is given, the folder ``cifar-100-python``, so the
        `root` of torchvision's ``CIFAR100`` will do. None is scikit-learn's folder: what the
        environment variable ``SCIKIT_LEARN_DATA`` names, else ``~/scikit_learn_data``.
    subset : {"train", "test", "all"}, default="train"
        Images to load; "all" is the training images followed by the test images.
    download_if_missing : bool, default=True
        Download the data if they are not in `data_home`. False raises an error instead.
    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a Bunch.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with the attributes

        data : ndarray of shape (n, 3, 32, 32), uint8
            The images; the channels are red, green and blue.
        target : ndarray of shape (n,), int64
            Codes of the classes, 0 to 99.
        target_names : ndarray of shape (100,)
            Names of the classes, by code.
        DESCR : str
            What was loaded.
    (data, target) : tuple if ``return_X_y=True``

    Raises
    ------
    FileNotFoundError
        If the data are missing or damaged and `download_if_missing` is False.
    OSError
        If the download fails.
    ValueError
        If `subset` is unknown.
    ImportError
        If torchvision is not installed.

    See Also
    --------
    fetch_cifar10 : The same number of images in 10 classes.
    make_variant : Imbalanced variants of what was loaded.

    Notes
    -----
    Without a network, put the archive ``cifar-100-python.tar.gz`` from
    https://www.cs.toronto.edu/~kriz/cifar.html into `data_home`: it is unpacked there and
    nothing is downloaded. Networks expect floating-point input:
    ``data.astype("float32") / 255``.

    References
    ----------
    .. [1] A. Krizhevsky. "Learning multiple layers of features from tiny images". Technical
       report, University of Toronto, 2009.

    Examples
    --------
    >>> from skvaball.datasets import fetch_cifar100
    >>> X, y = fetch_cifar100(subset="test", return_X_y=True)  # doctest: +SKIP
    >>> X.shape, y.shape  # doctest: +SKIP
    ((10000, 3, 32, 32), (10000,))

    Where nothing may be downloaded, missing data are an error:

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     fetch_cifar100(data_home=folder, download_if_missing=False)
    Traceback (most recent call last):
        ...
    FileNotFoundError: CIFAR-100 is missing or damaged in ...
    """
    return _fetch("CIFAR-100", data_home, subset, download_if_missing, return_X_y)


def _fetch(
    title: str,
    data_home: str | Path | None,
    subset: str,
    download_if_missing: bool,
    return_X_y: bool,
) -> Any:
    """The images of a subset, as the public functions return them."""
    if subset not in ("train", "test", "all"):
        raise ValueError(f"subset={subset!r} is unknown. Expected 'train', 'test' or 'all'.")
    root = Path(get_data_home(data_home))
    parts = [
        _read(title, root, train=part == "train", download=download_if_missing)
        for part in (("train", "test") if subset == "all" else (subset,))
    ]
    # torchvision has the channels last.
    data = np.concatenate([part.data.transpose(0, 3, 1, 2) for part in parts])
    target = np.concatenate([np.asarray(part.targets, dtype=np.int64) for part in parts])
    if return_X_y:
        return data, target
    names = np.array(parts[0].classes)
    what = {"train": "training", "test": "test", "all": "training and test"}[subset]
    return Bunch(
        data=data,
        target=target,
        target_names=names,
        DESCR=(
            f"{title}: {len(data)} {what} images, colour, 32 x 32 pixels, {len(names)} classes. "
            "A. Krizhevsky, Learning multiple layers of features from tiny images, 2009."
        ),
    )


def _read(title: str, root: Path, *, train: bool, download: bool) -> Any:
    """The data set of torchvision."""
    with needs_extra(title, "vision"):
        from torchvision import datasets
        from torchvision.datasets.utils import check_integrity
    kind = {"CIFAR-10": datasets.CIFAR10, "CIFAR-100": datasets.CIFAR100}[title]
    remedy = f"Put the archive {kind.filename} from {kind.url} into the folder {root}"
    # torchvision unpacks an archive that is whole under `download`, without a network.
    unpack = not download and check_integrity(root / kind.filename, kind.tgz_md5)
    try:
        return kind(root, train=train, download=download or unpack)
    except (OSError, RuntimeError) as error:  # RuntimeError: a wrong checksum, or no file
        if unpack and getattr(error, "errno", None) is not None:
            raise  # the archive is whole: a full disk, or no permission
        if download:
            raise OSError(
                f"{title} could not be downloaded: {error}. {remedy}, or pass data_home=, the "
                "folder in which it is."
            ) from error
        raise FileNotFoundError(
            f"{title} is missing or damaged in {root}. {remedy}, pass data_home=, the folder in "
            "which it is, or pass download_if_missing=True to download it."
        ) from error
