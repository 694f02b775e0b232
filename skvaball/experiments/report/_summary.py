"""Numbers of each setting, for the tables of the page and of the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from skvaball.experiments.report._results import (
    METRICS,
    ReportStore,
    Results,
    after_start,
    load_results,
)
from skvaball.experiments.statistics import (
    curve_areas,
    final_values,
    labels_to_reach,
    paired_differences,
)
from skvaball.plots._styles import FULL

if TYPE_CHECKING:
    import pandas as pd


def summary(
    store: ReportStore,
    *,
    reference: str = "random",
    metric: str = "balanced_accuracy",
    strategies: Sequence[str] | None = None,
) -> dict[tuple[str, str], pd.DataFrame]:
    """The numbers of an experiment, one table per protocol and training.

    Parameters
    ----------
    store : ReportStore
        Where the results are, such as a :class:`~skvaball.experiments.ResultStore`.
    reference : str, default="random"
        The strategy that the others are compared with.
    metric : {"accuracy", "balanced_accuracy", "macro_f1", "geometric_mean"}, \
default="balanced_accuracy"
        The metric of the comparison with the reference.
    strategies : sequence of str or None, default=None
        Those to report, in this order; None: all.

    Returns
    -------
    dict of (str, str) to DataFrame
        For each (protocol, balance) a table with one row per strategy. For each metric
        there are the columns

        - ``<metric>_area``, ``<metric>_area_sd``: area under the learning curve, mean
          and standard deviation (ddof=1) over the seeds whose runs are complete;
        - ``<metric>_final``, ``<metric>_final_sd``: the value at the end of the budget;
        - ``<metric>_labels``, ``<metric>_target``: labels with which the strategy is as
          good as the reference at the end (NaN if it never is), and how good that is;

        and once

        - ``n_seeds``: complete seeds;
        - ``query_time``, ``query_time_sd``, ``train_time``, ``train_time_sd``: seconds
          per round, mean and standard deviation of the means of the seeds;
        - ``peak_memory``: MiB, the most of all rounds;
        - ``difference``, ``low``, ``high``, ``n_pairs``, ``p``, ``p_holm``: the area of
          `metric` minus that of the reference, as in
          :func:`~skvaball.experiments.statistics.paired_differences`;
        - ``nothing_learned``: runs with a query whose autoencoder learned nothing.

        What a strategy does not have is NaN.

    Raises
    ------
    ValueError
        If the store has no results, or a strategy or the metric is unknown.

    Examples
    --------
    >>> import tempfile
    >>> from skvaball.experiments import ResultStore, load_protocol, run_protocol
    >>> from skvaball.experiments.report import summary
    >>> store = ResultStore(tempfile.mkdtemp() + "/results.db")
    >>> runs = run_protocol(load_protocol("digits"), ["random"], range(2), store)
    >>> len(list(runs))
    2
    >>> table = summary(store)["digits", "none"]
    >>> table[["n_seeds", "accuracy_labels"]]
              n_seeds  accuracy_labels
    strategy
    random          2            120.0
    """
    return summarize_settings(load_results(store, reference, metric, strategies))


def summarize_settings(results: Results) -> dict[tuple[str, str], pd.DataFrame]:
    """The tables of :func:`summary`."""
    return {
        (setting.protocol, setting.balance): _summarize(
            results.of(setting),
            results.complete_of(setting),
            results.reference,
            results.metric,
        )
        for setting in results.settings()
    }


def numbers_of(table: pd.DataFrame, strategy: str) -> pd.Series:
    """The row of a strategy; NaN all along if there is none."""
    row: pd.Series = table.reindex([strategy]).iloc[0]
    return row


def _summarize(
    rounds: pd.DataFrame, complete: pd.DataFrame, reference: str, metric: str
) -> pd.DataFrame:
    """Scores of the runs that are complete, and costs of all rounds."""
    import pandas as pd

    table = pd.DataFrame(index=pd.Index(rounds["strategy"].unique(), name="strategy"))
    compared = reference in set(complete["strategy"])
    full = complete[complete["strategy"] == FULL]
    for name in METRICS:
        areas, finals = curve_areas(complete, name), final_values(complete, name)
        if len(full):
            finals = finals.join(full.set_index("seed")[name].rename(FULL), how="outer")
        table[f"{name}_area"], table[f"{name}_area_sd"] = areas.mean(), areas.std()
        table[f"{name}_final"], table[f"{name}_final_sd"] = finals.mean(), finals.std()
        for column in ("labels", "target"):
            table[f"{name}_{column}"] = float("nan")
        if compared:
            reach = labels_to_reach(complete, reference, name).reindex(table.index)
            table[[f"{name}_labels", f"{name}_target"]] = reach[["labels", "target"]]
        if name == metric:
            table["n_seeds"] = finals.count().reindex(table.index, fill_value=0)
    _add_costs(table, rounds)
    columns = ["mean", "low", "high", "n_seeds", "p", "p_holm"]
    renamed = ["difference", "low", "high", "n_pairs", "p", "p_holm"]
    if compared:
        differences = paired_differences(complete, reference, metric)[columns]
        table[renamed] = differences.reindex(table.index)
    else:
        table[renamed] = float("nan")
    learned_nothing = rounds.groupby(["strategy", "seed"])["nothing_learned"].any()
    table["nothing_learned"] = learned_nothing.groupby("strategy").sum()
    return table


def _add_costs(table: pd.DataFrame, rounds: pd.DataFrame) -> None:
    for name, rows in {"query_time": after_start(rounds), "train_time": rounds}.items():
        seconds = rows.groupby(["strategy", "seed"])[name].mean().groupby("strategy")
        table[name], table[f"{name}_sd"] = seconds.mean(), seconds.std()
    table["peak_memory"] = rounds.groupby("strategy")["peak_memory"].max()
