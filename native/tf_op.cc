// SPDX-License-Identifier: Apache-2.0
//
// The native library as two TensorFlow ops, ElmanForward and ElmanBackward: a small library next to libelman,
// which tf.load_op_library opens so that its constructor registers them.
//
// What flows in: a node's attributes once, its tensors at every call. What flows out: checked shapes, outputs
// that TensorFlow allocated, and one call of elman.h. No maths, and no header or link of TensorFlow: its C API
// is found at load (tf_c_api.h); where anything of it is missing nothing is registered, and
// elman_tensorflow_missing() names it.
#include <dlfcn.h>

#include <cinttypes>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <initializer_list>
#include <new>

#include "cell_table.h"
#include "elman.h"
#include "shapes.h"
#include "tf_c_api.h"

namespace {

using elman::Shape;

elman_tf_api tf;         // filled before anything is registered
char missing[512] = "";  // why nothing is registered

// --- the ops ---------------------------------------------------------------------------------------------------
//
// Saved graphs hold them: operands never change, later work adds attributes with defaults alone. Names and
// shapes are those of elman.h. A list holds one tensor, or none where it is left out; states come one per state
// of the cell. A is the type of tape and norms.

constexpr const char* kAttributes[] = {
    "T: {float, double}",
    "A: {float, double}",
    "M: {bool, int32, int64, uint8} = DT_BOOL",
    "n_bias: int >= 0",
    "n_initial: int >= 0",
    "n_mask: int >= 0",
    "n_input_dropout: int >= 0",
    "n_recurrent_dropout: int >= 0",
    "n_states: int >= 1",
    "cell: string = 'simple_rnn'",
    "activation: string = 'tanh'",
    "recurrent_activation: string = 'sigmoid'",
    "go_backwards: bool = false",
    "zero_output_for_mask: bool = false",
    "return_sequences: bool = true",
    "truncate_gradient: int = 0",
    "clip_state_gradient_bits: int = 0",  // of a float64, which a float attribute would round to float32
    "reset_after: bool = true",
};
constexpr const char* kForwardAttributes[] = {"keep_tape: bool = false"};
constexpr const char* kBackwardAttributes[] = {
    "n_dx: int >= 0",    "n_dkernel: int >= 0",  "n_drecurrent_kernel: int >= 0",
    "n_dbias: int >= 0", "n_dinitial: int >= 0", "n_norms: int >= 0",
};

constexpr const char* kOperands[] = {
    "x: T",                                        // (B, T, F)
    "kernel: T",                                   // (F, G*H)
    "recurrent_kernel: T",                         // (H, G*H)
    "bias: n_bias * T",                            // (G*H,), or (2, G*H)
    "initial_states: n_initial * T",               // (B, H)
    "mask: n_mask * M",                            // bool or uint8 (B, T), see ELMAN_STEPS; or lengths (B,)
    "input_dropout: n_input_dropout * T",          // (1 or G, B, F)
    "recurrent_dropout: n_recurrent_dropout * T",  // (1 or G, B, H)
};
constexpr const char* kBackwardOperands[] = {"y: T", "tape: A", "dy: T", "dfinal_states: n_states * T"};

constexpr const char* kForwardOutputs[] = {
    "y: T",                        // (B, T, H), or (B, H) without return_sequences
    "final_states: n_states * T",  // (B, H)
    "tape: A",                     // (B, T, columns), or no column without keep_tape
};
constexpr const char* kBackwardOutputs[] = {
    // shapes of the operands; what is not wanted is not computed
    "dx: n_dx * T",       "dkernel: n_dkernel * T",          "drecurrent_kernel: n_drecurrent_kernel * T",
    "dbias: n_dbias * T", "dinitial_states: n_dinitial * T",
    "norms: n_norms * A",  // (B, T)
};

// --- a node ----------------------------------------------------------------------------------------------------

struct Activation {
  const char* name;
  elman_activation value;
};
constexpr Activation kActivations[] = {
    {"linear", ELMAN_LINEAR},
    {"tanh", ELMAN_TANH},
    {"relu", ELMAN_RELU},
    {"sigmoid", ELMAN_SIGMOID},
    {"hard_sigmoid", ELMAN_HARD_SIGMOID},
};

// The attributes of a node. Read once, then shared by its calls, which may run at the same time.
struct Node {
  elman_spec spec;  // without sizes
  int states;
  TF_DataType dtype, tape_dtype;
  int64_t bias, initial_states, mask, input_dropout, recurrent_dropout;  // tensors in each list
  int64_t dx, dkernel, drecurrent_kernel, dbias, dinitial_states, norms;
  bool keep_tape;
};

// Reads attributes; the first failure is kept and makes the construction fail.
class Attributes {
 public:
  explicit Attributes(TF_OpKernelConstruction* construction)
      : construction_(construction),
        status_(tf.TF_NewStatus()) {}
  ~Attributes() { tf.TF_DeleteStatus(status_); }
  Attributes(const Attributes&) = delete;
  Attributes& operator=(const Attributes&) = delete;

