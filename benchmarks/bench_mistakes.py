"""Does the score find the classifier's mistakes on real images?

CIFAR-10 with a dominant class (class 0 whole, the others cut to a tenth), a small
ResNet trained on 1,000 random labels, VaBQuerySelector with default settings, and the
pool's true labels to count mistakes with. Needs the CIFAR-10 images as JPEG (see
tests/real_data.py for where they are looked for).

    python benchmarks/bench_mistakes.py [--seeds 0:3] [--autoencoders 1] [--paper]
"""

import argparse
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from skvaball import VaBQuerySelector
from skvaball.datasets import load_image_folder, make_dominant
from skvaball.networks import DeepClassifier
from skvaball.selectors import EntropySelector

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from real_data import data_folder, find_real_data  # shared with the tests

N_LABELED = 1000


class Data(NamedTuple):
    """Images of one seed, and a classifier that was trained on the first of them."""

    X: np.ndarray
    y: np.ndarray
    net: DeepClassifier
    train_time: float


def prepare(images: np.ndarray, labels: np.ndarray, seed: int) -> Data:
    """Draw the images of a seed and train its classifier."""
    rows = np.random.default_rng(seed).permutation(make_dominant(labels, 0, random_state=seed))
    X, y = images[rows].astype(np.float32) / 255, labels[rows]
    start = time.perf_counter()
    net = DeepClassifier(max_epochs=40, random_state=seed).fit(X[:N_LABELED], y[:N_LABELED])
    return Data(X, y, net, time.perf_counter() - start)


def measure(data: Data, seed: int, autoencoder: int, paper: bool) -> dict[str, float]:
    """Agreement and AUROC of one autoencoder."""
    labeled, pool, pool_labels = data.X[:N_LABELED], data.X[N_LABELED:], data.y[N_LABELED:]
    make = VaBQuerySelector.from_paper if paper else VaBQuerySelector
    # The first autoencoder has the seed of the classifier, the others have seeds of their own.
    selector = make(data.net, random_state=seed + 1000 * autoencoder)
    start = time.perf_counter()
    selector.fit_pool(labeled, data.y[:N_LABELED], pool)
    fitted = time.perf_counter()
    scores = selector.score_samples(pool)
    scored = time.perf_counter()
    entropy = EntropySelector(data.net).fit_pool(labeled, data.y[:N_LABELED], pool)
    mistakes = data.net.predict(pool) != pool_labels
    top = np.argsort(-scores)[:500]
    return {
        "seed": seed,
        "VAE": autoencoder,
        "error rate": mistakes.mean(),
        "VAE agreement": selector.vae_agreement_,
        "likelihood agr.": selector.likelihood_agreement_,
        "temperature": selector.temperature_,
        "AUROC VaB": roc_auc_score(mistakes, scores),
        "AUROC entropy": roc_auc_score(mistakes, entropy.score_samples(pool)),
        "rare in top 500": np.mean(pool_labels[top] != 0),
        "rare in pool": np.mean(pool_labels != 0),
        "train net s": data.train_time,
        "fit s": fitted - start,
        "score s": scored - fitted,
    }


def main() -> None:
    """Print one line per autoencoder, and mean, standard deviation, lowest and highest."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", default="0:3", help="START:STOP, seeds of the classifiers")
    parser.add_argument("--autoencoders", type=int, default=1, help="how many per classifier")
    parser.add_argument("--paper", action="store_true", help="the paper's settings")
    args = parser.parse_args()
    folder = find_real_data("cifar10_jpg")
    if folder is None:
        print(f"skipped: no cifar10_jpg.tar.xz in {data_folder()}")
        return
    images = load_image_folder(folder / "train")
    rows = []
    for seed in range(*map(int, args.seeds.split(":"))):
        data = prepare(images.data, images.target, seed)
        for autoencoder in range(args.autoencoders):
            rows.append(measure(data, seed, autoencoder, args.paper))
            print(pd.DataFrame(rows[-1:]).round(3).to_string(header=len(rows) == 1, index=False))
    table = pd.DataFrame(rows).drop(columns=["seed", "VAE"])
    print(table.agg(["mean", "std", "min", "max"]).round(3).to_string())


if __name__ == "__main__":
    main()
