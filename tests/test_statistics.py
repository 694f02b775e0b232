"""Statistics of experiments, against scipy, brute force and cases that are known by hand."""

import itertools
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from skvaball.experiments.statistics import (
    area_under_curve,
    curve_areas,
    final_values,
    friedman_ranks,
    labels_to_reach,
    paired_differences,
    penalty_matrix,
    round_tests,
)

BUDGETS = (100, 200, 400)


def curves(budgets=BUDGETS, **values):
    """Tidy results; each strategy has an array of shape (n_seeds, n_budgets)."""
    return pd.DataFrame(
        [
            {"strategy": name, "seed": seed, "n_labeled": n, "accuracy": value}
            for name, array in values.items()
            for seed, row in enumerate(np.asarray(array, dtype=float))
            for n, value in zip(budgets, row, strict=False)
            if not np.isnan(value)
        ]
    )


def noisy(seed=0, n_seeds=6, n_budgets=4, **worth):
    """Curves from one start, whose strategies are worth more or less."""
    rng = np.random.default_rng(seed)
    start = rng.random((n_seeds, 1)) / 10
    gains = np.arange(n_budgets) / n_budgets
    values = {
        name: start + gains * (0.5 + gain) + 0.03 * rng.normal(size=(n_seeds, n_budgets)) * gains
        for name, gain in worth.items()
    }
    return curves(tuple(range(100, 100 * n_budgets + 1, 100)), **values)


def holm_by_hand(p):
    """Holm's procedure, step by step."""
    corrected, highest = np.empty(len(p)), 0.0
    for step, i in enumerate(np.argsort(p)):
        highest = max(highest, min(1.0, (len(p) - step) * p[i]))
        corrected[i] = highest
    return corrected


# -- areas -------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 50), min_size=1, max_size=8), st.floats(0, 1), st.floats(0, 1))
def test_area_of_a_straight_line_is_the_mean_of_its_ends(steps, first, last):
    n = np.cumsum([10, *steps])
    values = first + (last - first) * (n - n[0]) / (n[-1] - n[0])
    assert area_under_curve(n, values) == pytest.approx((first + last) / 2, abs=1e-12)


def test_areas_and_final_values_are_per_strategy_and_seed():
    results = curves(a=[[0, 0.3, 0.6], [0.6, 0.6, 0.6]], b=[[0, 0, 0.9], [0.3, 0.3, 0.3]])
    # Trapezoids over 100 and 200 of 300 labels.
    expected = pd.DataFrame({"a": [0.15 / 3 + 0.45 * 2 / 3, 0.6], "b": [0.45 * 2 / 3, 0.3]}, [0, 1])
    shuffled = results.sample(frac=1, random_state=0).sort_values("strategy", kind="stable")
    pd.testing.assert_frame_equal(curve_areas(shuffled, "accuracy"), expected)
    finals = final_values(shuffled, "accuracy")
    pd.testing.assert_frame_equal(finals, pd.DataFrame({"a": [0.6, 0.6], "b": [0.9, 0.3]}, [0, 1]))


def test_a_run_that_was_cut_short_has_no_area():
    results = curves(a=[[0.1, 0.2, 0.3]] * 2, b=[[0.1, 0.2, np.nan], [0.1, 0.2, 0.3]])
    areas = curve_areas(results, "accuracy")
    assert areas["a"].notna().all()
    assert areas["b"].isna().tolist() == [True, False]
    assert final_values(results, "accuracy")["b"].isna().tolist() == [True, False]


def test_the_fully_labeled_pool_is_no_curve():
    full = pd.DataFrame({"strategy": "full", "seed": [0], "n_labeled": 9999, "accuracy": 1.0})
    results = pd.concat([curves(random=[[0.1, 0.2, 0.3]], a=[[0.1, 0.3, 0.3]]), full])
    assert list(curve_areas(results, "accuracy")) == ["random", "a"]
    assert curve_areas(results, "accuracy").notna().all(axis=None)
    assert list(paired_differences(results, metric="accuracy").index) == ["a"]
    assert list(penalty_matrix(results, "accuracy")) == ["random", "a"]


# -- paired differences ------------------------------------------------------------------


