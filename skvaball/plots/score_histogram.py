"""How the scores of a selector are spread in each predicted class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from skvaball.plots._bands import new_axes
from skvaball.plots._estimators import check_lengths, fitted_with_classifier
from skvaball.plots._styles import PALETTE

#: Scores that differ by less than this part of them differ by rounding.
ROUNDING = 1e-12

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Height of the highest bar, of the 1 that a class has.
_HEIGHT = 0.85


class ScoreHistogramDisplay:
    """Histogram of the scores of a pool, one row for each predicted class.

    It shows which classes a strategy will ask for, and whether the scores say more than
    the class does. Use :meth:`from_estimator` to draw at once; the constructor only stores
    its arguments.

    Parameters
    ----------
    scores : array-like of shape (n,)
        Scores, higher = label first.
    labels : array-like of shape (n,)
        Predicted classes.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the histograms.
    figure_ : matplotlib Figure
        Figure of the axes.
    classes_ : ndarray of shape (n_classes,)
        The classes that were predicted, from top to bottom.
    edges_ : ndarray of shape (n_bins + 1,)
        Edges of the bins, the same for all classes.
    counts_ : ndarray of shape (n_classes, n_bins)
        Rows of the pool. Heights are in proportion to them, with one scale for each class.
    stairs_ : list of matplotlib StepPatch
        One histogram per class.

    See Also
    --------
    ClassTermsDisplay : The part of VaB-AL's score that the class decides alone.

    Examples
    --------
    >>> from skvaball.plots import ScoreHistogramDisplay
    >>> display = ScoreHistogramDisplay([0.1, 0.2, 0.9], ["cat", "cat", "dog"]).plot(bins=2)
    >>> display.counts_.tolist()
    [[2, 0], [0, 1]]
    """

    def __init__(self, scores: ArrayLike, labels: ArrayLike) -> None:
        self.scores = scores
        self.labels = labels

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        bins: Any = 30,
        ax: Axes | None = None,
        stairs_kw: dict[str, Any] | None = None,
    ) -> ScoreHistogramDisplay:
        """Draw the scores that a selector gives to rows.

        Parameters
        ----------
        estimator : QuerySelector, ActiveLearner or ActiveLearningSimulator
            A fitted selector that has a classifier, or a learner or simulator that has
            answered a query: its selector as it was for that query.
        X : array-like of shape (n, ...)
            Rows of the pool.
        bins : int, str or sequence of float, default=30
            As in :func:`numpy.histogram_bin_edges`.
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a new figure.
        stairs_kw : dict or None, default=None
            Passed to ``Axes.stairs``.

        Returns
        -------
        ScoreHistogramDisplay

        Raises
        ------
        ValueError
            If the selector has no classifier.
        """
        selector = fitted_with_classifier(estimator)
        scores = selector.score_samples(X)
        labels = selector.classes_[selector._view.predict_codes(X)]
        return cls(scores, labels).plot(ax, bins=bins, stairs_kw=stairs_kw)

    def plot(
        self,
        ax: Axes | None = None,
        *,
        bins: Any = 30,
        stairs_kw: dict[str, Any] | None = None,
    ) -> ScoreHistogramDisplay:
        """Draw the histograms.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a new figure.
        bins : int, str or sequence of float, default=30
            As in :func:`numpy.histogram_bin_edges`.
        stairs_kw : dict or None, default=None
            Passed to ``Axes.stairs``.

        Returns
        -------
        self : ScoreHistogramDisplay

        Raises
        ------
        ValueError
            If there are no scores, or not as many as labels.
        ImportError
            If matplotlib is not installed.
        """
        scores, labels = np.asarray(self.scores, dtype=float), np.asarray(self.labels)
        check_lengths(scores=scores, labels=labels)
        if len(scores) == 0:
            raise ValueError("There are no scores: nothing to draw.")
        self.classes_, codes = np.unique(labels, return_inverse=True)
        try:
            self.edges_ = np.histogram_bin_edges(scores, bins)
        except ValueError as error:
            if np.ptp(scores) > ROUNDING * np.abs(scores).max():
                raise
            raise ValueError(
                f"All {len(scores)} scores are {scores[0]:g} but for rounding, too close to be "
                "told apart in bins."
            ) from error
        self.counts_ = np.array(
            [np.histogram(scores[codes == k], self.edges_)[0] for k in range(len(self.classes_))]
        )
        if ax is None:
            ax = new_axes((8.0, 1.2 + 0.4 * max(len(self.classes_), 6)))
        self.stairs_ = []
        for k, counts in enumerate(self.counts_):
            heights = counts * (_HEIGHT / max(counts.max(), 1))
            style = {"color": PALETTE[0], "alpha": 0.7, "fill": True, **(stairs_kw or {})}
            # The first class on top: the axis of the classes points down.
            self.stairs_.append(ax.stairs(k - heights, self.edges_, baseline=k, **style))
        names = [f"{name} ({np.sum(codes == k)})" for k, name in enumerate(self.classes_)]
        ax.set_yticks(range(len(names)), names)
        ax.set_ylim(len(names) - 0.7, -1.1)
        ax.grid(axis="y", linewidth=0.5, alpha=0.5)
        ax.set_axisbelow(True)
        ax.set_xlabel("Score")
        ax.set_ylabel("Predicted class (rows)")
        self.ax_, self.figure_ = ax, ax.figure
        return self
