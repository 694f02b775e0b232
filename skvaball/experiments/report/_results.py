"""What a report is made of: the results in a store, checked and in order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from skvaball.experiments.store import RunKey
from skvaball.plots import strategy_styles
from skvaball.plots._bands import without_full

if TYPE_CHECKING:
    import pandas as pd

#: What identifies a run.
KEYS = list(RunKey._fields)
#: The metrics of a report, and how they are written.
METRICS = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "macro_f1": "Macro-F1",
    "geometric_mean": "Geometric mean of recalls",
}
#: Trainings, in the order in which they stand side by side.
BALANCES = {
    "none": "No balancing",
    "sampling": "Balanced sampling",
    "logit_adjustment": "Logit adjustment",
}
#: Stands by a strategy whose autoencoder learned nothing in some round.
MARK = "†"
#: With fewer seeds a comparison says next to nothing.
MIN_SEEDS = 5
#: What the rounds of a store must have.
_COLUMNS = [
    *KEYS,
    "round",
    "n_labeled",
    *METRICS,
    "recalls",
    "class_counts",
    "rare_share",
    "query_time",
    "train_time",
    "peak_memory",
    "vae_agreement",
    "likelihood_agreement",
    "nothing_learned",
]


class ReportStore(Protocol):
    """What a report reads from; :class:`~skvaball.experiments.ResultStore` is one."""

    def rounds(self) -> pd.DataFrame:
        """One row per round."""

    def runs(self) -> pd.DataFrame:
        """One row per run."""

    def protocols(self) -> Mapping[str, Mapping[str, Any]]:
        """The protocols by name."""

    def gallery(self) -> pd.DataFrame:
        """One row per image of a query; may be empty."""


class Setting(NamedTuple):
    """A protocol and a training."""

    protocol: str
    balance: str


@dataclass(frozen=True)
class Results:
    """The content of a store, and what the report is to make of it."""

    rounds: pd.DataFrame
    runs: pd.DataFrame
    protocols: Mapping[str, Mapping[str, Any]]
    gallery: pd.DataFrame
    reference: str
    metric: str
    styles: dict[str, dict[str, Any]]

    def settings(self) -> list[Setting]:
        """All settings, the trainings of one protocol next to each other."""
        return [Setting(p, b) for p in self.protocol_names() for b in self.balances(p)]

    def protocol_names(self) -> list[str]:
        """The protocols that have results, in their order."""
        return [str(name) for name in self.rounds["protocol"].unique()]

    def balances(self, protocol: str) -> list[str]:
        """The trainings of a protocol, in the order of the report."""
        there = set(self.rounds.loc[self.rounds["protocol"] == protocol, "balance"])
        return [name for name in BALANCES if name in there] + sorted(there - set(BALANCES))

    def of(self, setting: Setting) -> pd.DataFrame:
        """The rounds of one setting."""
        return _select(self.rounds, setting)

    def complete_of(self, setting: Setting) -> pd.DataFrame:
        """The rounds of one setting that belong to runs which are finished."""
        finished = self.runs.loc[self.runs["finished"].astype(bool), KEYS]
        return self.of(setting).merge(finished, on=KEYS)

    def title(self, protocol: str) -> str:
        """What a protocol is called in headings, no two alike."""
        titles = {name: self.protocols.get(name, {}).get("title") for name in self.protocol_names()}
        title = titles.get(protocol)
        if not title:
            return protocol
        shared = sum(other == title for other in titles.values()) > 1
        return f"{title} ({protocol})" if shared else str(title)

    def curves_of(self, setting: Setting) -> pd.DataFrame:
        """The rounds of one setting that belong to a learning curve."""
        return without_full(self.of(setting))

    def queries_of(self, setting: Setting) -> pd.DataFrame:
        """The rounds of one setting in which labels were queried: all but the starts."""
        return after_start(self.curves_of(setting))

    def strategies_of(self, settings: Iterable[Setting]) -> list[str]:
        """The strategies that some of the settings have, in their order."""
        there = {name for setting in settings for name in self.of(setting)["strategy"]}
        return [name for name in self.styles if name in there]

    def n_seeds(self, setting: Setting, *, complete: bool = False) -> tuple[int, int]:
        """The fewest and the most seeds that a strategy has, all or those that are complete."""
        curves = self.curves_of(setting)
        rounds = without_full(self.complete_of(setting)) if complete else curves
        counts = rounds.groupby("strategy")["seed"].nunique()
        counts = counts.reindex(curves["strategy"].unique(), fill_value=0)
        return (int(counts.min()), int(counts.max())) if len(counts) else (0, 0)

    def too_few_seeds(self, settings: Iterable[Setting]) -> dict[Setting, int]:
        """Settings in which a strategy has too few complete seeds, and how many those are."""
        compared = [setting for setting in settings if len(self.curves_of(setting))]
        fewest = {setting: self.n_seeds(setting, complete=True)[0] for setting in compared}
        return {setting: n for setting, n in fewest.items() if n < MIN_SEEDS}

    def marked(self, protocol: str) -> set[str]:
        """Strategies of a protocol with a run whose autoencoder learned nothing."""
        rounds = self.rounds[self.rounds["protocol"] == protocol]
        return set(rounds.loc[rounds["nothing_learned"].astype(bool), "strategy"])


def after_start(rounds: pd.DataFrame) -> pd.DataFrame:
    """The rounds of one setting but for the first of each run, for which nothing is queried."""
    start = rounds.groupby(["strategy", "seed"])["n_labeled"].transform("min")
    return rounds[rounds["n_labeled"] > start]


def balance_name(balance: str) -> str:
    """A training as it is called in headings."""
    return BALANCES.get(balance, balance.replace("_", " "))


def load_results(
    store: ReportStore,
    reference: str,
    metric: str,
    strategies: Sequence[str] | None = None,
) -> Results:
    """Read a store, and check that it holds what the report asks for.

    Parameters
    ----------
    store : ReportStore
        Where the results are.
    reference : str
        The strategy that the others are compared with.
    metric : str
        One of the metrics.
    strategies : sequence of str or None, default=None
        Those to report, in this order; None: all.

    Returns
    -------
    Results

    Raises
    ------
    ValueError
        If there are no results, a column is missing, or a strategy or the metric is
        unknown.
    """
    if metric not in METRICS:
        raise ValueError(f"metric={metric!r} is unknown. Expected one of {list(METRICS)}.")
    rounds, runs, gallery = store.rounds(), store.runs(), store.gallery()
    missing = [name for name in _COLUMNS if name not in rounds.columns]
    if missing:
        raise ValueError(f"The rounds of the store lack the columns {missing}.")
    if len(rounds) == 0:
        raise ValueError("The store has no finished round: there is nothing to report yet.")
    names = [str(name) for name in rounds["strategy"].unique()]
    chosen = names if strategies is None else list(strategies)
    unknown = [name for name in chosen if name not in names]
    if unknown:
        raise ValueError(f"The store has no strategy {unknown}. It has {names}.")
    if reference not in chosen:
        raise ValueError(
            f"reference={reference!r} is not among the strategies to report, which are "
            f"{chosen}. Name one of them as the reference."
        )
    return Results(
        rounds=_in_order(rounds, chosen),
        runs=_in_order(runs, chosen),
        protocols=store.protocols(),
        gallery=_in_order(gallery, chosen),
        reference=reference,
        metric=metric,
        styles=strategy_styles(chosen),
    )


def _in_order(table: pd.DataFrame, strategies: list[str]) -> pd.DataFrame:
    """Rows of the strategies, in their order; other orders are kept."""
    if len(table) == 0:
        return table
    place = {name: i for i, name in enumerate(strategies)}
    table = table[table["strategy"].isin(strategies)]
    return table.sort_values("strategy", key=lambda names: names.map(place), kind="stable")


def _select(table: pd.DataFrame, setting: Setting) -> pd.DataFrame:
    return table[(table["protocol"] == setting.protocol) & (table["balance"] == setting.balance)]
