// What the column passes of the quotient family share; see quotient.h for what the arrays mean.
#pragma once

#include "cpu/column_steps.h"
#include "cpu/quotient/quotient.h"

namespace svconv {
namespace SVCONV_ISA {
namespace {

template <typename T> const T* taper_of(const QuotientCall& call) { return static_cast<const T*>(call.taper.data); }
template <typename T> Column<T> steps_of(const QuotientCall& call, const ColumnTransform<T>& transform) {
  return Column<T>(transform, call.plane, call.offset, static_cast<const T*>(call.ramp.data));
}

// Whether a stored row receives more than one row of the plane.
Status map_folds(const View& map_view, Index plane, Index rows, bool* folds) {
  *folds = false;
  const Index* map = map_of(map_view);
  if (!map) return Status::ok;
  Scratch seen(static_cast<std::size_t>(rows));
  if (!seen.ok()) return Status::out_of_memory;
  char* hit = seen.as<char>();
  memset(hit, 0, static_cast<std::size_t>(rows));
  for (Index e = 0; e < plane; ++e) {
    if (map[e] < 0) continue;
    if (hit[map[e]]) *folds = true;
    hit[map[e]] = 1;
  }
  return Status::ok;
}

template <typename T> T beta_of(const QuotientCall& call, Index b) {
  return static_cast<const T*>(call.beta.data)[b * call.beta.stride[0]];
}

template <typename T> SVCONV_INLINE typename Vector<T>::type power_at(const QuotientCall& call, Index u, Index column, int width) {
  return load_part(static_cast<const T*>(call.power.data) + u * call.power.stride[0] + column, 0, width);
}

template <typename T> double bytes_of(const View& view) {
  return static_cast<double>(sizeof(T)) * 2 * static_cast<double>(view.shape[0] * view.shape[1]) *
         static_cast<double>(view.shape[2] * view.shape[3]);
}

// Sums over a strip in double, weighted by how many frequencies a column stands for.
template <typename T> class SlopeSum {
 public:
  SVCONV_INLINE void add(typename Vector<T>::type v) {
    block_ += v;
    if (++filled_ == 16) flush();
  }
  double total(Index first, int width, Index plane_width) {
    flush();
    double sum = 0;
    for (int i = 0; i < width; ++i) {
      const Index v = first + i;
      sum += lanes_[i] * (v == 0 || 2 * v == plane_width ? 1.0 : 2.0);
    }
    return sum;
  }

 private:
  void flush() {
    for (int i = 0; i < Vector<T>::lanes; ++i) lanes_[i] += static_cast<double>(block_[i]);
    block_ = typename Vector<T>::type{};
    filled_ = 0;
  }
  typename Vector<T>::type block_{};
  double lanes_[Vector<T>::lanes] = {};
  int filled_ = 0;
};

}  // namespace
}  // namespace SVCONV_ISA
}  // namespace svconv
