"""
A sampler of imbalanced-learn inside the learner
================================================

A Pipeline of imbalanced-learn may repeat rare rows before it trains the classifier. Inside a
learner this happens at each refit, to the labeled rows only; the pool and the queries see the
rows as they are.

The lesson: there are two cures for rare classes, to train with the imbalance in mind and to
choose other rows. The first needs no new labels, and does more here: 0.60 instead of 0.52 with
the same 60. And the two do not add up: margin sampling beats random choice with the plain
classifier, and loses to it with the sampler. Try the first before you look for a cleverer query.
"""

import matplotlib.pyplot as plt
import numpy as np
from imblearn.over_sampling import RandomOverSampler
from imblearn.pipeline import make_pipeline
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from skvaball import ActiveLearner, ActiveLearningSimulator
from skvaball.selectors import MarginSelector, RandomSelector

X, y = make_classification(
    4000,
    n_features=10,
    n_informative=5,
    n_redundant=0,
    n_classes=2,
    weights=[0.95, 0.05],
    class_sep=1.3,
    random_state=1,
)
X, X_test, y, y_test = train_test_split(X, y, test_size=0.5, stratify=y, random_state=0)


def plain():
    """The classifier alone."""
    return make_pipeline(StandardScaler(), LogisticRegression())


def oversampled():
    """Rare labels are repeated until both classes have as many."""
    return make_pipeline(StandardScaler(), RandomOverSampler(random_state=0), LogisticRegression())


def measure(learner):
    """Quality on new rows, both classes counting the same."""
    return balanced_accuracy_score(y_test, learner.predict(X_test))


fig, ax = plt.subplots(figsize=(7, 4), layout="constrained")
for i, make_classifier in enumerate([plain, oversampled]):
    for selector, style in ((RandomSelector(), "--"), (MarginSelector(), "-")):
        curves = []
        for seed in range(10):
            simulator = ActiveLearningSimulator(
                ActiveLearner(make_classifier(), selector),
                n_initial=60,
                batch_size=30,
                n_rounds=5,
                validation=measure,
                random_state=seed,
            ).fit(X, y)
            curves.append([entry["validation"] for entry in simulator.history_])
        labels = [entry["n_labeled"] for entry in simulator.history_]
        mean, error = np.mean(curves, axis=0), np.std(curves, axis=0, ddof=1) / np.sqrt(10)
        name = f"{make_classifier.__name__}, {'margin' if style == '-' else 'random'}"
        ax.errorbar(labels, mean, error, ls=style, color=f"C{i}", marker="o", capsize=3, label=name)
        print(f"{name:20} {mean[0]:.3f} to {mean[-1]:.3f}")
ax.set(xlabel="Labels", ylabel="Balanced accuracy\nmean of 10 seeds, standard error")
ax.legend()
plt.show()
