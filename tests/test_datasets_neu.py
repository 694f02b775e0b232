"""NEU-CLS-64: folders and archives of it, and its split without shared duplicates."""

import errno
import itertools
import shutil
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from real_data import data_folder, real_data
from sklearn.utils import Bunch

from skvaball.datasets import load_neu, load_train_test
from skvaball.datasets.neu import _draw_test_rows

CLASSES = ["cr", "gg", "in", "pa", "ps", "rp", "rs", "sc", "sp"]


@pytest.fixture
def folder(tmp_path):
    """Ten different images a class, of which one is stored in colour, and some clutter."""
    rng = np.random.RandomState(0)
    root = tmp_path / "neu64"
    for name in CLASSES:
        (root / name).mkdir(parents=True)
        for i in range(10):
            pixels = rng.randint(0, 256, (4, 4), dtype=np.uint8)
            image = Image.fromarray(pixels)
            if i == 0:
                image = Image.merge("RGB", [image] * 3)
            image.save(root / name / f"{i}.png")
    (root / "other").mkdir()
    (root / "readme.txt").write_text("no image")
    return root


def assert_same(first, second):
    assert first.keys() == second.keys()
    for key in first:
        np.testing.assert_array_equal(first[key], second[key])


def test_every_class_is_split_and_every_image_is_in_one_part(folder):
    neu = load_neu(folder, random_state=0)
    assert neu.data_train.shape == (72, 1, 4, 4)
    assert neu.data_test.shape == (18, 1, 4, 4)
    assert neu.data_train.dtype == np.uint8
    assert neu.target_train.dtype == np.int64
    assert np.bincount(neu.target_train).tolist() == [8] * 9
    assert np.bincount(neu.target_test).tolist() == [2] * 9
    assert neu.target_names.tolist() == CLASSES
    files = [*neu.filenames_train, *neu.filenames_test]
    assert sorted(files) == [f"{name}/{i}.png" for name in CLASSES for i in range(10)]
    for part in ("train", "test"):
        for name, image, code in zip(
            neu[f"filenames_{part}"], neu[f"data_{part}"], neu[f"target_{part}"], strict=True
        ):
            np.testing.assert_array_equal(
                image[0], np.asarray(Image.open(folder / name).convert("L"))
            )
            assert name.startswith(f"{CLASSES[code]}/")


def test_the_seed_draws_the_test_images(folder):
    first, again, other = (load_neu(folder, random_state=seed) for seed in (0, 0, 1))
    assert_same(first, again)
    assert first.filenames_test.tolist() != other.filenames_test.tolist()


@pytest.mark.parametrize("form", ["xztar", "gztar", "tar", "zip"])
@pytest.mark.parametrize("nested", [True, False])
def test_archives_give_what_the_folder_gives(folder, tmp_path, form, nested):
    inside = {"root_dir": folder.parent, "base_dir": "neu64"} if nested else {"root_dir": folder}
    archive = shutil.make_archive(str(tmp_path / "out" / "neu"), form, **inside)
    assert_same(load_neu(archive, random_state=0), load_neu(folder, random_state=0))
    assert_same(load_neu(folder.parent, random_state=0), load_neu(folder, random_state=0))


