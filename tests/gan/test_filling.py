import numpy as np
import pytest
import torch

from ganaug.gan.filling import FillingGenerator, FillingNetwork, FillingShape, guessed, held_ratios
from ganaug.gan.filling_step import FillingTrainer
from ganaug.gan.hole_batches import Grounds, HoleBatches
from ganaug.gan.loop import Fit
from ganaug.recipe import load_recipe

CPU = torch.device("cpu")
SIDE, COUNT = 32, 12
RECIPE = load_recipe(
    {
        "task": "fill",
        "resolution": SIDE,
        "kimg": 0.1,
        "networks": {"generator_channels": 4, "discriminator_channels": 4},
        "reconstruction": {"share": 0.3},
        "gan": {"batch": 4, "generator_lr": 0.002, "discriminator_lr": 0.002, "penalty_every": 4},
        "data": {"horizontal_flip": True},
        "snapshots": {"count": 2},
    }
)
SHAPE = FillingShape(
    resolution=SIDE, image_channels=3, generator_channels=4, discriminator_channels=4, held=6, latent_dim=1 + SIDE**2
)


def stripes(count=COUNT):
    """(count, 3, 32, 32) uint8: columns, light and dark, two pixels wide each, which a smooth guess makes grey."""
    light = torch.arange(SIDE) // 2 % 2 * 160
    random = torch.Generator().manual_seed(0)
    return (light + torch.randint(0, 60, (count, 3, SIDE, SIDE), generator=random)).to(torch.uint8)


def grounds(objects=False):
    where = torch.zeros(COUNT, SIDE, SIDE, dtype=torch.bool)
    shapes = torch.zeros(0, SIDE, SIDE, dtype=torch.bool)
    if objects:
        where[:6, :16] = True
        shapes = torch.zeros(2, SIDE, SIDE, dtype=torch.bool)
        shapes[:, :5, :9] = True
    return Grounds(where, shapes)


def batches(objects=False, batch=64, seed=0):
    return HoleBatches(
        stripes(), grounds(objects), shares=(0.05, 0.2), batch=batch, random=torch.Generator().manual_seed(seed)
    )


def a_trainer(**changes):
    torch.manual_seed(0)
    trainer = FillingTrainer(RECIPE.replace(changes), SHAPE, CPU)
    trainer.random.manual_seed(0)
    return trainer, trainer.take(stripes(), grounds(), torch.Generator().manual_seed(0))


def test_holes_lie_on_no_object():
    drawn = batches(objects=True).draw()
    objects = torch.zeros(64, SIDE, SIDE, dtype=torch.bool)
    objects[:, :16] = True
    shows = drawn.hidden.flatten(1).any(1)
    assert drawn.holes.flatten(1).any(1).all()
    assert not (drawn.holes & drawn.hidden).any()
    assert not (drawn.hidden & ~objects).any()
    assert 8 < int(shows.sum()) < 28  # half of half the images
    assert not (drawn.holes[shows] & objects[shows]).any()


def test_some_holes_have_the_shape_of_objects():
    made = batches(objects=True).holes
    boxes = [hole for hole in made.numpy() if hole.sum() == 45 and hole.any(1).sum() == 5 and hole.any(0).sum() == 9]
    assert 0.3 < len(boxes) / len(made) < 0.5


def test_the_same_seed_draws_the_same():
    first, again, other = (batches(seed=seed).draw() for seed in (1, 1, 2))
    assert torch.equal(first.holes, again.holes)
    assert torch.equal(first.images, again.images)
    assert not torch.equal(first.holes, other.holes)


@pytest.mark.parametrize("size", [(32, 32), (64, 20)])
def test_at_first_the_guess_stays_and_outside_holes_it_always_does(size):
    torch.manual_seed(0)
    network = FillingNetwork(SHAPE)
    images, holes = torch.rand(2, 3, *size) * 2 - 1, torch.zeros(2, 1, *size)
    holes[:, :, 5:15, 3:9] = 1
    added = network(guessed(images, holes), holes, torch.randn(2, 1, *size))
    assert added.shape == images.shape
    assert float(added.detach().abs().max()) < 0.3
    assert not (added * (1 - holes)).any()
    generator = FillingGenerator(SHAPE, network)
    filled = generator.fill(images, holes, torch.randn(2, 1, *size))
    assert torch.equal(filled * (1 - holes), images * (1 - holes))


def test_what_is_hidden_is_not_seen():
    torch.manual_seed(0)
    generator = FillingGenerator(SHAPE)
    images, holes, noise = torch.rand(1, 3, SIDE, SIDE), torch.zeros(1, 1, SIDE, SIDE), torch.randn(1, 1, SIDE, SIDE)
    holes[:, :, 8:20, 8:20] = 1
    first = generator.fill(images, holes, noise)
    second = generator.fill(torch.where(holes > 0, -images, images), holes, noise)
    assert torch.allclose(first * holes, second * holes, atol=1e-6)


@pytest.mark.slow
def test_stripes_are_learned_which_a_smooth_guess_lacks():
    trainer, drawn = a_trainer(**{"gan.generator_lr": 0.005, "reconstruction.share": 0.5})
    before = held_ratios(trainer.sampler.eval())
    logged = [trainer.step(drawn.draw(), step / 120) for step in range(120)]
    after = held_ratios(trainer.sampler)
    assert "real_sign" not in logged[0]
    assert {"discriminator", "generator", "reconstruction", "real_sign", "fake_sign"} <= logged[-1].keys()
    assert before["detail_ratio"] < 0.3
    assert after["detail_ratio"] > 0.5
    assert after["error_ratio"] < 0.8


def test_samples_are_the_squares_held_filled():
    trainer, _ = a_trainer()
    noise = torch.randn(40, SHAPE.latent_dim, generator=torch.Generator().manual_seed(0))
    made = trainer.sampler(noise, torch.zeros(40, dtype=torch.int64))
    images, holes = trainer.sampler.chosen(noise)
    assert made.shape == (40, 3, SIDE, SIDE)
    known = ~holes[:, None].expand_as(made)
    assert torch.equal(made[known], images.float().div(127.5).sub(1)[known])
    assert len({image.numpy().tobytes() for image in images}) == SHAPE.held


def test_a_fit_that_fills_is_resumed_exactly(tmp_path):
    def fit(**changes):
        values = {"evaluate": lambda sampler: (float(next(scores)), {}), "precision": "float32"} | changes
        return Fit(
            images=stripes(), labels=grounds(objects=True), recipe=RECIPE, shape=SHAPE, build=FillingTrainer,
            device=CPU, kimg=0.096, **values,
        )  # fmt: skip

    def stop(step, steps):
        if step == 15:
            raise KeyboardInterrupt

    scores = iter(range(100))
    whole, path = fit().run(), tmp_path / "checkpoint.safetensors"
    with pytest.raises(KeyboardInterrupt):
        fit(checkpoint=path, on_step=stop).run()
    assert path.exists()
    resumed = fit(checkpoint=path, resume=True).run()
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    assert np.isfinite(list(held_ratios(resumed).values())).all()
