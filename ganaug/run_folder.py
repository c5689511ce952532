"""The folder of one fit: the resolved recipe, sample grids, a metrics log, curves, and the checkpoints."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from ganaug.errors import OutputError
from ganaug.gan.loop import Snapshot
from ganaug.pictures import draw_curves, draw_grid, save_picture
from ganaug.recipe import Recipe

__all__ = ["RunFolder"]


class RunFolder:
    """Everything of a fit but its bank; a person looks here to see what happened."""

    def __init__(self, path: Path, recipe: Recipe) -> None:
        """Make the folder if need be and write `recipe.yaml` into it.

        Raises:
            OutputError: it cannot be written to.
        """
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{path} cannot be made ({error.strerror}); choose another --out") from error
        self._write("recipe.yaml", recipe.to_yaml())

    def checkpoint(self, name: str) -> Path:
        """Where the checkpoint of the network pair `name` lies."""
        return self.path / f"checkpoint-{name}.safetensors"

    def record(self, name: str, history: Sequence[Snapshot], synthetic: Mapping[str, Tensor], real: Mapping[str, Tensor]) -> None:
        """Write the grid of the last snapshot, and the log and the curves of all; both mappings are class to NCHW uint8."""
        last = history[-1]
        panels = [("real", real), (f"synthetic, {last.kimg:.0f} kimg", synthetic)]
        save_picture(draw_grid(panels), self.path / f"samples-{name}-{last.step:06d}.png")
        columns = ["step", "kimg", "seconds", "score", *_measures(history)]
        rows = [
            {"step": s.step, "kimg": s.kimg, "seconds": round(s.seconds, 2), "score": s.score, **s.measures} for s in history
        ]
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
        self._write(f"log-{name}.csv", text.getvalue())
        best = max(history, key=lambda snapshot: snapshot.score)
        curves = {"score (the best is kept)": ([s.kimg for s in history], [s.score for s in history])}
        for measure in _measures(history):
            seen = [s for s in history if measure in s.measures]
            curves[measure.replace("_", " ")] = ([s.kimg for s in seen], [s.measures[measure] for s in seen])
        save_picture(draw_curves(curves, horizontal="kimg", mark=best.kimg), self.path / f"curves-{name}.png")

    def _write(self, name: str, text: str) -> None:
        path = self.path / name
        beside = path.with_name(name + ".part")
        try:
            beside.write_text(text, "utf-8")
            os.replace(beside, path)
        except OSError as error:
            raise OutputError(f"{path} cannot be written ({error.strerror}); choose another --out") from error


def _measures(history: Sequence[Snapshot]) -> list[str]:
    return list(dict.fromkeys(name for snapshot in history for name in snapshot.measures))