def test_differences_have_the_mean_and_the_paired_test_of_the_areas():
    results = noisy(random=0.0, a=0.1, b=-0.2)
    areas = curve_areas(results, "accuracy")
    table = paired_differences(results, metric="accuracy")
    assert list(table.index) == ["a", "b"]
    for name in ("a", "b"):
        assert table.loc[name, "mean"] == pytest.approx((areas[name] - areas["random"]).mean())
        expected = stats.ttest_rel(areas[name], areas["random"]).pvalue
        assert table.loc[name, "p"] == pytest.approx(expected)
    assert table["n_seeds"].tolist() == [6, 6]
    np.testing.assert_allclose(table["p_holm"], holm_by_hand(table["p"].to_numpy()))


def test_interval_is_scipys_paired_bootstrap():
    results = noisy(random=0.0, a=0.1)
    areas = curve_areas(results, "accuracy")
    expected = stats.bootstrap(
        (areas["a"], areas["random"]),
        lambda a, b, axis=-1: np.mean(a - b, axis=axis),
        paired=True,
        n_resamples=999,
        confidence_level=0.9,
        rng=np.random.default_rng(3),
    ).confidence_interval
    table = paired_differences(
        results, metric="accuracy", n_resamples=999, confidence_level=0.9, random_state=3
    )
    assert table.loc["a", ["low", "high"]].tolist() == pytest.approx(list(expected))
    again = paired_differences(
        results, metric="accuracy", n_resamples=999, confidence_level=0.9, random_state=3
    )
    pd.testing.assert_frame_equal(table, again)


def test_interval_does_not_depend_on_the_other_strategies():
    results = noisy(random=0.0, a=0.1, b=-0.2)
    without = results[results["strategy"] != "a"]
    one = paired_differences(results, metric="accuracy").loc["b", ["mean", "low", "high"]]
    two = paired_differences(without, metric="accuracy").loc["b", ["mean", "low", "high"]]
    pd.testing.assert_series_equal(one, two)


def test_only_seeds_that_both_have_complete_are_paired():
    nan = np.nan
    results = curves(
        random=[[0.1, 0.2, 0.3], [0.2, 0.3, 0.4], [nan] * 3, [0.1, 0.3, 0.4]],
        a=[[0.2, 0.3, 0.4], [0.4, 0.5, 0.6], [0.9, 0.9, 0.9], [0.2, nan, nan]],
    )
    table = paired_differences(results, metric="accuracy")
    assert table.loc["a", "n_seeds"] == 2
    assert table.loc["a", "mean"] == pytest.approx((0.1 + 0.2) / 2)


def test_one_seed_has_a_difference_but_no_interval_and_no_test():
    results = curves(random=[[0.1, 0.2, 0.3]], a=[[0.2, 0.3, 0.4]])
    row = paired_differences(results, metric="accuracy").loc["a"]
    assert row["mean"] == pytest.approx(0.1)
    assert row[["low", "high", "p", "p_holm"]].isna().all()


def test_the_same_difference_on_all_seeds_leaves_nothing_to_test():
    results = curves(random=[[0.1, 0.2, 0.3]] * 3, a=[[0.2, 0.3, 0.4]] * 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        row = paired_differences(results, metric="accuracy").loc["a"]
    assert row[["low", "high"]].tolist() == pytest.approx([0.1, 0.1])
    assert np.isnan(row["p"])


def test_without_a_common_seed_there_is_no_difference():
    results = curves(random=[[0.1, 0.2, 0.3], [np.nan] * 3], a=[[np.nan] * 3, [0.2, 0.3, 0.4]])
    row = paired_differences(results, metric="accuracy").loc["a"]
    assert row["n_seeds"] == 0
    assert np.isnan(row["mean"])


# -- tests of each round -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("test", "peer"),
    [
        ("t", lambda a, b: stats.ttest_rel(a, b).pvalue),
        ("wilcoxon", lambda a, b: stats.wilcoxon(a, b, zero_method="pratt").pvalue),
    ],
)
def test_each_round_has_scipys_paired_test_and_holms_correction_over_all(test, peer):
    results = noisy(random=0.0, a=0.1, b=-0.05)
    table = round_tests(results, metric="accuracy", test=test)
    assert table["n_labeled"].tolist() == [100, 200, 300, 400] * 2
    values = results.pivot(index="seed", columns=["strategy", "n_labeled"], values="accuracy")
    for row in table.itertuples():
        if row.n_labeled == 100:  # the start that all share
            assert np.isnan(row.p)
            assert row.mean == 0
            continue
        pair = values[row.strategy, row.n_labeled], values["random", row.n_labeled]
        assert row.p == pytest.approx(peer(*pair))
        assert row.mean == pytest.approx((pair[0] - pair[1]).mean())
    tested = table.dropna(subset=["p"])
    assert len(tested) == 6
    np.testing.assert_allclose(tested["p_holm"], holm_by_hand(tested["p"].to_numpy()))
    assert table.loc[table["p"].isna(), "p_holm"].isna().all()


