# SPDX-License-Identifier: Apache-2.0
"""Checks wheels without running them: tags, licence, size, and what their libraries need and export.

In: wheels of any platform. Out: one line for each; the status is 1 if one of them breaks a rule, which its line names.
manylinux wheels are checked by auditwheel too, for the symbols of the C library that their tag allows.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import lief

ROOT = Path(__file__).resolve().parents[1]
MOST_BYTES = 2 * 2**20
LIBRARIES = {"linux": ("libelman.so", "libelman_tensorflow.so"), "win": ("libelman.dll",)}
LIBRARIES["macosx"] = ("libelman.dylib", "libelman_tensorflow.dylib")
# What a platform has by itself: its C library, and for the library of TensorFlow's op elman's own.
SYSTEM = {
    "manylinux": r"lib(c|m|dl|pthread)\.so\.\d+|ld-linux-(x86-64|aarch64)\.so\.\d",
    "musllinux": r"libc\.so",
    "macosx": r"/usr/lib/libSystem\.B\.dylib",
    "win": r"(?i)(kernel32|ntdll|ucrtbase|msvcrt|advapi32|api-ms-win-[\w-]+)\.dll",
}
OWN = r"(@rpath/)?libelman\.(so|dylib)"
MACHINES = {"x86_64": "X86_64", "amd64": "AMD64", "aarch64": "AARCH64", "arm64": "ARM64"}
HEADER = (ROOT / "native" / "elman.h").read_text(encoding="utf-8")
FUNCTIONS = set(re.findall(r"ELMAN_API \w[\w* ]*?[ *](elman_\w+)\(", HEADER))


def broken(path: Path) -> Iterator[str]:
    """The rules that a wheel breaks."""
    tag = path.stem.rpartition("-")[2]
    python, abi = path.stem.split("-")[2:4]
    if (python, abi) != ("py3", "none"):
        yield f"its tag is {python}-{abi}, expected py3-none"
    if path.stat().st_size > MOST_BYTES:
        yield f"it has {path.stat().st_size} bytes, expected at most {MOST_BYTES}"
    wheel = zipfile.ZipFile(path)
    names = wheel.namelist()
    (about,) = (name for name in names if name.endswith(".dist-info/WHEEL"))
    lines = wheel.read(about).decode().splitlines()
    if sorted(line.partition(": ")[2] for line in lines if line.startswith("Tag")) != sorted(
        f"py3-none-{each}" for each in tag.split(".")
    ):
        yield f"the tags in {about} are not those of its name"
    if f"Root-Is-Purelib: {'true' if tag == 'any' else 'false'}" not in lines:
        yield "Root-Is-Purelib is wrong"
    yield from broken_lists(wheel, about.removesuffix("WHEEL"))
    system = next((each for each in SYSTEM if tag.startswith(each)), "any")
    expected = next((libraries for key, libraries in LIBRARIES.items() if key in system), ())
    compiled = {name for name in names if re.search(r"\.(so|dylib|dll|pyd|a|lib)$", name)}
    if compiled != {f"elman/{name}" for name in expected}:
        yield f"its libraries are {sorted(compiled)}, expected {list(expected)} in elman/"
        return
    for name in sorted(compiled):
        yield from (f"{name}: {rule}" for rule in broken_library(wheel.read(name), name, tag, system))
    if system == "manylinux":  # musl has no versions of symbols that a tag could limit
        yield from audited(path, tag)


def broken_lists(wheel: zipfile.ZipFile, about: str) -> Iterator[str]:
    """What is missing in a wheel's `.dist-info/`: the list of what is compiled into it, or the licence of a part."""
    names = {name.removeprefix(about) for name in wheel.namelist() if name.startswith(about)}
    licences = re.findall(r"^License-File: (.*)$", wheel.read(f"{about}METADATA").decode(), re.MULTILINE)
    if missing := {"LICENSE", *licences} - {name.removeprefix("licenses/") for name in names}:
        yield f"of its licences {sorted(missing)} are missing"
    if "sboms/elman.cdx.json" not in names:
        yield "the list of its components (SBOM) is missing"
        return
    listing = json.loads(wheel.read(f"{about}sboms/elman.cdx.json"))
    if listing["bomFormat"] != "CycloneDX":
        yield f"the format of the list of its components (SBOM) is {listing['bomFormat']}, expected CycloneDX"
    licensed = {licence.partition("/")[0] for licence in licences}
    if unlicensed := {part["name"] for part in listing.get("components", ())} - licensed:
        yield f"the licences of {sorted(unlicensed)} are missing, which are linked into it"


