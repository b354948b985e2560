# SPDX-License-Identifier: Apache-2.0
"""Calls a function after a module has been imported, so that elman registers with a framework without importing it.

In: the name of a module and a function without arguments. Out: one call of the function, now or later, in the thread
that imports the module. An error in the function is not caught and makes that import fail, so pass a function that
reports its errors in another way.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


def when_imported(name: str, callback: Callable[[], object]) -> None:
    """Calls `callback` when the module is imported, or at once if it has been imported.

    Args:
        name: Full name of the module. It is not imported here.
        callback: Called once, after the module's own code has run. If an import fails, the next import calls it.
    """
    finder = _Finder(name, callback)
    sys.meta_path.insert(0, finder)
    if sys.modules.get(name) is not None:
        importlib.import_module(name)  # waits for a thread that is importing it
        finder.call_back()


class _Finder:
    """Finds a module by means of the finders after it, and makes the loader call back after it has run the module."""

    def __init__(self, name: str, callback: Callable[[], object]) -> None:
        self.name, self.callback = name, callback

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See `importlib.abc.MetaPathFinder`."""
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
        """Replaces one method of this loader object, so that the spec still names the loader that found the module."""
        if isinstance(loader, type) or not hasattr(loader, "__dict__") or not hasattr(loader, "exec_module"):
            return  # a built-in module, or a namespace package, such as what remains of an uninstalled package
        run = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            run(module)
            if module.__name__ == self.name:  # a loader of a zip archive loads other modules too
                self.call_back()

        loader.exec_module = exec_module

    def call_back(self) -> None:
        """Calls the function, the first time only."""
        try:
            sys.meta_path.remove(self)
        except ValueError:
            return
        self.callback()
