# SPDX-License-Identifier: Apache-2.0
"""Chooses the backend of Keras before Keras is imported.

By default Keras takes TensorFlow, and its import fails if TensorFlow is missing. Input: the environment, `keras.json`,
and what is installed. Output: KERAS_BACKEND in the environment. Nothing is imported.
"""

from __future__ import annotations

import importlib.util
import os
import sys

BACKENDS = ("tensorflow", "jax", "torch")  # in order of preference


def choose() -> None:
    """Sets KERAS_BACKEND, unless it is set, Keras is imported, or `keras.json` names a backend that is installed."""
    if "keras" in sys.modules or os.environ.get("KERAS_BACKEND") or not _installed("keras"):
        return
    configured = _configured()
    if configured and _installed(configured):
        return
    first = next(filter(_installed, BACKENDS), None)
    if first:
        os.environ["KERAS_BACKEND"] = first


def _installed(module: str) -> bool:
    if module in sys.modules:  # it can be a stand-in that find_spec does not find, or None, which bars the import
        return sys.modules[module] is not None
    return module.isidentifier() and importlib.util.find_spec(module) is not None


def _configured() -> str | None:
    """The backend in `keras.json`, which Keras writes when it is first imported."""
    import json  # not at the top, and without pathlib: both together would double the time of `import elman`

    try:
        with open(f"{_keras_home()}/keras.json", encoding="utf-8") as file:  # noqa: PTH123
            backend = json.load(file).get("backend")
    except (OSError, ValueError, AttributeError):  # missing, unreadable or not a dictionary
        return None
    return backend if isinstance(backend, str) and backend else None


def _keras_home() -> str:
    """Where Keras looks for the file."""
    if "KERAS_HOME" in os.environ:
        return os.path.expanduser(os.environ["KERAS_HOME"])  # noqa: PTH111
    home = os.path.expanduser("~")  # noqa: PTH111
    return f"{home if os.access(home, os.W_OK) else '/tmp'}/.keras"
