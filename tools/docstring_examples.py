"""Fences the examples of docstrings, which Markdown would take for quotations."""

import re

import griffe


class Fences(griffe.Extension):
    """Puts a fence around each paragraph that begins with a prompt."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        """Fence the examples of one docstring."""
        if obj.docstring:
            paragraph = r"^>>> (?:.+\n?)+"
            obj.docstring.value = re.sub(
                paragraph, r"```pycon\n\g<0>\n```\n", obj.docstring.value, flags=re.MULTILINE
            )
