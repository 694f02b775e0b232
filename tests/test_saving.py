"""Saved learners: the same after loading, and nothing in a hostile file is run."""

import hashlib
import io
import json
import pickle
import sys
import zipfile
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse as sp
import torch
from imblearn.over_sampling import RandomOverSampler
from imblearn.pipeline import make_pipeline as make_sampling_pipeline
from sklearn.base import BaseEstimator
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction import DictVectorizer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from skorch import NeuralNetClassifier
from skorch.callbacks import EarlyStopping
from torch import nn

from skvaball import ActiveLearner, VaBQuerySelector, saving
from skvaball.exceptions import SavedFileError
from skvaball.networks import DeepClassifier
from skvaball.selectors import (
    ClassBalancedSelector,
    EntropySelector,
    LearningLossSelector,
    MarginSelector,
    VAALSelector,
)

skops_io = pytest.importorskip("skops.io")

pytestmark = pytest.mark.filterwarnings("ignore::skvaball.exceptions.NothingLearnedWarning")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(80, 6)).astype(np.float32)
y = np.array(["no", "yes", "maybe"])[(X[:, 0] > 0).astype(int) + (X[:, 1] > 0.8)]
IMAGES = RNG.normal(size=(80, 1, 8, 8)).astype(np.float32)


class TinyNet(nn.Module):
    """A user's module, out of none of the trusted libraries."""

    def __init__(self, n_inputs=6, n_classes=3):
        super().__init__()
        self.linear = nn.Linear(n_inputs, n_classes)

    def forward(self, X):
        return self.linear(X)


class OwnNet(NeuralNetClassifier):
    """A user's net; skorch's __setstate__ unpickles."""


class OwnClassifier(LogisticRegression):
    """A user's classifier."""


def vab(**params):
    small = {"max_epochs": 2, "n_draws": 4, "n_units": 8, "hidden": (8,), "block_size": 3}
    return VaBQuerySelector(**{**small, **params})


def deep(**params):
    return DeepClassifier(**{"max_epochs": 2, "module_params": {"hidden": (8,)}, **params})


def skorch_net():
    return NeuralNetClassifier(
        TinyNet,
        criterion=nn.CrossEntropyLoss,
        max_epochs=2,
        verbose=0,
        callbacks=[EarlyStopping()],
    )


def learner(estimator=None, selector=None, **params):
    estimator = LogisticRegression() if estimator is None else estimator
    selector = MarginSelector() if selector is None else selector
    return ActiveLearner(estimator, selector, **{"random_state": 0, **params})


def roundtrip(saved, path, **options):
    saved.save(path, **options)
    return ActiveLearner.load(path, **options)


def assert_same(one, other, X=X, y=y):
    """Predictions, queries and what is taught next are equal to the last bit."""
    np.testing.assert_array_equal(one.predict_proba(X), other.predict_proba(X))
    for _ in range(2):
        (a, scores), (b, others) = (
            each.query(X[40:70], 5, return_scores=True) for each in (one, other)
        )
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(scores, others)
    for each in (one, other):
        each.teach(X[40:50], y[40:50])
    np.testing.assert_array_equal(one.predict_proba(X), other.predict_proba(X))


# The same after loading

LEARNERS = {
    "linear": lambda: learner(),
    "linear, VaB-AL": lambda: learner(selector=vab()),
    "deep, VaB-AL": lambda: learner(deep(), vab()),
    "deep, warm": lambda: learner(deep(schedule="cosine"), warm_start=True),
    "sgd, logit adjustment": lambda: learner(
        deep(optimizer="sgd", milestones=(1,), balance="logit_adjustment")
    ),
    "pipeline": lambda: learner(make_pipeline(StandardScaler(), deep()), vab()),
    "sampler": lambda: learner(
        make_sampling_pipeline(RandomOverSampler(random_state=0), LogisticRegression())
    ),
    "calibrated": lambda: learner(CalibratedClassifierCV(deep(), cv=2)),
    "random state": lambda: learner(random_state=np.random.RandomState(3)),
    "other networks": lambda: learner(deep(), VAALSelector(max_iter=3)),
    "learning loss": lambda: learner(deep(), LearningLossSelector(max_epochs=2)),
    "nested selector": lambda: learner(deep(), ClassBalancedSelector(EntropySelector())),
}


