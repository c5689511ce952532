"""The file of a bank, `NAME.ganaug`: safetensors.

Its header keeps the manifest as JSON under "ganaug"; its tensors are named `generators.0.<parameter>`,
`generators.1.<parameter>`, ..., and `kept.<network>.<parameter>` where the networks that trained them are kept. Nothing
is ever unpickled.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import safetensors
import torch
from pydantic import ValidationError
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn

from ganaug.errors import BankError, OutputError
from ganaug.manifest import FORMAT, Manifest
from ganaug.tasks import get_task

__all__ = ["read_bank", "write_bank"]

_KEPT = "kept."  # before the names of tensors that belong to no generator
_NOT_A_BANK = "is not a bank; give a file that `ganaug fit` wrote, NAME.ganaug"


def write_bank(
    path: Path, manifest: Manifest, generators: nn.ModuleList, kept: Mapping[str, Tensor], *, exist_ok: bool
) -> None:
    """Write a bank, beside its goal first, through a link, which stays; errors as `GeneratorBank.save` has them."""
    tensors = {f"generators.{name}": t.cpu().contiguous() for name, t in generators.state_dict().items()}
    tensors |= {f"{_KEPT}{name}": tensor.cpu().contiguous() for name, tensor in kept.items()}
    data = to_safetensors(tensors, metadata={"ganaug": manifest.model_dump_json()})
    try:
        _check_goal(path, exist_ok)
        goal = path.resolve()
        goal.parent.mkdir(parents=True, exist_ok=True)
        beside = goal.with_name(f".{goal.name}.{os.getpid()}.tmp")
        try:
            beside.write_bytes(data)
            beside.replace(goal)
        finally:
            beside.unlink(missing_ok=True)
    except (OSError, RuntimeError) as error:  # Python 3.12 and before: a loop of links is a RuntimeError
        why = getattr(error, "strerror", None) or error
        raise OutputError(f"{path} cannot be written ({why}); choose another place") from error


def read_bank(file: Path) -> tuple[Manifest, nn.ModuleList, dict[str, Tensor]]:
    """What `write_bank` wrote, on the CPU. Errors as `GeneratorBank.load` has them."""
    if not file.is_file():
        raise BankError(f"{file} {'is a folder' if file.is_dir() else 'does not exist'}; give a file NAME.ganaug")
    try:
        with safetensors.safe_open(file, framework="pt", device="cpu") as opened:
            manifest = _read_manifest(file, opened.metadata() or {})
            generators = _empty_generators(file, manifest)
            expected = {f"generators.{name}": tensor for name, tensor in generators.state_dict().items()}
            kept = {n.removeprefix(_KEPT): opened.get_tensor(n) for n in opened.keys() if n.startswith(_KEPT)}  # noqa: SIM118
            names = [name for name in opened.keys() if not name.startswith(_KEPT)]  # noqa: SIM118
            _check_shapes(file, {name: tuple(opened.get_slice(name).get_shape()) for name in names}, expected)
            # cloned: safetensors maps the file, which may be replaced while the bank is in use
            tensors = {name: opened.get_tensor(name).clone() for name in expected}
    except (safetensors.SafetensorError, OSError) as error:
        raise BankError(f"{file} {_NOT_A_BANK} (or it is cut short: {error})") from error
    _check_values(file, tensors, expected)
    _check_values(file, kept, kept)
    generators.load_state_dict({name.removeprefix("generators."): t for name, t in tensors.items()}, assign=True)
    return manifest, generators, {name: tensor.clone() for name, tensor in kept.items()}


def _check_goal(goal: Path, exist_ok: bool) -> None:
    if goal.is_dir():
        raise OutputError(f"{goal} is a folder; give the name of a file, as {goal / 'NAME.ganaug'}")
    if not goal.exists():
        return
    if not exist_ok:
        raise OutputError(f"{goal} exists; give another name, or allow it to be overwritten (exist_ok)")
    try:
        with safetensors.safe_open(goal, framework="pt") as opened:
            is_bank = "ganaug" in (opened.metadata() or {})
    except (safetensors.SafetensorError, OSError):
        is_bank = False
    if not is_bank:
        raise OutputError(f"{goal} exists and is not a bank, so it is not overwritten; give another name")


def _read_manifest(file: Path, metadata: Mapping[str, str]) -> Manifest:
    if "ganaug" not in metadata:
        raise BankError(f"{file} {_NOT_A_BANK}")
    try:
        values = json.loads(metadata["ganaug"])
        number = values["format"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BankError(f"{file} is damaged: its manifest cannot be read; fit it anew") from error
    if isinstance(number, int) and number > FORMAT:  # said before anything else: the rest may have changed
        raise BankError(f"{file} has format {number}, this ganaug reads up to {FORMAT}; upgrade ganaug")
    try:
        return Manifest.model_validate(values)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join(map(str, problem["loc"])) or "the whole"
        raise BankError(
            f"{file} is damaged: its manifest is wrong at {where} ({problem['msg']}); fit it anew"
        ) from None


def _empty_generators(file: Path, manifest: Manifest) -> nn.ModuleList:
    """The generators that the manifest promises, without memory for their weights: it may promise too much."""
    generators = nn.ModuleList()
    size = manifest.shape.get("image_channels"), manifest.shape.get("resolution")
    for shape in manifest.shapes:
        try:
            with torch.device("meta"):
                generators.append(get_task(manifest.task).build_generator(shape).eval())
                images = generators[-1](torch.empty(2, shape["latent_dim"]), torch.zeros(2, dtype=torch.int64))
            agrees = tuple(images.shape) == (2, size[0], size[1], size[1])
        except (TypeError, ValueError, ArithmeticError, RuntimeError, LookupError):
            agrees = False
        if not agrees:
            raise BankError(f"{file} is damaged: no generator has the shape {shape}; fit it anew")
    return generators


def _check_shapes(file: Path, found: Mapping[str, tuple[int, ...]], expected: Mapping[str, Tensor]) -> None:
    for name, tensor in expected.items():
        if found.get(name) != tuple(tensor.shape):
            got = f"has shape {found[name]}" if name in found else "is missing"
            raise BankError(f"{file} is damaged: {name} {got}, wanted {tuple(tensor.shape)}; fit it anew")
    if len(found) > len(expected):
        extra = min(set(found) - set(expected))
        raise BankError(f"{file} is damaged: {extra} belongs to no generator; fit it anew")


def _check_values(file: Path, tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if tensor.dtype != expected[name].dtype:
            raise BankError(f"{file} is damaged: {name} is {tensor.dtype}, wanted {expected[name].dtype}; fit it anew")
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise BankError(f"{file} is damaged: {name} holds values that are not finite; fit it anew")
