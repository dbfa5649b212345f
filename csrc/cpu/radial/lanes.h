// One code for a vector of neighbouring pixels and for a single one.
#pragma once

#include "cpu/simd.h"

namespace svconv {
namespace {

SVCONV_INLINE float lane_sqrt(float v) { return __builtin_sqrtf(v); }
SVCONV_INLINE double lane_sqrt(double v) { return __builtin_sqrt(v); }
#if defined(__AVX512F__)
SVCONV_INLINE Vector<float>::type lane_sqrt(Vector<float>::type v) { return (Vector<float>::type)_mm512_sqrt_ps((__m512)v); }
SVCONV_INLINE Vector<double>::type lane_sqrt(Vector<double>::type v) { return (Vector<double>::type)_mm512_sqrt_pd((__m512d)v); }
#elif defined(__AVX2__)
SVCONV_INLINE Vector<float>::type lane_sqrt(Vector<float>::type v) { return (Vector<float>::type)_mm256_sqrt_ps((__m256)v); }
SVCONV_INLINE Vector<double>::type lane_sqrt(Vector<double>::type v) { return (Vector<double>::type)_mm256_sqrt_pd((__m256d)v); }
#elif defined(__SSE2__)
SVCONV_INLINE Vector<float>::type lane_sqrt(Vector<float>::type v) { return (Vector<float>::type)_mm_sqrt_ps((__m128)v); }
SVCONV_INLINE Vector<double>::type lane_sqrt(Vector<double>::type v) { return (Vector<double>::type)_mm_sqrt_pd((__m128d)v); }
#elif defined(__aarch64__)
SVCONV_INLINE Vector<float>::type lane_sqrt(Vector<float>::type v) { return (Vector<float>::type)vsqrtq_f32((float32x4_t)v); }
SVCONV_INLINE Vector<double>::type lane_sqrt(Vector<double>::type v) { return (Vector<double>::type)vsqrtq_f64((float64x2_t)v); }
#else
template <typename V> SVCONV_INLINE V lane_sqrt(V v) {
  for (unsigned i = 0; i < sizeof v / sizeof v[0]; ++i) v[i] = lane_sqrt(v[i]);
  return v;
}
#endif

template <typename T> struct Lanes {
  using Number = T;
  using V = typename Vector<T>::type;
  static constexpr int count = Vector<T>::lanes;
  static SVCONV_INLINE V sqrt(V v) { return lane_sqrt(v); }
  static SVCONV_INLINE V read(const T* p) { return load(p); }
  static SVCONV_INLINE void write(V v, T* p) { store(v, p); }
  static SVCONV_INLINE T largest(V v) {
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4) return _mm512_reduce_max_ps((__m512)v);
    else return _mm512_reduce_max_pd((__m512d)v);
#elif defined(__aarch64__)
    if constexpr (sizeof(T) == 4) return vmaxvq_f32((float32x4_t)v);
    else return vmaxvq_f64((float64x2_t)v);
#else
    T most = v[0];
    for (int i = 1; i < count; ++i) most = v[i] > most ? v[i] : most;
    return most;
#endif
  }
  static SVCONV_INLINE T sum(V v) {
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4) return _mm512_reduce_add_ps((__m512)v);
    else return _mm512_reduce_add_pd((__m512d)v);
#elif defined(__aarch64__)
    if constexpr (sizeof(T) == 4) return vaddvq_f32((float32x4_t)v);
    else return vaddvq_f64((float64x2_t)v);
#else
    T sum = v[0];
    for (int i = 1; i < count; ++i) sum += v[i];
    return sum;
#endif
  }
  // How many lanes are not zero.
  static SVCONV_INLINE int nonzero(V v) {
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4) return __builtin_popcount(_mm512_cmp_ps_mask((__m512)v, _mm512_setzero_ps(), _CMP_NEQ_UQ));
    else return __builtin_popcount(_mm512_cmp_pd_mask((__m512d)v, _mm512_setzero_pd(), _CMP_NEQ_UQ));
#elif defined(__AVX2__)
    if constexpr (sizeof(T) == 4) return __builtin_popcount(_mm256_movemask_ps(_mm256_cmp_ps((__m256)v, _mm256_setzero_ps(), _CMP_NEQ_UQ)));
    else return __builtin_popcount(_mm256_movemask_pd(_mm256_cmp_pd((__m256d)v, _mm256_setzero_pd(), _CMP_NEQ_UQ)));
#else
    int n = 0;
    for (int i = 0; i < count; ++i) n += v[i] != 0;
    return n;
#endif
  }
};

template <typename T> struct Single {
  using Number = T;
  using V = T;
  static constexpr int count = 1;
  static SVCONV_INLINE V sqrt(V v) { return lane_sqrt(v); }
  static SVCONV_INLINE V read(const T* p) { return *p; }
  static SVCONV_INLINE void write(V v, T* p) { *p = v; }
  static SVCONV_INLINE int nonzero(V v) { return v != 0; }
};

}  // namespace
}  // namespace svconv
