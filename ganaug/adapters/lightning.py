"""Lightning: the epoch told to mixed datasets, so that every epoch draws other synthetic samples."""

from __future__ import annotations

from typing import Any

from ganaug.dataset import GanAugmented
from ganaug.errors import DataError, MissingExtraError

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
except ImportError as error:
    raise MissingExtraError("lightning", "lightning") from error

__all__ = ["EpochCallback"]


class EpochCallback(Callback):
    """`Trainer(callbacks=[EpochCallback(train)])`, with the `GanAugmented` that the training loader reads.

    Args:
        datasets: the mixed datasets, one or several.
    """

    def __init__(self, *datasets: GanAugmented) -> None:
        for dataset in datasets:
            if not isinstance(dataset, GanAugmented):
                raise DataError(f"EpochCallback got a {type(dataset).__name__}; give it the GanAugmented itself")
        if not datasets:
            raise DataError("EpochCallback got no dataset; give it the GanAugmented that the training loader reads")
        self.datasets = datasets

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Batches of the first epoch may be fetched before it starts."""
        if stage == "fit":
            self._set(trainer.current_epoch)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """So may those of the epoch that a resumed training goes on with."""
        self._set(checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"])

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Before the loader of the epoch is iterated."""
        self._set(trainer.current_epoch)

    def _set(self, epoch: int) -> None:
        for dataset in self.datasets:
            dataset.set_epoch(epoch)
