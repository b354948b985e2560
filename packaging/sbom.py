# SPDX-License-Identifier: Apache-2.0
"""Puts into a wheel the list of what is compiled into it, and the licences of these parts.

The list is a CycloneDX file in .dist-info/sboms/, as PEP 770 has it; the licences are in .dist-info/licenses/, as PEP
639 has them. A library that Zig links holds elman's own code, parts of LLVM's run-time libraries, and on Windows parts
of mingw-w64. A wheel without native code holds elman alone.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import ziglang
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import LicenseExpression
from cyclonedx.output.json import JsonV1Dot6

APACHE_LLVM = "Apache-2.0 WITH LLVM-exception"


class Part(NamedTuple):
    """What Zig links into a library.

    Attributes:
        where: A part of the names of the targets that need it.
        name: Of the component.
        whose: What has its version.
        licence: Its SPDX expression.
        text: The licence in Zig's folder, which goes with every copy.
    """

    where: str
    name: str
    whose: str
    licence: str
    text: str


LINKED = (
    Part("", "libc++", "llvm", APACHE_LLVM, "lib/libcxx/LICENSE.TXT"),
    Part("", "libc++abi", "llvm", APACHE_LLVM, "lib/libcxxabi/LICENSE.TXT"),
    Part("", "libunwind", "llvm", APACHE_LLVM, "lib/libunwind/LICENSE.TXT"),
    Part("", "compiler-rt", "zig", "MIT", "LICENSE"),  # Zig's own port of LLVM's
    Part("windows", "mingw-w64", "zig", "ZPL-2.1", "lib/libc/mingw/COPYING"),  # the copy that this version of Zig has
)


def linked(target: str | None) -> list[Part]:
    """What is linked for a target, as Zig names it; nothing for `None`, a wheel without native code."""
    return [part for part in LINKED if target and part.where in target]


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
    """The CycloneDX file of a wheel of elman; `target` as for `linked`."""
    bom = Bom()
    root = bom.metadata.component = component("elman", version, "Apache-2.0")
    if parts := linked(target):
        of = versions()
        components = [component(part.name, of[part.whose], part.licence) for part in parts]
        bom.components.update(components)
        bom.register_dependency(root, components)
    return JsonV1Dot6(bom).output_as_string(indent=2)


def add_licences(about: Path, target: str | None) -> None:
    """Copies the licences of what is linked into a `.dist-info`, whose METADATA names them."""
    names = []
    for part in linked(target):
        text = Path(ziglang.__file__).parent / part.text
        names.append(f"{part.name}/{text.name}")
        (about / "licenses" / part.name).mkdir()
        shutil.copyfile(text, about / "licenses" / names[-1])
    metadata = about / "METADATA"
    first, own, rest = metadata.read_bytes().partition(b"License-File: LICENSE\n")
    metadata.write_bytes(first + own + "".join(f"License-File: {name}\n" for name in names).encode() + rest)


def add(wheel: Path, target: str | None) -> None:
    """Puts the list and the licences into a wheel, whose RECORD gets their checksums."""
    with tempfile.TemporaryDirectory() as folder:
        pack = [sys.executable, "-m", "wheel"]
        subprocess.run([*pack, "unpack", "-d", folder, str(wheel)], check=True, capture_output=True)
        (unpacked,) = Path(folder).iterdir()
        (about,) = unpacked.glob("*.dist-info")
        (about / "sboms").mkdir()
        listed = listing(unpacked.name.partition("-")[2], target)
        (about / "sboms" / "elman.cdx.json").write_bytes(listed.encode())
        add_licences(about, target)
        subprocess.run([*pack, "pack", "-d", str(wheel.parent), str(unpacked)], check=True, capture_output=True)
