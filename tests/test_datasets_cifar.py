"""CIFAR-10 and CIFAR-100 through torchvision, from archives in the original format."""

import hashlib
import pickle
import re
import sys
import tarfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from real_data import real_data
from torchvision import datasets

from skvaball.datasets import (
    fetch_cifar10,
    fetch_cifar100,
    load_image_folder,
    load_train_test,
)

NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def md5(path):
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def make_archive(folder, kind, fetch, title, label_key):
    """An archive of few random images, in the files that torchvision's class names."""
    rng = np.random.RandomState(0)
    n_classes = 10 if title == "CIFAR-10" else 100
    source = folder / kind.base_folder
    source.mkdir(parents=True)
    rows = {}
    for name, _ in kind.train_list + kind.test_list:
        pixels = rng.randint(0, 256, (4, 3, 32, 32), dtype=np.uint8)
        labels = rng.randint(n_classes, size=4).tolist()
        rows[name] = pixels, labels
        entry = {"data": pixels.reshape(4, -1), label_key: labels}
        (source / name).write_bytes(pickle.dumps(entry))
    class_names = [f"class {i}" for i in range(n_classes)]
    (source / kind.meta["filename"]).write_bytes(pickle.dumps({kind.meta["key"]: class_names}))
    archive = folder / kind.filename
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(source, kind.base_folder)

    def parts(files):
        return (
            np.concatenate([rows[name][0] for name, _ in files]),
            np.concatenate([rows[name][1] for name, _ in files]),
        )

    return SimpleNamespace(
        kind=kind,
        fetch=fetch,
        title=title,
        archive=archive,
        source=source,
        train=parts(kind.train_list),
        test=parts(kind.test_list),
        class_names=class_names,
    )


@pytest.fixture(params=["CIFAR-10", "CIFAR-100"])
def small(request, tmp_path, monkeypatch):
    """A small data set that torchvision accepts: it has the checksums that it looks for."""
    title = request.param
    kind, fetch, label_key = {
        "CIFAR-10": (datasets.CIFAR10, fetch_cifar10, "labels"),
        "CIFAR-100": (datasets.CIFAR100, fetch_cifar100, "fine_labels"),
    }[title]
    small = make_archive(tmp_path / "source", kind, fetch, title, label_key)

    def with_checksums(files):
        return [[name, md5(small.source / name)] for name, _ in files]

    meta = {**kind.meta, "md5": md5(small.source / kind.meta["filename"])}
    monkeypatch.setattr(kind, "tgz_md5", md5(small.archive))
    monkeypatch.setattr(kind, "train_list", with_checksums(kind.train_list))
    monkeypatch.setattr(kind, "test_list", with_checksums(kind.test_list))
    monkeypatch.setattr(kind, "meta", meta)
    # Nothing is there: no test downloads unless it says from where.
    monkeypatch.setattr(kind, "url", (tmp_path / "nowhere.tar.gz").as_uri())
    small.home = tmp_path / "home"
    small.home.mkdir()
    return small


@pytest.mark.parametrize("download", [True, False])
def test_an_archive_in_the_data_home_is_unpacked_and_read(small, download):
    small.archive.rename(small.home / small.archive.name)
    for subset in ("train", "test"):
        cifar = small.fetch(data_home=small.home, subset=subset, download_if_missing=download)
        pixels, labels = getattr(small, subset)
        np.testing.assert_array_equal(cifar.data, pixels)
        np.testing.assert_array_equal(cifar.target, labels)
        assert cifar.data.dtype == np.uint8
        assert cifar.data.flags.c_contiguous
        assert cifar.target.dtype == np.int64
        assert cifar.target_names.tolist() == small.class_names
        assert cifar.DESCR.startswith(f"{small.title}: {len(pixels)} ")


def test_a_folder_that_torchvision_filled_is_a_data_home(small):
    X, y = small.fetch(
        data_home=str(small.source.parent), download_if_missing=False, return_X_y=True
    )
    np.testing.assert_array_equal(X, small.train[0])
    np.testing.assert_array_equal(y, small.train[1])


def test_all_is_the_training_images_and_then_the_test_images(small):
    cifar = small.fetch(data_home=small.source.parent, subset="all")
    np.testing.assert_array_equal(cifar.data, np.concatenate([small.train[0], small.test[0]]))
    np.testing.assert_array_equal(cifar.target, np.concatenate([small.train[1], small.test[1]]))


def test_the_default_data_home_is_that_of_scikit_learn(small, monkeypatch):
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(small.source.parent))
    np.testing.assert_array_equal(small.fetch(download_if_missing=False).data, small.train[0])


