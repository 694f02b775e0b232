"""Scores of VaB-AL from the features of rows: what is left once the autoencoder is trained."""

from dataclasses import dataclass

import numpy as np

from skvaball.features import Features
from skvaball.vab.likelihood import ClassLikelihood
from skvaball.vab.posterior import SCORES, expected_weight


@dataclass(frozen=True)
class Scorer:
    """Scores rows chunk by chunk; it goes whole to other processes.

    Attributes
    ----------
    likelihood : ClassLikelihood
        Log-likelihoods of rows under each class.
    form : {"normalized", "joint", "surprise"}
        Which score.
    prior, difficulty : ndarrays of shape (n_classes,)
        p(yhat_n) and p(y_n|yhat_n).
    """

    likelihood: ClassLikelihood
    form: str
    prior: np.ndarray
    difficulty: np.ndarray

    def of(self, log_likelihood: np.ndarray) -> np.ndarray:
        """Scores (n,) of log-likelihoods (n, n_classes)."""
        scores: np.ndarray = SCORES[self.form](log_likelihood, self.prior, self.difficulty)
        return scores

    def __call__(self, features: Features) -> np.ndarray:
        """Scores (n,) of features."""
        return self.of(self.likelihood(features))

    def with_weights(self, features: Features, class_weight: np.ndarray) -> np.ndarray:
        """Scores, and the expected weights of the classes of the rows: (2, n)."""
        log_likelihood = self.likelihood(features)
        weights = expected_weight(log_likelihood, self.prior, class_weight)
        return np.stack([self.of(log_likelihood), weights])

    def early(self, features: Features, n_draws: int) -> np.ndarray:
        """Scores by the first half of so many draws, and by all of them: (2, n)."""
        return np.stack([self.of(part) for part in self.likelihood.early(features, n_draws)])
