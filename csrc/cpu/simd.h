// Vectors of the instruction set a file is compiled for: loads from and stores to every storage type, neighbouring vectors.
// Everything has internal linkage and nothing comes from std:: templates: a weak symbol that was compiled for AVX-512
// could otherwise be chosen by the linker for every level.
#pragma once

#include <string.h>

#include "cpu/storage.h"

#if defined(__F16C__)
#include <immintrin.h>
#elif defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace svconv {
namespace {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif

template <typename T> struct Vector;
template <> struct Vector<float> {
  static constexpr int lanes = kVectorBytes / 4;
  typedef float type __attribute__((vector_size(kVectorBytes)));
  typedef std::uint32_t bits __attribute__((vector_size(kVectorBytes)));
};
template <> struct Vector<double> {
  static constexpr int lanes = kVectorBytes / 8;
  typedef double type __attribute__((vector_size(kVectorBytes)));
};
typedef std::uint16_t HalfBits __attribute__((vector_size(kVectorBytes / 2)));

// ---- vectors: unaligned loads from every storage type, stores of one vector

SVCONV_INLINE Vector<float>::type load(const float* p) {
  Vector<float>::type v;
  memcpy(&v, p, sizeof v);
  return v;
}

SVCONV_INLINE Vector<double>::type load(const double* p) {
  Vector<double>::type v;
  memcpy(&v, p, sizeof v);
  return v;
}

SVCONV_INLINE Vector<float>::type load(const BF16* p) {
  HalfBits half;
  memcpy(&half, p, sizeof half);
  const Vector<float>::bits wide = __builtin_convertvector(half, Vector<float>::bits) << 16;
  Vector<float>::type v;
  memcpy(&v, &wide, sizeof v);
  return v;
}

SVCONV_INLINE Vector<float>::type load(const F16* p) {
#if defined(__AVX512F__)
  return (Vector<float>::type)_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
#elif defined(__AVX2__) && defined(__F16C__)
  return (Vector<float>::type)_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
#elif defined(__aarch64__)
  return (Vector<float>::type)vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(&p->bits)));
#else
  float lanes[Vector<float>::lanes];
  for (int i = 0; i < Vector<float>::lanes; ++i) lanes[i] = to_compute(p[i]);
  return load(lanes);
#endif
}

// Lanes [low, high) of a load, zero elsewhere; nothing outside them is touched.
template <typename S> SVCONV_INLINE typename Vector<typename Compute<S>::type>::type load_part(const S* p, Index low, Index high) {
  using T = typename Compute<S>::type;
  typename Vector<T>::type v{};
  for (Index i = low < 0 ? 0 : low; i < high && i < Vector<T>::lanes; ++i) v[i] = to_compute(p[i]);
  return v;
}
#if defined(__AVX512F__)
SVCONV_INLINE unsigned lane_mask(Index low, Index high, int lanes) {
  const unsigned all = (1u << lanes) - 1;
  const unsigned below = high >= lanes ? all : high <= 0 ? 0 : (1u << high) - 1;
  return low <= 0 ? below : low >= lanes ? 0 : below & ~((1u << low) - 1);
}
SVCONV_INLINE Vector<float>::type load_part(const float* p, Index low, Index high) {
  return (Vector<float>::type)_mm512_maskz_loadu_ps(static_cast<__mmask16>(lane_mask(low, high, 16)), p);
}
SVCONV_INLINE Vector<double>::type load_part(const double* p, Index low, Index high) {
  return (Vector<double>::type)_mm512_maskz_loadu_pd(static_cast<__mmask8>(lane_mask(low, high, 8)), p);
}
SVCONV_INLINE Vector<float>::type load_part(const F16* p, Index low, Index high) {
  return (Vector<float>::type)_mm512_cvtph_ps(_mm256_maskz_loadu_epi16(static_cast<__mmask16>(lane_mask(low, high, 16)), p));
}
SVCONV_INLINE Vector<float>::type load_part(const BF16* p, Index low, Index high) {
  const __m256i half = _mm256_maskz_loadu_epi16(static_cast<__mmask16>(lane_mask(low, high, 16)), p);
  return (Vector<float>::type)_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}
#elif defined(__AVX2__)
SVCONV_INLINE Vector<float>::type load_part(const float* p, Index low, Index high) {
  const int from = low < 0 ? 0 : low > 8 ? 8 : static_cast<int>(low), to = high < 0 ? 0 : high > 8 ? 8 : static_cast<int>(high);
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const __m256i inside =
      _mm256_andnot_si256(_mm256_cmpgt_epi32(_mm256_set1_epi32(from), lane), _mm256_cmpgt_epi32(_mm256_set1_epi32(to), lane));
  return (Vector<float>::type)_mm256_maskload_ps(p, inside);
}
#endif

