"""Statistics of experiments: strategies are compared on the same seeds, never across them.

All functions take tidy results: one row per strategy, seed and round, with the columns
`strategy`, `seed`, `n_labeled` and the metric, of one data set and setting. The strategy
"full", which has the whole pool labeled, is no learning curve and is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import stats
from scipy.integrate import trapezoid

from skvaball.plots._bands import check_unique, checked_columns, without_full

if TYPE_CHECKING:  # the library itself does without pandas
    import pandas as pd

#: Spread below which differences are the same number, but for rounding.
CONSTANT = 1e-9
#: Data sets and strategies without which there are no ranks to speak of.
MIN_DATA_SETS = 3
MIN_STRATEGIES = 3


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
    >>> from skvaball.experiments.statistics import area_under_curve
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
        One row per seed, one column per strategy, in order of appearance. NaN where the
        curve does not reach from the first to the last budget of the results: a run that
        was cut short has another area, not to be compared with those of whole runs.

    Raises
    ------
    ValueError
        If a column is missing, or a seed has two rows at one number of labels.

    Examples
    --------
    >>> import pandas as pd
    >>> from skvaball.experiments.statistics import curve_areas
    >>> results = pd.DataFrame(
    ...     {
    ...         "strategy": ["random"] * 4 + ["entropy"] * 4,
    ...         "seed": [0, 0, 1, 1] * 2,
    ...         "n_labeled": [10, 20] * 4,
    ...         "accuracy": [0.25, 0.75, 0.5, 0.5, 0.5, 1.0, 0.75, 0.75],
    ...     }
    ... )
    >>> curve_areas(results, "accuracy")
       random  entropy
    0     0.5     0.75
    1     0.5     0.75
    """
    return _per_curve(results, metric, area_under_curve)


def final_values(results: pd.DataFrame, metric: str = "balanced_accuracy") -> pd.DataFrame:
    """The metric at the end of the budget, for every strategy and seed.

    Parameters
    ----------
    results : DataFrame
        Rounds as rows, with strategy, seed, n_labeled and the metric.
    metric : str, default="balanced_accuracy"
        The column to read.

    Returns
    -------
    DataFrame
        One row per seed, one column per strategy; NaN as in :func:`curve_areas`.

    Raises
    ------
    ValueError
        If a column is missing, or a seed has two rows at one number of labels.

    Examples
    --------
    >>> import pandas as pd
    >>> from skvaball.experiments.statistics import final_values
    >>> results = pd.DataFrame(
    ...     {"strategy": "random", "seed": 0, "n_labeled": [10, 20], "accuracy": [0.25, 0.75]}
    ... )
    >>> final_values(results, "accuracy")
       random
    0    0.75
    """
    return _per_curve(results, metric, lambda n_labeled, values: float(values[-1]))


def paired_differences(
    results: pd.DataFrame,
    reference: str = "random",
    metric: str = "balanced_accuracy",
    *,
    confidence_level: float = 0.95,
    n_resamples: int = 9999,
    random_state: int = 0,
) -> pd.DataFrame:
    """Area under the curve of each strategy minus that of a reference, on the same seeds.

    Parameters
    ----------
    results : DataFrame
        Rounds as rows, with strategy, seed, n_labeled and the metric.
    reference : str, default="random"
        The strategy to compare with.
    metric : str, default="balanced_accuracy"
        The column to compare.
    confidence_level : float, default=0.95
        Level of the interval, above 0 and below 1.
    n_resamples : int, default=9999
        Bootstrap samples.
    random_state : int, default=0
        Seed of the bootstrap; each strategy is resampled with it afresh.

    Returns
    -------
    DataFrame
        One row per other strategy, in order of appearance, with the columns

        - mean: the mean difference over the seeds that both have complete; positive
          where the strategy is better.
        - low, high: its bootstrap confidence interval (bias-corrected and accelerated),
          in which the differences of the seeds are resampled. NaN with one seed.
        - n_seeds: number of seeds that both have.
        - p: two-sided paired t-test of no difference. NaN with one seed, or where the
          difference is the same for all seeds.
        - p_holm: p after Holm's correction over the strategies.

    Raises
    ------
    ValueError
        If a column is missing, the reference is not among the strategies, or a seed has
        two rows at one number of labels.

    Notes
    -----
    With few seeds a bootstrap interval is too narrow: five differences hold little
    about the tails they come from. The t-test allows for that; where the two disagree,
    believe the test.

    References
    ----------
    B. Efron. "Better bootstrap confidence intervals". Journal of the American
    Statistical Association 82, 1987.

    S. Holm. "A simple sequentially rejective multiple test procedure". Scandinavian
    Journal of Statistics 6, 1979.

    Examples
    --------
    >>> import pandas as pd
    >>> from skvaball.experiments.statistics import paired_differences
    >>> results = pd.DataFrame(
    ...     {
    ...         "strategy": ["random"] * 3 + ["entropy"] * 3,
    ...         "seed": [0, 1, 2] * 2,
    ...         "n_labeled": 10,
    ...         "accuracy": [0.5, 0.6, 0.7, 0.6, 0.8, 1.0],
    ...     }
    ... )
    >>> paired_differences(results, metric="accuracy").loc["entropy"].round(3)
    mean       0.200
    low        0.100
    high       0.300
    n_seeds    3.000
    p          0.074
    p_holm     0.074
    Name: entropy, dtype: float64
    """
    import pandas as pd

    areas = curve_areas(results, metric)
    _check_reference(reference, areas.columns)
    rows = {}
    for strategy in areas.columns.drop(reference):
        both = areas[[strategy, reference]].dropna()
        differences = (both[strategy] - both[reference]).to_numpy()
        low, high = _bootstrap(differences, confidence_level, n_resamples, random_state)
        rows[strategy] = {
            "mean": differences.mean() if len(differences) else np.nan,
            "low": low,
            "high": high,
            "n_seeds": len(differences),
            "p": _paired_t(differences),
        }
    columns = ["mean", "low", "high", "n_seeds", "p"]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
    return table.assign(p_holm=_holm(table["p"].to_numpy(dtype=float)))


