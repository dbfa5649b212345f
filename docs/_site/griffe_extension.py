"""How the reader of the sources (griffe) comes to docstrings that the site can show."""
import sys
from pathlib import Path

import griffe

sys.path.insert(0, str(Path(__file__).parent))
import docstrings


class HouseForm(griffe.Extension):
    """Every docstring as `docstrings.in_markdown` gives it."""

    def __init__(self, public=None):
        self.public = public or {}

    def on_object(self, *, obj, **kwargs):
        if obj.docstring:
            obj.docstring.value = docstrings.in_markdown(obj.docstring.value, self.public)
