"""Protocols, strategies and data of experiments, the demo and the command."""

import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from experiment_runs import FAST, RESULTS, assert_same_results, fast_protocol, run
from joblib import Memory
from real_data import real_data
from skimage.io import imsave
from sqlalchemy.exc import OperationalError
from typer.testing import CliRunner

import skvaball
from skvaball import VaBQuerySelector, cli
from skvaball.datasets.neu import NEU_CLASSES
from skvaball.experiments import (
    ResultStore,
    area_under_curve,
    curve_areas,
    data,
    demo,
    find_strategies,
    load_protocol,
    make_split,
    shipped_protocols,
)
from skvaball.experiments import runner as runner_module
from skvaball.experiments.data import balanced_positions, hog_features, load_parts
from skvaball.experiments.strategies import make_selector
from skvaball.networks import DeepClassifier

# Protocols


@pytest.mark.parametrize("name", shipped_protocols())
def test_every_shipped_protocol_can_be_loaded_and_its_strategies_found(name):
    protocol = load_protocol(name)
    assert protocol.name == name
    for strategy in find_strategies(protocol, ["random", "vab", *protocol.strategies]):
        make_selector(strategy)
    assert runner_module.make_classifier(protocol, "none").module is not None


@pytest.mark.parametrize(
    ("name", "variant", "n_rounds", "batch"),
    [
        ("neu", "none", 5, 250),
        ("cifar10", "none", 6, 500),
        ("cifar10-dominant-1", "+[1]", 6, 500),
        ("cifar10-dominant-5", "+[5]", 6, 500),
        ("cifar10-dominant-10", "+[10]", 6, 500),
        ("cifar10-rare-1", "-[1]", 6, 500),
        ("cifar10-rare-5", "-[5]", 6, 500),
        ("cifar10-rare-10", "-[10]", 6, 500),
        ("cifar10-dominant-1-resnet34", "+[1]", 6, 500),
        ("cifar100", "none", 5, 1000),
        ("cifar100-dominant-45-55", "+[45:55]", 5, 1000),
    ],
)
def test_protocols_of_the_paper_have_its_settings(name, variant, n_rounds, batch):
    protocol = load_protocol(name)
    assert protocol.variant.name == variant
    assert (protocol.rounds.n + 1, protocol.rounds.batch) == (n_rounds, batch)
    assert protocol.rounds.start == batch
    training = protocol.training
    assert (training.optimizer, training.lr, training.momentum) == ("sgd", 0.1, 0.9)
    assert (training.weight_decay, training.batch_size) == (5e-4, 128)
    assert (training.max_epochs, training.milestones) == (200, (160,))
    assert training.augment == "crop_flip"
    kind = "resnet34" if name.endswith("resnet34") else "resnet18"
    assert protocol.network.kind == kind


def test_cheaper_families_cover_the_variants():
    names = shipped_protocols()
    for variant in ("dominant-1", "dominant-5", "dominant-10", "rare-1", "rare-5", "long-tailed"):
        for family in ("small", "features"):
            assert f"cifar10-{variant}-{family}" in names
    assert {"neu-small", "neu-features", "digits"} <= set(names)


@pytest.mark.parametrize("family", ["", "-features"])
def test_ablations_switch_the_terms_and_sweep_lam_and_budget(family):
    protocol = load_protocol(f"cifar10-dominant-1{family}-ablations")
    params = [strategy.params for strategy in protocol.strategies.values()]
    switches = [(p["use_prior"], p["use_difficulty"]) for p in params if "use_prior" in p]
    assert sorted(switches) == [(False, False), (False, True), (True, False), (True, True)]
    assert {p["activity"] for p in params if "activity" in p} == {"square", "abs", "sigmoid"}
    lams = [p["lam"] for p in params if "lam" in p]
    assert (min(lams), max(lams)) == (0.0, 1.0)
    for batch in (250, 1000):
        rounds = load_protocol(f"cifar10-dominant-1{family}-batch-{batch}").rounds
        assert rounds.start + rounds.n * rounds.batch == 3000