  bool ok() const { return tf.TF_GetCode(status_) == TF_OK; }

  TF_DataType type(const char* name) {
    TF_DataType value = TF_FLOAT;
    if (ok()) tf.TF_OpKernelConstruction_GetAttrType(construction_, name, &value, status_);
    return value;
  }

  bool boolean(const char* name) {
    TF_Bool value = 0;
    if (ok()) tf.TF_OpKernelConstruction_GetAttrBool(construction_, name, &value, status_);
    return value != 0;
  }

  int64_t integer(const char* name) {
    int64_t value = 0;
    if (ok()) tf.TF_OpKernelConstruction_GetAttrInt64(construction_, name, &value, status_);
    return value;
  }

  // The length of a list: none, or as many tensors as expected.
  int64_t length(const char* name, int expected) {
    int64_t value = integer(name);
    if (value != 0 && value != expected) fail("%s is %" PRId64 "; expected 0 or %d", name, value, expected);
    return value;
  }

  elman_activation activation(const char* name) {
    const Text value = text(name);
    for (const Activation& known : kActivations) {
      if (strcmp(known.name, value.text) == 0) return known.value;
    }
    fail_unknown(name, value);
    return ELMAN_LINEAR;
  }

  const elman::CellRow& cell(const char* name) {
    const Text value = text(name);
    if (const elman::CellRow* const row = elman::find_cell(value.text, strlen(value.text))) return *row;
    fail_unknown(name, value);
    return elman::kCells[0];
  }

