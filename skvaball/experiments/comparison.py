"""Paired comparison of strategies: the same data, start and seeds for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from joblib import Parallel, delayed
from scipy.integrate import trapezoid
from sklearn.base import clone
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from skvaball.learner import ActiveLearner
from skvaball.simulation import ActiveLearningSimulator

if TYPE_CHECKING:
    import pandas as pd


class Split(NamedTuple):
    """Data of one seed: rows to be labeled, and rows to measure on."""

    X_train: np.ndarray
    y_train: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray


def compare_strategies(
    learners: Mapping[str, ActiveLearner],
    make_split: Callable[[int], Split],
    seeds: list[int],
    *,
    batch_size: int,
    n_rounds: int,
    rare_classes: Any = (),
    n_jobs: int | None = None,
) -> Iterator[list[dict[str, Any]]]:
    """Replay every learner on every seed.

    Parameters
    ----------
    learners : mapping of str to ActiveLearner
        The strategies by name; cloned.
    make_split : callable
        The data of a seed; the same for all learners. It travels to other processes.
    seeds : list of int
        Seeds of the split, of the start and of the learner.
    batch_size, n_rounds : int
        Labels per round, and rounds after the start, which is one batch as well.
    rare_classes : array-like, default=()
        Classes whose share among the labeled rows is recorded.
    n_jobs : int or None, default=None
        Processes, as in joblib.

    Yields
    ------
    list of dict
        The rounds of one strategy and seed, as they are finished: strategy, seed,
        round, n_labeled, balanced_accuracy, accuracy, rare_share, query_time and
        train_time. ``pandas.DataFrame`` of all of them is what the displays of
        ``skvaball.plots`` take.
    """
    tasks = [
        delayed(_replay)(name, learner, make_split, seed, batch_size, n_rounds, rare_classes)
        for seed in seeds
        for name, learner in learners.items()
    ]
    yield from Parallel(n_jobs=n_jobs, return_as="generator_unordered")(tasks)


def _replay(
    name: str,
    learner: ActiveLearner,
    make_split: Callable[[int], Split],
    seed: int,
    batch_size: int,
    n_rounds: int,
    rare_classes: Any,
) -> list[dict[str, Any]]:
    data = make_split(seed)

    def validate(fitted: ActiveLearner) -> dict[str, float]:
        predicted = fitted.predict(data.X_test)
        return {
            "balanced_accuracy": balanced_accuracy_score(data.y_test, predicted),
            "accuracy": accuracy_score(data.y_test, predicted),
        }

    simulator = ActiveLearningSimulator(
        clone(learner),
        batch_size=batch_size,
        n_rounds=n_rounds,
        validation=validate,
        keep_learners=False,
        random_state=seed,
    ).fit(data.X_train, data.y_train)
    rare = np.isin(simulator.classes_, np.asarray(rare_classes))
    recorded = ("round", "n_labeled", "balanced_accuracy", "accuracy", "query_time", "train_time")
    return [
        {
            "strategy": name,
            "seed": seed,
            **{key: entry[key] for key in recorded},
            "rare_share": entry["class_counts"][rare].sum() / entry["n_labeled"],
        }
        for entry in simulator.history_
    ]


def area_under_curve(n_labeled: np.ndarray, values: np.ndarray) -> float:
    """Area under a learning curve by the trapezoidal rule, the budget scaled to 0..1.

    Parameters
    ----------
    n_labeled : ndarray of shape (n_rounds,)
        Labels after each round, increasing.
    values : ndarray of shape (n_rounds,)
        The metric after each round.

    Returns
    -------
    float
        A mean of the metric over the budget; of a single round, its value.

    Examples
    --------
    >>> import numpy as np
    >>> from skvaball.experiments import area_under_curve
    >>> area_under_curve(np.array([10, 20, 40]), np.array([0.0, 0.6, 0.6]))
    0.5
    """
    if len(values) == 1:
        return float(values[0])
    budget = (n_labeled - n_labeled[0]) / (n_labeled[-1] - n_labeled[0])
    return float(trapezoid(values, budget))


def curve_areas(results: pd.DataFrame, metric: str = "balanced_accuracy") -> pd.DataFrame:
    """Area under the curve of every strategy and seed.

    Parameters
    ----------
    results : DataFrame
        Rounds as rows, with strategy, seed, n_labeled and the metric.
    metric : str, default="balanced_accuracy"
        The column to integrate.

    Returns
    -------
    DataFrame
        One row per seed, one column per strategy, in order of appearance.
    """
    areas = {
        key: area_under_curve(curve["n_labeled"].to_numpy(), curve[metric].to_numpy())
        for key, curve in results.sort_values("round").groupby(["strategy", "seed"])
    }
    names = results["strategy"].unique()
    seeds = sorted(results["seed"].unique())
    import pandas as pd  # here: the library itself does without it

    return pd.DataFrame({name: [areas[name, seed] for seed in seeds] for name in names}, seeds)
