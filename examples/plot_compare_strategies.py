"""
Compare strategies with bands
=============================

The digits of "Digits of which one dominates" again, with eight paired seeds: for one seed all
strategies start from the same 20 labels and from the same classifier.

The lesson: the bands of single curves are wide, because some starts are luckier than others. That
luck is shared by the strategies, and drops out of the *differences* seed by seed. On the right are
those to random choice, with their 95 % intervals; the tables have those to margin, too. Such
intervals are too narrow with eight seeds, so look at ``p_holm`` before you believe a small
difference: a t-test that allows for few seeds and for three comparisons. All of this is about
these digits, and says nothing about other data.
"""

import matplotlib.pyplot as plt
import pandas as pd
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import train_test_split

from skvaball import ActiveLearner, ActiveLearningSimulator, VaBQuerySelector
from skvaball.datasets import make_dominant
from skvaball.experiments.statistics import paired_differences
from skvaball.plots import BudgetCurveDisplay, PairedDifferenceDisplay
from skvaball.selectors import EntropySelector, MarginSelector, RandomSelector

digits, digit = load_digits(return_X_y=True)
strategies = {
    "random": RandomSelector(),
    "entropy": EntropySelector(),
    "margin": MarginSelector(),
    "vab": VaBQuerySelector(),
}
rows = []
for seed in range(8):
    # The split is drawn anew for each seed: it is part of the luck, too.
    X, X_test, y, y_test = train_test_split(
        digits / 16, digit, test_size=0.4, stratify=digit, random_state=seed
    )
    kept = make_dominant(y, 0, keep=0.2, random_state=seed)
    for name, selector in strategies.items():
        simulator = ActiveLearningSimulator(
            ActiveLearner(LogisticRegression(C=10, max_iter=1000), selector),
            n_initial=20,
            batch_size=30,
            n_rounds=3,
            random_state=seed,
        ).fit(X[kept], y[kept])
        for entry, learner in zip(simulator.history_, simulator.learners_, strict=True):
            score = balanced_accuracy_score(y_test, learner.predict(X_test))
            rows.append((name, seed, entry["n_labeled"], score))
results = pd.DataFrame(rows, columns=["strategy", "seed", "n_labeled", "balanced_accuracy"])

# %%
# Areas under the curve, as differences to random choice and to margin. ``p_holm`` is from a paired
# t-test, corrected for the number of comparisons in each table.

for reference in ("random", "margin"):
    table = paired_differences(results, reference)
    print(f"minus {reference}:\n{table[['mean', 'low', 'high', 'p_holm']].round(3)}\n")

fig, (curves, differences) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
BudgetCurveDisplay.from_results(results, band="ci", ax=curves, legend=False)
curves.legend(loc="lower right")
PairedDifferenceDisplay.from_results(results, ax=differences)
plt.show()
