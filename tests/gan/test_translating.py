import pytest
import torch
from torch.nn import functional

from ganaug.gan.translating import PatchHeads, Pieces, TranslationTrainer, TwoDomains, patch_nce
from ganaug.gan.translation import TranslationGenerator, TranslationNetwork, TranslationShape
from ganaug.measures import content_kept
from ganaug.recipe import load_recipe

SHAPE = TranslationShape(16, 3, 2, 8, 2, 8, 4, "day", 16)


def test_patch_nce_is_the_cross_entropy_of_each_place():
    queries, keys = (functional.normalize(torch.randn(2, 5, 3), dim=-1) for _ in range(2))
    errors = []
    for image in range(2):
        for place in range(5):
            similar = torch.stack([queries[image, place] @ keys[image, other] for other in range(5)]) / 0.1
            errors.append(-similar.log_softmax(0)[place])
    assert torch.allclose(patch_nce(queries, keys, 0.1), torch.stack(errors).mean(), atol=1e-5)


def test_patches_are_of_the_same_places_at_every_level():
    heads = PatchHeads((2, 3), dim=4)
    features = [torch.randn(2, 2, 4, 4), torch.randn(2, 3, 2, 2)]
    first, second = heads(features, [torch.tensor([6]), torch.tensor([0, 3])])
    assert first.shape == (2, 1, 4)
    assert torch.allclose(first.norm(dim=-1), torch.ones(2, 1), atol=1e-5)
    alone = functional.normalize(heads.heads[1](features[1][:, :, 1, 1]), dim=-1)
    assert torch.allclose(second[:, 1], alone, atol=1e-5)


def test_crops_are_of_what_is_an_image():
    images = torch.zeros(2, 1, 24, 24, dtype=torch.uint8)
    images[0, :, :16, :20], images[1] = 1, 2
    crops = Pieces(images, torch.tensor([[16, 20], [24, 24]])).crops(200, 16, torch.Generator().manual_seed(0))
    assert crops.shape == (200, 1, 16, 16)
    assert crops.flatten(1).unique(dim=1).shape == (200, 1)
    assert set(crops[:, 0, 0, 0].tolist()) == {1, 2}


def test_levels_are_those_of_what_is_an_image():
    images = torch.randint(256, (3, 2, 8, 8), dtype=torch.uint8)
    mean, spread = Pieces(images, torch.tensor([[8, 8], [4, 6], [8, 2]])).levels()
    parts = [images[0], images[1][:, :4, :6], images[2][:, :, :2]]
    values = torch.cat([part.flatten(1) for part in parts], 1).double() / 127.5 - 1
    assert torch.allclose(mean, values.mean(1))
    assert torch.allclose(spread, values.std(1, correction=0))


def test_a_network_takes_any_size_and_a_generator_shows_its_sources():
    network = TranslationNetwork(SHAPE)
    assert network(torch.zeros(1, 3, 20, 36)).shape == (1, 3, 20, 36)
    assert [tuple(level.shape[1:]) for level in network.encode(torch.zeros(1, 3, 16, 16), torch.tensor([1]))] == [
        (8, 16, 16), (16, 8, 8), (32, 4, 4), (32, 4, 4),
    ]  # fmt: skip
    generator = TranslationGenerator(SHAPE, network)
    generator.sources[2] = 255
    noise = torch.tensor([[0.1, 0.0], [-9.0, 0.0], [9.0, 0.0]])
    assert generator.rows(noise).tolist() == [2, 0, 3]
    made = generator(noise, torch.zeros(3))
    assert torch.allclose(made[:1], generator.translate(generator.sources[2:3]), atol=1e-5)


def test_content_is_kept_by_any_brightness_and_lost_by_another_place():
    image = torch.zeros(1, 3, 48, 48)
    image[..., 12:30, 20:40] = 200
    image = (image + 20 * torch.rand(48, 48)).byte()
    assert content_kept(image, image) > 0.99
    assert content_kept(image, 255 - image // 3) > 0.95
    assert content_kept(image, image.roll(14, 3)) < 0.5
    assert content_kept(image, torch.full_like(image, 90)) < 0.05
    assert content_kept(torch.full_like(image, 90), image) == 0


def scenes(count, colour, seed):
    """(count, 3, 24, 24) uint8: a bright square on a ground of that colour."""
    random = torch.Generator().manual_seed(seed)
    images = torch.tensor(colour)[None, :, None, None] * torch.rand(count, 1, 1, 1, generator=random).add(1).div(2)
    images = images.expand(count, 3, 24, 24).clone()
    for image, (top, left) in zip(images, torch.randint(0, 14, (count, 2), generator=random).tolist(), strict=True):
        image[:, top : top + 9, left : left + 9] += 90
    return (images + 10 * torch.rand(count, 3, 24, 24, generator=random)).byte()


@pytest.fixture(scope="module")
def trained():
    recipe = load_recipe("translate-64").replace({"gan.generator_lr": 2e-3, "gan.discriminator_lr": 2e-3})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        trainer = TranslationTrainer(recipe, SHAPE, torch.device("cpu"))
    trainer.random.manual_seed(0)
    red, blue = scenes(24, (140.0, 40.0, 30.0), 0), scenes(24, (30.0, 50.0, 150.0), 1)
    both = TwoDomains(*(Pieces(part, torch.full((24, 2), 24)) for part in (red, blue)))
    batches = trainer.take(blue, both, torch.Generator().manual_seed(0))
    logged = [trainer.step(batches.draw(), step / 100) for step in range(100)]
    return trainer, red, logged


@pytest.mark.slow
def test_a_translator_learns_the_colours_of_the_other_domain_and_keeps_what_is_there(trained):
    trainer, red, logged = trained
    with torch.no_grad():
        made = trainer.sampler.translate(red).add(1).mul(127.5).round().byte()
    assert float((made[:, 2].float() - made[:, 0].float()).mean()) > 30  # red is by 110 more before
    assert content_kept(red, made) > 0.6
    assert float(logged[-1]["content_error"]) < 0.8 * float(logged[0]["content_error"])


def test_images_of_the_target_are_not_shown_the_translator_without_a_weight(trained):
    trainer, _, logged = trained
    assert "identity_error" not in logged[0]
    recipe = trainer.recipe.replace({"translation.identity": 0.5})
    other = TranslationTrainer(recipe, SHAPE, torch.device("cpu"))
    batch = torch.zeros(4, 2, 3, 16, 16, dtype=torch.uint8)
    assert "identity_error" in other.step(batch, 0.0)
