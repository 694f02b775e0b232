"""Helpers: labels and rows of every kind, seeds, batches, and views of fitted classifiers."""

# ruff: noqa: NPY002 (numpy's global generator is what some of these tests are about)

import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse as sp
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from imblearn.over_sampling import RandomOverSampler
from imblearn.pipeline import Pipeline as SamplerPipeline
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import BaggingClassifier, RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import LabelEncoder, StandardScaler
from sklearn.svm import LinearSVC
from skorch import NeuralNetClassifier
from skorch.dataset import Dataset as SkorchDataset
from torch.utils.data import ConcatDataset, Dataset, Subset, TensorDataset

from skvaball import ActiveLearner
from skvaball.utils.classifiers import (
    ClassifierView,
    check_probabilities,
    fit_classifier,
    is_fitted,
    is_skorch,
    unwrap,
    validates_itself,
)
from skvaball.utils.labels import as_labels, check_labels, encode, is_missing, resolve_classes
from skvaball.utils.loading import TensorLoader, standardization
from skvaball.utils.random import (
    derive_seed,
    draw_seed,
    isolated_generators,
    set_random_states,
)
from skvaball.utils.rows import as_rows, concat_rows, iter_chunks, n_rows, take_rows, to_array

QUICK = settings(max_examples=60, deadline=None)

# Labels: which are missing


@pytest.mark.parametrize(
    ("y", "missing_label", "expected"),
    [
        (np.array([0, -1, 2]), -1, [0, 1, 0]),
        (np.array([0, -1, 2]), None, [0, 0, 0]),
        (np.array([0, -1, 2]), np.nan, [0, 0, 0]),
        (np.array([0, -1, 2]), "?", [0, 0, 0]),
        (np.array([0, 1], dtype=np.uint8), -1, [0, 0]),
        (np.array([0.0, np.nan, -1.0]), -1, [0, 1, 1]),
        (np.array([0.0, np.nan, -1.0]), None, [0, 1, 0]),
        (np.array([0.0, np.nan]), pd.NA, [0, 1]),
        (np.array([True, False]), -1, [0, 0]),
        (np.array(["a", "?"]), "?", [0, 1]),
        (np.array(["a", "-1"]), "-1", [0, 1]),
        (np.array(["a", "-1"]), None, [0, 0]),
        (np.array(["a", "nan"]), None, [0, 0]),
        (np.array([b"a", b"b"]), -1, [0, 0]),
        (np.array(["a", None, np.nan, pd.NA, "?"], dtype=object), "?", [0, 1, 1, 1, 1]),
        (np.array(["a", None, np.nan, pd.NA, "?"], dtype=object), -1, [0, 1, 1, 1, 0]),
        (np.array([0, None, pd.NA, -1], dtype=object), -1, [0, 1, 1, 1]),
        (pd.Series([0, None, 2], dtype="Int64").to_numpy(dtype=object), -1, [0, 1, 0]),
        (np.array([], dtype=object), -1, []),
        (np.array([]), -1, []),
    ],
)
def test_missing_labels_are_the_sentinel_and_always_nan_none_and_na(y, missing_label, expected):
    mask = is_missing(y, missing_label)
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask, np.array(expected, dtype=bool))


@pytest.mark.parametrize("kind", ["string", "category", "object"])
def test_missing_labels_of_a_series_are_those_pandas_calls_missing(kind):
    series = pd.Series(["cat", None, "dog", None], dtype=kind)
    mask = is_missing(as_labels(series), -1)
    np.testing.assert_array_equal(mask, series.isna().to_numpy())


