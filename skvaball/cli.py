"""The `skvaball` command."""

from __future__ import annotations

import shlex
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

try:
    import pandas as pd
    import typer
    from matplotlib.backend_bases import FigureCanvasBase
    from rich.console import Console
    from rich.markup import escape
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
from skvaball.utils.extras import needs_extra

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from skvaball.experiments import Protocol, ResultStore

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Active learning for imbalanced data.",
    epilog="An error is one line; with --debug after any command it is Python's traceback. "
    "Example: skvaball doctor",
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
    from skvaball.experiments import ResultStore, load_protocol
    from skvaball.experiments.demo import STRATEGIES, draw_demo

    # Now: a picture that cannot be written should not cost a run.
    _check_picture(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    console = Console()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        store = ResultStore(Path(folder) / "demo.db")
        protocol = load_protocol("digits")
        _run_all(protocol, list(STRATEGIES), range(seeds), store, console, n_jobs=jobs)
        results = store.rounds()
        console.print(summary_table(results))
        draw_demo(results, store.protocols()["digits"]).savefig(output, dpi=150)
        console.print(f"{time.perf_counter() - start:.0f} s. Picture: {output}", markup=False)


def _check_picture(path: Path) -> None:
    """Raise unless matplotlib can write a file of this name."""
    kinds = sorted(FigureCanvasBase.get_supported_filetypes())
    if path.is_dir() or path.suffix.lower().lstrip(".") not in kinds:
        raise ValueError(
            f"--output {path} is no file that a picture can be written to. Expected a name that "
            f"ends in one of: {', '.join(kinds)}."
        )


@app.command()
def run(
    protocol: Annotated[
        str, typer.Argument(help="Name of a protocol that is shipped, or a TOML file.")
    ],
    strategy: Annotated[
        list[str] | None,
        typer.Option(
            help="A strategy; repeat the option for more of them. Without it: random, and the "
            "strategies that the protocol defines."
        ),
    ] = None,
    seeds: Annotated[str, typer.Option(help="START:STOP, or seeds with commas between.")] = "0:5",
    balance: Annotated[
        list[str] | None,
        typer.Option(help="none, sampling or logit_adjustment; may be repeated."),
    ] = None,
    jobs: Annotated[int, typer.Option(help="Runs at a time, as in joblib; -1 for all cores.")] = 1,
    store: Annotated[Path, typer.Option(help="File that the results are added to.")] = Path(
        "results.db"
    ),
    data: Annotated[Path | None, typer.Option(help="Folder or archive of the data set.")] = None,
    device: Annotated[str, typer.Option(help="Where networks are trained.")] = "cpu",
    cluster: Annotated[
        str | None, typer.Option(help="Address of a Dask scheduler whose workers do the runs.")
    ] = None,
) -> None:
    """Run strategies of a protocol on paired seeds; what is done already is not done again.

    Example: skvaball run digits --strategy random --strategy vab --seeds 0:10 --jobs 2
    """
    from skvaball.experiments import ResultStore, load_protocol

    loaded = load_protocol(protocol)
    if not strategy and not loaded.strategies:
        raise ValueError(
            f"The protocol {loaded.name} defines no strategies of its own. Name some, for "
            "example: --strategy random --strategy margin --strategy vab"
        )
    with _backend(cluster):
        _run_all(
            loaded,
            strategy or ["random", *loaded.strategies],
            _parse_seeds(seeds),
            ResultStore(store),
            Console(),
            balances=balance or None,
            folder=data,
            n_jobs=-1 if cluster else jobs,
            device=device,
        )


@app.command()
def report(
    store: Annotated[Path, typer.Argument(help="File that `skvaball run` has written.")],
    output: Annotated[Path, typer.Option(help="Where the page goes.")] = Path("report.html"),
    reference: Annotated[
        str, typer.Option(help="The strategy that the others are compared with.")
    ] = "random",
    metric: Annotated[
        str,
        typer.Option(help="accuracy, balanced_accuracy, macro_f1 or geometric_mean."),
    ] = "balanced_accuracy",
    strategy: Annotated[
        list[str] | None,
        typer.Option(help="A strategy to report; repeat the option. Without it: all."),
    ] = None,
) -> None:
    """Print a table of the results, and write every table and figure to one HTML page.

    Example: skvaball report results.db --output report.html --reference margin
    """
    from skvaball.experiments import ResultStore
    from skvaball.experiments.report import summary, write_report

    results = ResultStore(store, must_exist=True)
    if output.resolve() == store.resolve():
        raise ValueError(f"--output {output} is the store itself. Expected another file.")
    options: dict[str, Any] = {"reference": reference, "metric": metric, "strategies": strategy}
    command = shlex.join(["skvaball", *sys.argv[1:]])
    page = write_report(results, output, command=command, **options)
    console = Console()
    for (protocol, balance), numbers in summary(results, **options).items():
        console.print(_report_table(f"{protocol}, balance {balance}", numbers, metric, reference))
    console.print(f"Page: {page}", markup=False)


@app.command()
def doctor(
    folder: Annotated[
        Path, typer.Option(help="Folder in which a store of results is tried out.")
    ] = Path(),
) -> None:
    """Show versions, extras and devices, and try what the library is for, in some seconds.

    The exit code is 0 if all of it works, and 1 if not.

    Example: skvaball doctor --folder /scratch/results
    """
    from skvaball.doctor import checks, devices, extras, versions

    console = Console()
    works = True
    parts = {
        "Versions": versions(),
        "Extras": extras(),
        "Devices": devices(),
        "Checks": checks(folder),
    }
    for title, findings in parts.items():
        console.print(title, style="bold")
        for finding in findings:
            works &= finding.works is not False
            mark = {True: "ok", False: "FAILED", None: "-"}[finding.works]
            line = f"  {mark:<6} {finding.name}: {finding.detail}"
            # Not as markup: names of extras stand in brackets.
            style = "red" if finding.works is False else None
            console.print(line, style=style, markup=False, highlight=False, soft_wrap=True)
    if not works:
        raise typer.Exit(1)


def _report_table(title: str, numbers: pd.DataFrame, metric: str, reference: str) -> Table:
    """Area, difference and final value of each strategy, in %."""
    reference = escape(reference)
    table = Table(
        title=escape(title),
        caption=f"{metric} in %: area under the curve and final value, mean ± standard deviation "
        f"over seeds; difference of the area to {reference}, paired by seed, with its 95 % "
        "interval by bootstrap.",
    )
    columns = ("area", f"area minus {reference}", "final", "seeds")
    table.add_column("strategy")
    for name in columns:
        table.add_column(name, justify="right")
    for strategy, row in numbers.iterrows():
        table.add_row(escape(str(strategy)), *_report_cells(row, metric))
    return table


def _report_cells(row: pd.Series, metric: str) -> list[str]:
    def spread(name: str) -> str:
        return _percent(row[name], row[f"{name}_sd"])

    difference = ""
    if pd.notna(row["difference"]):
        low, high = 100 * row["low"], 100 * row["high"]
        difference = f"{100 * row['difference']:+.1f}"
        if pd.notna(low):
            difference += f" ({low:+.1f} to {high:+.1f})"
    n_seeds = str(int(row["n_seeds"])) if pd.notna(row["n_seeds"]) else ""
    return [spread(f"{metric}_area"), difference, spread(f"{metric}_final"), n_seeds]


def _parse_seeds(text: str) -> list[int]:
    try:
        if ":" in text:
            start, stop = text.split(":")
            seeds = list(range(int(start), int(stop)))
        else:
            seeds = [int(part) for part in text.split(",")]
    except ValueError:
        seeds = []
    if not seeds or min(seeds) < 0:
        raise ValueError(
            f"seeds={text!r} names no seed, or one below 0. Expected START:STOP such as 0:10, or "
            "3,5."
        )
    return seeds


@contextmanager
def _backend(cluster: str | None) -> Iterator[None]:
    """Send what joblib does to a Dask cluster, if there is one."""
    if cluster is None:
        yield
        return
    with needs_extra("--cluster", "dask"):
        from distributed import Client
    from joblib import parallel_config

    with Client(cluster), parallel_config(backend="dask"):
        yield


def _run_all(
    protocol: Protocol,
    strategies: list[str],
    seeds: Iterable[int],
    store: ResultStore,
    console: Console,
    **options: Any,
) -> None:
    from skvaball.experiments import run_protocol

    seeds = list(seeds)
    total = len(strategies) * len(seeds) * len(options.get("balances") or [None])
    with _progress(console) as progress:
        task = progress.add_task("runs", total=total)
        for key in run_protocol(protocol, strategies, seeds, store, **options):
            progress.update(task, advance=1, description=f"{key.strategy:>8}")


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    )


