"""Data sets: exact class counts of the variants, images as they lie in the folders."""

import sys
import tarfile
import tempfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from real_data import find_real_data, real_data

from skvaball.datasets import load_image_folder, make_dominant, make_rare


def counts(y):
    """Rows of each class, by counting."""
    return {label: sum(1 for v in y if v == label) for label in sorted(set(y))}


# Imbalanced variants


def test_dominant_keeps_the_class_and_a_tenth_of_the_others():
    y = np.tile([0, 1, 2], 50)
    kept = make_dominant(y, classes=1, random_state=0)
    assert counts(y[kept].tolist()) == {0: 5, 1: 50, 2: 5}
    assert kept.dtype == np.int64


def test_rare_keeps_a_tenth_of_the_class_and_the_others():
    y = np.tile([0, 1, 2], 50)
    kept = make_rare(y, classes=[0, 2], keep=0.2, random_state=0)
    assert counts(y[kept].tolist()) == {0: 10, 1: 50, 2: 10}


@pytest.mark.parametrize("make", [make_dominant, make_rare])
def test_names_of_the_classes_do_not_matter(make):
    codes = np.tile([0, 1, 2], 50)
    expected = make(codes, [0, 1], random_state=3)
    names = np.array(["bird", "cat", "dog"])[codes]
    for y in (names, names.astype(object), names.tolist()):
        np.testing.assert_array_equal(make(y, ["bird", "cat"], random_state=3), expected)
    one = make(codes, 0, random_state=3)
    np.testing.assert_array_equal(make(names, "bird", random_state=3), one)


@settings(max_examples=50, deadline=None)
@given(
    # Two rows or more: scikit-learn takes labels that hardly repeat for a regression.
    rows=st.lists(st.integers(2, 30), min_size=2, max_size=5),
    keep=st.floats(0.3, 1.0),
    seed=st.integers(0, 2**31 - 1),
    data=st.data(),
)
def test_exact_counts_sorted_positions_and_nothing_else_lost(rows, keep, seed, data):
    y = np.random.RandomState(seed).permutation(np.repeat(np.arange(len(rows)), rows))
    chosen = data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1, unique=True))
    for make, cut in (
        (make_rare, set(chosen)),
        (make_dominant, set(range(len(rows))) - set(chosen)),
    ):
        kept = make(y, chosen, keep=keep, random_state=seed)
        expected = [round(keep * n) if k in cut else n for k, n in enumerate(rows)]
        assert np.bincount(y[kept]).tolist() == expected
        assert np.all(np.diff(kept) > 0)
        np.testing.assert_array_equal(kept, make(y, chosen, keep=keep, random_state=seed))


def test_another_seed_keeps_other_rows():
    y = np.tile([0, 1], 200)
    first, second = (make_rare(y, 0, random_state=seed) for seed in (0, 1))
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("make", [make_dominant, make_rare])
def test_errors_of_variants(make):
    y = np.tile([0, 1, 2], 50)
    with pytest.raises(ValueError, match=r"\[7\] do not occur in y.*\[0, 1, 2\]"):
        make(y, [0, 7])
    with pytest.raises(ValueError, match=r"\['1'\] do not occur"):
        make(y, "1")
    with pytest.raises(ValueError, match="classes is empty"):
        make(y, [])
    for keep in (0, -0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=r"keep=.* in \(0, 1\]"):
            make(y, 0, keep=keep)
    with pytest.raises(ValueError, match=r"no row of class .*, which has 50"):
        make(y, 0, keep=0.001)


# Folders of images