@QUICK
@given(
    labels=st.lists(st.one_of(st.none(), st.integers(-3, 3), st.just(pd.NA), st.just(np.nan))),
    sentinel=st.one_of(st.none(), st.integers(-3, 3)),
)
def test_missing_mask_agrees_with_pandas_and_equality(labels, sentinel):
    y = np.empty(len(labels), dtype=object)
    y[:] = labels
    null = pd.isna(pd.Series(labels, dtype=object)).to_numpy(dtype=bool)
    expected = [
        bool(n) or (sentinel is not None and v == sentinel)
        for n, v in zip(null, labels, strict=True)
    ]
    np.testing.assert_array_equal(is_missing(y, sentinel), expected)


def test_lists_keep_none_beside_strings():
    y = as_labels(["a", None, "b"])
    assert y.dtype == object
    assert y[1] is None


def test_a_column_of_labels_is_flattened_with_a_warning():
    with pytest.warns(UserWarning, match="column-vector"):
        labels = as_labels(np.array([[0], [1]]))
    assert labels.shape == (2,)


def test_classes_that_are_objects_but_numbers_are_numbers():
    """As of a column that had gaps."""
    classes = np.array([0, 2, 1], dtype=object)
    np.testing.assert_array_equal(resolve_classes(classes, np.array([0, 1])), [0, 1, 2])
    with pytest.raises(ValueError, match="mixed type"):
        resolve_classes(np.array(["a", "b"], dtype=object), np.array([0, 1]))


@pytest.mark.parametrize("gap", [np.nan, None, pd.NA])
def test_classes_in_a_list_have_no_gaps_and_one_type(gap):
    """Numpy would make a class "nan" of the gap, and "1" of the number."""
    with pytest.raises(ValueError, match="missing value among them"):
        resolve_classes(["cat", "dog", gap], np.array(["cat"]))
    with pytest.raises(ValueError, match="mixed type"):
        resolve_classes(["cat", "dog", 1], np.array(["cat"]))


def test_a_list_mixing_numbers_with_strings_is_not_turned_into_strings():
    with pytest.raises(ValueError, match="mixed type"):
        check_labels(["a", 1, "b"])


@pytest.mark.parametrize("y", [["a", None], [0.0, np.nan], [1, pd.NA], np.array([None, 1])])
def test_labels_of_labeled_rows_may_not_be_missing(y):
    with pytest.raises(ValueError, match=r"missing|NaN"):
        check_labels(y)


def test_continuous_targets_are_refused():
    with pytest.raises(ValueError, match="continuous"):
        check_labels([0.1, 0.7, 0.3])


@pytest.mark.parametrize(
    ("y", "kind"),
    [(["a", "bb"], "U"), (np.array([1, 2], dtype=object), "i"), ([True, False], "b")],
)
def test_checked_labels_have_a_plain_dtype(y, kind):
    checked = check_labels(y)
    assert checked.dtype.kind == kind
    np.testing.assert_array_equal(checked, y)


# Labels: classes and codes

int_labels = st.lists(st.integers(-5, 5), min_size=1, max_size=30)
text_labels = st.lists(st.text("abÄ ", min_size=1, max_size=4), min_size=1, max_size=30)
many_labels = st.one_of(int_labels, text_labels)


@QUICK
@given(labels=many_labels)
def test_codes_are_those_of_a_label_encoder(labels):
    y = np.array(labels)
    classes = resolve_classes(None, y)
    encoder = LabelEncoder().fit(y)
    np.testing.assert_array_equal(classes, encoder.classes_)
    codes = encode(y, classes)
    assert codes.dtype == np.int64
    np.testing.assert_array_equal(codes, encoder.transform(y))
    np.testing.assert_array_equal(classes[codes], y)


@QUICK
@given(labels=many_labels, seed=st.integers(0, 100))
def test_given_classes_are_sorted_and_unique_and_may_hold_more_than_the_labels(labels, seed):
    y = np.array(labels)
    part = y[: 1 + seed % len(y)]
    shuffled = labels + labels
    random.Random(seed).shuffle(shuffled)
    np.testing.assert_array_equal(resolve_classes(shuffled, part), sorted(set(labels)))


@QUICK
@given(first=int_labels, second=int_labels)
def test_classes_of_several_groups_are_their_union(first, second):
    np.testing.assert_array_equal(resolve_classes(None, first, second), sorted({*first, *second}))


@QUICK
@given(labels=int_labels, known=int_labels)
def test_labels_outside_the_classes_are_an_error_that_names_them(labels, known):
    unknown = sorted(set(labels) - set(known))
    if not unknown:
        np.testing.assert_array_equal(resolve_classes(known, labels), sorted(set(known)))
        return
    with pytest.raises(ValueError, match="not among") as error:
        resolve_classes(known, labels)
    assert str([int(v) for v in unknown]) in str(error.value)
    with pytest.raises(ValueError, match="not among") as error:
        encode(labels, np.unique(known))
    assert str([int(v) for v in unknown]) in str(error.value)


def test_classes_and_labels_of_different_type_are_an_error():
    with pytest.raises(ValueError, match="mixed type"):
        resolve_classes([0, 1], np.array(["0", "1"]))
    with pytest.raises(ValueError, match="mixed type"):
        resolve_classes(None, np.array(["a"]), np.array([1]))


# Rows of every kind

DATA = np.arange(42, dtype=np.float32).reshape(14, 3)


def _memmap(tmp_path):
    mapped = np.memmap(tmp_path / "rows.bin", dtype=np.float32, mode="w+", shape=DATA.shape)
    mapped[:] = DATA
    return mapped


CONTAINERS = {
    "array": lambda path: DATA,
    "memmap": _memmap,
    "list": lambda path: DATA.tolist(),
    "csr_matrix": lambda path: sp.csr_matrix(DATA),
    "csr_array": lambda path: sp.csr_array(DATA),
    "pandas": lambda path: pd.DataFrame(DATA, columns=list("abc"), index=np.arange(14)[::-1]),
    "polars": lambda path: pl.DataFrame({c: DATA[:, i] for i, c in enumerate("abc")}),
    "pyarrow": lambda path: pa.table({c: DATA[:, i] for i, c in enumerate("abc")}),
    "dataset": lambda path: TensorDataset(torch.from_numpy(DATA)),
    "labeled dataset": lambda path: TensorDataset(torch.from_numpy(DATA), torch.arange(14)),
}


@pytest.fixture(params=CONTAINERS)
def rows(request, tmp_path):
    return CONTAINERS[request.param](tmp_path)


def dense(X):
    """The values, whatever holds them."""
    X = to_array(X)
    if sp.issparse(X):
        return X.toarray()
    if isinstance(X, pa.Table):
        return X.to_pandas().to_numpy()
    return np.asarray(X)


def kind(X):
    if isinstance(X, Dataset):
        return Dataset
    return np.ndarray if isinstance(X, np.ndarray) else type(X)


def test_number_of_rows(rows):
    assert n_rows(rows) == 14


@pytest.mark.parametrize("positions", [[3], [5, 0, 13, 5], [], list(range(14))])
def test_taken_rows_are_those_of_the_array_and_of_the_same_kind(rows, positions):
    positions = np.array(positions, dtype=np.int64)
    if len(positions) == 0 and isinstance(rows, Dataset):
        assert n_rows(take_rows(rows, positions)) == 0
        return
    taken = take_rows(rows, positions)
    assert kind(taken) is kind(rows)
    np.testing.assert_array_equal(dense(taken).reshape(len(positions), 3), DATA[positions])


def test_taken_rows_share_no_memory_with_the_array():
    X = DATA.copy()
    taken = take_rows(X, np.arange(14))
    X[:] = -1
    np.testing.assert_array_equal(taken, DATA)


@pytest.mark.parametrize("size", [1, 4, 7, 13, 14, 15])
def test_chunks_put_together_are_the_rows(rows, size):
    chunks = list(iter_chunks(rows, size))
    assert [n for _, n in chunks] == [min(size, 14 - start) for start in range(0, 14, size)]
    np.testing.assert_array_equal(np.concatenate([dense(chunk) for chunk, _ in chunks]), DATA)


@pytest.mark.parametrize("size", [1, 4, 14, 20])
def test_padded_chunks_all_have_one_size_and_repeat_the_last_row(rows, size):
    whole = []
    for chunk, n in iter_chunks(rows, size, pad=True):
        values = dense(chunk)
        assert len(values) == size
        np.testing.assert_array_equal(values[n:], np.repeat(values[n - 1 : n], size - n, axis=0))
        whole.append(values[:n])
    np.testing.assert_array_equal(np.concatenate(whole), DATA)


def test_no_rows_give_no_chunks():
    assert list(iter_chunks(DATA[:0], 5)) == []


def test_concatenated_rows_follow_one_another_and_keep_their_kind(rows):
    first, second = take_rows(rows, np.arange(9)), take_rows(rows, np.arange(9, 14))
    both = concat_rows(first, second)
    assert kind(both) is kind(rows)
    assert n_rows(both) == 14
    np.testing.assert_array_equal(dense(both), DATA)


def test_concatenated_frames_have_a_new_index():
    frame = pd.DataFrame(DATA)
    both = concat_rows(frame, frame)
    assert both.index.tolist() == list(range(28))


def test_texts_are_rows():
    texts = np.array(["a b", "c", "d"])
    assert concat_rows(["a b"], texts[1:]) == ["a b", "c", "d"]
    np.testing.assert_array_equal(concat_rows(texts[:1], ["c", "d"]), texts)
    both = concat_rows(pd.Series(texts[:1]), pd.Series(texts[1:]))
    assert both.tolist() == texts.tolist()
    assert [chunk for chunk, _ in iter_chunks(texts.tolist(), 2)] == [["a b", "c"], ["d"]]


def test_images_are_rows():
    images = np.random.default_rng(0).normal(size=(5, 3, 4, 4))
    np.testing.assert_array_equal(concat_rows(images[:2], images[2:]), images)
    chunks = [chunk for chunk, _ in iter_chunks(images, 2)]
    np.testing.assert_array_equal(np.concatenate(chunks), images)


def test_datasets_are_not_read_when_rows_are_taken_or_joined():
    class Unreadable(Dataset):
        def __len__(self):
            return 6

        def __getitem__(self, i):
            raise AssertionError("read")

    taken = take_rows(Unreadable(), np.array([4, 1]))
    assert isinstance(taken, Subset)
    assert taken.indices == [4, 1]
    assert isinstance(concat_rows(taken, taken), ConcatDataset)
    assert n_rows(concat_rows(taken, taken)) == 4


def test_a_dataset_of_more_rows_than_a_batch_becomes_one_array():
    values = torch.randn(600, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    np.testing.assert_array_equal(to_array(TensorDataset(values)), values.numpy())


def test_reading_a_dataset_leaves_the_torch_generator_alone():
    before = torch.get_rng_state()
    to_array(TensorDataset(torch.zeros(5, 2)))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("make", [sp.coo_matrix, sp.csc_array, sp.lil_matrix])
def test_sparse_rows_become_csr(make):
    X = as_rows(make(DATA))
    assert X.format == "csr"
    np.testing.assert_array_equal(X.toarray(), DATA)


def test_rows_that_are_arrays_or_frames_stay_what_they_are():
    for X in (DATA, pd.DataFrame(DATA), pl.DataFrame(DATA)):
        assert as_rows(X) is X
    assert isinstance(as_rows(DATA.tolist()), np.ndarray)
    texts = ["a", "b"]
    assert as_rows(texts, allow_1d=True) is texts


@pytest.mark.parametrize("X", [np.empty((0, 3)), [], pd.DataFrame({"a": []})])
def test_no_rows_are_an_error(X):
    with pytest.raises(ValueError, match="0 sample"):
        as_rows(X, allow_1d=True)


@pytest.mark.parametrize("X", [np.arange(3.0), pd.Series([1.0, 2.0]), ["a", "b"]])
def test_one_dimensional_rows_are_an_error_unless_allowed(X):
    with pytest.raises(ValueError, match="1D array"):
        as_rows(X)
    assert as_rows(X, allow_1d=True) is X


# Seeds


@QUICK
@given(
    seed=st.integers(0, 2**40),
    names=st.lists(st.text(min_size=1, max_size=12), min_size=2, max_size=8, unique=True),
)
def test_seeds_of_different_purposes_differ(seed, names):
    seeds = [derive_seed(seed, name) for name in names]
    assert len(set(seeds)) == len(names)
    assert seeds == [derive_seed(seed, name) for name in names]
    assert all(0 <= value < 2**31 - 1 for value in seeds)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("query", 0), ("query", 1)),
        (("query", 1), ("query", 256)),
        (("fold", 0), ("query", 0)),
        (("a", "bc"), ("ab", "c")),
        (("a", 98), ("ab",)),
        (("a",), ("a", 0)),
        (("a", 0), ("a", 0, 0)),
        (("estimator",), ()),
    ],
)
def test_a_purpose_is_more_than_the_bytes_of_its_parts(first, second):
    assert derive_seed(3, *first) != derive_seed(3, *second)


def test_seeds_of_consecutive_parents_and_purposes_are_all_different():
    seeds = {derive_seed(seed, "query", i) for seed in range(40) for i in range(40)}
    # Of 1600 random numbers below 2^31 two are alike with a chance of 0.06 %.
    assert len(seeds) == 1600


def test_drawn_seed_is_the_integer_itself_and_reproducible_from_a_generator():
    assert draw_seed(7) == 7
    assert draw_seed(np.int64(7)) == 7
    generator = np.random.RandomState(0)
    first, second = draw_seed(generator), draw_seed(generator)
    assert first != second
    assert draw_seed(np.random.RandomState(0)) == first
    assert draw_seed(None) != draw_seed(None)


def global_states():
    return np.random.get_state(), torch.get_rng_state()


def same_states(first, second):
    numpy_same = all(np.array_equal(a, b) for a, b in zip(first[0], second[0], strict=True))
    return numpy_same and torch.equal(first[1], second[1])


def test_generators_inside_depend_on_the_seed_alone():
    drawn = []
    for warmup in (0, 5):
        np.random.random(warmup)
        torch.rand(warmup)
        with isolated_generators(3):
            drawn.append((np.random.random(4).tolist(), torch.rand(4).tolist()))
    with isolated_generators(4):
        drawn.append((np.random.random(4).tolist(), torch.rand(4).tolist()))
    assert drawn[0] == drawn[1]
    assert drawn[0][0] != drawn[2][0]
    assert drawn[0][1] != drawn[2][1]


def test_generators_are_restored_when_nested():
    before = global_states()
    with isolated_generators(0):
        np.random.random(3)
        inside = global_states()
        with isolated_generators(1):
            torch.rand(5)
        assert same_states(global_states(), inside)
    assert same_states(global_states(), before)


def test_generators_are_restored_after_an_error():
    def fail():
        with isolated_generators(0):
            torch.rand(2)
            np.random.random()
            raise RuntimeError("boom")

    before = global_states()
    with pytest.raises(RuntimeError, match="boom"):
        fail()
    assert same_states(global_states(), before)


def test_threads_draw_as_if_they_were_alone():
    def draw(seed):
        with isolated_generators(seed):
            return [(np.random.random(), torch.rand(1).item()) for _ in range(200)]

    expected = [draw(seed) for seed in range(8)]
    before = global_states()
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(draw, range(8))) == expected
    assert same_states(global_states(), before)


def test_set_random_states_fills_every_gap_and_keeps_what_was_set():
    model = make_pipeline(
        StandardScaler(),
        BaggingClassifier(RandomForestClassifier(random_state=11), random_state=None),
    )
    set_random_states(model, 5)
    params = model.get_params()
    assert params["baggingclassifier__estimator__random_state"] == 11
    assert isinstance(params["baggingclassifier__random_state"], int)
    again = set_random_states(clone(model), 6).get_params()
    assert again["baggingclassifier__random_state"] == params["baggingclassifier__random_state"]


def test_set_random_states_gives_each_child_its_own():
    model = CalibratedClassifierCV(BaggingClassifier(RandomForestClassifier()))
    params = set_random_states(model, 0).get_params()
    seeds = [value for name, value in params.items() if name.endswith("random_state")]
    assert len(seeds) == 2
    assert len(set(seeds)) == 2


def test_set_random_states_keeps_a_generator_of_the_user():
    generator = np.random.RandomState(0)
    model = set_random_states(LogisticRegression(random_state=generator), 3)
    assert model.random_state is generator


# Batches


def loader(n, batch_size, shuffle):
    X = np.arange(2 * n, dtype=np.float32).reshape(n, 2)
    return TensorLoader(SkorchDataset(X, np.arange(n)), batch_size, shuffle=shuffle)


@settings(max_examples=200, deadline=None)
@given(n=st.integers(1, 60), batch_size=st.integers(1, 20), shuffle=st.booleans())
@example(n=9, batch_size=4, shuffle=True)
def test_batches_hold_each_row_once_and_none_is_alone(n, batch_size, shuffle):
    batches = loader(n, batch_size, shuffle)
    seen = list(batches)
    assert len(seen) == len(batches)
    sizes = [len(y) for _, y in seen]
    assert all(size == batch_size for size in sizes[:-1])
    assert 1 <= sizes[-1] <= batch_size + 1
    if batch_size > 1 and n > 1:
        assert sizes[-1] > 1
    rows = torch.cat([y for _, y in seen])
    assert sorted(rows.tolist()) == list(range(n))
    # Inputs and labels belong together.
    np.testing.assert_array_equal(torch.cat([X for X, _ in seen])[:, 0], 2 * rows)
    if not shuffle:
        assert rows.tolist() == list(range(n))


def test_each_pass_has_a_new_order():
    batches = loader(50, 10, shuffle=True)
    with isolated_generators(0):
        first, second = ([y.tolist() for _, y in batches] for _ in range(2))
    assert first != second


def test_batches_of_several_inputs_are_aligned():
    X = {"a": np.arange(7.0), "b": np.arange(7.0)[:, None] * [1, -1]}
    for inputs, y in TensorLoader(SkorchDataset(X, np.arange(7)), 3, shuffle=True):
        np.testing.assert_array_equal(inputs["a"], y)
        np.testing.assert_array_equal(inputs["b"][:, 1], -y)


def test_batches_without_labels():
    (X, y), *_ = TensorLoader(SkorchDataset(np.ones((4, 2))), 4)
    assert X.shape == (4, 2)
    assert y.tolist() == [0, 0, 0, 0]


@QUICK
@given(
    X=hnp.arrays(
        np.float32,
        st.one_of(
            st.tuples(st.integers(1, 20), st.integers(1, 4)),
            st.tuples(st.integers(1, 6), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3)),
        ),
        elements=st.floats(-100, 100, width=16),
    )
)
def test_standardization_is_that_of_numpy(X):
    axes = (0, 2, 3) if X.ndim == 4 else 0
    mean, scale = standardization(X)
    assert mean.dtype == scale.dtype == np.float32
    assert mean.shape == scale.shape == ((X.shape[1], 1, 1) if X.ndim == 4 else (X.shape[1],))
    np.testing.assert_allclose(mean.ravel(), X.mean(axis=axes, dtype=np.float64), atol=1e-4)
    deviation = X.std(axis=axes, dtype=np.float64)
    varying = deviation > 1e-3
    np.testing.assert_allclose(scale.ravel()[varying], deviation[varying], rtol=1e-5)
    constant = (X.max(axis=axes) == X.min(axis=axes)).ravel()
    np.testing.assert_array_equal(scale.ravel()[constant], 1.0)


def test_a_large_column_with_a_small_spread_has_its_own_unit():
    """As dates written as numbers, whose days are not lost in the rounding of float32."""
    days = (20240101 + np.arange(20)).astype(np.float32)[:, None]
    np.testing.assert_allclose(standardization(days)[1], np.std(days.astype(float)), rtol=0.1)
    # What is left of a constant by rounding counts for less than another column does.
    large = (1e9 + 64 * (np.arange(20) % 2)).astype(np.float32)[:, None]
    mean, scale = standardization(large)
    assert np.abs((large - mean) / scale).max() < 0.3


@pytest.mark.parametrize("size", [1e-45, 1e-39, 1e-31])
def test_nothing_is_divided_by_what_is_next_to_nothing(size):
    column = np.zeros((1000, 1), dtype=np.float32)
    column[3] = size
    _, scale = standardization(column)
    assert scale.tolist() == [1.0]


def test_standardization_of_features_is_that_of_standard_scaler():
    X = np.random.default_rng(0).normal(5, 3, size=(100, 4)).astype(np.float32)
    mean, scale = standardization(X)
    peer = StandardScaler().fit(X)
    np.testing.assert_allclose(mean, peer.mean_, rtol=1e-5)
    np.testing.assert_allclose(scale, peer.scale_, rtol=1e-5)


def test_a_large_constant_has_scale_one():
    X = np.full((1000, 1), 1e7 / 3, dtype=np.float32)
    assert standardization(X)[1].tolist() == [1.0]


# Views of classifiers

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4)).astype(np.float32)
y = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0.5)


def linear_net(**params):
    settings = {
        "module__in_features": 4,
        "module__out_features": 3,
        "criterion": torch.nn.CrossEntropyLoss,
        "train_split": None,
        "max_epochs": 2,
        "verbose": 0,
    }
    return NeuralNetClassifier(torch.nn.Linear, **{**settings, **params})


def test_unwrap_opens_whatever_is_around_a_classifier():
    scaler, clf = StandardScaler(), LogisticRegression()
    wrapped = [
        make_pipeline(scaler, clf),
        FrozenEstimator(make_pipeline(scaler, clf)),
        Pipeline([("none", None), ("pass", "passthrough"), ("scale", scaler), ("clf", clf)]),
        SamplerPipeline([("scale", scaler), ("sampler", RandomOverSampler()), ("clf", clf)]),
        make_pipeline(scaler, make_pipeline("passthrough", FrozenEstimator(clf))),
        GridSearchCV(make_pipeline(scaler, clf), {}),
    ]
    for estimator in wrapped:
        assert unwrap(estimator) == ([scaler], clf)
    assert unwrap(clf) == ([], clf)


def test_unwrap_opens_fitted_searches_and_learners():
    search = GridSearchCV(make_pipeline(StandardScaler(), LogisticRegression()), {}, cv=2)
    learner = ActiveLearner(search).fit(X, y)
    transformers, classifier = unwrap(learner)
    best = learner.estimator_.best_estimator_
    assert transformers == [best[0]]
    assert classifier is best[-1]