def round_tests(
    results: pd.DataFrame,
    reference: str = "random",
    metric: str = "balanced_accuracy",
    *,
    test: str = "t",
) -> pd.DataFrame:
    """Test each strategy against a reference at each number of labels, on the same seeds.

    Parameters
    ----------
    results : DataFrame
        Rounds as rows, with strategy, seed, n_labeled and the metric.
    reference : str, default="random"
        The strategy to compare with.
    metric : str, default="balanced_accuracy"
        The column to compare.
    test : {"t", "wilcoxon"}, default="t"
        Paired t-test, or Wilcoxon's signed-rank test, which cannot reach 5 % with fewer
        than six seeds. Both two-sided.

    Returns
    -------
    DataFrame
        One row per other strategy and number of labels that both have, with the columns
        `strategy`, `n_labeled`, `mean` (of the differences), `n_seeds` (that both have
        there), `p` and `p_holm`. The correction is over all rows of the table; rows
        with nothing to test (one seed, or no difference on any seed, as at a start that
        the strategies share; for the t-test, any difference that is the same for all
        seeds) have no p-value and do not count in it.

    Raises
    ------
    ValueError
        If a column is missing, the reference is not among the strategies, `test` is
        unknown, or a seed has two rows at one number of labels.

    References
    ----------
    S. Holm. "A simple sequentially rejective multiple test procedure". Scandinavian
    Journal of Statistics 6, 1979.

    Examples
    --------
    >>> import pandas as pd
    >>> from skvaball.experiments.statistics import round_tests
    >>> results = pd.DataFrame(
    ...     {
    ...         "strategy": ["random"] * 3 + ["entropy"] * 3,
    ...         "seed": [0, 1, 2] * 2,
    ...         "n_labeled": 10,
    ...         "accuracy": [0.5, 0.6, 0.7, 0.6, 0.8, 1.0],
    ...     }
    ... )
    >>> round_tests(results, metric="accuracy").round(3)
      strategy  n_labeled  mean  n_seeds      p  p_holm
    0  entropy         10   0.2        3  0.074   0.074
    """
    import pandas as pd

    tests = {"t": _paired_t, "wilcoxon": _wilcoxon}
    if test not in tests:
        raise ValueError(f"test={test!r} is unknown. Expected one of {sorted(tests)}.")
    values = _by_budget(results, metric)
    _check_reference(reference, values)
    rows = []
    for strategy in values:
        if strategy == reference:
            continue
        for n_labeled, differences in _differences(values[strategy], values[reference]):
            rows.append(
                {
                    "strategy": strategy,
                    "n_labeled": n_labeled,
                    "mean": differences.mean(),
                    "n_seeds": len(differences),
                    "p": tests[test](differences),
                }
            )
    table = pd.DataFrame(rows, columns=["strategy", "n_labeled", "mean", "n_seeds", "p"])
    return table.assign(p_holm=_holm(table["p"].to_numpy(dtype=float)))