@pytest.mark.parametrize("name", LEARNERS)
def test_predictions_and_queries_are_the_same_bits(name, tmp_path):
    saved = LEARNERS[name]().fit(X[:40], y[:40])
    saved.query(X[40:], 5)
    loaded = roundtrip(saved, tmp_path / "learner")
    np.testing.assert_array_equal(
        loaded.selector_.score_samples(X), saved.selector_.score_samples(X)
    )
    assert_same(saved, loaded)


def test_images_keep_their_memory_format(tmp_path):
    network = DeepClassifier(max_epochs=1, channels_last=True)
    saved = learner(network).fit(IMAGES[:40], y[:40])
    loaded = roundtrip(saved, tmp_path / "learner")
    weights = [each.estimator_.net_.module_.state_dict() for each in (saved, loaded)]
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name])
        assert value.stride() == weights[1][name].stride()
    np.testing.assert_array_equal(saved.predict_proba(IMAGES), loaded.predict_proba(IMAGES))


def test_an_unfitted_learner_is_saved(tmp_path):
    loaded = roundtrip(learner(deep(), vab(lam=0.25)), tmp_path / "learner")
    assert not hasattr(loaded, "estimator_")
    assert loaded.selector.lam == 0.25
    fitted = (each.fit(X[:40], y[:40]) for each in (loaded, learner(deep(), vab(lam=0.25))))
    assert_same(*fitted)


def test_what_is_shared_stays_shared(tmp_path):
    saved = learner(deep(), vab()).fit(X[:40], y[:40])
    saved.query(X[40:], 5)
    loaded = roundtrip(saved, tmp_path / "learner")
    assert loaded.selector_.estimator_ is loaded.estimator_
    assert loaded.selector_._reader.net is loaded.estimator_.net_
    parameters = list(loaded.estimator_.net_.module_.parameters())
    assert loaded.estimator_.net_.optimizer_.param_groups[0]["params"][0] is parameters[0]
    assert loaded.estimator_.net_.history == saved.estimator_.net_.history


def test_a_fitted_selector_as_template_is_saved(tmp_path):
    partly = np.where(np.arange(80) < 40, y, None)
    selector = vab(estimator=LogisticRegression().fit(X[:40], y[:40]), random_state=0)
    saved = learner(selector=selector.fit(X, partly)).fit(X[:40], y[:40])
    loaded = roundtrip(saved, tmp_path / "learner")
    np.testing.assert_array_equal(loaded.selector.score_samples(X), selector.score_samples(X))
    assert_same(saved, loaded)


def test_rows_of_every_kind_are_saved(tmp_path):
    for kind in (sp.csr_array, sp.csr_matrix):
        sparse = kind(X.astype(np.float64))
        rows = learner().fit(sparse[:40], y[:40])
        loaded = roundtrip(rows, tmp_path / "sparse")
        assert type(loaded.X_labeled_) is kind
        assert_same(rows, loaded, sparse)

    texts = np.array([f"{'good' if label == 'yes' else 'bad'} {label}" for label in y])
    words = learner(make_pipeline(TfidfVectorizer(), LogisticRegression()))
    words.fit(list(texts[:40]), y[:40])
    assert_same(words, roundtrip(words, tmp_path / "texts"), texts)

    memory = np.memmap(tmp_path / "rows", np.float32, "w+", shape=X.shape)
    memory[:] = X
    mapped = learner().fit(memory, y)
    np.testing.assert_array_equal(roundtrip(mapped, tmp_path / "memmap").X_labeled_, X)


