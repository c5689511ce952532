import atexit
import os
import pickle
import signal
import subprocess
import sys
import time

import pytest
import torch

import ganaug
from ganaug.errors import DataError, DeviceError, LostProcessError, RecipeError, TrainingError
from ganaug.gan.interruption import Interrupted
from ganaug.gan.processes import Processes
from ganaug.launching import Ranks, _started, resolve_ranks
from ganaug.starting import _as_ours, _unpacked, pack

CPU = torch.device("cpu")
PROGRAM = "from ganaug.cli import main; main()"


def work(processes, device, kind, folder):
    """In each of two processes; see the tests."""
    (folder / f"{processes.rank}.pid").write_text(str(os.getpid()))
    if kind in ("fine", "late"):
        found = processes.gathered((processes.rank, device.type))
        atexit.register(os.abort)  # as threads of the network library do, at times
        if kind == "late" and processes.rank == 1:
            time.sleep(1)
            os.kill(os.getpid(), signal.SIGKILL)
        return found
    if processes.rank == 1:
        partner = folder / "0.pid"
        while not (partner.exists() and partner.read_text()):  # else it may be ended before it has begun
            time.sleep(0.01)
        if kind == "ours":
            raise DataError("one line")
        os.kill(os.getpid(), signal.SIGKILL)
    processes.gathered(0)  # its partner has ended: it must not wait for ever
    return None


@pytest.mark.parametrize(
    ("kind", "error", "said"),
    [
        ("fine", None, ""),
        ("late", None, ""),
        ("ours", DataError, "^one line$"),
        ("dies", TrainingError, "has died"),
    ],
)
@pytest.mark.slow
def test_what_one_process_says_is_what_all_say(tmp_path, kind, error, said):
    before = dict(os.environ)
    ranks = Ranks(CPU, 2)
    if error is None:
        assert ranks.run(work, kind, tmp_path) == [(0, "cpu"), (1, "cpu")]
    else:
        with pytest.raises(error, match=said):
            ranks.run(work, kind, tmp_path)
    assert dict(os.environ) == before
    for rank in (0, 1):
        with pytest.raises(ProcessLookupError):
            os.kill(int((tmp_path / f"{rank}.pid").read_text()), 0)


def test_faults_and_interrupts_are_sent_as_they_are():
    fault = pickle.loads(_as_ours(ValueError("shapes do not match")))
    assert isinstance(fault, TrainingError)
    assert str(fault) == "a process of the fit failed with ValueError: shapes do not match"
    told = pickle.loads(_as_ours(Interrupted(15, 32, 90, 32)))
    assert (told.number, told.step, told.steps, told.saved) == (15, 32, 90, 32)


def test_large_tensors_are_mapped_and_small_ones_sent(tmp_path):
    large = torch.arange(2_000_000, dtype=torch.uint8).view(2, 1000, 1000)
    work = {"large": large, "turned": large.transpose(0, 2), "small": torch.arange(3.0)}
    pack(work, tmp_path)
    assert (tmp_path / "work").stat().st_size < 10_000
    assert sorted(path.stat().st_size for path in tmp_path.glob("tensor-*")) == [2_000_000] * 2
    found = _unpacked(tmp_path)
    assert all(torch.equal(found[name], tensor) and found[name].dtype == tensor.dtype for name, tensor in work.items())
    found["large"].zero_()  # its own
    assert torch.equal(_unpacked(tmp_path)["large"], large)
    with pytest.raises(DataError, match="cannot be sent to other processes"):
        pack(lambda: None, tmp_path)


def test_one_process_is_not_started_but_called(tmp_path):
    def here(processes, device, value):
        return processes.size, device, value

    assert resolve_ranks("cpu").run(here, 3) == (1, CPU, 3)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"devices": 0}, "devices is 0; give a whole number from 1 on, or auto"),
        ({"devices": "many"}, "devices is 'many'; give"),
        ({"num_nodes": -1}, "num_nodes is -1; give"),
        ({"devices": 4097}, "4097 processes on this machine, and .* ask for"),
        ({"num_nodes": 2}, "MASTER_ADDR, MASTER_PORT, NODE_RANK"),
    ],
)
def test_what_cannot_be_had_is_said(asked, said):
    with pytest.raises(DeviceError, match=said):
        resolve_ranks("cpu", **asked)


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks for a card that is not there")
def test_a_card_that_is_not_there_is_said():
    with pytest.raises(DeviceError, match="'cuda' is not on this machine"):
        resolve_ranks("cuda", devices=2)


def test_auto_is_one_process_on_a_cpu():
    assert resolve_ranks("cpu", devices="auto").size == 1