def test_a_file_extends_a_shipped_protocol(tmp_path):
    protocol = fast_protocol(tmp_path)
    assert protocol.name == "fast"
    assert protocol.training.max_epochs == 4
    assert protocol.training.lr == load_protocol("digits").training.lr
    assert {"small-vab", "vab-top"} <= set(protocol.strategies)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("title = ", ["not TOML"]),
        ('extends = "digits"\nepochs = 3', ["epochs", "3"]),
        ('extends = "digits"\n[rounds]\nbatch = 0', ["rounds.batch", "greater than or equal to 1"]),
        ('title = "no data"', ["data", "network", "rounds", "required"]),
        ('extends = "digits"\n[data]\nfeatures = "hog"\n[network]\nkind = "resnet18"', ["hog"]),
        ('extends = "digits"\n[training]\naugment = "crop_flip"', ["crop_flip", "images"]),
    ],
)
def test_bad_protocols_name_the_entry(tmp_path, text, words):
    with pytest.raises(ValueError, match="The protocol fast") as caught:
        fast_protocol(tmp_path, text)
    for word in words:
        assert word in str(caught.value)


def test_unknown_protocols_name_those_that_are_shipped(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no protocol 'digit'.*cifar10-small.*digits"):
        load_protocol("digit")
    with pytest.raises(FileNotFoundError, match="There is no file"):
        load_protocol(tmp_path / "none.toml")


# Strategies


def test_strategies_come_from_the_protocol_or_from_the_list(tmp_path):
    protocol = fast_protocol(tmp_path)
    own, paper, galaxy, bald = find_strategies(
        protocol, ["small-vab", "vab-paper", "galaxy", "bald"]
    )
    assert make_selector(own).get_params()["n_draws"] == 4
    assert {**own.config, "defaults": {}} == {"selector": "vab", **own.params, "defaults": {}}
    assert own.config["defaults"]["posterior"] == "surprise"  # as it was when it ran
    assert "n_draws" not in own.config["defaults"]  # given
    assert not {"device", "n_jobs", "estimator"} & set(own.config["defaults"])
    assert make_selector(paper).get_params() == VaBQuerySelector.from_paper().get_params()
    assert galaxy.query_size == 1  # a twentieth of 10, at least 1
    assert bald.config["network"] == {"dropout": 0.25}


def test_unknown_strategies_and_parameters_are_named(tmp_path):
    protocol = fast_protocol(tmp_path)
    with pytest.raises(ValueError, match=r"no strategy 'entropie'.*entropy.*small-vab"):
        find_strategies(protocol, ["entropie"])
    wrong = fast_protocol(
        tmp_path, FAST + '\n[strategies.wrong]\nselector = "margin"\nparams = { lam = 1 }\n'
    )
    with pytest.raises(ValueError, match=r"'wrong' has parameters that do not fit: .*lam"):
        find_strategies(wrong, ["wrong"])
    # Before anything is trained and entered: a typo must not spoil the store.
    for params in (
        'posterior = "no"',
        'posterior = "normalized", use_difficulty = false',
        "posterior = 'normalized', hidden = []",
    ):
        bad = fast_protocol(
            tmp_path, FAST + f'\n[strategies.bad]\nselector = "vab"\nparams = {{ {params} }}\n'
        )
        with pytest.raises(ValueError, match="'bad' has parameters that do not fit: "):
            find_strategies(bad, ["bad"])


@pytest.mark.parametrize("n", [1, 7, 30, 60])
def test_the_oracle_keeps_the_class_counts_as_close_as_the_pool_allows(n):
    labeled = np.repeat([0, 1, 2], [9, 2, 0])
    pool = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [40, 15, 5]))
    chosen = balanced_positions(labeled, pool, n, seed=0)
    assert len(np.unique(chosen)) == n
    counts = np.bincount(labeled, minlength=3) + np.bincount(pool[chosen], minlength=3)
    left = np.bincount(pool, minlength=3) - np.bincount(pool[chosen], minlength=3)
    # A class has more labels than another only if it began with them or the other is used up.
    for high in np.flatnonzero(np.bincount(pool[chosen], minlength=3)):
        for low in np.flatnonzero(left):
            assert counts[high] <= counts[low] + 1