def test_data_frames_are_saved_by_column(tmp_path):
    frame = pd.DataFrame({"a": X[:, 0], "b": X[:, 1] > 0, "c": np.where(X[:, 2] > 0, "x", "y")})
    columns = make_column_transformer((OneHotEncoder(), ["c"]), remainder="passthrough")
    saved = learner(make_pipeline(columns, LogisticRegression())).fit(frame[:40], y[:40])
    loaded = roundtrip(saved, tmp_path / "learner")
    pd.testing.assert_frame_equal(loaded.X_labeled_, saved.X_labeled_)
    np.testing.assert_array_equal(loaded.predict_proba(frame), saved.predict_proba(frame))
    loaded.teach(frame[40:50], y[40:50])

    categories = frame.astype({"c": "category"})
    saved.fit(categories[:40], y[:40])
    with pytest.raises(ValueError, match=r"column 'c'.*type category.*Convert it"):
        saved.save(tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_what_else_holds_columns_or_texts_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"polars.*data frame of pandas, on an array"):
        learner().fit(pl.DataFrame(X), y).save(tmp_path / "other")
    table = pa.table({str(i): column for i, column in enumerate(X.T)})
    with pytest.raises(ValueError, match=r"pyarrow.*data frame of pandas, on an array"):
        learner().fit(table.slice(0, 40), y[:40]).save(tmp_path / "other")
    texts = pd.DataFrame({"text": ["good day", "bad day", "fine", "poor"]})["text"]
    of_texts = learner(make_pipeline(TfidfVectorizer(), LogisticRegression()))
    of_texts.fit(texts, [1, 0, 1, 0])
    with pytest.raises(ValueError, match=r"Series.*if the rows are texts, on a list"):
        of_texts.save(tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_columns_may_be_numbered(tmp_path):
    saved = learner().fit(pd.DataFrame(X[:40]), y[:40])
    loaded = roundtrip(saved, tmp_path / "learner")
    assert loaded.X_labeled_.columns.tolist() == list(range(X.shape[1]))
    pd.testing.assert_frame_equal(loaded.X_labeled_, saved.X_labeled_, check_column_type=False)
    loaded.teach(pd.DataFrame(X[40:50]), y[40:50])
    odd = learner().fit(pd.DataFrame(X[:40]).rename(columns=lambda i: (i, "x")), y[:40])
    with pytest.raises(ValueError, match=r"cannot be saved.*column \(0, 'x'\).*Rename"):
        odd.save(tmp_path / "odd")


def test_the_device_may_be_another_one_after_loading(tmp_path, monkeypatch):
    saved = learner(deep(), vab()).fit(X[:40], y[:40])
    saved.query(X[40:], 5)
    saved.save(tmp_path / "learner")
    loaded = ActiveLearner.load(tmp_path / "learner", device="meta")
    assert loaded.estimator.device == loaded.estimator_.device == "meta"
    assert loaded.selector.device == "meta"
    assert loaded.estimator_.net_.device == "meta"
    assert loaded.estimator_.net_.iterator_train__device == "meta"
    assert {p.device.type for p in loaded.selector_.vae_.module_.parameters()} == {"meta"}
    with pytest.raises(SavedFileError, match=r"for the device cuda:99.*device='cpu'"):
        ActiveLearner.load(tmp_path / "learner", device="cuda:99")


@pytest.mark.parametrize("name", ["linear", "deep, VaB-AL", "pipeline", "deep, warm"])
def test_pickle_and_joblib_keep_working(name, tmp_path):
    saved = LEARNERS[name]().fit(X[:40], y[:40])
    saved.query(X[40:], 5)
    joblib.dump(saved, tmp_path / "learner")
    for loaded in (pickle.loads(pickle.dumps(saved)), joblib.load(tmp_path / "learner")):
        np.testing.assert_array_equal(loaded.predict_proba(X), saved.predict_proba(X))
        np.testing.assert_array_equal(
            loaded.selector_.score_samples(X), saved.selector_.score_samples(X)
        )
    assert_same(saved, pickle.loads(pickle.dumps(saved)))


@pytest.mark.parametrize("as_object", [False, True])
def test_folders_of_caches_are_left_behind(as_object, tmp_path):
    # joblib unpickles what is in them, and the file says where they are.
    memory = str(tmp_path / "cache")
    memory = joblib.Memory(memory, verbose=0) if as_object else memory
    pipeline = make_pipeline(StandardScaler(), deep(), memory=memory)
    saved = learner(pipeline, vab(memory=memory)).fit(X[:40], y[:40])
    saved.query(X[40:], 5)
    loaded = roundtrip(saved, tmp_path / "learner")
    for part in (loaded.estimator, loaded.estimator_, loaded.selector, loaded.selector_):
        assert part.memory is None or part.memory.location is None
    assert loaded.selector_._reader.memory.location is None
    assert_same(saved, loaded)


class RecurrentNet(nn.Module):
    def __init__(self, n_inputs=6, n_classes=3):
        super().__init__()
        self.gru = nn.GRU(1, 4, batch_first=True)
        self.out = nn.Linear(4, n_classes)

    def forward(self, X):
        return self.out(self.gru(X[:, :, None])[0][:, -1])


def test_recurrent_networks_are_saved(tmp_path):
    """Which hold references to their own weights that cannot be pickled."""
    saved = learner(deep(module=RecurrentNet, module_params=None)).fit(X[:40], y[:40])
    loaded = roundtrip(saved, tmp_path / "learner", trusted=[RecurrentNet])
    np.testing.assert_array_equal(loaded.predict_proba(X), saved.predict_proba(X))
    gru = loaded.estimator_.net_.module_.gru
    assert all(
        weight is getattr(gru, name)
        for weight, name in zip(gru._flat_weights, gru._flat_weights_names, strict=True)
    )
    loaded.teach(X[40:50], y[40:50])


# What needs trust


@pytest.mark.parametrize(
    ("estimator", "names"),
    [
        (deep(module=TinyNet, module_params=None), [f"{__name__}.TinyNet"]),
        (skorch_net(), [f"{__name__}.TinyNet"]),
        (OwnClassifier(), [f"{__name__}.OwnClassifier"]),
        (RandomForestClassifier(3), ["sklearn.tree._tree.Tree"]),
    ],
    ids=["module", "skorch", "classifier", "trees"],
)
def test_what_is_not_trusted_is_named_and_can_be(estimator, names, tmp_path):
    codes = np.unique(y, return_inverse=True)[1]
    saved = learner(estimator).fit(X[:40], codes[:40])
    path = tmp_path / "learner"
    with pytest.raises(ValueError, match="cannot be saved safely: it holds") as info:
        saved.save(path)
    assert f"pass trusted={names} here and again to load" in str(info.value)
    assert not path.exists()
    saved.save(path, trusted=names)
    with pytest.raises(SavedFileError, match=names[0].replace(".", r"\.")) as info:
        ActiveLearner.load(path)
    assert "Nothing was run" in str(info.value)
    assert_same(saved, ActiveLearner.load(path, trusted=names), y=codes)


def test_a_class_can_be_trusted_itself(tmp_path):
    saved = learner(deep(module=TinyNet, module_params=None)).fit(X[:40], y[:40])
    assert_same(saved, roundtrip(saved, tmp_path / "learner", trusted=[TinyNet]))
    with pytest.raises(TypeError, match="must be a list"):
        saved.save(tmp_path / "learner", trusted="TinyNet")


@pytest.mark.parametrize("name", ["TinyNet", "no_such_module.Net", "torch.nn.NoLayer"])
def test_a_trusted_name_that_does_not_exist_is_an_error(name, saved_file):
    with pytest.raises(ValueError, match=f"trusted names '{name}', which cannot be imported"):
        ActiveLearner.load(saved_file, trusted=[name])


def test_what_has_no_name_is_refused(tmp_path):
    class Local(nn.Module):
        def forward(self, X):
            return X

    for part in (deep(module=Local), deep(module=lambda n_inputs, n_classes: None)):
        with pytest.raises(ValueError, match=r"<locals>.*Define it in a module"):
            learner(part).save(tmp_path / "learner")
    assert not list(tmp_path.iterdir())


def test_an_extra_that_is_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "skops.io", None)
    for call in (learner().save, ActiveLearner.load):
        with pytest.raises(ImportError, match=r'pip install "skvaball\[skops\]"'):
            call(tmp_path / "learner")


