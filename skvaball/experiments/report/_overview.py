"""The first and the last section: what was compared, and where it comes from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from skvaball.experiments.report._blocks import Cell, Facts, Note, Section, Table
from skvaball.experiments.report._results import KEYS, MARK, METRICS, MIN_SEEDS, Results
from skvaball.experiments.report._summary import numbers_of
from skvaball.experiments.report._words import (
    NOTHING,
    PAPER,
    count,
    entry_list,
    number_list,
    percent,
    setting_name,
    strategy_name,
)

if TYPE_CHECKING:
    import pandas as pd


def overview(results: Results, summaries: dict[tuple[str, str], pd.DataFrame]) -> Section:
    """What to be wary of, and each strategy in each setting: the paper's Table 2."""
    section = Section("Overview")
    section.blocks += _warnings(results)
    for metric in dict.fromkeys(["accuracy", results.metric]):
        section.blocks.append(_overview_table(results, summaries, metric))
    return section


def _warnings(results: Results) -> list[Note]:
    texts = []
    few = results.too_few_seeds(results.settings())
    if few:
        named = [f"{setting_name(results, s)} ({count(n, 'seed')})" for s, n in few.items()]
        texts.append(
            f"Fewer than {MIN_SEEDS} complete seeds: {'; '.join(named)}. These comparisons "
            "cannot be trusted: a strategy may look better or worse than it is by the luck of the "
            "draw."
        )
    n_unfinished = int((~results.runs["finished"].astype(bool)).sum())
    if n_unfinished:
        texts.append(
            f"{n_unfinished} of {count(len(results.runs), 'run')} not finished. Their rounds are "
            "in the curves, but areas, final values and tests of areas leave them out."
        )
    marked = results.rounds[results.rounds["nothing_learned"].astype(bool)]
    if len(marked):
        texts.append(
            f"In {count(len(marked.drop_duplicates(KEYS)), 'run')} the autoencoder of a strategy "
            f"learned next to nothing in some round. These strategies are marked {MARK}: what "
            "they chose then says little about the method."
        )
    return [Note(text, warning=True) for text in texts]


def _overview_table(
    results: Results, summaries: dict[tuple[str, str], pd.DataFrame], metric: str
) -> Table:
    settings = results.settings()
    top = [Cell("Strategy", rows=2, word=True)]
    top += [Cell(setting_name(results, s), columns=2) for s in settings]
    rows = []
    for strategy in results.styles:
        row = [strategy_name(strategy)]
        for setting in settings:
            numbers = numbers_of(summaries[setting], strategy)
            row += [percent(numbers[f"{metric}_area"]), percent(numbers[f"{metric}_final"])]
        if set(row[1:]) != {NOTHING}:
            rows.append(row)
    return Table(
        f"{METRICS[metric]} in % of each strategy in each setting, means over the seeds. Mean: "
        "over the budget, which is the area under the learning curve. Final: at the end of the "
        f"budget. As Table 2 of {PAPER}.",
        [top, [Cell(text) for _ in settings for text in ("mean", "final")]],
        rows,
    )


def provenance(results: Results, command: str | None) -> Section:
    """Versions, commit, hardware, seeds, settings and command."""
    section = Section("Provenance")
    runs = results.runs
    started = sorted(str(time) for time in runs["started"])
    facts = [
        ("Runs", f"{len(runs):,}, of which {int(runs['finished'].sum()):,} are finished"),
        ("Seeds", number_list(runs["seed"])),
        ("Started", started[0] if started[0] == started[-1] else f"{started[0]} to {started[-1]}"),
    ]
    if command:
        facts.append(("Command", command))
    section.blocks.append(Facts(facts))
    environments: dict[str, int] = {}
    for run in runs.to_dict("records"):
        key = json.dumps([run["commit"], run["hardware"], run["versions"]])
        environments[key] = environments.get(key, 0) + 1
    if len(environments) > 1:
        section.blocks.append(
            Note(
                f"The runs come from {len(environments)} environments. Their times do not "
                "compare; nor may their scores, if the versions or the commit differ.",
                warning=True,
            )
        )
    rows = []
    for key, n_runs in environments.items():
        commit, hardware, versions = json.loads(key)
        row = [commit or "unknown", entry_list(hardware), entry_list(versions), f"{n_runs:,}"]
        rows.append(row)
    section.blocks.append(
        Table(
            "Environments in which the last rounds of the runs were made.",
            [[*(Cell(n, word=True) for n in ("Commit", "Hardware", "Versions")), Cell("Runs")]],
            rows,
            words=3,
        )
    )
    section.blocks.append(_settings_table(runs))
    return section


def _settings_table(runs: pd.DataFrame) -> Table:
    where: dict[tuple[str, str], dict[str, None]] = {}
    for run in runs.to_dict("records"):
        config = {key: value for key, value in run["config"].items() if key != "defaults"}
        key = (strategy_name(run["strategy"]), entry_list(config))
        where.setdefault(key, {})[run["protocol"]] = None
    return Table(
        "Settings of the strategies that are not the defaults of their selectors.",
        [[Cell(name, word=True) for name in ("Strategy", "Settings", "Protocols")]],
        [[name, config, ", ".join(protocols)] for (name, config), protocols in where.items()],
        words=3,
    )
