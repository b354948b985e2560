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
# Zig's default is debug information, ten times the size of the library.
set(CMAKE_CXX_FLAGS_INIT "-g0 -O3")
set(CMAKE_SHARED_LINKER_FLAGS_INIT -s)
# Zig builds its C++ library for the first program that is linked with certain flags, which takes about a minute. CMake
# therefore is told what it would find out by linking one, and its checks link nothing; what they archive, Zig does too,
# where there may be no `ar`.
set(CMAKE_CXX_COMPILER_ID_RUN TRUE)
set(CMAKE_CXX_COMPILER_ID Clang)
set(CMAKE_CXX_COMPILER_VERSION 22.1.8)
set(CMAKE_CXX_COMPILER_FRONTEND_VARIANT GNU)
set(CMAKE_CXX_STANDARD_COMPUTED_DEFAULT 17)
set(CMAKE_CXX_EXTENSIONS_COMPUTED_DEFAULT ON)
set(CMAKE_BUILD_WITH_INSTALL_RPATH ON)
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
set(CMAKE_CXX_CREATE_STATIC_LIBRARY "\"${ELMAN_ZIG}\" ar qcs <TARGET> <LINK_FLAGS> <OBJECTS>")
