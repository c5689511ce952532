"""Drawn images with boxes on disk, and a bank for detection whose objects are squares of one colour."""

import numpy as np
import torch
from PIL import Image

from ganaug.bank import GeneratorBank, Manifest
from ganaug.gan.cut_outs import ObjectGenerator
from ganaug.gan.networks import NetworkShape
from ganaug.recipe import load_recipe

NAMES = ("red", "blue")
COLOURS = ((220, 30, 30), (30, 30, 220))  # of the real objects
MAGENTA = (230, 25, 230)  # of the bank's


def write_yolo(root, counts=(("train", 6), ("val", 3)), polygons=False):
    """`data.yaml`, images of 64 x 80 px (height, width) and their labels; the last of each part has no object."""
    for part, count in counts:
        (root / "images" / part).mkdir(parents=True)
        (root / "labels" / part).mkdir(parents=True)
        for number in range(count):
            random = np.random.default_rng([len(part), number])
            pixels = np.full((64, 80, 3), 128, dtype=np.uint8) + random.integers(0, 6, (64, 80, 3), dtype=np.uint8)
            rows = []
            for cls in (0, 1)[: 0 if number == count - 1 else 1 + number % 2]:
                left, top = int(random.integers(2, 18)) + 36 * cls, int(random.integers(2, 40))
                pixels[top : top + 18, left : left + 22] = COLOURS[cls]
                corners = np.array([left, top, left + 22, top + 18]) / (80, 64, 80, 64)
                x1, y1, x2, y2 = corners.tolist()
                shape = (x1, y1, x2, y1, x2, y2, x1, y2)
                box = shape if polygons else ((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1)
                rows.append(" ".join(map(str, (cls, *box))))
            Image.fromarray(pixels).save(root / "images" / part / f"{number}.png")
            (root / "labels" / part / f"{number}.txt").write_text("".join(row + "\n" for row in rows))
    lines = [f"path: {root}", *(f"{part}: images/{part}" for part, _ in counts), "names:"]
    lines += [f"  {number}: {name}" for number, name in enumerate(NAMES)]
    (root / "data.yaml").write_text("\n".join(lines) + "\n")
    return root


def square_bank(**manifest):
    """A bank whose objects are magenta squares that fill their crop."""
    shape = NetworkShape(
        resolution=32, image_channels=3, classes=2, latent_dim=8, class_dim=4, generator_channels=8,
        discriminator_channels=8, max_channels=16,
    )  # fmt: skip
    generator = ObjectGenerator(shape)
    torch.nn.init.zeros_(generator.to_image.weight)
    with torch.no_grad():
        generator.to_image.bias.copy_(torch.tensor([1.1, -1.1, 1.1, 3.0]))
    recipe = load_recipe("detect-32").model_dump(mode="json")
    values = {
        "task": "detect", "class_names": NAMES, "label_numbers": (0, 1), "shape": shape.to_dict(), "per_class": False,
        "recipe": recipe, "kimg": 1.0, "scores": {"score": 0.5}, "versions": {"ganaug": "0.1.0"},
        "created": "2025-01-01T00:00:00+00:00", "train_fingerprints": (),
    }  # fmt: skip
    return GeneratorBank(Manifest(**{**values, **manifest}), [generator])
