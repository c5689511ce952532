"""The device that a name means."""

from __future__ import annotations

import torch

from ganaug.errors import DeviceError, did_you_mean

__all__ = ["resolve_device"]


def resolve_device(name: str | torch.device) -> torch.device:
    """The device of that name; "auto" is the first CUDA device where there is one, else the CPU.

    Raises:
        DeviceError: no device has that name, or it is not on this machine; the message says which are.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    present = _present()
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise DeviceError(f"there is no device {str(name)!r}{did_you_mean(str(name), ['auto', *present])}") from error
    wanted = str(device) if device.index is not None or device.type == "cpu" else f"{device.type}:0"
    if wanted not in present and device.type not in {"cpu", "meta"}:
        raise DeviceError(f"device {str(name)!r} is not on this machine; choose from: auto, {', '.join(present)}")
    if device.type == "meta":
        raise DeviceError(f"device 'meta' holds no numbers; choose from: auto, {', '.join(present)}")
    return device


def _present() -> list[str]:
    found = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    return [*found, "mps:0"] if torch.backends.mps.is_available() else found
