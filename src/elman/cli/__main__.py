# SPDX-License-Identifier: Apache-2.0
"""`python -m elman.cli`: the `elman` command where its script is not on the path."""

from elman.cli import main

main()
