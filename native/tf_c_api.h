// SPDX-License-Identifier: Apache-2.0
//
// The part of TensorFlow's C API for ops and kernels that tf_op.cc uses (tensorflow/c/ops.h, kernels.h and
// what they need), declared here so that no TensorFlow is needed to build elman.
//
// What flows in: the running process's symbols. What flows out: `api`, a pointer to each of them. A test
// compiles these declarations against the headers inside the installed TensorFlow and compares the types;
// with ELMAN_TENSORFLOW_HEADERS the names below are TensorFlow's own.
#ifndef ELMAN_TF_C_API_H_
#define ELMAN_TF_C_API_H_

#include <stddef.h>
#include <stdint.h>

#ifndef ELMAN_TENSORFLOW_HEADERS
struct TF_KernelBuilder;
struct TF_OpDefinitionBuilder;
struct TF_OpKernelConstruction;
struct TF_OpKernelContext;
struct TF_ShapeInferenceContext;
struct TF_Status;
struct TF_Tensor;
typedef unsigned char TF_Bool;

enum TF_Code { TF_OK = 0, TF_INVALID_ARGUMENT = 3, TF_RESOURCE_EXHAUSTED = 8 };
enum TF_DataType { TF_FLOAT = 1, TF_DOUBLE = 2, TF_INT32 = 3, TF_UINT8 = 4, TF_INT64 = 9, TF_BOOL = 10 };
#endif

// X(return type, name, arguments)
#define ELMAN_TF_SYMBOLS(X)                                                                                          \
  /* tf_status.h */                                                                                                  \
  X(TF_Status*, TF_NewStatus, (void))                                                                                \
  X(void, TF_DeleteStatus, (TF_Status*))                                                                             \
  X(void, TF_SetStatus, (TF_Status*, TF_Code, const char*))                                                          \
  X(TF_Code, TF_GetCode, (const TF_Status*))                                                                         \
  X(const char*, TF_Message, (const TF_Status*))                                                                     \
  /* tf_tensor.h */                                                                                                  \
  X(void, TF_DeleteTensor, (TF_Tensor*))                                                                             \
  X(TF_DataType, TF_TensorType, (const TF_Tensor*))                                                                  \
  X(int, TF_NumDims, (const TF_Tensor*))                                                                             \
  X(int64_t, TF_Dim, (const TF_Tensor*, int))                                                                        \
  X(void*, TF_TensorData, (const TF_Tensor*))                                                                        \
  /* ops.h */                                                                                                        \
  X(TF_OpDefinitionBuilder*, TF_NewOpDefinitionBuilder, (const char*))                                               \
  X(void, TF_OpDefinitionBuilderAddAttr, (TF_OpDefinitionBuilder*, const char*))                                     \
  X(void, TF_OpDefinitionBuilderAddInput, (TF_OpDefinitionBuilder*, const char*))                                    \
  X(void, TF_OpDefinitionBuilderAddOutput, (TF_OpDefinitionBuilder*, const char*))                                   \
  X(void, TF_OpDefinitionBuilderSetShapeInferenceFunction,                                                           \
    (TF_OpDefinitionBuilder*, void (*)(TF_ShapeInferenceContext*, TF_Status*)))                                      \
  X(void, TF_RegisterOpDefinition, (TF_OpDefinitionBuilder*, TF_Status*))                                            \
  X(void, TF_ShapeInferenceContextSetUnknownShape, (TF_ShapeInferenceContext*, TF_Status*))                          \
  /* kernels.h */                                                                                                    \
  X(TF_KernelBuilder*, TF_NewKernelBuilder,                                                                          \
    (const char*, const char*, void* (*)(TF_OpKernelConstruction*), void (*)(void*, TF_OpKernelContext*),            \
     void (*)(void*)))                                                                                               \
  X(void, TF_KernelBuilder_TypeConstraint, (TF_KernelBuilder*, const char*, TF_DataType, TF_Status*))                \
  X(void, TF_RegisterKernelBuilder, (const char*, TF_KernelBuilder*, TF_Status*))                                    \
  X(void, TF_DeleteKernelBuilder, (TF_KernelBuilder*))                                                               \
  X(void, TF_OpKernelConstruction_GetAttrType, (TF_OpKernelConstruction*, const char*, TF_DataType*, TF_Status*))    \
  X(void, TF_OpKernelConstruction_GetAttrInt64, (TF_OpKernelConstruction*, const char*, int64_t*, TF_Status*))       \
  X(void, TF_OpKernelConstruction_GetAttrBool, (TF_OpKernelConstruction*, const char*, TF_Bool*, TF_Status*))        \
  X(void, TF_OpKernelConstruction_GetAttrSize,                                                                       \
    (TF_OpKernelConstruction*, const char*, int32_t*, int32_t*, TF_Status*))                                         \
  X(void, TF_OpKernelConstruction_GetAttrString, (TF_OpKernelConstruction*, const char*, char*, size_t, TF_Status*)) \
  X(void, TF_OpKernelConstruction_Failure, (TF_OpKernelConstruction*, TF_Status*))                                   \
  X(void, TF_GetInput, (TF_OpKernelContext*, int, TF_Tensor**, TF_Status*))                                          \
  X(TF_Tensor*, TF_AllocateOutput, (TF_OpKernelContext*, int, TF_DataType, const int64_t*, int, size_t, TF_Status*)) \
  X(void, TF_OpKernelContext_Failure, (TF_OpKernelContext*, TF_Status*))

struct elman_tf_api {
#define ELMAN_DECLARE(result, name, arguments) result(*name) arguments;
  ELMAN_TF_SYMBOLS(ELMAN_DECLARE)
#undef ELMAN_DECLARE
};

#endif  // ELMAN_TF_C_API_H_