def test_a_save_that_fails_leaves_the_earlier_file(tmp_path):
    path = tmp_path / "learner"
    learner().fit(X, y).save(path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="trusted"):
        learner(OwnClassifier()).fit(X, y).save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


# Damaged and hostile files


@pytest.fixture(scope="module")
def saved_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "learner"
    saved = learner(deep(), vab()).fit(X[:40], y[:40])
    saved.save(path)
    return path


class Evil:
    """Leaves a mark when it is unpickled."""

    mark = None

    def __reduce__(self):
        return Path.touch, (Evil.mark,)


@pytest.fixture
def mark(tmp_path):
    """A file that appears when hostile code has run; its absence is checked at the end."""
    Evil.mark = tmp_path / "mark"
    pickle.loads(pickle.dumps(Evil()))
    assert Evil.mark.exists()
    Evil.mark.unlink()
    yield Evil.mark
    assert not Evil.mark.exists()


def entries_of(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path, entries, *, sums=True, compression=zipfile.ZIP_STORED):
    """An archive of the entries; with sums, its checksums are as they should be."""
    if sums:
        header = json.loads(entries[saving.HEADER])
        parts = {k: v for k, v in entries.items() if k != saving.HEADER}
        header["sha256"] = {k: hashlib.sha256(v).hexdigest() for k, v in parts.items()}
        entries = {**parts, saving.HEADER: json.dumps(header).encode()}
    with zipfile.ZipFile(path, "w", compression=compression) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


