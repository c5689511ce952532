"""The reference segmenter: a small U-Net (1505.04597), trained from scratch, the same in every arm of a comparison."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from ganaug.errors import RecipeError, TrainingError, did_you_mean
from ganaug.gan.precision import half_pays
from ganaug.gan.seeding import seeded
from ganaug.showing import epochs, faded, in_turn

__all__ = ["augmented", "build_segmenter", "check_augment", "predict_maps", "soft_dice", "train_segmenter"]

_NONE = 255  # in maps, where no class is said
_AUGMENTATIONS = ("none", "flip", "turn", "affine", "elastic", "colour", "cutmix")
_ANGLE, _MOVE, _SCALES = 25.0, 0.1, (0.75, 1.3)
_KNOTS = 6  # of an elastic flow, across an image
_CHUNK = 64  # images predicted at a time


class _UNet(nn.Module):
    """Three levels; NCHW in [-1, 1] to logits of each class at every pixel, of sides that are multiples of 4."""

    def __init__(self, channels: int, classes: int, width: int) -> None:
        super().__init__()
        w = width
        self.one, self.two, self.three = _twice(channels, w), _twice(w, 2 * w), _twice(2 * w, 4 * w)
        self.back_two, self.back_one = _twice(6 * w, 2 * w), _twice(3 * w, w)
        self.head = nn.Conv2d(w, classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        one = self.one(images)
        two = self.two(functional.max_pool2d(one, 2))
        three = self.three(functional.max_pool2d(two, 2))
        two = self.back_two(torch.cat([functional.interpolate(three, scale_factor=2.0), two], 1))
        logits: Tensor = self.head(self.back_one(torch.cat([functional.interpolate(two, scale_factor=2.0), one], 1)))
        return logits


def _twice(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(),
        nn.Conv2d(after, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(),
    )  # fmt: skip


def build_segmenter(*, channels: int, classes: int, width: int = 16) -> nn.Module:
    """An untrained network of NCHW float in [-1, 1] to (N, classes, H, W) logits; sides are multiples of 4."""
    return _UNet(channels, classes, width)


def check_augment(augment: str) -> frozenset[str]:
    """The parts of an augmentation such as "flip+affine+colour".

    "flip" mirrors half of the images; "turn" turns them by quarters; "affine" turns by up to 25 degrees, moves by a
    tenth of the side and scales by 0.75 to 1.3; "elastic" bends half of them by a smooth flow (Simard et al. 2003);
    "colour" changes brightness, contrast and saturation of four in five; "cutmix" puts a rectangle of another image and
    its map into half of them (CutMix, 1905.04899, as 1906.01916 has it for maps); "none" is nothing.

    Raises:
        RecipeError: a part is none of these.
    """
    parts = frozenset(augment.split("+"))
    for part in parts:
        if part not in _AUGMENTATIONS:
            raise RecipeError(
                f"there is no augmentation {part!r} of images with masks{did_you_mean(part, _AUGMENTATIONS)}"
            )
    if "none" in parts and len(parts) > 1:
        raise RecipeError(f"augment is {augment!r}; 'none' goes with no other")
    return parts - {"none"}


def train_segmenter(
    images: Tensor,
    maps: Tensor,
    *,
    classes: int,
    steps: int,
    batch: int = 8,
    seed: int = 0,
    augment: str = "flip",
    lr: float = 3e-3,
    added: int = 0,
    turns: int = 1,
    fading: bool = False,
    device: torch.device | str = "cpu",
    half: bool | None = None,
) -> nn.Module:
    """Train a reference segmenter: AdamW, one-cycle learning rate, cross-entropy and soft Dice.

    Pairs are seen in shuffled epochs; `steps` decides how long, whatever their number, which keeps the arms of a
    comparison equal. The caller's random state is untouched.

    Args:
        images: NCHW uint8; real ones, and `added` others after them.
        maps: NHW uint8 in 0..classes-1, 255 where no class is said.
        classes: how many there are.
        steps: of the optimiser.
        batch: pairs a step.
        seed: of weights, order and augmentation.
        augment: of the training pairs: see `check_augment`.
        lr: the highest of the cycle.
        added: how many of the last pairs are no real ones.
        turns: those are shown in so many equal parts, one in each epoch.
        fading: whether they give way to real ones as training goes on, all of them by its end.
        device: to train on.
        half: bfloat16 autocast; by default where the device computes in it.

    Returns:
        The network, in evaluation mode, on `device`.

    Raises:
        TrainingError: the loss is not finite.
    """
    where, parts = torch.device(device), check_augment(augment)
    real, slots = len(images) - added, added // turns
    order = epochs(real + slots, steps * batch, seed)
    order = in_turn(faded(order, torch.zeros(real + slots), slots if fading else 0, seed), real, slots, turns)
    precision = half_pays(where) if half is None else half
    with seeded(seed, where):
        network = build_segmenter(channels=images.shape[1], classes=classes)
        network.to(where, memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = torch.optim.AdamW(network.parameters(), lr=lr, weight_decay=1e-3)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=lr, total_steps=steps)
        for chosen in order.split(batch):
            shown, wanted = augmented(images[chosen].to(where), maps[chosen].to(where), parts)
            with torch.autocast(where.type, torch.bfloat16, enabled=precision):
                logits = network(_scaled(shown)).float()
            loss = functional.cross_entropy(logits, wanted.long(), ignore_index=_NONE) + soft_dice(logits, wanted)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
    if not math.isfinite(loss.item()):
        raise TrainingError(
            f"the reference segmenter's loss became {loss.item()}; look at images and masks, or try more steps"
        )
    return network.eval()


def _scaled(images: Tensor) -> Tensor:
    return images.float().div(127.5).sub(1).contiguous(memory_format=torch.channels_last)


def soft_dice(logits: Tensor, maps: Tensor) -> Tensor:
    """1 less the soft Dice of every class but the first, over the batch (Milletari et al. 2016, 1606.04797)."""
    got = logits.softmax(1)[:, 1:] * (maps != _NONE)[:, None]
    wanted = torch.stack([maps == cls for cls in range(1, logits.shape[1])], 1).to(got)
    both, sizes = (got * wanted).sum((0, 2, 3)), (got + wanted).sum((0, 2, 3))
    return 1 - ((2 * both + 1) / (sizes + 1)).mean()


def augmented(images: Tensor, maps: Tensor, parts: frozenset[str]) -> tuple[Tensor, Tensor]:
    """A batch of pairs, NCHW and NHW uint8, each changed by draws of its own; of images that leave no class behind.

    All that moves pixels is one grid for each image, sampled once. Draws on the global random state of the CPU.
    """
    if "flip" in parts:
        images, maps = _mirrored(images, maps)
    if "turn" in parts:
        images, maps = _turned(images, maps)
    if parts & {"affine", "elastic"}:
        images, maps = _moved(images, maps, affine="affine" in parts, elastic="elastic" in parts)
    if "cutmix" in parts:
        images, maps = _cut(images, maps)
    return _coloured(images) if "colour" in parts else images, maps


def _mirrored(images: Tensor, maps: Tensor) -> tuple[Tensor, Tensor]:
    chosen = (torch.rand(len(images)) < 0.5).to(images.device)
    return (
        torch.where(chosen[:, None, None, None], images.flip(-1), images),
        torch.where(chosen[:, None, None], maps.flip(-1), maps),
    )


def _turned(images: Tensor, maps: Tensor) -> tuple[Tensor, Tensor]:
    """By quarters, as many as drawn."""
    turned, moved = images.clone(), maps.clone()
    quarters = torch.randint(4, (len(images),)).to(images.device)
    for count in (1, 2, 3):
        chosen = quarters == count
        turned[chosen] = images[chosen].rot90(count, (-2, -1))
        moved[chosen] = maps[chosen].rot90(count, (-2, -1))
    return turned, moved


def _moved(images: Tensor, maps: Tensor, *, affine: bool, elastic: bool) -> tuple[Tensor, Tensor]:
    """By one grid for each image; what comes in from outside is black, and of no class."""
    count, device = len(images), images.device
    grid = functional.affine_grid(
        (_affine_maps(count) if affine else torch.eye(2, 3).repeat(count, 1, 1)).to(device),
        [count, 1, *images.shape[2:]],
        align_corners=False,
    )
    if elastic:
        knots = torch.randn(count, 2, _KNOTS, _KNOTS) * (torch.rand(count, 1, 1, 1) < 0.5) * 0.08
        flow = functional.interpolate(knots.to(device), size=images.shape[2:], mode="bicubic", align_corners=True)
        grid = grid + flow.permute(0, 2, 3, 1)
    shown = functional.grid_sample(images.float(), grid, align_corners=False).round_().byte()
    found = functional.grid_sample((maps.float() + 1)[:, None], grid, mode="nearest", align_corners=False)[:, 0]
    return shown, torch.where(found == 0, _NONE, found - 1).byte()


def _affine_maps(count: int) -> Tensor:
    """(count, 2, 3): of places in the result to places in the image."""
    angle = (2 * torch.rand(count) - 1) * math.radians(_ANGLE)
    low, high = map(math.log, _SCALES)
    scale = torch.exp(low + (high - low) * torch.rand(count))
    cos, sin = angle.cos() / scale, angle.sin() / scale
    move = (2 * torch.rand(count, 2) - 1) * 2 * _MOVE
    return torch.stack([torch.stack([cos, -sin, move[:, 0]], 1), torch.stack([sin, cos, move[:, 1]], 1)], 1)


def _cut(images: Tensor, maps: Tensor) -> tuple[Tensor, Tensor]:
    """A rectangle of the next image of a shuffled batch, in half of the images; its area is anything up to all."""
    count, (height, width), device = len(images), images.shape[2:], images.device
    side = torch.rand(count).sqrt() * (torch.rand(count) < 0.5)
    top, left = (torch.rand(count) * (1 - side) for _ in range(2))
    rows, columns = torch.arange(height) / height, torch.arange(width) / width
    down = (rows >= top[:, None]) & (rows < (top + side)[:, None])
    across = (columns >= left[:, None]) & (columns < (left + side)[:, None])
    inside = (down[:, :, None] & across[:, None, :]).to(device)
    others = torch.randperm(count).to(device)
    return torch.where(inside[:, None], images[others], images), torch.where(inside, maps[others], maps)


def _coloured(images: Tensor) -> Tensor:
    """Brightness, contrast and saturation times 0.6 to 1.4, of four images in five."""
    factors = torch.where(torch.rand(len(images), 1) < 0.8, 0.6 + 0.8 * torch.rand(len(images), 3), 1.0)
    bright, contrast, saturation = factors.to(images.device)[:, :, None, None, None].unbind(1)
    shown = images.float() * bright
    mean = shown.mean((1, 2, 3), keepdim=True)
    shown = mean + contrast * (shown - mean)
    grey = shown.mean(1, keepdim=True)
    return (grey + saturation * (shown - grey)).round_().clamp_(0, 255).byte()


@torch.no_grad()
def predict_maps(network: nn.Module, images: Tensor) -> Tensor:
    """(N, H, W) uint8 on the CPU: the class seen at every pixel of `images` NCHW uint8."""
    device = next(network.parameters()).device
    network.eval()
    parts = [network(_scaled(part.to(device))).argmax(1).byte().cpu() for part in images.split(_CHUNK)]
    return torch.cat(parts)
