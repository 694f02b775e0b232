"""What the displays share: mean and standard error per strategy, drawn as line and band."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # at run time neither is needed before something is drawn
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.collections import PolyCollection
    from matplotlib.lines import Line2D

# Okabe and Ito's palette for colour-blind readers, without its yellow (too pale on white).
# Vermilion stands far from orange, with which it is most easily confused.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#000000", "#56B4E9", "#D55E00")
# Shape tells lines apart where colour does not, as in print.
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
# The next style when the colours are used up: 21 strategies before a look repeats.
# Dashes are left to lines of reference.
LINE_STYLES = ("-", ":", "-.")


def summarize(results: pd.DataFrame, column: str) -> dict[str, pd.DataFrame]:
    """Mean and standard error over seeds, per strategy and number of labels.

    Parameters
    ----------
    results : DataFrame
        One row per strategy, seed and number of labels, with columns `strategy`, `seed`,
        `n_labeled` and `column`. Rows without a value in `column` are left out.
    column : str
        The column to summarize.

    Returns
    -------
    dict of str to DataFrame
        Per strategy, in the order of first appearance: a frame with the index `n_labeled`
        (increasing) and the columns `mean` and `sem` (ddof=1, NaN where there is one seed).

    Raises
    ------
    ValueError
        If a column is missing, there is nothing to draw, or a seed has two rows at one
        number of labels.
    """
    needed = ["strategy", "seed", "n_labeled", column]
    missing = [name for name in needed if name not in results.columns]
    if missing:
        raise ValueError(
            f"results lacks the columns {missing}. Expected {needed}; "
            f"there are {list(results.columns)}."
        )
    results = results[needed].dropna(subset=[column])
    if len(results) == 0:
        raise ValueError(f"results has no value in the column {column!r}: nothing to draw.")
    keys = ["strategy", "seed", "n_labeled"]
    repeated = results.duplicated(keys)
    if repeated.any():
        # Rows that are not independent runs would make the band too narrow.
        first = results.loc[repeated, keys].iloc[0].to_dict()
        raise ValueError(
            f"results has several rows for {first}. Expected one per strategy, seed and "
            "n_labeled; select one data set or setting before drawing."
        )
    return {
        str(strategy): rows.groupby("n_labeled")[column].agg(["mean", "sem"])
        for strategy, rows in results.groupby("strategy", sort=False, observed=True)
    }


def draw_bands(
    bands: dict[str, pd.DataFrame],
    ax: Axes | None,
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
    line_kw, band_kw : dict or None
        Passed to ``Axes.plot`` and ``Axes.fill_between``, over the defaults.

    Returns
    -------
    (ax, lines, bands) : lines and bands by strategy; a band is None with one seed
    """
    if ax is None:
        ax = _new_axes()
        ax.locator_params(axis="x", integer=True)  # there is no half label
    lines: list[Line2D] = []
    polygons: list[PolyCollection | None] = []
    for i, (strategy, band) in enumerate(bands.items()):
        cycle, position = divmod(i, len(PALETTE))
        style = {
            "color": PALETTE[position],
            # Shifted in each cycle, so that two lines of one colour differ in shape too.
            "marker": MARKERS[(position + cycle) % len(MARKERS)],
            "markeredgecolor": "white",
            "markeredgewidth": 0.5,
            "linestyle": LINE_STYLES[cycle % len(LINE_STYLES)],
        }
        (line,) = ax.plot(
            band.index, band["mean"], **{**style, "label": strategy, **(line_kw or {})}
        )
        lines.append(line)
        polygon = None
        if band["sem"].notna().any():
            default = {"color": line.get_color(), "alpha": 0.2, "linewidth": 0}
            polygon = ax.fill_between(
                band.index,
                band["mean"] - band["sem"],
                band["mean"] + band["sem"],
                **{**default, **(band_kw or {})},
            )
        polygons.append(polygon)
    ax.set_xlabel("Number of labeled samples")
    return ax, lines, polygons


def draw_legend(ax: Axes) -> None:
    """Legend to the right of the axes: inside, it would cover some curve sooner or later."""
    ax.legend(loc="upper left", bbox_to_anchor=(1.02, 1.0), borderaxespad=0.0)


def _new_axes() -> Axes:
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            "Drawing needs matplotlib, which is not installed. "
            'Install it with: pip install "skvaball[cli]"'
        ) from error
    # Wider than matplotlib's 6.4 inches: the constrained layout takes the room for the
    # legend beside the axes from them.
    _, ax = plt.subplots(figsize=(8.0, 4.8), layout="constrained")
    return ax
