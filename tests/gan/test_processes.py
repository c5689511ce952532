import pytest
import ranks
import torch
from torch import multiprocessing

from ganaug.gan.processes import Processes
from ganaug.gan.seeding import SharedGenerator, drawn


def run_in_group(folder, work, *arguments, size=2):
    """What `work` returns in each process of a group."""
    multiprocessing.spawn(ranks.in_group, args=(size, folder, work, arguments), nprocs=size)
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(size)]


def without_gradient(name):
    """A bias before a normalisation has none but rounding errors, of which Adam makes whole steps; the norm sees it."""
    return ".trunk" in name and "judge" not in name and name.endswith(("bias", "running_mean"))


@pytest.fixture(scope="module")
def trainings(tmp_path_factory):
    """By recipe: weights and logs of one process, and of each of two."""
    found = run_in_group(tmp_path_factory.mktemp("group"), ranks.all_trained)
    return [ranks.trained(changes) for changes in ranks.CHANGES], found


@pytest.mark.parametrize("index", range(len(ranks.CHANGES)))
def test_two_processes_train_as_one_does_on_the_same_batch(trainings, index):
    (weights, logged), (theirs, their_log) = trainings[0][index], trainings[1][0][index]
    for step, (ours, found) in enumerate(zip(logged, their_log, strict=True)):
        assert ours.keys() == found.keys()
        for name in ours:
            assert float(found[name]) == pytest.approx(float(ours[name]), rel=1e-3, abs=1e-4), (step, name)
    start, _ = ranks.trained(ranks.CHANGES[index], steps=0)
    compared = [name for name in weights if not without_gradient(name)]
    if ranks.CHANGES[index].get("generator") == "variation":
        # What noise does less what none does: little at first, so that rounding turns the steps of single weights.
        one, two, begun = (torch.cat([of[n].double().flatten() for n in compared]) for of in (weights, theirs, start))
        assert torch.linalg.vector_norm(two - one) < 0.1 * torch.linalg.vector_norm(one - begun)
    else:
        for name in compared:
            assert torch.allclose(theirs[name].double(), weights[name].double(), rtol=1e-3, atol=1e-4), name
    moved = [name for name in weights if not torch.equal(weights[name], start[name])]
    assert any("judge" in name for name in moved)
    assert any("running_var" in name for name in moved) == any("running_var" in name for name in weights)


def test_all_processes_hold_the_same_weights(trainings):
    for (ours, our_log), (theirs, their_log) in zip(*trainings[1], strict=True):
        assert ours.keys() == theirs.keys()
        for name in ours:
            assert torch.equal(ours[name], theirs[name]), name
        assert our_log == their_log


def test_what_a_group_brings_together(tmp_path):
    for found in run_in_group(tmp_path, ranks.collected):
        assert found["mean"].tolist() == [1.5, 10]
        # of 1 * |mean|^2 + 2 * |mean|^2, and each value is half of the mean
        assert found["gradient"].tolist() == [1.5 * 3, 10 * 3]
        assert torch.equal(found["parameter"], torch.arange(96.0).view(2, 3, 4, 4) * 1.5)
        assert not found["shared"].any()
        assert found["rows"].flatten().tolist() == list(range(6))
        assert found["told"] == {"rank": 0}
        assert found["gathered"] == ["rank 0", "rank 1"]


def test_a_fit_in_a_group_is_examined_by_its_first_process_and_ends_as_that_of_one(tmp_path):
    (tmp_path / "alone").mkdir()
    weights, history, _ = ranks.fitted(tmp_path / "alone")
    found = run_in_group(tmp_path, ranks.fitted, tmp_path)
    assert [examined for _, _, examined in found] == [4, 0]
    assert found[0][1] == found[1][1]
    assert [row[:2] for row in found[0][1]] == [row[:2] for row in history]
    for name, tensor in weights.items():
        assert torch.equal(found[0][0][name], found[1][0][name])
        assert torch.allclose(found[0][0][name].double(), tensor.double(), rtol=1e-2, atol=2e-3), name


def test_draws_for_all_are_those_of_one():
    def draws(processes):
        generator = SharedGenerator()
        generator.processes = processes
        generator.manual_seed(4)
        return drawn(lambda count: torch.rand(count, 2, generator=generator), 6 // processes.size, generator), generator

    class Second(Processes):
        rank, size = 1, 2

        def mine(self, rows):
            return rows[1::2]

    (whole, one), (half, two) = draws(Processes()), draws(Second())
    assert torch.equal(half, whole[1::2])
    assert torch.equal(one.get_state(), two.get_state())
    assert torch.equal(whole, torch.rand(6, 2, generator=torch.Generator().manual_seed(4)))
