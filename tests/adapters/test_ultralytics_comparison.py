import dataclasses
import os
import tempfile

import pytest
from drawn_boxes import square_bank, write_yolo
from torch.utils.data import ConcatDataset, Subset

os.environ.update(YOLO_OFFLINE="1", YOLO_AUTOINSTALL="false")
os.environ.setdefault("YOLO_CONFIG_DIR", tempfile.mkdtemp())
pytest.importorskip("ultralytics")

from ganaug.adapters.ultralytics import SceneDataset
from ganaug.adapters.ultralytics_comparison import YoloTraining
from ganaug.data.box_files import list_boxes
from ganaug.data.copy_paste import CopyPaste
from ganaug.dataset import GanAugmented
from ganaug.errors import DataError, RecipeError
from ganaug.recipe import Scenes

PLAIN = Scenes(blends=("hard",), colour=0.0, rotation=0.0, distractors=0.0, real=0.0)


@pytest.mark.slow
def test_a_mixed_set_is_trained_on_and_scored(tmp_path, monkeypatch):
    boxes, bank = write_yolo(tmp_path / "boxes", counts=(("train", 8), ("val", 2))), square_bank()
    training = YoloTraining(model="yolo11n.yaml", steps=4, batch=4, size=64, lr=1e-3, device="cpu")
    training.check()
    files, held = list_boxes(boxes), list_boxes(boxes, part="val")
    train, score = Subset(files, [6, 0, 3, 7]), Subset(held, [1, 0])
    mixed = GanAugmented(train, bank, ratio=1, scenes=PLAIN, pool_dir=tmp_path / "pools")
    seen = []
    scene = SceneDataset._scene
    monkeypatch.setattr(SceneDataset, "_scene", lambda self, index: seen.append(index) or scene(self, index))
    both = training.score_all(mixed, {"choose": Subset(held, [0]), "score": score}, 0)
    assert list(both) == ["choose", "score"]
    found = both["score"]
    assert 0 <= found["also"]["mAP50-95"] <= found["score"] <= 1
    assert set(found["per_class"]) <= set(files.classes)
    assert set(seen) <= {4, 5, 6, 7}
    assert seen
    seen.clear()
    pasted = CopyPaste(train, probability=1.0, scenes=PLAIN)
    assert 0 <= training(pasted, score, 0)["score"] <= 1
    assert set(seen) == {0, 1, 2, 3}
    again = training(ConcatDataset([train, Subset(files, [6, 6])]), score, 0)
    assert 0 <= again["score"] <= 1
    with pytest.raises(RecipeError, match="is not for boxes"):
        dataclasses.replace(training, model="yolo11n-seg.yaml").check()
    with pytest.raises(DataError, match="the images are of a list; a YOLO model is trained from files"):
        training(Subset([1, 2], [0]), score, 0)
