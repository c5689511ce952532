import torch

from ganaug.gan.loop import Fit
from ganaug.gan.variation import VariationShape
from ganaug.gan.varying import PairBatches, VariationTrainer, alike, variety
from ganaug.recipe import load_recipe

CPU = torch.device("cpu")
SHAPE = VariationShape(
    16, 3, 2, latent_dim=4, generator_channels=8, discriminator_channels=8, max_channels=16, sources=14
)
RECIPE = load_recipe(
    {"generator": "variation", "resolution": 16, "gan": {"batch": 8}, "snapshots": {"count": 3}, "kimg": 0.096}
)
LABELS = torch.tensor([0] * 12 + [1] * 2)


def some_images():
    """Squares at a place of their own: two images are alike where theirs are near."""
    images = torch.full((14, 3, 16, 16), 40, dtype=torch.uint8)
    for row in range(14):
        images[row, :, 4:10, row // 2 : row // 2 + 6] = 200 + row
    return images


IMAGES = some_images()


def a_trainer():
    torch.manual_seed(0)
    trainer = VariationTrainer(RECIPE, SHAPE, CPU)
    trainer.random.manual_seed(0)
    return trainer, trainer.take(IMAGES, LABELS, torch.Generator().manual_seed(0))


def test_the_nearest_of_a_class_are_found():
    near, known = alike(IMAGES, LABELS, 3)
    assert known.tolist() == [3] * 12 + [1] * 2
    assert near[12:, 0].tolist() == [13, 12]
    small = torch.nn.functional.avg_pool2d(IMAGES.float().mean(1, keepdim=True), 2).flatten(1)
    small = (small - small.mean(1, keepdim=True)) / small.std(1, keepdim=True)
    for row in range(12):
        distances = (small[:12] - small[row]).norm(dim=1)
        distances[row] = torch.inf
        assert torch.allclose(distances[near[row]], distances.sort().values[:3], atol=1e-3)


def test_brightness_is_no_distance():
    images = torch.cat([IMAGES[:1], IMAGES[:1] // 2, IMAGES[10:11]])
    near, _ = alike(images, torch.zeros(3, dtype=torch.int64), 1)
    assert near[:2, 0].tolist() == [1, 0]


def test_pairs_are_of_one_class_and_never_twice_the_same():
    batches = PairBatches(
        IMAGES, LABELS, batch=400, balanced=True, neighbours=2, random=torch.Generator().manual_seed(0)
    )
    batch = batches.draw()
    first, second = batch.images.amax((2, 3)).long()[:, [0, 3]].unbind(1)
    assert (first != second).all()
    assert torch.equal(first >= 212, batch.labels == 1)
    assert torch.equal(second >= 212, batch.labels == 1)


def test_noise_comes_to_matter_and_images_to_move():
    trainer, batches = a_trainer()
    before = variety(trainer.sampler.eval(), IMAGES, LABELS)
    for step in range(60):
        trainer.step(batches.draw(), step / 60)
    trainer.settle(torch.Generator().manual_seed(1))
    after = variety(trainer.sampler, IMAGES, LABELS)
    assert before["noise_ratio"] < 0.02
    assert after["noise_ratio"] > 2 * before["noise_ratio"]
    assert after["source_ratio"] > 2 * before["source_ratio"]


def test_a_fit_of_variations_is_resumed_exactly(tmp_path):
    def fit(**changes):
        values = {"evaluate": lambda sampler: (float(next(scores)), {}), "precision": "float32"} | changes
        return Fit(
            images=IMAGES, labels=LABELS, recipe=RECIPE, shape=SHAPE, build=VariationTrainer, device=CPU, kimg=0.096,
            **values,
        )  # fmt: skip

    def stop(step, steps):
        if step == 10:
            raise KeyboardInterrupt

    scores = iter(range(100))
    whole, path = fit().run(), tmp_path / "checkpoint.safetensors"
    try:
        fit(checkpoint=path, on_step=stop).run()
    except KeyboardInterrupt:
        assert path.exists()
    resumed = fit(checkpoint=path, resume=True).run()
    assert torch.equal(whole.sources, IMAGES)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    # what it varies is no part of the checkpoint: it would hold all images four times
    assert path.stat().st_size < 4 * sum(t.numel() * 4 for t in whole.state_dict().values()) * 4
