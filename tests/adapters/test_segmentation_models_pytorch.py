import numpy as np
import pytest
import torch
from PIL import Image

import ganaug
from ganaug import measures
from ganaug.errors import BankError, DataError, LeakError, RecipeError

pytest.importorskip("segmentation_models_pytorch")
adapter = pytest.importorskip("ganaug.adapters.segmentation_models_pytorch")

TINY = {
    "resolution": 32, "kimg": 0.016, "networks.generator_channels": 8, "networks.discriminator_channels": 8,
    "networks.max_channels": 16, "gan.batch": 4, "snapshots.count": 1, "snapshots.samples": 4,
}  # fmt: skip


def write_squares(root, start, count=6):
    random = np.random.default_rng(start)
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for number in range(start, start + count):
        mask = np.zeros((32, 32), np.uint8)
        top, left = random.integers(2, 16, 2)
        mask[top : top + 12, left : left + 12] = 255
        image = (40 + 160 * (mask[..., None] > 0) + random.integers(0, 30, (32, 32, 3))).astype(np.uint8)
        Image.fromarray(image).save(root / f"images/{number}.png")
        Image.fromarray(mask).save(root / f"masks/{number}.png")
    return root


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    root = tmp_path_factory.mktemp("sets")
    return write_squares(root / "train", 0), write_squares(root / "val", 6)


@pytest.fixture(scope="module")
def bank(sets):
    with pytest.MonkeyPatch.context() as patch:
        original = measures.train_features
        patch.setattr(measures, "train_features", lambda *args, **named: original(*args, **named, steps=3))
        return ganaug.fit(sets[0], recipe="segment-64", settings=TINY, device="cpu", progress=False)


@pytest.mark.slow
def test_a_unet_learns_from_the_mixed_set(sets, bank, tmp_path):
    said = []
    result = adapter.train(
        sets[0], bank, ratio=0.5, epochs=8, batch=3, lr=3e-3, image_size=32, val=sets[1], device="cpu",
        pool_dir=tmp_path, report=said.append,
    )  # fmt: skip
    assert result.losses[-1] < result.losses[0]
    assert len(said) == 8
    assert result.dice["object"] > 0.6
    assert result.model(torch.zeros(1, 3, 32, 32)).shape == (1, 2, 32, 32)


def test_what_is_refused(sets, bank, tiny_bank, tmp_path):
    with pytest.raises(LeakError, match="the bank was fitted on 6 images"):
        adapter.train(sets[0], bank, val=sets[0])
    with pytest.raises(RecipeError, match="did you mean 'Unet'"):
        adapter.train(sets[0], bank, architecture="Unett")
    with pytest.raises(RecipeError, match="there is no encoder 'resnet17'"):
        adapter.train(sets[0], bank, encoder="resnet17")
    with pytest.raises(BankError, match="wants a bank of task segment"):
        adapter.train(sets[0], tiny_bank)
    other = write_squares(tmp_path / "other", 20)
    for mask in (other / "masks").iterdir():
        Image.fromarray(np.asarray(Image.open(mask)) // 127).save(mask)
    with pytest.raises(DataError, match="has the classes 0, 2"):
        adapter.train(sets[0], bank, val=other)
