# SPDX-License-Identifier: Apache-2.0
"""The structs and enums of native/elman.h against what `elman._native` packs: a C compiler says where each
field lies and what each name stands for."""

from __future__ import annotations

import ctypes
import math
import os
import re
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest

from elman import _native
from elman.options import ACTIVATIONS, Options

NATIVE = Path(__file__).parents[1] / "native"
OPERANDS = (
    "x",
    "kernel",
    "recurrent_kernel",
    "bias",
    "initial_states[0]",
    "initial_states[1]",
    "mask",
    "input_dropout",
    "recurrent_dropout",
)
CALL = ("spec", *(f"in.{name}" for name in OPERANDS))
STRUCTS = {
    "elman_spec": (
        _native._SPEC,
        (
            *("batch", "time", "features", "units", "truncate_gradient", "clip_state_gradient"),
            *("cell", "dtype", "activation", "recurrent_activation", "mask", "flags"),
            *("input_dropout_masks", "recurrent_dropout_masks", "interrupted"),
        ),
    ),
    "elman_forward_call": (_native._FORWARD, (*CALL, "y", "final_states[0]", "final_states[1]", "tape")),
    "elman_backward_call": (
        _native._BACKWARD,
        (
            *(*CALL, "y", "tape", "dy", "dfinal_states[0]", "dfinal_states[1]"),
            *("dx", "dkernel", "drecurrent_kernel", "dbias", "dinitial_states[0]", "dinitial_states[1]", "norms"),
        ),
    ),
    "elman_dense_call": (
        _native._DENSE,
        (
            *("rows", "features", "units", "dtype", "activation"),
            *("x", "kernel", "bias", "y", "dy", "dx", "dkernel", "dbias"),
        ),
    ),
    "elman_loss_call": (
        _native._LOSS,
        (
            *("rows", "outputs", "parameter", "count", "dtype", "loss"),
            *("y", "target", "factor", "gradient", "value"),
        ),
    ),
    "elman_adam_call": (
        _native._ADAM,
        (
            *("size", "clip_norm", "beta_1", "beta_2", "epsilon", "rate", "keep", "dtype"),
            *("gradient", "weights", "m", "v"),
        ),
    ),
    "elman_op": (
        _native._OPERATION,
        (
            *("kind", "cell", "activation", "recurrent_activation", "flags", "input_count", "inputs", "size", "words"),
            *(f"weights[{i}]" for i in range(5)),
            "number",
        ),
    ),
    "elman_program": (_native._PROGRAM, ("batch", "features", "window", "ops", "op_count", "dtype")),
    "elman_stream_call": (_native._STREAM_CALL, ("stream", "x", "y")),
}
NUMBERS = {
    "ELMAN_ABI": _native.ABI,
    "ELMAN_GO_BACKWARDS": _native._GO_BACKWARDS,
    "ELMAN_ZERO_OUTPUT_FOR_MASK": _native._ZERO_OUTPUT_FOR_MASK,
    "ELMAN_RETURN_SEQUENCES": _native._RETURN_SEQUENCES,
    "ELMAN_RESET_AFTER": _native._RESET_AFTER,
    "ELMAN_OP_MASK_ZERO": _native._MASK_ZERO,
    "ELMAN_SOFTPLUS": _native._FIRST_DENSE_ACTIVATION,
    "ELMAN_EXPONENTIAL": _native._FIRST_DENSE_ACTIVATION + len(_native.DENSE_ACTIVATIONS) - 1,
}
ENUMS = {  # of the header, and the tuple whose order it follows
    "elman_cell": [f"ELMAN_{name.upper()}" for name in _native.CELLS],
    "elman_dtype": [f"ELMAN_{name.upper()}" for name in _native.DTYPES],
    "elman_activation": [f"ELMAN_{name.upper()}" for name in ACTIVATIONS],
    "elman_loss_name": [f"ELMAN_{name.upper()}" for name in _native.LOSSES],
    "elman_op_kind": [f"ELMAN_OP_{name.upper()}" for name in _native.OPERATIONS],
    "elman_mask": ["ELMAN_NO_MASK", "ELMAN_MASK", "ELMAN_LENGTHS_INT32", "ELMAN_LENGTHS_INT64", "ELMAN_STEPS"],
}


def compiler(language: str) -> str:
    """The machine's compiler for `c` or `c++`; a build of elman needs one, so its absence is a failure."""
    variable, names = {"c": ("CC", ("gcc", "clang", "cc")), "c++": ("CXX", ("g++", "clang++", "c++"))}[language]
    found = [path for name in (os.environ.get(variable), *names) if name and (path := shutil.which(name))]
    assert found, f"no {language} compiler; install one of {', '.join(names)}"
    return found[0]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """What the C compiler makes of every expression below."""
    asked = [f"sizeof(struct {name})" for name in STRUCTS]
    for name, (_, fields) in STRUCTS.items():
        asked += [f"offsetof(struct {name}, {field})" for field in fields]
        asked += [f"sizeof(((struct {name}*)0)->{field})" for field in fields]
    asked += [*NUMBERS, *(name for names in ENUMS.values() for name in names)]
    lines = [f'  printf("%lld\\n", (long long)({expression}));' for expression in asked]
    source = ["#include <stddef.h>", "#include <stdio.h>", '#include "elman.h"', "int main(void) {", *lines, "}"]
    folder = tmp_path_factory.mktemp("header")
    (folder / "answers.c").write_text("\n".join([*source, ""]))
    build = [compiler("c"), "-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", f"-I{NATIVE}", "answers.c"]
    subprocess.run([*build, "-o", "answers"], cwd=folder, check=True)
    said = subprocess.run([folder / "answers"], capture_output=True, text=True, check=True).stdout.split()
    return dict(zip(asked, map(int, said), strict=True))


