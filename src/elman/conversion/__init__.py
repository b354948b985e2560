# SPDX-License-Identifier: Apache-2.0
"""Models of Keras as an `elman.Network`. A conversion computes the same random input on both sides, and is refused if
the results differ. One module for each direction; none is imported here.
"""
