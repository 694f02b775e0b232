"""The section of one protocol, its trainings side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from skvaball.experiments.report._ablation_sections import sweep_sections, term_section
from skvaball.experiments.report._blocks import (
    Cell,
    Facts,
    Figure,
    Gallery,
    Legend,
    Note,
    Picture,
    Section,
    Table,
)
from skvaball.experiments.report._comparison import (
    AROUND,
    ROW,
    differences,
    number_tables,
    penalties,
)
from skvaball.experiments.report._figures import (
    BAND,
    PANEL,
    SMALL_PANEL,
    Panel,
    band_kw,
    draw_key,
    draw_panels,
    in_percent,
    png_source,
    share_axis,
)
from skvaball.experiments.report._results import METRICS, MIN_SEEDS, Results, Setting
from skvaball.experiments.report._words import (
    NOTHING,
    PAPER,
    balance_of,
    band_words,
    count,
    entry_list,
    mean_and_range,
    number_list,
    percent,
    seed_words,
    strategy_name,
)
from skvaball.plots import (
    BudgetCurveDisplay,
    ClassAccuracyDisplay,
    ClassBalanceDisplay,
    QueryTimeDisplay,
)
from skvaball.plots._styles import FULL
from skvaball.plots.gallery import TERMS, first_images, label_text, number_text

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

#: Of more classes, the rarest and the most common are shown.
MAX_CLASSES = 12
#: Images of a gallery.
N_IMAGES = 10


def protocol_section(
    results: Results, summaries: dict[tuple[str, str], pd.DataFrame], protocol: str
) -> Section:
    """All that was measured in one protocol."""
    settings = [Setting(protocol, balance) for balance in results.balances(protocol)]
    section = Section(results.title(protocol), [_facts(results, settings)])
    few = results.too_few_seeds(settings)
    if few:
        section.blocks.append(
            Note(
                f"Only {count(min(few.values()), 'seed')}: the comparison cannot be trusted. "
                f"Run at least {MIN_SEEDS}.",
                warning=True,
            )
        )
    section.blocks.append(_legend(results, settings))
    parts = [
        _curves(results, settings),
        number_tables(results, summaries, settings),
        differences(results, summaries, settings),
        penalties(results, settings),
        _rare_shares(results, settings),
        _class_accuracies(results, settings),
        _query_times(results, settings),
        _autoencoders(results, settings),
        term_section(results, summaries, settings),
        *sweep_sections(results, settings),
        _galleries(results, settings),
    ]
    section.sections = [part for part in parts if part]
    return section


def _facts(results: Results, settings: list[Setting]) -> Facts:
    protocol = results.protocols.get(settings[0].protocol, {})
    entries = [("Protocol", settings[0].protocol)]
    for key in ("data", "variant", "network", "training", "rounds"):
        if protocol.get(key):
            entries.append((key.capitalize(), entry_list(protocol[key])))
    names, shares = protocol.get("class_names", []), protocol.get("pool_shares", [])
    if names and len(names) == len(shares) <= MAX_CLASSES:
        classes = [f"{name} {percent(share)} %" for name, share in zip(names, shares, strict=True)]
        entries.append(("Classes in the pool", ", ".join(classes)))
    elif names:
        entries.append(("Classes", str(len(names))))
    seeds = {balance_of(s): number_list(results.curves_of(s)["seed"]) for s in settings}
    if len(set(seeds.values())) > 1:
        entries.append(("Seeds", "; ".join(f"{name}: {of}" for name, of in seeds.items())))
    else:
        entries.append(("Seeds", next(iter(seeds.values()))))
    return Facts(entries)


def _legend(results: Results, settings: list[Setting]) -> Legend:
    marked = results.marked(settings[0].protocol)
    entries = []
    for strategy in results.strategies_of(settings):
        name = strategy_name(strategy, marked)
        if strategy in marked:
            name += " learned nothing in some round"
        entries.append((draw_key(results.styles[strategy]), name))
    return Legend(entries)


def _curves(results: Results, settings: list[Setting]) -> Section:
    section = Section("Learning curves")
    alpha = band_kw(len(results.strategies_of(settings)))
    for metric, name in METRICS.items():

        def draw(rounds: pd.DataFrame, ax: Axes, metric: str = metric, name: str = name) -> None:
            BudgetCurveDisplay.from_results(
                rounds,
                metric,
                band=BAND,
                styles=results.styles,
                ax=ax,
                legend=False,
                band_kw=alpha,
            )
            share_axis(ax, f"{name} in %")

        drawn = [s for s in settings if results.curves_of(s)[metric].notna().any()]
        full = any(FULL in set(results.of(s)["strategy"]) for s in drawn)
        section.blocks += _figure(
            results,
            drawn,
            draw,
            f"{name} on the test set against the number of labels, mean over the seeds. "
            f"{band_words(results, drawn, BAND)}"
            + (" The horizontal line is the classifier that has all labels." if full else ""),
            columns=len(settings),
            share="y",
        )
    return section


def _rare_shares(results: Results, settings: list[Setting]) -> Section:
    protocol = results.protocols.get(settings[0].protocol, {})
    rare, names = protocol.get("rare") or [], protocol.get("class_names") or []
    shares = protocol.get("pool_shares") or []
    reference = float(sum(shares[k] for k in rare)) if rare and shares else None
    drawn = [s for s in settings if results.curves_of(s)["rare_share"].notna().any()]
    alpha = band_kw(len(results.strategies_of(settings)))

    def draw(rounds: pd.DataFrame, ax: Axes) -> None:
        ClassBalanceDisplay.from_results(
            rounds,
            reference=reference,
            band=BAND,
            styles=results.styles,
            ax=ax,
            legend=False,
            band_kw=alpha,
        )
        share_axis(ax, "Rare classes among the labels, %")

    which = f" ({', '.join(names[k] for k in rare)})" if names and len(rare) <= MAX_CLASSES else ""
    caption = (
        f"Share of the rare classes{which} among all labels so far, mean over the seeds. "
        f"{band_words(results, drawn, BAND)}"
        + (" The thin dashed line is their share in the pool." if reference is not None else "")
        + f" As Fig. 9 of {PAPER}."
    )
    return Section(
        "Rare classes among the labels",
        _figure(results, drawn, draw, caption, columns=len(settings), share="y"),
    )


def _class_accuracies(results: Results, settings: list[Setting]) -> Section:
    section = Section("Accuracy of each class against its labels")
    protocol = results.protocols.get(settings[0].protocol, {})
    for setting in settings:
        rounds = results.curves_of(setting)
        recalls = np.array(rounds["recalls"].to_list(), dtype=float)
        measured = np.flatnonzero(~np.isnan(recalls).all(axis=0))
        if len(measured) == 0:
            continue
        classes = _extreme_classes(measured, protocol.get("pool_shares") or [])
        chosen = (
            ""
            if len(classes) == len(measured)
            else (
                f" Of {len(measured)} classes, the {len(classes)} that are rarest or most common."
            )
        )
        section.blocks.append(
            Figure(
                draw_panels(
                    [_class_panel(results, rounds, protocol, k) for k in classes],
                    "Accuracy of a class against its labels",
                    size=SMALL_PANEL,
                ),
                f"{balance_of(setting)}: accuracy of each class on its test rows (its recall, in "
                "%) against the number of its labels, both means over the "
                f"{seed_words(results, [setting])}; each point is a round. Beside the name: share "
                f"of the pool.{chosen} As Fig. 6 of {PAPER}.",
                columns=0,
                small=True,
            )
        )
    return section


def _class_panel(
    results: Results, rounds: pd.DataFrame, protocol: Mapping[str, Any], k: int
) -> Panel:
    def draw(ax: Axes) -> None:
        ClassAccuracyDisplay.from_results(
            rounds, k, styles=results.styles, ax=ax, legend=False, line_kw={"markersize": 4}
        )
        in_percent(ax.yaxis, "")
        ax.set_xlabel("labels")

    names, shares = protocol.get("class_names"), protocol.get("pool_shares")
    name = names[k] if names else f"class {k}"
    return Panel(f"{name} ({percent(shares[k])} %)" if shares else str(name), draw)


def _extreme_classes(measured: np.ndarray, shares: Sequence[float]) -> list[int]:
    """All classes if they are few; else the rarest and the most common."""
    if len(measured) <= MAX_CLASSES or not shares:
        return [int(k) for k in measured[:MAX_CLASSES]]
    by_share = measured[np.argsort(np.array(shares)[measured], kind="stable")]
    half = MAX_CLASSES // 2
    return sorted(int(k) for k in np.concatenate([by_share[:half], by_share[-half:]]))


def _query_times(results: Results, settings: list[Setting]) -> Section:
    drawn = [s for s in settings if results.queries_of(s)["query_time"].notna().any()]

    def draw(rounds: pd.DataFrame, ax: Axes) -> None:
        QueryTimeDisplay.from_results(rounds, styles=results.styles, ax=ax)

    n_rows = max((results.queries_of(s)["strategy"].nunique() for s in drawn), default=0)
    caption = (
        "Seconds per query: median of all rounds and seeds, and a line from the shortest to the "
        f"longest; {seed_words(results, drawn)}. Times of different machines do not compare; see "
        "the provenance."
    )
    return Section(
        "Query time",
        _figure(
            results,
            drawn,
            draw,
            caption,
            columns=len(settings),
            share="x",
            size=(PANEL[0], AROUND + ROW * n_rows),
        ),
    )


def _autoencoders(results: Results, settings: list[Setting]) -> Section:
    section = Section("Did the autoencoders learn?")
    names = ("runs marked", "rounds marked", "label agrees", "likelihood agrees")
    marked = results.marked(settings[0].protocol)
    rows = []
    for strategy in results.strategies_of(settings):
        row = [strategy_name(strategy, marked)]
        for setting in settings:
            rounds = results.of(setting)
            row += _agreement_cells(rounds[rounds["strategy"] == strategy])
        if set(row[1:]) != {NOTHING}:
            rows.append(row)
    if rows:
        top = [Cell("Strategy", rows=2, word=True)]
        top += [Cell(balance_of(s), columns=len(names)) for s in settings]
        section.blocks.append(
            Table(
                "Marked: the masked likelihoods hardly told the classes apart in the query "
                "(NothingLearnedWarning), so its scores mean little. Agreement in %: share of "
                "pool rows for which the label by the autoencoder (Eq. 7), or the class of the "
                "highest masked likelihood, is the label of the classifier; mean of all queries, "
                f"and range; {seed_words(results, settings)}.",
                [top, [Cell(name) for _ in settings for name in names]],
                rows,
            )
        )
    return section


def _agreement_cells(rounds: pd.DataFrame) -> list[str]:
    marked = rounds["nothing_learned"].astype(bool)
    queries = rounds[rounds["vae_agreement"].notna() | marked]
    if len(queries) == 0:
        return [NOTHING] * 4
    return [
        f"{rounds.loc[marked, 'seed'].nunique()} of {rounds['seed'].nunique()}",
        f"{marked.sum()} of {len(queries)}",
        mean_and_range(queries["vae_agreement"]),
        mean_and_range(queries["likelihood_agreement"]),
    ]


def _galleries(results: Results, settings: list[Setting]) -> Section:
    section = Section("First images of a query")
    if len(results.gallery) == 0:
        return section
    for setting in settings:
        there = (results.gallery["protocol"] == setting.protocol) & (
            results.gallery["balance"] == setting.balance
        )
        for strategy, images in results.gallery[there].groupby("strategy", sort=False):
            first = images[images["seed"] == images["seed"].min()]
            query = first[first["round"] == first["round"].max()]
            pictures = [_picture(row) for row in first_images(query, N_IMAGES).to_dict("records")]
            section.blocks.append(
                Gallery(
                    pictures,
                    f"{balance_of(setting)}, {strategy}: first {count(len(pictures), 'image')} "
                    f"of the query of round {query['round'].iloc[0]}, seed {query['seed'].iloc[0]}"
                    ", with the class, and what the classifier took it for. The terms are those "
                    "of the predicted class ŷ: log-likelihood in nats, difficulty and prior; "
                    f"below them the score. As Figs. 1 and 5 of {PAPER}.",
                )
            )
    return section


def _picture(row: dict[str, Any]) -> Picture:
    return Picture(
        png_source(row["png"]),
        label_text(row),
        row["true_label"] != row["predicted_label"],
        [(name, number_text(row[key])) for key, name in TERMS.items()],
    )


def _figure(
    results: Results,
    settings: list[Setting],
    draw: Callable[[pd.DataFrame, Axes], object],
    caption: str,
    *,
    columns: int,
    share: str = "",
    size: tuple[float, float] = PANEL,
) -> list[Any]:
    """A figure with one panel per setting; none if there is nothing to draw."""
    if not settings:
        return []

    def panel(setting: Setting) -> Panel:
        return Panel(balance_of(setting), lambda ax: draw(results.of(setting), ax))

    images = draw_panels(
        [panel(s) for s in settings], caption.split(". ")[0], size=size, share=share
    )
    return [Figure(images, caption, columns)]
