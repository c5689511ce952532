"""How a fit comes to run as several processes: started here, one on each device, or by torchrun or SLURM.

lightning-fabric starts them, finds their places and lets them meet; it is imported for more than one process only.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch.multiprocessing.spawn import ProcessException

from ganaug.errors import DataError, DeviceError, GanaugError, LostProcessError, RecipeError
from ganaug.gan.device import resolve_device
from ganaug.gan.processes import Group, Processes
from ganaug.starting import Children, Work, complaint, hush, pack

__all__ = ["Devices", "Ranks", "resolve_ranks"]

Devices = int | str | None
Found = TypeVar("Found")

_LEAST = 4  # real images of a batch for each process: two are rebuilt, and two are matched by a pair from noise


@dataclass(frozen=True)
class Ranks:
    """The processes of a fit: how many, on which kind of device, and who starts them."""

    device: torch.device
    """Of this process; of the first where they are still to be started."""
    local: int = 1
    """Processes on each machine."""
    machines: int = 1
    outside: bool = False
    """Whether torchrun or SLURM has started them, so that this process is one of them."""
    processes: Processes = field(default_factory=Processes)
    """The group that this process is one of."""

    @property
    def size(self) -> int:
        """Processes in all."""
        return self.local * self.machines

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes the result."""
        return self.processes.first and (self.outside or self.processes.size > 1 or _node_rank() == 0)

    def run(self, function: Callable[..., Found], *arguments: Any) -> Found:
        """Call `function(processes, device, *arguments)` in every process, and return what it gave in the first.

        Where torchrun or SLURM has started them, all return their own.

        Raises:
            GanaugError: what one of the processes raised; the others are ended.
        """
        if self.outside or self.size == 1:
            return function(self.processes, self.device, *arguments)
        with tempfile.TemporaryDirectory(prefix="ganaug-") as name, _environment(), Children() as children:
            folder = Path(name)
            pack((function, arguments), folder)
            try:
                self._fabric("ddp_spawn").launch(Work(folder))
            except ProcessException as error:
                if not (folder / "found").exists():  # else it died of something else than its work
                    raise complaint(folder, str(error), children.interrupted) from error
            except KeyboardInterrupt as error:
                children.end_by_themselves()
                raise complaint(folder, "stopped", True) from error
            if not (folder / "found").exists():
                raise complaint(folder, "it found nothing", children.interrupted)
            found: Found = pickle.loads((folder / "found").read_bytes())
            return found

    @contextlib.contextmanager
    def as_one(self) -> Iterator[None]:
        """What fails inside in one process fails in all, and only the first says why."""
        failed: GanaugError | None = None
        try:
            yield
        except GanaugError as error:
            failed = error
        said = [error for error in self.processes.gathered(failed) if error is not None]
        if said and self.processes.first:
            raise said[0]
        if said:
            raise LostProcessError("the first process of this fit says why it has ended")

    def check_batch(self, batch: int) -> None:
        """Make sure that the processes can share a batch; a RecipeError where they cannot."""
        least = _LEAST * self.size
        if self.size > 1 and (batch % self.size or batch < least):
            raise RecipeError(
                f"a batch of {batch} images cannot be shared by {self.size} processes; set gan.batch (--batch) to a "
                f"multiple of {self.size} that is at least {least}"
            )

    def check_images(self, count: int) -> None:
        """Make sure that there is an image for each process; a DataError where there is not."""
        if self.size > count:
            raise DataError(
                f"there are {self.size} processes and {count} images, and wanted is an image for each process at "
                "least; lower --devices or --num-nodes"
            )

    def joined(self) -> Ranks:
        """The same with the group that this process is one of: met, where torchrun or SLURM has started it."""
        if not self.outside or self.size == 1:
            return self
        fabric = self._fabric("ddp")
        fabric.launch()
        return Ranks(fabric.device, self.local, self.machines, True, Group(fabric.device))

    def _fabric(self, strategy: str) -> Any:
        hush()
        from lightning_fabric import Fabric
        from lightning_fabric.plugins.environments.lightning import LightningEnvironment

        own: list[Any] = [] if self.outside else [LightningEnvironment()]
        try:
            return Fabric(
                accelerator=self.device.type,
                devices=self.local,
                num_nodes=self.machines,
                strategy=strategy,
                plugins=own,
            )
        except (RuntimeError, ValueError) as error:
            said = " ".join(str(error).split())
            raise DeviceError(f"{self.size} processes cannot be started here ({said})") from error


