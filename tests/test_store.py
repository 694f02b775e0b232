"""The database of results."""

import re
import sqlite3

import numpy as np
import pytest

from skvaball.experiments import ResultStore, RunKey

KEY = RunKey("p", "none", "vab", 3)
ENVIRONMENT = {"versions": {"torch": "2"}, "commit": "abc", "hardware": {"cores": 2}}


def entry(round_=0, **values):
    numbers = {
        "accuracy": 0.5,
        "balanced_accuracy": 0.25,
        "macro_f1": 0.125,
        "geometric_mean": 0.0,
        "rare_share": np.nan,
        "query_time": 0.1,
        "train_time": 0.2,
        "peak_memory": 300.0,
        "vae_agreement": np.nan,
        "likelihood_agreement": np.nan,
    }
    lists = {"recalls": np.array([0.1, np.nan]), "class_counts": np.array([3, 0])}
    base = {"round": round_, "n_labeled": 3, "nothing_learned": False}
    return {**base, **numbers, **lists, "queried": np.array([7, 2, 2**40]), **values}


@pytest.fixture
def store(tmp_path):
    store = ResultStore(tmp_path / "new folder" / "r.db")
    store.add_protocol("p", {"title": "P"})
    store.add_run(KEY, 2, {"selector": "vab"})
    return store


def test_a_round_comes_back_as_it_was_stored(store):
    stored = entry(likelihood_agreement=1 / 3, nothing_learned=True)
    store.add_round(KEY, stored, ENVIRONMENT)
    row = ResultStore(store.path).rounds().iloc[0]
    assert tuple(row[list(RunKey._fields)]) == KEY
    for name, value in {**stored, **ENVIRONMENT}.items():
        np.testing.assert_array_equal(row[name], value)
    assert row["queried"].dtype == np.int64


def test_an_empty_store_has_all_columns(tmp_path, store):
    empty = ResultStore(tmp_path / "empty.db")
    store.add_round(KEY, entry(), ENVIRONMENT)
    assert list(empty.rounds().columns) == list(store.rounds().columns)
    assert list(empty.runs().columns) == list(store.runs().columns)
    assert len(empty.rounds()) == len(empty.runs()) == len(empty.gallery()) == 0
    assert empty.protocols() == {}
    assert empty.history(KEY) == []


def test_the_first_result_of_a_round_stays(store):
    store.add_round(KEY, entry(accuracy=0.5), ENVIRONMENT)
    store.add_round(KEY, entry(accuracy=0.9), ENVIRONMENT)
    assert store.rounds()["accuracy"].tolist() == [0.5]


def test_runs_are_finished_when_all_rounds_are_there(store):
    other = RunKey("p", "none", "never started", 0)
    store.add_run(other, 2, {})
    store.add_round(KEY, entry(0), ENVIRONMENT)
    assert store.runs()["finished"].tolist() == [False]
    store.add_round(KEY, entry(1), ENVIRONMENT | {"commit": "def"})
    runs = store.runs()
    assert runs["finished"].tolist() == [True]
    assert runs["n_rounds_done"].tolist() == [2]
    assert runs["commit"].tolist() == ["def"]
    assert runs["config"].tolist() == [{"selector": "vab"}]


def test_history_is_what_the_simulator_goes_on_with(store):
    for round_ in (1, 0):
        store.add_round(KEY, entry(round_, queried=np.array([round_, 9])), ENVIRONMENT)
    history = store.history(KEY)
    assert [item["round"] for item in history] == [0, 1]
    np.testing.assert_array_equal(history[1]["queried"], [1, 9])


def test_strategies_keep_the_order_in_which_they_were_entered(store):
    for strategy, seed in [("zeta", 1), ("alpha", 1), ("vab", 1), ("zeta", 0), ("alpha", 0)]:
        key = RunKey("p", "none", strategy, seed)
        store.add_run(key, 1, {"selector": strategy})
        store.add_round(key, entry(), ENVIRONMENT)
    rounds = store.rounds()
    assert rounds["strategy"].unique().tolist() == ["zeta", "alpha", "vab"]
    assert rounds.query("strategy == 'zeta'")["seed"].tolist() == [0, 1]


def test_pictures_come_back_with_their_terms(store):
    row = {
        "rank": 0,
        "png": b"\x89PNG",
        "true_label": "cat",
        "predicted_label": "dog",
        "likelihood": -3.5,
        "difficulty": 0.5,
        "prior": 0.25,
        "score": 0.125,
    }
    store.add_round(KEY, entry(1), ENVIRONMENT, [row])
    gallery = store.gallery().iloc[0]
    assert tuple(gallery[list(RunKey._fields)]) == KEY
    assert gallery["round"] == 1
    for name, value in row.items():
        assert gallery[name] == value


