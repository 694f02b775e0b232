"""What the displays share: mean and band over seeds per strategy, drawn as line and band."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from skvaball.plots._styles import FULL, Style, complete_styles
from skvaball.utils.extras import needs_extra

if TYPE_CHECKING:  # at run time neither is needed before something is drawn
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.collections import PolyCollection
    from matplotlib.lines import Line2D

#: Numbers that span at least this factor are drawn on a logarithmic axis.
LOG_FACTOR = 9
#: What a band over seeds may show, in words.
BANDS = {
    "se": "one standard error of the mean",
    "ci": "the 95 % confidence interval of the mean (t)",
}


def summarize(
    results: pd.DataFrame, column: str, band: str = "se", by: str = "n_labeled"
) -> dict[str, pd.DataFrame]:
    """Mean and band over seeds, per strategy and number of labels.

    Parameters
    ----------
    results : DataFrame
        One row per strategy, seed and number of labels, with columns `strategy`, `seed`,
        `by` and `column`. Rows without a value in `column` are left out.
    column : str
        The column to summarize.
    band : {"se", "ci"}, default="se"
        "se": the mean plus or minus one standard error (ddof=1). "ci": its 95 %
        confidence interval by Student's t.
    by : str, default="n_labeled"
        The column that becomes the abscissa.

    Returns
    -------
    dict of str to DataFrame
        Per strategy, in the order of first appearance: a frame with the index `by`
        (increasing) and the columns `mean`, `low` and `high` (NaN where there is one seed).

    Raises
    ------
    ValueError
        If a column is missing, there is nothing to draw, or a seed has two rows at one
        number of labels.
    """
    keys = ["strategy", "seed", by]
    results = checked_columns(results, [*keys, column]).dropna(subset=[column])
    if len(results) == 0:
        raise ValueError(f"results has no value in the column {column!r}: nothing to draw.")
    check_unique(results, keys)
    return {
        str(strategy): mean_and_band(rows.groupby(by)[column], band)
        for strategy, rows in results.groupby("strategy", sort=False, observed=True)
    }


def check_unique(results: pd.DataFrame, keys: list[str]) -> None:
    """Raise a ValueError if two rows have the same keys.

    Rows that are not independent runs would make bands and intervals too narrow.
    """
    repeated = results.duplicated(keys)
    if repeated.any():
        first = results.loc[repeated, keys].iloc[0].to_dict()
        raise ValueError(
            f"results has several rows for {first}. Expected one per {', '.join(keys[:-1])} "
            f"and {keys[-1]}; select one data set and setting first."
        )


def checked_columns(results: pd.DataFrame, needed: list[str]) -> pd.DataFrame:
    """The needed columns of the results; a ValueError names those that are missing."""
    missing = [name for name in needed if name not in results.columns]
    if missing:
        raise ValueError(
            f"results lacks the columns {missing}. Expected {needed}; "
            f"there are {list(results.columns)}."
        )
    return results[needed]


def mean_and_band(groups: Any, band: str) -> pd.DataFrame:
    """Mean, low and high of each group of a pandas SeriesGroupBy."""
    if band not in BANDS:
        raise ValueError(f"band={band!r} is unknown. Expected one of {sorted(BANDS)}.")
    table: pd.DataFrame = groups.agg(["mean", "sem", "count"])
    half = table.pop("sem")
    count = table.pop("count")
    if band == "ci":
        from scipy.stats import t

        half = half * t.ppf(0.975, count - 1)
    return table.assign(low=table["mean"] - half, high=table["mean"] + half)


def without_full(results: pd.DataFrame) -> pd.DataFrame:
    """The rows that belong to a learning curve: all but those of the fully labeled pool."""
    if "strategy" not in results.columns:  # said in full where the columns are checked
        return results
    return results[results["strategy"] != FULL]


def draw_bands(
    bands: dict[str, pd.DataFrame],
    ax: Axes | None,
    styles: Mapping[str, Style] | None,
    line_kw: dict[str, Any] | None,
    band_kw: dict[str, Any] | None,
) -> tuple[Axes, list[Line2D], list[PolyCollection | None]]:
    """Draw one line per strategy, and a band where there are at least two seeds.

    Parameters
    ----------
    bands : dict of str to DataFrame
        As :func:`summarize` returns them.
    ax : Axes or None
        Where to draw; None makes a new figure.
    styles : mapping of str to mapping or None
        Style of each strategy; None gives them out in order.
    line_kw, band_kw : dict or None
        Passed to ``Axes.plot`` and ``Axes.fill_between``, over the defaults.

    Returns
    -------
    (ax, lines, bands) : lines and bands by strategy; a band is None with one seed
    """
    if ax is None:
        ax = new_axes()
        ax.locator_params(axis="x", integer=True)  # there is no half label
    looks = complete_styles(bands, styles)
    lines: list[Line2D] = []
    polygons: list[PolyCollection | None] = []
    for strategy, band in bands.items():
        style = {**looks[strategy], "label": strategy, **(line_kw or {})}
        (line,) = ax.plot(band.index, band["mean"], **style)
        lines.append(line)
        polygon = None
        if band["low"].notna().any():
            default = {"color": line.get_color(), "alpha": 0.2, "linewidth": 0}
            polygon = ax.fill_between(
                band.index, band["low"], band["high"], **{**default, **(band_kw or {})}
            )
        polygons.append(polygon)
    ax.set_xlabel("Number of labeled samples")
    return ax, lines, polygons


def draw_legend(ax: Axes) -> None:
    """Legend to the right of the axes: inside, it would cover some curve sooner or later."""
    ax.legend(loc="upper left", bbox_to_anchor=(1.02, 1.0), borderaxespad=0.0)


def metric_label(metric: str) -> str:
    """The name of a metric as the label of an axis."""
    name = metric.replace("_", " ").replace(" f1", " F1")
    return name[:1].upper() + name[1:]


def new_axes(figsize: tuple[float, float] = (8.0, 4.8)) -> Axes:
    """Axes of a new figure.

    The default is wider than matplotlib's 6.4 inches: the constrained layout takes the
    room for the legend beside the axes from them.
    """
    _, ax = load_pyplot().subplots(figsize=figsize, layout="constrained")
    axes: Axes = ax
    return axes


def load_pyplot() -> Any:
    """matplotlib.pyplot; says what to install where it is missing."""
    with needs_extra("Drawing", "cli"):
        import matplotlib.pyplot as plt
    return plt
