"""One strategy against all others, over the protocols of one or more stores of results.

    python benchmarks/write_comparison.py [--strategy vab] STORE ...

prints, for each kind of training, the mean area under the curve of balanced accuracy of every
strategy and protocol, and the paired difference of the one to each other with its 95 % interval
(Student's t: with five to ten seeds a bootstrap interval is too narrow). A seed counts for a pair
where both have completed it.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from skvaball.experiments import ResultStore, curve_areas

ORACLE, ENTROPY = "oracle", "entropy"


def interval(differences: np.ndarray) -> tuple[float, float]:
    """Mean, and half the width of its 95 % interval."""
    n = len(differences)
    if n < 2:
        return float(differences.mean()), np.nan
    half = stats.t.ppf(0.975, n - 1) * differences.std(ddof=1) / np.sqrt(n)
    return float(differences.mean()), float(half)


def rows_of(protocol: str, areas: pd.DataFrame, strategy: str) -> list[str]:
    """The lines of a protocol: areas, and what the strategy is ahead by."""
    areas = 100 * areas
    own = areas[strategy]
    lines = []
    for name in areas.columns[areas.mean().argsort()[::-1]]:
        mean = f"{areas[name].mean():.1f} ± {areas[name].std():.1f}"
        difference = ""
        if name != strategy:
            mean_difference, half = interval((own - areas[name]).dropna().to_numpy())
            low, high = mean_difference - half, mean_difference + half
            difference = f"{mean_difference:+.2f} ({low:+.2f} to {high:+.2f})"
        shown = f"**{name}**" if name == strategy else name
        lines.append(f"| {protocol} | {shown} | {areas[name].count()} | {mean} | {difference} |")
    if {ORACLE, ENTROPY} <= set(areas):
        gap = (areas[ORACLE] - areas[ENTROPY]).mean()
        share = (own - areas[ENTROPY]).mean() / gap
        lines.append(f"| {protocol} | | | | {share:.0%} of {gap:.1f}, from entropy to the oracle |")
    return lines


def main() -> None:
    """Print a table for each kind of training."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stores", type=Path, nargs="+")
    parser.add_argument("--strategy", default="vab", help="the one that is compared")
    args = parser.parse_args()
    rounds = pd.concat([ResultStore(path, must_exist=True).rounds() for path in args.stores])
    for balance, part in rounds.groupby("balance", sort=False):
        print(f"\n`balance = {balance}`\n")
        print(f"| protocol | strategy | seeds | area | {args.strategy} minus it |")
        print("|---|---|---|---|---|")
        for protocol, results in part.groupby("protocol"):
            print("\n".join(rows_of(str(protocol), curve_areas(results), args.strategy)))


if __name__ == "__main__":
    main()
