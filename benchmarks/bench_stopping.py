"""When do the stopping rules stop, and how right is the expected error?

Digits of which class 0 dominates (the others cut to 0.3), margin sampling, 20 labels a
round from 40 to 280. Every rule measures all rounds; afterwards it is looked up where each
would have stopped, and what that would have cost against 280 labels.

    python benchmarks/bench_stopping.py [--seeds 0:5] [--network]
"""

import argparse
from typing import Any

import numpy as np
import pandas as pd
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score

from skvaball import ActiveLearner, ActiveLearningSimulator, VaBQuerySelector
from skvaball.datasets import make_dominant
from skvaball.networks import DeepClassifier
from skvaball.selectors import MarginSelector
from skvaball.stopping import ExpectedError, StablePredictions

N_TEST = 500
#: The autoencoder is trained anew for each measurement: not in every round.
VAB_EVERY = 40
RULES = {
    "confidence": ExpectedError(),
    "VaB-AL": ExpectedError(selector=VaBQuerySelector(posterior="normalized"), random_state=0),
    "VaB-AL, out of fold": ExpectedError(
        selector=VaBQuerySelector(posterior="normalized", difficulty="out_of_fold"),
        random_state=0,
    ),
}
#: A window that is longer than the run never stops it.
KAPPA = StablePredictions(window=1000)


def play(seed: int, network: bool) -> list[dict[str, Any]]:
    """One run to 280 labels: what every rule measured, and the errors, of each round."""
    X, y = load_digits(return_X_y=True)
    rows = np.random.default_rng(seed).permutation(len(y))
    test, rest = rows[:N_TEST], rows[N_TEST:]
    train = rest[make_dominant(y[rest], 0, keep=0.3, random_state=seed)]
    X, X_test = X[train] / 16, X[test] / 16
    y, y_test = y[train], y[test]

    def measure(learner: ActiveLearner) -> dict[str, float]:
        taught = {row.tobytes() for row in learner.X_labeled_}
        pool = np.array([row.tobytes() not in taught for row in X])
        numbers = {
            "error": np.mean(learner.predict(X[pool]) != y[pool]),
            "test": 1 - balanced_accuracy_score(y_test, learner.predict(X_test)),
        }
        for name, rule in RULES.items():
            if name == "confidence" or len(learner.y_labeled_) % VAB_EVERY == 0:
                rule.should_stop(learner, X[pool])
                numbers[name] = rule.values_[-1]
        return numbers

    estimator = DeepClassifier(max_epochs=40) if network else LogisticRegression(C=10)
    simulator = ActiveLearningSimulator(
        ActiveLearner(estimator, MarginSelector()),
        batch_size=20,
        n_rounds=12,
        n_initial=40,
        stopping=KAPPA,
        validation=measure,
        keep_learners=False,
        verbose=1,
        random_state=seed,
    )
    return [{"seed": seed, **entry} for entry in simulator.fit(X, y).history_]


def stops(results: pd.DataFrame) -> pd.DataFrame:
    """Labels, error in the pool and loss on the test set where each rule stops, by seed."""
    found = []
    for seed, run in results.groupby("seed"):
        kappa = run["stopping"].rolling(3).mean()
        reached = {"kappa 0.99, window 3": kappa >= 0.99}
        for name in RULES:
            for bound in (0.05, 0.02):
                reached[f"{name} below {bound}"] = run[name] < bound
        for name, mask in reached.items():
            if mask.any():
                row = run[mask].iloc[0]
                loss = row["test"] - run["test"].iloc[-1]
                found.append((name, seed, row["n_labeled"], row["error"], loss))
    return pd.DataFrame(found, columns=["rule", "seed", "labels", "error in the pool", "loss"])


def main() -> None:
    """Play the seeds and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", default="0:5", help="START:STOP")
    parser.add_argument("--network", action="store_true", help="DeepClassifier, not linear")
    options = parser.parse_args()
    start, stop = map(int, options.seeds.split(":"))
    runs = [entry for seed in range(start, stop) for entry in play(seed, options.network)]
    results = pd.DataFrame(runs)
    columns = ["error", *RULES, "stopping", "test"]
    groups = results.groupby("n_labeled")[columns]
    with pd.option_context("display.width", 200, "display.max_columns", 20):
        print(groups.mean().round(3).to_string())
        print(groups.std().round(3).to_string())
        found = stops(results).groupby("rule").agg(["mean", "min", "max", "count"])
        print(found.drop(columns="seed").round(3).to_string())


if __name__ == "__main__":
    main()
