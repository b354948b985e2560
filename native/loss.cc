// SPDX-License-Identifier: Apache-2.0
#include "loss.h"

#include <math.h>

#include "error.h"

namespace elman {
namespace {

constexpr double kLeast = 1e-7;  // of a probability, so that its logarithm is finite; that of Keras

double limited(double x, double least, double most) { return x < least ? least : x > most ? most : x; }

// Of one output: the loss, and its gradient with respect to the output.
struct Term {
  double value, slope;
};

Term squared(double y, double target, double) {
  const double d = y - target;
  return {d * d, 2 * d};
}

Term absolute(double y, double target, double) {
  const double d = y - target;
  return {fabs(d), d > 0 ? 1.0 : d < 0 ? -1.0 : d};
}

// d^2 / 2 where |d| <= delta, else delta |d| - delta^2 / 2                                              (Huber 1964)
Term huber(double y, double target, double delta) {
  const double d = y - target, l = limited(d, -delta, delta);
  return {l * (d - l / 2), l};
}

// max(share d, (share - 1) d) with d = target - y: least where y is that quantile           (Koenker, Bassett 1978)
Term quantile(double y, double target, double share) {
  const double d = target - y, slope = d > 0 ? share : share - 1;
  return {slope * d, -slope};
}

// -target log y - (1 - target) log(1 - y), with y a probability
Term binary_crossentropy(double y, double target, double) {
  const double p = limited(y, kLeast, 1 - kLeast);
  const double value = -(target * log(p) + (1 - target) * log1p(-p));
  return {value, p == y ? (p - target) / (p * (1 - p)) : 0.0};
}

// The mean over the outputs of each row, times its factor.
template <class T, class One>
double elementwise(const elman_loss_call& c, One one) {
  const T *y = static_cast<const T*>(c.y), *target = static_cast<const T*>(c.target);
  T* gradient = static_cast<T*>(c.gradient);
  double total = 0;
  for (int64_t r = 0; r < c.rows; ++r, y += c.outputs, target += c.outputs) {
    const double factor = (c.factor ? double(static_cast<const T*>(c.factor)[r]) : 1.0) / double(c.outputs);
    double sum = 0;
    for (int64_t j = 0; j < c.outputs; ++j) {
      const Term term = one(double(y[j]), double(target[j]), c.parameter);
      sum += term.value;
      if (gradient) gradient[j] = T(term.slope * (factor / c.count));
    }
    total += sum * factor;
    if (gradient) gradient += c.outputs;
  }
  return total / c.count;
}

// -log of the probability that y, over its sum, gives to the class of the target
template <class T>
bool categorical(const elman_loss_call& c) {
  const T* y = static_cast<const T*>(c.y);
  T* gradient = static_cast<T*>(c.gradient);
  double total = 0;
  for (int64_t r = 0; r < c.rows; ++r, y += c.outputs) {
    const int64_t target = static_cast<const int64_t*>(c.target)[r];
    if (target < 0 || target >= c.outputs) {
      set_error("a target is %lld; expected the number of a class, 0 to %lld. Number the classes from 0.",
                static_cast<long long>(target), static_cast<long long>(c.outputs - 1));
      return false;
    }
    const double factor = c.factor ? double(static_cast<const T*>(c.factor)[r]) : 1.0;
    double sum = 0;
    for (int64_t j = 0; j < c.outputs; ++j) sum += double(y[j]);
    total -= factor * log(limited(double(y[target]) / sum, kLeast, 1 - kLeast));
    if (!gradient) continue;
    for (int64_t j = 0; j < c.outputs; ++j) {
      const double own = j == target ? 1 / limited(double(y[j]), kLeast, INFINITY) : 0.0;
      gradient[j] = T((1 / sum - own) * (factor / c.count));
    }
    gradient += c.outputs;
  }
  *c.value = total / c.count;
  return true;
}

template <class T>
bool loss_of(const elman_loss_call& c) {
  switch (c.loss) {
    case ELMAN_MSE: *c.value = elementwise<T>(c, squared); return true;
    case ELMAN_MAE: *c.value = elementwise<T>(c, absolute); return true;
    case ELMAN_HUBER: *c.value = elementwise<T>(c, huber); return true;
    case ELMAN_QUANTILE: *c.value = elementwise<T>(c, quantile); return true;
    case ELMAN_BINARY_CROSSENTROPY: *c.value = elementwise<T>(c, binary_crossentropy); return true;
    default: return categorical<T>(c);
  }
}

}  // namespace

bool loss(const elman_loss_call& call) {
  return call.dtype == ELMAN_FLOAT64 ? loss_of<double>(call) : loss_of<float>(call);
}

}  // namespace elman
