"""Settings of VaB-AL against each other and against random and entropy, on digits.

The same data, network, start and seeds for all: the digits of `skvaball demo`, of which
one dominates. These are development results; they chose the defaults.

    python benchmarks/bench_defaults.py [--seeds 10] [--jobs 2]
"""

import argparse

import numpy as np
import pandas as pd

from skvaball import ActiveLearner, VaBQuerySelector
from skvaball.experiments import compare_strategies, curve_areas
from skvaball.experiments.demo import BATCH_SIZE, N_ROUNDS, RARE, dominated_digits
from skvaball.networks import DeepClassifier
from skvaball.selectors import EntropySelector, RandomSelector

SELECTORS = {
    "random": RandomSelector(),
    "entropy": EntropySelector(),
    "paper": VaBQuerySelector.from_paper(),
    "default": VaBQuerySelector(),
    "top": VaBQuerySelector(batch="top"),
    "out_of_fold": VaBQuerySelector(difficulty="out_of_fold"),
    "pool prior": VaBQuerySelector(prior="pool"),
    "joint": VaBQuerySelector(posterior="joint"),
    "temperature 20": VaBQuerySelector(temperature=20.0),
    "fixed": VaBQuerySelector(projection="fixed"),
    "lam 1": VaBQuerySelector(lam=1.0),
}


def main() -> None:
    """Print the area under the curve of each setting and its paired difference to random."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10, help="number of seeds, from 0")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    args = parser.parse_args()
    learners = {name: ActiveLearner(DeepClassifier(), s) for name, s in SELECTORS.items()}
    runs = compare_strategies(
        learners,
        dominated_digits,
        list(range(args.seeds)),
        batch_size=BATCH_SIZE,
        n_rounds=N_ROUNDS,
        rare_classes=RARE,
        n_jobs=args.jobs,
    )
    results = pd.DataFrame([entry for run in runs for entry in run])
    areas = 100 * curve_areas(results)
    paired = areas.sub(areas["random"], axis=0)
    last = results[results["round"] == results["round"].max()].groupby("strategy")
    table = pd.DataFrame(
        {
            "area": areas.mean(),
            "minus random": paired.mean(),
            "std error": paired.std() / np.sqrt(args.seeds),
            "final": 100 * last["balanced_accuracy"].mean(),
            "rare share": 100 * last["rare_share"].mean(),
            "query s": results[results["round"] > 0].groupby("strategy")["query_time"].mean(),
        }
    )
    print(table.loc[list(SELECTORS)].round(1).to_string())


if __name__ == "__main__":
    main()
