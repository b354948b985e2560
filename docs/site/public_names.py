# SPDX-License-Identifier: Apache-2.0
"""What the API reference needs to know of elman: an extension of Griffe, which reads the sources without running them.

In: the docstrings in Keras's form. Out: the same in a form that Griffe knows, and the docstrings of the layers next to
their signatures: `elman/__init__.pyi` has the signatures, which the code of `elman.layers` makes when it runs.
"""

from __future__ import annotations

import inspect
import re
from typing import Any

import griffe

LAYERS = ("SimpleRNN", "LSTM", "GRU")
LAYER_PATHS = {f"elman.{name}" for name in LAYERS}
TYPES = {"_Activation": "str | Callable | None", "_Setting": "str | dict | Callable | None"}
# A line that ends in a colon, and below it lines that are indented or begin with >>>.
SECTION = re.compile(r"^(Call arguments|Output|Example):\n((?:\n|[ ]+.*\n|>>> .*\n(?:.+\n)*)*)", re.MULTILINE)


def section(match: re.Match[str]) -> str:
    """A section that Griffe does not know, as Markdown under a bold title."""
    title, text = match[1], inspect.cleandoc(match[2])
    if title == "Example":
        language = "pycon" if text.startswith(">>>") else "python"
        text = text if "```" in text else f"```{language}\n{text}\n```"
    if title == "Call arguments":
        text = re.sub(r"^(\w+):", r"- **`\1`**:", text, flags=re.MULTILINE)
    return f"**{title}:**\n\n{text}\n\n"


class PublicNames(griffe.Extension):
    """Joins signatures and docstrings of the layers, and rewrites the sections that only Keras has."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rewrites one docstring."""
        if obj.docstring:
            obj.docstring.value = SECTION.sub(section, obj.docstring.value + "\n").rstrip()

    def on_class(self, *, cls: griffe.Class, **kwargs: Any) -> None:
        """Writes out the private names of types that `elman/__init__.pyi` shares between its signatures."""
        if cls.path in LAYER_PATHS and "__init__" in cls.members:
            for parameter in cls["__init__"].parameters:
                parameter.annotation = TYPES.get(str(parameter.annotation), parameter.annotation)

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        """Gives the layers of `elman` the docstrings of those of `elman.layers`."""
        if pkg.name != "elman":
            return
        shared = pkg["layers._NativeLoop"]
        for name in LAYERS:
            public, own = pkg[name], pkg[f"layers.{name}"]
            for target, source in (
                (public, own),
                *((public[n], shared[n]) for n in ("route", "get_state", "set_state")),
            ):
                target.docstring = griffe.Docstring(source.docstring.value, parent=target)