def test_torchrun_and_slurm_are_found(monkeypatch):
    torchrun = {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "2", "SLURM_STEP_NUM_TASKS": "4"}
    srun = {"SLURM_STEP_NUM_TASKS": "16", "SLURM_STEP_NUM_NODES": "2", "SLURM_NTASKS": "16"}
    assert _started(torchrun) == (2, 4)
    assert _started(srun) == (8, 2)
    assert _started({"SLURM_NTASKS": "16"}) is None  # a batch script is one process
    assert _started({}) is None
    for name, value in torchrun.items():
        monkeypatch.setenv(name, value)
    assert resolve_ranks("cpu", devices=2, num_nodes=4).outside
    with pytest.raises(DeviceError, match="devices is 1, and torchrun or SLURM has started processes for 2"):
        resolve_ranks("cpu", devices=1)


def test_batches_and_images_must_go_round():
    ranks = Ranks(CPU, 4, 2)
    for batch in (63, 24):
        with pytest.raises(RecipeError, match="a multiple of 8 that is at least 32"):
            ranks.check_batch(batch)
    ranks.check_batch(40)
    Ranks(CPU).check_batch(7)
    with pytest.raises(DataError, match="8 processes and 7 images"):
        ranks.check_images(7)


def test_what_fails_in_one_is_said_by_the_first_alone():
    class Pretended(Processes):
        size = 2

        def __init__(self, rank, other):
            self.rank, self.other = rank, other

        def gathered(self, value):
            return [value, self.other] if self.rank == 0 else [self.other, value]

    with pytest.raises(DataError, match="theirs"), Ranks(CPU, 2, 1, True, Pretended(0, DataError("theirs"))).as_one():
        pass
    with pytest.raises(LostProcessError), Ranks(CPU, 2, 1, True, Pretended(1, None)).as_one():
        raise DataError("mine")


def ended(command, folder):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, timeout=240)


@pytest.mark.slow
def test_a_fit_by_two_processes_leaves_what_one_leaves(image_folder, tiny_recipe, tmp_path):
    (tmp_path / "tiny.yaml").write_text(tiny_recipe.to_yaml())
    fit = ["fit", "--data", str(image_folder), "--recipe", "tiny.yaml", "--device", "cpu", "--out"]
    two = ended([sys.executable, "-c", PROGRAM, *fit, "two.ganaug", "--devices", "2"], tmp_path)
    assert two.returncode == 0, two.stderr
    assert "on 2 x cpu" in two.stderr
    assert two.stderr.count("wrote two.ganaug") == 1
    assert "distributed" not in two.stderr
    one = ganaug.fit(image_folder, recipe=tmp_path / "tiny.yaml", progress=False)
    bank = ganaug.load(tmp_path / "two.ganaug")
    assert bank.manifest.recipe == one.manifest.recipe
    for ours, theirs in zip(one.generators.parameters(), bank.generators.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=5e-3)
    assert len(list((tmp_path / "two.run").glob("samples-*"))) == 2


@pytest.mark.slow
def test_under_torchrun_a_fit_finds_its_processes(image_folder, tiny_recipe, tmp_path):
    (tmp_path / "tiny.yaml").write_text(tiny_recipe.to_yaml())
    (tmp_path / "program.py").write_text(PROGRAM)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "program.py"]
    fit = [
        *torchrun,
        "fit",
        "--data",
        str(image_folder),
        "--recipe",
        "tiny.yaml",
        "--device",
        "cpu",
        "--out",
        "t.ganaug",
    ]
    well = ended(fit, tmp_path)
    assert well.returncode == 0, well.stderr
    assert well.stderr.count("wrote t.ganaug") == 1
    assert well.stderr.count("on 2 x cpu") == 1
    assert ganaug.load(tmp_path / "t.ganaug").class_names == ("cat", "dog", "owl")
    refused = ended(fit, tmp_path)
    assert refused.returncode != 0
    assert refused.stderr.count("exists already") == 1


@pytest.mark.slow
def test_processes_end_with_the_one_that_started_them(tmp_path):
    code = (
        "import sys; sys.path[:0] = ['.']\n"
        "if __name__ == '__main__':\n"
        "    import pathlib, torch, sleepers\n"
        "    from ganaug.launching import Ranks\n"
        "    Ranks(torch.device('cpu'), 2).run(sleepers.sleep, pathlib.Path('.'))\n"
    )
    (tmp_path / "main.py").write_text(code)
    (tmp_path / "sleepers.py").write_text(
        "import os, time\n"
        "def sleep(processes, device, folder):\n"
        "    (folder / f'{processes.rank}.pid').write_text(str(os.getpid()))\n"
        "    time.sleep(200)\n"
    )
    parent = subprocess.Popen([sys.executable, "main.py"], cwd=tmp_path)
    files = [tmp_path / "0.pid", tmp_path / "1.pid"]
    until(lambda: all(file.exists() and file.read_text() for file in files), 120)
    parent.kill()
    parent.wait()
    until(lambda: not any(os.path.exists(f"/proc/{file.read_text()}") for file in files), 20)


def until(happened, seconds):
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "waited for nothing"
        time.sleep(0.1)
