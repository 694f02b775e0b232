"""Figures as images for a page: vector graphics inside the page itself."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from skvaball.experiments.report._words import MINUS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

#: Draws on the axes that it is given.
Draw = Callable[["Axes"], object]
#: Inches of a panel: two stand side by side on a page of 1,200 pixels.
PANEL = (5.4, 3.6)
#: Inches of a panel of which many stand side by side.
SMALL_PANEL = (2.3, 2.0)
#: What the bands of all figures are: what readers take them for anyway.
BAND = "ci"
#: Pixels of a page per inch of a figure.
PIXELS = 96
_STYLE: dict[str, Any] = {
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "lines.markersize": 5,
    "lines.linewidth": 1.4,
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    # Outlines: the page must look the same where the font is not installed.
    "svg.fonttype": "path",
    # The same results make the same page, to the byte.
    "svg.hashsalt": "skvaball",
}


class Image(NamedTuple):
    """An image inside the page."""

    source: str
    heading: str
    alternative: str
    width: int
    height: int


class Panel(NamedTuple):
    """What is to be drawn, under which heading."""

    heading: str
    draw: Draw


def draw_panels(
    panels: Sequence[Panel],
    alternative: str,
    *,
    size: tuple[float, float] = PANEL,
    share: str = "",
) -> list[Image]:
    """Draw panels that stand side by side.

    Parameters
    ----------
    panels : sequence of Panel
        What to draw.
    alternative : str
        What the images show, for those who cannot see them; the heading follows.
    size : (float, float), default=PANEL
        Inches of each.
    share : {"", "x", "y"}, default=""
        Axis whose limits are the same in all panels, so that they compare.

    Returns
    -------
    list of Image
    """
    import matplotlib.style
    from matplotlib.figure import Figure

    with matplotlib.style.context(["default", _STYLE]):
        figures = [Figure(figsize=size, layout="constrained") for _ in panels]
        axes = [figure.add_subplot() for figure in figures]
        for ax, panel in zip(axes, panels, strict=True):
            panel.draw(ax)
        if share:
            limits = [ax.get_xlim() if share == "x" else ax.get_ylim() for ax in axes]
            both = (min(low for low, _ in limits), max(high for _, high in limits))
            for ax in axes:
                (ax.set_xlim if share == "x" else ax.set_ylim)(*both)
        return [
            Image(
                _source(figure),
                panel.heading,
                f"{alternative}: {panel.heading}" if panel.heading else alternative,
                round(size[0] * PIXELS),
                round(size[1] * PIXELS),
            )
            for figure, panel in zip(figures, panels, strict=True)
        ]


def in_percent(axis: Axis, label: str) -> None:
    """Label an axis of shares in %, as the tables have them."""
    axis.set_major_formatter(lambda share, position: f"{100 * share:.6g}".replace("-", MINUS))
    axis.set_label_text(label)


def share_axis(ax: Axes, label: str) -> None:
    """Make the ordinate one of shares in %, and keep it to what a share can be.

    With few seeds an interval reaches far beyond, and would flatten the curves.
    """
    in_percent(ax.yaxis, label)
    low, high = ax.get_ylim()
    ax.set_ylim(max(low, -0.02), min(high, 1.02))


def band_kw(n_strategies: int) -> dict[str, float]:
    """How dense bands are: the more there are on top of each other, the less."""
    return {"alpha": max(0.05, min(0.18, 0.7 / max(1, n_strategies)))}


def draw_key(style: Mapping[str, Any]) -> Image:
    """A short line in the style of a strategy, for a legend."""
    return _draw_key(tuple(sorted(style.items())))


@cache  # every legend of a page has the same few
def _draw_key(style: tuple[tuple[str, Any], ...]) -> Image:
    def draw(ax: Axes) -> None:
        ax.set_axis_off()
        ax.plot([0, 1, 2], [0, 0, 0], markevery=[1], **dict(style))
        ax.set_xlim(0, 2)

    return draw_panels([Panel("", draw)], "", size=(0.42, 0.17))[0]


def png_source(png: bytes) -> str:
    """An image file as the source of an image in the page."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def _source(figure: Any) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
