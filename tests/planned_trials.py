"""Trainings that take no time, whose accuracies the test decides."""

import numpy as np

from ganaug.evidence.arms import control_arms
from ganaug.evidence.protocol import Outcome


class Planned:
    """Trials of 40 images a part, the first `accuracy(arm, place, part)` of which are told right."""

    def __init__(self, accuracy, *, splits=2, seeds=2, choosing=True):
        self.accuracy, self.choosing = accuracy, choosing
        self.rounds = [(split, run) for run in range(seeds) for split in range(splits)]
        self.ran = []

    def prepare(self):
        pass

    def size(self, arm, place):
        return round(100 * arm.share)

    def controls(self, winner):
        return control_arms(winner)

    def run(self, cells, part):
        self.ran += [(arm, place, part) for arm, place in cells]
        found = []
        for arm, place in cells:
            right = (np.arange(40) < round(40 * self.accuracy(arm, place, part))).astype(float)
            found.append(Outcome(right, {"a": right[:20], "b": right[20:]}))
        return found
