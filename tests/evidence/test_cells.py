import io
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jobs as work
import pytest
import torch
from rich.console import Console

from ganaug.errors import DataError, MissingExtraError, TrainingError
from ganaug.evidence.cells import Job, _spread, default_workers, kept_result, run_jobs
from ganaug.progress import CellBar


def marked(folder: Path, *names: str, seconds: float = 0.0) -> list[Job]:
    return [Job({"name": name}, work.marked, (str(folder), name, seconds)) for name in names]


def runs(folder: Path) -> dict[str, int]:
    return {path.name: len(path.read_text()) for path in sorted(folder.iterdir())}


@pytest.fixture
def traces(tmp_path: Path) -> Path:
    (tmp_path / "traces").mkdir()
    return tmp_path / "traces"


@pytest.mark.slow
def test_workers_have_one_thread_each_and_results_the_order_of_the_jobs():
    told = []
    jobs = [Job({"seconds": s}, work.sleep, (s,)) for s in (0.4, 0.0, 0.1)]
    here = run_jobs(jobs)
    there = run_jobs(jobs, workers=2, on_done=lambda *given: told.append(given))
    assert [one["slept"] for one in there] == [one["slept"] for one in here] == [0.4, 0.0, 0.1]
    assert {one["threads"] for one in there} == {1}
    assert os.getpid() not in {one["process"] for one in there}
    assert {one["process"] for one in here} == {os.getpid()}
    assert [(done, total) for done, total, *_ in told] == [(1, 3), (2, 3), (3, 3)]
    assert sorted(map(str, (job.arguments[0] for *_, job, _ in told))) == ["0.0", "0.1", "0.4"]
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("workers", [0, 1])
def test_what_is_shared_comes_first(workers):
    images = torch.arange(10, dtype=torch.uint8)
    jobs = [Job({"start": start}, work.total, (start,)) for start in (0, 100)]
    assert run_jobs(jobs, shared=(images,), workers=workers) == [{"total": 45}, {"total": 145}]


def test_a_kept_cell_is_not_run_again(tmp_path, traces):
    folder = tmp_path / "bank.run" / "cells"
    first = run_jobs(marked(traces, "a", "b"), folder=folder)
    told = []
    again = run_jobs(
        marked(traces, "b", "c", "a"), folder=folder, on_done=lambda *given: told.append((given[0], given[2].called))
    )
    assert again == [first[1], {"name": "c"}, first[0]]
    assert runs(traces) == {"a": 1, "b": 1, "c": 1}
    assert told == [(1, "name b"), (2, "name a"), (3, "name c")]
    assert (folder / ".ganaug").is_file()


def test_the_same_key_is_one_job(traces):
    assert run_jobs(marked(traces, "a", "a")) == [{"name": "a"}] * 2
    assert runs(traces) == {"a": 1}


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"key": {"name": "a"}}', '{"key": {"name": "b"}, "result": {}}'])
def test_a_damaged_file_is_run_again(tmp_path, traces, damage):
    (job,) = marked(traces, "a")
    cells = tmp_path / "cells"
    run_jobs([job], folder=cells)
    (cells / job.file).write_text(damage)
    assert kept_result(job, cells) is None
    assert run_jobs([job], folder=cells) == [{"name": "a"}]
    assert runs(traces) == {"a": 2}
    assert json.loads((cells / job.file).read_text()) == {"key": {"name": "a"}, "result": {"name": "a"}}


def test_the_file_is_named_by_the_key_alone():
    one = Job({"seed": 0, "arm": {"ratio": 0.5, "soft": False}}, work.give)
    same = Job({"arm": {"soft": False, "ratio": 0.5}, "seed": 0}, work.sleep, (1,), name="x")
    assert one.file == same.file
    assert one.file != Job({"seed": 1, "arm": {"ratio": 0.5, "soft": False}}, work.give).file
    assert len(one.file) == len("0" * 64 + ".json")


def test_a_fresh_result_is_as_a_kept_one(tmp_path):
    job = Job({"a": (1, 2)}, work.give, ({"pair": (1, 0.1), 3: None},))
    fresh = run_jobs([job], folder=tmp_path)
    assert fresh == run_jobs([job], folder=tmp_path) == [{"pair": [1, 0.1], "3": None}]


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("kind", "raised", "said"),
    [
        ("ours", DataError, "a class has no images; give more"),
        ("extra", MissingExtraError, "timm is not installed; run: python -m pip install 'ganaug[timm]'"),
        (
            "theirs",
            TrainingError,
            "seed 1 failed with ValueError: shapes do not match; what was finished",
        ),
        ("exits", TrainingError, "seed 1 failed with SystemExit: 3; "),
    ],
)
@pytest.mark.slow
def test_what_a_job_raises_is_one_line_and_finished_cells_are_kept(tmp_path, traces, workers, kind, raised, said):
    jobs = [*marked(traces, "a"), Job({"seed": 1}, work.fail, (kind,)), *marked(traces, "b")]
    with pytest.raises(raised) as error:
        run_jobs(jobs, folder=tmp_path / "cells", workers=workers)
    assert type(error.value) is raised
    assert str(error.value).startswith(said)
    assert "\n" not in str(error.value)
    assert kept_result(jobs[0], tmp_path / "cells") == {"name": "a"}
    assert runs(traces) == {"a": 1}


