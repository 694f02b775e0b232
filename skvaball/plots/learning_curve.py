"""Learning curves over the labeling budget, one per strategy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from skvaball.plots._bands import draw_bands, draw_legend, metric_label, summarize, without_full
from skvaball.plots._styles import FULL, REFERENCE_STYLES, Style

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


class BudgetCurveDisplay:
    """A metric against the number of labels: mean over seeds, with a band.

    Use :meth:`from_results` to draw at once; the constructor only stores its arguments.

    Parameters
    ----------
    results : DataFrame
        One row per strategy, seed and round, with the columns `strategy`, `seed`,
        `n_labeled` and the metric. Rows without a value of the metric are left out. A
        strategy named "full" is the classifier that has all labels: a horizontal line.
    metric : str, default="balanced_accuracy"
        Column to draw.

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
    full_ : matplotlib Line2D or None
        The line at the mean of "full", if it is among the strategies.

    See Also
    --------
    ClassBalanceDisplay : What the same strategies choose to label.
    sklearn.model_selection.LearningCurveDisplay : Curves of one estimator on random subsets.

    Notes
    -----
    The band is one standard error of the mean over seeds (ddof=1), or its 95 % confidence
    interval by Student's t. Bands of two strategies may overlap although one wins on every
    seed: test paired differences, not the picture.

    Examples
    --------
    >>> import pandas as pd
    >>> from skvaball.plots import BudgetCurveDisplay
    >>> results = pd.DataFrame(
    ...     {
    ...         "strategy": ["random"] * 4,
    ...         "seed": [0, 0, 1, 1],
    ...         "n_labeled": [100, 200, 100, 200],
    ...         "balanced_accuracy": [0.25, 0.5, 0.75, 1.0],
    ...     }
    ... )
    >>> display = BudgetCurveDisplay.from_results(results)
    >>> display.lines_[0].get_ydata().tolist()
    [0.5, 0.75]
    """

    def __init__(self, results: pd.DataFrame, metric: str = "balanced_accuracy") -> None:
        self.results = results
        self.metric = metric

    @classmethod
    def from_results(
        cls,
        results: pd.DataFrame,
        metric: str = "balanced_accuracy",
        *,
        band: str = "se",
        styles: Mapping[str, Style] | None = None,
        ax: Axes | None = None,
        legend: bool = True,
        line_kw: dict[str, Any] | None = None,
        band_kw: dict[str, Any] | None = None,
    ) -> BudgetCurveDisplay:
        """Draw the learning curves of the strategies in a table of results.

        Parameters
        ----------
        results : DataFrame
            One row per strategy, seed and round, with the columns `strategy`, `seed`,
            `n_labeled` and the metric.
        metric : str, default="balanced_accuracy"
            Column to draw.
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
        BudgetCurveDisplay
        """
        return cls(results, metric).plot(
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
    ) -> BudgetCurveDisplay:
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
            Draw a legend to the right of the axes. A figure of your own makes room for
            it with ``layout="constrained"``.
        line_kw, band_kw : dict or None, default=None
            Passed to ``Axes.plot`` and ``Axes.fill_between``.

        Returns
        -------
        self : BudgetCurveDisplay

        Raises
        ------
        ValueError
            If `results` lacks a column, has no values, or has two rows for one seed at
            one number of labels, `band` is unknown, or `styles` lacks a strategy.
        ImportError
            If matplotlib is not installed.
        """
        bands = summarize(without_full(self.results), self.metric, band)
        self.ax_, self.lines_, self.bands_ = draw_bands(bands, ax, styles, line_kw, band_kw)
        self.figure_ = self.ax_.figure
        level = self.results.loc[self.results["strategy"] == FULL, self.metric].mean()
        self.full_ = None
        if level == level:  # not NaN: the strategy is there, and has a value
            style = {**REFERENCE_STYLES[FULL], **((styles or {}).get(FULL) or {})}
            self.full_ = self.ax_.axhline(level, label="full pool", zorder=1, **style)
        self.ax_.set_ylabel(metric_label(self.metric))
        if legend:
            draw_legend(self.ax_)
        return self
