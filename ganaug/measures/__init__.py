"""Measures of synthetic images, tensors in and numbers out; none of them is called FID, for none uses its features."""

from ganaug.measures.appearance import sharpness, spread
from ganaug.measures.attributes import ATTRIBUTES
from ganaug.measures.colours import tint_distance
from ganaug.measures.content import content_kept
from ganaug.measures.copies import copying_statistic, mann_whitney_z, nearest_tolerant, partition
from ganaug.measures.features import FeatureNetwork, train_features
from ganaug.measures.fidelity import Fidelity, coverage, density, fidelity, kernel_distance, precision, recall
from ganaug.measures.nearest import nearest_images
from ganaug.measures.overlap import class_dice, mean_dice, overlaps

__all__ = [
    "ATTRIBUTES",
    "FeatureNetwork",
    "Fidelity",
    "class_dice",
    "content_kept",
    "copying_statistic",
    "coverage",
    "density",
    "fidelity",
    "kernel_distance",
    "mann_whitney_z",
    "mean_dice",
    "nearest_images",
    "nearest_tolerant",
    "overlaps",
    "partition",
    "precision",
    "recall",
    "sharpness",
    "spread",
    "tint_distance",
    "train_features",
]
