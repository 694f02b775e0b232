"""
A table and gradient boosting
=============================

Gradient boosting is often the best classifier for tables, once there are many labels. Active
learning begins with few. ``HistGradientBoostingClassifier`` puts at least 20 rows in each leaf of
a tree; with 40 labels there is hardly anything left to split.

The lesson: an uncertainty is worth as much as the classifier behind it. With 40 labels the default
gives most rows a score that they share with others, groups of rows that its trees cannot tell
apart, and the first batch hardly gains on random choice. Small leaves mend that; from 120 labels
on they make no difference that four seeds could show. The linear model is the best of the three at
40 labels and, after five rounds of margin sampling, the worst at 240.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_classification
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skvaball import ActiveLearner, ActiveLearningSimulator
from skvaball.selectors import MarginSelector, RandomSelector

X, y = make_classification(
    4000,
    n_features=12,
    n_informative=6,
    n_classes=3,
    n_clusters_per_class=2,
    weights=[0.8, 0.14, 0.06],
    class_sep=1.5,
    random_state=3,
)
X, X_test, y, y_test = train_test_split(X, y, test_size=0.5, stratify=y, random_state=0)
classifiers = {
    "boosting, leaves of 20 (default)": HistGradientBoostingClassifier(max_iter=30),
    "boosting, leaves of 3": HistGradientBoostingClassifier(max_iter=30, min_samples_leaf=3),
    "logistic regression": make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)),
}


def measure(learner):
    """Quality on new rows, and how many different margins the rows have."""
    top = np.sort(learner.predict_proba(X), axis=1)
    margins = top[:, -1] - top[:, -2]
    return {
        "accuracy": balanced_accuracy_score(y_test, learner.predict(X_test)),
        "different": len(np.unique(margins.round(9))) / len(margins),
    }


fig, (curves, scores) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
for i, (name, classifier) in enumerate(classifiers.items()):
    for selector, style in ((MarginSelector(), "-"), (RandomSelector(), "--")):
        rounds = []
        for seed in range(4):
            simulator = ActiveLearningSimulator(
                ActiveLearner(classifier, selector),
                n_initial=40,
                batch_size=40,
                n_rounds=5,
                validation=measure,
                keep_learners=False,
                random_state=seed,
            ).fit(X, y)
            rounds.append([(e["accuracy"], e["different"]) for e in simulator.history_])
        labels = [entry["n_labeled"] for entry in simulator.history_]
        accuracy, different = np.mean(rounds, axis=0).T
        color = f"C{i}"
        strategy = "margin" if style == "-" else "random"
        curves.plot(labels, accuracy, style, color=color, marker="o", label=f"{name}, {strategy}")
        if style == "-":
            scores.plot(labels, different, color=color, marker="o")
        print(f"{name:33} {strategy}: {accuracy[0]:.3f} to {accuracy[-1]:.3f}")
curves.set(xlabel="Labels", ylabel="Balanced accuracy, mean of 4 seeds")
curves.legend(fontsize="small")
scores.set(xlabel="Labels", ylabel="Different scores / rows", ylim=(0, 1.05))
plt.show()
