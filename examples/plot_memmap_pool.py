"""
A pool that stays on disk
=========================

The pool is a file of 60,000 rows that is mapped into memory: rows are read when they are needed.
VaB-AL trains its autoencoder on a sample of them (``max_samples``) and scores the rest chunk by
chunk. With ``batch="top"`` it gives all its draws only to rows that could be among the best
(``confidence``).

The lesson: the memory of a query does not grow with the pool, and most rows are left after a
quarter of the draws. The price is a small one, but not nothing: compare the two batches below.
"""

import tempfile
import time
import tracemalloc
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression

from skvaball import ActiveLearner, VaBQuerySelector

N_POOL, N_FEATURES = 60_000, 64
folder = tempfile.TemporaryDirectory()
path = Path(folder.name) / "pool.npy"
X, y = make_classification(
    N_POOL + 300,
    N_FEATURES,
    n_informative=10,
    n_classes=3,
    weights=[0.9, 0.07, 0.03],
    random_state=0,
)
X = X.astype(np.float32)
np.save(path, X[300:])
X_labeled, y_labeled = X[:300], y[:300]
del X

X_pool = np.load(path, mmap_mode="r")
print(f"the pool: {type(X_pool).__name__} of {X_pool.nbytes / 2**20:.0f} MiB")

# %%
# Once with the settings for a large pool, once with all draws for all rows.

settings = {
    "confidence=0.99": VaBQuerySelector(batch="top", max_samples=4096),
    "confidence=None": VaBQuerySelector(batch="top", max_samples=4096, confidence=None),
}
batches = {}
for name, selector in settings.items():
    learner = ActiveLearner(LogisticRegression(max_iter=500), selector, random_state=0)
    learner.fit(X_labeled, y_labeled)
    tracemalloc.start()
    start = time.perf_counter()
    batches[name] = learner.query(X_pool, 200)
    seconds, peak = time.perf_counter() - start, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    draws = learner.selector_.draws_used_
    print(
        f"{name}: {seconds:.1f} s, at most {peak / 2**20:.0f} MiB of arrays, "
        f"{draws.mean():.1f} draws a row"
    )
    if selector.confidence is not None:
        used = draws

shared = len(np.intersect1d(*batches.values()))
print(f"{shared} of the 200 rows are in both batches")

# %%
# The draws that each row was given, sorted by their number.

fig, ax = plt.subplots(figsize=(7, 3.5), layout="constrained")
values, counts = np.unique(used, return_counts=True)
bars = ax.bar([f"{value} draws" for value in values], counts / len(used))
ax.bar_label(bars, [f"{count:,} rows" for count in counts])
ax.set(ylabel="Share of the pool", ylim=(0, 1.1))
plt.show()

del X_pool
folder.cleanup()
