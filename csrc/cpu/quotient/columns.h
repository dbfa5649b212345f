// The steps that every column pass of the quotient family is made of; see quotient.h for what the arrays mean.
#pragma once

#include "cpu/column_fft.h"
#include "cpu/quotient/quotient.h"

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

// One thread's strips of a plane, and the steps that every pass is made of.
template <typename T> class Column {
 public:
  using V = typename Vector<T>::type;
  using Z = ComplexVector<T>;

  Column(const QuotientCall& call, const ColumnTransform<T>& transform) : call_(call), transform_(transform), n_(call.plane) {}

  // Rows of an image placed on the plane by a map, weighted by the taper.
  void load(const View& view, const T* base, int width, const View& map_view, Z* to) const {
    const Index* map = map_of(map_view);
    const T* taper = static_cast<const T*>(call_.taper.data);
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
    if (const T* ramp = static_cast<const T*>(call_.ramp.data))
      for (Index u = 0; u < n_; ++u) multiply(own[u], ramp[2 * u], ramp[2 * u + 1]);
  }

  // `own` holds a spectrum with real and imaginary part swapped; writes its inverse transform at the kernel's rows.
  void kernel_rows(const View& view, Index b, Index c, Index column, int width, Z*& own, Z*& work) const {
    if (const T* ramp = static_cast<const T*>(call_.ramp.data))  // times conj(ramp), on the swapped value times ramp
      for (Index u = 0; u < n_; ++u) multiply(own[u], ramp[2 * u], ramp[2 * u + 1]);
    forward(own, work);
    const T scale = T(1) / static_cast<T>(n_);
    T* base = out_at<T>(view, b, c, column);
    for (Index a = 0; a < view.shape[2]; ++a) {
      const Z z = own[place(a)];
      store_columns<T>({z.im * scale, z.re * scale}, base + a * view.stride[2], width);
    }
  }

  // `own` holds a swapped spectrum; its inverse transform goes to the rows that the map names.
  void store(const View& view, T* base, int width, const View& map_view, bool folds, Z*& own, Z*& work) const {
    forward(own, work);
    const Index* map = map_of(map_view);
    const T* taper = static_cast<const T*>(call_.taper.data);
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
    const Index r = (a - call_.offset) % n_;
    return r < 0 ? r + n_ : r;
  }
  const QuotientCall& call_;
  const ColumnTransform<T>& transform_;
  Index n_;
};

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

// A divisor of 0 becomes infinite, so that the quotient is 0 there; NaN stays.
template <typename V, typename T> SVCONV_INLINE V never_zero(const V& divisor, T) {
  return divisor == T(0) ? V{} + T(__builtin_inf()) : divisor;
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
