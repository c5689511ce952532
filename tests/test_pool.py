import functools
import json
import logging
import multiprocessing
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ganaug.bank import GeneratorBank, load
from ganaug.errors import BankError, DataError, OutputError
from ganaug.pool import SamplePool
from ganaug.pool_making import Making

COUNTS = {0: 150, 2: 10}


class Interrupted(Exception):
    pass


def interrupt_after(samples: int) -> Any:
    def report(made: int, total: int) -> None:
        if made >= samples:
            raise Interrupted

    return report


def test_a_pool_holds_the_banks_samples(tiny_bank: GeneratorBank, tmp_path: Path) -> None:
    pool = SamplePool.create(tiny_bank, COUNTS, seed=3, directory=tmp_path)
    assert pool.counts == COUNTS
    assert len(pool) == 160
    for index, count in COUNTS.items():
        samples = tiny_bank.sample_at(index, range(count), seed=3).permute(0, 2, 3, 1).numpy()
        assert np.array_equal(pool.images(index), samples)
        assert np.array_equal(pool[index, count - 1], samples[-1])
    image = pool[2, 0]
    image[:] = 0  # the caller's own
    assert pool[2, 0].any()
    assert pool[2, 0].dtype == np.uint8
    assert pool[2, 0].shape == (16, 16, 3)
    for outside in ((2, 10), (2, -1), (1, 0)):
        with pytest.raises(IndexError):
            pool[outside]


def test_a_whole_pool_is_used_again_and_others_are_kept_apart(tiny_bank: GeneratorBank, tmp_path: Path) -> None:
    first = SamplePool.create(tiny_bank, COUNTS, directory=tmp_path)
    again = SamplePool.create(tiny_bank, COUNTS, directory=tmp_path, report=interrupt_after(0))  # makes nothing
    assert again.folder == first.folder
    others = [
        SamplePool.create(tiny_bank, COUNTS, seed=1, directory=tmp_path),
        SamplePool.create(tiny_bank, {0: 150}, directory=tmp_path),
    ]
    assert len({pool.folder for pool in (first, *others)}) == 3


