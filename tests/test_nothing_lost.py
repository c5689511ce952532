"""A fit that is killed, told to stop or out of disk: real processes, real signals."""

import multiprocessing
import os
import random
import signal
import sys
import time

import jobs
import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

import ganaug
from ganaug.gan.checkpoint import read_checkpoint

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and limits")

SETTINGS = {
    "kimg": 0.64, "gan.batch": 16, "networks.latent_dim": 4, "networks.generator_channels": 4,
    "networks.discriminator_channels": 4, "networks.max_channels": 8, "snapshots.count": 4, "snapshots.samples": 4,
}  # fmt: skip
STEPS = 40


class Fits:
    """Starts `ganaug fit` as processes: `start("a", "--resume")` writes a.ganaug, and what it says into a.told."""

    def __init__(self, folder):
        self.folder = folder
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["jobs", "ganaug.fitting", "ganaug.workflow", "matplotlib.figure"])
        draw = np.random.default_rng(0)
        for name in ("cat", "dog"):
            (folder / "images" / name).mkdir(parents=True)
            for number in range(6):
                pixels = draw.integers(0, 256, (16, 16), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / "images" / name / f"{number}.png")

    def start(self, name, *more, most_bytes=None, **settings):
        pairs = [f"{key}={value}" for key, value in (SETTINGS | settings).items()]
        arguments = ["--data", str(self.folder / "images"), "--recipe", "classify-16", "--out", str(self.bank(name))]
        arguments += [part for pair in pairs for part in ("--set", pair)]
        process = self.context.Process(
            target=jobs.ganaug_fit, args=([*arguments, *more], self.folder / f"{name}.told", most_bytes)
        )
        process.start()
        return process

    def bank(self, name):
        return self.folder / f"{name}.ganaug"

    def checkpoint(self, name, part="all"):
        return self.folder / f"{name}.run" / f"checkpoint-{part}.safetensors"

    def told(self, name):
        return (self.folder / f"{name}.told").read_text()


@pytest.fixture(scope="module")
def fits(tmp_path_factory):
    """With whole.ganaug, of a fit that nothing happened to."""
    made = Fits(tmp_path_factory.mktemp("fits"))
    assert ended(made.start("whole")) == 0
    return made


def ended(process):
    process.join(300)  # a busy machine takes its time
    return process.exitcode


def wait_for(path, process):
    until = time.monotonic() + 240  # a group of processes takes its time to meet
    while not path.exists():
        assert process.is_alive(), "it ended before"
        assert time.monotonic() < until
        time.sleep(0.002)


def same(one, other):
    ours, theirs = load_file(one), load_file(other)
    scores = [ganaug.load(path).manifest.scores for path in (one, other)]
    return (
        ours.keys() == theirs.keys()
        and scores[0] == scores[1]
        and all(ours[name].numpy().tobytes() == theirs[name].numpy().tobytes() for name in ours)
    )


@pytest.mark.parametrize(("part", "settings"), [("all", {}), ("class-1", {"per_class": "true", "kimg": 0.96})])
@pytest.mark.slow
def test_a_fit_killed_at_any_moment_ends_as_if_it_had_not_been(fits, part, settings):
    whole, killed = "whole" if part == "all" else f"whole-{part}", f"killed-{part}"
    if part != "all":
        assert ended(fits.start(whole, **settings)) == 0
    moments = random.Random(0)
    process = fits.start(killed, **settings)
    wait_for(fits.checkpoint(killed, part), process)
    for _ in range(5):
        process.join(moments.uniform(0, 0.6))
        process.kill()
        assert ended(process) in (0, -signal.SIGKILL), fits.told(killed)
        process = fits.start(killed, "--resume", **settings)
    assert ended(process) == 0
    assert same(fits.bank(whole), fits.bank(killed))
    assert not list(fits.checkpoint(killed).parent.glob("*.part"))


@pytest.mark.slow
def test_a_group_of_processes_killed_at_any_moment_ends_as_if_it_had_not_been(fits):
    assert ended(fits.start("group", "--devices", "2", "--device", "cpu")) == 0
    process = fits.start("killed-group", "--devices", "2", "--device", "cpu")
    wait_for(fits.checkpoint("killed-group"), process)
    process.join(random.Random(1).uniform(0, 0.6))
    process.kill()
    assert ended(process) in (0, -signal.SIGKILL), fits.told("killed-group")
    _, notes = read_checkpoint(fits.checkpoint("killed-group"))
    assert STEPS // 4 <= notes["steps"] < STEPS
    assert ended(fits.start("killed-group", "--resume", "--devices", "2", "--device", "cpu")) == 0
    assert same(fits.bank("group"), fits.bank("killed-group"))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_fit_told_to_stop_finishes_its_step_and_says_how_to_go_on(fits, number, code):
    name = f"told-{code}"
    process = fits.start(name)
    wait_for(fits.checkpoint(name), process)
    os.kill(process.pid, number)
    assert ended(process) == code
    _, notes = read_checkpoint(fits.checkpoint(name))
    step = notes["steps"]
    assert STEPS // 4 < step < STEPS
    assert fits.told(name).splitlines()[-1] == (
        f"ganaug: stopped after step {step} of {STEPS}; the same command with --resume goes on from step {step}"
    )
    assert ended(fits.start(name, "--resume")) == 0
    assert same(fits.bank("whole"), fits.bank(name))


def test_a_checkpoint_that_cannot_be_written_is_said_and_training_goes_on(fits):
    room = fits.bank("whole").stat().st_size + 100
    assert room < fits.checkpoint("whole").stat().st_size
    assert ended(fits.start("full", most_bytes=room)) == 0
    assert fits.told("full").count("checkpoint-all.safetensors cannot be written") == 1
    assert "training goes on without new checkpoints, and there is none yet; make room" in fits.told("full")
    assert same(fits.bank("whole"), fits.bank("full"))


def test_a_bank_that_cannot_be_written_is_not_lost(fits):
    process = fits.start("narrow")
    wait_for(fits.checkpoint("narrow"), process)
    process.kill()
    process.join()
    before = read_checkpoint(fits.checkpoint("narrow"))[1]["steps"]
    assert ended(fits.start("narrow", "--resume", most_bytes=2000)) == 1
    told = fits.told("narrow")
    assert f"the last whole one is of step {before}" in told
    assert told.count("png cannot be written (File too large); training goes on without it") == 1
    assert told.splitlines()[-1].endswith("mend that, and the same command with --resume writes it")
    assert "Traceback" not in told
    assert read_checkpoint(fits.checkpoint("narrow"))[1]["steps"] == before
    assert ended(fits.start("narrow", "--resume")) == 0
    assert same(fits.bank("whole"), fits.bank("narrow"))