def test_the_oracle_draws_at_random_inside_a_class():
    pool = np.zeros(100, dtype=int)
    draws = [balanced_positions(np.zeros(0), pool, 10, seed) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert set(draws[0].tolist()) != set(draws[2].tolist())


# Data


def test_split_of_digits_has_the_variant_and_its_rare_classes():
    split = make_split(load_protocol("digits"), 0)
    counts = np.bincount(split.y_train)
    assert counts[0] > 4 * counts[1:].max()
    assert split.rare == list(range(1, 10))
    assert split.X_train.dtype == np.float32
    assert split.images.shape == (len(split.y_train), 1, 8, 8)
    assert np.ptp(np.bincount(split.y_test)) <= 3
    other = make_split(load_protocol("digits"), 1)
    assert not np.array_equal(split.X_test, other.X_test)


def test_test_rows_are_drawn_evenly_and_stay_the_same(tmp_path):
    text = 'extends = "digits"\n[data]\ntest_rows = 100\n[variant]\nname = "none"'
    split = make_split(fast_protocol(tmp_path, text), 0)
    assert np.bincount(split.y_test).tolist() == [10] * 10
    np.testing.assert_array_equal(split.X_test, make_split(fast_protocol(tmp_path, text), 0).X_test)
    assert split.rare == []


def test_rare_classes_can_be_named_counted_from_1(tmp_path):
    text = 'extends = "digits"\n[metrics]\nrare = [1, 10]'
    assert make_split(fast_protocol(tmp_path, text), 0).rare == [0, 9]


@pytest.mark.parametrize("rare", ["[0]", "[2, 2]", "[11]"])
def test_rare_classes_that_are_not_there_are_an_error(rare, tmp_path):
    text = f'extends = "digits"\n[metrics]\nrare = {rare}'
    with pytest.raises(ValueError, match=r"metrics\.rare.*got|the data have the classes 1 to 10"):
        make_split(fast_protocol(tmp_path, text), 0)


def test_a_folder_that_has_changed_is_read_again(tmp_path, monkeypatch):
    """Also if the change is in a folder inside of it, or in a file that stays."""
    monkeypatch.setattr(data, "_memory", lambda: Memory(tmp_path / "cache", verbose=0))
    folder = tmp_path / "neu64"
    rng = np.random.default_rng(0)

    def write(name, i):
        (folder / name).mkdir(parents=True, exist_ok=True)
        imsave(folder / name / f"{i}.png", rng.integers(0, 256, (64, 64), dtype=np.uint8))

    for name in NEU_CLASSES:
        for i in range(5):
            write(name, i)

    def images():
        parts = load_parts(load_protocol("neu-small"), 0, folder)
        return np.concatenate([parts.images_train, parts.images_test])

    assert len(images()) == 45
    write(NEU_CLASSES[0], 5)
    before = images()
    assert len(before) == 46
    write(NEU_CLASSES[0], 5)
    assert not np.array_equal(images(), before)
    # Results, caches and links to nowhere may lie beside the images.
    stamp = data._stamp(str(folder))
    (folder / "results.db").write_bytes(b"1")
    (folder / NEU_CLASSES[0] / "broken.png").symlink_to("nowhere")
    assert data._stamp(str(folder)) == stamp
    no_utf8 = os.fsencode(folder / "caf") + b"\xe9.png"
    os.close(os.open(no_utf8, os.O_CREAT))
    assert data._stamp(str(folder)) != stamp
    os.remove(no_utf8)
    archive = Path(shutil.make_archive(str(tmp_path / "neu64"), "zip", folder))
    stamp = data._stamp(str(archive))
    archive.write_bytes(archive.read_bytes() + b" ")
    assert data._stamp(str(archive)) != stamp


def test_gradient_histograms_are_those_of_scikit_image():
    from skimage.feature import hog

    images = np.random.default_rng(0).integers(0, 256, (3, 3, 32, 32), dtype=np.uint8)
    features = hog_features(images)
    assert features.shape == (3, 324)
    expected = hog(
        np.moveaxis(images[1], 0, -1),
        pixels_per_cell=(8, 8),
        cells_per_block=(2, 2),
        channel_axis=-1,
    )
    np.testing.assert_allclose(features[1], expected, rtol=1e-6)


def test_features_of_steel_defects_have_their_natural_imbalance():
    split = make_split(load_protocol("neu-features"), 0, real_data("neu64"))
    assert split.X_train.shape == (5778, 324)
    assert [split.class_names[k] for k in split.rare] == ["gg", "rp", "sp"]
    assert split.images.shape == (5778, 1, 64, 64)


# Areas


def test_areas_are_per_strategy_and_seed(tmp_path):
    run(fast_protocol(tmp_path), ["random", "margin"], [0, 1], tmp_path / "r.db")
    results = ResultStore(tmp_path / "r.db").rounds()
    areas = curve_areas(results)
    curve = results.query("strategy == 'margin' and seed == 1")
    expected = area_under_curve(
        curve["n_labeled"].to_numpy(), curve["balanced_accuracy"].to_numpy()
    )
    assert areas.loc[1, "margin"] == expected
    assert list(areas.columns) == ["random", "margin"]


# The command


def test_table_has_mean_and_spread_of_each_round(tmp_path):
    run(fast_protocol(tmp_path), ["random", "margin"], [0, 1], tmp_path / "r.db")
    results = ResultStore(tmp_path / "r.db").rounds()
    table = cli.summary_table(results)
    assert [str(column.header) for column in table.columns] == ["labels", "random", "margin"]
    last = results.query("strategy == 'random' and n_labeled == 40")["balanced_accuracy"] * 100
    cell = list(table.columns[1].cells)[2]
    assert cell == f"{last.mean():.1f} ± {last.std():.1f}"


def _invoke(*arguments):
    return CliRunner(env={"COLUMNS": "120"}).invoke(
        cli.app, [str(argument) for argument in arguments]
    )


def test_demo_writes_a_table_and_a_picture(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "STRATEGIES", ("random", "margin"))
    picture = tmp_path / "new" / "demo.png"
    result = _invoke("demo", "--seeds", 1, "--jobs", 1, "--output", picture)
    assert result.exit_code == 0, result.output
    assert "margin" in result.output
    assert "area" in result.output
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_demo_compares_the_four_strategies():
    assert demo.STRATEGIES == ("random", "entropy", "margin", "vab")


def test_run_adds_to_the_store_and_runs_nothing_twice(tmp_path, monkeypatch):
    fast_protocol(tmp_path)
    options = [
        tmp_path / "fast.toml",
        "--strategy",
        "random",
        "--strategy",
        "margin",
        "--store",
        tmp_path / "new" / "r.db",
    ]
    result = _invoke("run", *options, "--seeds", "0:2")
    assert result.exit_code == 0, result.output
    store = ResultStore(tmp_path / "new" / "r.db")
    before = store.rounds()
    assert len(before) == 2 * 2 * 3
    monkeypatch.setattr(DeepClassifier, "fit", lambda *_: pytest.fail("was run before"))
    assert _invoke("run", *options, "--seeds", "0,1").exit_code == 0
    assert store.rounds()[RESULTS].equals(before[RESULTS])


@pytest.mark.slow
def test_a_cluster_does_the_runs(tmp_path):
    distributed = pytest.importorskip("distributed", reason='needs the extra "dask"')
    fast_protocol(tmp_path)
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        result = _invoke(
            "run",
            tmp_path / "fast.toml",
            "--strategy",
            "random",
            "--seeds",
            "0:2",
            "--store",
            tmp_path / "r.db",
            "--cluster",
            cluster.scheduler_address,
        )
    assert result.exit_code == 0, result.output
    run(fast_protocol(tmp_path), ["random"], [0, 1], tmp_path / "here.db")
    assert_same_results(ResultStore(tmp_path / "r.db"), ResultStore(tmp_path / "here.db"))


def test_run_without_strategies_takes_those_of_the_protocol(tmp_path, monkeypatch):
    fast_protocol(tmp_path)
    asked = []
    monkeypatch.setattr(cli, "_run_all", lambda protocol, names, *_, **__: asked.extend(names))
    store = tmp_path / "r.db"
    assert _invoke("run", tmp_path / "fast.toml", "--store", store).exit_code == 0
    assert asked[0] == "random"
    assert "small-vab" in asked
    result = _invoke("run", "cifar10-small", "--store", store)
    assert "--strategy random" in str(result.exception)


def test_report_prints_a_table_and_writes_the_page(tmp_path):
    store = tmp_path / "r.db"
    run(fast_protocol(tmp_path), ["random", "margin"], range(5), store)
    page = tmp_path / "new" / "page.html"
    result = _invoke("report", store, "--output", page)
    assert result.exit_code == 0, result.output
    areas = 100 * curve_areas(ResultStore(store).rounds())
    assert f"{areas['margin'].mean():.1f} ± {areas['margin'].std():.1f}" in result.output
    assert f"{(areas['margin'] - areas['random']).mean():+.1f} (" in result.output
    assert page.read_text().startswith("<!DOCTYPE html>")


def test_report_of_a_store_that_is_not_there_says_so(tmp_path):
    result = _invoke("report", tmp_path / "none.db")
    assert "no store of results" in str(result.exception)


@pytest.mark.parametrize("seeds", ["", "3:3", "a", "1:2:3", "0..3", "-1:1"])
def test_bad_seeds_are_named(seeds, tmp_path):
    result = _invoke("run", "digits", f"--seeds={seeds}", "--store", tmp_path / "r.db")
    assert "names no seed" in str(result.exception)
    assert "0:10" in str(result.exception)


def test_bad_balance_names_the_known_ones(tmp_path):
    result = _invoke("run", "digits", "--balance", "weights", "--store", tmp_path / "r.db")
    assert "logit_adjustment" in str(result.exception)


def test_version_is_printed():
    assert _invoke("--version").output == f"skvaball {skvaball.__version__}\n"


def test_an_error_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["skvaball", "demo", "--output", "/dev/null/no/demo.png"])
    monkeypatch.setattr(cli, "_run_all", lambda *_, **__: pytest.fail("ran before the check"))
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert "/dev/null" in str(stopped.value)
    assert "--debug" in str(stopped.value)


