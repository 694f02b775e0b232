"""Sections that compare strategies: tables, paired differences, penalties, ranks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from skvaball.experiments.report._ablations import data_set_key
from skvaball.experiments.report._blocks import Cell, Figure, Section, Table
from skvaball.experiments.report._figures import PANEL, Panel, draw_panels, in_percent
from skvaball.experiments.report._results import METRICS, Results, Setting, balance_name
from skvaball.experiments.report._summary import numbers_of
from skvaball.experiments.report._words import (
    NOTHING,
    balance_of,
    count,
    p_value,
    percent,
    points,
    seconds,
    seed_words,
    span,
    strategy_name,
    whole,
)
from skvaball.experiments.statistics import (
    MIN_DATA_SETS,
    MIN_STRATEGIES,
    FriedmanResult,
    curve_areas,
    friedman_ranks,
    penalty_matrix,
    round_tests,
)
from skvaball.experiments.strategies import ORACLE
from skvaball.plots import (
    CriticalDifferenceDisplay,
    PairedDifferenceDisplay,
    PenaltyMatrixDisplay,
)
from skvaball.plots._bands import without_full

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    Summaries = dict[tuple[str, str], pd.DataFrame]

#: Inches of a figure for each strategy that has a row, and around the rows.
ROW, AROUND = 0.27, 1.0
CELL, AROUND_MATRIX = 0.36, 1.9
_PARTS = {
    "area": "Area under the learning curve in %, the budget scaled to 0..1 (trapezoidal rule), "
    "which is the mean over the budget.",
    "final": "Value at the end of the budget in %.",
}


def number_tables(results: Results, summaries: Summaries, settings: list[Setting]) -> Section:
    """Areas and final values of all metrics, and costs."""
    section = Section("Areas, final values and costs")
    marked = results.marked(settings[0].protocol)
    for part, words in _PARTS.items():
        rows = []
        for strategy in results.strategies_of(settings):
            row = [strategy_name(strategy, marked)]
            for metric in METRICS:
                for setting in settings:
                    numbers = numbers_of(summaries[setting], strategy)
                    column = f"{metric}_{part}"
                    row.append(percent(numbers[column], numbers[f"{column}_sd"]))
            if set(row[1:]) != {NOTHING}:
                rows.append(row)
        if rows:
            section.blocks.append(
                Table(
                    f"{words} Mean ± standard deviation (ddof=1) over the seeds whose runs are "
                    f"complete; {seed_words(results, settings, complete=True)}.",
                    _grouped_head(list(METRICS.values()), [balance_of(s) for s in settings]),
                    rows,
                )
            )
    section.blocks.append(_cost_table(results, summaries, settings))
    return section


def _grouped_head(groups: list[str], columns: list[str]) -> list[list[Cell]]:
    """Two rows: groups of columns, and the same columns in each."""
    top = [Cell("Strategy", rows=2, word=True)]
    top += [Cell(group, columns=len(columns)) for group in groups]
    return [top, [Cell(column) for _ in groups for column in columns]]


def _cost_table(results: Results, summaries: Summaries, settings: list[Setting]) -> Table:
    metrics = list(dict.fromkeys(["accuracy", results.metric]))
    names = [f"Labels to reach the {METRICS[m].lower()} of {results.reference}" for m in metrics]
    names += ["Query, seconds", "Training, seconds", "Peak memory, MiB"]
    rows = []
    for strategy in results.strategies_of(settings):
        numbers = [numbers_of(summaries[s], strategy) for s in settings]
        row = [strategy_name(strategy)]
        for metric in metrics:
            row += [_labels(number, metric) for number in numbers]
        for cost in ("query_time", "train_time"):
            row += [seconds(number[cost], number[f"{cost}_sd"]) for number in numbers]
        rows.append([*row, *(whole(number["peak_memory"]) for number in numbers)])
    return Table(
        f"Costs. Labels: where the mean curve first reaches the final value of "
        f"{results.reference}, between rounds by linear interpolation. Seconds: per round, mean "
        "± standard deviation over the seeds; no query is counted for the start. Memory: of the "
        "process, the most of all rounds and seeds.",
        _grouped_head(names, [balance_of(s) for s in settings]),
        rows,
    )


def _labels(numbers: pd.Series, metric: str) -> str:
    if not math.isnan(numbers[f"{metric}_labels"]):
        return whole(numbers[f"{metric}_labels"])
    # Without a reference nothing is to be reached; without an area there is no curve.
    compared = not math.isnan(numbers[f"{metric}_target"])
    return "not reached" if compared else NOTHING


def differences(results: Results, summaries: Summaries, settings: list[Setting]) -> Section:
    """Paired differences to the reference: of the areas, and in each round."""
    section = Section(f"Differences to {results.reference}")
    tables = {s: summaries[s].dropna(subset=["difference"]) for s in settings}
    tables = {setting: table for setting, table in tables.items() if len(table)}
    if not tables:
        return section
    name = METRICS[results.metric].lower()

    def panel(setting: Setting) -> Panel:
        def draw(ax: Axes) -> None:
            shown = tables[setting].rename(columns={"difference": "mean"})
            PairedDifferenceDisplay(shown, results.reference, results.metric).plot(
                ax, styles=results.styles
            )
            in_percent(ax.xaxis, f"Difference of areas to {results.reference},\npercentage points")

        return Panel(balance_of(setting), draw)

    pairs = [n for table in tables.values() for n in table["n_pairs"]]
    height = AROUND + ROW * max(len(table) for table in tables.values())
    section.blocks.append(
        Figure(
            draw_panels(
                [panel(s) for s in tables],
                f"Paired differences of areas to {results.reference}",
                size=(PANEL[0], height),
                share="x",
            ),
            f"Area under the curve of {name} minus that of {results.reference} on the same seed: "
            "mean and 95 % bootstrap confidence interval (bias-corrected and accelerated, 9,999 "
            f"resamples of the seeds), over the {span(pairs)} seeds that both have complete. "
            f"Positive: better than {results.reference}. With few seeds such intervals are too "
            "narrow; the tests below allow for that.",
            columns=len(settings),
        )
    )
    section.blocks.append(_difference_table(results, tables))
    section.blocks.append(_round_table(results, list(tables)))
    return section


def _difference_table(results: Results, tables: dict[Setting, pd.DataFrame]) -> Table:
    marked = results.marked(next(iter(tables)).protocol)
    rows = []
    for strategy in dict.fromkeys(name for table in tables.values() for name in table.index):
        row = [strategy_name(strategy, marked)]
        for table in tables.values():
            numbers = numbers_of(table, strategy)
            low, high = points(numbers["low"]), points(numbers["high"])
            row += [
                points(numbers["difference"]),
                NOTHING if low == NOTHING else f"{low} to {high}",
                whole(numbers["n_pairs"]),
                p_value(numbers["p"]),
                p_value(numbers["p_holm"]),
            ]
        rows.append(row)
    return Table(
        f"The same in numbers, in percentage points of {METRICS[results.metric].lower()}. p: "
        "two-sided paired t-test over the seeds; Holm: corrected for the number of strategies "
        "in the setting.",
        _grouped_head(
            [balance_of(s) for s in tables],
            ["difference", "95 % interval", "seeds", "p", "p (Holm)"],
        ),
        rows,
    )


def _round_table(results: Results, settings: list[Setting]) -> Table:
    tests = {s: round_tests(results.of(s), results.reference, results.metric) for s in settings}
    budgets = {s: sorted(table["n_labeled"].unique()) for s, table in tests.items()}
    cells = {
        (s, row["strategy"], row["n_labeled"]): points(row["mean"])
        + (" *" if row["p_holm"] < 0.05 else "")
        for s, table in tests.items()
        for row in table.to_dict("records")
    }
    strategies = [n for n in results.strategies_of(settings) if any(n == key[1] for key in cells)]
    top = [Cell("Strategy", rows=2, word=True)]
    top += [Cell(f"{balance_of(s)}, labels", columns=len(budgets[s])) for s in settings]
    pairs = [n for table in tests.values() for n in table["n_seeds"]]
    return Table(
        f"Difference to {results.reference} at each number of labels, in percentage points of "
        f"{METRICS[results.metric].lower()}, mean over the {span(pairs)} seeds that both have. "
        "An asterisk: p < 0.05, two-sided paired t-test with Holm's correction over all cells of "
        "the setting.",
        [top, [Cell(whole(n)) for s in settings for n in budgets[s]]],
        [
            [
                strategy_name(strategy),
                *(cells.get((s, strategy, n), NOTHING) for s in settings for n in budgets[s]),
            ]
            for strategy in strategies
        ],
    )


def penalties(results: Results, settings: list[Setting]) -> Section:
    """The pairwise penalty matrix."""
    section = Section("Who beats whom")
    matrices = {s: penalty_matrix(results.of(s), results.metric) for s in settings}
    matrices = {s: m for s, m in matrices.items() if m.notna().to_numpy().any()}
    if not matrices:
        return section

    def panel(setting: Setting) -> Panel:
        def draw(ax: Axes) -> None:
            PenaltyMatrixDisplay(matrices[setting], results.metric).plot(ax)

        return Panel(balance_of(setting), draw)

    side = AROUND_MATRIX + CELL * max(len(matrix) for matrix in matrices.values())
    section.blocks.append(
        Figure(
            draw_panels(
                [panel(s) for s in matrices],
                "Pairwise penalty matrix",
                size=(max(PANEL[0], side), max(PANEL[1], side)),
            ),
            "Pairwise penalty matrix. The cell in row i and column j is the share of budgets, the "
            "common start not counted, at which strategy i is significantly better than strategy "
            f"j in {METRICS[results.metric].lower()}: a full row wins, a full column loses. "
            "Two-sided paired t-test (standard deviation with ddof=1) at 5 % on the seeds that "
            "both have, not corrected for the number of tests; "
            f"{seed_words(results, matrices)}.",
            columns=len(settings),
        )
    )
    return section


def data_sets_section(results: Results) -> Section:
    """Ranks over data sets, where there are enough of them."""
    section = Section("Several data sets")
    areas = {
        balance: _data_set_areas(results, balance)
        for balance in dict.fromkeys(s.balance for s in results.settings())
    }
    means = {balance: _paired_means(results, tables) for balance, tables in areas.items()}
    tested = {
        balance: friedman_ranks(values)
        for balance, (values, _) in means.items()
        if len(values) >= MIN_DATA_SETS and values.shape[1] >= MIN_STRATEGIES
    }
    if not tested:
        return section

    def panel(balance: str) -> Panel:
        def draw(ax: Axes) -> None:
            CriticalDifferenceDisplay(tested[balance]).plot(ax, styles=results.styles)

        return Panel(balance_name(balance), draw)

    most = max(len(result.ranks) for result in tested.values())
    section.blocks.append(
        Figure(
            draw_panels(
                [panel(balance) for balance in tested],
                "Critical-difference diagram",
                size=(PANEL[0], 1.4 + 0.2 * most),
            ),
            "Critical-difference diagram: mean rank of each strategy over the data sets by its "
            f"mean area under the curve of {METRICS[results.metric].lower()}, over the seeds that "
            "all of them have complete. Bars join strategies that Nemenyi's test at 5 % does not "
            "tell apart.",
            columns=len(tested),
        )
    )
    section.blocks += [
        _rank_table(areas[balance], means[balance][1], balance, result)
        for balance, result in tested.items()
    ]
    return section


def _rank_table(
    areas: dict[str, pd.DataFrame], n_seeds: dict[str, int], balance: str, result: FriedmanResult
) -> Table:
    ranks = result.ranks.sort_values(kind="stable")
    left_out = dict.fromkeys(n for table in areas.values() for n in table if n not in ranks.index)
    seeds = [f"{title}: {count(n, 'seed')}" for title, n in n_seeds.items()]
    unpaired = [title for title in areas if title not in n_seeds]
    p = p_value(result.p)
    return Table(
        f"{balance_name(balance)}: Friedman's test of no difference over {result.n_data_sets} "
        f"data sets ({'; '.join(seeds)}): chi-squared {result.statistic:.2f} with "
        f"{len(ranks) - 1} degrees of freedom, p {p if p.startswith('<') else f'= {p}'}. Below, "
        "the p-value of Nemenyi's test of each pair. Data sets are data with a variant; variants "
        "of the same images are not independent of each other. The oracle is not ranked."
        + (
            f" Not ranked, as they have not half of the seeds of every data set: "
            f"{', '.join(left_out)}."
            if left_out
            else ""
        )
        + (
            f" Left out, as no seed is complete for all: {'; '.join(unpaired)}." if unpaired else ""
        ),
        [[Cell("Strategy", word=True), Cell("mean rank"), *(Cell(name) for name in ranks.index)]],
        [
            [
                name,
                f"{rank:.2f}",
                *(
                    NOTHING if other == name else p_value(result.p_values.loc[name, other])
                    for other in ranks.index
                ),
            ]
            for name, rank in ranks.items()
        ],
    )


def _data_set_areas(results: Results, balance: str) -> dict[str, pd.DataFrame]:
    """Areas of each seed, by data set: of protocols with the same data, the first."""
    areas: dict[str, pd.DataFrame] = {}
    seen = set()
    for name in results.protocol_names():
        rounds = without_full(results.complete_of(Setting(name, balance)))
        rounds = rounds[rounds["strategy"] != ORACLE]
        key = data_set_key(results.protocols.get(name, {"data": name}))
        if len(rounds) and key not in seen:
            seen.add(key)
            areas[results.title(name)] = curve_areas(rounds, results.metric)
    return areas


def _paired_means(
    results: Results, areas: dict[str, pd.DataFrame]
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Mean areas with one row per data set, and on how many seeds: the same for all strategies.

    Of the strategies that on each data set have complete at least half as many seeds as the one
    with the most. A data set without a seed that all of them have is left out.
    """
    import pandas as pd

    counts = pd.DataFrame({title: table.count() for title, table in areas.items()}).fillna(0)
    enough = (counts >= counts.max().clip(lower=1) / 2).all(axis="columns")
    ranked = [name for name in results.styles if enough.get(name, False)]
    paired = {title: table[ranked].dropna() for title, table in areas.items()}
    paired = {title: table for title, table in paired.items() if len(table)}
    values = pd.DataFrame({title: table.mean() for title, table in paired.items()}).T
    return values, {title: len(table) for title, table in paired.items()}
