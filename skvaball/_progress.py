"""Progress of a run of many rounds: a bar where one can be drawn, lines where not."""

import sys
from numbers import Real
from types import TracebackType
from typing import Any, Self

from tqdm.auto import tqdm


class RoundProgress:
    """Says how far a run is; a context manager.

    Parameters
    ----------
    name : str
        What is running, the beginning of each line.
    total : int
        Number of rounds.
    verbose : int
        0: nothing. 1: a bar in a notebook or terminal, and a line per round where the
        standard error is neither, such as a log file: bars redraw themselves, which a file
        cannot. 2: always lines.
    """

    def __init__(self, name: str, total: int, verbose: int) -> None:
        self.name = name
        self.total = total
        self.verbose = int(verbose)
        self._bar: Any = None
        if self.verbose == 1 and _draws_bars():
            self._bar = tqdm(desc=name, total=total, unit="round")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def advance(self, done: int, numbers: dict[str, Any]) -> None:
        """Say that rounds are done, and what came of the last.

        Parameters
        ----------
        done : int
            How many of ``total``.
        numbers : dict of str to int or float
            Shown beside the bar or in the line.
        """
        if self.verbose == 0:
            return
        shown = {
            name: f"{value:.4g}" if isinstance(value, Real) else str(value)
            for name, value in numbers.items()
        }
        if self._bar is not None:
            self._bar.set_postfix(shown, refresh=False)
            self._bar.update(done - self._bar.n)
            return
        rest = ", ".join(f"{name}={value}" for name, value in shown.items())
        # Flushed: whoever follows a log file wants to see the round now.
        print(f"[{self.name}] round {done} of {self.total}: {rest}", file=sys.stderr, flush=True)


def _draws_bars() -> bool:
    """Whether a bar can redraw itself: in a terminal, or in a notebook."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules
