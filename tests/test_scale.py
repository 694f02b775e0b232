"""Pools larger than memory, rows that lie elsewhere, and more than one process."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import dask.array as da
import numpy as np
import pytest
import torch
import zarr
from distributed import Client, LocalCluster
from joblib import Memory, parallel_config
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from torch.utils.data import TensorDataset

from skvaball import ActiveLearner
from skvaball.features import FeatureReader
from skvaball.networks import DeepClassifier
from skvaball.selectors import BADGESelector, CoreSetSelector, EntropySelector, VAALSelector
from skvaball.utils.classifiers import ClassifierView
from skvaball.utils.parallel import map_rows
from skvaball.utils.rows import is_lazy, iter_chunks, n_rows, take_rows
from skvaball.vab import VaBQuerySelector

X, y = load_digits(return_X_y=True)
X = (X / 16).astype(np.float32)
LABELED, POOL = X[:300], X[300:1300]
Y = y[:300]


def chunked(kind, folder, rows=POOL):
    """The rows in another container, in blocks that do not divide them."""
    if kind == "array":
        return rows
    if kind == "memmap":
        mapped = np.memmap(folder / "rows", dtype=rows.dtype, mode="w+", shape=rows.shape)
        mapped[:] = rows
        return np.memmap(folder / "rows", dtype=rows.dtype, mode="r", shape=rows.shape)
    if kind == "dataset":
        return TensorDataset(torch.from_numpy(rows))
    if kind == "zarr":
        stored = zarr.open(
            str(folder / "rows.zarr"), mode="w", shape=rows.shape, chunks=(170, 30), dtype="f4"
        )
        stored[:] = rows
        return stored
    return da.from_array(rows, chunks=(170, 30))


KINDS = ["memmap", "dataset", "zarr", "dask"]


@pytest.fixture(scope="module")
def logistic():
    return LogisticRegression(max_iter=500).fit(LABELED, Y)


@pytest.fixture(scope="module")
def network():
    return DeepClassifier(max_epochs=5, random_state=0).fit(LABELED, Y)


def vab(estimator, **params):
    return VaBQuerySelector(
        estimator,
        **{"random_state": 0, "max_epochs": 4, "batch_size": 64, "n_draws": 16, **params},
    )


# Rows


@pytest.mark.parametrize("kind", ["zarr", "dask"])
def test_rows_of_lazy_arrays_are_those_of_the_array(kind, tmp_path):
    lazy = chunked(kind, tmp_path)
    assert is_lazy(lazy)
    assert n_rows(lazy) == 1000
    rows = np.array([999, 3, 3, 170, 169, 500])
    np.testing.assert_array_equal(take_rows(lazy, rows), POOL[rows])
    for pad in (False, True):
        chunks = list(iter_chunks(lazy, 64, pad=pad))
        assert all(len(chunk) == 64 for chunk, _ in chunks) or not pad
        np.testing.assert_array_equal(np.concatenate([chunk[:n] for chunk, n in chunks]), POOL)


def test_other_containers_are_not_lazy(tmp_path):
    assert not any(is_lazy(chunked(kind, tmp_path)) for kind in ("array", "memmap", "dataset"))


class Watched:
    """A lazy array that notes how many rows are read at a time."""

    shape, dtype, ndim = POOL.shape, POOL.dtype, 2

    def __init__(self, chunks=(100, 64)):
        self.chunks = chunks
        self.read = []

    def __len__(self):
        return len(POOL)

    def __getitem__(self, rows):
        self.read.append(len(range(*rows.indices(len(POOL)))))
        return POOL[rows]

    def __array__(self, dtype=None, copy=None):
        raise AssertionError("read as a whole")


def test_a_lazy_array_is_never_read_as_a_whole(logistic):
    pool = Watched()
    selector = vab(logistic, batch="top").fit_pool(LABELED, Y, pool)
    assert len(selector.select(pool, 20)) == 20
    assert max(pool.read) == 100


@pytest.mark.parametrize("selector", [EntropySelector(), CoreSetSelector(), None])
@pytest.mark.parametrize("make", ["logistic", "network"])
def test_a_learner_never_reads_a_lazy_array_as_a_whole(make, selector, request):
    estimator = request.getfixturevalue(make)
    learner = ActiveLearner(estimator, selector or vab(None), random_state=0).fit(LABELED, Y)
    pool = Watched()
    np.testing.assert_array_equal(learner.query(pool, 15), _again(learner).query(POOL, 15))
    np.testing.assert_array_equal(learner.predict(pool), learner.predict(POOL))
    np.testing.assert_array_equal(learner.predict_proba(pool), learner.predict_proba(POOL))
    if make == "logistic":
        found = learner.decision_function(pool)
        np.testing.assert_array_equal(found, learner.decision_function(POOL))
    assert max(pool.read) == 100


def _again(learner):
    return clone(learner).fit(LABELED, Y)


def test_an_array_in_one_piece_is_read_in_parts(logistic, monkeypatch):
    """HDF5 keeps arrays so by default: its chunks are None."""
    monkeypatch.setattr("skvaball.utils.rows.BLOCK_BYTES", 90 * 64 * 4)
    pool = Watched(chunks=None)
    found = vab(logistic).fit_select(LABELED, Y, pool, 20)
    assert max(pool.read) == 90
    np.testing.assert_array_equal(found[0], vab(logistic).fit_select(LABELED, Y, POOL, 20)[0])


def test_vaal_reads_a_lazy_pool_a_few_times_not_in_every_step():
    pool = Watched()
    found = VAALSelector(max_iter=128, random_state=0).fit_pool(LABELED, Y, pool)
    expected = VAALSelector(max_iter=128, random_state=0).fit_pool(LABELED, Y, POOL)
    np.testing.assert_array_equal(found.score_samples(POOL), expected.score_samples(POOL))
    assert sum(pool.read) <= 4 * len(POOL)


def test_vaal_holds_few_rows_of_a_lazy_pool_whatever_its_batches_are(monkeypatch):
    sizes = []

    def watched(X, rows):
        if isinstance(X, Watched):
            sizes.append(len(rows))
        return take_rows(X, rows)

    monkeypatch.setattr("skvaball.selectors._vaal.LAZY_ROWS", 200)
    monkeypatch.setattr("skvaball.selectors._vaal.take_rows", watched)
    VAALSelector(max_iter=20, batch_size=64, random_state=0).fit_pool(LABELED, Y, Watched())
    assert sizes == [len(POOL)] + [3 * 64] * 7  # for the standardization, and for the steps


@pytest.mark.parametrize("block", [1, 7, 64, 1000])
def test_chunks_have_one_size_whatever_the_blocks_are(block):
    chunks = list(iter_chunks(Watched(chunks=(block, 64)), 64))
    assert [n for _, n in chunks] == [64] * 15 + [40]
    np.testing.assert_array_equal(np.concatenate([rows for rows, _ in chunks]), POOL)


@pytest.mark.parametrize("selector", [CoreSetSelector(), BADGESelector(), None])
def test_a_dask_array_may_have_empty_blocks(selector, logistic):
    """As a filter leaves them, where one has taken all rows of a block."""
    pool = da.from_array(np.concatenate([POOL, -1 - POOL[:170]]), chunks=(170, 64))
    pool = pool[pool[:, 0] >= 0]
    pool.compute_chunk_sizes()
    assert pool.chunks[0][-1] == 0
    selector = clone(selector or vab(None)).set_params(estimator=logistic, random_state=0)
    expected = clone(selector).fit_pool(LABELED, Y, POOL).select(POOL, 15)
    np.testing.assert_array_equal(selector.fit_pool(LABELED, Y, pool).select(pool, 15), expected)


def test_a_dask_array_of_unknown_length_is_refused(logistic):
    pool = da.from_array(POOL, chunks=(500, 64))
    with pytest.raises(ValueError, match="compute_chunk_sizes"):
        vab(logistic).fit_pool(LABELED, Y, pool[pool[:, 0] >= 0])


def test_map_rows_keeps_the_order_of_chunks():
    parts = list(map_rows(len, POOL, 128, n_jobs=2))
    assert parts == [128] * 7 + [104]
    rows = np.concatenate(list(map_rows(np.negative, POOL, 100, n_jobs=2)))
    np.testing.assert_array_equal(rows, -POOL)


# Queries


@pytest.mark.parametrize("batch", ["top", "diverse", "rebalance"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("make", ["logistic", "network"])
def test_a_pool_gives_the_same_picks_in_any_container(make, kind, batch, tmp_path, request):
    estimator = request.getfixturevalue(make)
    expected = vab(estimator, batch=batch).fit_select(LABELED, Y, POOL, 40)
    pool = chunked(kind, tmp_path)
    found = vab(estimator, batch=batch).fit_select(LABELED, Y, pool, 40)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("selector", [EntropySelector(), CoreSetSelector(), None])
def test_a_learner_queries_any_container(selector, kind, tmp_path):
    learner = ActiveLearner(LogisticRegression(max_iter=500), selector or vab(None), random_state=0)
    learner.fit(LABELED, Y)
    pool = chunked(kind, tmp_path)
    found = learner.query(pool, 15)
    again = ActiveLearner(LogisticRegression(max_iter=500), selector or vab(None), random_state=0)
    np.testing.assert_array_equal(found, again.fit(LABELED, Y).query(POOL, 15))


@pytest.mark.parametrize("kind", ["zarr", "dask"])
def test_lazy_rows_that_are_not_finite_or_too_wide_are_refused(kind, logistic, tmp_path):
    broken = POOL.copy()
    broken[500, 3] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        vab(logistic).fit_select(LABELED, Y, chunked(kind, tmp_path, broken), 5)
    selector = vab(logistic).fit_pool(LABELED, Y, POOL)
    with pytest.raises(ValueError, match="60 features"):
        selector.select(chunked(kind, tmp_path / "narrow", POOL[:, :60]), 5)


def test_the_autoencoder_of_a_large_pool_is_trained_on_a_sample(logistic):
    """A sample of the rows, the same for the same seed, and still every row is scored."""
    selectors = [vab(logistic, max_samples=400, random_state=seed) for seed in (0, 0, 1)]
    scores = [s.fit_select(LABELED, Y, POOL, 30)[1] for s in selectors]
    assert all(len(s) == 1000 for s in scores)
    np.testing.assert_array_equal(scores[0], scores[1])
    assert not np.array_equal(scores[0], scores[2])
    # Seven batches of 64 rows in each of the epochs.
    assert len(selectors[0].vae_.history[-1]["batches"]) == 7
    whole = vab(logistic, max_samples=1000).fit_select(LABELED, Y, POOL, 30)[1]
    np.testing.assert_array_equal(whole, vab(logistic).fit_select(LABELED, Y, POOL, 30)[1])


# Features on disk


def test_features_of_a_network_are_read_from_the_disk_the_second_time(network, tmp_path):
    view = ClassifierView(network, network.classes_)
    calls = []

    class Counting(FeatureReader):
        def read_chunk(self, X):
            calls.append(len(X))
            return super().read_chunk(X)

    memory = Memory(tmp_path, verbose=0)
    first = Counting(view, memory=memory).read(POOL)
    second = Counting(view, memory=memory).read(POOL)
    assert calls == [1000]
    np.testing.assert_array_equal(first.values, second.values)
    np.testing.assert_array_equal(first.codes, second.codes)
    np.testing.assert_array_equal(first.values, FeatureReader(view).read(POOL).values)
    # Other layers, other rows or other weights are other features.
    Counting(view, "penultimate", memory=memory).read(POOL)
    Counting(view, memory=memory).read(POOL[::-1])
    other = DeepClassifier(max_epochs=5, random_state=1).fit(LABELED, Y)
    Counting(ClassifierView(other, other.classes_), memory=memory).read(POOL)
    assert calls == [1000] * 4


def test_features_on_disk_know_which_classes_they_are_for(network, tmp_path):
    memory = Memory(tmp_path, verbose=0)
    classes = np.append(network.classes_, network.classes_.max() + 1)
    for known in (network.classes_, classes):
        features = FeatureReader(ClassifierView(network, known), memory=memory).read(POOL)
        assert features.probabilities.shape == (len(POOL), len(known))
        np.testing.assert_allclose(features.probabilities.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("kind", [VaBQuerySelector, CoreSetSelector, BADGESelector])
def test_strategies_share_features_on_disk(kind, network, tmp_path):
    plain = kind(network, random_state=0).fit_select(LABELED, Y, POOL, 10)[0]
    kept = [
        kind(network, random_state=0, memory=str(tmp_path)).fit_select(LABELED, Y, POOL, 10)[0]
        for _ in range(2)
    ]
    np.testing.assert_array_equal(kept[0], plain)
    np.testing.assert_array_equal(kept[1], plain)


# Processes and clusters


def test_processes_give_the_same_picks(network, monkeypatch):
    monkeypatch.setattr("skvaball.vab.selector.CHUNK_ROWS", 200)
    expected = vab(network, batch="top").fit_select(LABELED, Y, POOL, 40)
    found = vab(network, batch="top", n_jobs=2).fit_select(LABELED, Y, POOL, 40)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


@pytest.fixture(scope="module")
def cluster():
    """Two workers in processes of their own."""
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def test_a_cluster_gives_the_same_picks(cluster, network, monkeypatch):
    monkeypatch.setattr("skvaball.vab.selector.CHUNK_ROWS", 200)
    expected = vab(network).fit_select(LABELED, Y, POOL, 40)
    with parallel_config("dask"):
        found = vab(network, n_jobs=-1).fit_select(LABELED, Y, POOL, 40)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


def where(rows):
    """Processes that have seen the rows, in place of scores."""
    return np.full(len(rows), os.getpid())


def test_a_dask_array_is_scored_where_its_blocks_lie(cluster, logistic):
    # Persisted: the blocks are in the memory of the workers.
    pool = da.from_array(POOL, chunks=(250, 64)).persist()
    pids = set(np.concatenate(list(map_rows(where, pool, 64))))
    assert pids <= set(cluster.run(os.getpid).values())
    assert os.getpid() not in pids
    expected = vab(logistic).fit(LABELED, Y).score_samples(POOL)
    found = vab(logistic).fit(LABELED, Y).score_samples(pool)
    np.testing.assert_array_equal(found, expected)


def slow_negative(rows):
    """Long enough for its worker to be killed meanwhile."""
    time.sleep(0.5)
    return -rows


def test_the_death_of_a_worker_costs_only_its_chunks(cluster):
    victim = next(iter(cluster.run(os.getpid).values()))

    def kill():
        time.sleep(0.7)
        os.kill(victim, signal.SIGKILL)

    with ThreadPoolExecutor() as threads, parallel_config("dask"):
        killed = threads.submit(kill)
        rows = np.concatenate(list(map_rows(slow_negative, POOL, 100, n_jobs=2)))
        killed.result()
    np.testing.assert_array_equal(rows, -POOL)
    assert victim not in cluster.run(os.getpid).values()