@pytest.mark.parametrize("value", [{"accuracy": float("nan")}, {"accuracy": torch.tensor(0.5)}, 0.5, {"x": {1, 2}}])
def test_what_cannot_be_kept_names_the_job(tmp_path, value):
    with pytest.raises(TrainingError, match=r"^none, seed 3 returned what cannot be kept"):
        run_jobs([Job({"seed": 3}, work.give, (value,), name="none, seed 3")], folder=tmp_path)
    assert not list(tmp_path.glob("*.json"))


@pytest.mark.slow
def test_a_worker_that_dies_is_told():
    with pytest.raises(TrainingError, match="a worker process has died") as error:
        run_jobs([Job({"seed": 0}, work.fail, ("dies",))], workers=1)
    assert "\n" not in str(error.value)
    assert not multiprocessing.active_children()


def test_what_cannot_be_sent_is_told():
    with pytest.raises(DataError, match=r"^own trainer cannot be sent to a worker process .*use workers=0"):
        run_jobs([Job({}, lambda: {}, name="own trainer")], workers=1)
    with pytest.raises(DataError, match="what the jobs share cannot be sent"):
        run_jobs([Job({}, work.sleep)], shared=(lambda: 1,), workers=1)
    assert run_jobs([Job({}, lambda: {"here": 1})]) == [{"here": 1}]


def test_no_job_starts_after_the_deadline(tmp_path, traces):
    jobs = marked(traces, "a", "b", "c", seconds=0.3)
    late = time.monotonic() + 0.1
    assert run_jobs(jobs, deadline=late, folder=tmp_path / "cells") == [{"name": "a"}, None, None]
    assert run_jobs(jobs, deadline=late, folder=tmp_path / "cells") == [{"name": "a"}, None, None], "kept all the same"
    assert run_jobs(jobs[1:], deadline=late, workers=2) == [None, None]
    assert runs(traces) == {"a": 1}


def test_running_jobs_may_end_after_the_deadline():
    jobs = [Job({"i": i}, work.sleep, (0.4,)) for i in range(3)]
    with ThreadPoolExecutor(2) as pool:
        run = list(_spread(jobs, lambda job: pool.submit(job.function, *job.arguments), 2, time.monotonic() + 0.2))
    assert sorted(job.key["i"] for job, _ in run) == [0, 1]


def started(tmp_path, traces, workers):
    """A program of its own with three jobs, one short and two long, once the first is kept and others run."""
    code = (
        "import signal, sys; sys.path.insert(0, sys.argv[1])\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job has it ignored\n"
        "import jobs\nfrom pathlib import Path\nfrom ganaug.evidence.cells import Job, run_jobs\n"
        "if __name__ == '__main__':\n"
        "    todo = [Job({'n': n}, jobs.marked, (sys.argv[2], n, s)) for n, s in (('a', 0), ('b', 60), ('c', 60))]\n"
        f"    run_jobs(todo, folder=Path(sys.argv[3]), workers={workers})\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    tests, cells = Path(work.__file__).parent, tmp_path / "cells"
    process = subprocess.Popen(
        [sys.executable, str(script), str(tests), str(traces), str(cells)],
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    end = time.monotonic() + 60
    while len(runs(traces)) < (3 if workers else 2) or not list(cells.glob("*.json")):
        assert time.monotonic() < end
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    return process, cells


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.slow
def test_ctrl_c_stops_the_workers_and_keeps_what_is_finished(tmp_path, traces, workers):
    process, cells = started(tmp_path, traces, workers)
    try:
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to every process of the group
        _, error = process.communicate(timeout=20)  # until the last worker has closed its stderr
    finally:
        process.kill()
    assert error.rstrip().endswith("KeyboardInterrupt")
    assert error.count("Traceback") == 1, error
    assert len(list(cells.glob("*.json"))) == 1


@pytest.mark.slow
def test_workers_end_with_a_program_that_is_killed(tmp_path, traces):
    process, cells = started(tmp_path, traces, 2)
    process.kill()
    process.communicate(timeout=20)  # until the last worker has closed its stderr
    assert len(list(cells.glob("*.json"))) == 1


def test_workers_and_cluster_are_checked():
    with pytest.raises(DataError, match="workers is -1"):
        run_jobs([], workers=-1)
    with pytest.raises(DataError, match="cluster is 'slurm'"):
        run_jobs([Job({}, work.sleep)], cluster="slurm")
    assert run_jobs([]) == []


def test_default_workers_are_the_threads_that_torch_would_use(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 6)
    assert default_workers() == 6
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert default_workers() == 0


def test_the_bar_tells_what_is_left(tmp_path, traces):
    now = [0.0]
    text = io.StringIO()
    bar = CellBar(6, console=Console(file=text, width=100), clock=lambda: now[0])
    jobs = marked(traces, "a", "b", "c", "d")
    run_jobs(jobs[:2], folder=tmp_path / "cells")
    with bar:
        now[0] = 10.0

        def tick(done: int, total: int, *_: object) -> None:
            now[0] += 10.0 if done > 2 else 0.0

        assert bar.seconds_left() is None
        run_jobs(jobs[:3], folder=tmp_path / "cells", bar=bar, on_done=tick)
        assert bar.done == 3
        assert bar.seconds_left() == pytest.approx(20.0 * 3)  # the two that were kept took no time
        bar.expect(5)
        run_jobs(jobs[3:], bar=bar)
        assert bar.seconds_left() == pytest.approx(10.0 * 1)
    assert "4/5 cells  about 0:00:10 left" in text.getvalue()
