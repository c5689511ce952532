"""Which synthetic samples are fit to train on, and why the others are not."""

from ganaug.recipe import Screening
from ganaug.screening.keeping import kept_screening
from ganaug.screening.screened import Screened, Tally, write_kept
from ganaug.screening.selection import refuse_held_back, screen, screen_samples

__all__ = [
    "Screened",
    "Screening",
    "Tally",
    "kept_screening",
    "refuse_held_back",
    "screen",
    "screen_samples",
    "write_kept",
]
