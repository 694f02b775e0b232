"""Table and figures of a store of results, as they are kept in benchmarks/results/.

    python benchmarks/write_results.py STORE FIGURE.svg

prints a table for each kind of training, and draws the learning curves, differences to random
and shares of rare classes. The store has one protocol; only seeds that all strategies have
completed are counted.
"""

import argparse
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd

from skvaball.experiments import ResultStore
from skvaball.experiments.report import summary
from skvaball.plots import (
    BudgetCurveDisplay,
    ClassBalanceDisplay,
    PairedDifferenceDisplay,
)

METRIC = "balanced_accuracy"
FULL = "full"


def complete_seeds(rounds: pd.DataFrame, runs: pd.DataFrame) -> list[int]:
    """Seeds for which every strategy has all of its rounds, in one kind of training."""
    done = rounds.groupby(["strategy", "seed"]).size()
    wanted = runs.set_index(["strategy", "seed"])["n_rounds"]
    complete = (done.reindex(wanted.index) == wanted).unstack(fill_value=False).all()
    return [int(seed) for seed in complete.index[complete]]


class PartOfStore:
    """A store with one kind of training, and only the seeds that are complete in it."""

    def __init__(self, store: ResultStore, balance: str) -> None:
        self.store = store
        rounds, runs = store.rounds(), store.runs()
        rounds, runs = rounds[rounds["balance"] == balance], runs[runs["balance"] == balance]
        # Strategies that have not begun are not in the comparison.
        runs = runs[runs["strategy"].isin(rounds["strategy"])]
        self.seeds = complete_seeds(rounds, runs)
        self._rounds = rounds[rounds["seed"].isin(self.seeds)]
        self._runs = runs[runs["seed"].isin(self.seeds)]

    def rounds(self) -> pd.DataFrame:
        """As of the store."""
        return self._rounds

    def runs(self) -> pd.DataFrame:
        """As of the store."""
        return self._runs

    def protocols(self) -> dict:
        """As of the store."""
        return self.store.protocols()

    def gallery(self) -> pd.DataFrame:
        """As of the store."""
        return self.store.gallery()


def percent(mean: float, sd: float) -> str:
    """Mean and standard deviation of a share, in percent."""
    return f"{100 * mean:.1f} ± {100 * sd:.1f}" if sd == sd else f"{100 * mean:.1f}"


def table_of(part: PartOfStore, balance: str) -> str:
    """One row per strategy."""
    [(_, table)] = summary(part, metric=METRIC).items()
    # Medians: a round in which the machine was busy or asleep says nothing about a strategy.
    queries = part.rounds().query("round > 0").groupby("strategy")["query_time"].median()
    lines = [
        f"`balance = {balance}`, seeds {', '.join(map(str, part.seeds))}",
        "",
        "| strategy | area | minus random | at the end | labels to random's end | query, s |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in table.iterrows():
        if name == FULL:
            lines.append(
                f"| {name} | | | {percent(row[f'{METRIC}_final'], row[f'{METRIC}_final_sd'])} | | |"
            )
            continue
        area = percent(row[f"{METRIC}_area"], row[f"{METRIC}_area_sd"])
        final = percent(row[f"{METRIC}_final"], row[f"{METRIC}_final_sd"])
        difference = ""
        if row["difference"] == row["difference"]:
            low, high = 100 * row["low"], 100 * row["high"]
            difference = f"{100 * row['difference']:+.1f} ({low:.1f} to {high:.1f})"
        labels = row[f"{METRIC}_labels"]
        reached = f"{labels:,.0f}" if labels == labels else "not reached"
        lines.append(
            f"| {name} | {area} | {difference} | {final} | {reached} | {queries[name]:.1f} |"
        )
    return "\n".join(lines) + "\n"


def draw(parts: dict[str, PartOfStore], path: Path) -> None:
    """One row of three pictures for each kind of training."""
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "skvaball"})
    figure, axes = plt.subplots(
        len(parts), 3, figsize=(16, 4.6 * len(parts)), squeeze=False, layout="constrained"
    )
    for row, (balance, part) in zip(axes, parts.items(), strict=True):
        rounds = part.rounds()
        [content] = part.protocols().values()
        rare = [content["class_names"][k] for k in content["rare"]]
        curves = rounds[rounds["strategy"] != FULL]
        BudgetCurveDisplay.from_results(rounds, METRIC, ax=row[0])
        PairedDifferenceDisplay.from_results(curves, metric=METRIC, ax=row[1])
        if rare:
            ClassBalanceDisplay.from_results(curves, rare, ax=row[2], legend=False)
        else:
            row[2].set_axis_off()
        row[0].set_title(f"balance = {balance}, {len(part.seeds)} seeds")
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Print the tables, and write the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("figure", type=Path)
    args = parser.parse_args()
    store = ResultStore(args.store)
    balances = sorted(store.rounds()["balance"].unique(), key=lambda balance: balance != "none")
    parts = {balance: PartOfStore(store, balance) for balance in balances}
    parts = {balance: part for balance, part in parts.items() if part.seeds}
    print("\n".join(table_of(part, balance) for balance, part in parts.items()))
    draw(parts, args.figure)


if __name__ == "__main__":
    main()