def broken_library(data: bytes, name: str, tag: str, system: str) -> Iterator[str]:
    """The rules that a library breaks."""
    library = lief.parse(data)
    if library is None:
        yield "its format is unknown"
        return
    machine = next(value for key, value in MACHINES.items() if tag.endswith(key))
    if (found := machine_of(library)) not in (machine, machine.replace("AARCH64", "ARM64")):
        yield f"it is for {found}, expected {machine}"
    for needed in needs(library):
        if not re.fullmatch(f"{SYSTEM[system]}|{OWN}", needed):
            yield f"it needs {needed}"
    exported = {symbol.removeprefix("_") if system == "macosx" else symbol for symbol in exports(library)}
    wanted = {"elman_tensorflow_missing"} if "tensorflow" in name else FUNCTIONS
    if missing := wanted - exported:
        yield f"it does not export {sorted(missing)}"
    # The operators new and delete are weak: a C++ library defines them for whoever has none. The linker of macOS adds
    # the last two.
    ours = r"elman_|_Z(n[wa]|d[la])|_*(dso_handle|mh_dylib_header)$"
    if extra := {symbol for symbol in exported if not re.match(ours, symbol)}:
        yield f"it exports {sorted(extra)[:5]}"
    if isinstance(library, lief.MachO.Binary):
        yield from broken_macho(library, tag)


def machine_of(library: lief.Binary) -> str:
    """The processor that a library is for, as its format names it."""
    if isinstance(library, lief.ELF.Binary):
        return library.header.machine_type.name
    return library.header.cpu_type.name if isinstance(library, lief.MachO.Binary) else library.header.machine.name


def needs(library: lief.Binary) -> list[str]:
    """The libraries that the system opens with this one."""
    if isinstance(library, lief.MachO.Binary):
        own = lief.MachO.LoadCommand.TYPE.ID_DYLIB
        return [each.name for each in library.libraries if each.command != own]
    return [each if isinstance(each, str) else each.name for each in library.libraries]


def exports(library: lief.Binary) -> set[str]:
    """The names that other programs can find in it."""
    if isinstance(library, lief.PE.Binary):
        return {entry.name for entry in library.get_export().entries}
    return {function.name for function in library.exported_functions}


def broken_macho(library: lief.MachO.Binary, tag: str) -> Iterator[str]:
    """What macOS asks of a library besides: the oldest system that it is for, and a signature."""
    oldest = ".".join(tag.split("_")[1:3])
    command = library.build_version if library.has_build_version else library.version_min
    found = ".".join(map(str, (command.minos if library.has_build_version else command.version)[:2]))
    if found != oldest:
        yield f"it is for macOS {found} and later, expected {oldest}"
    if tag.endswith("arm64") and not library.has_code_signature:
        yield "it has no signature, without which macOS on arm64 opens no library"


def audited(path: Path, tag: str) -> Iterator[str]:
    """What auditwheel finds: a wheel's libraries must fit the oldest system of its tag.

    It looks into no folder for the libraries that a wheel needs: those of this machine are of another platform.
    """
    with tempfile.TemporaryDirectory() as empty:
        options = ["--json", "--disable-isa-ext-check", "--ldpaths", empty]
        command = [sys.executable, "-m", "auditwheel", "show", *options, str(path)]
        shown = subprocess.run(command, capture_output=True, text=True)
    if shown.returncode:
        yield f"auditwheel: {shown.stderr.strip().splitlines()[-1]}"
    elif (found := json.loads(shown.stdout)["overall_tag"]) not in tag.split("."):
        yield f"auditwheel finds {found}"


def main(paths: list[str]) -> int:
    """Checks the wheels and prints a line for each."""
    status = 0 if paths else 1
    for path in map(Path, paths):
        rules = list(broken(path))
        print(f"{path.name}: {'; '.join(rules) or 'as it should be'}", flush=True)
        status |= bool(rules)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
