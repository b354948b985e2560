# SPDX-License-Identifier: Apache-2.0
"""The exception for data and files that a user can mend."""

from __future__ import annotations


class DataError(ValueError):
    """A table, an argument or a run folder that cannot be used; the sentence says what to do."""
