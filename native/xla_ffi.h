// SPDX-License-Identifier: Apache-2.0
//
// The part of the XLA FFI C API (version 0.1) that our handlers use, declared again, so that the
// library builds without jaxlib and one build serves every jaxlib that accepts 0.1.
//
// What flows in: a call frame of XLA's. What flows out: an error of XLA's making, or null. Structs end
// where our use of them ends; XLA's own may be longer. `tests/on_jax/test_xla_ffi_header.py` compares every
// size, offset and value below with the headers inside the installed jaxlib.
#ifndef ELMAN_XLA_FFI_H_
#define ELMAN_XLA_FFI_H_

#include <stddef.h>
#include <stdint.h>

extern "C" {

#define XLA_FFI_API_MAJOR 0
#define XLA_FFI_API_MINOR 1  // the oldest that is still accepted; what we use has not changed since

struct XLA_FFI_Error;
struct XLA_FFI_ExecutionContext;
struct XLA_FFI_InternalApi;

enum XLA_FFI_Extension_Type : int32_t { XLA_FFI_Extension_Metadata = 1 };
enum XLA_FFI_ArgType : int32_t { XLA_FFI_ArgType_BUFFER = 1 };
enum XLA_FFI_RetType : int32_t { XLA_FFI_RetType_BUFFER = 1 };
enum XLA_FFI_AttrType : int32_t { XLA_FFI_AttrType_SCALAR = 3, XLA_FFI_AttrType_STRING = 4 };
enum XLA_FFI_ExecutionStage : int32_t { XLA_FFI_ExecutionStage_EXECUTE = 3 };

enum XLA_FFI_Error_Code : int32_t {
  XLA_FFI_Error_Code_INVALID_ARGUMENT = 3,
  XLA_FFI_Error_Code_RESOURCE_EXHAUSTED = 8,
};

enum XLA_FFI_DataType : int32_t {
  XLA_FFI_DataType_PRED = 1,
  XLA_FFI_DataType_S32 = 4,
  XLA_FFI_DataType_S64 = 5,
  XLA_FFI_DataType_U8 = 6,
  XLA_FFI_DataType_F32 = 11,
  XLA_FFI_DataType_F64 = 12,
};

struct XLA_FFI_Extension_Base {
  size_t struct_size;
  XLA_FFI_Extension_Type type;
  XLA_FFI_Extension_Base* next;
};

struct XLA_FFI_Api_Version {
  size_t struct_size;
  XLA_FFI_Extension_Base* extension_start;
  int major_version;
  int minor_version;
};

// How XLA asks for the version that a handler was built for: a call frame with this extension.
struct XLA_FFI_Metadata {
  size_t struct_size;
  XLA_FFI_Api_Version api_version;
  uint32_t traits;
};

struct XLA_FFI_Metadata_Extension {
  XLA_FFI_Extension_Base extension_base;
  XLA_FFI_Metadata* metadata;
};

struct XLA_FFI_Error_Create_Args {
  size_t struct_size;
  XLA_FFI_Extension_Base* extension_start;
  const char* message;
  XLA_FFI_Error_Code errc;
};

struct XLA_FFI_Api {
  size_t struct_size;
  XLA_FFI_Extension_Base* extension_start;
  XLA_FFI_Api_Version api_version;
  const XLA_FFI_InternalApi* internal_api;
  XLA_FFI_Error* (*XLA_FFI_Error_Create)(XLA_FFI_Error_Create_Args* args);
};

struct XLA_FFI_Buffer {
  size_t struct_size;
  XLA_FFI_Extension_Base* extension_start;
  XLA_FFI_DataType dtype;
  void* data;
  int64_t rank;
  int64_t* dims;
};

struct XLA_FFI_ByteSpan {
  const char* ptr;
  size_t len;
};

struct XLA_FFI_Scalar {
  XLA_FFI_DataType dtype;
  void* value;
};

struct XLA_FFI_Args {
  size_t struct_size;
  XLA_FFI_Extension_Base* extension_start;
  int64_t size;
  XLA_FFI_ArgType* types;
  void** args;
};

struct XLA_FFI_Rets {
  size_t struct_size;
  XLA_FFI_Extension_Base* extension_start;
  int64_t size;
  XLA_FFI_RetType* types;
  void** rets;
};

// Sorted by name.
struct XLA_FFI_Attrs {
  size_t struct_size;
  XLA_FFI_Extension_Base* extension_start;
  int64_t size;
  XLA_FFI_AttrType* types;
  XLA_FFI_ByteSpan** names;
  void** attrs;
};

struct XLA_FFI_CallFrame {
  size_t struct_size;
  XLA_FFI_Extension_Base* extension_start;
  const XLA_FFI_Api* api;
  XLA_FFI_ExecutionContext* ctx;
  XLA_FFI_ExecutionStage stage;
  XLA_FFI_Args args;
  XLA_FFI_Rets rets;
  XLA_FFI_Attrs attrs;
};

}  // extern "C"
#endif  // ELMAN_XLA_FFI_H_
