# SPDX-License-Identifier: Apache-2.0
"""`python -m elman`: a program under `elman.patch()` if a script, or `-m` with a module, follows; else the command."""

import sys

_first = sys.argv[1] if len(sys.argv) > 1 else ""
if _first.endswith(".py") or (_first == "-m" and len(sys.argv) > 2):
    from elman.running import main

    main(sys.argv[1:])
else:
    from elman.cli import main as command

    command()
