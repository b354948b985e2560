# SPDX-License-Identifier: Apache-2.0
"""Measures on the user's own data what a recurrent network remembers, and says what to change.

The modules stand on two levels. `call`, `gradient`, `gates`, `need`, `figures`, `verdict`, `pictures`, `page` and
`report` need only NumPy (and Matplotlib, for what is drawn). `observe`, `losses`, `inputs`, `settings`, `horizon`,
`measure`, `monitor` and `trace` run a Keras model. This file imports none of them, so that the first level can be
imported without Keras.
"""
