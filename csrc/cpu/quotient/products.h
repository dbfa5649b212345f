// Convolution, its transpose and division by a kernel; products of two images at the places of a kernel, for its estimate.
#pragma once

#include "cpu/quotient/columns.h"

namespace svconv {
namespace SVCONV_ISA {
namespace {

// ---- apply

template <typename T>
void apply_spectrum(const QuotientCall& call, Index b, Index column, int width, const ComplexVector<T>* k, ComplexVector<T>* x) {
  if (call.mode == QuotientMode::divide) {
    const T* power = call.power.data ? static_cast<const T*>(call.power.data) + column : nullptr;
    divide_swapped<T>(call.plane, beta_of<T>(call, b), power, call.power.stride[0], width, k, x);
  } else {
    multiply_swapped<T>(call.plane, call.mode == QuotientMode::multiply ? T(1) : T(-1), k, x);
  }
}

template <typename T> Status apply_typed(const QuotientCall& call) {
  const ColumnTransform<T> transform(call.plane);
  if (!transform.ok()) return Status::out_of_memory;
  bool folds;
  if (map_folds(call.store, call.plane, call.out_x.shape[2], &folds) != Status::ok) return Status::out_of_memory;
  const Strips<T> strips(call.x.shape[3]);
  const Index batch = call.x.shape[0], channels = call.x.shape[1];
  const bool grouped = call.kernel.shape[0] == 1 && strips.count >= 2 * call.threads;
  const Index groups = grouped ? 1 : batch, tasks = groups * strips.count;
  const int team = team_size(call.threads, tasks, 2 * bytes_of<T>(call.x));
  const Index space = max_index(transform.space(), call.out_x.shape[2]);
  Buffers<T> buffers(team, 3, space);
  if (!buffers.ok()) return Status::out_of_memory;
  const Column<T> steps = steps_of<T>(call, transform);
#pragma omp parallel for schedule(dynamic, 1) num_threads(team) if (team > 1)
  for (Index task = 0; task < tasks; ++task) {
    const Index strip = task % strips.count, column = strips.first(strip);
    const int width = strips.width(strip);
    ComplexVector<T>*k = buffers.get(0), *x = buffers.get(1), *work = buffers.get(2);
    const Index from = grouped ? 0 : task / strips.count, to = grouped ? batch : from + 1;
    for (Index b = from; b < to; ++b)
      for (Index c = 0; c < channels; ++c) {
        if ((b == from || call.kernel.shape[0] > 1 || call.kernel.shape[1] > 1) && (c == 0 || call.kernel.shape[1] > 1))
          steps.kernel_spectrum(call.kernel, b, c, column, width, k, work);
        steps.load(call.x, at<T>(call.x, b, c, column), width, map_of(call.load_x), taper_of<T>(call), x);
        steps.forward(x, work);
        apply_spectrum<T>(call, b, column, width, k, x);
        steps.store(call.out_x, out_at<T>(call.out_x, b, c, column), width, map_of(call.store), taper_of<T>(call), folds, x, work);
      }
  }
  return Status::ok;
}

// ---- estimate

// Sums over channels that come in several calls, one after the other; memory: of sums_bytes(), or nullptr where one call has them all.
struct Partial {
  void* memory = nullptr;
  bool first = true, last = true;
};

template <typename T> std::size_t sums_bytes(Index plane, Index strips) {
  return static_cast<std::size_t>(plane * strips) * (sizeof(ComplexVector<T>) + sizeof(typename Vector<T>::type));
}

template <typename T> Status estimate_typed(const QuotientCall& call, const Partial& partial = {}) {
  using V = typename Vector<T>::type;
  const ColumnTransform<T> transform(call.plane);
  if (!transform.ok()) return Status::out_of_memory;
  const Strips<T> strips(call.x.shape[3]);
  const Index batch = call.x.shape[0], channels = call.x.shape[1], groups = call.out_kernel.shape[0], parts = call.out_kernel.shape[1];
  const Index tasks = groups * parts * strips.count;
  const int team = team_size(call.threads, tasks, 2 * bytes_of<T>(call.x));
  const bool divide = call.beta.data != nullptr;
  Buffers<T> buffers(team, divide ? 5 : 4, transform.space());
  if (!buffers.ok()) return Status::out_of_memory;
  const Column<T> steps = steps_of<T>(call, transform);
#pragma omp parallel for schedule(dynamic, 1) num_threads(team) if (team > 1)
  for (Index task = 0; task < tasks; ++task) {
    const Index strip = task % strips.count, column = strips.first(strip), part = task / strips.count % parts,
                group = task / strips.count / parts;
    const int width = strips.width(strip);
    ComplexVector<T>*sum = buffers.get(0), *x = buffers.get(1), *y = buffers.get(2), *work = buffers.get(3);
    V* norm = divide ? &buffers.get(4)->re : nullptr;
    if (partial.memory) {
      sum = static_cast<ComplexVector<T>*>(partial.memory) + task * call.plane;
      norm = reinterpret_cast<V*>(static_cast<ComplexVector<T>*>(partial.memory) + tasks * call.plane) + task * call.plane;
    }
    bool first = partial.first;
    for (Index b = groups == batch ? group : 0; b < (groups == batch ? group + 1 : batch); ++b)
      for (Index c = parts == channels ? part : 0; c < (parts == channels ? part + 1 : channels); ++c) {
        steps.load(call.x, at<T>(call.x, b, c, column), width, map_of(call.load_x), taper_of<T>(call), x);
        steps.forward(x, work);
        steps.load(call.y, at<T>(call.y, b, c, column), width, map_of(call.load_y), taper_of<T>(call), y);
        steps.forward(y, work);
        for (Index u = 0; u < call.plane; ++u) {  // conj(X) Y, parts swapped for the way back
          const V re = x[u].re * y[u].re + x[u].im * y[u].im, im = x[u].re * y[u].im - x[u].im * y[u].re;
          sum[u] = first ? ComplexVector<T>{im, re} : ComplexVector<T>{sum[u].re + im, sum[u].im + re};
          if (divide) {
            const V power = x[u].re * x[u].re + x[u].im * x[u].im;
            norm[u] = first ? power : norm[u] + power;
          }
        }
        first = false;
      }
    if (!partial.last) continue;
    if (divide) {
      const T beta = beta_of<T>(call, group);
      for (Index u = 0; u < call.plane; ++u) {
        const V inverse = T(1) / (norm[u] + beta);
        sum[u] = {sum[u].re * inverse, sum[u].im * inverse};
      }
    }
    steps.kernel_rows(call.out_kernel, group, part, column, width, sum, work);
  }
  return Status::ok;
}

}  // namespace
}  // namespace SVCONV_ISA
}  // namespace svconv