def summary_table(results: pd.DataFrame) -> Table:
    """Balanced accuracy per round, area under the curve and rare share of each strategy.

    Parameters
    ----------
    results : DataFrame
        Rounds of one protocol, as :meth:`skvaball.experiments.ResultStore.rounds` has them.

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
        table.add_column(escape(str(name)), justify="right")
    for n, rows in results.groupby("n_labeled"):
        by_name = dict(iter(rows.groupby("strategy")["balanced_accuracy"]))
        table.add_row(str(n), *(_spread(by_name[name]) for name in names))
    table.add_section()
    areas = curve_areas(results)
    table.add_row("area", *(_spread(areas[name]) for name in names))
    last = dict(iter(results[results["round"] == results["round"].max()].groupby("strategy")))
    table.add_row("rare", *(_spread(last[name]["rare_share"]) for name in names))
    return table


def _percent(mean: float, deviation: float) -> str:
    """Mean and standard deviation in %; what there is not is left out."""
    if pd.isna(mean):
        return ""
    return f"{100 * mean:.1f}" + ("" if pd.isna(deviation) else f" ± {100 * deviation:.1f}")


def _spread(values: pd.Series) -> str:
    return _percent(values.mean(), values.std())


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
        # What a database says of itself has the statement and its values on lines of their own.
        error = getattr(error, "orig", None) or error
        sys.exit(f"skvaball: {' '.join(str(error).split())} (--debug shows where)")
