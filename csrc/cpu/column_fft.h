// Transforms along the columns of a plane, one vector register of neighbouring columns at a time: no pass shuffles lanes.
#pragma once

#include "core/fft.h"
#include "cpu/parallel.h"
#include "cpu/transpose.h"

namespace svconv {
namespace SVCONV_ISA {
namespace {

template <typename T> using ComplexVector = Complex<typename Vector<T>::type>;

// A plan of length n and its memory.
template <typename T> class ColumnTransform {
 public:
  explicit ColumnTransform(Index n) : table_(sizeof(T) * static_cast<std::size_t>(fft_table_values(n))) {
    Scratch work(2 * sizeof(ComplexVector<T>) * static_cast<std::size_t>(fft_length(n)));
    if (!table_.ok() || !work.ok()) return;
    fft_plan(n, table_.template as<T>(), work.template as<ComplexVector<T>>(), &plan_);
    ok_ = true;
  }
  bool ok() const { return ok_; }
  Index space() const { return plan_.length; }  // elements that a work buffer must hold

  // The forward transform of a[0..n) with b as work space (both of space() elements); the result is where the return value points.
  ComplexVector<T>* forward(ComplexVector<T>* a, ComplexVector<T>* b) const { return fft_forward(plan_, a, b); }

 private:
  Scratch table_;
  FftPlan<T> plan_;
  bool ok_ = false;
};

// ---- strips: one vector of neighbouring columns

template <typename T> SVCONV_INLINE ComplexVector<T> load_columns(const T* p) {
  constexpr int lanes = Vector<T>::lanes;
  ComplexVector<T> z;
#if defined(__GNUC__) && !defined(__clang__)
  typename Vector<T>::type low, high;
  memcpy(&low, p, sizeof low);
  memcpy(&high, p + lanes, sizeof high);
  typedef decltype(low < high) Mask;
  Mask even, odd;
  for (int i = 0; i < lanes; ++i) {
    even[i] = 2 * i;
    odd[i] = 2 * i + 1;
  }
  z.re = __builtin_shuffle(low, high, even);
  z.im = __builtin_shuffle(low, high, odd);
#else
  for (int i = 0; i < lanes; ++i) {
    z.re[i] = p[2 * i];
    z.im[i] = p[2 * i + 1];
  }
#endif
  return z;
}

template <typename T> SVCONV_INLINE void store_columns(const ComplexVector<T>& z, T* p) {
  typename Vector<T>::type low = z.re, high = z.im;
  interleave(low, high);
  store(low, p);
  store(high, p + Vector<T>::lanes);
}

// The first `count` columns at p; the others are zero (load) or left alone (store).
template <typename T> SVCONV_INLINE ComplexVector<T> load_columns(const T* p, int count) {
  constexpr int lanes = Vector<T>::lanes;
  if (count == lanes) return load_columns<T>(p);
  T part[2 * lanes] = {};
  memcpy(part, p, sizeof(T) * 2 * static_cast<std::size_t>(count));
  return load_columns<T>(part);
}

template <typename T> SVCONV_INLINE void store_columns(const ComplexVector<T>& z, T* p, int count) {
  constexpr int lanes = Vector<T>::lanes;
  if (count == lanes) return store_columns<T>(z, p);
  T part[2 * lanes];
  store_columns<T>(z, part);
  memcpy(p, part, sizeof(T) * 2 * static_cast<std::size_t>(count));
}

}  // namespace
}  // namespace SVCONV_ISA
}  // namespace svconv
