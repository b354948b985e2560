# SPDX-License-Identifier: Apache-2.0
"""Measures on the user's own data what a recurrent network remembers, and says what to change.

Everything is computed with NumPy (and drawn with Matplotlib). Two modules say how a model is run, `on_network` and
`on_keras`; that one and `monitor` alone import Keras. This file imports nothing, so that each can be imported alone.
"""
