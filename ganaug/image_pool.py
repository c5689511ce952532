"""Images that are made of a dataset's own, once, and kept on disk, each of a size of its own.

A pool is a folder: `images.u8` holds the images one after another, HWC, and `pool.json`, which is written last, their
shapes. What an interrupted making has left, `images.partial`, is gone on with.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ganaug.data.images import Pixels
from ganaug.pool import alone_in, writing_to

__all__ = ["FORMAT", "ImagePool", "Shape"]

FORMAT = 2
_log = logging.getLogger("ganaug")

Shape = tuple[int, int, int]


class ImagePool:
    """A finished pool; `pool[place]` is an image. Pickles as its path.

    Args:
        folder: of the pool alone, named by what the images are made of.
        shapes: (height, width, channels) of each image.
        make: makes an image, HWC uint8 of its shape; called in order, and not at all where the pool is there.
        doing: what is being done, for the log, as "translating".
        report: called with images made and images in all.

    Raises:
        OutputError: the pool cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        shapes: Sequence[Shape],
        make: Callable[[int], Pixels],
        *,
        doing: str,
        report: Callable[[int, int], None] | None = None,
    ) -> None:
        self.folder, self._shapes = folder, list(shapes)
        self._starts = np.cumsum([0, *(height * width * channels for height, width, channels in shapes)])
        self._images: npt.NDArray[np.uint8] | None = None
        if not self._whole():
            with writing_to(folder), alone_in(folder):
                if not self._whole():  # another process may have made it while this one waited
                    self._make(make, doing, report)

    def __len__(self) -> int:
        return len(self._shapes)

    def __getitem__(self, place: int) -> Pixels:
        """An image, HWC uint8, the caller's own copy."""
        if self._images is None:  # opened where it is used: every worker maps the file itself
            self._images = np.memmap(self.folder / "images.u8", dtype=np.uint8, mode="r")
        flat = np.array(self._images[self._starts[place] : self._starts[place + 1]])
        return flat.reshape(self._shapes[place])

    def _whole(self) -> bool:
        try:
            shapes = json.loads((self.folder / "pool.json").read_text("utf-8"))["shapes"]
            size = (self.folder / "images.u8").stat().st_size
        except (OSError, ValueError, LookupError, TypeError):
            return False
        return bool(shapes == [list(shape) for shape in self._shapes] and size == self._starts[-1])

    def _make(self, make: Callable[[int], Pixels], doing: str, report: Callable[[int, int], None] | None) -> None:
        partial = self.folder / "images.partial"
        left = partial.stat().st_size if partial.is_file() else 0
        done = int(np.searchsorted(self._starts, left, side="right")) - 1
        _log.info(
            "%s %d images, %.1f MB, into %s%s",
            doing, len(self), self._starts[-1] / 1e6, self.folder, f" (going on after {done})" if done else "",
        )  # fmt: skip
        with open(partial, "ab") as file:
            file.truncate(int(self._starts[done]))
            for place in range(done, len(self)):
                file.write(np.ascontiguousarray(make(place)).tobytes())
                if report is not None:
                    report(place + 1, len(self))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self.folder / "images.u8")
        beside = self.folder / "pool.tmp"
        beside.write_text(json.dumps({"format": FORMAT, "shapes": self._shapes}), "utf-8")
        beside.replace(self.folder / "pool.json")

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_images": None}