def penalty_matrix(
    results: pd.DataFrame, metric: str = "balanced_accuracy", *, alpha: float = 0.05
) -> pd.DataFrame:
    """How often each strategy is significantly better than each other one.

    Parameters
    ----------
    results : DataFrame
        Rounds as rows, with strategy, seed, n_labeled and the metric.
    metric : str, default="balanced_accuracy"
        The column to compare, higher is better.
    alpha : float, default=0.05
        Level of each test.

    Returns
    -------
    DataFrame of shape (n_strategies, n_strategies)
        The cell in row i and column j is the share of budgets at which strategy i is
        significantly better than strategy j: a full row wins, a full column loses. NaN
        on the diagonal and where two strategies share no budget after the start.

    Raises
    ------
    ValueError
        If a column is missing, or a seed has two rows at one number of labels.

    Notes
    -----
    Each test is a two-sided paired t-test (standard deviation with ddof=1) on the seeds
    that both strategies have at that budget, at level `alpha`, without correction for
    the number of tests. The smallest budget is the start that all strategies share, and
    is not counted. A difference that is the same for all seeds is not significant: it
    leaves nothing to test.

    References
    ----------
    J. T. Ash, C. Zhang, A. Krishnamurthy, J. Langford and A. Agarwal. "Deep batch active
    learning by diverse, uncertain gradient lower bounds". ICLR 2020. Section 5. There,
    too, rows win.

    Examples
    --------
    >>> import pandas as pd
    >>> from skvaball.experiments.statistics import penalty_matrix
    >>> results = pd.DataFrame(
    ...     {
    ...         "strategy": ["worse"] * 6 + ["better"] * 6,
    ...         "seed": [0, 1, 2] * 4,
    ...         "n_labeled": ([10] * 3 + [20] * 3) * 2,
    ...         "accuracy": [0.5, 0.5, 0.5, 0.6, 0.6, 0.6, 0.5, 0.5, 0.5, 0.8, 0.81, 0.82],
    ...     }
    ... )
    >>> penalty_matrix(results, "accuracy")
            worse  better
    worse     NaN     0.0
    better    1.0     NaN
    """
    import pandas as pd

    values = _by_budget(results, metric)
    names = list(values)
    matrix = np.full((len(names), len(names)), np.nan)
    for i in range(len(names)):
        for j in range(i):
            wins, losses, n_budgets = 0, 0, 0
            after_start = (values[names[i]].iloc[1:], values[names[j]].iloc[1:])
            for _, differences in _differences(*after_start):
                n_budgets += 1
                significant = _paired_t(differences) < alpha  # False where p is NaN
                wins += significant and differences.mean() > 0
                losses += significant and differences.mean() < 0
            if n_budgets:
                matrix[i, j], matrix[j, i] = wins / n_budgets, losses / n_budgets
    return pd.DataFrame(matrix, index=names, columns=names)


def labels_to_reach(
    results: pd.DataFrame, reference: str = "random", metric: str = "balanced_accuracy"
) -> pd.DataFrame:
    """Number of labels with which each strategy is as good as a reference at the end.

    Parameters
    ----------
    results : DataFrame
        Rounds as rows, with strategy, seed, n_labeled and the metric.
    reference : str, default="random"
        The strategy whose final value is to be reached.
    metric : str, default="balanced_accuracy"
        The column to compare, higher is better.

    Returns
    -------
    DataFrame
        One row per strategy, the reference among them, in order of appearance, with the
        columns

        - target: the mean final value of the reference.
        - labels: where the strategy's mean curve first reaches it, by linear
          interpolation between budgets. NaN where it does not.
        - n_seeds: number of seeds that both have complete; both means are over these.

    Raises
    ------
    ValueError
        If a column is missing, the reference is not among the strategies, or a seed has
        two rows at one number of labels.

    Examples
    --------
    >>> import pandas as pd
    >>> from skvaball.experiments.statistics import labels_to_reach
    >>> results = pd.DataFrame(
    ...     {
    ...         "strategy": ["random"] * 2 + ["entropy"] * 2,
    ...         "seed": 0,
    ...         "n_labeled": [100, 200] * 2,
    ...         "accuracy": [0.25, 0.5, 0.25, 0.75],
    ...     }
    ... )
    >>> labels_to_reach(results, metric="accuracy")
             target  labels  n_seeds
    random      0.5   200.0        1
    entropy     0.5   150.0        1
    """
    import pandas as pd

    values = _by_budget(results, metric)
    finals = final_values(results, metric)
    _check_reference(reference, values)
    rows = {}
    for strategy in values:
        seeds = finals[[strategy, reference]].dropna().index
        target, labels = np.nan, np.nan
        if len(seeds):
            target = finals.loc[seeds, reference].mean()
            labels = _first_crossing(values[strategy][seeds].mean(axis=1).dropna(), target)
        rows[strategy] = {"target": target, "labels": labels, "n_seeds": len(seeds)}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["target", "labels", "n_seeds"])


