"""Real labelled images in: folders, CSV files and any user's dataset read below its transform."""

from ganaug.data.class_names import choose_classes, safe_stem
from ganaug.data.fingerprints import fingerprint, near_copies, perceptual_print
from ganaug.data.folders import ImageFiles, open_folder
from ganaug.data.images import from_square, open_image, to_channels, to_square, to_uint8
from ganaug.data.labelled import LabelledImages, read_images
from ganaug.data.splits import stratified_split
from ganaug.data.unlabelled import read_unlabelled, usable_rows, without_copies
from ganaug.data.view import DatasetView

__all__ = [
    "DatasetView",
    "ImageFiles",
    "LabelledImages",
    "choose_classes",
    "fingerprint",
    "from_square",
    "near_copies",
    "open_folder",
    "open_image",
    "perceptual_print",
    "read_images",
    "read_unlabelled",
    "safe_stem",
    "stratified_split",
    "to_channels",
    "to_square",
    "to_uint8",
    "usable_rows",
    "without_copies",
]
