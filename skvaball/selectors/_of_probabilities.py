"""Strategies whose scores are a function of the classifier's probabilities."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from skvaball.selectors.base import QuerySelector


class ProbabilitySelector(QuerySelector, ABC):
    """Base of strategies that score a row by its probabilities alone."""

    _needs: str | tuple[str, ...] = "predict_proba"

    @abstractmethod
    def _of_probabilities(self, probabilities: np.ndarray) -> np.ndarray:
        """Scores of rows, (n,), from their probabilities, (n, n_classes)."""

    def _score(self, X: Any) -> np.ndarray:
        # Chunk by chunk: the probabilities of a large pool are larger than its scores.
        return self._view.map_probabilities(self._of_probabilities, X)
