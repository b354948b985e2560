# SPDX-License-Identifier: Apache-2.0
"""A network one row at a time: `Stream`. In: a trained network. Out: one native call for each row; NumPy alone."""

from elman.stream.stream import Stream

__all__ = ["Stream"]
