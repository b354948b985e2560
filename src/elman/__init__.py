# SPDX-License-Identifier: Apache-2.0
"""elman: the recurrent layer done right."""

from elman._native import NativeUnavailable, set_num_threads
from elman.functional import simple_rnn
from elman.route import Route

__version__ = "0.1.0"
__all__ = ["NativeUnavailable", "Route", "set_num_threads", "simple_rnn"]
