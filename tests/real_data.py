"""Where the real data sets are, for tests and benchmarks; they are not part of the project.

The archives ``<name>.tar.xz`` are looked for in the folder that the environment variable
``SKVABALL_DATA`` names, else in ``../shared/data`` beside the repository.
"""

import os
import shutil
import tarfile
import tempfile
from pathlib import Path

DATA_SETS = ("cifar10_jpg", "neu64")


def data_folder() -> Path:
    """The folder that should hold the archives."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    return Path(os.environ.get("SKVABALL_DATA") or beside)


def find_real_data(name: str) -> Path | None:
    """The extracted data set, or None where its archive is absent.

    Parameters
    ----------
    name : {"cifar10_jpg", "neu64"}
        The data set: ``cifar10_jpg/{train,test}/<class>/`` or ``neu64/<class>/``.

    Returns
    -------
    Path or None
        Its folder, extracted once per machine.
    """
    if name not in DATA_SETS:
        raise ValueError(f"The data set {name!r} is unknown. Expected one of {DATA_SETS}.")
    archive = data_folder() / f"{name}.tar.xz"
    if not archive.is_file():
        return None
    cache = Path(tempfile.gettempdir()) / "skvaball-data"
    folder = cache / name
    if folder.is_dir():
        return folder
    cache.mkdir(exist_ok=True)
    # Extracted elsewhere and renamed, so that the folder is either whole or not there.
    partial = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=cache))
    try:
        with tarfile.open(archive) as tar:
            # An attribute, because Python before 3.11.4 knows no argument `filter`.
            tar.extraction_filter = getattr(tarfile, "data_filter", None)
            tar.extractall(partial)
        try:
            os.replace(partial / name, folder)
        except OSError:
            if not folder.is_dir():  # else another process was faster
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def real_data(name: str) -> Path:
    """As :func:`find_real_data`; skips the running test where the archive is absent."""
    folder = find_real_data(name)
    if folder is None:
        import pytest  # here: benchmarks do without it

        pytest.skip(f"{name}.tar.xz is not in {data_folder()}; set SKVABALL_DATA to its folder")
    return folder
