"""Packages that only some of the library needs."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def needs_extra(purpose: str, extra: str) -> Iterator[None]:
    """Name the extra to install where an import inside the block finds no package.

    Parameters
    ----------
    purpose : str
        What needs the package, as the subject of a sentence.
    extra : str
        The extra of this package that brings it.

    Raises
    ------
    ModuleNotFoundError
        If a package is missing; the message says how to install it.

    Examples
    --------
    >>> with needs_extra("Drawing", "cli"):
    ...     import no_such_package
    Traceback (most recent call last):
    ...
    ModuleNotFoundError: Drawing needs no_such_package, which is not installed. Install it with: \
pip install "skvaball[cli]"
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "a package").partition(".")[0]
        raise ModuleNotFoundError(
            f"{purpose} needs {package}, which is not installed. "
            f'Install it with: pip install "skvaball[{extra}]"',
            name=error.name,
        ) from error