def test_a_round_is_tested_on_the_seeds_that_both_have_there():
    nan = np.nan
    results = curves(
        random=[[0.1, 0.2, 0.3], [0.1, 0.3, 0.4], [0.1, 0.2, 0.2]],
        a=[[0.1, 0.3, 0.4], [0.1, 0.3, nan], [0.1, 0.4, 0.5]],
    )
    table = round_tests(results, metric="accuracy").set_index("n_labeled")
    assert table["n_seeds"].tolist() == [3, 3, 2]
    assert table.loc[400, "mean"] == pytest.approx((0.1 + 0.3) / 2)


# -- the penalty matrix ------------------------------------------------------------------


def test_rows_of_the_penalty_matrix_win():
    results = curves(
        worse=[[0.5, 0.60, 0.60], [0.5, 0.61, 0.61], [0.5, 0.62, 0.6]],
        better=[[0.5, 0.80, 0.60], [0.5, 0.82, 0.61], [0.5, 0.81, 0.6]],
    )
    matrix = penalty_matrix(results, "accuracy")
    # Better at 200 labels, equal at 400; the start does not count.
    assert matrix.loc["better", "worse"] == 0.5
    assert matrix.loc["worse", "better"] == 0
    assert np.isnan(np.diag(matrix)).all()


def test_penalties_are_two_sided_t_tests_with_ddof_1():
    # t = mean / (sd / sqrt(3)) is 3.9 with ddof=1 and 4.8 with ddof=0; the two-sided limit
    # at 5 % with two degrees of freedom is 4.303, the one-sided one 2.920.
    spread = np.array([-1.0, 0.0, 1.0]) * 0.01
    for t, significant in [(3.9, False), (4.4, True)]:
        first = np.array([0.5, 0.6, 0.7])
        second = first + t * 0.01 / np.sqrt(3) + spread
        results = curves(
            (100, 200),
            a=np.column_stack([[0.5] * 3, first]),
            b=np.column_stack([[0.5] * 3, second]),
        )
        assert penalty_matrix(results, "accuracy").loc["b", "a"] == float(significant)


@pytest.mark.parametrize("alpha", [0.05, 0.3])
def test_penalty_matrix_equals_brute_force(alpha):
    names = {"a": 0.0, "b": 0.05, "c": 0.1, "d": -0.1}
    results = noisy(seed=1, n_budgets=6, **names)
    matrix = penalty_matrix(results, "accuracy", alpha=alpha)
    values = results.pivot(index="seed", columns=["strategy", "n_labeled"], values="accuracy")
    for i, j in itertools.permutations(names, 2):
        wins = 0
        for n in (200, 300, 400, 500, 600):
            test = stats.ttest_rel(values[i, n], values[j, n])
            wins += test.pvalue < alpha and test.statistic > 0
        assert matrix.loc[i, j] == wins / 5
    assert 0 < np.nanmean(matrix) < 1


def test_one_budget_has_no_penalties():
    assert penalty_matrix(curves((100,), a=[[0.1]], b=[[0.2]]), "accuracy").isna().all(axis=None)


# -- labels to reach ---------------------------------------------------------------------


def test_labels_to_reach_are_interpolated_on_the_mean_curve():
    results = curves(
        random=[[0.2, 0.3, 0.5], [0.2, 0.4, 0.7]],  # at the end 0.6 on average
        fast=[[0.2, 0.5, 0.8], [0.2, 0.5, 0.8]],  # 0.6 at a third between 200 and 400
        slow=[[0.2, 0.3, 0.55], [0.2, 0.3, 0.6]],
        at_once=[[0.7, 0.7, 0.7], [0.6, 0.7, 0.7]],
    )
    table = labels_to_reach(results, metric="accuracy")
    assert table["target"].tolist() == pytest.approx([0.6] * 4)
    assert table["labels"].tolist() == pytest.approx([400, 200 + 200 / 3, np.nan, 100], nan_ok=True)
    assert table["n_seeds"].tolist() == [2] * 4


def test_labels_to_reach_compare_the_same_seeds():
    results = curves(
        random=[[0.2, 0.3, 0.4], [0.2, 0.3, 0.8]], a=[[0.2, 0.4, 0.6], [0.2, 0.3, np.nan]]
    )
    row = labels_to_reach(results, metric="accuracy").loc["a"]
    assert row.tolist() == pytest.approx([0.4, 200, 1])