def test_missing_data_are_downloaded_once(small, monkeypatch):
    requests = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            requests.append(self.path)

    handler = partial(Handler, directory=small.archive.parent)
    monkeypatch.setenv("no_proxy", "*")
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            url = f"http://127.0.0.1:{server.server_port}/{small.archive.name}"
            monkeypatch.setattr(small.kind, "url", url)
            cifar = small.fetch(data_home=small.home)
            assert requests
            del requests[:]
            again = small.fetch(data_home=small.home)
            assert not requests
        finally:
            server.shutdown()
    np.testing.assert_array_equal(cifar.data, small.train[0])
    np.testing.assert_array_equal(again.data, small.train[0])


def test_missing_data_name_the_archive_the_folder_and_the_option(small):
    with pytest.raises(FileNotFoundError) as caught:
        small.fetch(data_home=small.home, download_if_missing=False)
    message = str(caught.value)
    for part in (
        f"{small.title} is missing",
        small.kind.filename,
        small.kind.url,
        str(small.home),
        "download_if_missing=True",
    ):
        assert part in message


def test_a_failed_download_says_where_to_put_the_archive(small):
    with pytest.raises(
        OSError, match=f"{small.title} could not be downloaded: .*nowhere"
    ) as caught:
        small.fetch(data_home=small.home)
    assert f"Put the archive {small.kind.filename} from" in str(caught.value)
    assert f"into the folder {small.home}" in str(caught.value)
    assert isinstance(caught.value.__cause__, OSError)


def test_damaged_data_are_not_read(small):
    name = small.kind.test_list[0][0]
    (small.source / name).write_bytes(b"damaged")
    (small.archive).write_bytes(b"damaged")
    with pytest.raises(FileNotFoundError, match="missing or damaged"):
        small.fetch(data_home=small.source.parent, download_if_missing=False)
    with pytest.raises(OSError, match="could not be downloaded"):
        small.fetch(data_home=small.source.parent)


def test_an_unknown_subset_is_an_error(small):
    with pytest.raises(ValueError, match=r"subset='valid' is unknown.*'train', 'test' or 'all'"):
        small.fetch(data_home=small.home, subset="valid")


def test_without_torchvision_the_extra_is_named(small, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(ImportError, match=r'pip install "skvaball\[vision\]"'):
        small.fetch(data_home=small.home)


# Both parts by name


def test_train_and_test_through_torchvision(small):
    name = small.title.lower().replace("-", "")
    parts = load_train_test(name, small.source.parent, download_if_missing=False)
    for part in ("train", "test"):
        pixels, labels = getattr(small, part)
        np.testing.assert_array_equal(parts[f"data_{part}"], pixels)
        np.testing.assert_array_equal(parts[f"images_{part}"], pixels)
        np.testing.assert_array_equal(parts[f"target_{part}"], labels)
    assert parts.target_names.tolist() == small.class_names
    with pytest.raises(FileNotFoundError, match=f"{small.title} is missing"):
        load_train_test(name, small.home, download_if_missing=False)


def save(path, colour):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), colour).save(path)


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_train_and_test_from_class_folders(tmp_path, name):
    save(tmp_path / "train" / "dog" / "0.png", "red")
    save(tmp_path / "train" / "cat" / "0.png", "blue")
    save(tmp_path / "test" / "cat" / "0.png", "blue")
    with pytest.raises(ValueError, match=r"differ: \['cat', 'dog'\] in train, \['cat'\] in test"):
        load_train_test(name, tmp_path)
    save(tmp_path / "test" / "dog" / "0.png", "red")
    save(tmp_path / "test" / "dog" / "1.png", "red")
    parts = load_train_test(name, str(tmp_path))
    assert parts.target_train.tolist() == [0, 1]
    assert parts.target_test.tolist() == [0, 1, 1]
    assert parts.data_test[:, :, 0, 0].tolist() == [[0, 0, 255], [255, 0, 0], [255, 0, 0]]
    assert parts.target_names.tolist() == ["cat", "dog"]
    assert parts.images_train is parts.data_train
    assert re.search(r"Training part: 2 .*\nTest part: 3 ", parts.DESCR)


# Real data


def test_cifar10_in_class_folders_has_the_standard_classes():
    folder = real_data("cifar10_jpg")
    # Only the test images are decoded: all 60,000 take too long.
    test = load_image_folder(folder / "test")
    assert test.data.shape == (10_000, 3, 32, 32)
    assert test.target_names.tolist() == NAMES
    assert np.bincount(test.target).tolist() == [1000] * 10
    files = {path.name: len(list(path.glob("*.jpg"))) for path in (folder / "train").iterdir()}
    assert files == dict.fromkeys(NAMES, 5000)
    # The well-known means of the channels: red, green and blue are not mixed up.
    means = test.data.mean(axis=(0, 2, 3)) / 255
    np.testing.assert_allclose(means, [0.4942, 0.4851, 0.4504], atol=0.002)
