"""What a setting of a strategy is worth: the ablations of a paper."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from skvaball.plots._bands import (
    LOG_FACTOR,
    checked_columns,
    draw_bands,
    draw_legend,
    metric_label,
    new_axes,
    summarize,
)
from skvaball.plots._styles import REFERENCE_STYLES, Style, strategy_styles

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

#: So many numbers are all marked on the axis.
MAX_TICKS = 8


class ParameterCurveDisplay:
    """A result, such as the area under the curve, against a parameter: mean with a band.

    Use :meth:`from_results` to draw at once; the constructor only stores its arguments.

    Parameters
    ----------
    results : DataFrame
        One row per strategy, seed and value of the parameter, with the columns
        `strategy` (one line each), `seed`, and those named by the next two. Rows without
        a result are left out.
    parameter : str
        Column of the parameter: numbers, or names such as "square" and "abs".
    value : str
        Column of the result.
    levels : mapping of str to float or None, default=None
        Results that do not depend on the parameter, by strategy, drawn as horizontal
        lines.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the curves.
    figure_ : matplotlib Figure
        Figure of the axes.
    lines_ : list of matplotlib Line2D
        One curve per strategy, in the order of first appearance in `results`.
    bands_ : list of matplotlib PolyCollection or None
        The band of each curve; None where the strategy has only one seed.
    levels_ : list of matplotlib Line2D
        The horizontal lines.

    See Also
    --------
    BudgetCurveDisplay : A metric against the number of labels.

    Examples
    --------
    >>> import pandas as pd
    >>> from skvaball.plots import ParameterCurveDisplay
    >>> results = pd.DataFrame(
    ...     {
    ...         "strategy": ["vab"] * 3,
    ...         "seed": [0, 0, 0],
    ...         "lam": [0.001, 0.01, 0.1],
    ...         "area": [0.5, 0.6, 0.7],
    ...     }
    ... )
    >>> display = ParameterCurveDisplay.from_results(results, "lam", "area")
    >>> display.ax_.get_xscale()
    'log'
    """

    def __init__(
        self,
        results: pd.DataFrame,
        parameter: str,
        value: str,
        *,
        levels: Mapping[str, float] | None = None,
    ) -> None:
        self.results = results
        self.parameter = parameter
        self.value = value
        self.levels = levels

    @classmethod
    def from_results(
        cls,
        results: pd.DataFrame,
        parameter: str,
        value: str,
        *,
        levels: Mapping[str, float] | None = None,
        band: str = "se",
        styles: Mapping[str, Style] | None = None,
        ax: Axes | None = None,
        legend: bool = True,
        line_kw: dict[str, Any] | None = None,
        band_kw: dict[str, Any] | None = None,
    ) -> ParameterCurveDisplay:
        """Draw a result against a parameter.

        Parameters
        ----------
        results : DataFrame
            One row per strategy, seed and value of the parameter, with the columns
            `strategy`, `seed`, and those named by the next two.
        parameter : str
            Column of the parameter.
        value : str
            Column of the result.
        levels : mapping of str to float or None, default=None
            Results that do not depend on the parameter, by strategy, drawn as
            horizontal lines.
        band : {"se", "ci"}, default="se"
            One standard error of the mean, or its 95 % confidence interval.
        styles : mapping of str to mapping or None, default=None
            Style of each strategy, from :func:`~skvaball.plots.strategy_styles`; None
            gives them out in order.
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a new figure.
        legend : bool, default=True
            Draw a legend to the right of the axes.
        line_kw, band_kw : dict or None, default=None
            Passed to ``Axes.plot`` and ``Axes.fill_between``.

        Returns
        -------
        ParameterCurveDisplay
        """
        return cls(results, parameter, value, levels=levels).plot(
            ax, band=band, styles=styles, legend=legend, line_kw=line_kw, band_kw=band_kw
        )

    def plot(
        self,
        ax: Axes | None = None,
        *,
        band: str = "se",
        styles: Mapping[str, Style] | None = None,
        legend: bool = True,
        line_kw: dict[str, Any] | None = None,
        band_kw: dict[str, Any] | None = None,
    ) -> ParameterCurveDisplay:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a new figure.
        band : {"se", "ci"}, default="se"
            One standard error of the mean, or its 95 % confidence interval.
        styles : mapping of str to mapping or None, default=None
            Style of each strategy, from :func:`~skvaball.plots.strategy_styles`; None
            gives them out in order.
        legend : bool, default=True
            Draw a legend to the right of the axes.
        line_kw, band_kw : dict or None, default=None
            Passed to ``Axes.plot`` and ``Axes.fill_between``.

        Returns
        -------
        self : ParameterCurveDisplay

        Raises
        ------
        ValueError
            If `results` lacks a column, has no values, or has two rows for one strategy,
            seed and value of the parameter, `band` is unknown, or `styles` lacks a
            strategy.
        ImportError
            If matplotlib is not installed.
        """
        results = checked_columns(
            self.results, ["strategy", "seed", self.parameter, self.value]
        ).dropna(subset=[self.value])
        given = [_plain(setting) for setting in results[self.parameter]]
        # By their texts: lists and dicts cannot be looked up.
        settings = sorted({str(setting): setting for setting in given}.values(), key=_numbers_first)
        # Not infinity: it has no place on an axis.
        numeric = all(
            isinstance(setting, int | float) and math.isfinite(setting) for setting in settings
        )
        if not numeric:  # names stand side by side, in order
            places = {str(setting): i for i, setting in enumerate(settings)}
            results = results.assign(**{self.parameter: [places[str(s)] for s in given]})
        bands = summarize(results, self.value, band, by=self.parameter)
        if ax is None:
            ax = new_axes()
        self.ax_, self.lines_, self.bands_ = draw_bands(bands, ax, styles, line_kw, band_kw)
        self.figure_ = self.ax_.figure
        if not numeric:
            ax.set_xticks(range(len(settings)), [str(setting) for setting in settings])
            ax.set_xlim(-0.5, len(settings) - 0.5)
        else:
            if settings[0] > 0 and settings[-1] >= LOG_FACTOR * settings[0]:
                ax.set_xscale("log")
            if len(settings) <= MAX_TICKS:
                ax.set_xticks(settings, [f"{setting:g}" for setting in settings])
                ax.set_xticks([], minor=True)
        looks = {**strategy_styles(self.levels or {}), **(styles or {})}
        self.levels_ = [self._draw_level(name, looks[name]) for name in self.levels or {}]
        ax.set_xlabel(self.parameter.replace("_", " "))
        ax.set_ylabel(metric_label(self.value))
        if legend:
            draw_legend(ax)
        return self

    def _draw_level(self, name: str, look: Style) -> Any:
        assert self.levels is not None
        line: dict[str, Any] = {"color": look.get("color", "0.45"), "linestyle": "--"}
        if name in REFERENCE_STYLES:
            line["linestyle"] = look.get("linestyle", "--")
        return self.ax_.axhline(self.levels[name], label=name, linewidth=1, zorder=1, **line)


def _plain(setting: Any) -> Any:
    """A numpy scalar as Python's number; True and False are names here."""
    setting = setting.item() if hasattr(setting, "item") else setting
    return str(setting) if isinstance(setting, bool) else setting


def _numbers_first(setting: Any) -> tuple[bool, float, str]:
    plain = _plain(setting)
    if isinstance(plain, int | float):
        return (False, float(plain), "")
    return (True, 0.0, str(plain))