@pytest.mark.parametrize("name", STRUCTS)
def test_every_field_lies_where_python_packs_it(name: str, answers: dict[str, int]) -> None:
    packed, fields = STRUCTS[name]
    assert packed.size == answers[f"sizeof(struct {name})"]
    codes = [code for count, code in re.findall(r"(\d*)([a-zA-Z])", packed.format) for _ in range(int(count or 1))]
    order = packed.format[0] if packed.format[0] in "@=<>!" else "@"
    assert len(codes) == len(fields)
    for i, field in enumerate(fields):
        size = struct.calcsize(order + codes[i])
        end = struct.calcsize(order + "".join(codes[: i + 1]))
        assert answers[f"offsetof(struct {name}, {field})"] == end - size, field
        assert answers[f"sizeof(((struct {name}*)0)->{field})"] == size, field


@pytest.mark.parametrize("name", ENUMS)
def test_every_enum_follows_its_tuple(name: str, answers: dict[str, int]) -> None:
    assert [answers[member] for member in ENUMS[name]] == list(range(len(ENUMS[name])))
    body = re.search(rf"enum {name} {{(.*?)}}", (NATIVE / "elman.h").read_text(), re.DOTALL)
    assert body, f"elman.h has no enum {name}"
    assert set(re.findall(r"ELMAN_\w+", body[1])) == set(ENUMS[name])


def test_masks_are_named_by_what_they_mean_in_the_order_of_the_header() -> None:
    assert _native.MASKS == ("none", "mask", "int32", "int64", "resets")
    assert set(_native.MASK_OF_DTYPE.values()) == set(_native.MASKS[1:])


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_are_the_same(name: str, answers: dict[str, int]) -> None:
    assert answers[name] == NUMBERS[name]


def test_the_library_is_of_this_header(answers: dict[str, int]) -> None:
    assert _native.library().elman_abi() == answers["ELMAN_ABI"]


