import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from ganaug.bank import GeneratorBank
from ganaug.dataset import GanAugmented
from ganaug.errors import DataError


def test_without_the_library_the_extra_is_named() -> None:
    code = "import sys; sys.modules['lightning'] = None; import ganaug.adapters.lightning"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "python -m pip install 'ganaug[lightning]'" in run.stderr


@pytest.fixture
def train(tiny_bank: GeneratorBank, image_folder: Path) -> GanAugmented:
    transform = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
    return GanAugmented(ImageFolder(str(image_folder), transform=transform), tiny_bank, ratio=1.0)


def test_every_epoch_of_a_trainer_reads_its_own_samples(train: GanAugmented, tmp_path: Path) -> None:
    pytest.importorskip("lightning")
    from lightning.pytorch import LightningModule, Trainer

    from ganaug.adapters.lightning import EpochCallback

    class Module(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)
            self.seen: list[torch.Tensor] = []

        def training_step(self, batch: Any, number: int) -> torch.Tensor:
            self.seen.append(batch[0])
            return self.layer(batch[0].mean().view(1, 1)).sum()

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    class Loader(DataLoader[Any]):
        def __iter__(self) -> Any:
            fetched_in.append(train.epoch)
            return super().__iter__()

    fetched_in: list[int] = []

    def fit(last_epoch: int, checkpoint: Path | None = None) -> torch.Tensor:
        module = Module()
        trainer = Trainer(
            max_epochs=last_epoch, callbacks=[EpochCallback(train)], accelerator="cpu", logger=False,
            enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path,
        )  # fmt: skip
        loader = Loader(train, batch_size=21, num_workers=1, persistent_workers=True)
        trainer.fit(module, loader, ckpt_path=checkpoint, **({"weights_only": False} if checkpoint else {}))
        trainer.save_checkpoint(tmp_path / f"{last_epoch}.ckpt")
        return torch.cat(module.seen)

    def expected(epoch: int) -> torch.Tensor:
        train.set_epoch(epoch)
        return torch.stack([train[index][0] for index in range(len(train))])

    epochs = torch.cat([expected(epoch) for epoch in range(3)])
    train.set_epoch(7)
    assert torch.equal(fit(2), epochs[:84])
    assert fetched_in == [0, 1]
    train.set_epoch(7)
    assert torch.equal(fit(3, tmp_path / "2.ckpt"), epochs[84:])
    assert fetched_in == [0, 1, 2]


def test_it_wants_the_mixed_dataset_itself(train: GanAugmented) -> None:
    pytest.importorskip("lightning")
    from ganaug.adapters.lightning import EpochCallback

    with pytest.raises(DataError, match="got a DataLoader"):
        EpochCallback(DataLoader(train))  # type: ignore[arg-type]
    with pytest.raises(DataError, match="got no dataset"):
        EpochCallback()