def with_objects(saved_file, path, objects):
    return write(path, {**entries_of(saved_file), saving.OBJECTS: objects})


def record(record_type, **attributes):
    made = record_type()
    vars(made).update(attributes)
    return made


@pytest.mark.parametrize(
    "kind", ["skvaball.vab.selector.VaBQuerySelector", "imblearn.pipeline.Pipeline"]
)
def test_a_crafted_file_names_no_folder_of_pickles(kind):
    """Objects of these kinds are not written so, but could be."""
    crafted = record(saving._Object, kind=kind, state={"memory": "folder"})
    assert saving._Unpacker([], {}, {}, "path", None).unpack(crafted).memory is None


def test_a_crafted_search_names_no_folder_of_pickles():
    folders = (["folder", None], ("folder", None), np.array(["folder"]))
    for grid in ({"clf__memory": folders[0]}, *([{"memory": choices}] for choices in folders)):
        search = GridSearchCV(LogisticRegression(), grid)
        unpacked = saving._Unpacker([], {}, {}, "path", None).unpack(search)
        left = unpacked.param_grid[0] if isinstance(grid, list) else unpacked.param_grid
        assert {choice for choices in left.values() for choice in choices} == {None}


def test_rows_may_have_a_column_that_is_called_memory(tmp_path):
    rows = [{"memory": f"{i % 3}GB", "cpu": i} for i in range(20)]
    pipeline = make_pipeline(DictVectorizer(), LogisticRegression())
    fitted = ActiveLearner(pipeline, MarginSelector()).fit(rows, np.arange(20) % 2)
    fitted.save(tmp_path / "l.skvaball")
    assert list(ActiveLearner.load(tmp_path / "l.skvaball").X_labeled_) == rows


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.99, 0.99999])
def test_a_truncated_file_is_damaged(share, saved_file, tmp_path):
    data = saved_file.read_bytes()
    path = tmp_path / "learner"
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(SavedFileError, match="is damaged, or was not written by"):
        ActiveLearner.load(path)


def test_a_changed_byte_is_found_wherever_it_is(saved_file, tmp_path):
    data = bytearray(saved_file.read_bytes())
    path = tmp_path / "learner"
    rng = np.random.default_rng(0)
    for position in rng.choice(len(data), 40, replace=False):
        changed = bytearray(data)
        changed[position] ^= 0xFF
        path.write_bytes(changed)
        with pytest.raises(SavedFileError):
            ActiveLearner.load(path)


def test_a_changed_entry_has_another_checksum(saved_file, tmp_path):
    entries = entries_of(saved_file)
    entries[saving.TENSORS] = entries[saving.TENSORS][:-4] + b"\0\0\0\1"
    with pytest.raises(SavedFileError, match=r"tensors.safetensors has another checksum"):
        ActiveLearner.load(write(tmp_path / "learner", entries, sums=False))


def test_a_pickle_is_not_run(saved_file, tmp_path, mark):
    path = tmp_path / "learner"
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(SavedFileError):
        ActiveLearner.load(path)
    torch.save(Evil(), path)  # a zip archive with a pickle in it
    with pytest.raises(SavedFileError):
        ActiveLearner.load(path)
    for name in (saving.OBJECTS, saving.TENSORS, saving.HEADER):
        entries = {**entries_of(saved_file), name: pickle.dumps(Evil())}
        write(path, entries, sums=name != saving.HEADER)
        with pytest.raises(SavedFileError):
            ActiveLearner.load(path)


