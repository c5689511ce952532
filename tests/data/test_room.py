import errno
import os
import shutil
import sys
import time
from collections import namedtuple

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset

from ganaug.data import labelled, read_images, room
from ganaug.errors import DataError


@pytest.fixture
def home(tmp_path, monkeypatch):
    """No set is small enough for memory; the files behind them lie here."""
    monkeypatch.setattr(room, "_SHARE", 0.0)
    monkeypatch.setattr(room, "_home", lambda: tmp_path / "cache")
    return tmp_path / "cache"


def in_memory(*arguments, **more):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "_SHARE", 1.0)
        return read_images(*arguments, **more)


def mapped(images):
    """Whether a tensor lies over a file: the mapping is found in the list of this process's."""
    with open("/proc/self/maps") as maps:
        spans = [line.split() for line in maps if "(deleted)" in line or "cache" in line]
    ends = [tuple(int(end, 16) for end in span[0].split("-")) for span in spans]
    return any(low <= images.data_ptr() < high for low, high in ends)


@pytest.mark.parametrize("colour", ["auto", "grey", "rgb"])
@pytest.mark.parametrize("drawn", ["grey", "coloured"])
def test_images_on_disk_are_those_in_memory(tmp_path, home, colour, drawn):
    for name, count in (("cat", 3), ("dog", 2)):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(count):
            pixels = np.random.default_rng(number).integers(0, 255, (20, 24, 3), dtype=np.uint8)
            pixels = pixels if drawn == "coloured" else pixels[:, :, :1].repeat(3, 2)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{number}.png")
    ours = read_images(tmp_path / "images", resolution=16, colour=colour)
    theirs = in_memory(tmp_path / "images", resolution=16, colour=colour)
    assert torch.equal(ours.images, theirs.images)
    assert ours.images.shape[1] == (1 if "grey" in (colour, drawn) and colour != "rgb" else 3)
    assert ours.fingerprints == theirs.fingerprints
    if sys.platform == "linux":
        assert mapped(ours.images)
        assert not mapped(theirs.images)


class Unlabelled(Dataset):
    """Its labels are known only when an item is read."""

    def __len__(self):
        return 9

    def __getitem__(self, index):
        return np.full((16, 16, 3), index * 20, np.uint8), index % 3


def test_classes_that_are_left_out_after_reading_leave_no_gap(home):
    ours = read_images(Unlabelled(), resolution=16, classes=["2", "0"])
    assert torch.equal(ours.images, in_memory(Unlabelled(), resolution=16, classes=["2", "0"]).images)
    assert ours.images[:, 0, 0, 0].tolist() == [0, 40, 60, 100, 120, 160]
    assert ours.labels.tolist() == [1, 0, 1, 0, 1, 0]


@pytest.mark.skipif(sys.platform == "win32", reason="an open file keeps its name")
def test_the_file_has_no_name_that_could_be_left_behind(home):
    data = read_images(Unlabelled(), resolution=16)
    assert os.listdir(home) == []
    assert data.images[1, 0, 0, 0] == 20


def test_a_set_that_neither_memory_nor_the_disk_holds(home, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(9, 9, 100))
    with pytest.raises(DataError, match=r"9 images of 16 px .* has only 0\.0 GB free; make room there, or fit fewer"):
        read_images(Unlabelled(), resolution=16)


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="not on this system")
def test_a_disk_that_fills_meanwhile_is_said(home, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(DataError, match=r"cannot be kept in .*cache \(No space left on device\); make room there"):
        read_images(Unlabelled(), resolution=16)


def test_memory_that_is_refused_is_said(monkeypatch):
    def refuse(*_):
        raise MemoryError

    monkeypatch.setattr(np, "empty", refuse)
    with pytest.raises(DataError, match="do not fit in memory; fit fewer classes"):
        room.make_room((10**9, 3, 8, 8) if room.memory_bytes() is None else (2, 3, 8, 8))


@pytest.mark.skipif(sys.platform == "win32", reason="cannot be told")
def test_memory_is_what_the_machine_has_at_the_most():
    assert 2**27 < room.memory_bytes() <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_threads_keep_the_order():
    def slow_at_first(index):
        time.sleep(0.02 if index < 3 else 0)
        return index

    assert list(labelled._in_order(slow_at_first, range(600), 4)) == list(range(600))


def test_of_several_bad_files_the_first_is_named_whichever_thread_finds_it(image_folder, monkeypatch):
    monkeypatch.setattr(labelled, "_THREADS", 4)
    for name in ("cat/03.png", "cat/07.png", "owl/01.png"):
        (image_folder / name).write_bytes(b"")
    with pytest.raises(DataError, match=r"03\.png: is empty"):
        read_images(image_folder, resolution=16)
    skipped = read_images(image_folder, resolution=16, on_bad="skip").skipped
    assert [line.partition(": ")[0][-10:] for line in skipped] == ["cat/03.png", "cat/07.png", "owl/01.png"]
