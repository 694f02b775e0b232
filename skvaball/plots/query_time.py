"""What a query costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from skvaball.plots._bands import LOG_FACTOR, checked_columns, new_axes, without_full
from skvaball.plots._styles import Style, complete_styles, point_style

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


class QueryTimeDisplay:
    """Seconds per query of each strategy: the median, with a line from least to most.

    Use :meth:`from_results` to draw at once; the constructor only stores its arguments.

    Parameters
    ----------
    results : DataFrame
        One row per strategy, seed and round, with the columns `strategy`, `seed`,
        `n_labeled` and `query_time`. The first round of a seed is its start, for which
        nothing was queried: it is left out, as are rows without a time and the strategy
        "full".

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the times.
    figure_ : matplotlib Figure
        Figure of the axes.
    medians_ : list of matplotlib Line2D
        One point per strategy, in the order of first appearance in `results`, from top
        to bottom.
    ranges_ : list of matplotlib Line2D
        The line of each.

    See Also
    --------
    BudgetCurveDisplay : What the queries are worth.

    Examples
    --------
    >>> import pandas as pd
    >>> from skvaball.plots import QueryTimeDisplay
    >>> results = pd.DataFrame(
    ...     {
    ...         "strategy": ["vab"] * 4,
    ...         "seed": [0] * 4,
    ...         "n_labeled": [100, 200, 300, 400],
    ...         "query_time": [0.0, 3.0, 2.0, 7.0],
    ...     }
    ... )
    >>> display = QueryTimeDisplay.from_results(results)
    >>> display.medians_[0].get_xdata().tolist()
    [3.0]
    """

    def __init__(self, results: pd.DataFrame) -> None:
        self.results = results

    @classmethod
    def from_results(
        cls,
        results: pd.DataFrame,
        *,
        styles: Mapping[str, Style] | None = None,
        ax: Axes | None = None,
        point_kw: dict[str, Any] | None = None,
    ) -> QueryTimeDisplay:
        """Draw the query times of the strategies in a table of results.

        Parameters
        ----------
        results : DataFrame
            One row per strategy, seed and round, with the columns `strategy`, `seed`,
            `n_labeled` and `query_time`.
        styles : mapping of str to mapping or None, default=None
            Style of each strategy, from :func:`~skvaball.plots.strategy_styles`; None
            gives them out in order.
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a new figure.
        point_kw : dict or None, default=None
            Passed to ``Axes.plot`` for the points.

        Returns
        -------
        QueryTimeDisplay
        """
        return cls(results).plot(ax, styles=styles, point_kw=point_kw)

    def plot(
        self,
        ax: Axes | None = None,
        *,
        styles: Mapping[str, Style] | None = None,
        point_kw: dict[str, Any] | None = None,
    ) -> QueryTimeDisplay:
        """Draw the times.

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
        self : QueryTimeDisplay

        Raises
        ------
        ValueError
            If `results` lacks a column, there is no query in it, or `styles` lacks a
            strategy.
        ImportError
            If matplotlib is not installed.
        """
        times = self._times()
        if ax is None:
            ax = new_axes()
        looks = complete_styles(times, styles)
        self.medians_, self.ranges_ = [], []
        for i, (strategy, seconds) in enumerate(times.items()):
            color = looks[strategy]["color"]
            self.ranges_ += ax.plot([seconds.min(), seconds.max()], [i, i], color=color, alpha=0.6)
            point = {"linestyle": "none", **point_style(looks[strategy]), "label": strategy}
            self.medians_ += ax.plot([seconds.median()], [i], **{**point, **(point_kw or {})})
        ax.set_yticks(range(len(times)), list(times))
        ax.set_ylim(len(times) - 0.5, -0.5)  # the first on top
        ax.grid(axis="x", linewidth=0.5, color="0.9")
        ax.set_axisbelow(True)
        least = min(seconds.min() for seconds in times.values())
        most = max(seconds.max() for seconds in times.values())
        if least > 0 and most >= LOG_FACTOR * least:
            ax.set_xscale("log")  # from milliseconds to minutes
            ax.xaxis.set_major_formatter("{x:g}")
        ax.set_xlabel("Seconds per query")
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _times(self) -> dict[str, pd.Series]:
        results = checked_columns(
            without_full(self.results), ["strategy", "seed", "n_labeled", "query_time"]
        )
        start = results.groupby(["strategy", "seed"], observed=True)["n_labeled"].transform("min")
        queries = results[results["n_labeled"] > start].dropna(subset=["query_time"])
        if len(queries) == 0:
            raise ValueError(
                "results has no query_time after the start: nothing to draw. Expected at "
                "least two rounds of some seed."
            )
        return {
            str(strategy): rows["query_time"]
            for strategy, rows in queries.groupby("strategy", sort=False, observed=True)
        }
