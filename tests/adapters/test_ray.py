import subprocess
import sys
import time
from pathlib import Path

import jobs as work
import pytest
import torch

from ganaug.errors import DataError, MissingExtraError, TrainingError
from ganaug.evidence.cells import Job, kept_result, run_jobs


def test_without_the_library_the_extra_is_named():
    code = (
        "import sys; sys.modules['ray'] = None\n"
        "from ganaug.evidence.cells import Job, run_jobs; run_jobs([Job({}, dict)], cluster='ray')"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "python -m pip install 'ganaug[ray]'" in run.stderr


@pytest.fixture(scope="module")
def local():
    ray = pytest.importorskip("ray", reason="ganaug[ray] is not installed")
    path = {"PYTHONPATH": ":".join(filter(None, sys.path))}
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env={"env_vars": path})
    yield ray
    ray.shutdown()


def test_cells_run_on_the_cluster_and_are_kept_here(local, tmp_path):
    images = torch.arange(10, dtype=torch.uint8)
    jobs = [Job({"start": start}, work.total, (start,)) for start in (0, 100, 200)]
    told = []
    found = run_jobs(
        jobs, shared=(images,), folder=tmp_path, cluster="ray", on_done=lambda *given: told.append(given[:2])
    )
    assert found == [{"total": 45}, {"total": 145}, {"total": 245}] == run_jobs(jobs, shared=(images,))
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert [kept_result(job, tmp_path) for job in jobs] == found
    assert local.is_initialized(), "who starts a cluster shuts it down"


def test_a_task_has_one_thread_and_is_not_of_this_process(local):
    import os

    (found,) = run_jobs([Job({}, work.sleep, (0.0,))], cluster="ray")
    assert found["threads"] == 1
    assert found["process"] != os.getpid()


@pytest.mark.parametrize(
    ("kind", "raised", "said"),
    [
        ("ours", DataError, "a class has no images; give more"),
        ("extra", MissingExtraError, "timm is not installed; run: python -m pip install 'ganaug[timm]'"),
        ("theirs", TrainingError, "seed 1 failed with ValueError: shapes do not match; "),
        ("dies", TrainingError, "the Ray cluster lost a job"),
    ],
)
def test_what_a_job_raises_is_one_line_and_finished_cells_are_kept(local, tmp_path, kind, raised, said):
    done = Job({"name": "a"}, work.sleep, (0.0,))
    run_jobs([done], folder=tmp_path, cluster="ray")
    with pytest.raises(raised) as error:
        run_jobs([done, Job({"seed": 1}, work.fail, (kind,))], folder=tmp_path, cluster="ray")
    assert type(error.value) is raised
    assert str(error.value).startswith(said)
    assert "\n" not in str(error.value)
    assert kept_result(done, tmp_path) is not None


def test_no_job_starts_after_the_deadline(local):
    jobs = [Job({"i": i}, work.sleep, (0.0,)) for i in range(3)]
    assert run_jobs(jobs, cluster="ray", deadline=time.monotonic() - 1) == [None] * 3


def test_more_of_a_gpu_than_there_is(local):
    with pytest.raises(TrainingError, match="a job takes 1 of a GPU and the Ray cluster has 0 GPUs"):
        run_jobs([Job({}, work.sleep, (0.0,))], cluster="ray", gpus=1.0)


def test_a_failure_ends_what_runs(local, tmp_path: Path):
    jobs = [Job({"i": 0}, work.marked, (str(tmp_path), "long", 60.0)), Job({"i": 1}, work.fail, ("theirs",))]
    with pytest.raises(TrainingError):
        run_jobs(jobs, cluster="ray")
    end = time.monotonic() + 30
    while local.available_resources().get("CPU") != 2.0:  # the sleeper's is free again
        assert time.monotonic() < end
        time.sleep(0.2)
