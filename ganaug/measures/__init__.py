"""Measures of synthetic images, tensors in and numbers out; none of them is called FID, for none uses its features."""

from ganaug.measures.appearance import sharpness, spread
from ganaug.measures.copies import nearest_tolerant
from ganaug.measures.features import FeatureNetwork, train_features
from ganaug.measures.fidelity import Fidelity, coverage, fidelity, kernel_distance
from ganaug.measures.nearest import nearest_images

__all__ = [
    "FeatureNetwork",
    "Fidelity",
    "coverage",
    "fidelity",
    "kernel_distance",
    "nearest_images",
    "nearest_tolerant",
    "sharpness",
    "spread",
    "train_features",
]
