"""Small images that look like something: a coloured disc on a shaded ground, another for every number."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw


def draw(number: int, size=(24, 20), mode="RGB") -> Image.Image:
    width, height = size
    rng = np.random.default_rng(number)
    ground = np.linspace(20, 120, width)[None, :, None] + rng.integers(0, 60, 3)[None, None, :]
    image = Image.fromarray(np.broadcast_to(ground, (height, width, 3)).astype(np.uint8))
    x, y = rng.integers(0, width // 2), rng.integers(0, height // 2)
    colour = tuple(int(c) for c in rng.integers(100, 255, 3))
    ImageDraw.Draw(image).ellipse((x, y, x + width // 2, y + height // 2), fill=colour)
    return image.convert(mode)


@pytest.fixture(name="draw")
def _draw():
    return draw


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """pets/cat and pets/dog, four PNG each, of different sizes."""
    root = tmp_path / "pets"
    for k, name in enumerate(("cat", "dog")):
        (root / name).mkdir(parents=True)
        for i in range(4):
            draw(10 * k + i, (24 + i, 20)).save(root / name / f"{i}.png")
    return root
