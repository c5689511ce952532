import pytest
import torch

from ganaug.gan.enlarger import Enlarger, EnlargerShape, EnlargingGenerator
from ganaug.gan.enlarging_step import EnlargingTrainer
from ganaug.gan.loop import Fit
from ganaug.gan.shrinking import plainly_enlarged, shrunk
from ganaug.recipe import load_recipe
from ganaug.tasks import get_task
from ganaug.tasks.exam import Exam

CPU = torch.device("cpu")
SHAPE = EnlargerShape(32, 1, generator_channels=8, discriminator_channels=8, blocks=1, shown=3)
RECIPE = load_recipe("enlarge-64").replace({"resolution": 32, "gan.batch": 4, "enlarging.blocks": 1})


def bars(count=12):
    """Bars with hard edges on a dark ground, (count, 1, 32, 32) uint8: what is lost in shrinking can be known."""
    random = torch.Generator().manual_seed(0)
    images = torch.full((count, 1, 32, 32), 30, dtype=torch.uint8)
    for image in images:
        for _ in range(4):
            top, left = torch.randint(0, 26, (2,), generator=random).tolist()
            image[:, top : top + 3, left : left + 6] = 220
    return images


def a_trainer(**changes):
    torch.manual_seed(0)
    made = EnlargingTrainer(RECIPE.replace(changes), SHAPE, CPU)
    made.random.manual_seed(0)
    return made, made.take(bars(), torch.zeros(12, dtype=torch.int64), torch.Generator().manual_seed(1))


def test_it_begins_as_the_plain_enlargement_of_any_size():
    torch.manual_seed(0)
    network = Enlarger(SHAPE)
    images = torch.rand(2, 1, 9, 22) * 2 - 1
    assert torch.allclose(network(images), plainly_enlarged(images), atol=0.05)
    spread = torch.nn.functional.pixel_shuffle(network.spread(torch.rand(1, 8, 6, 6)), 2)
    squares = spread.unfold(2, 2, 2).unfold(3, 2, 2)  # the four pixels that come of one begin alike
    assert torch.allclose(squares, squares[..., :1, :1].expand_as(squares), atol=1e-6)


def exam(recipe=RECIPE):
    labels = torch.zeros(len(bars()), dtype=torch.int64)
    return Exam(recipe, None, bars(), labels, torch.zeros(len(labels), 2), labels)


def test_what_is_kept_is_shown_enlarged():
    generator = EnlargingGenerator(SHAPE)
    images = bars()
    generator.hold(images)
    assert torch.equal(generator.small, shrunk(images[[0, 4, 8]].float()).round().clamp(0, 255).byte())
    noise = torch.tensor([[-3.0, 0.0], [0.0, 9.0], [3.0, 1.0], [0.0, 0.0]])
    made = generator(noise, torch.zeros(4, dtype=torch.int64))
    assert made.shape == (4, 1, 32, 32)
    assert torch.equal(made[:3], generator.enlarge(generator.small))
    assert torch.equal(made[1], made[3])


def test_it_comes_to_know_edges_that_were_shrunk_away():
    trainer, batches = a_trainer(**{"enlarging.noise": 0.0, "enlarging.blur": 0.0})
    before, first = get_task("enlarge").score(trainer.sampler, exam(trainer.recipe))
    for step in range(80):
        logged = trainer.step(batches.draw(), step / 80)
    assert {"discriminator", "generator", "reconstruction", "real_sign"} <= logged.keys()
    after, last = get_task("enlarge").score(trainer.sampler, exam(trainer.recipe))
    assert first["error_ratio"] == pytest.approx(1, abs=0.05)
    assert last["error_ratio"] < 0.95
    assert last["detail_ratio"] > first["detail_ratio"] + 0.05
    assert after > before + 0.05


def test_noise_and_blur_are_no_detail():
    """A score must not be had by adding anything at all."""

    class Noisy(EnlargingGenerator):
        def enlarge(self, images):
            made = super().enlarge(images)
            return (made + torch.randn(made.shape, generator=torch.Generator().manual_seed(0))).clamp(-1, 1)

    torch.manual_seed(0)
    task = get_task("enlarge")
    assert task.score(Noisy(SHAPE), exam())[0] < task.score(EnlargingGenerator(SHAPE), exam())[0]


@pytest.mark.parametrize(
    "changes",
    [{"gan.augment": (), "gan.r1": 0}, {"gan.loss": "relativistic"}, {"reconstruction.share": 0, "enlarging.noise": 0}],
)
def test_settings_that_a_step_must_bear(changes):
    trainer, batches = a_trainer(**changes)
    assert all(bool(value.isfinite()) for value in trainer.step(batches.draw(), 0.9).values())


def test_a_fit_is_resumed_exactly(tmp_path):
    def fit(**changes):
        values = {"evaluate": lambda sampler: (float(next(scores)), {}), "precision": "float32"} | changes
        labels = torch.zeros(12, dtype=torch.int64)
        return Fit(
            images=bars(), labels=labels, recipe=RECIPE, shape=SHAPE, build=EnlargingTrainer, device=CPU, kimg=0.048,
            **values,
        )  # fmt: skip

    def stop(step, steps):
        if step == 10:
            raise KeyboardInterrupt

    scores = iter(range(100))
    whole, path = fit().run(), tmp_path / "checkpoint.safetensors"
    with pytest.raises(KeyboardInterrupt):
        fit(checkpoint=path, on_step=stop).run()
    assert path.exists()
    resumed = fit(checkpoint=path, resume=True).run()
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