# -- several data sets -------------------------------------------------------------------

#: Accuracy of three strategies on six data sets, and the ranks that they have there.
VALUES = pd.DataFrame(
    {
        "a": [0.70, 0.60, 0.90, 0.50, 0.80, 0.75],
        "b": [0.75, 0.65, 0.85, 0.55, 0.85, 0.80],
        "c": [0.60, 0.50, 0.85, 0.45, 0.70, 0.60],
    },
    index=list("uvwxyz"),
)


def test_ranks_are_those_by_hand_and_the_test_is_friedmans():
    result = friedman_ranks(VALUES)
    # On data set w, b and c share the ranks 2 and 3.
    assert result.ranks.tolist() == pytest.approx([11 / 6, 7.5 / 6, 17.5 / 6])
    expected = stats.friedmanchisquare(*VALUES.to_numpy().T)
    assert (result.statistic, result.p) == pytest.approx(tuple(expected))
    assert result.n_data_sets == 6


def test_nemenyis_test_agrees_with_the_critical_difference():
    result = friedman_ranks(VALUES)
    # Demsar (2006): q of the studentized range over sqrt(2), times sqrt(k (k + 1) / 6 N).
    for alpha in (0.01, 0.05, 0.2, 0.5):
        q = stats.studentized_range.ppf(1 - alpha, 3, np.inf) / np.sqrt(2)
        critical = q * np.sqrt(3 * 4 / (6 * 6))
        for i, j in itertools.combinations(VALUES, 2):
            apart = abs(result.ranks[i] - result.ranks[j]) > critical
            assert (result.p_values.loc[i, j] < alpha) == apart


def test_wilcoxons_test_is_scipys_with_holms_correction():
    result = friedman_ranks(VALUES, posthoc="wilcoxon-holm")
    pairs = list(itertools.combinations(VALUES, 2))
    p = [stats.wilcoxon(VALUES[i], VALUES[j], zero_method="pratt").pvalue for i, j in pairs]
    for (i, j), corrected in zip(pairs, holm_by_hand(np.array(p)), strict=True):
        assert result.p_values.loc[i, j] == pytest.approx(corrected)
        assert result.p_values.loc[j, i] == pytest.approx(corrected)
    assert result.posthoc == "wilcoxon-holm"


@pytest.mark.parametrize("posthoc", ["nemenyi", "wilcoxon-holm"])
def test_strategies_that_are_equal_everywhere_are_not_different(posthoc):
    values = VALUES.assign(c=VALUES["b"])
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        result = friedman_ranks(values, posthoc=posthoc)
    assert result.ranks["b"] == result.ranks["c"]
    assert result.p_values.loc["b", "c"] == pytest.approx(1)


# -- errors ------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [paired_differences, round_tests, labels_to_reach])
def test_an_unknown_reference_is_named_with_those_there_are(function):
    results = curves(a=[[0.1, 0.2, 0.3]], b=[[0.1, 0.2, 0.3]])
    with pytest.raises(ValueError, match=r"reference='random' is not among .*\['a', 'b'\]"):
        function(results, metric="accuracy")


@pytest.mark.parametrize(
    "function", [curve_areas, final_values, paired_differences, penalty_matrix, labels_to_reach]
)
def test_missing_columns_and_repeated_rows_are_errors(function):
    results = curves(random=[[0.1, 0.2, 0.3]], a=[[0.1, 0.2, 0.3]])
    with pytest.raises(ValueError, match=r"lacks the columns \['f1'\]"):
        function(results, metric="f1")
    with pytest.raises(ValueError, match=r"several rows for .*'n_labeled': 100.*select one"):
        function(pd.concat([results, results]), metric="accuracy")


def test_unknown_tests_and_too_few_data_sets_are_errors():
    results = curves(random=[[0.1, 0.2, 0.3]], a=[[0.1, 0.2, 0.3]])
    with pytest.raises(ValueError, match=r"test='sign' is unknown.*\['t', 'wilcoxon'\]"):
        round_tests(results, metric="accuracy", test="sign")
    with pytest.raises(ValueError, match=r"posthoc='tukey' is unknown"):
        friedman_ranks(VALUES, posthoc="tukey")
    with pytest.raises(ValueError, match=r"at least 3 data sets and 3 strategies; got 2 and 3"):
        friedman_ranks(VALUES.iloc[:2])
    with pytest.raises(ValueError, match=r"strategies \['b'\] have no value"):
        friedman_ranks(VALUES.assign(b=[np.nan] * 3 + [0.5] * 3))