def test_other_settings_under_a_known_name_are_an_error(store):
    store.add_round(KEY, entry(), ENVIRONMENT)
    store.add_protocol("p", {"title": "P"})
    with pytest.raises(ValueError, match=r"another protocol named 'p': they differ in title, x"):
        store.add_protocol("p", {"title": "Q", "x": 1})
    other = KEY._replace(seed=KEY.seed + 1)
    for key in (KEY, other):  # whatever the seed
        with pytest.raises(ValueError, match=r"'vab' with other settings: lam .* instead of 1"):
            store.add_run(key, 2, {"selector": "vab", "lam": 1})
    with sqlite3.connect(store.path) as connection:
        assert connection.execute("select count(*) from runs").fetchone() == (1,)


def test_a_folder_is_no_store(tmp_path):
    with pytest.raises(OSError, match=re.escape(f"{tmp_path} cannot be read or written")):
        ResultStore(tmp_path)


def test_a_store_from_before_fingerprints_goes_on(store):
    store.add_round(KEY, entry(), ENVIRONMENT)
    store.add_protocol("p", {"title": "P", "fingerprint": "0a"})
    assert store.protocols() == {"p": {"title": "P"}}


def test_what_has_no_round_yet_may_be_corrected(store):
    store.add_protocol("p", {"title": "Q"})
    assert store.protocols() == {"p": {"title": "Q"}}
    store.add_run(KEY, 5, {"selector": "vab", "lam": 1})
    store.add_round(KEY, entry(), ENVIRONMENT)
    run = store.runs().iloc[0]
    assert run["n_rounds"] == 5
    assert run["config"] == {"selector": "vab", "lam": 1}


def test_defaults_that_a_new_version_has_changed_are_other_settings(store):
    key = RunKey("p", "none", "margin", 0)
    store.add_run(key, 2, {"selector": "margin", "defaults": {"draws": 8}})
    store.add_run(key, 2, {"selector": "margin", "defaults": {"draws": 8}})
    store.add_round(key, entry(), ENVIRONMENT)
    with pytest.raises(ValueError, match=r"other settings: draws 8 instead of 32\. Use another"):
        store.add_run(key, 2, {"selector": "margin", "defaults": {"draws": 32}})


def test_a_default_that_is_written_out_is_the_same_setting(store):
    key = RunKey("p", "none", "mine", 0)
    store.add_run(key, 2, {"selector": "vab", "defaults": {"lam": 0.1, "draws": 8}})
    store.add_round(key, entry(), ENVIRONMENT)
    store.add_run(key, 2, {"selector": "vab", "lam": 0.1, "defaults": {"draws": 8}})
    with pytest.raises(ValueError, match=r"lam 0\.1 instead of none\. Use"):
        store.add_run(key, 2, {"selector": "vab", "defaults": {"draws": 8}})
    store.add_round(KEY, entry(), ENVIRONMENT)
    with pytest.raises(ValueError, match="did not record the defaults of its time"):
        store.add_run(KEY, 2, {"selector": "vab", "defaults": {"lam": 0.1}})


def test_tuples_are_the_lists_that_they_become(store):
    key = RunKey("p", "none", "wide", 0)
    for _ in range(2):
        store.add_run(key, 2, {"hidden": (64, 64)})
        store.add_protocol("tuple", {"classes": (1, 2)})


def test_a_file_that_is_no_store_is_refused_and_stays_as_it_is(tmp_path):
    text = tmp_path / "notes.db"
    text.write_text("these are not results, but notes that somebody wants to keep")
    with pytest.raises(ValueError, match=r"notes\.db is not a store of results"):
        ResultStore(text)
    assert text.read_text().startswith("these are not")
    with pytest.raises(FileNotFoundError, match="no store of results"):
        ResultStore(tmp_path / "none.db", must_exist=True)
    assert not (tmp_path / "none.db").exists()


def test_the_database_of_somebody_else_stays_as_it_is(tmp_path):
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as connection:
        connection.execute("create table customers (name text)")
    before = path.read_bytes()
    for must_exist in (True, False):
        with pytest.raises(ValueError, match=r"shop\.db is not a store.*its tables are customers"):
            ResultStore(path, must_exist=must_exist)
    assert path.read_bytes() == before
    # A table that happens to have the name of one of ours.
    with sqlite3.connect(path) as connection:
        connection.execute("create table runs (run_uuid text, name text)")
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"not a store.*its table runs has no .*strategy"):
        ResultStore(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["what?.db", "a#b%20c.db", "a b&c=d.db"])
def test_any_name_of_a_file_is_taken_as_it_is(tmp_path, name):
    ResultStore(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    ResultStore(tmp_path / name, must_exist=True)


def test_it_is_a_plain_sqlite_file(store):
    store.add_round(KEY, entry(), ENVIRONMENT)
    with sqlite3.connect(store.path) as connection:
        assert connection.execute("select n_labeled from rounds").fetchall() == [(3,)]
