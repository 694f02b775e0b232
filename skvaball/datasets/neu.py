"""NEU-CLS-64: surface defects of hot-rolled steel, a naturally imbalanced data set."""

import gzip
import lzma
import math
import tarfile
import tempfile
import zipfile
import zlib
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch, check_random_state

from skvaball.datasets.image_folder import load_image_folder

#: What an archive that is damaged, encrypted or packed in an unknown way raises.
_BROKEN = (
    tarfile.TarError,
    zipfile.BadZipFile,
    lzma.LZMAError,
    zlib.error,
    gzip.BadGzipFile,
    EOFError,
    RuntimeError,
)
#: The class folders of the data set.
NEU_CLASSES = ("cr", "gg", "in", "pa", "ps", "rp", "rs", "sc", "sp")


def load_neu(
    path: str | Path,
    *,
    test_size: float = 0.2,
    random_state: int | np.random.RandomState | None = None,
) -> Bunch:
    """Load NEU-CLS-64 from a folder or an archive, split into training and test rows.

    7,226 grey images of 64 x 64 pixels in 9 classes, of 200 to 1,589 images each: defects of
    hot-rolled steel strip [1]_. The split is stratified, and of every class the test part
    takes the share `test_size`, rounded up: with 0.2 there are 5,778 training and 1,448 test
    images, as in the paper [2]_. Images with the same pixels are on the same side.

    Parameters
    ----------
    path : str or Path
        Folder with the class folders ``cr``, ``gg``, ``in``, ``pa``, ``ps``, ``rp``, ``rs``,
        ``sc`` and ``sp``, or a zip or tar archive (``.zip``, ``.tar.xz``, ``.tar.gz``, ...)
        of them. They may lie in one folder more, such as ``neu64/cr/1.jpg``.
    test_size : float, default=0.2
        Share of every class that the test part takes, in (0, 1).
    random_state : int, RandomState instance or None, default=None
        Draws the test rows; an int gives the same rows each time.

    Returns
    -------
    neu : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with the attributes

        data_train, data_test : ndarray of shape (n, 1, height, width), uint8
            The images, class by class and inside a class in the order of the file names.
        target_train, target_test : ndarray of shape (n,), int64
            Codes of the classes, 0 to 8.
        filenames_train, filenames_test : ndarray of shape (n,)
            Files of the images, such as ``cr/1.jpg``.
        target_names : ndarray of shape (9,)
            Names of the classes, by code: those of their folders.
        DESCR : str
            What was loaded.

    Raises
    ------
    FileNotFoundError
        If nothing is at `path`.
    ValueError
        If `path` is neither a folder nor an archive, has no class folders, an archive cannot
        be unpacked or would write outside its folder, `test_size` is outside (0, 1) or would
        take all rows of a class.
    ImportError
        If Pillow is not installed.

    See Also
    --------
    load_image_folder : Loads any folder of class folders, without a split.
    load_train_test : This and other data sets by name.

    Notes
    -----
    The data set has seven pairs of identical images. When the duplicates of a class cannot
    be packed into its test rows without a remainder, it has fewer test rows; in this data set
    that does not happen.

    References
    ----------
    .. [1] K. Song and Y. Yan. "A noise robust method based on completed local binary patterns
       for hot-rolled steel strip surface defects". Applied Surface Science 285, 2013.
    .. [2] J. Choi et al. "VaB-AL: Incorporating class imbalance and difficulty with
       variational Bayes for active learning". CVPR 2021.

    Examples
    --------
    A folder of the same form, with images of a single grey level:

    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from skvaball.datasets import load_neu
    >>> codes = ["cr", "gg", "in", "pa", "ps", "rp", "rs", "sc", "sp"]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for code in codes:
    ...         (Path(folder) / code).mkdir()
    ...         for i in range(5):
    ...             Image.new("L", (64, 64), i).save(Path(folder) / code / f"{i}.png")
    ...     neu = load_neu(folder, test_size=0.2, random_state=0)
    >>> neu.data_train.shape, neu.data_test.shape
    ((36, 1, 64, 64), (9, 1, 64, 64))
    """
    if not 0 < test_size < 1:
        raise ValueError(f"test_size={test_size} is out of range. Expected a share in (0, 1).")
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(
            f"{path} does not exist. Expected NEU-CLS-64, as a folder of its class folders or as "
            "a zip or tar archive."
        )
    with ExitStack() as stack:
        folder = path
        if not path.is_dir():
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            _unpack(path, folder)
        root = _find_classes(folder, path)
        images = load_image_folder(root, mode="L", classes=NEU_CLASSES)
        files = np.array([Path(name).relative_to(root).as_posix() for name in images.filenames])
    test = _draw_test_rows(images, test_size, random_state)
    return Bunch(
        data_train=images.data[~test],
        data_test=images.data[test],
        target_train=images.target[~test],
        target_test=images.target[test],
        filenames_train=files[~test],
        filenames_test=files[test],
        target_names=images.target_names,
        DESCR=(
            f"NEU-CLS-64, surface defects of hot-rolled steel: {np.sum(~test)} training and "
            f"{np.sum(test)} test images, grey, 9 classes. K. Song and Y. Yan, Applied Surface "
            "Science 285, 2013."
        ),
    )


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack a zip or tar archive, of any compression, without leaving the folder."""
    if not hasattr(tarfile, "data_filter") and not zipfile.is_zipfile(archive):
        raise RuntimeError(
            "This Python cannot unpack tar archives safely; 3.11.4 and later can. "
            f"Unpack {archive} yourself and pass the folder."
        )
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as file:
                file.extractall(folder)  # zipfile keeps to the folder by itself
        elif tarfile.is_tarfile(archive):
            with tarfile.open(archive) as tar:
                tar.extractall(folder, filter="data")
                _check_end(tar)
        else:
            raise ValueError(f"{archive} is neither a folder nor a zip or tar archive.")
    except (*_BROKEN, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # not of the archive, but a full disk; that of bz2 has no number
        raise ValueError(
            f"The archive {archive} cannot be unpacked: {error}. Expected NEU-CLS-64; get the "
            "archive anew, or pass the folder of its class folders."
        ) from error


def _check_end(tar: tarfile.TarFile) -> None:
    """Raise unless zeros follow the last member: tarfile takes damage for the end."""
    assert tar.fileobj is not None
    tar.fileobj.seek(tar.offset)
    block = tar.fileobj.read(2**20)
    if len(block) < tarfile.BLOCKSIZE:
        raise tarfile.ReadError(f"it breaks off after {tar.offset} bytes")
    while block:
        if block.strip(b"\0"):
            raise tarfile.ReadError(f"after {tar.offset} bytes there is no member, but data")
        block = tar.fileobj.read(2**20)


def _find_classes(folder: Path, path: Path) -> Path:
    """The folder with the class folders: the given one or one right inside it."""
    inside = sorted(p for p in folder.iterdir() if p.is_dir())
    found = [root for root in (folder, *inside) if (root / NEU_CLASSES[0]).is_dir()]
    if len(found) > 1:
        raise ValueError(
            f"{path} has several folders with class folders, {[p.name for p in found]}. Name one "
            "of them, or put their images together: the loader splits them itself."
        )
    if found:
        return found[0]
    raise ValueError(
        f"{path} has no class folders. Expected the folders {', '.join(NEU_CLASSES)} of "
        f"NEU-CLS-64; found {[p.name for p in inside]}."
    )


def _draw_test_rows(
    images: Bunch, test_size: float, random_state: int | np.random.RandomState | None
) -> NDArray[np.bool_]:
    """Mask of the test rows: an exact number of each class, duplicates on one side."""
    duplicates: dict[bytes, list[int]] = defaultdict(list)
    for row, image in enumerate(images.data):
        duplicates[image.tobytes()].append(row)
    groups = list(duplicates.values())
    n_classes = len(images.target_names)
    sizes = np.bincount(images.target, minlength=n_classes)
    # Shares like 0.2 are not exact in binary: a product just above an integer is that integer.
    left = np.array([math.ceil(test_size * size * (1 - 1e-12)) for size in sizes.tolist()])
    if np.any(left >= sizes):
        full = images.target_names[left >= sizes].tolist()
        raise ValueError(
            f"test_size={test_size} would take all images of the classes {full}. "
            "Pass a smaller test_size, or more images."
        )
    test = np.zeros(len(images.data), dtype=bool)
    for i in check_random_state(random_state).permutation(len(groups)):
        counts = np.bincount(images.target[groups[i]], minlength=n_classes)
        if np.all(counts <= left):
            test[groups[i]] = True
            left -= counts
    return test
