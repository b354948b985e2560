# SPDX-License-Identifier: Apache-2.0
"""The exception for data and files that the user can correct."""

from __future__ import annotations


class DataError(ValueError):
    """A table, an argument, a file or a folder that cannot be used. The message says what to do."""
