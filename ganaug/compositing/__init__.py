"""New label maps from real ones: arrays only, seeded."""

from ganaug.compositing.label_maps import MapComposer, class_shares

__all__ = ["MapComposer", "class_shares"]
