"""Images from a folder with one sub-folder per class."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch

from skvaball.utils.extras import needs_extra

# What Pillow reads in a plain installation and what data sets are stored in.
SUFFIXES = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)


@overload
def load_image_folder(
    folder: str | Path,
    *,
    mode: str = ...,
    size: int | tuple[int, int] | None = ...,
    classes: Sequence[str] | None = ...,
    return_X_y: Literal[False] = ...,
) -> Bunch: ...


@overload
def load_image_folder(
    folder: str | Path,
    *,
    mode: str = ...,
    size: int | tuple[int, int] | None = ...,
    classes: Sequence[str] | None = ...,
    return_X_y: Literal[True],
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]: ...


def load_image_folder(
    folder: str | Path,
    *,
    mode: str = "RGB",
    size: int | tuple[int, int] | None = None,
    classes: Sequence[str] | None = None,
    return_X_y: bool = False,
) -> Any:
    """Load labeled images from ``folder/<class>/<image>``.

    Parameters
    ----------
    folder : str or Path
        Folder with one sub-folder per class. Only files right inside a sub-folder are
        read, and only those with the suffix of an image; hidden ones are left out.
    mode : {"RGB", "L"}, default="RGB"
        Colour (three channels) or grey (one channel); every image is converted to it.
    size : int, (height, width) or None, default=None
        Resize every image to this size, an int standing for a square. None keeps the
        images as they are; all must then have the same size.
    classes : sequence of str or None, default=None
        Sub-folders to read, in the order of their codes. None reads all of them, in the
        order of their names.
    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a Bunch.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with the attributes

        data : ndarray of shape (n, channels, height, width), uint8
            The images, class by class and inside a class in the order of the file names.
        target : ndarray of shape (n,), int64
            Codes of the classes.
        target_names : ndarray of shape (n_classes,)
            Names of the classes: those of the sub-folders, by code.
        filenames : ndarray of shape (n,)
            Paths of the images, so that ``filenames[idx]`` names what a query chose.
        DESCR : str
            What was loaded.
    (data, target) : tuple if ``return_X_y=True``

    Raises
    ------
    FileNotFoundError
        If the folder does not exist.
    ValueError
        If there is no class folder, one has no image, an image cannot be read, or the
        images differ in size while `size` is None.
    ImportError
        If Pillow is not installed.

    See Also
    --------
    make_dominant, make_rare : Imbalanced variants of what was loaded.

    Notes
    -----
    Names are ordered as strings, character by character, as in ``sorted``: ``10.png``
    comes before ``2.png``. Networks expect floating-point input:
    ``data.astype("float32") / 255``.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from skvaball.datasets import load_image_folder
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name, colour in [("night", "black"), ("snow", "white")]:
    ...         (Path(folder) / name).mkdir()
    ...         Image.new("RGB", (8, 8), colour).save(Path(folder) / name / "0.png")
    ...     images = load_image_folder(folder)
    >>> images.data.shape
    (2, 3, 8, 8)
    >>> images.target_names[images.target].tolist()
    ['night', 'snow']
    """
    if mode not in ("RGB", "L"):
        raise ValueError(f"mode={mode!r} is unknown. Expected 'RGB' (colour) or 'L' (grey).")
    size = _check_size(size)
    folder = Path(folder)
    names = _class_names(folder, classes)
    files = [_image_files(folder / name) for name in names]
    paths = [path for group in files for path in group]
    target = np.repeat(np.arange(len(names), dtype=np.int64), [len(group) for group in files])

    first = _read(paths[0], mode, size)
    # Filled in place: a list of images and its stack would need the memory twice.
    data = np.empty((len(paths), *first.shape), dtype=np.uint8)
    for i, path in enumerate(paths):
        image = _read(path, mode, size)
        if image.shape != first.shape:
            raise ValueError(
                f"Images differ in size (height x width): {path} has {_size_text(image)}, "
                f"{paths[0]} has {_size_text(first)}. "
                "Pass size=(height, width) to resize all of them."
            )
        data[i] = image
    if return_X_y:
        return data, target
    counts = ", ".join(f"{name} {len(group)}" for name, group in zip(names, files, strict=True))
    colour = "colour" if mode == "RGB" else "grey"
    return Bunch(
        data=data,
        target=target,
        target_names=np.array(names),
        filenames=np.array([str(path) for path in paths]),
        DESCR=(
            f"{len(paths)} {colour} images of {_size_text(first)} pixels (height x width) "
            f"from the folder {folder.name}, by class: {counts}."
        ),
    )


def _check_size(size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    """(height, width), or None."""
    if size is None:
        return None
    pair = (size, size) if isinstance(size, int | np.integer) else tuple(size)
    if len(pair) != 2 or not all(isinstance(v, int | np.integer) and v > 0 for v in pair):
        raise ValueError(
            f"size={size!r} is not a size. Expected a positive int, (height, width) or None."
        )
    return int(pair[0]), int(pair[1])


def _class_names(folder: Path, classes: Sequence[str] | None) -> list[str]:
    """Names of the class folders to read, by code."""
    if not folder.is_dir():
        raise FileNotFoundError(
            f"The folder {folder} does not exist. Expected a folder with one sub-folder per class."
        )
    found = sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not found:
        raise ValueError(
            f"The folder {folder} has no sub-folders. Expected one per class, with its images."
        )
    if classes is None:
        return found
    if isinstance(classes, str):
        raise ValueError(f"classes={classes!r} is a string. Expected a list of folder names.")
    names = list(classes)
    unknown = [name for name in names if name not in found]
    if unknown:
        raise ValueError(f"Classes {unknown} have no sub-folder in {folder}. There are {found}.")
    if not names or len(set(names)) < len(names):
        raise ValueError(f"classes={names} must name at least one class, and each of them once.")
    return names


def _image_files(folder: Path) -> list[Path]:
    """The images of one class, ordered by name."""
    files = sorted(
        path
        for path in folder.iterdir()
        # Hidden files: macOS leaves "._name.png" beside an image, which is none.
        if path.suffix.lower() in SUFFIXES and path.is_file() and not path.name.startswith(".")
    )
    if not files:
        raise ValueError(
            f"The class folder {folder} has no images. Expected files with a suffix of "
            f"{sorted(SUFFIXES)}; leave the class out with classes=[...]."
        )
    return files


def _read(path: Path, mode: str, size: tuple[int, int] | None) -> NDArray[np.uint8]:
    """One image of shape (channels, height, width)."""
    with needs_extra("load_image_folder", "vision"):
        from PIL import Image
    try:
        with Image.open(path) as image:
            if image.mode.startswith(("I", "F")):
                # Pillow would clip such values at 255 without a word.
                raise ValueError(
                    f"{path} has more than 8 bits per channel (mode {image.mode}). "
                    "Expected 8 bits; rescale the image and save it anew."
                )
            converted = image.convert(mode)
    # Pillow does not always name the file; a PNG that breaks off is a SyntaxError to it.
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} cannot be read as an image: {error}") from error
    if size is not None:
        converted = converted.resize((size[1], size[0]))
    pixels = np.asarray(converted, dtype=np.uint8)
    return pixels[np.newaxis] if mode == "L" else pixels.transpose(2, 0, 1)


def _size_text(image: np.ndarray) -> str:
    return f"{image.shape[1]} x {image.shape[2]}"