def test_an_error_of_the_database_is_one_line(monkeypatch, capsys, tmp_path):
    def locked(*_, **__):
        raise OperationalError("INSERT INTO rounds\nVALUES (?)", [1], Exception("disk is full"))

    monkeypatch.setattr("sys.argv", ["skvaball", "run", "digits", f"--store={tmp_path}/r.db"])
    monkeypatch.setattr(cli, "_run_all", locked)
    monkeypatch.setattr("sys.argv", [*sys.argv, "--strategy=random"])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert str(stopped.value) == "skvaball: disk is full (--debug shows where)"


def test_a_report_does_not_overwrite_its_store(tmp_path):
    ResultStore(tmp_path / "r.db")
    result = _invoke("report", tmp_path / "r.db", "--output", tmp_path / "x" / ".." / "r.db")
    assert "is the store itself" in str(result.exception)


def test_brackets_in_names_are_shown(tmp_path):
    """Not taken for rich's markup."""
    text = FAST.replace("[strategies.small-vab]", '[strategies."vab[lam=1]"]')
    fast_protocol(tmp_path, text)
    options = ["--seeds=0:1", f"--store={tmp_path}/r.db"]
    assert _invoke("run", tmp_path / "fast.toml", *options).exception is None
    result = _invoke("report", tmp_path / "r.db", "--output", tmp_path / "r.html")
    assert "vab[lam=1]" in result.output


@pytest.mark.parametrize("output", ["demo.foo", "demo", "."])
def test_a_demo_without_a_place_for_its_picture_does_not_run(output, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["skvaball", "demo", "--output", output])
    monkeypatch.setattr(cli, "_run_all", lambda *_, **__: pytest.fail("ran before the check"))
    with pytest.raises(SystemExit, match=r"ends in one of: .*png"):
        cli.main()


def test_without_the_packages_for_experiments_the_extra_is_named(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("skvaball.experiments")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    monkeypatch.setattr("sys.argv", ["skvaball", "run", "digits"])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert "needs sqlalchemy, which is not installed" in str(stopped.value)
    assert 'pip install "skvaball[experiments]"' in str(stopped.value)