@pytest.mark.parametrize("name", ["data.pkl", "../../evil.py", "/tmp/evil", "C:\\evil"])
def test_further_entries_are_refused(name, saved_file, tmp_path, mark):
    entries = {**entries_of(saved_file), name: pickle.dumps(Evil())}
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    with pytest.raises(SavedFileError, match=r"has the entries .*expected header\.json"):
        ActiveLearner.load(write(folder / "learner", entries))
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["learner"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_entries_that_are_missing_or_double_are_refused(saved_file, tmp_path):
    path = tmp_path / "learner"
    entries = entries_of(saved_file)
    write(path, {k: v for k, v in entries.items() if k != saving.TENSORS}, sums=False)
    with pytest.raises(SavedFileError, match="once each"):
        ActiveLearner.load(path)
    write(path, entries)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(saving.OBJECTS, b"")
    with pytest.raises(SavedFileError, match="once each"):
        ActiveLearner.load(path)


def test_compressed_entries_are_refused_unread(saved_file, tmp_path):
    path = tmp_path / "learner"
    bomb = bytes(10**7)
    with pytest.raises(SavedFileError, match="compressed entry"):
        ActiveLearner.load(
            write(path, {**entries_of(saved_file), saving.TENSORS: bomb}, compression=8)
        )
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w", compression=zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", bomb)
    with pytest.raises(SavedFileError, match="compressed entry"):
        ActiveLearner.load(with_objects(saved_file, path, inner.getvalue()))


def schema(content):
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("schema.json", json.dumps({"protocol": 2, **content}))
    return inner.getvalue()


@pytest.mark.parametrize(
    ("loader", "module", "name"),
    [
        ("FunctionNode", "os", "system"),
        ("TypeNode", "builtins", "eval"),
        ("ObjectNode", "skorch.net", "NeuralNet"),  # its __setstate__ unpickles
        ("ObjectNode", "skorch.classifier", "NeuralNetClassifier"),
        ("ObjectNode", "skvaball.networks._training_net", "TrainingNet"),
        ("ObjectNode", "torch.nn.modules.linear", "Linear"),
    ],
)
def test_skops_builds_nothing_that_is_not_trusted(loader, module, name, saved_file, tmp_path, mark):
    state = {"__class__": "dict", "__module__": "builtins", "__loader__": "DictNode"}
    types = {"__class__": "list", "__module__": "builtins", "__loader__": "ListNode", "content": []}
    state |= {"content": {}, "key_types": types}
    content = state if loader == "ObjectNode" else {"module_path": module, "function": name}
    node = {"__class__": name, "__module__": module, "__loader__": loader, "content": content}
    path = with_objects(saved_file, tmp_path / "learner", schema(node))
    with pytest.raises(SavedFileError, match=rf"asks for {module}\.{name}") as info:
        ActiveLearner.load(path)
    assert "Nothing was run" in str(info.value)


def test_a_net_that_the_user_trusts_is_not_given_to_skops(saved_file, tmp_path, mark):
    # Trust in the class is no trust in the pickle that its __setstate__ would read.
    name = f"{__name__}.OwnNet"
    state = {"__cuda_dependent_attributes__": pickle.dumps(Evil()), "device": "cpu"}
    entries = entries_of(io.BytesIO(skops_io.dumps(state)))
    content = json.loads(entries["schema.json"])
    node = {"__class__": "OwnNet", "__module__": __name__, "__loader__": "ObjectNode"}
    node |= {"content": content, "protocol": content["protocol"]}
    inner = io.BytesIO()
    write(inner, {**entries, "schema.json": json.dumps(node).encode()}, sums=False)
    with pytest.raises(TypeError):
        skops_io.loads(inner.getvalue(), trusted=[name])
    mark.unlink()  # it was run
    path = with_objects(saved_file, tmp_path / "learner", inner.getvalue())
    with pytest.raises(SavedFileError, match=f"asks for {name}".replace(".", r"\.")):
        ActiveLearner.load(path, trusted=[OwnNet])


@pytest.mark.parametrize("name", ["os.system", "subprocess.Popen", "builtins.eval", "torch.load"])
@pytest.mark.parametrize("kind", ["name", "object", "optimizer", "partial"])
def test_records_name_nothing_that_is_not_trusted(kind, name, saved_file, tmp_path, mark):
    hostile = {
        "name": record(saving._Name, name=name),
        "object": record(saving._Object, kind=name, state={"a": 1}),
        "optimizer": record(saving._Optimizer, kind=name, defaults={}, groups=[], state=[]),
        "partial": record(
            saving._Partial, function=record(saving._Name, name=name), args=(), keywords={}
        ),
    }[kind]
    objects = skops_io.dumps({"learner": hostile, "table": []})
    with pytest.raises(SavedFileError, match=f"asks for {name}".replace(".", r"\.")):
        ActiveLearner.load(with_objects(saved_file, tmp_path / "learner", objects))


