"""Where results come from: versions, commit, machine and memory."""

from __future__ import annotations

import os
import platform
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import torch

#: Packages whose versions can change results.
PACKAGES = ("skvaball", "torch", "skorch", "scikit-learn", "numpy", "scipy", "imbalanced-learn")
#: Seconds between two looks at the memory of the process.
SAMPLING_INTERVAL = 0.05
MIB = 2**20


@cache
def describe_environment() -> dict[str, Any]:
    """Versions, commit and hardware of this process, fit for JSON.

    Returns
    -------
    dict
        "versions" (package to version), "commit" (of the checkout that the library is
        imported from, with "+changes" if it differs; "" outside of one) and "hardware".
    """
    versions = {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}
    hardware = {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": platform.platform(),
    }
    return {"versions": versions, "commit": _commit(), "hardware": hardware}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _commit() -> str:
    folder = Path(__file__).parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        # An installed copy may lie inside a repository that is not this library's.
        git("ls-files", "--error-unmatch", Path(__file__).name)
        commit = git("rev-parse", "--short=12", "HEAD")
        changed = git("status", "--porcelain", "--untracked-files=no", "--", str(folder.parent))
    except (OSError, subprocess.CalledProcessError):
        return ""
    return f"{commit}+changes" if changed else commit


class PeakMemory:
    """The most memory that the process had, in MiB, whenever it was looked at."""

    def __init__(self) -> None:
        self.peak = 0.0
        self._process = psutil.Process()
        self.look()

    def look(self) -> None:
        """Take the memory of this moment into account."""
        self.peak = max(self.peak, self._process.memory_info().rss / MIB)


@contextmanager
def watched_memory() -> Iterator[PeakMemory]:
    """Look at the memory of the process many times a second while the block runs."""
    memory = PeakMemory()
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(SAMPLING_INTERVAL):
            memory.look()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield memory
    finally:
        ended.set()
        thread.join()