def save(path, colour, *, mode="RGB", size=(6, 4)):
    """One image of a single colour; `size` is Pillow's (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path)


@pytest.fixture
def folder(tmp_path):
    save(tmp_path / "dog" / "2.png", (0, 0, 255))
    save(tmp_path / "dog" / "10.png", (0, 255, 0))
    save(tmp_path / "cat" / "a.BMP", (255, 0, 0))
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    (tmp_path / "cat" / "._a.png").write_text("no image either")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "readme.txt").write_text("no class")
    return tmp_path


def test_images_lie_in_the_order_of_names(folder):
    images = load_image_folder(folder)
    assert images.data.shape == (3, 3, 4, 6)
    assert images.data.dtype == np.uint8
    assert images.target.dtype == np.int64
    assert images.target.tolist() == [0, 1, 1]
    assert images.target_names.tolist() == ["cat", "dog"]
    assert images.filenames.tolist() == [
        str(folder / "cat" / "a.BMP"),
        str(folder / "dog" / "10.png"),
        str(folder / "dog" / "2.png"),
    ]
    assert images.data[:, :, 0, 0].tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]
    assert "cat 1, dog 2" in images.DESCR
    X, y = load_image_folder(str(folder), return_X_y=True)
    np.testing.assert_array_equal(X, images.data)
    np.testing.assert_array_equal(y, images.target)


def test_pixels_are_those_of_the_file(tmp_path):
    pixels = np.random.RandomState(0).randint(0, 256, (5, 7, 3), dtype=np.uint8)
    (tmp_path / "a").mkdir()
    Image.fromarray(pixels).save(tmp_path / "a" / "0.png")
    np.testing.assert_array_equal(load_image_folder(tmp_path).data[0], pixels.transpose(2, 0, 1))


def test_classes_choose_and_order(folder):
    images = load_image_folder(folder, classes=["dog", "cat"])
    assert images.target.tolist() == [0, 0, 1]
    assert images.target_names.tolist() == ["dog", "cat"]
    assert load_image_folder(folder, classes=["dog"]).data.shape == (2, 3, 4, 6)


def test_grey_and_colour_mix_under_one_mode(tmp_path):
    save(tmp_path / "a" / "0.png", 100, mode="L")
    save(tmp_path / "a" / "1.png", (100, 100, 100))
    grey = load_image_folder(tmp_path, mode="L").data
    assert grey.shape == (2, 1, 4, 6)
    assert np.all(grey == 100)
    assert load_image_folder(tmp_path).data.shape == (2, 3, 4, 6)


def test_size_is_height_by_width(folder):
    save(folder / "dog" / "3.png", (0, 0, 255), size=(9, 9))
    assert load_image_folder(folder, size=(2, 5)).data.shape == (4, 3, 2, 5)
    assert load_image_folder(folder, size=3).data.shape == (4, 3, 3, 3)


def test_different_sizes_name_both_and_the_remedy(folder):
    save(folder / "dog" / "3.png", (0, 0, 255), size=(9, 8))
    with pytest.raises(ValueError, match=r"3\.png has 8 x 9, .*a\.BMP has 4 x 6.*size="):
        load_image_folder(folder)


def test_errors_of_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        load_image_folder(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="no sub-folders"):
        load_image_folder(tmp_path)
    save(tmp_path / "a" / "0.png", (0, 0, 0))
    with pytest.raises(ValueError, match=r"\['b'\] have no sub-folder.*\['a'\]"):
        load_image_folder(tmp_path, classes=["a", "b"])
    with pytest.raises(ValueError, match="is a string"):
        load_image_folder(tmp_path, classes="a")
    for classes in ([], ["a", "a"]):
        with pytest.raises(ValueError, match="each of them once"):
            load_image_folder(tmp_path, classes=classes)
    (tmp_path / "b").mkdir()
    with pytest.raises(ValueError, match="b has no images"):
        load_image_folder(tmp_path)
    with pytest.raises(ValueError, match="mode='HSV' is unknown"):
        load_image_folder(tmp_path, mode="HSV")
    for size in (0, (4,), (4, -1), (4.0, 4.0)):
        with pytest.raises(ValueError, match="is not a size"):
            load_image_folder(tmp_path, size=size)


def test_files_that_cannot_be_read_are_named(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "broken.png").write_text("not an image")
    with pytest.raises(ValueError, match=r"broken\.png cannot be read"):
        load_image_folder(tmp_path)
    (tmp_path / "a" / "broken.png").unlink()
    Image.fromarray(np.full((4, 4), 40_000, dtype=np.uint16)).save(tmp_path / "a" / "deep.png")
    with pytest.raises(ValueError, match=r"deep\.png has more than 8 bits"):
        load_image_folder(tmp_path)


def test_without_pillow_the_extra_is_named(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r'pip install "skvaball\[vision\]"'):
        load_image_folder(folder)


# Real data


def test_steel_defects():
    images = load_image_folder(real_data("neu64"), mode="L")
    assert images.data.shape == (7226, 1, 64, 64)
    rows = np.bincount(images.target).tolist()
    assert dict(zip(images.target_names.tolist(), rows, strict=True)) == {
        "cr": 1210,
        "gg": 296,
        "in": 775,
        "pa": 1148,
        "ps": 797,
        "rp": 200,
        "rs": 1589,
        "sc": 773,
        "sp": 438,
    }


def test_archives_are_extracted_once(tmp_path, monkeypatch):
    monkeypatch.setenv("SKVABALL_DATA", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert find_real_data("neu64") is None
    with pytest.raises(pytest.skip.Exception, match=r"neu64\.tar\.xz is not in"):
        real_data("neu64")
    save(tmp_path / "source" / "neu64" / "cr" / "1.png", 0, mode="L")
    with tarfile.open(tmp_path / "neu64.tar.xz", "w:xz") as tar:
        tar.add(tmp_path / "source" / "neu64", "neu64")
    folder = find_real_data("neu64")
    assert folder == tmp_path / "skvaball-data" / "neu64"
    assert [path.name for path in (folder / "cr").iterdir()] == ["1.png"]
    assert [path.name for path in folder.parent.iterdir()] == ["neu64"]
    stamp = folder.stat().st_mtime_ns
    assert find_real_data("neu64") == folder
    assert folder.stat().st_mtime_ns == stamp
