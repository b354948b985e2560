# SPDX-License-Identifier: Apache-2.0
"""Calls back once a module has been imported, so that elman can attach itself to a framework without importing it.

In: a module's name and a function of no arguments. Out: its one call, now or later, in the thread that imports the
module. Errors of the function are not caught here, and would fail that import: give one that tells them otherwise.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


def when_imported(name: str, callback: Callable[[], object]) -> None:
    """Calls `callback` when the module is imported; at once if it has been.

    Args:
        name: Full name of the module. It is not imported here.
        callback: Called once, when the module's own code has run. An import that fails calls nothing, the next one
            counts.
    """
    finder = _Finder(name, callback)
    sys.meta_path.insert(0, finder)
    if sys.modules.get(name) is not None:
        importlib.import_module(name)  # waits for another thread that is in the middle of it
        finder.call_back()


class _Finder:
    """Lets the finders after it find the module, and its loader call back when it has run."""

    def __init__(self, name: str, callback: Callable[[], object]) -> None:
        self.name, self.callback = name, callback

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """As `importlib.abc.MetaPathFinder` says."""
        finders = list(sys.meta_path)  # other threads may change it
        if name != self.name or self not in finders:
            return None
        for finder in finders[finders.index(self) + 1 :]:
            find_spec = getattr(finder, "find_spec", None)
            if find_spec is not None and (spec := find_spec(name, path, target)) is not None:
                self._call_back_after(spec.loader)
                return spec
        return None

    def _call_back_after(self, loader: Any) -> None:
        """Shadows one method of this one loader, so that whoever asks for the spec sees the loader that it is."""
        if isinstance(loader, type) or not hasattr(loader, "__dict__") or not hasattr(loader, "exec_module"):
            return  # built into the interpreter, or none: a namespace package, the remains of an uninstalled one
        run = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            run(module)
            if module.__name__ == self.name:  # a loader of zip archives has other modules too
                self.call_back()

        loader.exec_module = exec_module

    def call_back(self) -> None:
        """Calls back, the first time."""
        try:
            sys.meta_path.remove(self)
        except ValueError:
            return
        self.callback()
