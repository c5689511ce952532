"""New label maps and new scenes from real ones: arrays only, seeded."""

from ganaug.compositing.blending import blended
from ganaug.compositing.cutouts import CutOut, cut, soft_alpha, transformed
from ganaug.compositing.label_maps import Composed, MapComposer, class_shares, pulled
from ganaug.compositing.placing import SceneStatistics
from ganaug.compositing.scenes import Scene, SceneComposer

__all__ = [
    "Composed",
    "CutOut",
    "MapComposer",
    "Scene",
    "SceneComposer",
    "SceneStatistics",
    "blended",
    "class_shares",
    "cut",
    "pulled",
    "soft_alpha",
    "transformed",
]
