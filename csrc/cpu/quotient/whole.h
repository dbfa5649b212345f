// Whole calls: the rows, the pass along the columns and the way back, with the spectra in between in memory of their own.
#pragma once

#include "cpu/quotient/products.h"
#include "cpu/quotient/rows.h"

namespace svconv {
namespace SVCONV_ISA {
namespace {

// Half spectra [B, C, rows, columns, 2] of planes `plane` columns wide.
template <typename T> class HalfSpectra {
 public:
  HalfSpectra(Index b, Index c, Index rows, Index plane)
      : view(view_of(b, c, rows, plane / 2 + 1)), memory_(static_cast<std::size_t>(b * view.stride[0]) * sizeof(T)) {
    view.data = memory_.template as<T>();
  }
  bool ok() const { return memory_.ok(); }

  // Every row times the ramp [columns, 2], or its conjugate (sign -1).
  void multiply(const View& ramp, T sign) {
    const T* factor = static_cast<const T*>(ramp.data);
    if (!factor) return;
    T* row = static_cast<T*>(view.data);
    for (Index r = 0; r < view.shape[0] * view.shape[1] * view.shape[2]; ++r, row += view.stride[2])
      for (Index u = 0; u < view.shape[3]; ++u) {
        const T re = row[2 * u], im = row[2 * u + 1], a = factor[2 * u], b = sign * factor[2 * u + 1];
        row[2 * u] = re * a - im * b;
        row[2 * u + 1] = re * b + im * a;
      }
  }

  View view;

 private:
  static View view_of(Index b, Index c, Index rows, Index columns) {
    View view;
    view.dtype = sizeof(T) == 8 ? DType::f64 : DType::f32;
    const Index shape[5] = {b, c, rows, columns, 2};
    Index stride = 1;
    for (int i = 4; i >= 0; --i) {
      view.shape[i] = shape[i];
      view.stride[i] = stride;
      stride *= shape[i];
    }
    return view;
  }
  Scratch memory_;
};

template <typename T, bool Forward>
Status rows_of(const WholeCall& call, const View& image, const View& spectrum, const View& map, const View& taper = {}) {
  RowsCall rows;
  rows.image = image, rows.spectrum = spectrum, rows.map = map, rows.taper = taper;
  rows.plane = call.plane, rows.threads = call.columns.threads;
  return rows_typed<T, Forward>(rows);
}

template <typename T> Status filter_typed(const WholeCall& call) {
  const View &x = call.x, &k = call.kernel;
  if (x.shape[0] * x.shape[1] == 0) return Status::ok;
  HalfSpectra<T> spectra(x.shape[0], x.shape[1], x.shape[2], call.plane), kernel(k.shape[0], k.shape[1], k.shape[2], call.plane);
  if (!spectra.ok() || !kernel.ok()) return Status::out_of_memory;
  if (rows_of<T, true>(call, x, spectra.view, call.enter) != Status::ok) return Status::out_of_memory;
  if (rows_of<T, true>(call, k, kernel.view, call.kernel_columns) != Status::ok) return Status::out_of_memory;
  kernel.multiply(call.ramp, T(1));
  QuotientCall columns = call.columns;
  columns.x = columns.out_x = spectra.view;  // a strip is read before it is written
  columns.kernel = kernel.view;
  for (int i = 0; i < 2; ++i)
    if (k.shape[i] == 1) columns.kernel.stride[i] = 0;
  if (apply_typed<T>(columns) != Status::ok) return Status::out_of_memory;
  return rows_of<T, false>(call, call.out, spectra.view, call.leave);
}

// Samples [b, b + count) and channels [c, c + channels) of a stack.
inline View part_of(View stack, Index b, Index count, Index c, Index channels, std::size_t item) {
  stack.data = static_cast<char*>(stack.data) + static_cast<std::size_t>(b * stack.stride[0] + c * stack.stride[1]) * item;
  stack.shape[0] = count, stack.shape[1] = channels;
  return stack;
}

// Which samples and pairs have their spectra in memory at a time. As many whole samples as stay in the caches; of larger ones up to two
// pairs, and the sums (one image and a half) where there are more: four images at most.
struct PairParts {
  Index samples, pairs;
  PairParts(Index batch, Index n, double image_bytes) {
    constexpr double kCached = 4 << 20;
    const double sample = 2 * static_cast<double>(n) * image_bytes;
    samples = max_index(1, min_index(batch, static_cast<Index>(kCached / sample)));
    pairs = n <= 2 || sample <= kCached ? n : 1;
  }
};

template <typename T> Status kernel_typed(const WholeCall& call) {
  const Index batch = call.x.shape[0], n = call.x.shape[1], height = call.x.shape[2], kh = call.out.shape[2];
  if (batch == 0) return Status::ok;
  const Strips<T> strips(call.plane / 2 + 1);
  const PairParts parts(batch, n, static_cast<double>(height * (call.plane + 2)) * sizeof(T));
  HalfSpectra<T> x(parts.samples, parts.pairs, height, call.plane), y(parts.samples, parts.pairs, height, call.plane);
  HalfSpectra<T> rows(batch, 1, kh, call.plane);
  Scratch sums(parts.pairs < n ? sums_bytes<T>(height, strips.count) : 0);
  if (!x.ok() || !y.ok() || !rows.ok() || !sums.ok()) return Status::out_of_memory;
  for (Index b = 0; b < batch; b += parts.samples)
    for (Index c = 0; c < n; c += parts.pairs) {
      const Index count = min_index(parts.samples, batch - b);
      QuotientCall columns = call.columns;
      columns.x = part_of(x.view, 0, count, 0, parts.pairs, sizeof(T));
      columns.y = part_of(y.view, 0, count, 0, parts.pairs, sizeof(T));
      columns.out_kernel = part_of(rows.view, b, count, 0, 1, sizeof(T));
      columns.beta = part_of(call.columns.beta, b, count, 0, 1, sizeof(T));
      const View from = part_of(call.x, b, count, c, parts.pairs, sizeof(T)), to = part_of(call.y, b, count, c, parts.pairs, sizeof(T));
      if (rows_of<T, true>(call, from, columns.x, View{}, call.taper) != Status::ok) return Status::out_of_memory;
      if (rows_of<T, true>(call, to, columns.y, View{}, call.taper) != Status::ok) return Status::out_of_memory;
      const Partial partial = parts.pairs < n ? Partial{sums.as<char>(), c == 0, c + parts.pairs >= n} : Partial{};
      if (estimate_typed<T>(columns, partial) != Status::ok) return Status::out_of_memory;
    }
  rows.multiply(call.ramp, T(-1));
  return rows_of<T, false>(call, call.out, rows.view, call.kernel_columns);
}

}  // namespace
}  // namespace SVCONV_ISA
}  // namespace svconv
