"""Who says whether a snapshot's images show their maps."""

import pytest
import torch
from squares import SIDE, masked

from ganaug import load_recipe, map_reader
from ganaug.map_reader import train_reader
from ganaug.tasks import get_task
from ganaug.tasks.exam import Exam

RECIPE = load_recipe("segment-64").replace({"resolution": SIDE, "kimg": 0.6})
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def reader():
    return train_reader(masked(6, 1), RECIPE, CPU)


def test_it_tells_true_pairs_from_false_ones_and_is_the_same_again(reader, monkeypatch):
    data = masked(8, 2)
    true, false = reader(data.images, data.maps), reader(data.images, data.maps.roll(1, 0))
    assert true > 0.7 > false + 0.3
    asked = []
    monkeypatch.setattr(map_reader, "train_segmenter", lambda *_, **k: asked.append(k) or torch.nn.Identity())
    for kimg, steps in ((0.6, 25), (0.001, 1), (100, 150)):
        train_reader(data, RECIPE.replace({"kimg": kimg, "gan.batch": 8}), CPU)
        assert asked[-1]["steps"] == steps
        assert asked[-1]["half"] is False, "what is timed is not the same again"


def test_images_of_classes_have_no_reader(labelled):
    assert train_reader(labelled(2, 1), RECIPE, CPU) is None


def test_a_snapshot_is_scored_by_what_is_seen_in_its_images(reader, monkeypatch):
    task, data = get_task("segment"), masked(6, 1)
    generator = task.build_generator(task.shape(data, RECIPE).to_dict())
    noise = torch.randn(6, generator.shape.latent_dim)
    exam = Exam(RECIPE, None, data.images, data.labels, noise, data.labels, reader=reader)
    monkeypatch.setattr(Exam, "fidelity", lambda *_: (9.0, {"coverage": 0.5}))
    shown, scores = data.maps, []
    monkeypatch.setattr(
        type(generator), "pairs", lambda self, noise: (data.images.float().div(127.5).sub(1), shown)
    )  # fmt: skip
    for shown in (data.maps, data.maps.roll(1, 0)):
        score, told = task.score(generator, exam)
        assert told["map_dice"] == reader(data.images, shown)
        assert score == told["map_dice"] * told["coverage"]
        scores.append(score)
    assert scores[0] > scores[1] + 0.1
