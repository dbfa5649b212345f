// Transforms of a real plane in shared memory, in place: half of its spectrum takes as much memory as the plane itself.
//
// A plane of `height` x 2 `half` real values is `height` rows of `half` complex ones. Forward passes (decimation in frequency) leave
// frequencies in the order of their reversed digits, backward passes (decimation in time) take them so: nothing is ever reordered, and
// two spectra that are multiplied have the same order. The column of frequency 0 holds that of frequency `half` too, as its imaginary part
// before the transform of the columns; `packed_product` takes the two apart.
#pragma once

#include "core/fft.h"
#include "cuda/device.cuh"

namespace svconv {
namespace {

// One axis of a plane. The tables are made by the host: radices of the passes of `n` complex values, e^(-2 pi i t / (n step)) for all t,
// interleaved, and the place of every frequency.
template <typename T> struct AxisPlan {
  int n, step, passes;
  const int *radix, *place;
  const T* roots;
};

template <typename T> struct PlanePlan {
  AxisPlan<T> rows, columns;  // the transform along the rows has length `half`, that of the columns `height`
  int pitch;                  // complex values from row to row: odd, so that a column's values lie in different banks

  __device__ __forceinline__ int height() const { return columns.n; }
  __device__ __forceinline__ int half() const { return rows.n; }
  __device__ __forceinline__ int values() const { return columns.n * pitch; }
};

// The tables of both axes in one array of int: radices of the rows, places of the rows, radices of the columns, places of the columns.
template <typename T>
__device__ __forceinline__ PlanePlan<T> plane_plan(const int* table, const T* roots, long long height, long long half, long long row_passes,
                                                   long long column_passes) {
  PlanePlan<T> plan;
  const int* const columns = table + row_passes + half;
  plan.rows = {static_cast<int>(half), 2, static_cast<int>(row_passes), table, table + row_passes, roots};
  plan.columns = {static_cast<int>(height), 1, static_cast<int>(column_passes), columns, columns + column_passes, roots + 4 * half};
  plan.pitch = static_cast<int>(half) | 1;
  return plan;
}

// ---- one butterfly

template <int R> struct UnitCircle;  // cos and sin of 2 pi j / R
template <> struct UnitCircle<3> {
  static __device__ __forceinline__ constexpr double cosine(int j) {
    constexpr double values[3] = {1.0, -0.5, -0.5};
    return values[j];
  }
  static __device__ __forceinline__ constexpr double sine(int j) {
    constexpr double values[3] = {0.0, 0.86602540378443864676, -0.86602540378443864676};
    return values[j];
  }
};
template <> struct UnitCircle<5> {
  static __device__ __forceinline__ constexpr double cosine(int j) {
    constexpr double values[5] = {1.0, 0.30901699437494742410, -0.80901699437494742410, -0.80901699437494742410, 0.30901699437494742410};
    return values[j];
  }
  static __device__ __forceinline__ constexpr double sine(int j) {
    constexpr double values[5] = {0.0, 0.95105651629515357212, 0.58778525229247312917, -0.58778525229247312917, -0.95105651629515357212};
    return values[j];
  }
};
template <> struct UnitCircle<7> {
  static __device__ __forceinline__ constexpr double cosine(int j) {
    constexpr double values[7] = {1.0,
                                  0.62348980185873353053,
                                  -0.22252093395631440429,
                                  -0.90096886790241912624,
                                  -0.90096886790241912624,
                                  -0.22252093395631440429,
                                  0.62348980185873353053};
    return values[j];
  }
  static __device__ __forceinline__ constexpr double sine(int j) {
    constexpr double values[7] = {0.0,
                                  0.78183148246802980871,
                                  0.97492791218182360702,
                                  0.43388373911755812048,
                                  -0.43388373911755812048,
                                  -0.97492791218182360702,
                                  -0.78183148246802980871};
    return values[j];
  }
};

template <typename T> __device__ __forceinline__ Complex<T> sum(Complex<T> a, Complex<T> b) { return {a.re + b.re, a.im + b.im}; }
template <typename T> __device__ __forceinline__ Complex<T> difference(Complex<T> a, Complex<T> b) { return {a.re - b.re, a.im - b.im}; }

// sum_k v[k] e^(-+ 2 pi i k q / R), in place.
template <int R, bool Inverse, typename T> __device__ __forceinline__ void butterfly(Complex<T> (&v)[R]) {
  constexpr T sign = Inverse ? T(1) : T(-1);
  if constexpr (R == 2) {
    const Complex<T> a = v[0];
    v[0] = sum(a, v[1]);
    v[1] = difference(a, v[1]);
  } else if constexpr (R == 4) {
    const Complex<T> a = sum(v[0], v[2]), b = difference(v[0], v[2]), c = sum(v[1], v[3]), d = difference(v[1], v[3]);
    const Complex<T> turned = {-sign * d.im, sign * d.re};
    v[0] = sum(a, c);
    v[1] = sum(b, turned);
    v[2] = difference(a, c);
    v[3] = difference(b, turned);
  } else {
    Complex<T> plus[R / 2 + 1], minus[R / 2 + 1], total = v[0];
    const Complex<T> first = v[0];
#pragma unroll
    for (int j = 1; j <= R / 2; ++j) {
      plus[j] = sum(v[j], v[R - j]);
      minus[j] = difference(v[j], v[R - j]);
      total = sum(total, plus[j]);
    }
    v[0] = total;
#pragma unroll
    for (int k = 1; k <= R / 2; ++k) {
      Complex<T> even = first, odd = {T(0), T(0)};
#pragma unroll
      for (int j = 1; j <= R / 2; ++j) {
        const T cosine = T(UnitCircle<R>::cosine(j * k % R)), sine = sign * T(UnitCircle<R>::sine(j * k % R));
        even.re += plus[j].re * cosine;
        even.im += plus[j].im * cosine;
        odd.re -= minus[j].im * sine;
        odd.im += minus[j].re * sine;
      }
      v[k] = sum(even, odd);
      v[R - k] = difference(even, odd);
    }
  }
}

// ---- passes over all lines of a plane at once; neighbouring threads take neighbouring lines

// Line and element to the place in the plane: rows are `pitch` apart, their elements 1, and the other way round.
struct Lines {
  int count, apart, element;
};

template <int R, bool Inverse, typename T, typename Used>
__device__ __forceinline__ void pass(Complex<T>* plane, Lines lines, const AxisPlan<T>& axis, int length, const Used& used) {
  const int m = length / R, turn = axis.n / length * axis.step;
  for (int t = static_cast<int>(threadIdx.x); t < lines.count * (axis.n / R); t += static_cast<int>(blockDim.x)) {
    const int line = t % lines.count, group = t / lines.count, j = group % m;
    if (!used(line)) continue;
    Complex<T>* const from = plane + line * lines.apart + (group / m * length + j) * lines.element;
    Complex<T> v[R];
#pragma unroll
    for (int q = 0; q < R; ++q) v[q] = from[q * m * lines.element];
    if constexpr (Inverse) {
#pragma unroll
      for (int q = 1; q < R; ++q) multiply(v[q], axis.roots[2 * j * q * turn], -axis.roots[2 * j * q * turn + 1]);
    }
    butterfly<R, Inverse>(v);
    if constexpr (!Inverse) {
#pragma unroll
      for (int q = 1; q < R; ++q) multiply(v[q], axis.roots[2 * j * q * turn], axis.roots[2 * j * q * turn + 1]);
    }
#pragma unroll
    for (int q = 0; q < R; ++q) from[q * m * lines.element] = v[q];
  }
  __syncthreads();
}

template <bool Inverse, typename T, typename Used>
__device__ __forceinline__ void passes(Complex<T>* plane, Lines lines, const AxisPlan<T>& axis, const Used& used) {
  int length = Inverse ? 1 : axis.n;
  for (int i = 0; i < axis.passes; ++i) {
    const int radix = axis.radix[Inverse ? axis.passes - 1 - i : i];
    if (Inverse) length *= radix;
    switch (radix) {
      case 2: pass<2, Inverse>(plane, lines, axis, length, used); break;
      case 3: pass<3, Inverse>(plane, lines, axis, length, used); break;
      case 4: pass<4, Inverse>(plane, lines, axis, length, used); break;
      case 5: pass<5, Inverse>(plane, lines, axis, length, used); break;
      default: pass<7, Inverse>(plane, lines, axis, length, used);
    }
    if (!Inverse) length /= radix;
  }
}

// Between the transform of `half` complex values and that of 2 `half` real ones, for every used row.
template <bool Inverse, typename T, typename Used>
__device__ __forceinline__ void real_rows(Complex<T>* plane, const PlanePlan<T>& plan, const Used& used) {
  const int rows = plan.height(), half = plan.half();
  for (int t = static_cast<int>(threadIdx.x); t < rows * (half / 2 + 1); t += static_cast<int>(blockDim.x)) {
    const int row = t % rows, f = t / rows;
    if (!used(row)) continue;
    Complex<T>* const line = plane + row * plan.pitch;
    Complex<T>&low = line[plan.rows.place[f]], &high = line[plan.rows.place[f ? half - f : 0]];
    const Complex<T> a = low, b = high;
    if (f == 0) {  // frequencies 0 and `half`, both real
      const T scale = Inverse ? T(0.5) : T(1);
      low = {(a.re + a.im) * scale, (a.re - a.im) * scale};
      continue;
    }
    const T wr = plan.rows.roots[2 * f], wi = plan.rows.roots[2 * f + 1];
    const Complex<T> even = {(a.re + b.re) * T(0.5), (a.im - b.im) * T(0.5)};
    Complex<T> odd = {(a.re - b.re) * T(0.5), (a.im + b.im) * T(0.5)};
    if constexpr (Inverse) {  // a = even + i odd, b = conj(even) + i conj(odd)
      multiply(odd, wr, -wi);
      low = {even.re - odd.im, even.im + odd.re};
      high = {even.re + odd.im, odd.re - even.im};
    } else {
      odd = {odd.im, -odd.re};
      multiply(odd, wr, wi);
      low = sum(even, odd);
      high = {even.re - odd.re, odd.im - even.im};
    }
  }
  __syncthreads();
}

// The spectrum of a plane, and `height` x `half` times the plane of a spectrum. Of rows that are not used only zeros are expected, and
// nothing is made.
template <typename T, typename Used>
__device__ __forceinline__ void forward(Complex<T>* plane, const PlanePlan<T>& plan, const Used& used) {
  passes<false>(plane, Lines{plan.height(), plan.pitch, 1}, plan.rows, used);
  real_rows<false>(plane, plan, used);
  passes<false>(plane, Lines{plan.half(), 1, plan.pitch}, plan.columns, [](int) { return true; });
}

template <typename T, typename Used>
__device__ __forceinline__ void backward(Complex<T>* plane, const PlanePlan<T>& plan, const Used& used) {
  passes<true>(plane, Lines{plan.half(), 1, plan.pitch}, plan.columns, [](int) { return true; });
  real_rows<true>(plane, plan, used);
  passes<true>(plane, Lines{plan.height(), plan.pitch, 1}, plan.rows, used);
}

// ---- products of spectra

template <bool Conjugate, typename T> __device__ __forceinline__ Complex<T> product(Complex<T> x, Complex<T> k) {
  multiply(x, k.re, Conjugate ? -k.im : k.im);
  return x;
}

// Two columns of real planes' spectra in one: a(v) + i b(v), where a(-v) is the conjugate of a(v).
template <typename T> struct Two {
  Complex<T> first, second;
};
template <typename T> __device__ __forceinline__ Two<T> apart(Complex<T> at, Complex<T> opposite) {
  return {{(at.re + opposite.re) * T(0.5), (at.im - opposite.im) * T(0.5)},
          {(at.im + opposite.im) * T(0.5), (opposite.re - at.re) * T(0.5)}};
}
template <typename T> __device__ __forceinline__ Two<T> together(Two<T> v) {  // at v and at -v
  return {{v.first.re - v.second.im, v.first.im + v.second.re}, {v.first.re + v.second.im, v.second.re - v.first.im}};
}

// Calls write(place, value) for every place of the spectrum sum_i x_i k_i (with Conjugate k_i is conjugated), where x(i, place) and
// k(i, place) read the factors of term i.
template <bool Conjugate, typename T, typename X, typename K, typename Write>
__device__ __forceinline__ void products(const PlanePlan<T>& plan, int terms, const X& x, const K& k, const Write& write) {
  const int height = plan.height(), half = plan.half();
  for (int t = static_cast<int>(threadIdx.x); t < height * (half - 1); t += static_cast<int>(blockDim.x)) {
    const int place = t / (half - 1) * plan.pitch + 1 + t % (half - 1);  // frequency 0 stands at place 0 of its row
    Complex<T> total = {T(0), T(0)};
    for (int i = 0; i < terms; ++i) total = sum(total, product<Conjugate>(x(i, place), k(i, place)));
    write(place, total);
  }
  for (int v = static_cast<int>(threadIdx.x); v <= height / 2; v += static_cast<int>(blockDim.x)) {
    const int at = plan.columns.place[v] * plan.pitch, opposite = plan.columns.place[v ? height - v : 0] * plan.pitch;
    Two<T> total = {{T(0), T(0)}, {T(0), T(0)}};
    for (int i = 0; i < terms; ++i) {
      const Two<T> a = apart(x(i, at), x(i, opposite)), b = apart(k(i, at), k(i, opposite));
      total.first = sum(total.first, product<Conjugate>(a.first, b.first));
      total.second = sum(total.second, product<Conjugate>(a.second, b.second));
    }
    const Two<T> both = together(total);
    write(at, both.first);
    if (opposite != at) write(opposite, both.second);
  }
  __syncthreads();
}

template <typename T> __device__ __forceinline__ T energy(Complex<T> v) { return v.re * v.re + v.im * v.im; }

// A sum of x_i conj(k_i) and one of |k_i|^2, divided; 0 where the divisor vanishes.
template <typename T> struct Fraction {
  Complex<T> above = {T(0), T(0)};
  T below = T(0);

  __device__ __forceinline__ void add(Complex<T> x, Complex<T> k) {
    above = sum(above, product<true>(x, k));
    below += energy(k);
  }
  __device__ __forceinline__ Complex<T> value(T regularisation) const {
    const T divisor = below + regularisation, inverse = divisor == T(0) ? T(0) : T(1) / divisor;
    return {above.re * inverse, above.im * inverse};
  }
};

// As `products`, of sum_i x_i conj(k_i) / (sum_i |k_i|^2 + regularisation(v, f)) at the frequencies v down and f across.
template <typename T, typename X, typename K, typename Regularisation, typename Write>
__device__ __forceinline__ void quotients(const PlanePlan<T>& plan, int terms, const X& x, const K& k, const Regularisation& regularisation,
                                          const Write& write) {
  const int height = plan.height(), half = plan.half();
  for (int t = static_cast<int>(threadIdx.x); t < height * (half - 1); t += static_cast<int>(blockDim.x)) {
    const int v = t / (half - 1), f = 1 + t % (half - 1), place = plan.columns.place[v] * plan.pitch + plan.rows.place[f];
    Fraction<T> fraction;
    for (int i = 0; i < terms; ++i) fraction.add(x(i, place), k(i, place));
    write(place, fraction.value(regularisation(v, f)));
  }
  for (int v = static_cast<int>(threadIdx.x); v <= height / 2; v += static_cast<int>(blockDim.x)) {
    const int at = plan.columns.place[v] * plan.pitch, opposite = plan.columns.place[v ? height - v : 0] * plan.pitch;
    Fraction<T> first, second;
    for (int i = 0; i < terms; ++i) {
      const Two<T> a = apart(x(i, at), x(i, opposite)), b = apart(k(i, at), k(i, opposite));
      first.add(a.first, b.first);
      second.add(a.second, b.second);
    }
    const Two<T> both = together(Two<T>{first.value(regularisation(v, 0)), second.value(regularisation(v, half))});
    write(at, both.first);
    if (opposite != at) write(opposite, both.second);
  }
  __syncthreads();
}

}  // namespace
}  // namespace svconv
