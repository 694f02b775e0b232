"""One strategy against all others, over the protocols of one or more stores of results.

    python benchmarks/write_comparison.py [--strategy vab] [--protocols NAME ...] STORE ...
    python benchmarks/write_comparison.py STORE ... --areas AREAS.csv

prints, for each kind of training, a table with one column per protocol: the mean area under the
curve of balanced accuracy in %, with its standard deviation; what it is ahead of each other
strategy by on the same seeds, ± half of the 95 % interval (Student's t: with five to ten seeds a
bootstrap interval is too narrow), bold if that does not include zero, with the number of seeds; and
last the part of the distance from entropy to the oracle that it covers, if that is a point or more.
A seed counts for a pair where both have completed it. The last column is the mean over the
protocols that have two seeds or more, each with the same weight: what can be said of these, not of
data sets in general.

With --areas it writes the area of each run to a file instead, which can stand in for the stores.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from skvaball.experiments import ResultStore, RunKey, curve_areas

ORACLE, ENTROPY = "oracle", "entropy"
KEYS = list(RunKey._fields)


def mean_and_half_interval(samples: list[np.ndarray]) -> tuple[float, float]:
    """The mean of the means of samples, and half the width of its 95 % interval.

    The degrees of freedom are those of Welch and Satterthwaite; of one sample, its own.
    """
    mean = float(np.mean([sample.mean() for sample in samples]))
    sizes = np.array([len(sample) for sample in samples])
    if (sizes < 2).any():
        return mean, np.nan
    squares = np.array([sample.var(ddof=1) for sample in samples]) / sizes
    freedom = squares.sum() ** 2 / (squares**2 / (sizes - 1)).sum()
    return mean, float(stats.t.ppf(0.975, freedom) * np.sqrt(squares.sum()) / len(samples))


def shown(samples: list[np.ndarray]) -> str:
    """What the strategy is ahead of another by; bold if zero is outside the interval."""
    mean, half = mean_and_half_interval(samples)
    if np.isnan(half):  # of one seed
        return f"{mean:+.2f}"
    text = f"{mean:+.2f} ± {half:.2f}"
    return f"**{text}**" if abs(mean) > half else text


def mean_and_spread(areas: pd.Series) -> str:
    """The mean, the standard deviation if there is one, and the number of seeds."""
    spread = f" ± {areas.std():.1f}" if len(areas) > 1 else ""
    return f"{areas.mean():.1f}{spread} ({len(areas)})" if len(areas) else ""


def differences(areas: pd.DataFrame, strategy: str, other: str) -> np.ndarray:
    """What the strategy is ahead of another by, on each seed that both have."""
    if other not in areas:
        return np.array([])
    return (areas[strategy] - areas[other]).dropna().to_numpy()


def comparison(areas: list[pd.DataFrame], strategy: str, other: str) -> list[str]:
    """The cells of one row: each protocol, and their mean; nothing if there is nothing."""
    samples = [differences(part, strategy, other) for part in areas]
    cells = [f"{shown([sample])} ({len(sample)})" if len(sample) else "" for sample in samples]
    enough = [sample for sample in samples if len(sample) > 1]
    mean = f"{shown(enough)} (of {len(enough)})" if len(enough) > 1 else ""
    return [*cells, mean] if any(cells) else []


def way_to_the_oracle(areas: pd.DataFrame, strategy: str) -> str:
    """The part of the distance from entropy to the oracle."""
    if strategy in (ORACLE, ENTROPY) or not {ORACLE, ENTROPY} <= set(areas):
        return ""
    complete = areas[[strategy, ENTROPY, ORACLE]].dropna()
    if complete.empty:
        return ""
    way = (complete[ORACLE] - complete[ENTROPY]).mean()
    if not way > 1:
        return f"({way:.1f})"  # nothing to go
    return f"{(complete[strategy] - complete[ENTROPY]).mean() / way:.0%} of {way:.1f}"


def table(areas: pd.DataFrame, strategy: str, protocols: list[str]) -> str:
    """The table of one kind of training, in Markdown."""
    names = list(dict.fromkeys(areas["strategy"]))
    tables = {
        name: 100 * part.pivot(index="seed", columns="strategy", values="area")
        for name in protocols
        if len(part := areas[areas["protocol"] == name])
    }
    tables = {name: part for name, part in tables.items() if strategy in part}
    own = [part[strategy].dropna() for part in tables.values()]
    rows = [
        ["", *tables, "mean"],
        ["---"] * (len(tables) + 2),
        [f"area of {strategy}", *(mean_and_spread(x) for x in own), ""],
    ]
    for other in names:
        cells = comparison(list(tables.values()), strategy, other) if other != strategy else []
        rows += [[f"minus {other}", *cells]] if cells else []
    way = [way_to_the_oracle(part, strategy) for part in tables.values()]
    rows.append(["way from entropy to the oracle", *way, ""])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def read_areas(path: Path) -> pd.DataFrame:
    """The area of each run that is finished, from a store or from what --areas has written."""
    if path.suffix == ".csv":
        return pd.read_csv(path)
    store = ResultStore(path, must_exist=True)
    runs = store.runs()
    rounds = store.rounds().merge(runs.loc[runs["finished"], KEYS])
    tables = []
    for (protocol, balance), part in rounds.groupby(["protocol", "balance"], sort=False):
        areas = curve_areas(part).rename_axis("seed").reset_index()
        areas = areas.melt("seed", var_name="strategy", value_name="area").dropna()
        tables.append(areas.assign(protocol=protocol, balance=balance))
    return pd.concat(tables)[[*KEYS, "area"]]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stores", type=Path, nargs="+", metavar="STORE")
    parser.add_argument("--strategy", default="vab", help="the one that is compared")
    parser.add_argument("--protocols", nargs="+", help="which, in their order; all without it")
    parser.add_argument("--areas", type=Path, help="file for the area of each run")
    args = parser.parse_args()
    areas = pd.concat([read_areas(path) for path in args.stores])
    if args.areas:
        areas.to_csv(args.areas, index=False)
        return
    protocols = args.protocols or sorted(areas["protocol"].unique())
    areas = areas[areas["protocol"].isin(protocols)]
    compared = set(areas.loc[areas["strategy"] == args.strategy, "balance"])
    for balance, part in areas[areas["balance"].isin(compared)].groupby("balance", sort=False):
        print(f"\n`balance = {balance}`\n")
        print(table(part, args.strategy, protocols))


if __name__ == "__main__":
    main()