def test_is_fitted_tells_trained_from_untrained():
    for estimator in (
        LogisticRegression(),
        make_pipeline(StandardScaler(), LogisticRegression()),
        SamplerPipeline([("s", RandomOverSampler()), ("c", LogisticRegression())]),
        GridSearchCV(LogisticRegression(), {}, cv=2),
        linear_net(),
        make_pipeline(StandardScaler(), linear_net()),
    ):
        assert not is_fitted(estimator)
        assert is_fitted(clone(estimator).fit(X, y))
    assert is_fitted(FrozenEstimator(LogisticRegression().fit(X, y)))
    assert is_fitted(FrozenEstimator(linear_net().fit(X, y)))
    # Initialized is not trained, nor is a search around a net that is.
    assert not is_fitted(linear_net().initialize())
    assert not is_fitted(GridSearchCV(linear_net().fit(X, y), {"lr": [0.1]}, cv=2))


def test_is_skorch_and_validates_itself_look_through_wrappers():
    net = linear_net()
    assert is_skorch(net)
    assert is_skorch(GridSearchCV(make_pipeline(StandardScaler(), net), {}))
    assert not is_skorch(LogisticRegression())
    assert validates_itself(GridSearchCV(make_pipeline(LogisticRegression()), {}))
    assert not validates_itself(GridSearchCV(net, {}))


def test_a_view_spreads_probabilities_over_all_classes():
    clf = LogisticRegression().fit(X, y)
    view = ClassifierView(clf, np.array([-1, 0, 1, 2, 7]))
    probabilities = view.predict_proba(X)
    assert probabilities.dtype == np.float64
    np.testing.assert_array_equal(probabilities[:, 1:4], clf.predict_proba(X))
    np.testing.assert_array_equal(probabilities[:, [0, 4]], 0)
    codes = view.predict_codes(X)
    assert codes.dtype == np.int64
    np.testing.assert_array_equal(codes, clf.predict(X) + 1)


def test_a_view_of_a_net_has_codes_of_the_classes():
    net = linear_net().fit(X, y)
    view = ClassifierView(net, np.array(["a", "b", "c"]))
    np.testing.assert_allclose(view.predict_proba(X), net.predict_proba(X), rtol=1e-6)
    np.testing.assert_array_equal(view.predict_codes(X.astype(np.float64)), net.predict(X))


def test_a_view_names_both_numbers_when_columns_do_not_fit():
    view = ClassifierView(linear_net().fit(X, y), np.array([0, 1]))
    with pytest.raises(ValueError, match=r"3 columns.*2 classes") as error:
        view.predict_proba(X)
    assert "classes=" in str(error.value)


def test_a_view_reads_more_rows_than_a_chunk():
    many = np.tile(X, (90, 1))  # 5400 rows
    clf = LogisticRegression().fit(X, y)
    expected = np.tile(clf.predict_proba(X), (90, 1))
    np.testing.assert_allclose(ClassifierView(clf, np.arange(3)).predict_proba(many), expected)


@pytest.mark.parametrize(
    ("probabilities", "message"),
    [
        ([[0.5, 0.6]], "sum to"),
        ([[0.5, 0.5], [0.1, 0.2]], "CrossEntropyLoss"),
        ([[1.5, -0.5]], "probabilities"),
        ([[np.nan, 1.0]], "NaN"),
        ([[np.inf, 0.0]], "infinity"),
    ],
)
def test_what_is_no_probability_is_an_error(probabilities, message):
    with pytest.raises(ValueError, match=message):
        check_probabilities(np.array(probabilities))


def test_probabilities_of_half_precision_pass():
    p = np.random.default_rng(0).dirichlet(np.ones(10), size=50).astype(np.float16)
    check_probabilities(p)


def test_fit_classifier_leaves_the_estimator_as_it_is_and_is_reproducible():
    template = LinearSVC()
    first = fit_classifier(template, X, y, np.arange(3), 0)
    assert not hasattr(template, "coef_")
    assert template.random_state is None
    assert first.random_state == derive_seed(0, "random_state")
    net = linear_net()
    nets = [fit_classifier(net, X, y, np.arange(3), seed) for seed in (0, 0, 1)]
    weights = [fitted.module_.weight.detach() for fitted in nets]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert not is_fitted(net)
