"""How numbers, seeds and settings are written in tables and captions."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from skvaball.experiments.report._results import MARK, Results, Setting, balance_name
from skvaball.plots._bands import BANDS
from skvaball.plots._styles import FULL

if TYPE_CHECKING:
    import pandas as pd

MINUS, DASH = "\N{MINUS SIGN}", "\N{EN DASH}"
#: Stands where there is no number.
NOTHING = DASH
#: The paper that the figures and tables are like.
PAPER = "Choi et al. (2021)"


def percent(mean: float, sd: float = math.nan) -> str:
    """A share in %, with its standard deviation if there is one."""
    if math.isnan(mean):
        return NOTHING
    return f"{100 * mean:.1f}" + ("" if math.isnan(sd) else f" ± {100 * sd:.1f}")


def points(difference: float) -> str:
    """A difference of shares in percentage points, with its sign."""
    if math.isnan(difference):
        return NOTHING
    text = f"{100 * difference:+.1f}"
    return "0.0" if float(text) == 0 else text.replace("-", MINUS)


def p_value(p: float) -> str:
    """A p-value to three digits after the point."""
    if math.isnan(p):
        return NOTHING
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def seconds(mean: float, sd: float = math.nan) -> str:
    """Seconds to two digits, but not below milliseconds, with their spread if there is one."""
    if math.isnan(mean):
        return NOTHING
    digits = 3 if mean == 0 else min(3, max(0, 1 - math.floor(math.log10(abs(mean)))))
    return f"{mean:,.{digits}f}" + ("" if math.isnan(sd) else f" ± {sd:,.{digits}f}")


def whole(number: float) -> str:
    """A count."""
    return NOTHING if math.isnan(number) else f"{number:,.0f}"


def mean_and_range(values: pd.Series) -> str:
    """Mean of shares in %, and the least and the most."""
    if values.isna().all():
        return NOTHING
    return f"{percent(values.mean())} ({percent(values.min())}{DASH}{percent(values.max())})"


def count(n: int, noun: str) -> str:
    """So many of something."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def span(numbers: Iterable[float]) -> str:
    """The least and the most of counts, once if they are the same."""
    counts = [int(n) for n in numbers]
    low, high = min(counts, default=0), max(counts, default=0)
    return str(low) if low == high else f"{low} to {high}"


def number_list(numbers: Iterable[int]) -> str:
    """Whole numbers in order, those that follow each other as a range."""
    ranges: list[list[int]] = []
    for n in sorted({int(number) for number in numbers}):
        if ranges and n == ranges[-1][1] + 1:
            ranges[-1][1] = n
        else:
            ranges.append([n, n])
    parts = [str(low) if low == high else f"{low}{DASH}{high}" for low, high in ranges]
    return ", ".join(parts) if parts else NOTHING


def entry_list(values: Any) -> str:
    """The entries of a dict, without those that say nothing."""
    if not isinstance(values, dict):
        return str(values)
    said = {key: value for key, value in values.items() if value not in (None, {}, [], "")}
    return ", ".join(f"{key}: {value}" for key, value in said.items())


def balance_of(setting: Setting) -> str:
    """The training of a setting, as a heading."""
    return balance_name(setting.balance)


def setting_name(results: Results, setting: Setting) -> str:
    """Protocol and training."""
    return f"{results.title(setting.protocol)}, {balance_of(setting).lower()}"


def strategy_name(strategy: str, marked: Iterable[str] = ()) -> str:
    """A strategy as it stands in tables and legends, with its mark if it has one."""
    name = "full pool" if strategy == FULL else strategy
    return f"{name} {MARK}" if strategy in marked else name


def seed_words(results: Results, settings: Iterable[Setting], *, complete: bool = False) -> str:
    """How many seeds the strategies of the settings have, all or those that are complete."""
    counts = [n for setting in settings for n in results.n_seeds(setting, complete=complete)]
    return "1 seed" if set(counts) == {1} else f"{span(counts)} seeds"


def band_words(
    results: Results, settings: Iterable[Setting], band: str, *, complete: bool = False
) -> str:
    """What the bands of a figure are, and of how many seeds."""
    settings = list(settings)
    most = [results.n_seeds(setting, complete=complete)[1] for setting in settings]
    if max(most, default=0) < 2:
        return "One seed, so no bands."
    seeds = seed_words(results, settings, complete=complete)
    return f"Bands: {BANDS[band]}, cut off at 0 and 100 %; {seeds}."
