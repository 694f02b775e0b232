"""One strategy against all others, over the protocols of one or more stores of results.

    python benchmarks/write_comparison.py [--strategy vab] STORE ...

prints, for each kind of training, a table with one row per protocol: the mean area under the curve
of balanced accuracy in %, and what it is ahead of each other strategy by on the same seeds, ± half
of the 95 % interval (Student's t: with five to ten seeds a bootstrap interval is too narrow; bold
if it does not include zero). A seed counts for a pair where both have completed it. Last, the part
of the distance from entropy to the oracle that it covers.
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


def row_of(protocol: str, areas: pd.DataFrame, strategy: str, others: list[str]) -> str:
    """The line of a protocol: the area, what it is ahead of each other by, and the share."""
    areas = 100 * areas
    own = areas[strategy]
    cells = [protocol, str(own.count()), f"{own.mean():.1f} ± {own.std():.1f}"]
    for name in others:
        differences = (own - areas[name]).dropna() if name in areas else own[:0]
        if differences.empty:
            cells.append("")
            continue
        mean, half = interval(differences.to_numpy())
        text = f"{mean:+.2f} ± {half:.2f}"
        cells.append(f"**{text}**" if abs(mean) > half else text)
    if ORACLE in others and not {ORACLE, ENTROPY} <= set(areas):
        cells.append("")
    elif ORACLE in others:
        gap = (areas[ORACLE] - areas[ENTROPY]).mean()
        cells.append(f"{(own - areas[ENTROPY]).mean() / gap:.0%} of {gap:.1f}")
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stores", type=Path, nargs="+")
    parser.add_argument("--strategy", default="vab", help="the one that is compared")
    args = parser.parse_args()
    rounds = pd.concat([ResultStore(path, must_exist=True).rounds() for path in args.stores])
    others = [name for name in dict.fromkeys(rounds["strategy"]) if name != args.strategy]
    for balance, part in rounds.groupby("balance", sort=False):
        print(f"\n`balance = {balance}`\n")
        columns = ["protocol", "seeds", args.strategy, *others]
        if ORACLE in others:
            columns.append("from entropy to the oracle")
        print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
        for protocol, results in part.groupby("protocol"):
            print(row_of(str(protocol), curve_areas(results), args.strategy, others))


if __name__ == "__main__":
    main()