def test_archives_leave_nothing_behind(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    archive = shutil.make_archive(str(tmp_path / "neu"), "zip", folder)
    before = sorted(tmp_path.rglob("*"))
    load_neu(archive)
    assert sorted(tmp_path.rglob("*")) == before


def test_tar_archives_cannot_write_outside(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    archive = tmp_path / "bad.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, "neu64")
        tar.add(folder / "readme.txt", "../outside.txt")
    with pytest.raises(ValueError, match=r"bad\.tar\.gz cannot be unpacked: .*outside"):
        load_neu(archive)
    assert not list(tmp_path.rglob("outside.txt"))


def test_zip_archives_cannot_write_outside(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    archive = shutil.make_archive(str(tmp_path / "bad"), "zip", folder)
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("../outside.txt", "nothing")
    load_neu(archive)
    assert not list(tmp_path.rglob("outside.txt"))


def test_archives_that_are_cut_off_are_named(folder, tmp_path):
    archive = tmp_path / "neu.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, "neu64")
    archive.write_bytes(archive.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"neu\.tar\.gz cannot be unpacked"):
        load_neu(archive)


def test_archives_that_are_damaged_or_encrypted_are_named(folder, tmp_path):
    # More than a block of bzip2, whose first one decides whether it is an archive at all.
    (folder / "other" / "large").write_bytes(np.random.default_rng(0).bytes(2 * 10**6))
    for kind, where in itertools.product(("xztar", "gztar", "bztar", "zip"), (0.5, 0.7, 0.9)):
        archive = Path(shutil.make_archive(str(tmp_path / "neu"), kind, folder))
        damaged = bytearray(archive.read_bytes())
        middle = int(where * len(damaged))
        damaged[middle : middle + 64] = bytes(64)
        archive.write_bytes(damaged)
        with pytest.raises(ValueError, match=rf"{archive.name} cannot be unpacked"):
            load_neu(archive)
    # A header in the middle of what has no checksums, and an end before one.
    archive = Path(shutil.make_archive(str(tmp_path / "neu"), "tar", folder))
    damaged = bytearray(archive.read_bytes())
    with tarfile.open(archive) as tar:
        members = tar.getmembers()
    damaged[members[len(members) // 2].offset] ^= 0xFF
    archive.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"neu\.tar cannot be unpacked.*no member, but data"):
        load_neu(archive)
    archive.write_bytes(archive.read_bytes()[: members[-1].offset])
    with pytest.raises(ValueError, match=r"neu\.tar cannot be unpacked"):
        load_neu(archive)
    locked = bytearray(Path(shutil.make_archive(str(tmp_path / "l"), "zip", folder)).read_bytes())
    start = 0
    while (start := locked.find(b"PK\x01\x02", start)) >= 0:  # each entry of the directory
        locked[start + 8] |= 1
        start += 1
    (tmp_path / "locked.zip").write_bytes(locked)
    with pytest.raises(ValueError, match=r"locked\.zip cannot be unpacked.*encrypted"):
        load_neu(tmp_path / "locked.zip")


def test_a_full_disk_is_not_a_damaged_archive(folder, tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    archive = shutil.make_archive(str(tmp_path / "neu"), "tar", folder)
    monkeypatch.setattr(tarfile.TarFile, "extractall", full)
    with pytest.raises(OSError, match="No space left"):
        load_neu(archive)


def test_a_python_without_safe_tar_extraction_is_told_to_unpack(folder, tmp_path, monkeypatch):
    archive = shutil.make_archive(str(tmp_path / "neu"), "tar", folder)
    monkeypatch.delattr(tarfile, "data_filter")
    with pytest.raises(RuntimeError, match=r"Unpack .*neu\.tar yourself and pass the folder"):
        load_neu(archive)


def test_errors_of_paths(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        load_neu(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"readme\.txt is neither a folder nor a zip or tar"):
        load_neu(folder / "readme.txt")
    with pytest.raises(ValueError, match=r"other has no class folders. Expected the folders cr, "):
        load_neu(folder / "other")
    for part in ("train", "valid"):
        shutil.copytree(folder / "cr", tmp_path / "parts" / part / "cr")
    with pytest.raises(ValueError, match=r"several folders with class folders, \['train', 'valid'"):
        load_neu(tmp_path / "parts")
    shutil.rmtree(folder / "gg")
    with pytest.raises(ValueError, match=r"\['gg'\] have no sub-folder"):
        load_neu(folder)


def test_errors_of_test_sizes(folder):
    for test_size in (0, 1, -0.1, float("nan")):
        with pytest.raises(ValueError, match=r"test_size=.* in \(0, 1\)"):
            load_neu(folder, test_size=test_size)
    for i in range(1, 10):
        (folder / "ps" / f"{i}.png").unlink()
    with pytest.raises(ValueError, match=r"take all images of the classes \['ps'\]"):
        load_neu(folder)


def test_without_pillow_the_extra_is_named(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r'pip install "skvaball\[vision\]"'):
        load_neu(folder)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.integers(2, 40), min_size=2, max_size=4),
    n_pairs=st.integers(0, 4),
    percent=st.integers(1, 50),
    seed=st.integers(0, 2**31 - 1),
)
def test_duplicates_are_never_divided_and_shares_are_rounded_up(rows, n_pairs, percent, seed):
    rng = np.random.RandomState(seed)
    target = np.repeat(np.arange(len(rows)), rows)
    pixels = np.arange(len(target))
    # Pairs inside a class and across classes; few enough to leave single images.
    for _ in range(n_pairs):
        pixels[rng.randint(len(target))] = pixels[rng.randint(len(target))]
    images = Bunch(
        data=pixels.reshape(-1, 1, 1, 1).astype(np.uint8),
        target=target,
        target_names=np.arange(len(rows)),
    )
    test = _draw_test_rows(images, percent / 100, seed)
    assert not set(pixels[test]) & set(pixels[~test])
    expected = np.array([-(-percent * n // 100) for n in rows])
    counts = np.bincount(target[test], minlength=len(rows))
    assert np.all(counts <= expected)
    if n_pairs == 0:
        np.testing.assert_array_equal(counts, expected)


def test_a_class_of_pairs_only_takes_one_pair_less():
    images = Bunch(
        data=np.repeat(np.arange(5, dtype=np.uint8), 2).reshape(-1, 1, 1, 1),
        target=np.zeros(10, dtype=np.int64),
        target_names=np.array(["a"]),
    )
    assert _draw_test_rows(images, 0.3, 0).sum() == 2


# Real data


@pytest.fixture(scope="module")
def real_neu():
    return load_neu(real_data("neu64"), random_state=0)


def test_the_split_has_the_sizes_of_the_paper_and_divides_no_duplicates(real_neu):
    assert real_neu.data_train.shape == (5778, 1, 64, 64)
    assert real_neu.data_test.shape == (1448, 1, 64, 64)
    rows = np.array([1210, 296, 775, 1148, 797, 200, 1589, 773, 438])
    np.testing.assert_array_equal(np.bincount(real_neu.target_test), np.ceil(rows / 5))
    np.testing.assert_array_equal(np.bincount(real_neu.target_train), rows - np.ceil(rows / 5))
    train, test = (
        {image.tobytes() for image in real_neu[f"data_{part}"]} for part in ("train", "test")
    )
    assert not train & test
    assert len(train) + len(test) == 7226 - 7  # seven pairs


def test_the_real_archive_gives_what_its_folder_gives(real_neu):
    parts = load_train_test("neu", data_folder() / "neu64.tar.xz", random_state=0)
    for key in real_neu:
        np.testing.assert_array_equal(parts[key], real_neu[key])
    np.testing.assert_array_equal(parts.images_test, real_neu.data_test)
