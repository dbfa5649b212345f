// The steps of a pass along the columns of planes, one strip of neighbouring columns at a time, on spectra whose rows are transformed.
#pragma once

#include "cpu/column_fft.h"

namespace svconv {
namespace SVCONV_ISA {
namespace {

template <typename T> struct Strips {
  static constexpr int lanes = Vector<T>::lanes;
  Index columns, count;
  explicit Strips(Index columns_) : columns(columns_), count(divide_up(columns_, lanes)) {}
  Index first(Index strip) const { return strip * lanes; }
  int width(Index strip) const { return static_cast<int>(min_index(lanes, columns - strip * lanes)); }
};

template <typename T> const T* at(const View& view, Index b, Index c, Index column) {
  return static_cast<const T*>(view.data) + b * view.stride[0] + c * view.stride[1] + column * 2;
}
template <typename T> T* out_at(const View& view, Index b, Index c, Index column) {
  return static_cast<T*>(view.data) + b * view.stride[0] + c * view.stride[1] + column * 2;
}

const Index* map_of(const View& view) { return static_cast<const Index*>(view.data); }

// The steps that every pass over a strip of a plane is made of.
template <typename T> class Column {
 public:
  using V = typename Vector<T>::type;
  using Z = ComplexVector<T>;

  // A plane of n rows on which a kernel's row a stands at row a - offset; ramp [n, 2], a factor of the kernel's spectrum, or nullptr.
  Column(const ColumnTransform<T>& transform, Index n, Index offset, const T* ramp = nullptr)
      : transform_(transform), n_(n), offset_(offset), ramp_(ramp) {}

  // Rows of an image placed on the plane by a map, weighted by the taper.
  void load(const View& view, const T* base, int width, const Index* map, const T* taper, Z* to) const {
    for (Index e = 0; e < n_; ++e) {
      const Index row = map ? map[e] : e;
      Z z = {V{}, V{}};
      if (row >= 0) z = load_columns<T>(base + row * view.stride[2], width);
      if (taper) z = {z.re * taper[e], z.im * taper[e]};
      to[e] = z;
    }
  }

  // The transform of buffer `own`; afterwards own holds it and work is free.
  void forward(Z*& own, Z*& work) const {
    Z* result = transform_.forward(own, work);
    if (result != own) {
      work = own;
      own = result;
    }
  }

  // The spectrum of a kernel given by its rows.
  void kernel_spectrum(const View& view, Index b, Index c, Index column, int width, Z*& own, Z*& work) const {
    memset(static_cast<void*>(own), 0, sizeof(Z) * static_cast<std::size_t>(n_));
    const T* base = at<T>(view, b, c, column);
    for (Index a = 0; a < view.shape[2]; ++a) {
      const Z z = load_columns<T>(base + a * view.stride[2], width);
      Z& to = own[place(a)];
      to = {to.re + z.re, to.im + z.im};
    }
    forward(own, work);
    for (Index u = 0; ramp_ && u < n_; ++u) multiply(own[u], ramp_[2 * u], ramp_[2 * u + 1]);
  }

  // `own` holds a spectrum with real and imaginary part swapped; writes its inverse transform at the kernel's rows.
  void kernel_rows(const View& view, Index b, Index c, Index column, int width, Z*& own, Z*& work) const {
    for (Index u = 0; ramp_ && u < n_; ++u) multiply(own[u], ramp_[2 * u], ramp_[2 * u + 1]);  // conj(ramp), on the swapped value ramp
    forward(own, work);
    const T scale = T(1) / static_cast<T>(n_);
    T* base = out_at<T>(view, b, c, column);
    for (Index a = 0; a < view.shape[2]; ++a) {
      const Z z = own[place(a)];
      store_columns<T>({z.im * scale, z.re * scale}, base + a * view.stride[2], width);
    }
  }

  // `own` holds a swapped spectrum; its inverse transform goes to the rows that the map names.
  void store(const View& view, T* base, int width, const Index* map, const T* taper, bool folds, Z*& own, Z*& work) const {
    forward(own, work);
    const T scale = T(1) / static_cast<T>(n_);
    const Index rows = view.shape[2];
    if (folds) {
      memset(static_cast<void*>(work), 0, sizeof(Z) * static_cast<std::size_t>(rows));
      for (Index e = 0; e < n_; ++e)
        if (map[e] >= 0) work[map[e]] = {work[map[e]].re + own[e].re, work[map[e]].im + own[e].im};
      for (Index r = 0; r < rows; ++r) store_columns<T>({work[r].im * scale, work[r].re * scale}, base + r * view.stride[2], width);
      return;
    }
    for (Index e = 0; e < n_; ++e) {
      const Index row = map ? map[e] : e;
      const T weight = taper ? scale * taper[e] : scale;
      if (row >= 0) store_columns<T>({own[e].im * weight, own[e].re * weight}, base + row * view.stride[2], width);
    }
  }

 private:
  Index place(Index a) const {
    const Index r = (a - offset_) % n_;
    return r < 0 ? r + n_ : r;
  }
  const ColumnTransform<T>& transform_;
  const Index n_, offset_;
  const T* const ramp_;
};

// A divisor of 0 becomes infinite, so that the quotient is 0 there; NaN stays.
template <typename V, typename T> SVCONV_INLINE V never_zero(const V& divisor, T) {
  return divisor == T(0) ? V{} + T(__builtin_inf()) : divisor;
}

// x times k (sign 1) or conj(k) (sign -1), real and imaginary part swapped for the way back.
template <typename T> void multiply_swapped(Index n, T sign, const ComplexVector<T>* k, ComplexVector<T>* x) {
  for (Index u = 0; u < n; ++u) {
    const auto re = x[u].re * k[u].re - x[u].im * (k[u].im * sign), im = x[u].re * (k[u].im * sign) + x[u].im * k[u].re;
    x[u] = {im, re};
  }
}

// conj(k) x / (|k|^2 + beta P), swapped; power: P at the first column of the strip, `pitch` between rows, or nullptr for ones.
template <typename T>
void divide_swapped(Index n, T beta, const T* power, Index pitch, int width, const ComplexVector<T>* k, ComplexVector<T>* x) {
  for (Index u = 0; u < n; ++u) {
    const auto re = x[u].re * k[u].re + x[u].im * k[u].im, im = x[u].im * k[u].re - x[u].re * k[u].im;
    auto divisor = k[u].re * k[u].re + k[u].im * k[u].im;
    if (power) divisor += load_part(power + u * pitch, 0, width) * beta;
    else divisor += beta;
    divisor = never_zero(divisor, T(0));
    x[u] = {im / divisor, re / divisor};
  }
}

// Work buffers for a team: `count` buffers of the transform's size for each thread.
template <typename T> class Buffers {
 public:
  Buffers(int team, Index count, Index space)
      : per_thread_(count * space), space_(space), memory_(sizeof(ComplexVector<T>) * static_cast<std::size_t>(team * count * space)) {}
  bool ok() const { return const_cast<Scratch&>(memory_).ok(); }
  ComplexVector<T>* get(Index i) { return memory_.template as<ComplexVector<T>>() + thread_index() * per_thread_ + i * space_; }

 private:
  Index per_thread_, space_;
  Scratch memory_;
};

}  // namespace
}  // namespace SVCONV_ISA
}  // namespace svconv
