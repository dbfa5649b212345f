// Complex transforms along the columns of a plane: one vector register of neighbouring columns at a time, so that no pass shuffles lanes.
// Stockham passes of radix 4, 2, 3, 5, 7 and other small primes; lengths with a prime factor above 31 go through a chirp product.
#pragma once

#include "cpu/simd.h"

namespace svconv {
namespace SVCONV_ISA {
namespace {

template <typename T> struct Complex { typename Vector<T>::type re, im; };

constexpr int kLargestRadix = 31;
constexpr double kTwoPi = 6.283185307179586476925286766559;

SVCONV_INLINE Index fast_length(Index n) {
  for (;; ++n) {
    Index rest = n;
    const int factors[] = {2, 3, 5, 7};
    for (int factor : factors)
      while (rest % factor == 0) rest /= factor;
    if (rest == 1) return n;
  }
}

template <typename T> struct Passes {
  Index n = 0;
  int count = 0;
  int radix[64] = {};
  const T* roots = nullptr;   // e^(-2 pi i t / n), interleaved
};

template <typename T> SVCONV_INLINE void multiply(Complex<T>& z, T wr, T wi) {
  const auto re = z.re * wr - z.im * wi;
  z.im = z.re * wi + z.im * wr;
  z.re = re;
}

template <typename T> void pass2(const Complex<T>* x, Complex<T>* y, Index m, Index s, const T* roots) {
  for (Index p = 0; p < m; ++p) {
    const T wr = roots[2 * p * s], wi = roots[2 * p * s + 1];
    for (Index q = 0; q < s; ++q) {
      const Complex<T> a = x[q + s * p], b = x[q + s * (p + m)];
      Complex<T> d = {a.re - b.re, a.im - b.im};
      multiply(d, wr, wi);
      y[q + s * 2 * p] = {a.re + b.re, a.im + b.im};
      y[q + s * (2 * p + 1)] = d;
    }
  }
}

template <typename T> void pass4(const Complex<T>* x, Complex<T>* y, Index m, Index s, const T* roots) {
  for (Index p = 0; p < m; ++p) {
    const T *w1 = roots + 2 * p * s, *w2 = roots + 4 * p * s, *w3 = roots + 6 * p * s;
    const T w1r = w1[0], w1i = w1[1], w2r = w2[0], w2i = w2[1], w3r = w3[0], w3i = w3[1];
    for (Index q = 0; q < s; ++q) {
      const Complex<T> a = x[q + s * p], b = x[q + s * (p + m)], c = x[q + s * (p + 2 * m)], d = x[q + s * (p + 3 * m)];
      const auto sum_r = a.re + c.re, sum_i = a.im + c.im, dif_r = a.re - c.re, dif_i = a.im - c.im;
      const auto bd_r = b.re + d.re, bd_i = b.im + d.im, j_r = d.im - b.im, j_i = b.re - d.re;   // i (b - d)
      Complex<T> y1 = {dif_r - j_r, dif_i - j_i}, y2 = {sum_r - bd_r, sum_i - bd_i}, y3 = {dif_r + j_r, dif_i + j_i};
      multiply(y1, w1r, w1i);
      multiply(y2, w2r, w2i);
      multiply(y3, w3r, w3i);
      Complex<T>* out = y + q + s * 4 * p;
      out[0] = {sum_r + bd_r, sum_i + bd_i};
      out[s] = y1;
      out[2 * s] = y2;
      out[3 * s] = y3;
    }
  }
}

// An odd prime; R = 0: its value is `radix`.
template <typename T, int R> void pass_odd(const Complex<T>* x, Complex<T>* y, Index m, Index s, const T* roots, Index n, int radix) {
  const int r = R ? R : radix;
  constexpr int kMost = R ? R : kLargestRadix;
  T cosine[kMost], sine[kMost];
  for (int j = 0; j < r; ++j) {
    cosine[j] = static_cast<T>(__builtin_cos(kTwoPi * j / r));
    sine[j] = static_cast<T>(__builtin_sin(kTwoPi * j / r));
  }
  for (Index p = 0; p < m; ++p)
    for (Index q = 0; q < s; ++q) {
      const Complex<T> first = x[q + s * p];
      Complex<T> sum[kMost / 2 + 1], dif[kMost / 2 + 1], total = first;
      for (int j = 1; j <= r / 2; ++j) {
        const Complex<T> a = x[q + s * (p + j * m)], b = x[q + s * (p + (r - j) * m)];
        sum[j] = {a.re + b.re, a.im + b.im};
        dif[j] = {a.re - b.re, a.im - b.im};
        total.re += sum[j].re;
        total.im += sum[j].im;
      }
      Complex<T>* out = y + q + s * r * p;
      out[0] = total;
      for (int k = 1; k <= r / 2; ++k) {
        Complex<T> even = first, odd = {first.re - first.re, first.im - first.im};
        for (int j = 1, t = k; j <= r / 2; ++j, t = t + k >= r ? t + k - r : t + k) {
          even.re += sum[j].re * cosine[t];
          even.im += sum[j].im * cosine[t];
          odd.re += dif[j].re * sine[t];
          odd.im += dif[j].im * sine[t];
        }
        Complex<T> low = {even.re + odd.im, even.im - odd.re}, high = {even.re - odd.im, even.im + odd.re};
        const Index i = p * s * k, j = p * s * (r - k);
        multiply(low, roots[2 * i], roots[2 * i + 1]);
        multiply(high, roots[2 * j], roots[2 * j + 1]);
        out[s * k] = low;
        out[s * (r - k)] = high;
      }
    }
  (void)n;
}

// Transforms x with y as work space; the result is where the return value points.
template <typename T> Complex<T>* run_passes(const Passes<T>& plan, Complex<T>* x, Complex<T>* y) {
  Index n = plan.n, s = 1;
  for (int i = 0; i < plan.count; ++i) {
    const int r = plan.radix[i];
    const Index m = n / r;
    switch (r) {
      case 2: pass2<T>(x, y, m, s, plan.roots); break;
      case 3: pass_odd<T, 3>(x, y, m, s, plan.roots, plan.n, 3); break;
      case 4: pass4<T>(x, y, m, s, plan.roots); break;
      case 5: pass_odd<T, 5>(x, y, m, s, plan.roots, plan.n, 5); break;
      case 7: pass_odd<T, 7>(x, y, m, s, plan.roots, plan.n, 7); break;
      default: pass_odd<T, 0>(x, y, m, s, plan.roots, plan.n, r);
    }
    Complex<T>* swap = x;
    x = y;
    y = swap;
    n = m;
    s *= r;
  }
  return x;
}

template <typename T> void unit_roots(Index n, T* roots) {
  for (Index t = 0; t < n; ++t) {
    const double angle = -kTwoPi * static_cast<double>(t) / static_cast<double>(n);
    roots[2 * t] = static_cast<T>(__builtin_cos(angle));
    roots[2 * t + 1] = static_cast<T>(__builtin_sin(angle));
  }
}

// False if a prime factor above kLargestRadix remains.
template <typename T> bool plan_passes(Index n, const T* roots, Passes<T>* plan) {
  plan->n = n;
  plan->roots = roots;
  plan->count = 0;
  Index rest = n;
  for (; rest % 4 == 0; rest /= 4) plan->radix[plan->count++] = 4;
  for (int r = 2; r <= kLargestRadix; ++r)
    for (; rest % r == 0; rest /= r) plan->radix[plan->count++] = r;
  return rest == 1;
}

template <typename T> class ColumnTransform {
 public:
  explicit ColumnTransform(Index n) : n_(n), chirped_(needs_chirp(n)), length_(chirped_ ? fast_length(2 * n - 1) : n),
      roots_(sizeof(T) * 2 * static_cast<std::size_t>(length_)), chirp_(sizeof(T) * 2 * static_cast<std::size_t>(chirped_ ? n : 0)),
      response_(sizeof(T) * 2 * static_cast<std::size_t>(chirped_ ? length_ : 0)) {
    if (!roots_.ok() || !chirp_.ok() || !response_.ok()) return;
    unit_roots(length_, roots_.template as<T>());
    plan_passes(length_, roots_.template as<T>(), &passes_);
    ok_ = !chirped_ || prepare_chirp();
  }
  bool ok() const { return ok_; }
  Index space() const { return length_; }   // elements that a work buffer must hold

  // The forward transform of a[0..n) with b as work space (both of space() elements); the result is where the return value points.
  Complex<T>* forward(Complex<T>* a, Complex<T>* b) const { return chirped_ ? chirp(a, b) : run_passes(passes_, a, b); }

 private:
  static bool needs_chirp(Index n) {
    Passes<T> trial;
    return !plan_passes<T>(n, nullptr, &trial);
  }

  bool prepare_chirp() {
    Scratch space(2 * sizeof(Complex<T>) * static_cast<std::size_t>(length_));
    if (!space.ok()) return false;
    Complex<T>*a = space.template as<Complex<T>>(), *b = a + length_;
    memset(static_cast<void*>(a), 0, sizeof(Complex<T>) * static_cast<std::size_t>(length_));
    T* chirp = chirp_.template as<T>();
    for (Index i = 0; i < n_; ++i) {
      const double angle = -kTwoPi / 2 * static_cast<double>(i * i % (2 * n_)) / static_cast<double>(n_);
      chirp[2 * i] = static_cast<T>(__builtin_cos(angle));
      chirp[2 * i + 1] = static_cast<T>(__builtin_sin(angle));
      const Complex<T> value = {typename Vector<T>::type{} + chirp[2 * i], typename Vector<T>::type{} - chirp[2 * i + 1]};
      a[i] = value;
      if (i) a[length_ - i] = value;
    }
    const Complex<T>* spectrum = run_passes(passes_, a, b);
    T* response = response_.template as<T>();
    for (Index i = 0; i < length_; ++i) {
      response[2 * i] = spectrum[i].re[0] / static_cast<T>(length_);
      response[2 * i + 1] = spectrum[i].im[0] / static_cast<T>(length_);
    }
    return true;
  }

  Complex<T>* chirp(Complex<T>* a, Complex<T>* b) const {
    const T* chirp = const_cast<Scratch&>(chirp_).template as<T>();
    const T* response = const_cast<Scratch&>(response_).template as<T>();
    for (Index i = 0; i < n_; ++i) multiply(a[i], chirp[2 * i], chirp[2 * i + 1]);
    memset(static_cast<void*>(a + n_), 0, sizeof(Complex<T>) * static_cast<std::size_t>(length_ - n_));
    Complex<T>* spectrum = run_passes(passes_, a, b);
    for (Index i = 0; i < length_; ++i) {   // times the response, real and imaginary part swapped for the way back
      multiply(spectrum[i], response[2 * i], response[2 * i + 1]);
      spectrum[i] = {spectrum[i].im, spectrum[i].re};
    }
    Complex<T>* result = run_passes(passes_, spectrum, spectrum == a ? b : a);
    for (Index i = 0; i < n_; ++i) {
      result[i] = {result[i].im, result[i].re};
      multiply(result[i], chirp[2 * i], chirp[2 * i + 1]);
    }
    return result;
  }

  Index n_;
  bool chirped_;
  Index length_;
  Scratch roots_, chirp_, response_;
  Passes<T> passes_;
  bool ok_ = false;
};

// ---- strips: one vector of neighbouring columns

template <typename T> SVCONV_INLINE Complex<T> load_columns(const T* p) {
  constexpr int lanes = Vector<T>::lanes;
  Complex<T> z;
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

template <typename T> SVCONV_INLINE void store_columns(const Complex<T>& z, T* p) {
  constexpr int lanes = Vector<T>::lanes;
#if defined(__GNUC__) && !defined(__clang__)
  typename Vector<T>::type low = z.re, high = z.im;
  typedef decltype(low < high) Mask;
  Mask first, second;
  for (int i = 0; i < lanes; ++i) {
    first[i] = (i & 1) * lanes + i / 2;
    second[i] = (i & 1) * lanes + i / 2 + lanes / 2;
  }
  low = __builtin_shuffle(z.re, z.im, first);
  high = __builtin_shuffle(z.re, z.im, second);
  memcpy(p, &low, sizeof low);
  memcpy(p + lanes, &high, sizeof high);
#else
  for (int i = 0; i < lanes; ++i) {
    p[2 * i] = z.re[i];
    p[2 * i + 1] = z.im[i];
  }
#endif
}

// The first `count` columns at p; the others are zero (load) or left alone (store).
template <typename T> SVCONV_INLINE Complex<T> load_columns(const T* p, int count) {
  constexpr int lanes = Vector<T>::lanes;
  if (count == lanes) return load_columns<T>(p);
  T part[2 * lanes] = {};
  memcpy(part, p, sizeof(T) * 2 * static_cast<std::size_t>(count));
  return load_columns<T>(part);
}

template <typename T> SVCONV_INLINE void store_columns(const Complex<T>& z, T* p, int count) {
  constexpr int lanes = Vector<T>::lanes;
  if (count == lanes) return store_columns<T>(z, p);
  T part[2 * lanes];
  store_columns<T>(z, part);
  memcpy(p, part, sizeof(T) * 2 * static_cast<std::size_t>(count));
}

}  // namespace
}  // namespace SVCONV_ISA
}  // namespace svconv
