# SPDX-License-Identifier: Apache-2.0
"""Which backend Keras runs, decided before Keras is imported.

Keras takes TensorFlow where nobody says otherwise, and does not import where TensorFlow is missing. In: the
environment, `keras.json`, and what is installed. Out: KERAS_BACKEND in the environment. Nothing is imported.
"""

from __future__ import annotations

import importlib.util
import os
import sys

BACKENDS = ("tensorflow", "jax", "torch")  # by preference


def choose() -> None:
    """Sets KERAS_BACKEND, where neither it nor an imported Keras nor a usable `keras.json` decides."""
    if "keras" in sys.modules or os.environ.get("KERAS_BACKEND") or not _installed("keras"):
        return
    configured = _configured()
    if configured and _installed(configured):
        return
    first = next(filter(_installed, BACKENDS), None)
    if first:
        os.environ["KERAS_BACKEND"] = first


def _installed(module: str) -> bool:
    if module in sys.modules:  # perhaps as a stand-in, of which find_spec knows nothing, or barred by a None
        return sys.modules[module] is not None
    return module.isidentifier() and importlib.util.find_spec(module) is not None


def _configured() -> str | None:
    """The backend in `keras.json`, which Keras writes when it is first imported."""
    import json  # not at the top, and no pathlib: together they would take half the time of `import elman`

    try:
        with open(f"{_keras_home()}/keras.json", encoding="utf-8") as file:  # noqa: PTH123
            backend = json.load(file).get("backend")
    except (OSError, ValueError, AttributeError):  # none, unreadable or not a dictionary
        return None
    return backend if isinstance(backend, str) and backend else None


def _keras_home() -> str:
    """Where Keras looks for the file."""
    if "KERAS_HOME" in os.environ:
        return os.path.expanduser(os.environ["KERAS_HOME"])  # noqa: PTH111
    home = os.path.expanduser("~")  # noqa: PTH111
    return f"{home if os.access(home, os.W_OK) else '/tmp'}/.keras"