class FriedmanResult(NamedTuple):
    """Ranks of strategies over data sets, and tests of them.

    Attributes
    ----------
    ranks : Series
        Mean rank of each strategy, 1 for the best; ties share their ranks.
    statistic, p : float
        Friedman's test of no difference among the strategies.
    posthoc : {"nemenyi", "wilcoxon-holm"}
        Test of each pair.
    p_values : DataFrame of shape (n_strategies, n_strategies)
        p-value of each pair, corrected for the number of pairs.
    n_data_sets : int
        Data sets that were ranked.

    Examples
    --------
    >>> import pandas as pd
    >>> from skvaball.experiments.statistics import friedman_ranks
    >>> result = friedman_ranks(pd.DataFrame({"a": [1, 2, 3], "b": [2, 3, 4], "c": [3, 4, 5]}))
    >>> round(result.p, 3), result.n_data_sets
    (0.05, 3)
    """

    ranks: pd.Series
    statistic: float
    p: float
    posthoc: str
    p_values: pd.DataFrame
    n_data_sets: int


def friedman_ranks(values: pd.DataFrame, *, posthoc: str = "nemenyi") -> FriedmanResult:
    """Rank strategies on each data set, and test the mean ranks.

    Parameters
    ----------
    values : DataFrame
        One row per data set (at least 3), one column per strategy (at least 3), higher
        is better, such as mean areas under the curve. No value may be missing.
    posthoc : {"nemenyi", "wilcoxon-holm"}, default="nemenyi"
        Test of each pair of strategies. Nemenyi's compares mean ranks, and works from
        few data sets. Wilcoxon's signed-rank test (zeros after Pratt) with Holm's
        correction does not depend on the other strategies, but cannot reach 5 % with
        fewer than six data sets.

    Returns
    -------
    FriedmanResult
        Mean ranks, Friedman's test, and the p-values of the pairs.

    Raises
    ------
    ValueError
        If there are too few data sets or strategies, a value is missing, or `posthoc`
        is unknown.

    References
    ----------
    J. Demsar. "Statistical comparisons of classifiers over multiple data sets". Journal
    of Machine Learning Research 7, 2006.

    A. Benavoli, G. Corani and F. Mangili. "Should we really use post-hoc tests based on
    mean-ranks?" Journal of Machine Learning Research 17, 2016.

    Examples
    --------
    >>> import pandas as pd
    >>> from skvaball.experiments.statistics import friedman_ranks
    >>> values = pd.DataFrame(
    ...     {"random": [0.5, 0.6, 0.7], "entropy": [0.6, 0.7, 0.8], "vab": [0.7, 0.65, 0.9]},
    ...     index=["cifar10", "digits", "neu"],
    ... )
    >>> friedman_ranks(values).ranks.round(2)
    random     3.00
    entropy    1.67
    vab        1.33
    dtype: float64
    """
    import pandas as pd

    if len(values) < MIN_DATA_SETS or values.shape[1] < MIN_STRATEGIES:
        raise ValueError(
            f"Ranks need at least {MIN_DATA_SETS} data sets and {MIN_STRATEGIES} strategies; "
            f"got {len(values)} and {values.shape[1]}."
        )
    if values.isna().to_numpy().any():
        lacking = list(values.columns[values.isna().any()])
        raise ValueError(
            f"The strategies {lacking} have no value on some data set. Leave them out, or "
            "leave out the data sets."
        )
    array = values.to_numpy(dtype=float)
    if posthoc == "nemenyi":
        import scikit_posthocs

        p_values = scikit_posthocs.posthoc_nemenyi_friedman(array).to_numpy()
    elif posthoc == "wilcoxon-holm":
        p_values = _wilcoxon_holm(array)
    else:
        raise ValueError(f"posthoc={posthoc!r} is unknown. Expected 'nemenyi' or 'wilcoxon-holm'.")
    names = list(values.columns)
    with np.errstate(invalid="ignore"):  # NaN where all strategies are equal everywhere
        statistic, p = stats.friedmanchisquare(*array.T)
    return FriedmanResult(
        ranks=values.rank(axis=1, ascending=False).mean(),
        statistic=float(statistic),
        p=float(p),
        posthoc=posthoc,
        p_values=pd.DataFrame(p_values, index=names, columns=names),
        n_data_sets=len(values),
    )


