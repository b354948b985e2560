# SPDX-License-Identifier: Apache-2.0
"""Puts into a wheel the list of what is compiled into it: a CycloneDX file in .dist-info/sboms/, as PEP 770 has it.

A library that Zig links holds elman's own code, parts of LLVM's run-time libraries, and on Windows parts of mingw-w64.
A wheel without native code holds elman alone.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import LicenseExpression
from cyclonedx.output.json import JsonV1Dot6

APACHE_LLVM = "Apache-2.0 WITH LLVM-exception"
# What Zig links into a library: a part of the names of the targets that need it, the component, whose version it has,
# and its licence.
LINKED = (
    ("", "libc++", "llvm", APACHE_LLVM),
    ("", "libc++abi", "llvm", APACHE_LLVM),
    ("", "libunwind", "llvm", APACHE_LLVM),
    ("", "compiler-rt", "zig", "MIT"),  # Zig's own port of LLVM's
    ("windows", "mingw-w64", "zig", "ZPL-2.1"),  # the copy that this version of Zig has
)


def component(name: str, version: str, licence: str) -> Component:
    """A component of the list."""
    licences = [LicenseExpression(licence)]
    return Component(type=ComponentType.LIBRARY, bom_ref=name, name=name, version=version, licenses=licences)


def versions() -> dict[str, str]:
    """The version of Zig, and that of the LLVM whose run-time libraries it has."""
    commands = {"zig": ["version"], "llvm": ["c++", "--version"]}
    shown = {
        name: subprocess.check_output([sys.executable, "-m", "ziglang", *each], text=True)
        for name, each in commands.items()
    }
    return {name: re.search(r"\d+\.\d+[\w.+-]*", text)[0] for name, text in shown.items()}


def listing(version: str, target: str | None) -> str:
    """The CycloneDX file of a wheel of elman; `target` is Zig's name of the platform, or `None` without native code."""
    bom = Bom()
    root = bom.metadata.component = component("elman", version, "Apache-2.0")
    if target:
        of = versions()
        linked = [component(name, of[whose], licence) for part, name, whose, licence in LINKED if part in target]
        bom.components.update(linked)
        bom.register_dependency(root, linked)
    return JsonV1Dot6(bom).output_as_string(indent=2)


def add(wheel: Path, target: str | None) -> None:
    """Puts the list into a wheel, whose RECORD gets its checksum."""
    with tempfile.TemporaryDirectory() as folder:
        pack = [sys.executable, "-m", "wheel"]
        subprocess.run([*pack, "unpack", "-d", folder, str(wheel)], check=True, capture_output=True)
        (unpacked,) = Path(folder).iterdir()
        (about,) = unpacked.glob("*.dist-info")
        (about / "sboms").mkdir()
        listed = listing(unpacked.name.partition("-")[2], target)
        (about / "sboms" / "elman.cdx.json").write_bytes(listed.encode())
        subprocess.run([*pack, "pack", "-d", str(wheel.parent), str(unpacked)], check=True, capture_output=True)
