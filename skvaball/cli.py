"""The `skvaball` command."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

try:
    import matplotlib  # noqa: F401 (the demo draws; say so before it runs)
    import pandas as pd
    import typer
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.table import Table
except ImportError as error:
    sys.exit(f'The skvaball command needs {error.name}: pip install "skvaball[cli]"')

from skvaball import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Active learning for imbalanced data.",
)


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        print(f"skvaball {__version__}")
        raise typer.Exit


@app.command()
def demo(
    seeds: Annotated[int, typer.Option(min=1, help="Number of paired seeds, from 0.")] = 5,
    jobs: Annotated[int, typer.Option(help="Processes, as in joblib; -1 for all cores.")] = -1,
    output: Annotated[Path, typer.Option(help="Where the picture goes.")] = Path(
        "skvaball-demo/digits.png"
    ),
) -> None:
    """Compare four strategies on digits of which one dominates, and draw the result.

    Example: skvaball demo --seeds 3 --output digits.png
    """
    from skvaball.experiments import compare_strategies
    from skvaball.experiments.demo import (
        BATCH_SIZE,
        N_ROUNDS,
        RARE,
        demo_learners,
        dominated_digits,
        draw_demo,
    )

    # Now: a folder that cannot be written should not cost a run.
    output.parent.mkdir(parents=True, exist_ok=True)
    console = Console()
    learners = demo_learners()
    start = time.perf_counter()
    runs = compare_strategies(
        learners,
        dominated_digits,
        list(range(seeds)),
        batch_size=BATCH_SIZE,
        n_rounds=N_ROUNDS,
        rare_classes=RARE,
        n_jobs=jobs,
    )
    rounds = _collect(runs, total=seeds * len(learners), console=console)
    results = pd.DataFrame(rounds)
    # Runs end in any order: the table and the legend keep that of the strategies.
    order = {name: i for i, name in enumerate(learners)}
    results = results.sort_values(["strategy", "seed", "round"], key=lambda c: c.replace(order))
    console.print(summary_table(results))
    draw_demo(results).savefig(output, dpi=150)
    console.print(f"{time.perf_counter() - start:.0f} s. Picture: {output}")


def _collect(
    runs: Iterable[list[dict[str, Any]]], total: int, console: Console
) -> list[dict[str, Any]]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    rounds: list[dict[str, Any]] = []
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("runs", total=total)
        for run in runs:
            rounds += run
            progress.update(task, advance=1, description=f"{run[0]['strategy']:>8}")
    return rounds


def summary_table(results: pd.DataFrame) -> Table:
    """Balanced accuracy per round, area under the curve and rare share of each strategy.

    Parameters
    ----------
    results : DataFrame
        Rounds of :func:`~skvaball.experiments.compare_strategies`.

    Returns
    -------
    rich Table
        Means over seeds, with the standard deviation where there are several.
    """
    from skvaball.experiments import curve_areas

    n_seeds = results["seed"].nunique()
    names = list(results["strategy"].unique())
    table = Table(
        title=f"Balanced accuracy in %, mean ± standard deviation of {n_seeds} seeds",
        caption="Area: under the curve, the budget scaled to 0..1. Rare: share of the rare "
        "classes in % of all rows labeled at the end.",
    )
    table.add_column("labels", justify="right")
    for name in names:
        table.add_column(str(name), justify="right")
    for n, rows in results.groupby("n_labeled"):
        by_name = dict(iter(rows.groupby("strategy")["balanced_accuracy"]))
        table.add_row(str(n), *(_percent(by_name[name]) for name in names))
    table.add_section()
    areas = curve_areas(results)
    table.add_row("area", *(_percent(areas[name]) for name in names))
    last = dict(iter(results[results["round"] == results["round"].max()].groupby("strategy")))
    table.add_row("rare", *(_percent(last[name]["rare_share"]) for name in names))
    return table


def _percent(values: pd.Series) -> str:
    spread = f" ± {100 * values.std():.1f}" if len(values) > 1 else ""
    return f"{100 * values.mean():.1f}{spread}"


def main() -> None:
    """Run the command; an error is one line, unless --debug asks for the traceback."""
    debug = "--debug" in sys.argv
    if debug:
        sys.argv.remove("--debug")
    try:
        app()
    except Exception as error:  # the command's last line of defence: say it and fail
        if debug:
            raise
        sys.exit(f"skvaball: {error} (--debug shows where)")