def _by_budget(results: pd.DataFrame, metric: str) -> dict[str, pd.DataFrame]:
    """Values of each strategy: a table with budgets as rows and seeds as columns.

    All tables have the same rows, NaN where a strategy has no value.
    """
    keys = ["strategy", "seed", "n_labeled"]
    curves = checked_columns(without_full(results), [*keys, metric]).dropna(subset=[metric])
    check_unique(curves, keys)
    table = curves.pivot(index="n_labeled", columns=["strategy", "seed"], values=metric)
    return {strategy: table[strategy] for strategy in curves["strategy"].unique()}


def _per_curve(
    results: pd.DataFrame, metric: str, reduce: Callable[[np.ndarray, np.ndarray], float]
) -> pd.DataFrame:
    import pandas as pd

    values = _by_budget(results, metric)
    budgets = next(iter(values.values())).index if values else []
    seeds = sorted({seed for table in values.values() for seed in table.columns})
    reduced: dict[str, dict[int, float]] = {}
    for strategy, table in values.items():
        reduced[strategy] = {}
        for seed in table:
            curve = table[seed].dropna()
            if curve.index[0] == budgets[0] and curve.index[-1] == budgets[-1]:
                reduced[strategy][seed] = reduce(curve.index.to_numpy(), curve.to_numpy())
    return pd.DataFrame(
        {name: pd.Series(found, dtype=float).reindex(seeds) for name, found in reduced.items()},
        index=seeds,
    )


def _differences(first: pd.DataFrame, second: pd.DataFrame) -> list[tuple[int, np.ndarray]]:
    """Differences over the seeds that both have, at each budget that both have."""
    difference = (first - second).dropna(how="all").dropna(axis="columns", how="all")
    return [(int(n), row.dropna().to_numpy()) for n, row in difference.iterrows()]


def _is_constant(differences: np.ndarray) -> bool:
    return bool(np.ptp(differences) <= CONSTANT)


def _paired_t(differences: np.ndarray) -> float:
    if len(differences) < 2 or _is_constant(differences):
        return np.nan
    return float(stats.ttest_1samp(differences, 0.0).pvalue)


def _wilcoxon(differences: np.ndarray) -> float:
    if len(differences) < 2 or np.abs(differences).max() <= CONSTANT:
        return np.nan
    return float(stats.wilcoxon(differences, zero_method="pratt").pvalue)


def _wilcoxon_holm(values: np.ndarray) -> np.ndarray:
    """p-values of each pair of columns; columns that are equal are not different."""
    first, second = np.triu_indices(values.shape[1], k=1)
    p = [_wilcoxon(values[:, i] - values[:, j]) for i, j in zip(first, second, strict=True)]
    matrix = np.ones((values.shape[1], values.shape[1]))
    matrix[first, second] = matrix[second, first] = _holm(np.nan_to_num(p, nan=1.0))
    return matrix


def _bootstrap(
    differences: np.ndarray, confidence_level: float, n_resamples: int, random_state: int
) -> tuple[float, float]:
    if len(differences) < 2:
        return np.nan, np.nan
    if _is_constant(differences):
        return float(differences[0]), float(differences[0])
    interval = stats.bootstrap(
        (differences,),
        np.mean,
        confidence_level=confidence_level,
        n_resamples=n_resamples,
        rng=np.random.default_rng(random_state),
    ).confidence_interval
    return float(interval.low), float(interval.high)


def _holm(p: np.ndarray) -> np.ndarray:
    """Holm's correction; what has no p-value is no test, and stays without one."""
    corrected = np.full(len(p), np.nan)
    tested = ~np.isnan(p)
    if tested.any():
        from statsmodels.stats.multitest import multipletests

        corrected[tested] = multipletests(p[tested], method="holm")[1]
    return corrected


def _first_crossing(curve: pd.Series, target: float) -> float:
    budgets, values = curve.index.to_numpy(dtype=float), curve.to_numpy()
    reached = np.flatnonzero(values >= target)
    if len(reached) == 0:
        return np.nan
    i = reached[0]
    if i == 0:
        return float(budgets[0])
    share = (target - values[i - 1]) / (values[i] - values[i - 1])
    return float(budgets[i - 1] + share * (budgets[i] - budgets[i - 1]))


def _check_reference(reference: str, names: Iterable[str]) -> None:
    if reference not in set(names):
        raise ValueError(f"reference={reference!r} is not among the strategies {list(names)}.")
