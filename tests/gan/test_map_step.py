import pytest
import torch

from ganaug.gan.checkpoint import restore_trainer, trainer_tensors
from ganaug.gan.map_batches import MapBatches
from ganaug.gan.map_step import MapTrainer
from ganaug.gan.spade import MapShape, one_hot
from ganaug.recipe import load_recipe

RECIPE = load_recipe("segment-64").replace({"resolution": 32, "gan.batch": 4})


def squares(count=6):
    """Bright squares on dark ground, and their maps."""
    random = torch.Generator().manual_seed(0)
    maps = torch.zeros(count, 32, 32, dtype=torch.uint8)
    for one in maps:
        top, left = torch.randint(2, 16, (2,), generator=random).tolist()
        one[top : top + 12, left : left + 12] = 1
    images = 40 + 160 * maps[:, None] + torch.randint(0, 30, (count, 1, 32, 32), generator=random).to(torch.uint8)
    return images, maps


def trainer(seed=0, sketched=False, **changes):
    torch.manual_seed(seed)
    shape = MapShape(
        32, 1, 2, style_dim=4, generator_channels=8, discriminator_channels=8, max_channels=16, maps=6,
        sketched=sketched,
    )  # fmt: skip
    made = MapTrainer(RECIPE.replace(changes), shape, torch.device("cpu"))
    made.random.manual_seed(seed)
    return made


def batches_of(made):
    return made.take(*squares(), torch.Generator().manual_seed(1))


def test_batches_say_which_map_is_kept():
    images, maps = squares()
    batches = MapBatches(images, maps, batch=50, kept=3, random=torch.Generator().manual_seed(0))
    batch = batches.draw()
    assert batches.kept.tolist() == [0, 2, 4]
    assert set(batch.rows.tolist()) == {0, 1, 2}
    at = batch.rows == 1
    assert all(any(torch.equal(one, maps[row]) for row in (2, 3)) for one in batch.maps[at])


@pytest.mark.parametrize("sketched", [False, True])
def test_the_generator_learns_to_show_the_map(sketched):
    made = trainer(sketched=sketched)
    batches, steps = batches_of(made), 120
    first = made.step(batches.draw(), 0.0)
    for step in range(1, steps):
        logged = made.step(batches.draw(), step / steps)
    assert all(bool(value.isfinite()) for value in logged.values())
    # real pixels that are told rebuild much from the first step on
    assert logged["reconstruction"] < (0.9 if sketched else 0.5) * first["reconstruction"]
    made.settle(torch.Generator())
    noise = torch.randn(8, made.shape.latent_dim, generator=torch.Generator().manual_seed(2))
    images, maps = made.sampler.pairs(noise)
    inside, outside = images[:, 0][maps == 1].mean(), images[:, 0][maps == 0].mean()
    assert inside - outside > 0.4


def test_with_a_sketch_the_texture_is_real_and_unknown_parts_are_painted():
    made = trainer(sketched=True)
    batches, steps = batches_of(made), 120
    for step in range(steps):
        made.step(batches.draw(), step / steps)
    made.settle(torch.Generator())
    real, maps = squares()
    classes, shown = one_hot(maps[:1], 2), real[:1].float().div(127.5).sub(1)
    known = torch.ones(1, 1, 32, 32)
    known[:, :, 10:20, 10:20] = 0
    placed = torch.cat([made.average.codes[:1], torch.zeros(1, made.shape.latent_dim - 4)], dim=1)
    with torch.no_grad():
        painted = made.average.paint(placed, classes, torch.cat([shown * known, known], dim=1))
        alone = made.average.paint(placed, classes)
    error = (painted - shown).abs()
    assert error[known == 1].mean() < 0.6 * (alone - shown).abs()[known == 1].mean()
    assert error[known == 0].mean() < 0.3


@pytest.mark.parametrize("sketched", [False, True])
def test_steps_go_on_bit_for_bit_from_what_was_saved(sketched):
    made = trainer(sketched=sketched)
    batches = batches_of(made)
    for _ in range(3):
        made.step(batches.draw(), 0.1)
    saved = {name: tensor.clone() for name, tensor in trainer_tensors(made).items()}
    state = batches.random.get_state()
    other = trainer(seed=5, sketched=sketched)
    others = batches_of(other)
    restore_trainer(other, saved, made.steps)
    others.random.set_state(state)
    for one, its in ((made, batches), (other, others)):
        for _ in range(2):
            one.step(its.draw(), 0.2)
    for name, tensor in trainer_tensors(made).items():
        assert torch.equal(tensor, trainer_tensors(other)[name]), name


@pytest.mark.parametrize(
    "changes", [{"gan.augment": ()}, {"data.horizontal_flip": False}, {"reconstruction.weight": 0}]
)
def test_settings_that_a_step_must_bear(changes):
    made = trainer(**changes)
    logged = made.step(batches_of(made).draw(), 0.0)
    assert all(bool(value.isfinite()) for value in logged.values())
