"""Sections on settings of a strategy, and on the number of labels per round."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from skvaball.experiments.report._ablations import (
    TERMS,
    Sweep,
    batch_families,
    batch_table,
    find_sweeps,
    find_term_groups,
    strategy_settings,
)
from skvaball.experiments.report._blocks import Cell, Figure, Legend, Section, Table
from skvaball.experiments.report._figures import (
    BAND,
    Panel,
    band_kw,
    draw_key,
    draw_panels,
    share_axis,
)
from skvaball.experiments.report._results import METRICS, Results, Setting, balance_name
from skvaball.experiments.report._summary import numbers_of
from skvaball.experiments.report._words import (
    PAPER,
    balance_of,
    band_words,
    percent,
    seed_words,
    strategy_name,
    whole,
)
from skvaball.experiments.statistics import curve_areas, final_values
from skvaball.plots import ParameterCurveDisplay

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

#: What is drawn against a parameter, and its heading.
_VALUES = {"area": "area under the curve", "final": "final value"}
#: Where the paper shows the same.
_PAPER_FIGURES = {"lam": f" As Fig. 7 of {PAPER}."}


def term_section(
    results: Results, summaries: dict[tuple[str, str], pd.DataFrame], settings: list[Setting]
) -> Section:
    """The joint form with and without prior and difficulty: the paper's Table 1."""
    section = Section("With and without prior and difficulty")
    known = strategy_settings(results.runs, settings[0].protocol)
    marked = results.marked(settings[0].protocol)
    top = [Cell(name, rows=2, word=True) for name in ("Difficulty", "Prior", "Strategy")]
    top += [Cell(balance_of(s), columns=2) for s in settings]
    for group in find_term_groups(known):
        rows = []
        for strategy in sorted(group, key=lambda name: [known[name][term] for term in TERMS]):
            row = ["yes" if known[strategy][term] else "no" for term in TERMS]
            row.append(strategy_name(strategy, marked))
            for setting in settings:
                numbers = numbers_of(summaries[setting], strategy)
                for column in (f"{results.metric}_{part}" for part in _VALUES):
                    row.append(percent(numbers[column], numbers[f"{column}_sd"]))
            rows.append(row)
        section.blocks.append(
            Table(
                f"The joint form of the score with and without two of its terms: "
                f"{METRICS[results.metric].lower()} in %, area under the curve and final value, "
                "mean ± standard deviation (ddof=1) over the seeds whose runs are complete; "
                f"{seed_words(results, settings, complete=True)}. As Table 1 of {PAPER}.",
                [top, [Cell(text) for _ in settings for text in _VALUES]],
                rows,
                words=3,
            )
        )
    return section


def sweep_sections(results: Results, settings: list[Setting]) -> list[Section]:
    """One section for each parameter in which strategies differ, all else equal."""
    known = strategy_settings(results.runs, settings[0].protocol)
    return [
        _sweep_section(results, settings, parameter, sweeps)
        for parameter, sweeps in find_sweeps(known).items()
    ]


def _sweep_section(
    results: Results, settings: list[Setting], parameter: str, sweeps: list[Sweep]
) -> Section:
    section = Section(f"Effect of {parameter}")
    panels = []
    for value, compute in {"area": curve_areas, "final": final_values}.items():
        for setting in settings:
            numbers = compute(results.complete_of(setting), results.metric)
            table = _sweep_table(numbers, parameter, sweeps)
            levels = (
                {results.reference: float(numbers[results.reference].mean())}
                if (results.reference in numbers)
                else {}
            )
            if len(table):
                heading = f"{balance_of(setting)}: {_VALUES[value]}"
                panels.append(_panel(results, heading, table, parameter, levels))
    if not panels:
        return section
    lines = "; ".join(", ".join(sweep.values) for sweep in sweeps)
    section.blocks.append(
        Figure(
            draw_panels(panels, f"{METRICS[results.metric]} against {parameter}", share="y"),
            f"{METRICS[results.metric]} against {parameter}, all else equal: area under the curve "
            f"and final value, mean over the seeds whose runs are complete. "
            f"{band_words(results, settings, BAND, complete=True)} The strategies: {lines}. "
            "A line has the colour of its first strategy; the dashed "
            f"horizontal line is {results.reference}.{_PAPER_FIGURES.get(parameter, '')}",
            columns=len(settings),
        )
    )
    return section


def _sweep_table(numbers: pd.DataFrame, parameter: str, sweeps: list[Sweep]) -> pd.DataFrame:
    """One row per line, seed and value of the parameter; lines have at least two values."""
    import pandas as pd

    rows = [
        (next(iter(sweep.values)), seed, setting, number)
        for sweep in sweeps
        for strategy, setting in sweep.values.items()
        if strategy in numbers
        for seed, number in numbers[strategy].dropna().items()
    ]
    table = pd.DataFrame(rows, columns=["strategy", "seed", parameter, "value"])
    # As they are: beside numbers pandas would make NaN of None.
    table[parameter] = pd.Series([row[2] for row in rows], dtype=object)
    # As text: True and 1 are different settings, and lists cannot be counted.
    n_values = table[parameter].map(str).groupby(table["strategy"]).transform("nunique")
    return table[n_values > 1]


def _panel(
    results: Results,
    heading: str,
    table: pd.DataFrame,
    parameter: str,
    levels: Mapping[str, float],
) -> Panel:
    def draw(ax: Axes) -> None:
        ParameterCurveDisplay.from_results(
            table,
            parameter,
            "value",
            levels=levels,
            band=BAND,
            styles=results.styles,
            ax=ax,
            legend=False,
            band_kw=band_kw(table["strategy"].nunique()),
        )
        share_axis(ax, f"{METRICS[results.metric]} in %")

    return Panel(heading, draw)


def batch_section(results: Results) -> Section:
    """Protocols that differ in the number of labels per round: the paper's Figs. 10 and 11."""
    section = Section("Labels per round")
    for family in batch_families(results):
        balances = list(dict.fromkeys(b for name in family for b in results.balances(name)))
        found = {balance: batch_table(results, family, balance) for balance in balances}
        found = {balance: both for balance, both in found.items() if len(both[0])}
        if not found:
            continue
        panels = []
        for value, words in _VALUES.items():
            for balance, (table, _) in found.items():
                shown = table.rename(columns={value: "value", "batch": "labels per round"})
                heading = f"{balance_name(balance)}: {words}"
                panels.append(_panel(results, heading, shown, "labels per round", {}))
        budgets = {f"{whole(low)} to {whole(high)}" for _, (low, high) in found.values()}
        settings = [Setting(name, balance) for name in family for balance in found]
        settings = [s for s in settings if len(results.of(s))]
        names = [
            name
            for name in results.styles
            if any((table["strategy"] == name).any() for table, _ in found.values())
        ]
        section.blocks += [
            Legend([(draw_key(results.styles[name]), name) for name in names]),
            Figure(
                draw_panels(
                    panels, f"{METRICS[results.metric]} against labels per round", share="y"
                ),
                f"{METRICS[results.metric]} against the labels that are bought in a round, over "
                f"the same budget ({' or '.join(sorted(budgets))} labels): area under the curve "
                f"and value at its end, mean over the seeds. "
                f"{band_words(results, settings, BAND, complete=True)} "
                f"Protocols: {', '.join(family)}. As Figs. 10 and 11 of {PAPER}.",
                columns=len(found),
            ),
        ]
    return section
