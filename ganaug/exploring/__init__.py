"""What a generator knows: its directions, what each changes as a judge sees it, and ways between samples.

latent.py has codes and directions, effects.py what a direction changes, wording.py that in words; survey.py does all of
it, and exploration.py and drawing.py are what comes out, as figures and as pictures.
"""

from ganaug.exploring.drawing import Strip
from ganaug.exploring.exploration import Direction, Effect, Exploration, Turn
from ganaug.exploring.survey import explore

__all__ = ["Direction", "Effect", "Exploration", "Strip", "Turn", "explore"]
