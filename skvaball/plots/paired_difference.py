"""Differences to a strategy of reference, on the same seeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from skvaball.plots._bands import checked_columns, metric_label, new_axes
from skvaball.plots._styles import Style, complete_styles, point_style

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


class PairedDifferenceDisplay:
    """Mean paired differences of strategies to a reference, with confidence intervals.

    Use :meth:`from_results` to compute and draw; the constructor only stores its arguments.

    Parameters
    ----------
    differences : DataFrame
        One row per strategy, with the columns `mean`, `low` and `high`, as
        :func:`~skvaball.experiments.statistics.paired_differences` returns them. Rows
        without a mean are left out.
    reference : str, default="random"
        Name of the reference, for the axis.
    metric : str, default="balanced_accuracy"
        Name of the metric, for the axis.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the differences.
    figure_ : matplotlib Figure
        Figure of the axes.
    means_ : list of matplotlib Line2D
        One point per strategy, in the order of the rows, from top to bottom.
    intervals_ : list of matplotlib Line2D or None
        Their intervals; None where there is no interval.

    See Also
    --------
    BudgetCurveDisplay : The curves that are compared.

    Examples
    --------
    >>> import pandas as pd
    >>> from skvaball.plots import PairedDifferenceDisplay
    >>> differences = pd.DataFrame(
    ...     {"mean": [0.02], "low": [0.01], "high": [0.03]}, index=["entropy"]
    ... )
    >>> display = PairedDifferenceDisplay(differences).plot()
    >>> display.intervals_[0].get_xdata().tolist()
    [0.01, 0.03]
    """

    def __init__(
        self,
        differences: pd.DataFrame,
        reference: str = "random",
        metric: str = "balanced_accuracy",
    ) -> None:
        self.differences = differences
        self.reference = reference
        self.metric = metric

    @classmethod
    def from_results(
        cls,
        results: pd.DataFrame,
        reference: str = "random",
        metric: str = "balanced_accuracy",
        *,
        styles: Mapping[str, Style] | None = None,
        ax: Axes | None = None,
        point_kw: dict[str, Any] | None = None,
    ) -> PairedDifferenceDisplay:
        """Compute the differences of areas under the curve, and draw them.

        Parameters
        ----------
        results : DataFrame
            One row per strategy, seed and round, with the columns `strategy`, `seed`,
            `n_labeled` and the metric.
        reference : str, default="random"
            The strategy to compare with.
        metric : str, default="balanced_accuracy"
            The column to compare.
        styles : mapping of str to mapping or None, default=None
            Style of each strategy, from :func:`~skvaball.plots.strategy_styles`; None
            gives them out in order.
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a new figure.
        point_kw : dict or None, default=None
            Passed to ``Axes.plot`` for the points.

        Returns
        -------
        PairedDifferenceDisplay
        """
        from skvaball.experiments.statistics import paired_differences

        differences = paired_differences(results, reference, metric)
        return cls(differences, reference, metric).plot(ax, styles=styles, point_kw=point_kw)

    def plot(
        self,
        ax: Axes | None = None,
        *,
        styles: Mapping[str, Style] | None = None,
        point_kw: dict[str, Any] | None = None,
    ) -> PairedDifferenceDisplay:
        """Draw the differences.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a new figure.
        styles : mapping of str to mapping or None, default=None
            Style of each strategy, from :func:`~skvaball.plots.strategy_styles`; None
            gives them out in order.
        point_kw : dict or None, default=None
            Passed to ``Axes.plot`` for the points.

        Returns
        -------
        self : PairedDifferenceDisplay

        Raises
        ------
        ValueError
            If `differences` lacks a column or has no mean, or `styles` lacks a strategy.
        ImportError
            If matplotlib is not installed.
        """
        rows = checked_columns(self.differences, ["mean", "low", "high"]).dropna(subset=["mean"])
        if len(rows) == 0:
            raise ValueError(f"No strategy shares a seed with {self.reference!r}: nothing to draw.")
        if ax is None:
            ax = new_axes()
        names = [str(name) for name in rows.index]
        looks = complete_styles(names, styles)
        self.means_, self.intervals_ = [], []
        ax.axvline(0.0, color="0.45", linestyle="--", linewidth=1, zorder=1)
        for i, (name, mean, low, high) in enumerate(
            zip(names, rows["mean"], rows["low"], rows["high"], strict=True)
        ):
            interval = None
            if low == low:  # not NaN
                (interval,) = ax.plot([low, high], [i, i], color=looks[name]["color"])
            self.intervals_.append(interval)
            point = {"linestyle": "none", **point_style(looks[name]), "label": name}
            self.means_ += ax.plot([mean], [i], **{**point, **(point_kw or {})})
        ax.set_yticks(range(len(names)), names)
        ax.set_ylim(len(names) - 0.5, -0.5)  # the first on top
        ax.grid(axis="x", linewidth=0.5, color="0.9")
        ax.set_axisbelow(True)
        ax.set_xlabel(
            f"Difference to {self.reference}\n(area under the curve of "
            f"{metric_label(self.metric).lower()})"
        )
        self.ax_, self.figure_ = ax, ax.figure
        return self
