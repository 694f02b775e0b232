"""Learning curves over the labeling budget, one per strategy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from skvaball.plots._bands import draw_bands, draw_legend, summarize

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


class BudgetCurveDisplay:
    """A metric against the number of labels: mean over seeds, plus or minus one standard error.

    Use :meth:`from_results` to draw at once; the constructor only stores its arguments.

    Parameters
    ----------
    results : DataFrame
        One row per strategy, seed and round, with the columns `strategy`, `seed`,
        `n_labeled` and the metric. Rows without a value of the metric are left out.
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

    See Also
    --------
    ClassBalanceDisplay : What the same strategies choose to label.
    sklearn.model_selection.LearningCurveDisplay : Curves of one estimator on random subsets.

    Notes
    -----
    The standard error is that of the mean over seeds (ddof=1). Bands of two strategies may
    overlap although one wins on every seed: test paired differences, not the picture.

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
        return cls(results, metric).plot(ax, legend=legend, line_kw=line_kw, band_kw=band_kw)

    def plot(
        self,
        ax: Axes | None = None,
        *,
        legend: bool = True,
        line_kw: dict[str, Any] | None = None,
        band_kw: dict[str, Any] | None = None,
    ) -> BudgetCurveDisplay:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a new figure.
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
            one number of labels.
        ImportError
            If matplotlib is not installed.
        """
        bands = summarize(self.results, self.metric)
        self.ax_, self.lines_, self.bands_ = draw_bands(bands, ax, line_kw, band_kw)
        self.figure_ = self.ax_.figure
        name = self.metric.replace("_", " ")
        self.ax_.set_ylabel(name[:1].upper() + name[1:])
        if legend:
            draw_legend(self.ax_)
        return self