template <typename V, typename S> SVCONV_INLINE void store_bits(const V& v, S* p) { memcpy(p, &v, sizeof v); }
SVCONV_INLINE void store(Vector<float>::type v, float* p) { store_bits(v, p); }
SVCONV_INLINE void store(Vector<double>::type v, double* p) { store_bits(v, p); }

template <typename H> SVCONV_INLINE void store_half(Vector<float>::type v, H* p) {
  for (int i = 0; i < Vector<float>::lanes; ++i) from_compute(v[i], p + i);
}
SVCONV_INLINE void store(Vector<float>::type v, F16* p) {
#if defined(__AVX512F__)
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph((__m512)v, 0));
#elif defined(__AVX2__) && defined(__F16C__)
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph((__m256)v, 0));
#elif defined(__aarch64__)
  vst1_u16(&p->bits, vreinterpret_u16_f16(vcvt_f16_f32((float32x4_t)v)));
#else
  store_half(v, p);
#endif
}
SVCONV_INLINE void store(Vector<float>::type v, BF16* p) {
  Vector<float>::bits bits;
  memcpy(&bits, &v, sizeof v);
  const Vector<float>::bits rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const Vector<float>::bits quiet = (bits >> 16) | 0x40u;
  const Vector<float>::bits nan = (Vector<float>::bits)(v != v);
  const HalfBits half = __builtin_convertvector((quiet & nan) | (rounded & ~nan), HalfBits);
  store_bits(half, p);
}

// The first `count` lanes; nothing beyond them is touched.
template <typename V, typename T> SVCONV_INLINE void store_first(const V& v, T* to, Index count) {
  if (count * static_cast<Index>(sizeof(T)) == static_cast<Index>(sizeof(V))) memcpy(to, &v, sizeof v);
  else memcpy(to, &v, static_cast<std::size_t>(count) * sizeof(T));
}

// A store that leaves no copy in the caches; the address is aligned to the vector. Other types store normally.
template <typename V, typename S> SVCONV_INLINE void store_streaming(V v, S* p) { store(v, p); }
#if defined(__AVX512F__)
SVCONV_INLINE void store_streaming(Vector<float>::type v, float* p) { _mm512_stream_ps(p, (__m512)v); }
SVCONV_INLINE void store_streaming(Vector<double>::type v, double* p) { _mm512_stream_pd(p, (__m512d)v); }
#elif defined(__AVX2__)
SVCONV_INLINE void store_streaming(Vector<float>::type v, float* p) { _mm256_stream_ps(p, (__m256)v); }
SVCONV_INLINE void store_streaming(Vector<double>::type v, double* p) { _mm256_stream_pd(p, (__m256d)v); }
#elif defined(__SSE2__)
SVCONV_INLINE void store_streaming(Vector<float>::type v, float* p) { _mm_stream_ps(p, (__m128)v); }
SVCONV_INLINE void store_streaming(Vector<double>::type v, double* p) { _mm_stream_pd(p, (__m128d)v); }
#endif

// Streaming stores are weakly ordered; needed before another thread may look at them.
SVCONV_INLINE void fence_streaming() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

// ---- neighbouring vectors: lanes t.. of two in a row. Loads that straddle cache lines cost twice where a vector is a line.

template <int N> struct Int {
  static constexpr int value = N;
};

// Calls one(Int<0>), ..., one(Int<N - 1>).
template <int N, int First = 0, typename One> SVCONV_INLINE void unroll(const One& one) {
  if constexpr (First < N) {
    one(Int<First>{});
    unroll<N, First + 1>(one);
  }
}

#if defined(__AVX512F__)
constexpr bool kShifts = true;
template <int t> SVCONV_INLINE Vector<float>::type shifted(Vector<float>::type low, Vector<float>::type high) {
  if constexpr (t == 0) return low;
  else if constexpr (t == Vector<float>::lanes) return high;
  else
    return (Vector<float>::type)_mm512_castsi512_ps(
        _mm512_alignr_epi32(_mm512_castps_si512((__m512)high), _mm512_castps_si512((__m512)low), t));
}
template <int t> SVCONV_INLINE Vector<double>::type shifted(Vector<double>::type low, Vector<double>::type high) {
  if constexpr (t == 0) return low;
  else if constexpr (t == Vector<double>::lanes) return high;
  else
    return (Vector<double>::type)_mm512_castsi512_pd(
        _mm512_alignr_epi64(_mm512_castpd_si512((__m512d)high), _mm512_castpd_si512((__m512d)low), t));
}
#else
constexpr bool kShifts = false;
template <int t, typename V> SVCONV_INLINE V shifted(V low, V) { return low; }
#endif

}  // namespace
}  // namespace svconv
