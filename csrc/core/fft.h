// Complex transforms of one length n for any lane type V: a scalar, or a vector register that holds as many transforms side by side.
// Stockham passes of radix 4, 2, 3, 5, 7 and other small primes; lengths with a prime factor above 31 go through a chirp product.
//
// The plan is plain data: radices, and pointers into a table of fft_table_values(n) scalars which the owner allocates and fft_plan()
// fills on the host. The passes read nothing else, so host and device run the same ones.
#pragma once

#include "host_device.h"

namespace svconv {
namespace {

template <typename V> struct Complex {
  V re, im;
};

constexpr int kLargestRadix = 31;
constexpr double kTwoPi = 6.283185307179586476925286766559;

template <typename T> struct FftPlan {
  long long n = 0;       // length of the transform
  long long length = 0;  // length of the passes: n, or that of the chirp product; elements that a work buffer must hold
  int count = 0;         // of the passes
  int radix[64] = {}, turn[64] = {};
  const T* roots = nullptr;  // e^(-2 pi i t / length), interleaved
  const T* turns = nullptr;  // for the odd radix of pass i from turn[i] on: cos and sin of 2 pi j / radix
  const T* chirp = nullptr;  // e^(-pi i t^2 / n) and the spectrum of its conjugate over `length`; nullptr: not needed
  const T* response = nullptr;
};

template <typename V, typename T> SVCONV_HD void multiply(Complex<V>& z, T wr, T wi) {
  const auto re = z.re * wr - z.im * wi;
  z.im = z.re * wi + z.im * wr;
  z.re = re;
}

// ---- passes: s interleaved transforms of r m values become r s of m

template <typename V, typename T> SVCONV_HD void pass2(const Complex<V>* x, Complex<V>* y, long long m, long long s, const T* roots) {
  for (long long p = 0; p < m; ++p) {
    const T wr = roots[2 * p * s], wi = roots[2 * p * s + 1];
    for (long long q = 0; q < s; ++q) {
      const Complex<V> a = x[q + s * p], b = x[q + s * (p + m)];
      Complex<V> d = {a.re - b.re, a.im - b.im};
      multiply(d, wr, wi);
      y[q + s * 2 * p] = {a.re + b.re, a.im + b.im};
      y[q + s * (2 * p + 1)] = d;
    }
  }
}

template <typename V, typename T> SVCONV_HD void pass4(const Complex<V>* x, Complex<V>* y, long long m, long long s, const T* roots) {
  for (long long p = 0; p < m; ++p) {
    const T *w1 = roots + 2 * p * s, *w2 = roots + 4 * p * s, *w3 = roots + 6 * p * s;
    const T w1r = w1[0], w1i = w1[1], w2r = w2[0], w2i = w2[1], w3r = w3[0], w3i = w3[1];
    for (long long q = 0; q < s; ++q) {
      const Complex<V> a = x[q + s * p], b = x[q + s * (p + m)], c = x[q + s * (p + 2 * m)], d = x[q + s * (p + 3 * m)];
      const auto sum_r = a.re + c.re, sum_i = a.im + c.im, dif_r = a.re - c.re, dif_i = a.im - c.im;
      const auto bd_r = b.re + d.re, bd_i = b.im + d.im, j_r = d.im - b.im, j_i = b.re - d.re;  // i (b - d)
      Complex<V> y1 = {dif_r - j_r, dif_i - j_i}, y2 = {sum_r - bd_r, sum_i - bd_i}, y3 = {dif_r + j_r, dif_i + j_i};
      multiply(y1, w1r, w1i);
      multiply(y2, w2r, w2i);
      multiply(y3, w3r, w3i);
      Complex<V>* out = y + q + s * 4 * p;
      out[0] = {sum_r + bd_r, sum_i + bd_i};
      out[s] = y1;
      out[2 * s] = y2;
      out[3 * s] = y3;
    }
  }
}

// An odd prime; R = 0: its value is `radix`.
template <int R, typename V, typename T>
SVCONV_HD void pass_odd(const Complex<V>* x, Complex<V>* y, long long m, long long s, const T* roots, const T* turns, int radix) {
  const int r = R ? R : radix;
  constexpr int kMost = R ? R : kLargestRadix;
  T cosine[kMost], sine[kMost];
  for (int j = 0; j < r; ++j) {
    cosine[j] = turns[2 * j];
    sine[j] = turns[2 * j + 1];
  }
  for (long long p = 0; p < m; ++p)
    for (long long q = 0; q < s; ++q) {
      const Complex<V> first = x[q + s * p];
      Complex<V> sum[kMost / 2 + 1], dif[kMost / 2 + 1], total = first;
      for (int j = 1; j <= r / 2; ++j) {
        const Complex<V> a = x[q + s * (p + j * m)], b = x[q + s * (p + (r - j) * m)];
        sum[j] = {a.re + b.re, a.im + b.im};
        dif[j] = {a.re - b.re, a.im - b.im};
        total.re += sum[j].re;
        total.im += sum[j].im;
      }
      Complex<V>* out = y + q + s * r * p;
      out[0] = total;
      for (int k = 1; k <= r / 2; ++k) {
        Complex<V> even = first, odd = {first.re - first.re, first.im - first.im};
        for (int j = 1, t = k; j <= r / 2; ++j, t = t + k >= r ? t + k - r : t + k) {
          even.re += sum[j].re * cosine[t];
          even.im += sum[j].im * cosine[t];
          odd.re += dif[j].re * sine[t];
          odd.im += dif[j].im * sine[t];
        }
        Complex<V> low = {even.re + odd.im, even.im - odd.re}, high = {even.re - odd.im, even.im + odd.re};
        const long long i = p * s * k, j = p * s * (r - k);
        multiply(low, roots[2 * i], roots[2 * i + 1]);
        multiply(high, roots[2 * j], roots[2 * j + 1]);
        out[s * k] = low;
        out[s * (r - k)] = high;
      }
    }
}

// Transforms x[0..length) with y as work space; the result is where the return value points.
template <typename V, typename T> SVCONV_HD Complex<V>* run_passes(const FftPlan<T>& plan, Complex<V>* x, Complex<V>* y) {
  long long n = plan.length, s = 1;
  for (int i = 0; i < plan.count; ++i) {
    const int r = plan.radix[i];
    const long long m = n / r;
    const T* turns = plan.turns + plan.turn[i];
    switch (r) {
      case 2: pass2(x, y, m, s, plan.roots); break;
      case 3: pass_odd<3>(x, y, m, s, plan.roots, turns, 3); break;
      case 4: pass4(x, y, m, s, plan.roots); break;
      case 5: pass_odd<5>(x, y, m, s, plan.roots, turns, 5); break;
      case 7: pass_odd<7>(x, y, m, s, plan.roots, turns, 7); break;
      default: pass_odd<0>(x, y, m, s, plan.roots, turns, r);
    }
    Complex<V>* swap = x;
    x = y;
    y = swap;
    n = m;
    s *= r;
  }
  return x;
}

// The forward transform of a[0..n) with b as work space, both of plan.length elements; the result is where the return value points.
template <typename V, typename T> SVCONV_HD Complex<V>* fft_forward(const FftPlan<T>& plan, Complex<V>* a, Complex<V>* b) {
  const T *chirp = plan.chirp, *response = plan.response;
  if (!chirp) return run_passes(plan, a, b);
  for (long long i = 0; i < plan.n; ++i) multiply(a[i], chirp[2 * i], chirp[2 * i + 1]);
  for (long long i = plan.n; i < plan.length; ++i) a[i] = Complex<V>{};
  Complex<V>* spectrum = run_passes(plan, a, b);
  for (long long i = 0; i < plan.length; ++i) {  // times the response, real and imaginary part swapped for the way back
    multiply(spectrum[i], response[2 * i], response[2 * i + 1]);
    spectrum[i] = {spectrum[i].im, spectrum[i].re};
  }
  Complex<V>* result = run_passes(plan, spectrum, spectrum == a ? b : a);
  for (long long i = 0; i < plan.n; ++i) {
    result[i] = {result[i].im, result[i].re};
    multiply(result[i], chirp[2 * i], chirp[2 * i + 1]);
  }
  return result;
}

// ---- the plan, made on the host

#ifndef __CUDACC_RTC__
// The factors of n in the order of the passes; the number of them, or -1 if a prime factor above kLargestRadix remains.
inline int fft_radices(long long n, int* radix) {
  int count = 0;
  for (; n % 4 == 0; n /= 4) radix[count++] = 4;
  for (int r = 2; r <= kLargestRadix; ++r)
    for (; n % r == 0; n /= r) radix[count++] = r;
  return n == 1 ? count : -1;
}

// The next length that has no other factors than 2, 3, 5 and 7.
inline long long fft_fast_length(long long n) {
  for (;; ++n) {
    long long rest = n;
    const int factors[] = {2, 3, 5, 7};
    for (int factor : factors)
      while (rest % factor == 0) rest /= factor;
    if (rest == 1) return n;
  }
}

// Elements that a work buffer of length-n transforms holds: n, or the length of the chirp product.
inline long long fft_length(long long n) {
  int radix[64];
  return fft_radices(n, radix) < 0 ? fft_fast_length(2 * n - 1) : n;
}

constexpr long long kTurnValues = 2 * (3 + 5 + 7 + 11 + 13 + 17 + 19 + 23 + 29 + 31);  // of all odd radices

// Scalars in the table of a plan.
inline long long fft_table_values(long long n) {
  const long long length = fft_length(n);
  return 2 * length + kTurnValues + (length == n ? 0 : 2 * n + 2 * length);
}

template <typename T> void unit_roots(long long n, T* roots) {
  for (long long t = 0; t < n; ++t) {
    const double angle = -kTwoPi * static_cast<double>(t) / static_cast<double>(n);
    roots[2 * t] = static_cast<T>(__builtin_cos(angle));
    roots[2 * t + 1] = static_cast<T>(__builtin_sin(angle));
  }
}

template <typename T> void fft_plan_turns(FftPlan<T>* plan, T* turns) {
  plan->turns = turns;
  int next = 0;
  for (int i = 0; i < plan->count; ++i) {
    const int r = plan->radix[i];
    if (r % 2 == 0) continue;
    if (i > 0 && plan->radix[i - 1] == r) {
      plan->turn[i] = plan->turn[i - 1];
      continue;
    }
    plan->turn[i] = next;
    for (int j = 0; j < r; ++j) {
      turns[next++] = static_cast<T>(__builtin_cos(kTwoPi * j / r));
      turns[next++] = static_cast<T>(__builtin_sin(kTwoPi * j / r));
    }
  }
}

template <typename V> auto first_lane(const V& v) {
  if constexpr (requires { v[0]; }) return v[0];
  else return v;
}

template <typename T, typename V> void fft_plan_chirp(FftPlan<T>* plan, T* chirp, Complex<V>* work) {
  const long long n = plan->n, length = plan->length;
  T* response = chirp + 2 * n;
  for (long long i = 0; i < length; ++i) work[i] = Complex<V>{};
  for (long long i = 0; i < n; ++i) {
    const double angle = -kTwoPi / 2 * static_cast<double>(i * i % (2 * n)) / static_cast<double>(n);
    chirp[2 * i] = static_cast<T>(__builtin_cos(angle));
    chirp[2 * i + 1] = static_cast<T>(__builtin_sin(angle));
    const Complex<V> value = {V{} + chirp[2 * i], V{} - chirp[2 * i + 1]};
    work[i] = value;
    if (i) work[length - i] = value;
  }
  const Complex<V>* spectrum = run_passes(*plan, work, work + length);
  for (long long i = 0; i < length; ++i) {
    response[2 * i] = first_lane(spectrum[i].re) / static_cast<T>(length);
    response[2 * i + 1] = first_lane(spectrum[i].im) / static_cast<T>(length);
  }
  plan->chirp = chirp;
  plan->response = response;
}

// Fills `table` (fft_table_values(n) scalars) and points the plan to it; `work` holds 2 fft_length(n) values of any lane type while it
// does.
template <typename T, typename V> void fft_plan(long long n, T* table, Complex<V>* work, FftPlan<T>* plan) {
  plan->n = n;
  plan->length = fft_length(n);
  plan->count = fft_radices(plan->length, plan->radix);
  plan->roots = table;
  unit_roots(plan->length, table);
  fft_plan_turns(plan, table + 2 * plan->length);
  if (plan->length != n) fft_plan_chirp(plan, table + 2 * plan->length + kTurnValues, work);
}
#endif

}  // namespace
}  // namespace svconv
