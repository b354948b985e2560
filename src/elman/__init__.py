# SPDX-License-Identifier: Apache-2.0
"""elman: the recurrent layer done right.

Importing this imports NumPy and no framework. Where TensorFlow is, or becomes, loaded, elman's ops are registered
with it, so that a SavedModel that holds them loads.
"""

from elman._hooks import when_imported as _when_imported
from elman._native import NativeUnavailable, set_num_threads
from elman.functional import simple_rnn
from elman.route import Route

__version__ = "0.1.0"
__all__ = ["NativeUnavailable", "Route", "__version__", "set_num_threads", "simple_rnn"]


def __dir__() -> list[str]:
    return __all__


def _register_tensorflow() -> None:
    from elman import _tensorflow

    _tensorflow.register()  # what stands in its way is told by the route, when someone asks for it


_when_imported("tensorflow", _register_tensorflow)
