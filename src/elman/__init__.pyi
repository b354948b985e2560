# SPDX-License-Identifier: Apache-2.0
from elman._native import NativeUnavailable as NativeUnavailable
from elman._native import set_num_threads as set_num_threads
from elman.functional import simple_rnn as simple_rnn
from elman.route import Route as Route

__version__: str
__all__ = ["NativeUnavailable", "Route", "__version__", "set_num_threads", "simple_rnn"]
