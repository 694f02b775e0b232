"""How each strategy looks: the same in all figures that are given the same styles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: The row of results that has the whole pool labeled: a level to compare with, not a curve.
FULL = "full"
#: Name of the line of reference beside shares of rare classes.
POOL_SHARE = "share in the pool"
#: A style is what ``Axes.plot`` takes as keywords.
Style = Mapping[str, Any]

# Okabe and Ito's palette for colour-blind readers, without its yellow (too pale on white).
# Vermilion stands far from orange, with which it is most easily confused.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#000000", "#56B4E9", "#D55E00")
# Shape tells lines apart where colour does not, as in print.
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
# The next style when the colours are used up: 21 strategies before a look repeats.
# Dashes are left to lines of reference.
LINE_STYLES = ("-", ":", "-.")

# The floor, the ceiling and the whole pool are no rivals: grey, whatever else is drawn.
_GREY = "0.45"
# Above the lines of rivals, which would hide what they are compared with.
_ON_TOP = 2.5
REFERENCE_STYLES: Mapping[str, Style] = {
    "random": {
        "color": _GREY,
        "marker": "x",
        "markeredgecolor": _GREY,
        "markeredgewidth": 1.0,
        "linestyle": "--",
        "zorder": _ON_TOP,
    },
    "oracle": {
        "color": _GREY,
        "marker": "+",
        "markeredgecolor": _GREY,
        "markeredgewidth": 1.0,
        "linestyle": (0, (1, 1.2)),
        "zorder": _ON_TOP,
    },
    FULL: {"color": "0.25", "marker": "none", "linestyle": "-", "linewidth": 1.0},
}


def strategy_styles(strategies: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Colour, marker and line of each strategy.

    Displays choose styles by the order of the strategies in their own results. Give all
    displays of a page the styles of all its strategies, and each keeps its look.

    Parameters
    ----------
    strategies : iterable of str
        The names, in the order in which colours are given out. "random", "oracle" and
        "full" are references: they are grey and use up no colour.

    Returns
    -------
    dict of str to dict
        Keywords of ``Axes.plot``, for each name. 21 strategies look different.

    Examples
    --------
    >>> from skvaball.plots import strategy_styles
    >>> styles = strategy_styles(["random", "entropy", "vab"])
    >>> styles["entropy"]["color"], styles["vab"]["color"]
    ('#0072B2', '#E69F00')
    """
    styles: dict[str, dict[str, Any]] = {}
    i = 0
    for name in dict.fromkeys(str(strategy) for strategy in strategies):
        if name in REFERENCE_STYLES:
            styles[name] = dict(REFERENCE_STYLES[name])
            continue
        cycle, position = divmod(i, len(PALETTE))
        styles[name] = {
            "color": PALETTE[position],
            # Shifted in each cycle, so that two lines of one colour differ in shape too.
            "marker": MARKERS[(position + cycle) % len(MARKERS)],
            "markeredgecolor": "white",
            "markeredgewidth": 0.5,
            "linestyle": LINE_STYLES[cycle % len(LINE_STYLES)],
        }
        i += 1
    return styles


def style_beside(ax: Axes | None, name: str) -> dict[str, dict[str, Any]]:
    """The style of one more strategy on axes that may have curves of others."""
    drawn = [] if ax is None else [str(line.get_label()) for line in ax.get_lines()]
    others = [label for label in drawn if not label.startswith("_") and label != POOL_SHARE]
    return {name: strategy_styles([*others, name])[name]}


def complete_styles(
    strategies: Iterable[str], styles: Mapping[str, Style] | None
) -> dict[str, dict[str, Any]]:
    """The given styles; where there are none, those of the strategies at hand."""
    names = list(strategies)
    if styles is None:
        return strategy_styles(names)
    missing = [name for name in names if name not in styles]
    if missing:
        raise ValueError(
            f"styles has no entry for {missing}. Make it with strategy_styles of all "
            "strategies that are drawn."
        )
    return {name: dict(styles[name]) for name in names}


def point_style(style: Style) -> dict[str, Any]:
    """The part of a style that a single point has."""
    return {key: value for key, value in style.items() if key not in ("linestyle", "linewidth")}
