"""The two terms of VaB-AL's score that depend on the class alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from skvaball.plots._bands import draw_legend, new_axes
from skvaball.plots._estimators import check_lengths, fitted_vab
from skvaball.plots._styles import PALETTE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Height of a bar, of the 1 that a class has.
_BAR = 0.4


class ClassTermsDisplay:
    """Difficulty and prior of each class, as bars.

    Use :meth:`from_estimator` to draw at once; the constructor only stores its arguments.

    Parameters
    ----------
    classes : sequence of shape (n_classes,)
        Names of the classes.
    difficulty : array-like of shape (n_classes,)
        p(y|ŷ), the share of right predictions (Eq. 11). Low means difficult.
    prior : array-like of shape (n_classes,)
        p(ŷ), the share of the class in the predictions (Eq. 12).

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the bars.
    figure_ : matplotlib Figure
        Figure of the axes.
    bars_ : list of matplotlib BarContainer
        Those of the difficulty, and those of the prior.

    See Also
    --------
    ScoreHistogramDisplay : The scores that come of it.

    Examples
    --------
    >>> from skvaball.plots import ClassTermsDisplay
    >>> display = ClassTermsDisplay(["cat", "dog"], [0.9, 0.5], [0.8, 0.2]).plot()
    >>> [float(bar.get_width()) for bar in display.bars_[0]]
    [0.9, 0.5]
    """

    def __init__(self, classes: Sequence[Any], difficulty: ArrayLike, prior: ArrayLike) -> None:
        self.classes = classes
        self.difficulty = difficulty
        self.prior = prior

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, ax: Axes | None = None, bar_kw: dict[str, Any] | None = None
    ) -> ClassTermsDisplay:
        """Draw the terms that a selector has counted.

        Parameters
        ----------
        estimator : VaBQuerySelector, ActiveLearner or ActiveLearningSimulator
            A fitted selector, or a learner or simulator whose last query was answered by
            one.
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a new figure.
        bar_kw : dict or None, default=None
            Passed to ``Axes.barh``.

        Returns
        -------
        ClassTermsDisplay
        """
        selector = fitted_vab(estimator, cls)
        shown = cls(selector.classes_.tolist(), selector.difficulty_, selector.prior_)
        return shown.plot(ax, bar_kw=bar_kw)

    def plot(
        self, ax: Axes | None = None, *, bar_kw: dict[str, Any] | None = None
    ) -> ClassTermsDisplay:
        """Draw the bars.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a new figure.
        bar_kw : dict or None, default=None
            Passed to ``Axes.barh``.

        Returns
        -------
        self : ClassTermsDisplay

        Raises
        ------
        ValueError
            If the terms have other lengths than the classes.
        ImportError
            If matplotlib is not installed.
        """
        terms = {
            "difficulty p(y|ŷ)": np.asarray(self.difficulty, dtype=float),
            "prior p(ŷ)": np.asarray(self.prior, dtype=float),
        }
        check_lengths(classes=self.classes, difficulty=self.difficulty, prior=self.prior)
        n_classes = len(self.classes)
        if ax is None:
            ax = new_axes((8.0, 1.2 + 0.35 * max(n_classes, 6)))
        places = np.arange(n_classes)
        self.bars_ = []
        for i, (name, values) in enumerate(terms.items()):
            style = {"color": PALETTE[i], "height": _BAR, "label": name, **(bar_kw or {})}
            self.bars_.append(ax.barh(places + (i - 0.5) * _BAR, values, **style))
        ax.set_yticks(places, [str(name) for name in self.classes])
        ax.set_ylim(n_classes - 0.5, -0.5)  # the first class on top
        ax.set_xlim(0, 1)
        ax.set_xlabel("Probability")
        ax.set_ylabel("Predicted class")
        draw_legend(ax)
        self.ax_, self.figure_ = ax, ax.figure
        return self
