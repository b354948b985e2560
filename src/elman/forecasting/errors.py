# SPDX-License-Identifier: Apache-2.0
"""The one exception that fit and predict raise for what a user can mend."""

from __future__ import annotations


class DataError(ValueError):
    """A table, an argument or a run folder that cannot be used; the sentence says what to do."""