def test_the_header_is_cxx_too() -> None:
    build = [compiler("c++"), "-std=c++17", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only", "-x", "c++"]
    subprocess.run([*build, NATIVE / "elman.h"], check=True)


@pytest.mark.parametrize(("cell", "most"), [("simple_rnn", 1), ("lstm", 5), ("gru", 4)])
@pytest.mark.parametrize("sequences", [False, True])
def test_the_tape_of_a_step_is_short(cell: str, most: int, sequences: bool) -> None:
    for after in (False, True):
        spec = _native.spec(Options(cell=cell, reset_after=after, return_sequences=sequences), 2, 3, 4, 10, "float32")
        assert spec.tape_columns <= most * 10


# --- what does not fit is a status and a sentence, never a crash --------------------------------------------------

FIELDS: dict[str, float] = {
    "batch": 3,
    "time": 4,
    "features": 5,
    "units": 6,
    "truncate_gradient": 0,
    "clip_state_gradient": 0.0,
    "cell": 0,
    "dtype": 0,
    "activation": 1,
    "recurrent_activation": 3,
    "mask": 0,
    "flags": _native._RETURN_SEQUENCES,
    "input_dropout_masks": 0,
    "recurrent_dropout_masks": 0,
    "interrupted": 0,
}
FORWARD = dict.fromkeys((*OPERANDS[:3], "y"), True)
BACKWARD = FORWARD | {"tape": True}


def status(call: str, present: dict[str, bool], **fields: object) -> tuple[int, str]:
    """Of a call whose operands lie at one address where they are present, and are null where they are not."""
    memory = ctypes.create_string_buffer(_native._SPEC.pack(*(FIELDS | fields).values()))
    packed, names = STRUCTS[f"elman_{call}_call"]
    data = np.zeros(4096)
    values = [data.ctypes.data if present.get(name.removeprefix("in.")) else 0 for name in names]
    values[0] = ctypes.addressof(memory)
    library = _native.library()
    got = getattr(library, f"elman_{call}")(packed.pack(*values))
    return got, library.elman_last_error().decode() if got else ""


@pytest.mark.parametrize(
    ("call", "sizes", "needed"),
    [
        ("dense", (2, 3, 4), ("x", "kernel", "y")),
        ("dense_backward", (2, 3, 4), ("x", "kernel", "y", "dy", "dkernel")),
        ("loss", (2, 3), ("y", "target", "value")),
        ("adam", (5,), ("gradient", "weights", "m", "v")),
    ],
)
def test_a_call_of_a_training_step_is_refused_with_a_sentence(
    call: str, sizes: tuple[int, ...], needed: tuple[str, ...]
) -> None:
    _, fields = STRUCTS[f"elman_{call.removesuffix('_backward')}_call"]
    data = np.ones(64)

    def says(**changed: float) -> str:
        found = dict.fromkeys(fields, 0) | dict(zip(fields, sizes, strict=False)) | {"dtype": 1}
        found |= {name: data[16 * i :].ctypes.data for i, name in enumerate(needed)}
        try:
            _native.Call(call, *(found | changed).values())()
        except ValueError as error:
            return str(error)
        return ""

    assert says() == ""
    for name in needed:
        assert says(**{name: 0}).startswith(f"{name} is null, and has ")
    for name in fields[: len(sizes)]:
        assert says(**{name: -1}).startswith(
            f"a size of the elman_{call.removesuffix('_backward')}_call is -1; expected"
        )
    assert "has dtype 2; expected one of elman.h" in says(dtype=2)
    kind = {"dense": "activation", "dense_backward": "activation", "loss": "loss"}.get(call)
    if kind:
        assert says(**{kind: 9}).startswith(f"the call asks for {kind} 9; expected one of elman.h")


@pytest.mark.parametrize("cell", [0, 1, 2])
@pytest.mark.parametrize(("call", "needed"), [("forward", FORWARD), ("backward", BACKWARD)])
def test_a_null_pointer_to_a_needed_array_is_refused(call: str, needed: dict[str, bool], cell: int) -> None:
    flags = 0  # so that every cell has a tape
    assert status(call, needed, cell=cell, flags=flags) == (0, "")
    for name in needed:
        got, sentence = status(call, {**needed, name: False}, cell=cell, flags=flags)
        assert got == 1
        assert sentence.startswith(f"{name} is null, and has ")


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("mask", {"mask": 1}),
        ("mask", {"mask": 2}),
        ("mask", {"mask": 3}),
        ("input_dropout", {"input_dropout_masks": 1}),
        ("recurrent_dropout", {"recurrent_dropout_masks": 1}),
    ],
)
@pytest.mark.parametrize(("call", "needed"), [("forward", FORWARD), ("backward", BACKWARD)])
def test_an_array_is_there_exactly_where_the_spec_says_so(
    call: str, needed: dict[str, bool], name: str, fields: dict[str, int]
) -> None:
    assert status(call, {**needed, name: True}, **fields) == (0, "")
    assert status(call, needed, **fields)[1].startswith(f"{name} is null")
    assert status(call, {**needed, name: True})[1].startswith(f"{name} is not null, and the spec says")


@pytest.mark.parametrize(
    "fields",
    [
        *(
            {name: value}
            for name in ("batch", "time", "features", "units")
            for value in (-1, 2**31 - 1, 2**40, -(2**63))
        ),
        {"units": 0},
        *(
            {name: value}
            for name in ("cell", "dtype", "activation", "recurrent_activation", "mask")
            for value in (-1, 99)
        ),
        *({name: value} for name in ("input_dropout_masks", "recurrent_dropout_masks") for value in (-1, 2, 99)),
        {"flags": 16},
        {"flags": -1},
        {"truncate_gradient": -1},
        {"clip_state_gradient": -1.0},
        {"clip_state_gradient": math.nan},
        {"batch": 2**31 - 2, "time": 2**31 - 2},
        {"batch": 2**31 - 2, "time": 2**20, "features": 2**20},
        {"features": 2**31 - 2, "units": 2**31 - 2},
    ],
    ids=str,
)
@pytest.mark.parametrize(("call", "needed"), [("forward", FORWARD), ("backward", BACKWARD)])
def test_a_spec_that_does_not_fit_is_refused(call: str, needed: dict[str, bool], fields: dict[str, float]) -> None:
    got, sentence = status(call, needed, **fields)
    assert got == 1
    assert re.search("expected|too many elements", sentence)


@pytest.mark.parametrize("call", ["forward", "backward"])
def test_a_call_or_a_spec_that_is_null_is_refused(call: str) -> None:
    library = _native.library()
    packed, names = STRUCTS[f"elman_{call}_call"]
    function = getattr(library, f"elman_{call}")
    assert function(None) == 1
    assert library.elman_last_error() == b"the call is null. Pass its address."
    assert function(packed.pack(*[0] * len(names))) == 1
    assert library.elman_last_error() == b"the spec of the call is null. Pass its address."


def test_arrays_without_elements_may_be_null() -> None:
    for empty in ({"batch": 0}, {"time": 0}, {"features": 0}):
        present = {"kernel": "features" not in empty, "recurrent_kernel": True, "y": "features" in empty}
        assert status("forward", present, **empty) == (0, ""), empty


def test_questions_about_a_cell_or_spec_that_there_is_not_have_an_answer() -> None:
    library = _native.library()
    assert [library.elman_gates(cell) for cell in (-1, 3)] == [0, 0]
    assert [library.elman_states(cell) for cell in (-1, 3)] == [0, 0]
    assert library.elman_tape_columns(None) == 0
