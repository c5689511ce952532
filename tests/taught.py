"""A generator that was taught what its codes mean: two mixed axes say where a square is and how bright."""

import functools

import torch

from ganaug.bank import GeneratorBank
from ganaug.gan.networks import Generator, NetworkShape
from ganaug.manifest import Manifest
from ganaug.recipe import Recipe

NAMES = ("small", "large")
SIDE, LATENT = 16, 3


def squares(axes, labels):
    """(N, 1, 16, 16) in [-1, 1] of true axes (N, 3): across, then how bright; large ones are of label 1."""
    places = (torch.arange(SIDE) + 0.5) / SIDE * 2 - 1
    x, y = places[None, None, :], places[None, :, None]
    half = torch.where(labels == 1, 0.45, 0.25)[:, None, None]
    apart = torch.maximum((x - 0.15 * axes[:, 0, None, None]).abs(), y.abs().expand(1, SIDE, SIDE))
    inside = torch.sigmoid((half - apart) * 20)
    return (inside * (0.9 + 0.35 * axes[:, 1, None, None]) - 0.7)[:, None].clamp(-1, 1)


@functools.cache
def _generator():
    """Taught by regression, a second's work; its codes are noise, and true axes a turn of them."""
    shape = NetworkShape(SIDE, 1, 2, latent_dim=LATENT, class_dim=4, generator_channels=8, max_channels=16)
    random = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        generator = Generator(shape)
    turn = turned()
    optimiser = torch.optim.Adam(generator.parameters(), lr=1e-2)
    for step in range(200):
        optimiser.param_groups[0]["lr"] = 1e-2 * (1 - step / 200) + 1e-4
        noise, labels = torch.randn(32, LATENT, generator=random), torch.arange(32) % 2
        loss = (generator(noise, labels) - squares(noise @ turn, labels)).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return generator.eval()


def turned():
    """(3, 3): noise times this are the true axes, of which the last is nothing."""
    turn, _ = torch.linalg.qr(torch.randn(LATENT, LATENT, generator=torch.Generator().manual_seed(5)))
    return turn * torch.tensor([1.6, 1.0, 0.0])


def taught_bank(**manifest):
    """A bank for classification of small and large squares."""
    values = {
        "task": "classify", "class_names": NAMES, "label_numbers": (0, 1), "shape": _generator().shape.to_dict(),
        "per_class": False, "recipe": Recipe(resolution=16).model_dump(mode="json"), "kimg": 1.0, "scores": {},
        "versions": {}, "created": "2025-01-01T00:00:00+00:00", "train_fingerprints": (),
    }  # fmt: skip
    made = Generator(_generator().shape)
    made.load_state_dict(_generator().state_dict())
    return GeneratorBank(Manifest(**{**values, **manifest}), [made])