def test_its_size_is_said_before_it_is_made(
    tiny_bank: GeneratorBank, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ganaug")
    with pytest.raises(Interrupted):
        SamplePool.create(tiny_bank, COUNTS, directory=tmp_path, report=interrupt_after(0))
    assert "making a pool of 160 samples, 0.1 MB, in" in caplog.text


def test_an_interrupted_making_goes_on_where_it_stopped(
    tiny_bank: GeneratorBank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ganaug.pool.Making", functools.partial(Making, span=1))
    whole = SamplePool.create(tiny_bank, COUNTS, directory=tmp_path / "whole")
    with pytest.raises(Interrupted):
        SamplePool.create(tiny_bank, COUNTS, directory=tmp_path, report=interrupt_after(128))
    folder = tmp_path / whole.folder.name
    with pytest.raises(DataError, match="no finished pool"):
        SamplePool(folder)
    with open(folder / "images.partial", "r+b") as file:
        file.seek(128 * 16 * 16 * 3)
        file.write(b"x" * 5000)  # written, but never noted
    seen: list[int] = []
    pool = SamplePool.create(tiny_bank, COUNTS, directory=tmp_path, report=lambda made, total: seen.append(made))
    assert seen == [128, 150, 160]  # the span that was at work when it stopped is made anew
    for index in COUNTS:
        assert np.array_equal(pool.images(index), whole.images(index))


@pytest.mark.parametrize("damage", ["cut", "no header", "other header", "lost partial", "short partial"])
def test_a_damaged_pool_is_made_anew(
    tiny_bank: GeneratorBank, tmp_path: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ganaug.pool.Making", functools.partial(Making, span=1))
    folder = SamplePool.create(tiny_bank, COUNTS, directory=tmp_path).folder
    images, header = folder / "images.u8", folder / "pool.json"
    good = images.read_bytes()
    if damage == "cut":
        images.write_bytes(good[:-1])
    elif damage == "no header":
        header.write_text("{")
    elif damage == "other header":
        header.write_text(json.dumps({**json.loads(header.read_text()), "seed": 9}))
    else:
        header.unlink()
        images.unlink()
        (folder / "made.partial").write_bytes(b"\1\1\1\1")
        if damage == "short partial":
            (folder / "images.partial").write_bytes(good[:100])
    SamplePool.create(tiny_bank, COUNTS, directory=tmp_path)
    assert images.read_bytes() == good


def make_in_process(bank: Path, directory: Path, results: Any) -> None:
    torch.set_num_threads(1)
    made: list[int] = []
    pool = SamplePool.create(load(bank), {0: 640}, directory=directory, report=lambda done, total: made.append(done))
    results.put((bool(made), pool.images(0).tobytes()))


def test_processes_that_come_together_make_the_pool_together(tiny_bank: GeneratorBank, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    results: Any = context.Queue()
    bank = tiny_bank.save(tmp_path / "pets.ganaug")
    torch.set_num_threads(1)
    processes = [context.Process(target=make_in_process, args=(bank, tmp_path / "pools", results)) for _ in range(3)]
    for process in processes:
        process.start()
    found = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(timeout=60)
        assert process.exitcode == 0
    assert any(made for made, _ in found)
    expected = tiny_bank.sample("cat", 640).permute(0, 2, 3, 1).contiguous().numpy().tobytes()
    assert {images for _, images in found} == {expected}


def test_it_pickles_as_its_path(tiny_bank: GeneratorBank, tmp_path: Path) -> None:
    pool = SamplePool.create(tiny_bank, {0: 640}, directory=tmp_path)
    pool.images(0)
    pickled = pickle.dumps(pool)
    assert len(pickled) < 2000
    assert np.array_equal(pickle.loads(pickled)[0, 5], pool[0, 5])


def test_a_place_that_cannot_be_written_is_said(
    tiny_bank: GeneratorBank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match=r"cannot be written to .* give another place as pool_dir"):
        SamplePool.create(tiny_bank, COUNTS, directory=tmp_path / "file")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 0, 10))
    with pytest.raises(OutputError, match="make room"):
        SamplePool.create(tiny_bank, COUNTS, directory=tmp_path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_disk_that_fills_up_is_an_error(tiny_bank: GeneratorBank, tmp_path: Path) -> None:
    folder = SamplePool.create(tiny_bank, COUNTS, directory=tmp_path).folder
    for name in ("pool.json", "images.u8"):
        (folder / name).unlink()
    (folder / "images.partial").symlink_to("/dev/full")
    with pytest.raises(OutputError, match="cannot be written"):
        SamplePool.create(tiny_bank, COUNTS, directory=tmp_path)


@pytest.mark.parametrize("counts", [{}, {0: 0}, {0: -1}, {3: 5}])
def test_counts_must_make_sense(tiny_bank: GeneratorBank, tmp_path: Path, counts: dict[int, int]) -> None:
    with pytest.raises(BankError, match="wanted counts of at least 1"):
        SamplePool.create(tiny_bank, counts, directory=tmp_path)


def test_chosen_samples_and_soft_labels(tiny_bank: GeneratorBank, tmp_path: Path) -> None:
    chosen = {0: np.array([5, 3, 100]), 2: np.array([70])}
    soft = {0: np.eye(3, dtype=np.float32), 2: np.full((1, 3), 1 / 3, dtype=np.float32)}
    pool = SamplePool.create(tiny_bank, {0: 5, 2: 2}, seed=3, directory=tmp_path, chosen=chosen, soft=soft)
    for index, wanted in ((0, [5, 3, 100, 5, 3]), (2, [70, 70])):  # from the first again
        expected = tiny_bank.sample_at(index, wanted, seed=3).permute(0, 2, 3, 1).numpy()
        assert np.array_equal(pool.images(index), expected)
    assert [pool.soft(0, j).argmax() for j in range(5)] == [0, 1, 2, 0, 1]
    assert np.array_equal(pickle.loads(pickle.dumps(pool)).soft(2, 1), soft[2][0])
    with pytest.raises(IndexError):
        pool.soft(0, 5)
    with pytest.raises(BankError, match="no samples are chosen of class 1"):
        SamplePool.create(tiny_bank, {1: 5}, directory=tmp_path, chosen=chosen)


def test_pools_of_other_samples_or_labels_are_kept_apart_and_mended(tiny_bank: GeneratorBank, tmp_path: Path) -> None:
    soft = {0: np.eye(3, dtype=np.float32)}
    options: list[dict[str, Any]] = [
        {}, {"chosen": {0: [0, 1, 2]}}, {"chosen": {0: [0, 1, 3]}}, {"soft": soft}, {"soft": {0: 1 - soft[0]}},
    ]  # fmt: skip
    pools = [SamplePool.create(tiny_bank, {0: 3}, directory=tmp_path, **option) for option in options]
    assert len({pool.folder for pool in pools}) == len(options)
    damaged = pools[3].folder / "soft.f32"
    damaged.write_bytes(b"")
    assert SamplePool.create(tiny_bank, {0: 3}, directory=tmp_path, soft=soft).soft(0, 2).tolist() == [0, 0, 1]


def test_workers_make_the_same_pool(tiny_bank: GeneratorBank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = SamplePool.create(tiny_bank, {0: 300, 1: 70}, directory=tmp_path / "here")
    monkeypatch.setattr("ganaug.pool.Making", functools.partial(Making, span=1))
    seen: list[int] = []
    sampled: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(GeneratorBank, "_run_chunk", lambda *arguments: sampled.append(1))
        pool = SamplePool.create(
            tiny_bank, {0: 300, 1: 70}, directory=tmp_path, workers=2, report=lambda made, _: seen.append(made)
        )
    assert not sampled  # not by this process
    assert (pool.folder / "images.u8").read_bytes() == (here.folder / "images.u8").read_bytes()
    assert seen == sorted(seen)
    assert seen[-1] == 370
    assert {path.name for path in pool.folder.iterdir()} <= {"images.u8", "pool.json", "making.lock"}


def test_what_workers_leave_is_made_here(
    tiny_bank: GeneratorBank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ganaug.pool_making._work", exit)  # in their processes
    pool = SamplePool.create(tiny_bank, COUNTS, directory=tmp_path, workers=2)
    assert np.array_equal(pool.images(2), tiny_bank.sample_at(2, range(10)).permute(0, 2, 3, 1).numpy())


def test_a_span_that_a_dead_process_had_is_made_by_another(tiny_bank: GeneratorBank, tmp_path: Path) -> None:
    indices = {0: np.arange(200)}
    making = Making(tmp_path, {0: 200}, indices, 0, 16 * 16 * 3, span=2)
    making.prepare()
    assert making.starts == [0, 128, 200]
    (tmp_path / "span-0.lock").touch()  # left behind, and held by nobody
    making.work(tiny_bank)
    making.finish()
    expected = tiny_bank.sample_at(0, range(200)).permute(0, 2, 3, 1).contiguous().numpy().tobytes()
    assert (tmp_path / "images.u8").read_bytes() == expected
