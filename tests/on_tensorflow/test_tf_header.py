# SPDX-License-Identifier: Apache-2.0
"""`native/tf_c_api.h` against the headers inside the installed TensorFlow: the same functions, types and numbers.

A C++ compiler reads both; what differs is an error of its, which names the function.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import tensorflow as tf

NATIVE = Path(__file__).resolve().parents[2] / "native"
OURS = '#include "tf_c_api.h"\n'
# With TensorFlow's types instead of ours, so that pointers to them compare too.
THEIRS = """
#include "tensorflow/c/kernels.h"
#include "tensorflow/c/ops.h"
#include "tensorflow/c/tf_status.h"
#include "tensorflow/c/tf_tensor.h"
#define ELMAN_TENSORFLOW_HEADERS
#include "tf_c_api.h"
#include <type_traits>
"""
CHECK_FUNCTIONS = """
#define CHECK(result, name, arguments) \\
  static_assert(std::is_same<decltype(&::name), result(*) arguments>::value, #name " has another type");
ELMAN_TF_SYMBOLS(CHECK)
"""
# Numbers that both headers must give.
NUMBERS = (
    "TF_OK",
    "TF_INVALID_ARGUMENT",
    "TF_RESOURCE_EXHAUSTED",
    "TF_FLOAT",
    "TF_DOUBLE",
    "TF_INT32",
    "TF_INT64",
    "TF_BOOL",
    "sizeof(TF_Bool)",
    "sizeof(TF_Code)",
    "sizeof(TF_DataType)",
    "std::is_unsigned<TF_Bool>::value",
)
PRINT_NUMBERS = (
    "#include <cstdio>\n#include <type_traits>\nint main() {\n"
    + "\n".join(f'  std::printf("%d ", static_cast<int>({number}));' for number in NUMBERS)
    + "\n}\n"
)


@pytest.fixture
def compiled(tmp_path):
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    assert compiler, "this test needs a C++ compiler; install g++ or set CXX"

    def compile_(source: str, *options: str) -> subprocess.CompletedProcess:
        (tmp_path / "check.cc").write_text(source)
        include = [f"-I{NATIVE}", "-isystem", tf.sysconfig.get_include()]
        command = [*compiler.split(), "-std=c++17", *include, "check.cc", "-o", "check", *options]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    return compile_


def numbers(compiled, tmp_path, headers: str) -> dict[str, str]:
    done = compiled(headers + PRINT_NUMBERS)
    assert done.returncode == 0, done.stderr
    printed = subprocess.run([tmp_path / "check"], capture_output=True, text=True, check=True).stdout
    return dict(zip(NUMBERS, printed.split(), strict=True))


def test_every_function_has_the_type_that_tensorflow_declares(compiled):
    done = compiled(THEIRS + CHECK_FUNCTIONS, "-fsyntax-only")
    assert done.returncode == 0, done.stderr


def test_a_difference_would_be_seen(compiled):
    wrong = CHECK_FUNCTIONS + "CHECK(int, TF_GetInput, (TF_OpKernelContext*, int, TF_Tensor**, TF_Status*))\n"
    done = compiled(THEIRS + wrong, "-fsyntax-only")
    assert done.returncode != 0
    assert "TF_GetInput has another type" in done.stderr


def test_constants_and_sizes_are_those_of_tensorflow(compiled, tmp_path):
    assert numbers(compiled, tmp_path, OURS) == numbers(compiled, tmp_path, THEIRS)
