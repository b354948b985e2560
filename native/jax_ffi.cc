// SPDX-License-Identifier: Apache-2.0
//
// The entry for JAX: two XLA FFI handlers around `elman_forward` and `elman_backward`.
//
// What flows in: a call frame, whose attributes `operands` and `results` name the buffers that are
// present, in the order of the tables below, and whose other attributes are the options. What flows
// out: the result buffers, filled by the library, or an error with a sentence. No maths here.
#include <cstdio>
#include <cstring>

#include "cell_table.h"
#include "elman.h"
#include "shapes.h"
#include "xla_ffi.h"

namespace {

constexpr size_t kSentence = 512;  // longest error, in characters

// A buffer by name, where its address goes in the call, and its shape in the letters of shapes.h.
struct Slot {
  const char* name;
  size_t offset;
  const char* shape;
};

constexpr size_t kIn = offsetof(elman_forward_call, in);
static_assert(kIn == offsetof(elman_backward_call, in), "both calls begin alike");

#define ELMAN_OPERANDS                                                                                              \
  {"x", kIn + offsetof(elman_operands, x), "BTF"}, {"kernel", kIn + offsetof(elman_operands, kernel), "FZ"},        \
      {"recurrent_kernel", kIn + offsetof(elman_operands, recurrent_kernel), "HZ"},                                 \
      {"bias", kIn + offsetof(elman_operands, bias), "RZ"},                                                         \
      {"initial_h", kIn + offsetof(elman_operands, initial_states[0]), "BH"},                                       \
      {"initial_c", kIn + offsetof(elman_operands, initial_states[1]), "BH"},                                       \
      {"mask", kIn + offsetof(elman_operands, mask), "BT"}, {"lengths", kIn + offsetof(elman_operands, mask), "B"}, \
      {"input_dropout", kIn + offsetof(elman_operands, input_dropout), "DBF"}, {                                    \
    "recurrent_dropout", kIn + offsetof(elman_operands, recurrent_dropout), "DBH"                                   \
  }

constexpr Slot kForwardOperands[] = {ELMAN_OPERANDS, {}};
constexpr Slot kForwardResults[] = {
    {"y", offsetof(elman_forward_call, y), "BtH"},
    {"final_h", offsetof(elman_forward_call, final_states[0]), "BH"},
    {"final_c", offsetof(elman_forward_call, final_states[1]), "BH"},
    {"tape", offsetof(elman_forward_call, tape), "BTC"},
    {},
};
constexpr Slot kBackwardOperands[] = {
    ELMAN_OPERANDS,
    {"y", offsetof(elman_backward_call, y), "BtH"},
    {"tape", offsetof(elman_backward_call, tape), "BTC"},
    {"dy", offsetof(elman_backward_call, dy), "BtH"},
    {"dfinal_h", offsetof(elman_backward_call, dfinal_states[0]), "BH"},
    {"dfinal_c", offsetof(elman_backward_call, dfinal_states[1]), "BH"},
    {},
};
constexpr Slot kBackwardResults[] = {
    {"dx", offsetof(elman_backward_call, dx), "BTF"},
    {"dkernel", offsetof(elman_backward_call, dkernel), "FZ"},
    {"drecurrent_kernel", offsetof(elman_backward_call, drecurrent_kernel), "HZ"},
    {"dbias", offsetof(elman_backward_call, dbias), "RZ"},
    {"dinitial_h", offsetof(elman_backward_call, dinitial_states[0]), "BH"},
    {"dinitial_c", offsetof(elman_backward_call, dinitial_states[1]), "BH"},
    {"norms", offsetof(elman_backward_call, norms), "BT"},
    {},
};

using elman::Shape;
using Span = XLA_FFI_ByteSpan;

bool equal(Span a, const char* b) { return std::strlen(b) == a.len && std::memcmp(a.ptr, b, a.len) == 0; }

// The sentence of the first thing that did not fit.
struct Failure {
  char sentence[kSentence];
};

#define ELMAN_FAIL(failure, ...) (std::snprintf((failure).sentence, kSentence, __VA_ARGS__), false)

// --- attributes ------------------------------------------------------------------------------------

struct Attributes {
  elman_spec spec = {};
  Span operands = {"", 0}, results = {"", 0};
};

enum class Kind { kFlag, kInteger, kReal, kChoice, kCell, kNames };

struct Attribute {
  const char* name;
  Kind kind;
  size_t offset;        // into Attributes
  int32_t flag;         // kFlag
  const char* choices;  // kChoice: separated by spaces, in the order of the enum
};

constexpr char kActivations[] = "linear tanh relu sigmoid hard_sigmoid";
constexpr size_t at(size_t field) { return offsetof(Attributes, spec) + field; }

// Sorted by name, as XLA sorts what it passes; what is not passed stays 0.
constexpr Attribute kAttributes[] = {
    {"activation", Kind::kChoice, at(offsetof(elman_spec, activation)), 0, kActivations},
    {"cell", Kind::kCell, at(offsetof(elman_spec, cell)), 0, nullptr},
    {"clip_state_gradient", Kind::kReal, at(offsetof(elman_spec, clip_state_gradient)), 0, nullptr},
    {"go_backwards", Kind::kFlag, at(offsetof(elman_spec, flags)), ELMAN_GO_BACKWARDS, nullptr},
    {"operands", Kind::kNames, offsetof(Attributes, operands), 0, nullptr},
    {"recurrent_activation", Kind::kChoice, at(offsetof(elman_spec, recurrent_activation)), 0, kActivations},
    {"reset_after", Kind::kFlag, at(offsetof(elman_spec, flags)), ELMAN_RESET_AFTER, nullptr},
    {"results", Kind::kNames, offsetof(Attributes, results), 0, nullptr},
    {"return_sequences", Kind::kFlag, at(offsetof(elman_spec, flags)), ELMAN_RETURN_SEQUENCES, nullptr},
    {"truncate_gradient", Kind::kInteger, at(offsetof(elman_spec, truncate_gradient)), 0, nullptr},
    {"zero_output_for_mask", Kind::kFlag, at(offsetof(elman_spec, flags)), ELMAN_ZERO_OUTPUT_FOR_MASK, nullptr},
};

// The word that `text` begins with; `text` moves past it.
Span next_word(Span* text) {
  const char* space = static_cast<const char*>(std::memchr(text->ptr, ' ', text->len));
  size_t length = space ? space - text->ptr : text->len;
  Span word = {text->ptr, length};
  size_t skip = length + (space != nullptr);
  *text = {text->ptr + skip, text->len - skip};
  return word;
}

template <class T>
bool read_scalar(XLA_FFI_AttrType type, const void* attr, XLA_FFI_DataType dtype, T* value) {
  auto* scalar = static_cast<const XLA_FFI_Scalar*>(attr);
  if (type != XLA_FFI_AttrType_SCALAR || scalar->dtype != dtype) return false;
  std::memcpy(value, scalar->value, sizeof(T));
  return true;
}

bool read_attribute(const Attribute& known, XLA_FFI_AttrType type, const void* attr, Attributes* out) {
  char* field = reinterpret_cast<char*>(out) + known.offset;
  switch (known.kind) {
    case Kind::kFlag: {
      uint8_t set = 0;
      if (!read_scalar(type, attr, XLA_FFI_DataType_PRED, &set)) return false;
      if (set) *reinterpret_cast<int32_t*>(field) |= known.flag;
      return true;
    }
    case Kind::kInteger: return read_scalar(type, attr, XLA_FFI_DataType_S64, reinterpret_cast<int64_t*>(field));
    case Kind::kReal: return read_scalar(type, attr, XLA_FFI_DataType_F64, reinterpret_cast<double*>(field));
    case Kind::kChoice: {
      if (type != XLA_FFI_AttrType_STRING) return false;
      Span value = *static_cast<const Span*>(attr), choices = {known.choices, std::strlen(known.choices)};
      for (int32_t i = 0; choices.len; ++i) {
        Span choice = next_word(&choices);
        if (choice.len != value.len || std::memcmp(choice.ptr, value.ptr, value.len)) continue;
        *reinterpret_cast<int32_t*>(field) = i;
        return true;
      }
      return false;
    }
    case Kind::kCell: {
      if (type != XLA_FFI_AttrType_STRING) return false;
      const Span name = *static_cast<const Span*>(attr);
      const elman::CellRow* const row = elman::find_cell(name.ptr, name.len);
      if (row) *reinterpret_cast<int32_t*>(field) = row->cell;
      return row;
    }
    case Kind::kNames:
      if (type != XLA_FFI_AttrType_STRING) return false;
      *reinterpret_cast<Span*>(field) = *static_cast<const Span*>(attr);
      return true;
  }
  return false;
}

bool read_attributes(const XLA_FFI_Attrs& attrs, Attributes* out, Failure* failure) {
  const Attribute *known = kAttributes, *end = kAttributes + sizeof(kAttributes) / sizeof(*kAttributes);
  for (int64_t i = 0; i < attrs.size; ++i) {
    Span name = *attrs.names[i];
    while (known != end && !equal(name, known->name)) ++known;
    if (known == end) {
      return ELMAN_FAIL(*failure,
                        "elman's native library does not know the attribute '%.*s'; expected one of its own "
                        "version's. Reinstall elman.",
                        static_cast<int>(name.len), name.ptr);
    }
    if (!read_attribute(*known, attrs.types[i], attrs.attrs[i], out)) {
      return ELMAN_FAIL(*failure,
                        "elman's native library cannot read the attribute '%s': its type or value is not one "
                        "of its own version's. Reinstall elman.",
                        known->name);
    }
  }
  return true;
}

// --- buffers ---------------------------------------------------------------------------------------

const XLA_FFI_Buffer& buffer_at(void* const* buffers, int64_t i) {
  return *static_cast<const XLA_FFI_Buffer*>(buffers[i]);
}

const char* dtype_name(XLA_FFI_DataType dtype) {
  switch (dtype) {
    case XLA_FFI_DataType_PRED: return "bool";
    case XLA_FFI_DataType_S32: return "int32";
    case XLA_FFI_DataType_S64: return "int64";
    case XLA_FFI_DataType_U8: return "uint8";
    case XLA_FFI_DataType_F32: return "float32";
    case XLA_FFI_DataType_F64: return "float64";
  }
  return "of another dtype";
}

// The sizes come from x (B, T, F) and recurrent_kernel (H, Z), always the first and the third operand.
bool read_sizes(const XLA_FFI_Args& args, elman_spec* spec, Failure* failure) {
  if (args.size < 3 || buffer_at(args.args, 0).rank != 3 || buffer_at(args.args, 2).rank != 2) {
    return ELMAN_FAIL(*failure,
                      "elman's operands begin with x (batch, time, features), kernel and recurrent_kernel "
                      "(units, gates * units); got %lld operands of other ranks.",
                      static_cast<long long>(args.size));
  }
  const XLA_FFI_Buffer &x = buffer_at(args.args, 0), &recurrent_kernel = buffer_at(args.args, 2);
  if (x.dtype != XLA_FFI_DataType_F32 && x.dtype != XLA_FFI_DataType_F64) {
    return ELMAN_FAIL(*failure, "x is %s; expected float32 or float64.", dtype_name(x.dtype));
  }
  spec->dtype = x.dtype == XLA_FFI_DataType_F32 ? ELMAN_FLOAT32 : ELMAN_FLOAT64;
  spec->batch = x.dims[0], spec->time = x.dims[1], spec->features = x.dims[2];
  spec->units = recurrent_kernel.dims[0];
  return true;
}

Shape shape_of(const XLA_FFI_Buffer& buffer) {
  Shape shape;
  shape.rank = static_cast<int>(buffer.rank);
  for (int i = 0; i < shape.rank && i < 3; ++i) shape.sizes[i] = buffer.dims[i];
  return shape;
}

// Everything has the dtype of x but a mask and lengths; what a slot adds to the spec is noted on the way.
bool read_dtype(const char* name, const XLA_FFI_Buffer& buffer, elman_spec* spec) {
  if (!std::strcmp(name, "mask")) {
    spec->mask = buffer.dtype == XLA_FFI_DataType_PRED ? ELMAN_MASK : ELMAN_STEPS;
    return buffer.dtype == XLA_FFI_DataType_PRED || buffer.dtype == XLA_FFI_DataType_U8;
  }
  if (!std::strcmp(name, "lengths")) {
    spec->mask = buffer.dtype == XLA_FFI_DataType_S32 ? ELMAN_LENGTHS_INT32 : ELMAN_LENGTHS_INT64;
    return buffer.dtype == XLA_FFI_DataType_S32 || buffer.dtype == XLA_FFI_DataType_S64;
  }
  if (!std::strcmp(name, "input_dropout") && buffer.rank) spec->input_dropout_masks = buffer.dims[0];
  if (!std::strcmp(name, "recurrent_dropout") && buffer.rank) spec->recurrent_dropout_masks = buffer.dims[0];
  return buffer.dtype == (spec->dtype == ELMAN_FLOAT32 ? XLA_FFI_DataType_F32 : XLA_FFI_DataType_F64);
}

bool check_buffer(const Slot& slot, const XLA_FFI_Buffer& buffer, elman_spec* spec, Failure* failure) {
  const bool right_dtype = read_dtype(slot.name, buffer, spec);
  const Shape got = shape_of(buffer);
  Shape expected = elman::shape_of(slot.shape, *spec);
  if (*slot.shape == 'D' && got.sizes[0] != elman_gates(spec->cell)) expected.sizes[0] = 1;
  if (right_dtype && elman::fits(got, expected)) return true;
  return ELMAN_FAIL(*failure,
                    "%s has shape %s and is %s; expected shape %s and the dtype of x (a mask: bool or uint8, "
                    "lengths: int32 or int64).",
                    slot.name, elman::print_shape(got).text, dtype_name(buffer.dtype),
                    elman::print_shape(expected).text);
}

// Puts the address of every buffer that `names` lists where its slot says.
bool read_buffers(const Slot* slot, Span names, void* const* buffers, int64_t count, elman_spec* spec, void* call,
                  Failure* failure) {
  alignas(64) static char nothing;  // a zero-size buffer may have no address, and null means absent
  int64_t i = 0;
  for (; names.len && i < count; ++i, ++slot) {
    const Span name = next_word(&names);
    while (slot->name && !equal(name, slot->name)) ++slot;
    if (!slot->name) {
      return ELMAN_FAIL(*failure,
                        "elman's native library does not know the buffer '%.*s', or not in this place. "
                        "Reinstall elman.",
                        static_cast<int>(name.len), name.ptr);
    }
    const XLA_FFI_Buffer& buffer = buffer_at(buffers, i);
    if (!check_buffer(*slot, buffer, spec, failure)) return false;
    void* address = buffer.data ? buffer.data : &nothing;
    std::memcpy(static_cast<char*>(call) + slot->offset, &address, sizeof address);
  }
  if (i == count && !names.len) return true;
  return ELMAN_FAIL(*failure, "elman got %lld buffers where its attributes name another number. Reinstall elman.",
                    static_cast<long long>(count));
}

// --- handlers --------------------------------------------------------------------------------------

XLA_FFI_Error* make_error(const XLA_FFI_Api* api, XLA_FFI_Error_Code code, const char* sentence) {
  XLA_FFI_Error_Create_Args args = {sizeof args, nullptr, sentence, code};
  return api->XLA_FFI_Error_Create(&args);
}

// XLA asks once, when the handler is registered.
bool answers_metadata(const XLA_FFI_CallFrame& frame) {
  if (!frame.extension_start || frame.extension_start->type != XLA_FFI_Extension_Metadata) return false;
  XLA_FFI_Metadata* metadata = reinterpret_cast<XLA_FFI_Metadata_Extension*>(frame.extension_start)->metadata;
  metadata->api_version = {sizeof(XLA_FFI_Api_Version), nullptr, XLA_FFI_API_MAJOR, XLA_FFI_API_MINOR};
  metadata->traits = 0;
  return true;
}

// What no call can do without.
template <class Call>
bool is_complete(const Call& call, bool needs_tape) {
  return call.in.x && call.in.kernel && call.in.recurrent_kernel && call.y && (call.tape || !needs_tape);
}

template <class Call>
XLA_FFI_Error* handle(XLA_FFI_CallFrame* frame, const Slot* operands, const Slot* results, int (*run)(const Call*),
                      bool takes_tape) {
  if (answers_metadata(*frame)) return nullptr;
  Failure failure;
  Attributes attributes;
  elman_spec* spec = &attributes.spec;
  Call call = {};
  call.spec = spec;
  if (!read_attributes(frame->attrs, &attributes, &failure) || !read_sizes(frame->args, spec, &failure) ||
      !read_buffers(operands, attributes.operands, frame->args.args, frame->args.size, spec, &call, &failure) ||
      !read_buffers(results, attributes.results, frame->rets.rets, frame->rets.size, spec, &call, &failure)) {
    return make_error(frame->api, XLA_FFI_Error_Code_INVALID_ARGUMENT, failure.sentence);
  }
  if (!is_complete(call, takes_tape && elman_tape_columns(spec))) {
    return make_error(frame->api, XLA_FFI_Error_Code_INVALID_ARGUMENT,
                      "elman got no x, kernel, recurrent_kernel, y or tape; expected them all.");
  }
  const int status = run(&call);
  if (!status) return nullptr;
  return make_error(
      frame->api,
      status == ELMAN_OUT_OF_MEMORY ? XLA_FFI_Error_Code_RESOURCE_EXHAUSTED : XLA_FFI_Error_Code_INVALID_ARGUMENT,
      elman_last_error());
}

}  // namespace

extern "C" ELMAN_API XLA_FFI_Error* elman_jax_forward(XLA_FFI_CallFrame* frame) {
  return handle<elman_forward_call>(frame, kForwardOperands, kForwardResults, elman_forward, false);
}

extern "C" ELMAN_API XLA_FFI_Error* elman_jax_backward(XLA_FFI_CallFrame* frame) {
  return handle<elman_backward_call>(frame, kBackwardOperands, kBackwardResults, elman_backward, true);
}
