"""Does the score find the classifier's mistakes on real images?

CIFAR-10 with a dominant class (class 0 whole, the others cut to a tenth), a small
ResNet trained on 1,000 random labels, VaBQuerySelector with default settings, and the
pool's true labels to count mistakes with. Needs the CIFAR-10 images as JPEG (see
tests/real_data.py for where they are looked for).

    python benchmarks/bench_mistakes.py [--seeds 3] [--paper]
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from skvaball import VaBQuerySelector
from skvaball.datasets import load_image_folder, make_dominant
from skvaball.networks import DeepClassifier
from skvaball.selectors import EntropySelector

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from real_data import data_folder, find_real_data  # shared with the tests

N_LABELED = 1000


def measure(images: np.ndarray, labels: np.ndarray, seed: int, paper: bool) -> dict[str, float]:
    """Agreement and AUROC of one seed."""
    rows = np.random.default_rng(seed).permutation(make_dominant(labels, 0, random_state=seed))
    X, y = images[rows].astype(np.float32) / 255, labels[rows]
    pool, pool_labels = X[N_LABELED:], y[N_LABELED:]
    start = time.perf_counter()
    net = DeepClassifier(max_epochs=40, random_state=seed).fit(X[:N_LABELED], y[:N_LABELED])
    trained = time.perf_counter()
    make = VaBQuerySelector.from_paper if paper else VaBQuerySelector
    selector = make(net, random_state=seed).fit_pool(X[:N_LABELED], y[:N_LABELED], pool)
    fitted = time.perf_counter()
    scores = selector.score_samples(pool)
    scored = time.perf_counter()
    entropy = EntropySelector(net).fit_pool(X[:N_LABELED], y[:N_LABELED], pool)
    mistakes = net.predict(pool) != pool_labels
    top = np.argsort(-scores)[:500]
    return {
        "seed": seed,
        "error rate": mistakes.mean(),
        "VAE agreement": selector.vae_agreement_,
        "likelihood agr.": selector.likelihood_agreement_,
        "AUROC VaB": roc_auc_score(mistakes, scores),
        "AUROC entropy": roc_auc_score(mistakes, entropy.score_samples(pool)),
        "rare in top 500": np.mean(pool_labels[top] != 0),
        "rare in pool": np.mean(pool_labels != 0),
        "train net s": trained - start,
        "fit s": fitted - trained,
        "score s": scored - fitted,
    }


def main() -> None:
    """Print one line per seed and their mean and standard deviation."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds, from 0")
    parser.add_argument("--paper", action="store_true", help="the paper's settings")
    args = parser.parse_args()
    folder = find_real_data("cifar10_jpg")
    if folder is None:
        print(f"skipped: no cifar10_jpg.tar.xz in {data_folder()}")
        return
    data = load_image_folder(folder / "train")
    rows = [measure(data.data, data.target, seed, args.paper) for seed in range(args.seeds)]
    names = list(rows[0])
    print(" | ".join(names))
    for row in rows:
        print(" | ".join(f"{row[name]:{len(name)}.3f}" for name in names))
    table = np.array([[row[name] for name in names[1:]] for row in rows])
    for label, values in (
        ("mean", table.mean(0)),
        ("std", table.std(0, ddof=min(1, len(rows) - 1))),
    ):
        print(
            " | ".join(
                [label, *(f"{v:{len(n)}.3f}" for n, v in zip(names[1:], values, strict=True))]
            )
        )


if __name__ == "__main__":
    main()
