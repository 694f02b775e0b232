"""
What the three Bayes terms look like
====================================

The probability of a mistake in the paper's form is put together from three terms for each class:
the prior (how often it is predicted), the difficulty (how often such a prediction is right) and
the likelihood of the row (from an autoencoder). With rows in the plane all three can be drawn.

The lesson: only the likelihood looks at the row. Difficulty and prior are one number per class, so
that the probability of a mistake is high over the whole blobs of the classes that are confused,
and not only on the line where the confusion happens. The default form, the expected surprise
(bottom right, with all other settings the same), adds what entropy sees: how undecided the
posterior is. It orders the mistakes better here, and the classifier's own entropy better still;
by default, VaB-AL gives the classifier half of the say.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.base import clone
from sklearn.datasets import make_blobs
from sklearn.linear_model import LogisticRegression

from skvaball import VaBQuerySelector
from skvaball.plots import ClassTermsDisplay
from skvaball.selectors import EntropySelector

# Class 0 is large and apart; 1 and 2 overlap, and 2 is rare.
centers, sizes = [(-4, 0), (2, 1.2), (2, -1.2)], [900, 300, 90]
X, y = make_blobs(sizes, centers=centers, random_state=0)
rng = np.random.default_rng(0)
labeled = rng.random(len(y)) < 0.15
classifier = LogisticRegression().fit(X[labeled], y[labeled])
selector = VaBQuerySelector(
    classifier,
    posterior="normalized",
    classifier_weight=0,
    difficulty="out_of_fold",
    n_draws=64,
    random_state=0,
)
selector.fit_pool(X[labeled], y[labeled], X[~labeled])

# %%
# The grid is scored like any rows of a pool. ``class_posterior`` is the prior times the
# likelihood, normalized; the likelihood itself has no scale of its own.

xs, ys = np.meshgrid(np.linspace(-8, 6, 71), np.linspace(-5, 5, 51))
grid = np.column_stack([xs.ravel(), ys.ravel()])
posterior = selector.class_posterior(grid)
# clone forgets the training of the classifier: it is passed again.
surprise = clone(selector).set_params(posterior="surprise", estimator=classifier)
surprise.fit_pool(X[labeled], y[labeled], X[~labeled])
entropy = EntropySelector(classifier).fit_pool(X[labeled], y[labeled], X[~labeled])
maps = {
    "p(class 0 | x)": posterior[:, 0],
    "p(class 1 | x)": posterior[:, 1],
    "p(class 2 | x)": posterior[:, 2],
    "p(mistake | x)": selector.score_samples(grid),
    "Expected surprise, in nats": surprise.score_samples(grid),
}

fig, axes = plt.subplots(2, 3, figsize=(11, 6.5), layout="constrained")
terms = ClassTermsDisplay.from_estimator(selector, ax=axes[0, 0])
terms.ax_.legend(loc="lower right", fontsize="small")
terms.ax_.set_title("Difficulty and prior")
places = [axes[0, 1], axes[0, 2], axes[1, 0], axes[1, 1], axes[1, 2]]
for ax, (title, values) in zip(places, maps.items(), strict=True):
    cmap = "Blues" if title.startswith("p(class") else "Reds"
    picture = ax.pcolormesh(xs, ys, values.reshape(xs.shape), cmap=cmap)
    fig.colorbar(picture, ax=ax)
    ax.scatter(*X[labeled].T, c=y[labeled], s=6, cmap="viridis")
    ax.set_title(title)
plt.show()

print(f"agreement of the autoencoder with the classifier: {selector.vae_agreement_:.2f}")
pool, truth = X[~labeled], y[~labeled]
print("AUROC for mistakes in the pool:")
print(f"  probability of a mistake:  {selector.score(pool, truth):.2f}")
print(f"  expected surprise:         {surprise.score(pool, truth):.2f}")
print(f"  entropy of the classifier: {entropy.score(pool, truth):.2f}")
