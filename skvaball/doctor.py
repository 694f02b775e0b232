"""What an installation has, and whether it works: for `skvaball doctor` and bug reports."""

from __future__ import annotations

import os
import platform
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from sklearn.datasets import load_digits

from skvaball import ActiveLearner, VaBQuerySelector, __version__
from skvaball.exceptions import NothingLearnedWarning
from skvaball.networks import DeepClassifier
from skvaball.utils.extras import needs_extra

if TYPE_CHECKING:
    from packaging.requirements import Requirement

#: Extras for those who work on the library itself.
DEVELOPMENT = ("test", "docs", "dev")
#: Rows of digits that the check learns from, queries from, and asks for.
LABELED, POOL, QUERIED = 100, 200, 10


class Finding(NamedTuple):
    """One line of the diagnosis."""

    name: str
    #: Whether it works; None where nothing could be found out, or nothing has to work.
    works: bool | None
    detail: str


def versions() -> list[Finding]:
    """Versions of Python, the library, and what it cannot do without.

    Returns
    -------
    list of Finding
        A package does not work if it is missing or older than what is needed.

    Examples
    --------
    >>> from skvaball.doctor import versions
    >>> [finding.name for finding in versions()][:2]
    ['Python', 'skvaball']
    """
    python = f"{platform.python_version()}, {platform.platform()}"
    own = f"{__version__}, in {Path(__file__).parent}"
    needed = [_package(requirement) for extra, requirement in _requirements() if extra is None]
    return [Finding("Python", True, python), Finding("skvaball", True, own), *needed]


def extras() -> list[Finding]:
    """The optional extras, and which of their packages are there.

    Returns
    -------
    list of Finding
        None stands for an extra that is not installed: it does not have to be. An extra
        does not work if a package is too old.

    Examples
    --------
    >>> from skvaball.doctor import extras
    >>> [finding.name for finding in extras()][:2]
    ['cli', 'vision']
    """
    parts: dict[str, list[Finding]] = {}
    for extra, requirement in _requirements():
        if extra is not None and extra not in DEVELOPMENT and requirement.name != "skvaball":
            parts.setdefault(extra, []).append(_package(requirement, missing=None))
    findings = []
    for extra, packages in parts.items():
        detail = ", ".join(f"{package.name} {package.detail}" for package in packages)
        works: bool | None = all(package.works is not False for package in packages)
        if works and any(package.works is None for package in packages):
            works, detail = None, f'{detail}; for all: pip install "skvaball[{extra}]"'
        findings.append(Finding(extra, works, detail))
    return findings


def devices() -> list[Finding]:
    """Where networks can be trained: the processor, and the GPUs that torch sees.

    Returns
    -------
    list of Finding

    Examples
    --------
    >>> from skvaball.doctor import devices
    >>> devices()[0].name
    'cpu'
    """
    threads = f"{torch.get_num_threads()} threads of torch, {os.cpu_count()} cores"
    settings = [name for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS") if name in os.environ]
    threads += "".join(f", {name}={os.environ[name]}" for name in settings)
    found = [Finding("cpu", True, threads)]
    for i in range(torch.cuda.device_count()):
        memory = torch.cuda.get_device_properties(i).total_memory / 2**30
        name = f"{torch.cuda.get_device_name(i)}, {memory:.0f} GiB"
        found.append(Finding(f"cuda:{i}", True, name))
    if len(found) == 1:
        built = f"for CUDA {torch.version.cuda}" if torch.version.cuda else "without CUDA"
        found.append(Finding("cuda", None, f"torch, built {built}, sees no GPU"))
    if torch.backends.mps.is_available():
        found.append(Finding("mps", True, platform.machine()))
    return found


def checks(folder: str | os.PathLike[str] = ".") -> Iterator[Finding]:
    """Try what the library is for, on small data: a few seconds.

    Parameters
    ----------
    folder : str or path-like, default="."
        Where a store of results is to be written; it is removed again.

    Yields
    ------
    Finding
        One for each check, as soon as it is done.

    Examples
    --------
    >>> from skvaball.doctor import checks
    >>> [finding.works for finding in checks()]  # doctest: +SKIP
    [True, True]
    """
    for device in devices():
        if device.works:
            yield _try(f"fit and query on {device.name}", partial(_query, device.name))
    yield _try(f"store of results in {Path(folder).resolve()}", partial(_write_store, folder))


def _try(name: str, check: Callable[[], str]) -> Finding:
    start = time.perf_counter()
    try:
        detail = check()
    except ModuleNotFoundError as error:
        return Finding(name, None, str(error))
    except Exception as error:  # whatever is wrong here, the diagnosis goes on and says so
        return Finding(name, False, f"{type(error).__name__}: {error}")
    return Finding(name, True, f"{detail} ({time.perf_counter() - start:.1f} s)")


def _query(device: str) -> str:
    """Let VaB-AL choose digits."""
    X, y = load_digits(return_X_y=True)
    learner = ActiveLearner(
        DeepClassifier(max_epochs=20, device=device),
        VaBQuerySelector(max_epochs=5, n_draws=4, device=device),
        random_state=0,
    ).fit(X[:LABELED], y[:LABELED])
    pool = slice(LABELED, LABELED + POOL)
    with warnings.catch_warnings():
        # The autoencoder is to run here, not to learn much.
        warnings.simplefilter("ignore", NothingLearnedWarning)
        positions, scores = learner.query(X[pool], QUERIED, return_scores=True)
    if len(set(positions.tolist())) != QUERIED or not np.isfinite(scores).all():
        raise ValueError(f"the query returned {positions} with scores up to {scores.max()}")
    accuracy = np.mean(learner.predict(X[pool]) == y[pool])
    if accuracy < 0.5:  # 0.85 where all is well, 0.1 by chance
        raise ValueError(f"the network is right about {accuracy:.0%} of the digits, expected 85 %")
    return f"{QUERIED} of {POOL} digits"


def _write_store(folder: str | os.PathLike[str]) -> str:
    with needs_extra("A store of results", "experiments"):
        from filelock import FileLock

        from skvaball.experiments import ResultStore

    # SQLite and the locks of runs are what some network file systems lack.
    with (
        tempfile.TemporaryDirectory(prefix=".skvaball-doctor-", dir=folder) as place,
        FileLock(Path(place) / "lock", timeout=5),
    ):
        store = ResultStore(Path(place) / "results.db")
        store.add_protocol("doctor", {})
        if list(store.protocols()) != ["doctor"]:
            raise OSError("what was written into the store is not there")
    return "written and read"


def _requirements() -> list[tuple[str | None, Requirement]]:
    """What the package declares: pairs of extra, None for none, and requirement."""
    from packaging.requirements import Requirement

    try:
        declared = requires("skvaball") or []
    except PackageNotFoundError:  # run from a folder, not installed
        return []
    pairs: list[tuple[str | None, Requirement]] = []
    for text in declared:
        requirement = Requirement(text)
        _, _, extra = str(requirement.marker or "").partition("extra == ")
        pairs.append((extra.strip("\"'") or None, requirement))
    return pairs


def _package(requirement: Requirement, missing: bool | None = False) -> Finding:
    try:
        found = version(requirement.name)
    except PackageNotFoundError:
        return Finding(requirement.name, missing, f"missing, {requirement.specifier} needed")
    if requirement.specifier.contains(found, prereleases=True):
        return Finding(requirement.name, True, found)
    return Finding(requirement.name, False, f"{found}, but {requirement.specifier} is needed")