def resolve_ranks(device: str | torch.device = "auto", devices: Devices = None, num_nodes: int | None = None) -> Ranks:
    """The processes that carry a fit.

    Args:
        device: "auto", "cpu", "cuda" or "cuda:i"; several processes take one CUDA card each, from the first on.
        devices: processes on each machine; "auto" is all CUDA cards, or one process on a CPU. By default what torchrun
            or SLURM has started, else one.
        num_nodes: machines. By default what torchrun or SLURM uses, else one. Without them the same command is given on
            every machine, with MASTER_ADDR, MASTER_PORT and NODE_RANK in its environment.

    Raises:
        DeviceError: there are not so many devices, or others than torchrun or SLURM has started processes for.
    """
    where = resolve_device(device)
    wanted = _count("devices", devices, torch.cuda.device_count() if where.type == "cuda" else 1)
    machines = _count("num_nodes", num_nodes, 1)
    started = _started(os.environ)
    if started is not None:
        for name, asked, found in zip(("devices", "num_nodes"), (wanted, machines), started, strict=True):
            if asked not in (None, found):
                raise DeviceError(
                    f"{name} is {asked}, and torchrun or SLURM has started processes for {found}; leave {name} out"
                )
    local, machines = started or (wanted or 1, machines or 1)
    ranks = Ranks(where, local, machines, started is not None)
    missing = [name for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK") if name not in os.environ]
    if machines > 1 and not ranks.outside and missing:
        raise DeviceError(
            f"{machines} machines are asked for, and the environment does not say {', '.join(missing)}; set them as "
            "torch.distributed wants them on every machine, or start with torchrun or srun"
        )
    if ranks.size > 1:
        _check_devices(ranks, str(device))
    return ranks


def _check_devices(ranks: Ranks, asked: str) -> None:
    where = ranks.device
    if where.type not in {"cpu", "cuda"}:
        raise DeviceError(f"{ranks.size} processes on {where.type} are not possible; leave devices out, or use the cpu")
    if ":" in asked:
        raise DeviceError(f"device {asked!r} is a single one, and {ranks.local} are asked for; give {where.type!r}")
    there = torch.cuda.device_count() if where.type == "cuda" else os.cpu_count() or 1
    if ranks.local > there:
        what = "CUDA cards" if where.type == "cuda" else "processor cores"
        hint = " (with SLURM: --gpus-per-node, not --gpus-per-task)" if ranks.outside and where.type == "cuda" else ""
        raise DeviceError(
            f"{ranks.local} processes on this machine, and {there} {what} are there for them; ask for {there} devices "
            f"at the most{hint}"
        )


def _count(name: str, given: Devices, every: int) -> int | None:
    if given is None:
        return None
    if given == "auto":
        return every
    try:
        count = int(given)
    except ValueError:
        count = 0
    if isinstance(given, bool) or count < 1:
        raise DeviceError(
            f"{name} is {given!r}; give a whole number from 1 on" + (", or auto" if name == "devices" else "")
        )
    return count


def _started(said: Mapping[str, str]) -> tuple[int, int] | None:
    """Processes on each machine, and machines, where torchrun or SLURM's srun has started more than this one."""
    if "TORCHELASTIC_RUN_ID" in said:
        total, local = int(said["WORLD_SIZE"]), int(said["LOCAL_WORLD_SIZE"])
    else:  # SLURM_NTASKS is there in a batch script too, which is one process
        total = int(said.get("SLURM_STEP_NUM_TASKS", 1))
        local = max(1, total // int(said.get("SLURM_STEP_NUM_NODES", 1)))
    return (local, total // local) if total > 1 else None


def _node_rank() -> int:
    return int(os.environ.get("NODE_RANK", 0))


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    """The environment put back: where the processes met is of no use to the next ones."""
    before = dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
