# SPDX-License-Identifier: Apache-2.0
"""A model as a file of another kind: `elman.export`.

In: an `elman.Network`, a run of `elman.fit`, a Keras model, or a path of one. Out: a file, whose suffix says of
which kind.
"""

from elman.exporting.export import export

__all__ = ["export"]
