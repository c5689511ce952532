"""GeneratorBank: the fitted generators of one task, which are kept in one file; see bank_file.py."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ganaug.bank_file import read_bank, write_bank
from ganaug.bank_filling import HoleFilling
from ganaug.bank_maps import PairVarying
from ganaug.bank_moves import CHUNK, whole
from ganaug.bank_objects import ObjectVarying
from ganaug.bank_pictures import PictureMaking
from ganaug.bank_varying import ImageVarying
from ganaug.data.images import kind_of
from ganaug.errors import BankError, RecipeError
from ganaug.gan.device import resolve_device
from ganaug.gan.spade import MapGenerator, one_hot
from ganaug.latent import steered
from ganaug.manifest import FORMAT, Manifest, Verdict, joined_manifests
from ganaug.recipe import Latent, Recipe, load_recipe
from ganaug.tasks import get_task

__all__ = ["CHUNK", "FORMAT", "GeneratorBank", "Manifest", "Verdict", "load"]

MOST_SAMPLES = 1_000_000
_WAYS = {
    "classify": "sample gives its images",
    "segment": "sample_pairs gives its images with their label maps",
    "detect": "sample_objects gives its objects with their alpha",
    "fill": "fill fills the holes of images that it is given",
    "enlarge": "enlarge makes images of twice the size of those it is given",
    "translate": "translate turns images into the other domain",
}


class GeneratorBank(PictureMaking, HoleFilling, ImageVarying, ObjectVarying, PairVarying):
    """Fitted generators with their class names, recipe, fingerprints and verdict.

    Args:
        manifest: what the bank says of itself.
        generators: modules of (noise (N, latent_dim) float32, labels (N,) int64) to images NCHW in [-1, 1]: one for
            all classes, or one a class where `manifest.per_class`, and then one for each addition of classes. The bank
            takes them over: they are put into evaluation mode and float32.
        kept: tensors of the networks that trained them, as "encoder.NAME" and "discriminator.NAME", if they are kept.
    """

    def __init__(
        self, manifest: Manifest, generators: Sequence[nn.Module], kept: Mapping[str, Tensor] | None = None
    ) -> None:
        wanted = len(manifest.shapes)
        if len(generators) != wanted:
            raise BankError(f"a bank of these classes holds {wanted} generators, got {len(generators)}")
        self.manifest = manifest
        # as they come from a file: what is sampled before saving and after loading runs alike
        self.generators = nn.ModuleList(generators).eval().float().to(memory_format=torch.contiguous_format)
        self.kept = dict(kept or {})
        self._fingerprint: str | None = None

    @property
    def task(self) -> str:
        """Name of the task, as in `ganaug.tasks.get_task`."""
        return self.manifest.task

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names, in the order of the class indices."""
        return self.manifest.class_names

    @property
    def label_numbers(self) -> tuple[int, ...]:
        """The number that each class had in the data the bank was fitted on."""
        return self.manifest.label_numbers

    @property
    def resolution(self) -> int:
        """Side of the images in pixels."""
        return int(self.manifest.shape["resolution"])

    @property
    def channels(self) -> int:
        """1 (grey) or 3 (RGB)."""
        return int(self.manifest.shape["image_channels"])

    @property
    def varies(self) -> bool:
        """Whether samples are variations of real images, which the bank then holds."""
        return "sources" in self.manifest.shape

    @property
    def planes(self) -> int:
        """Channels of `sample_at`: those of the images, and the label map or the alpha where there is one."""
        return get_task(self.task).planes(self.channels)

    @property
    def recipe(self) -> Recipe:
        """The recipe as resolved; a BankError where this ganaug no longer reads it."""
        try:
            return load_recipe(self.manifest.recipe)
        except RecipeError as error:
            raise BankError(f"this ganaug does not read the recipe of the bank ({error}); fit it anew") from error

    @property
    def verdict(self) -> Verdict | None:
        """The outcome of the last comparison; none where there was none."""
        return self.manifest.verdict

    @property
    def device(self) -> torch.device:
        """Where the generators are."""
        return next(self.generators.parameters()).device

    @property
    def fingerprint(self) -> str:
        """32 hex digits that change with any weight, any class and any setting `latent`, and with nothing else."""
        if self._fingerprint is None:
            told = [self.task, self.class_names, self.label_numbers, CHUNK]
            told += [shape["reach"] for shape in self.manifest.shapes if shape.get("reach", 1) != 1]
            digest = hashlib.sha256(json.dumps(told).encode())
            for name, tensor in self.generators.state_dict().items():
                digest.update(name.encode())
                digest.update(tensor.cpu().contiguous().numpy().tobytes())
            self._fingerprint = digest.hexdigest()[:32]
        return self._fingerprint

    def __repr__(self) -> str:
        names = ", ".join(self.class_names[:8]) + (", ..." if len(self.class_names) > 8 else "")
        size = f"{self.resolution} px {kind_of(self.channels)}"
        return f"GeneratorBank({len(self.class_names)} classes: {names}; {size}; on {self.device})"

    def class_index(self, cls: str | int) -> int:
        """Place of a class in `class_names`, by its name or the user's label number."""
        return self.manifest.class_index(cls)

    def sample(self, cls: str | int, n: int, *, seed: int = 0, start: int = 0) -> Tensor:
        """Samples `start` to `start + n` of a class: the same request gives the same bytes on a machine.

        Args:
            cls: name of the class, or the user's label number.
            n: how many, 1 to 1,000,000.
            seed: of the noise.
            start: index of the first.

        Returns:
            (n, channels, resolution, resolution) uint8 on the CPU.

        Raises:
            BankError: the bank knows no such class, a number is out of range, or its samples are not images alone:
                `sample_pairs` and `sample_objects` give others.
        """
        self.check_task("classify", "sample", self._instead)
        index = self.class_index(cls)
        count = whole(n, "n", 1, MOST_SAMPLES)
        first = whole(start, "start", 0, 2**62)
        return self.sample_at(index, range(first, first + count), seed=seed)

    def sample_pairs(self, n: int, *, seed: int = 0, start: int = 0) -> tuple[Tensor, Tensor]:
        """Samples `start` to `start + n` of a bank for segmentation: images and the label maps that they show.

        Returns:
            (n, channels, resolution, resolution) uint8, and (n, resolution, resolution) uint8 places in `class_names`,
            255 where no class is said; on the CPU. The same request gives the same bytes on a machine.

        Raises:
            BankError: the bank is for another task, or a number is out of range.
        """
        self.check_task("segment", "sample_pairs", self._instead)
        count, first = whole(n, "n", 1, MOST_SAMPLES), whole(start, "start", 0, 2**62)
        samples = self.sample_at(0, range(first, first + count), seed=seed)
        return samples[:, :-1], samples[:, -1]

    def sample_objects(self, cls: str | int, n: int, *, seed: int = 0, start: int = 0) -> tuple[Tensor, Tensor]:
        """Objects `start` to `start + n` of a class, cut out, from a bank for detection.

        An object's box is where its alpha is 128 or more: one connected part.

        Returns:
            (n, channels, resolution, resolution) uint8, and alphas (n, resolution, resolution) uint8, 0 where nothing
            is seen of the object; on the CPU. The same request gives the same bytes on a machine.

        Raises:
            BankError: the bank makes no objects or none of that class, or a number is out of range.
        """
        self.check_task("detect", "sample_objects", self._instead)
        index = self.class_index(cls)
        count, first = whole(n, "n", 1, MOST_SAMPLES), whole(start, "start", 0, 2**62)
        samples = self.sample_at(index, range(first, first + count), seed=seed)
        return samples[:, :-1], samples[:, -1]

    def paint(self, maps: Tensor, *, seed: int = 0) -> Tensor:
        """Images (N, channels, resolution, resolution) uint8 on the CPU of label maps, by a bank for segmentation.

        Args:
            maps: (N, resolution, resolution) integers, places in `class_names`; any other number says no class.
            seed: of the noise, which differs from map to map.

        Raises:
            BankError: the bank is for another task, or varies real images.
        """
        self.refuse_to_paint()
        generator = self.generators[0]
        assert isinstance(generator, MapGenerator), "what the task builds"
        source = torch.Generator(device="cpu").manual_seed(whole(seed, "seed", 0, 2**63 - 1))
        noise = torch.randn(len(maps), int(self.manifest.shapes[0]["latent_dim"]), generator=source).to(self.device)
        rows = (torch.rand(len(maps), generator=source) * len(generator.maps)).long().to(self.device)
        maps = maps.to(self.device)
        classes = one_hot(maps, len(self.class_names))
        return self._run(lambda: generator.paint(generator.place(noise, rows), classes, generator.sketch(maps, rows)))

    def refuse_to_paint(self) -> None:
        """Raises BankError where this bank makes no images of label maps, and says why."""
        self.check_task("segment", "paint", self._instead)
        if self.varies:
            raise BankError(
                "the bank varies real images with their maps, and paints none of a map alone; take vary_pairs, or fit "
                "one with a recipe such as segment-64"
            )

    @property
    def _instead(self) -> str:
        """What makes samples of this bank, in words."""
        return _WAYS.get(self.task, "sample_at gives its samples")

    def check_task(self, task: str, what: str, instead: str) -> None:
        """Make sure that this is a bank for `task`, which `what` wants; a BankError that says `instead` what to do."""
        if self.task != task:
            raise BankError(f"{what} wants a bank of task {task}, and this one is of task {self.task}; {instead}")

    def sample_at(self, class_index: int, indices: Sequence[int], *, seed: int = 0) -> Tensor:
        """The samples with these indices, in this order; sample i is the same whatever else is asked for.

        Args:
            class_index: place of the class in `class_names`.
            indices: at least 0, in any order.
            seed: of the noise.

        Returns:
            (len(indices), planes, resolution, resolution) uint8 on the CPU.
        """
        cls = whole(class_index, "class_index", 0, len(self.class_names) - 1)
        seed = whole(seed, "seed", 0, 2**63 - 1)
        rows: dict[int, list[int]] = {}
        for row, index in enumerate(indices):
            rows.setdefault(whole(index, "an index", 0, 2**63 - 1) // CHUNK, []).append(row)
        found = torch.empty(
            (len(indices), self.planes, self.resolution, self.resolution), dtype=torch.uint8, device="cpu"
        )
        for chunk, places in rows.items():
            found[places] = self._run_chunk(cls, chunk, seed)[[int(indices[row]) % CHUNK for row in places]]
        return found

    def _of_others(self, generator: nn.Module, changes: Mapping[str, Any]) -> GeneratorBank:
        """A bank of one generator that varies other images; `changes` are of the manifest."""
        return GeneratorBank(self.manifest.model_copy(update=changes), [generator]).to(self.device)

    def _run_chunk(self, class_index: int, chunk: int, seed: int) -> Tensor:
        """All CHUNK samples of a chunk, (CHUNK, planes, H, W) uint8 on the CPU."""
        number, row = self._place(class_index)
        generator, shape = self.generators[number], self.manifest.shapes[number]
        noise = _chunk_noise(class_index, chunk, seed, int(shape["latent_dim"]))
        labels = torch.full((CHUNK,), row, dtype=torch.int64, device=self.device)
        return self._run(lambda: get_task(self.task).run(generator, noise.to(self.device), labels))

    def _noise(self, indices: range, seed: int, kind: int | str) -> Tensor:
        """(len(indices), latent_dim): that of samples of a class, or of variations of images, objects or pairs."""
        seed, first = whole(seed, "seed", 0, 2**63 - 1), whole(indices.start, "start", 0, 2**62)
        chunks = range(first // CHUNK, (indices.stop - 1) // CHUNK + 1)
        latent_dim = int(self.manifest.shape["latent_dim"])
        noise = torch.cat([_chunk_noise(kind, chunk, seed, latent_dim) for chunk in chunks])
        return noise[first - chunks.start * CHUNK :][: len(indices)]

    @torch.no_grad()
    def _run(self, make: Callable[[], Tensor]) -> Tensor:
        """What a generator makes, NCHW in [-1, 1], as uint8 on the CPU."""
        # a caller's autocast, TF32 or autotuning must not change what a sample is
        with (
            torch.autocast(self.device.type, enabled=False),
            torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False),
        ):
            images = make()
        return images.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8).cpu()

    def _place(self, class_index: int) -> tuple[int, int]:
        """Which generator makes a class, and which of its classes it is."""
        row = class_index
        for number, shape in enumerate(self.manifest.shapes):
            if row < shape["classes"]:
                return number, row
            row -= shape["classes"]
        raise AssertionError("class indices are checked before")

    def joined(self, other: GeneratorBank) -> GeneratorBank:
        """This bank with the classes of another after its own; its own samples stay the same, byte for byte.

        Numbers of classes that are taken already are replaced by the next free ones. There is no verdict: the last one
        was on fewer classes.

        Raises:
            BankError: a class is in both, or images have another task, size or number of channels.
        """
        if shared := [name for name in other.class_names if name in self.class_names]:
            raise BankError(f"class {shared[0]!r} is in the bank already; name the new classes alone (--classes)")
        for what in ("task", "resolution", "channels", "varies"):
            ours, theirs = getattr(self, what), getattr(other, what)
            if ours != theirs:
                raise BankError(f"{what} of the bank is {ours}, and that of the added classes {theirs}; fit them alike")
        return GeneratorBank(
            joined_manifests(self.manifest, other.manifest), [*self.generators, *other.generators], self.kept
        )

    def to(self, device: str | torch.device) -> GeneratorBank:
        """Move the generators, as a module's `to` does; returns the bank."""
        self.generators.to(resolve_device(device))
        return self

    def with_verdict(self, verdict: Verdict | None) -> GeneratorBank:
        """The same generators with another verdict."""
        changes = {"verdict": verdict, "format": FORMAT}  # a verdict may say what an older format could not
        return GeneratorBank(self.manifest.model_copy(update=changes), list(self.generators), self.kept)

    def with_latent(self, latent: Latent | Mapping[str, Any] | None) -> GeneratorBank:
        """The same generators, whose samples are moved along directions or go farther; there is no verdict on these.

        Args:
            latent: as a recipe's section `latent`, such as `{"exclude": [2], "shift": {0: 1.5}}`, in place of a setting
                before; None for samples as they were fitted. Directions are numbered as `ganaug explore` shows them.

        Raises:
            RecipeError: it says what no recipe may say.
            BankError: a direction or a class is not there, or the bank is of a task without directions.
        """
        if isinstance(latent, Mapping):
            latent = load_recipe({"latent": dict(latent)}).latent
        manifest, generators = steered(self.manifest, list(self.generators), latent)
        return GeneratorBank(manifest, generators, self.kept)

    def save(self, path: str | Path, *, exist_ok: bool = True) -> Path:
        """Write the bank to a file, beside its goal first; returns the path.

        Raises:
            OutputError: the path is a folder or a file that is no bank, is there and not `exist_ok`, or cannot be
                written.
        """
        write_bank(Path(path), self.manifest, self.generators, self.kept, exist_ok=exist_ok)
        return Path(path)

    @classmethod
    def load(cls, path: str | Path, device: str | torch.device = "cpu") -> GeneratorBank:
        """Read a bank from a file.

        Raises:
            BankError: the file is no bank, is cut short, or its header does not agree with what is in it.
            DeviceError: the device is not there.
        """
        where = resolve_device(device)
        manifest, generators, kept = read_bank(Path(path))
        return cls(manifest, list(generators), kept).to(where)


def load(path: str | Path, device: str | torch.device = "cpu") -> GeneratorBank:
    """Read a bank from a file; see `GeneratorBank.load`."""
    return GeneratorBank.load(path, device)


def _chunk_noise(class_index: int | str, chunk: int, seed: int, latent_dim: int) -> Tensor:
    """(CHUNK, latent_dim) float32 on the CPU, the same on every machine."""
    digest = hashlib.sha256(f"{seed}/{class_index}/{chunk}".encode()).digest()
    source = torch.Generator(device="cpu").manual_seed(int.from_bytes(digest[:8], "little") >> 1)
    return torch.randn((CHUNK, latent_dim), generator=source, dtype=torch.float32, device="cpu")
