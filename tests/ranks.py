"""What a process of a group does in a test; a spawned process can import it."""

import itertools
from dataclasses import replace

import torch
from torch import distributed

from ganaug.gan.batches import Batch
from ganaug.gan.cut_outs import ObjectConditions
from ganaug.gan.enlarger import EnlargerShape
from ganaug.gan.enlarging_step import EnlargingTrainer
from ganaug.gan.loop import Fit
from ganaug.gan.mixed import Others
from ganaug.gan.networks import NetworkShape
from ganaug.gan.object_step import ObjectBatch, ObjectTrainer
from ganaug.gan.processes import Group, Processes
from ganaug.gan.step import Trainer
from ganaug.gan.translating import Pieces, TranslationTrainer, TwoDomains
from ganaug.gan.translation import TranslationShape
from ganaug.gan.variation import VariationShape
from ganaug.gan.varying import VariationTrainer
from ganaug.recipe import load_recipe

CPU = torch.device("cpu")
SHAPE = NetworkShape(16, 3, 2, latent_dim=8, generator_channels=8, discriminator_channels=8, max_channels=16, codes=4)
ENLARGED = EnlargerShape(32, 3, generator_channels=8, discriminator_channels=8, blocks=1, shown=4)
TRANSLATED = TranslationShape(32, 3, 2, 8, 2, 8, 4, "day", 32)
VARIED = VariationShape(
    16, 3, 2, latent_dim=8, generator_channels=8, discriminator_channels=8, max_channels=16, sources=16
)
CHANGES = [
    {},
    {"gan.loss": "hinge", "gan.lecam": 0.3, "gan.mode_seeking": 0.1, "data.horizontal_flip": True},
    {"gan.loss": "relativistic", "gan.r2": 1.0, "gan.penalty_every": 1, "networks.discriminators": 2},
    {"reconstruction.share": 0, "gan.class_ramp": [0.2, 0.9]},
    {"unlabelled.share": 0.6},  # with images of no class
    {"generator": "variation"},
    {"task": "detect", "resolution": 32, "objects.alpha": "soft"},
    {"task": "enlarge", "resolution": 32, "data.horizontal_flip": True},
    {"task": "translate", "resolution": 32, "data.horizontal_flip": True, "reconstruction.share": 0},
]


def some_images(count=40, side=16):
    random = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=random), torch.arange(count) % 2


def trained(changes, processes=None, steps=6):
    """Weights by name, and what each step logged."""
    torch.manual_seed(0)
    recipe = load_recipe({"resolution": 16, "kimg": 1}).replace(changes)
    images, labels = some_images(16, recipe.resolution)
    shape, others, processes = SHAPE, None, processes or Processes()
    if "unlabelled.share" in changes:
        shape, others = replace(SHAPE, classes=3), Others(images, labels)
        labels[[0, 2, 4, 6, 7]] = 2  # most of them the rows of one process
    if recipe.generator == "variation":
        trainer = VariationTrainer(recipe, VARIED, CPU, processes=processes)
        images = torch.cat([images, images.roll(2, 0)], 1)
    elif recipe.task == "detect":
        trainer = ObjectTrainer(recipe, replace(SHAPE, resolution=32), CPU, processes=processes)
        boxes = torch.tensor([[4.0, 4.0, 28.0, 28.0]]).repeat(16, 1)
        trainer.take(images, ObjectConditions(labels, boxes, None, images[:4]), torch.Generator())
    elif recipe.task == "enlarge":
        trainer = EnlargingTrainer(recipe, ENLARGED, CPU, processes=processes)
    elif recipe.task == "translate":
        trainer = TranslationTrainer(recipe, TRANSLATED, CPU, processes=processes)
        pieces = Pieces(images, torch.full((16, 2), 32))
        trainer.take(images, TwoDomains(pieces, pieces), torch.Generator())
    else:
        trainer = Trainer(recipe, shape, CPU, processes=processes, others=others)
    trainer.random.manual_seed(0)
    slots = torch.arange(16) // 2 % 4
    batch = (
        ObjectBatch(images, labels, slots, torch.arange(16))
        if recipe.task == "detect"
        else Batch(images, labels, slots)
    )
    if recipe.task == "translate":
        batch = torch.stack([images, images.roll(1, 0)], 1)
    logged = [trainer.step(batch, step / steps) for step in range(steps)]
    networks = {name.replace("discriminator", "judge"): network for name, network in trainer.networks.items()}
    weights = {f"{name}.{key}": t for name, n in networks.items() for key, t in n.state_dict().items()}
    return weights | dict(trainer.running) | {"random": trainer.random.get_state()}, logged


def fitted(folder, processes=None, on_step=lambda step, steps: None, resume=False):
    """The generator that a short fit keeps, its history, and how often it was examined here."""
    images, labels = some_images()
    counter = itertools.count(1)
    fit = Fit(
        images=images,
        labels=labels,
        recipe=load_recipe({"resolution": 16, "gan": {"batch": 8}, "snapshots": {"count": 4}, "kimg": 0.096}),
        shape=SHAPE,
        build=Trainer,
        device=CPU,
        kimg=0.096,
        evaluate=lambda generator: (float(next(counter)), {}),
        precision="float32",
        checkpoint=folder / "checkpoint.safetensors",
        processes=processes or Processes(),
        on_step=on_step,
        resume=resume,
    )
    return fit.run().state_dict(), [(s.step, s.score, s.measures) for s in fit.history], next(counter) - 1


def in_group(rank, size, folder, work, arguments):
    """Runs `work(*arguments, processes=...)` and leaves what it returns in `folder`."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=size)
    torch.save(work(*arguments, processes=Group(CPU)), folder / f"{rank}.pt")
    distributed.destroy_process_group()


def all_trained(processes=None):
    return [trained(changes, processes) for changes in CHANGES]


def collected(processes):
    """Each of what a group brings together."""
    rank = processes.rank
    values = torch.tensor([1.0 + rank, 10.0], requires_grad=True)
    mean = processes.mean(values)
    (mean.square().sum() * (rank + 1)).backward()
    parameter = torch.nn.Parameter(torch.zeros(2, 3, 4, 4).contiguous(memory_format=torch.channels_last))
    parameter.grad = torch.arange(96.0).view(2, 3, 4, 4).contiguous(memory_format=torch.channels_last) * (1 + rank)
    processes.average_gradients([parameter, torch.nn.Parameter(torch.zeros(3))])
    shared = torch.full((2, 3, 4, 4), float(rank)).contiguous(memory_format=torch.channels_last)
    processes.share([shared, torch.tensor(rank)])
    every = torch.arange(6).view(6, 1)
    return {
        "mean": mean.detach(),
        "gradient": values.grad,
        "parameter": parameter.grad,
        "shared": shared,
        "rows": processes.rows(processes.mine(every)),
        "told": processes.told(lambda: {"rank": rank}),
        "gathered": processes.gathered(f"rank {rank}"),
    }
