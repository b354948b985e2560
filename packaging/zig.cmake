# SPDX-License-Identifier: Apache-2.0
#
# CMake's way to the C++ compiler in PyPI's wheel `ziglang`. What flows in: ELMAN_ZIG, the program, and ELMAN_TARGET, as
# Zig names it (x86_64-linux-gnu.2.17). What flows out: a toolchain whose compiler is `zig c++`, which is Clang with the
# C library of each target and a C++ library that it links into what it builds.
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES ELMAN_ZIG ELMAN_TARGET)
if(NOT ELMAN_TARGET MATCHES "^(x86_64|aarch64)-(linux|macos|windows)")
  message(FATAL_ERROR "ELMAN_TARGET is \"${ELMAN_TARGET}\"; expected a target of Zig on x86_64 or aarch64.")
endif()
set(CMAKE_SYSTEM_PROCESSOR ${CMAKE_MATCH_1})
set(CMAKE_SYSTEM_NAME ${CMAKE_MATCH_2})
string(REGEX REPLACE "^linux$" "Linux" CMAKE_SYSTEM_NAME ${CMAKE_SYSTEM_NAME})
string(REGEX REPLACE "^macos$" "Darwin" CMAKE_SYSTEM_NAME ${CMAKE_SYSTEM_NAME})
string(REGEX REPLACE "^windows$" "Windows" CMAKE_SYSTEM_NAME ${CMAKE_SYSTEM_NAME})
set(CMAKE_CXX_COMPILER ${ELMAN_ZIG} c++ -target ${ELMAN_TARGET})
set(CMAKE_INSTALL_NAME_TOOL unused) # CMake asks for it on macOS, and the libraries are built with their final names
# Zig's default is debug information, ten times the size of the library. With one level of optimization for the checks of
# CMake too, Zig builds its C++ library once.
set(CMAKE_CXX_FLAGS_INIT "-g0 -O3")
set(CMAKE_SHARED_LINKER_FLAGS_INIT -s)
