"""Runs: what they record, that they are paired, and that nothing is lost when they die."""

import multiprocessing
import os
import random
import signal
import time
import warnings

import numpy as np
import pytest
import torch
from experiment_runs import FAST, RESULTS, assert_same_results, fast_protocol, run
from imblearn.metrics import geometric_mean_score
from joblib import parallel_config
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, recall_score
from sklearn.utils import Bunch
from test_store import ENVIRONMENT, entry

from skvaball.exceptions import NothingLearnedWarning
from skvaball.experiments import ResultStore, RunKey, data, make_split, run_protocol
from skvaball.experiments import runner as runner_module
from skvaball.selectors import MarginSelector

STRATEGIES = ["random", "margin", "small-vab", "galaxy"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder, protocol and store of a run with all kinds of strategies."""
    folder = tmp_path_factory.mktemp("finished")
    protocol = fast_protocol(folder)
    keys = run(protocol, [*STRATEGIES, "oracle", "full"], [0, 1], folder / "r.db")
    return folder, protocol, ResultStore(folder / "r.db"), keys


def test_every_round_of_every_run_is_stored(finished):
    _, _, store, keys = finished
    rounds, runs = store.rounds(), store.runs()
    assert len(keys) == len(set(keys)) == 12
    assert runs["finished"].all()
    counts = rounds.groupby("strategy", sort=False).size()
    assert counts.to_dict() == {**dict.fromkeys([*STRATEGIES, "oracle"], 6), "full": 2}
    part = rounds.query("strategy == 'margin' and seed == 1")
    assert part["n_labeled"].tolist() == [20, 30, 40]
    assert [len(queried) for queried in part["queried"]] == [20, 10, 10]
    assert runs.query("strategy == 'galaxy'")["config"].iloc[0] == {
        "selector": "galaxy",
        "query_size": 1,
        "defaults": {"order": "round_robin"},
    }


def test_scores_are_those_of_a_run_by_hand(finished):
    _, protocol, store, _ = finished
    split = make_split(protocol, 1)
    key = RunKey("fast", "none", "margin", 1)
    strategy = runner_module.find_strategies(protocol, ["margin"])[0]
    settings = runner_module.RunSettings("", None, "cpu", 1, {})
    simulator = runner_module._make_simulator(protocol, key, strategy, settings, 0)
    simulator.fit(split.X_train, split.y_train)
    predicted = simulator.predict(split.X_test)
    row = store.rounds().query("strategy == 'margin' and seed == 1").iloc[-1]
    assert row["accuracy"] == accuracy_score(split.y_test, predicted)
    assert row["balanced_accuracy"] == balanced_accuracy_score(split.y_test, predicted)
    assert row["macro_f1"] == f1_score(split.y_test, predicted, average="macro")
    assert row["geometric_mean"] == pytest.approx(geometric_mean_score(split.y_test, predicted))
    np.testing.assert_allclose(
        row["recalls"], recall_score(split.y_test, predicted, average=None, labels=range(10))
    )
    np.testing.assert_array_equal(row["queried"], simulator.history_[-1]["queried"])
    np.testing.assert_array_equal(row["class_counts"], simulator.history_[-1]["class_counts"])
    assert row["rare_share"] == 1 - row["class_counts"][0] / 40


def test_strategies_are_paired_by_seed(finished):
    start = finished[2].rounds().query("round == 0 and strategy != 'full'")
    for _, rows in start.groupby("seed"):
        assert rows["balanced_accuracy"].nunique() == 1
        for queried in rows["queried"]:
            np.testing.assert_array_equal(queried, rows["queried"].iloc[0])
    assert start.groupby("seed")["balanced_accuracy"].first().nunique() == 2


def test_the_oracle_is_balanced_and_the_full_pool_is_whole(finished):
    _, protocol, store, _ = finished
    rounds = store.rounds()
    oracle = rounds.query("strategy == 'oracle' and round == 2")
    random_ = rounds.query("strategy == 'random' and round == 2")
    for balanced, drawn in zip(oracle["class_counts"], random_["class_counts"], strict=True):
        assert np.ptp(balanced) < np.ptp(drawn)
    full = rounds.query("strategy == 'full'")
    assert full["n_labeled"].tolist() == [
        len(make_split(protocol, seed).y_train) for seed in (0, 1)
    ]
    assert full["round"].tolist() == [0, 0]


def test_origin_and_cost_of_every_round_are_recorded(finished):
    rounds = finished[2].rounds()
    assert (rounds["train_time"] > 0).all()
    assert (rounds.query("round > 0")["query_time"] > 0).all()
    assert rounds["peak_memory"].between(50, 50_000).all()
    for versions in rounds["versions"]:
        assert {"python", "torch", "scikit-learn", "skvaball"} <= set(versions)
    assert rounds["hardware"].iloc[0]["cores"] == os.cpu_count()
    assert rounds["commit"].nunique() == 1


def test_an_autoencoder_that_learned_nothing_is_marked(finished):
    rounds = finished[2].rounds()
    vab = rounds.query("strategy == 'small-vab' and round > 0")
    assert vab["nothing_learned"].any()
    assert vab["vae_agreement"].between(0, 1).all()
    others = rounds.drop(vab.index)
    assert not others["nothing_learned"].any()
    assert others["vae_agreement"].isna().all()


def test_the_gallery_has_the_first_rows_of_vab_with_their_terms(finished):
    _, protocol, store, _ = finished
    gallery = store.gallery()
    assert set(gallery["strategy"]) == {"small-vab"}
    assert len(gallery) == 2 * 2 * 2  # seeds, queries, rows
    assert all(png.startswith(b"\x89PNG") for png in gallery["png"])
    first = gallery.query("seed == 0 and round == 1 and rank == 0").iloc[0]
    rounds = store.rounds().query("strategy == 'small-vab' and seed == 0 and round == 1")
    split = make_split(protocol, 0)
    assert first["true_label"] == split.class_names[split.y_train[rounds["queried"].iloc[0][0]]]
    assert 0 < first["prior"] < 1
    assert 0 < first["difficulty"] < 1
    assert np.isfinite([first["likelihood"], first["score"]]).all()


def test_processes_give_the_same_results(finished, tmp_path):
    _, protocol, store, _ = finished
    run(protocol, [*STRATEGIES, "oracle", "full"], [0, 1], tmp_path / "r.db", n_jobs=2)
    assert_same_results(store, ResultStore(tmp_path / "r.db"))


def test_trainings_are_compared_side_by_side(tmp_path):
    protocol = fast_protocol(tmp_path)
    run(protocol, ["margin"], [0], tmp_path / "r.db", balances=["none", "logit_adjustment"])
    rounds = ResultStore(tmp_path / "r.db").rounds()
    none, adjusted = (rounds.query(f"balance == '{b}'") for b in ("none", "logit_adjustment"))
    assert len(none) == len(adjusted) == 3
    np.testing.assert_array_equal(none["queried"].iloc[0], adjusted["queried"].iloc[0])
    assert not none["accuracy"].equals(adjusted["accuracy"])


def test_warnings_of_a_run_are_shown_and_the_expected_one_is_not(tmp_path, monkeypatch):
    def warn(self, *_):
        warnings.warn("look here", UserWarning, stacklevel=2)
        warnings.warn("nothing", NothingLearnedWarning, stacklevel=2)

    monkeypatch.setattr(MarginSelector, "_fit_pool", warn)
    with pytest.warns(UserWarning, match="look here") as caught:
        run(fast_protocol(tmp_path), ["margin"], [0], tmp_path / "r.db")
    assert not any(issubclass(w.category, NothingLearnedWarning) for w in caught)
    rounds = ResultStore(tmp_path / "r.db").rounds()
    assert rounds["nothing_learned"].tolist() == [False, True, True]


# Errors


def test_results_of_other_settings_are_never_mixed(tmp_path):
    run(fast_protocol(tmp_path), ["random"], [0], tmp_path / "r.db")
    longer = fast_protocol(tmp_path, FAST.replace("max_epochs = 4", "max_epochs = 5"))
    with pytest.raises(ValueError, match=r"another protocol named 'fast': they differ in training"):
        run(longer, ["random"], [0], tmp_path / "r.db")
    run(fast_protocol(tmp_path), ["small-vab"], [0], tmp_path / "r.db")
    other = fast_protocol(tmp_path, FAST.replace("n_draws = 4", "n_draws = 8"))
    with pytest.raises(ValueError, match="'small-vab' with other settings"):
        run(other, ["small-vab"], [0], tmp_path / "r.db")
    assert len(ResultStore(tmp_path / "r.db").rounds()) == 6


def test_seeds_may_be_added_in_any_order(tmp_path, monkeypatch):
    def uneven(protocol, seed, folder=None):
        split = make_split(protocol, seed, folder)
        kept = slice(seed, None)  # the counts of the classes depend on the seed
        return split._replace(X_train=split.X_train[kept], y_train=split.y_train[kept])

    monkeypatch.setattr(runner_module, "make_split", uneven)
    for seed in (7, 0):
        run(fast_protocol(tmp_path), ["random"], [seed], tmp_path / "r.db")
    assert ResultStore(tmp_path / "r.db").runs()["seed"].tolist() == [0, 7]


def test_unknown_balances_are_an_error_before_anything_runs(tmp_path):
    with pytest.raises(ValueError, match=r"\['weights'\] are unknown.*logit_adjustment"):
        run(fast_protocol(tmp_path), ["random"], [0], tmp_path / "r.db", balances=["weights"])
    assert ResultStore(tmp_path / "r.db").protocols() == {}


def test_more_labels_than_rows_are_an_error_before_anything_runs(tmp_path):
    protocol = fast_protocol(tmp_path, FAST.replace("start = 20", "start = 2000"))
    with pytest.raises(ValueError, match=r"starts with 2000 labels .* its data have 401 rows"):
        run(protocol, ["random"], [0], tmp_path / "r.db")
    protocol = fast_protocol(tmp_path, FAST.replace("n = 2", "n = 40"))
    with pytest.raises(ValueError, match=r"40 batches of 10, 420 in all.*data have 401 rows"):
        run(protocol, ["random"], [0], tmp_path / "r.db")
    run(protocol, ["full"], [0], tmp_path / "r.db")  # it buys nothing
    with pytest.raises(ValueError, match="at least one strategy and one seed"):
        run(protocol, [], [0], tmp_path / "r.db")


def test_data_with_fewer_rows_than_are_bought_are_an_error(tmp_path):
    text = FAST.replace("batch = 10", "batch = 200")
    with pytest.raises(ValueError, match=r"420 in all, but its data have 401 rows"):
        run(fast_protocol(tmp_path, text), ["random"], [0], tmp_path / "r.db")


def test_a_seed_with_fewer_rows_than_the_others_is_an_error(tmp_path):
    """With a smaller last batch its curve would end elsewhere, and count for nothing."""
    text = FAST.replace("batch = 10", "batch = 192") + '\n[variant]\nname = "+[2]"\n'
    protocol = fast_protocol(tmp_path, text)
    run(protocol, ["random"], [0], tmp_path / "r.db")
    with pytest.raises(ValueError, match=r"404 in all, but its data have 403 rows for seed 3"):
        run(protocol, ["random"], [1, 3], tmp_path / "r.db")
    assert ResultStore(tmp_path / "r.db").runs()["seed"].tolist() == [0]
    run(protocol, ["full"], [3], tmp_path / "r.db")


def test_a_worker_without_the_store_does_not_make_another_one(tmp_path):
    """Results would be in a place where nobody looks."""
    mine = fast_protocol(tmp_path)
    (strategy,) = runner_module.find_strategies(mine, ["random"])
    key, store = RunKey("fast", "none", "random", 0), tmp_path / "elsewhere" / "r.db"
    settings = runner_module.RunSettings(str(store), None, "cpu", 1, {})
    with pytest.raises(FileNotFoundError, match="no store of results"):
        runner_module._run(mine, key, strategy, settings, wait=False)
    assert not store.exists()


@pytest.mark.parametrize("part", ["images_train", "images_test", "target_train", "target_test"])
def test_results_of_changed_data_are_not_mixed(part, tmp_path, monkeypatch):
    protocol = fast_protocol(tmp_path)
    run(protocol, ["random"], [0], tmp_path / "r.db")

    def changed(*args):
        parts = load_images(*args)
        value = np.array(parts[part])
        value.flat[-1] += 1
        return Bunch(**{**parts, part: value})

    load_images = data._load_images
    monkeypatch.setattr(data, "_load_images", changed)
    with pytest.raises(ValueError, match="'fast' with other data: not the same images"):
        run(protocol, ["random"], [1], tmp_path / "r.db")


def test_the_generators_of_the_caller_stay_as_they_are(tmp_path):
    before = torch.get_rng_state()
    run(fast_protocol(tmp_path), ["random"], [0], tmp_path / "r.db")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ('[strategies.s]\nselector = "margin"\nquery_size = 50', "'s' has query_size = 50"),
        (
            '[strategies.s]\nselector = "margin"\nnetwork = { dropuot = 0.2 }',
            r"mlp does not take .*dropuot",
        ),
        ("[network.params]\nhiden = [3]", r"mlp does not take .*hiden"),
        ("[network.params]\nhidden = [-3]", r"mlp does not take .*-3"),
        ('[strategies.s]\nselector = "full"', "'s' is made of 'full'"),
        ('[strategies.s]\nselector = "oracle"', "'s' is made of 'oracle'"),
    ],
)
def test_what_does_not_fit_is_found_before_anything_is_stored(wrong, message, tmp_path):
    """Not after hours, in the turn of the strategy; and the store is free for what is right."""
    strategies = ["random", "s"] if "strategies.s" in wrong else ["random"]
    with pytest.raises(ValueError, match=message):
        run(fast_protocol(tmp_path, f"{FAST}\n{wrong}\n"), strategies, [0], tmp_path / "r.db")
    store = ResultStore(tmp_path / "r.db")
    assert len(store.rounds()) == 0
    assert store.protocols() == {}


def test_a_run_that_was_stopped_in_its_first_round_may_have_other_settings(tmp_path, monkeypatch):
    class Stopped(Exception):
        pass

    def stop(*args):
        raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(runner_module, "_play", stop)
        with pytest.raises(Stopped):
            run(fast_protocol(tmp_path), ["small-vab"], [0], tmp_path / "r.db")
    other = FAST.replace("n_draws = 4", "n_draws = 8").replace("max_epochs = 4", "max_epochs = 5")
    run(fast_protocol(tmp_path, other), ["small-vab"], [0], tmp_path / "r.db")
    assert ResultStore(tmp_path / "r.db").runs()["finished"].tolist() == [True]


def test_settings_that_another_process_has_entered_meanwhile_are_not_mixed(tmp_path):
    """Two processes enter different settings before either has a round."""
    mine = fast_protocol(tmp_path)
    (strategy,) = runner_module.find_strategies(mine, ["margin"])
    key, store = RunKey("fast", "none", "margin", 0), ResultStore(tmp_path / "r.db")
    content = runner_module._enter(mine, {"margin": strategy}, [key], store, None)
    settings = runner_module.RunSettings(str(store.path), None, "cpu", 1, content)
    other = key._replace(seed=1)
    store.add_run(other, 3, {"selector": "other"})
    store.add_round(other, entry(), ENVIRONMENT)
    with pytest.raises(ValueError, match="'margin' with other settings"):
        runner_module._run(mine, key, strategy, settings, wait=True)


def test_a_protocol_that_another_process_has_entered_meanwhile_is_not_mixed(tmp_path):
    mine = fast_protocol(tmp_path)
    other = fast_protocol(tmp_path, FAST.replace("max_epochs = 4", "max_epochs = 5"))
    (strategy,) = runner_module.find_strategies(mine, ["margin"])
    key, store = RunKey("fast", "none", "margin", 0), ResultStore(tmp_path / "r.db")
    content = runner_module._enter(mine, {"margin": strategy}, [key], store, None)
    settings = runner_module.RunSettings(str(store.path), None, "cpu", 1, content)
    run(other, ["random"], [0], store.path)
    with pytest.raises(ValueError, match=r"another protocol named 'fast': they differ in training"):
        runner_module._run(mine, key, strategy, settings, wait=True)


def test_the_data_may_be_named_from_where_one_stands(tmp_path, monkeypatch):
    """The workers of a cluster stand elsewhere."""
    monkeypatch.chdir(tmp_path)
    seen = []
    monkeypatch.setattr(runner_module, "_enter", lambda *args: seen.append(args[-1]))
    monkeypatch.setattr(runner_module, "Parallel", lambda **_: lambda tasks: [])
    list(
        run_protocol(fast_protocol(tmp_path), ["random"], [0], ResultStore("r.db"), folder="neu64")
    )
    assert seen == [str(tmp_path.resolve() / "neu64")]


# Interruptions


def _run_in_child(protocol, path):
    for _ in run_protocol(protocol, STRATEGIES, [0, 1], ResultStore(path)):
        pass


def _start(target, *arguments):
    # Forked, so that it need not import torch anew: it begins at once.
    process = multiprocessing.get_context("fork").Process(target=target, args=arguments)
    process.start()
    return process


@pytest.mark.slow
def test_killed_at_any_moment_and_resumed_a_run_ends_as_an_undisturbed_one(finished, tmp_path):
    protocol = finished[1]
    path = tmp_path / "r.db"
    begin = time.monotonic()
    run(protocol, STRATEGIES, [0, 1], tmp_path / "timed.db")
    whole = time.monotonic() - begin
    moments = random.Random(0)
    before = kills = 0
    for _ in range(20):
        process = _start(_run_in_child, protocol, path)
        process.join(moments.uniform(0, whole / 8))
        if process.is_alive():
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        process.join()
        # What was stored stays: a kill costs the round in progress, and no more.
        done = len(ResultStore(path).rounds())
        assert done >= before
        before = done
    assert kills >= 10
    run(protocol, STRATEGIES, [0, 1], path)
    undisturbed = ResultStore(tmp_path / "timed.db")
    assert_same_results(ResultStore(path), undisturbed)


def _rounds_of_strategies(store):
    """The results of STRATEGIES in a store that may have those of others, in one order."""
    rounds = store.rounds().query("strategy in @STRATEGIES")
    return rounds.sort_values(RESULTS[:5], ignore_index=True)[RESULTS]


def test_two_processes_share_a_store_and_the_work(finished, tmp_path):
    _, protocol, store, _ = finished
    path = tmp_path / "r.db"
    processes = [_start(_run_in_child, protocol, path) for _ in range(2)]
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    assert len(ResultStore(path).rounds()) == len(STRATEGIES) * 2 * 3
    assert _rounds_of_strategies(ResultStore(path)).equals(_rounds_of_strategies(store))


def test_threads_of_one_process_give_the_same_results(finished, tmp_path):
    # Whether the autoencoder learned nothing is told by a warning, and warnings belong to the
    # process: at once, one run was told of the other's.
    _, protocol, store, _ = finished
    path = tmp_path / "r.db"
    with parallel_config(backend="threading"):
        run(protocol, STRATEGIES, [0, 1], path, n_jobs=2)
    expected = _rounds_of_strategies(store)
    assert expected["nothing_learned"].any()
    assert _rounds_of_strategies(ResultStore(path)).equals(expected)


def test_a_run_stays_on_its_worker(tmp_path):
    # Parts of it that went to the cluster made its worker begin another run meanwhile.
    distributed = pytest.importorskip("distributed", reason='needs the extra "dask"')
    protocol = fast_protocol(tmp_path)
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster),
        parallel_config(backend="dask"),
        distributed.get_task_stream() as tasks,
    ):
        run(protocol, ["margin", "small-vab"], [0], tmp_path / "r.db", n_jobs=-1)
    assert {task["key"].rpartition("-")[0] for task in tasks.data} == {"batch_of__run_1_calls"}


@pytest.mark.slow
def test_a_dask_cluster_gives_the_same_results_also_when_a_worker_dies(finished, tmp_path):
    distributed = pytest.importorskip("distributed", reason='needs the extra "dask"')
    protocol = finished[1]
    path = tmp_path / "r.db"
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
        parallel_config(backend="dask"),
    ):
        runs = run_protocol(protocol, STRATEGIES, [0, 1], ResultStore(path), n_jobs=-1)
        keys = [next(runs)]
        victim = next(iter(client.run(os.getpid).values()))
        os.kill(victim, signal.SIGKILL)
        keys += list(runs)
    assert sorted(keys) == sorted(set(keys))
    assert len(keys) == len(STRATEGIES) * 2
    reference = tmp_path / "reference.db"
    run(protocol, STRATEGIES, [0, 1], reference)
    assert_same_results(ResultStore(path), ResultStore(reference))
