import csv
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from ganaug.data import read_images, read_unlabelled, usable_rows, without_copies
from ganaug.errors import DataError, LeakError
from ganaug.output import MARK


def read(source, channels=3, **settings):
    return read_unlabelled(source, resolution=16, channels=channels, **settings)


def test_images_of_any_layout_are_read_as_one_class(image_folder, tmp_path):
    loose = tmp_path / "loose"
    (loose / "deep" / "down").mkdir(parents=True)
    for goal, name in ((loose, "00"), (loose / "deep", "01"), (loose / "deep" / "down", "02")):
        shutil.copy(image_folder / "cat" / f"{name}.png", goal)
    found = read(loose)
    assert (len(found), found.class_names, found.counts()) == (3, ("unlabelled",), [3])
    assert found.images.shape == (3, 3, 16, 16)
    assert set(found.fingerprints) < set(read_images(image_folder, resolution=16).fingerprints)
    assert len(read(image_folder)) == 21
    assert read(image_folder, channels=1).images.shape == (21, 1, 16, 16)


def test_what_lies_beside_the_train_part_and_what_ganaug_drew_are_left_alone(image_folder, tmp_path):
    whole = tmp_path / "whole"
    shutil.copytree(image_folder / "cat", whole / "train")
    shutil.copytree(image_folder / "dog", whole / "test" / "dog")
    assert len(read(whole)) == 12
    shutil.copytree(image_folder / "owl", whole / "train" / "pets.run")
    assert len(read(whole)) == 15
    (whole / "train" / "pets.run" / MARK).touch()
    assert len(read(whole)) == 12


def test_tables_and_datasets_have_labels_that_are_not_looked_at(image_folder, tmp_path):
    with (tmp_path / "some.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("path", "label"), ("images/cat/00.png", "x"), ("images/dog/00.png", "y")])
    assert len(read(tmp_path / "some.csv")) == 2
    items = [(np.full((20, 20, 3), shade, np.uint8), -1) for shade in (10, 20)]
    assert read(items).counts() == [2]


def test_images_already_read_must_be_alike(image_folder):
    data = read_images(image_folder, resolution=16)
    assert torch.equal(read(data).images, data.images)
    with pytest.raises(DataError, match=r"unlabelled images are \(3, 16, 16\) and the labelled ones \(1, 16, 16\)"):
        read(data, channels=1)


def test_no_images_and_bad_ones_are_said(image_folder, tmp_path):
    (tmp_path / "bare").mkdir()
    for source, said in ((tmp_path / "bare", "holds no images"), (tmp_path / "nowhere", "no folder or file")):
        with pytest.raises(DataError, match=said):
            read(source)
    (image_folder / "cat" / "03.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"03\.png: is empty"):
        read(image_folder)
    assert len(read(image_folder, on_bad="skip")) == 20


def test_copies_are_left_out_and_what_is_held_back_is_refused(image_folder):
    data = read_images(image_folder, resolution=16)
    every = read(data)
    labelled = data.subset([0, 1, 2])
    twice = replace(every, fingerprints=(*every.fingerprints[:-1], every.fingerprints[5]))
    assert usable_rows(twice, labelled).tolist() == list(range(3, 20))
    with pytest.raises(LeakError, match="2 of the 21 unlabelled images are among those held back"):
        usable_rows(every, labelled, every.fingerprints[7:9])
    assert usable_rows(every, labelled, (), every.perceptual[7:9]).tolist() == [3, 4, 5, 6, *range(9, 21)]
    with pytest.raises(DataError, match="all 3 unlabelled images are copies"):
        usable_rows(every.subset([0, 1, 2]), data)


def test_near_copies_of_what_is_held_back_are_left_out(image_folder):
    data = read_images(image_folder, resolution=16)
    other = replace(data.subset([4]), fingerprints=("saved again",))
    found = without_copies(read(data), [data.subset([3]), other])
    assert found.fingerprints == (*data.fingerprints[:3], *data.fingerprints[5:])


def test_a_photograph_saved_again_is_a_near_copy(tmp_path):
    y, x = np.mgrid[0:40, 0:40]
    for name, quality in (("a.jpg", 95), ("b.jpg", 80)):
        wave = 128 + 100 * np.sin(x / 5.0) * np.cos(y / 7.0)
        Image.fromarray(wave.astype(np.uint8)).convert("RGB").save(tmp_path / name, quality=quality)
    both = read(tmp_path)
    assert len(set(both.fingerprints)) == 2
    assert len(without_copies(both.subset([1]), [both.subset([0])])) == 0
