"""What strategies around another strategy have in common."""

from typing import Any

from skvaball.selectors.base import QuerySelector


class WrappingSelector(QuerySelector):
    """Base of strategies that choose by the scores of another, their parameter ``selector``."""

    selector: Any

    @property
    def scores_are_probabilities(self) -> bool:
        """Whether those of the selector inside are."""
        return getattr(self.selector, "scores_are_probabilities", False)

    @property
    def _reads_features(self) -> bool:
        return getattr(self.selector, "_reads_features", False)