  __attribute__((format(printf, 2, 3))) void fail(const char* format, ...) {
    if (!ok()) return;
    char sentence[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    tf.TF_SetStatus(status_, TF_INVALID_ARGUMENT, sentence);
  }

  void report() { tf.TF_OpKernelConstruction_Failure(construction_, status_); }

 private:
  struct Text {
    char text[64];
  };

  Text text(const char* name) {
    Text value = {};
    int32_t count = 0, size = 0;
    if (ok()) tf.TF_OpKernelConstruction_GetAttrSize(construction_, name, &count, &size, status_);
    if (ok() && size < static_cast<int32_t>(sizeof value.text)) {
      tf.TF_OpKernelConstruction_GetAttrString(construction_, name, value.text, size, status_);
    }
    return value;
  }

  void fail_unknown(const char* name, const Text& value) {
    fail("%s is '%s', which this version of elman does not know; upgrade elman", name, value.text);
  }

  TF_OpKernelConstruction* construction_;
  TF_Status* status_;
};

double double_of_bits(int64_t bits) {
  double value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

int32_t mask_kind(TF_DataType type) {
  switch (type) {
    case TF_INT32: return ELMAN_LENGTHS_INT32;
    case TF_INT64: return ELMAN_LENGTHS_INT64;
    case TF_UINT8: return ELMAN_STEPS;
    default: return ELMAN_MASK;
  }
}

Node read_node(Attributes* attributes, bool backward) {
  Attributes& a = *attributes;
  Node node = {};
  const elman::CellRow& cell = a.cell("cell");
  node.states = cell.states;
  node.dtype = a.type("T");
  node.tape_dtype = a.type("A");
  node.bias = a.length("n_bias", 1);
  node.initial_states = a.length("n_initial", node.states);
  node.mask = a.length("n_mask", 1);
  node.input_dropout = a.length("n_input_dropout", 1);
  node.recurrent_dropout = a.length("n_recurrent_dropout", 1);
  if (a.length("n_states", node.states) == 0) a.fail("n_states is 0; expected %d", node.states);
  if (backward) {
    node.dx = a.length("n_dx", 1);
    node.dkernel = a.length("n_dkernel", 1);
    node.drecurrent_kernel = a.length("n_drecurrent_kernel", 1);
    node.dbias = a.length("n_dbias", 1);
    node.dinitial_states = a.length("n_dinitial", node.states);
    node.norms = a.length("n_norms", 1);
  } else {
    node.keep_tape = a.boolean("keep_tape");
  }

  elman_spec& spec = node.spec;
  spec.cell = cell.cell;
  spec.dtype = node.dtype == TF_DOUBLE ? ELMAN_FLOAT64 : ELMAN_FLOAT32;
  spec.activation = a.activation("activation");
  spec.recurrent_activation = a.activation("recurrent_activation");
  spec.truncate_gradient = a.integer("truncate_gradient");
  spec.clip_state_gradient = double_of_bits(a.integer("clip_state_gradient_bits"));
  spec.mask = node.mask ? mask_kind(a.type("M")) : ELMAN_NO_MASK;
  if (a.boolean("go_backwards")) spec.flags |= ELMAN_GO_BACKWARDS;
  if (a.boolean("zero_output_for_mask")) spec.flags |= ELMAN_ZERO_OUTPUT_FOR_MASK;
  if (a.boolean("return_sequences")) spec.flags |= ELMAN_RETURN_SEQUENCES;
  if (a.boolean("reset_after")) spec.flags |= ELMAN_RESET_AFTER;
  return node;
}

template <bool kBackward>
void* create_node(TF_OpKernelConstruction* construction) {
  Attributes attributes(construction);
  Node node = read_node(&attributes, kBackward);
  if (attributes.ok()) {
    if (Node* kept = new (std::nothrow) Node(node)) return kept;
    attributes.fail("out of memory");
  }
  attributes.report();
  return nullptr;
}

void delete_node(void* node) { delete static_cast<Node*>(node); }

// --- a call ----------------------------------------------------------------------------------------------------

// The tensors of one call, taken in order. The first failure is kept and makes the op fail.
class Call {
 public:
  explicit Call(TF_OpKernelContext* context) : context_(context), status_(tf.TF_NewStatus()) {}
  ~Call() {
    if (!ok()) tf.TF_OpKernelContext_Failure(context_, status_);
    for (int i = 0; i < held_; ++i) tf.TF_DeleteTensor(tensors_[i]);
    tf.TF_DeleteStatus(status_);
  }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  bool ok() const { return tf.TF_GetCode(status_) == TF_OK; }

  // The next input, whose shape must be the one that the letters give (shapes.h). `got`: where its shape goes.
  const void* input(const char* name, const char* letters, const elman_spec& spec, Shape* got = nullptr) {
    TF_Tensor* tensor = nullptr;
    if (ok()) tf.TF_GetInput(context_, inputs_++, &tensor, status_);
    if (!ok()) return nullptr;
    tensors_[held_++] = tensor;
    Shape shape;
    shape.rank = tf.TF_NumDims(tensor);
    for (int i = 0; i < shape.rank && i < 3; ++i) shape.sizes[i] = tf.TF_Dim(tensor, i);
    expect(name, letters, spec, shape);
    if (got) *got = shape;
    return address(tensor);
  }

  // Fails unless the shape is the one that the letters give.
  void expect(const char* name, const char* letters, const elman_spec& spec, const Shape& got) {
    const Shape expected = elman::shape_of(letters, spec);
    if (!ok() || elman::fits(got, expected)) return;
    char sentence[512];
    snprintf(sentence, sizeof sentence, "%s has shape %s; expected %s = %s", name, elman::print_shape(got).text,
             elman::print_meaning(letters, spec).text, elman::print_shape(expected).text);
    tf.TF_SetStatus(status_, TF_INVALID_ARGUMENT, sentence);
  }

  // The next output, allocated.
  void* output(TF_DataType type, const char* letters, const elman_spec& spec) {
    return output(type, elman::shape_of(letters, spec));
  }

  void* output(TF_DataType type, const Shape& shape) {
    if (!ok()) return nullptr;
    size_t bytes = type == TF_DOUBLE ? 8 : 4;
    for (int i = 0; i < shape.rank; ++i) bytes *= shape.sizes[i];
    TF_Tensor* tensor = tf.TF_AllocateOutput(context_, outputs_++, type, shape.sizes, shape.rank, bytes, status_);
    if (!ok()) return nullptr;
    tensors_[held_++] = tensor;
    return address(tensor);
  }

  // What elman_forward or elman_backward returned.
  void finish(int code) {
    if (code != 0) {
      tf.TF_SetStatus(status_, code == ELMAN_OUT_OF_MEMORY ? TF_RESOURCE_EXHAUSTED : TF_INVALID_ARGUMENT,
                      elman_last_error());
    }
  }

 private:
  // An empty tensor may have no memory; in elman.h null would mean that the array is left out.
  static void* address(TF_Tensor* tensor) {
    static char nothing[1];
    void* data = tf.TF_TensorData(tensor);
    return data ? data : nothing;
  }

  TF_OpKernelContext* context_;
  TF_Status* status_;
  TF_Tensor* tensors_[32];  // more than any call has
  int held_ = 0, inputs_ = 0, outputs_ = 0;
};

// The operands that both ops begin with; fills in the spec's sizes.
elman_operands read_operands(Call* call, const Node& node, elman_spec* spec) {
  elman_operands in = {};
  Shape x, recurrent_kernel, dropout;
  spec->batch = spec->time = spec->features = spec->units = elman::kAnySize;
  in.x = call->input("x", "BTF", *spec, &x);
  spec->batch = x.sizes[0], spec->time = x.sizes[1], spec->features = x.sizes[2];
  Shape kernel;
  elman_spec any = *spec;
  any.features = elman::kAnySize;
  in.kernel = call->input("kernel", "FZ", any, &kernel);
  in.recurrent_kernel = call->input("recurrent_kernel", "HZ", *spec, &recurrent_kernel);
  spec->units = recurrent_kernel.sizes[0];
  call->expect("recurrent_kernel", "HZ", *spec, recurrent_kernel);
  call->expect("kernel", "FZ", *spec, kernel);
  if (node.bias) in.bias = call->input("bias", "RZ", *spec);
  for (int i = 0; i < node.initial_states; ++i) in.initial_states[i] = call->input("initial_state", "BH", *spec);
  if (node.mask) {
    const bool of_steps = spec->mask == ELMAN_MASK || spec->mask == ELMAN_STEPS;
    in.mask = of_steps ? call->input("mask", "BT", *spec) : call->input("lengths", "B", *spec);
  }
  if (node.input_dropout) {
    in.input_dropout = call->input("input_dropout", "DBF", *spec, &dropout);
    spec->input_dropout_masks = static_cast<int32_t>(dropout.sizes[0]);
  }
  if (node.recurrent_dropout) {
    in.recurrent_dropout = call->input("recurrent_dropout", "DBH", *spec, &dropout);
    spec->recurrent_dropout_masks = static_cast<int32_t>(dropout.sizes[0]);
  }
  return in;
}

void run_forward(void* kernel, TF_OpKernelContext* context) {
  const Node& node = *static_cast<const Node*>(kernel);
  Call call(context);
  elman_spec spec = node.spec;
  elman_forward_call forward = {};
  forward.spec = &spec;
  forward.in = read_operands(&call, node, &spec);
  if (!call.ok()) return;
  forward.y = call.output(node.dtype, "BtH", spec);
  for (int i = 0; i < node.states; ++i) forward.final_states[i] = call.output(node.dtype, "BH", spec);
  Shape tape = elman::shape_of("BTC", spec);
  if (!node.keep_tape) tape.sizes[2] = 0;
  void* const kept = call.output(node.tape_dtype, tape);
  forward.tape = node.keep_tape ? kept : nullptr;
  if (call.ok()) call.finish(elman_forward(&forward));
}

void run_backward(void* kernel, TF_OpKernelContext* context) {
  const Node& node = *static_cast<const Node*>(kernel);
  Call call(context);
  elman_spec spec = node.spec;
  elman_backward_call backward = {};
  backward.spec = &spec;
  backward.in = read_operands(&call, node, &spec);
  if (!call.ok()) return;
  backward.y = call.input("y", "BtH", spec);
  backward.tape = call.input("tape", "BTC", spec);
  backward.dy = call.input("dy", "BtH", spec);
  for (int i = 0; i < node.states; ++i) backward.dfinal_states[i] = call.input("dfinal_state", "BH", spec);
  if (node.dx) backward.dx = call.output(node.dtype, "BTF", spec);
  if (node.dkernel) backward.dkernel = call.output(node.dtype, "FZ", spec);
  if (node.drecurrent_kernel) backward.drecurrent_kernel = call.output(node.dtype, "HZ", spec);
  if (node.dbias) backward.dbias = call.output(node.dtype, "RZ", spec);
  for (int i = 0; i < node.dinitial_states; ++i) backward.dinitial_states[i] = call.output(node.dtype, "BH", spec);
  if (node.norms) backward.norms = call.output(node.tape_dtype, "BT", spec);
  if (call.ok()) call.finish(elman_backward(&backward));
}

// --- registration ----------------------------------------------------------------------------------------------

// TensorFlow's Python package makes its symbols global; where it does not, its library is open all the same.
void* find_symbol(const char* name) {
  if (void* found = dlsym(RTLD_DEFAULT, name)) return found;
  for (const char* library : {"libtensorflow_framework.so.2", "libtensorflow_framework.2.dylib"}) {
    void* handle = dlopen(library, RTLD_LAZY | RTLD_NOLOAD);
    void* found = handle ? dlsym(handle, name) : nullptr;
    if (found) return found;
  }
  snprintf(missing, sizeof missing, "%s", name);
  return nullptr;
}

bool find_all() {
#define ELMAN_FIND(result, name, arguments) \
  if (!(tf.name = reinterpret_cast<result(*) arguments>(find_symbol(#name)))) return false;
  ELMAN_TF_SYMBOLS(ELMAN_FIND)
#undef ELMAN_FIND
  return true;
}

// The C API of some versions lets a shape function see the first input alone, and of attributes none but types:
// `_tensorflow.py` declares the shapes.
void unknown_shapes(TF_ShapeInferenceContext* context, TF_Status* status) {
  tf.TF_ShapeInferenceContextSetUnknownShape(context, status);
}

template <size_t kCount>
void add_all(void (*add)(TF_OpDefinitionBuilder*, const char*), TF_OpDefinitionBuilder* op,
             const char* const (&items)[kCount]) {
  for (const char* item : items) add(op, item);
}

void register_forward(TF_Status* status) {
  TF_OpDefinitionBuilder* op = tf.TF_NewOpDefinitionBuilder("ElmanForward");
  add_all(tf.TF_OpDefinitionBuilderAddAttr, op, kAttributes);
  add_all(tf.TF_OpDefinitionBuilderAddAttr, op, kForwardAttributes);
  add_all(tf.TF_OpDefinitionBuilderAddInput, op, kOperands);
  add_all(tf.TF_OpDefinitionBuilderAddOutput, op, kForwardOutputs);
  tf.TF_OpDefinitionBuilderSetShapeInferenceFunction(op, unknown_shapes);
  tf.TF_RegisterOpDefinition(op, status);
}

void register_backward(TF_Status* status) {
  TF_OpDefinitionBuilder* op = tf.TF_NewOpDefinitionBuilder("ElmanBackward");
  add_all(tf.TF_OpDefinitionBuilderAddAttr, op, kAttributes);
  add_all(tf.TF_OpDefinitionBuilderAddAttr, op, kBackwardAttributes);
  add_all(tf.TF_OpDefinitionBuilderAddInput, op, kOperands);
  add_all(tf.TF_OpDefinitionBuilderAddInput, op, kBackwardOperands);
  add_all(tf.TF_OpDefinitionBuilderAddOutput, op, kBackwardOutputs);
  tf.TF_OpDefinitionBuilderSetShapeInferenceFunction(op, unknown_shapes);
  tf.TF_RegisterOpDefinition(op, status);
}

void register_kernel(const char* op, TF_DataType type, TF_DataType tape_type, void* (*create)(TF_OpKernelConstruction*),
                     void (*compute)(void*, TF_OpKernelContext*), TF_Status* status) {
  if (tf.TF_GetCode(status) != TF_OK) return;
  TF_KernelBuilder* kernel = tf.TF_NewKernelBuilder(op, "CPU", create, compute, delete_node);
  tf.TF_KernelBuilder_TypeConstraint(kernel, "T", type, status);
  if (tf.TF_GetCode(status) == TF_OK) tf.TF_KernelBuilder_TypeConstraint(kernel, "A", tape_type, status);
  if (tf.TF_GetCode(status) == TF_OK) {
    tf.TF_RegisterKernelBuilder(op, kernel, status);
  } else {
    tf.TF_DeleteKernelBuilder(kernel);
  }
}

__attribute__((constructor)) void register_ops() {
  if (elman_abi() != ELMAN_ABI) {
    snprintf(missing, sizeof missing, "a libelman of ABI %d (it has %d); reinstall elman", ELMAN_ABI, elman_abi());
    return;
  }
  if (!find_all()) return;
  TF_Status* status = tf.TF_NewStatus();
  register_forward(status);
  if (tf.TF_GetCode(status) == TF_OK) register_backward(status);
  for (TF_DataType type : {TF_FLOAT, TF_DOUBLE}) {
    register_kernel("ElmanForward", type, type, create_node<false>, run_forward, status);
    register_kernel("ElmanBackward", type, type, create_node<true>, run_backward, status);
  }
  if (tf.TF_GetCode(status) != TF_OK) snprintf(missing, sizeof missing, "%s", tf.TF_Message(status));
  tf.TF_DeleteStatus(status);
}

}  // namespace

// What of TensorFlow's C API is missing, for which the ops are not registered; empty when they are.
extern "C" ELMAN_API const char* elman_tensorflow_missing(void) { return missing; }
