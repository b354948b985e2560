# SPDX-License-Identifier: Apache-2.0
"""`native/xla_ffi.h` against the headers inside the installed jaxlib: sizes, offsets and values of all that is in it.

What to compare is read from our header, so that nothing in it goes unchecked; a C++ compiler does the comparing.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import jax
import pytest

NATIVE = Path(__file__).resolve().parents[2] / "native"
TEXT = re.sub(r"//.*", "", (NATIVE / "xla_ffi.h").read_text())
STRUCTS = dict(re.findall(r"struct (\w+) \{(.*?)\n\};", TEXT, re.DOTALL))
ENUMS = dict(re.findall(r"enum (\w+) : int32_t \{(.*?)\};", TEXT, re.DOTALL))
# Ours end before theirs; a size is compared where XLA puts one of these inside another.
ENDS_EARLIER = {"XLA_FFI_Api", "XLA_FFI_CallFrame", "XLA_FFI_Metadata"}


def fields(body: str) -> list[str]:
    return [re.search(r"\(\*(\w+)\)\(|(\w+)$", line.strip()).group(1, 2) for line in body.split(";")[:-1]]


def checks() -> list[str]:
    """Assertions, one for everything that our header declares."""
    found = []
    for struct, body in STRUCTS.items():
        if struct not in ENDS_EARLIER:
            found.append(f"sizeof(ours::{struct}) == sizeof(::{struct})")
        for function, plain in fields(body):
            field = f"{struct}, {function or plain}"
            found.append(f"offsetof(ours::{field}) == offsetof(::{field})")
            member = f"{struct}::{function or plain}"
            found.append(f"sizeof(ours::{member}) == sizeof(::{member})")
    for enum, body in ENUMS.items():
        found.append(f"sizeof(ours::{enum}) == sizeof(::{enum})")
        found += [f"int(ours::{name}) == int(::{name})" for name in re.findall(r"(\w+) =", body)]
    return found


@pytest.fixture
def compiled(tmp_path: Path):
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    assert compiler, "this test needs a C++ compiler; install g++ or set CXX"

    def compile_(source: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "check.cc").write_text(source)
        command = [compiler, "-std=c++17", "-fsyntax-only", f"-I{NATIVE}", f"-I{jax.ffi.include_dir()}"]
        return subprocess.run([*command, str(tmp_path / "check.cc")], capture_output=True, text=True)

    return compile_


def source(assertions: list[str]) -> str:
    return (
        '#include "xla/ffi/api/c_api.h"\n'
        "constexpr int kMajor = XLA_FFI_API_MAJOR, kMinor = XLA_FFI_API_MINOR;\n"
        "#undef XLA_FFI_API_MAJOR\n"
        "#undef XLA_FFI_API_MINOR\n"
        "namespace ours {\n"
        '#include "xla_ffi.h"\n'
        "}\n"
        'static_assert(kMajor == XLA_FFI_API_MAJOR && kMinor >= XLA_FFI_API_MINOR, "version");\n'
        + "".join(f'static_assert({a}, "{a}");\n' for a in assertions)
    )


def test_the_header_is_read_whole() -> None:
    assert len(STRUCTS) == len(re.findall(r"\bstruct \w+ \{", TEXT))
    assert len(ENUMS) == len(re.findall(r"\benum\b", TEXT))
    assert sum(len(fields(body)) for body in STRUCTS.values()) == sum(body.count(";") for body in STRUCTS.values())


def test_our_declarations_are_those_of_jaxlib(compiled) -> None:
    done = compiled(source(checks()))
    assert done.returncode == 0, done.stderr


def test_a_difference_is_found(compiled) -> None:
    done = compiled(source(checks()).replace("int(::XLA_FFI_DataType_F32)", "int(::XLA_FFI_DataType_F64)"))
    assert done.returncode != 0
    assert "XLA_FFI_DataType_F32" in done.stderr
