"""Fits that fail, or are interrupted, as if they had never begun."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


@contextmanager
def unchanged_on_error(estimator: Any) -> Iterator[None]:
    """Give an estimator the attributes back that it had, if the block raises anything."""
    before = estimator.__dict__.copy()
    try:
        yield
    except BaseException:
        estimator.__dict__.clear()
        estimator.__dict__.update(before)
        raise


@contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C through, which skorch takes as the end of a training, as if it were complete.

    The exception alone does not tell: skorch's EarlyStopping raises it as well.
    """
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield  # signals go to the main thread, and to whoever has not turned them off
        return
    interrupts: list[KeyboardInterrupt] = []

    def note(number: int, frame: FrameType | None) -> None:
        try:
            handler(number, frame)
        except KeyboardInterrupt as interrupt:
            interrupts.append(interrupt)
            raise

    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if interrupts:
            raise interrupts[0]
