"""
Texts: TF-IDF and a linear model
================================

The pool is a list of texts, and the classifier a Pipeline that begins with TF-IDF. The texts are
made up: reports of customers about four subjects, of which one, a security problem, is 1 in 25.

The lesson: a Pipeline goes into the learner as it is, and its first step sees the raw texts. A
strategy that asks about what it is unsure of finds far more of the rare subject than random
choice, from the same start. Entropy finds the most here; the other two are close to each other.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from skvaball import ActiveLearner, ActiveLearningSimulator, VaBQuerySelector
from skvaball.selectors import EntropySelector, MarginSelector, RandomSelector

# %%
# Each text is four words of its subject and six that fit anywhere, in any order. Some words
# belong to more than one subject.

WORDS = {
    "billing": "invoice charge refund card payment twice price receipt account month",
    "login": "password login reset account email code locked screen browser link",
    "crash": "crash freeze update screen restart error version button slow device",
    "security": "stranger password leaked account device email unknown card phishing code",
}
ANYWHERE = "please help hello thanks today again since tried support still need answer"


def make_texts(n, rng):
    """Texts and their subjects, "security" in 1 of 25."""
    subjects = rng.choice(list(WORDS), n, p=[0.4, 0.32, 0.24, 0.04])
    texts = []
    for subject in subjects:
        words = [*rng.choice(WORDS[subject].split(), 4), *rng.choice(ANYWHERE.split(), 6)]
        texts.append(" ".join(rng.permutation(words)))
    return texts, subjects


rng = np.random.default_rng(0)
texts, subjects = make_texts(1500, rng)
print(f"{np.mean(subjects == 'security'):.1%} security; for example: {texts[0]!r}")

# %%
# The simulator hides the subjects, and plays the annotator.

strategies = {
    "random": RandomSelector(),
    "entropy": EntropySelector(),
    "margin": MarginSelector(),
    "VaB-AL": VaBQuerySelector(),
}
fig, ax = plt.subplots(figsize=(7, 4), layout="constrained")
for name, selector in strategies.items():
    found = []
    for seed in range(3):
        classifier = make_pipeline(TfidfVectorizer(), LogisticRegression(C=10, max_iter=500))
        simulator = ActiveLearningSimulator(
            ActiveLearner(classifier, selector),
            n_initial=40,
            batch_size=20,
            n_rounds=4,
            random_state=seed,
        ).fit(texts, subjects)
        rare = list(simulator.classes_).index("security")
        found.append([entry["class_counts"][rare] for entry in simulator.history_])
    labels = [entry["n_labeled"] for entry in simulator.history_]
    (line,) = ax.plot(labels, np.mean(found, axis=0), marker="o", label=name)
    ax.plot(labels, np.transpose(found), color=line.get_color(), lw=0.7, alpha=0.5)
    print(f"{name:8} security reports found with 3 seeds:", [int(counts[-1]) for counts in found])
ax.set(xlabel="Labels", ylabel="Security reports among them", xticks=labels)
ax.legend(title="mean, and thin: each seed")
plt.show()