def test_pickled_arrays_are_not_unpickled(saved_file, tmp_path, mark):
    array = io.BytesIO()
    evil = np.empty(1, dtype=object)
    evil[0] = Evil()
    np.save(array, evil, allow_pickle=True)
    inner = io.BytesIO()
    node = {"__class__": "ndarray", "__module__": "numpy", "__loader__": "NdArrayNode"}
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("a.npy", array.getvalue())
        content = {**node, "type": "numpy", "file": "a.npy", "protocol": 2}
        archive.writestr("schema.json", json.dumps(content))
    path = with_objects(saved_file, tmp_path / "learner", inner.getvalue())
    with pytest.raises(SavedFileError, match="allow_pickle=False"):
        ActiveLearner.load(path)


def test_constructors_and_setstate_are_not_called(saved_file, tmp_path, monkeypatch):
    def never(*args, **kwargs):
        raise AssertionError("a method was called")

    for kind in (NeuralNetClassifier, DeepClassifier, VaBQuerySelector, ActiveLearner, nn.Linear):
        monkeypatch.setattr(kind, "__init__", never)
    for kind in (NeuralNetClassifier, nn.Module):
        monkeypatch.setattr(kind, "__setstate__", never)
    assert isinstance(ActiveLearner.load(saved_file), ActiveLearner)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"learner": [1], "table": []}, "holds a list, not an ActiveLearner"),
        ({"learner": record(saving._Reference, index=7), "table": []}, "IndexError"),
        ({"table": []}, "KeyError"),
        ({"learner": record(saving._Tensor, key="none"), "table": []}, "KeyError"),
        (
            {"learner": record(saving._Object, kind="builtins.print", state={}), "table": []},
            "no cl",
        ),
        ({"learner": record(saving._Name), "table": []}, "AttributeError"),
        (
            {
                "learner": record(
                    saving._SparseRows,
                    kind="csr_array",
                    parts=(np.ones(1), np.array([9]), np.array([0, 1])),
                    shape=(1, 2),
                ),
                "table": [],
            },
            "ind",
        ),
    ],
    ids=["list", "index", "no learner", "no tensor", "no class", "no name", "sparse indices"],
)
def test_nonsense_is_an_error_of_the_file(content, message, saved_file, tmp_path):
    path = with_objects(saved_file, tmp_path / "learner", skops_io.dumps(content))
    with pytest.raises(SavedFileError, match=message):
        ActiveLearner.load(path)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("kind", "something", "holds a 'something'; expected a 'skvaball learner'"),
        ("format", 99, "has the format 99.*Load it with the version that saved it"),
    ],
)
def test_other_files_and_later_formats_are_named(key, value, message, saved_file, tmp_path):
    entries = entries_of(saved_file)
    header = {**json.loads(entries[saving.HEADER]), key: value}
    entries[saving.HEADER] = json.dumps(header).encode()
    with pytest.raises(SavedFileError, match=message):
        ActiveLearner.load(write(tmp_path / "learner", entries))


def test_trusted_names_are_of_known_packages():
    roots = {name.partition(".")[0] for name in saving.trusted_objects()}
    assert roots == {"skvaball", "torch", "skorch", "imblearn", "sklearn", "builtins"}
    functions = {n for n, v in saving.trusted_objects().items() if not isinstance(v, type)}
    assert {n for n in functions if "_indexing_" not in n} == {
        "builtins.print",
        "skorch.setter.optimizer_setter",
        "skorch.utils.to_numpy",
        "skvaball.networks.augmentation.crop_flip",
        "skvaball.networks.classifier._build_module",
    }
    # What skops builds itself has scikit-learn's __setstate__, or none.
    for name in saving._skops_names():
        kind = saving.trusted_objects().get(name)
        if kind is not None and hasattr(kind, "__setstate__"):
            assert kind.__setstate__ is BaseEstimator.__setstate__
