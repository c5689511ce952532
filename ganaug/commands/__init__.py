"""The commands, a file for each part of the work; each parses, calls one function, prints.

They are listed in the order in which the files are imported.
"""

from ganaug.commands import banks, evidence, exploring, using
from ganaug.commands.shared import app

__all__ = ["app", "banks", "evidence", "exploring", "using"]
