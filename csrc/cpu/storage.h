// Storage types, what they are computed in, and the conversions of single values.
#pragma once

#include <string.h>

#include "cpu/types.h"

#if defined(__F16C__)
#include <immintrin.h>
#endif

namespace svconv {
namespace {

struct BF16 {
  std::uint16_t bits;
};
struct F16 {
  std::uint16_t bits;
};

// What a storage type is computed in.
template <typename S> struct Compute {
  using type = float;
};
template <> struct Compute<double> {
  using type = double;
};

SVCONV_INLINE float to_compute(float v) { return v; }
SVCONV_INLINE double to_compute(double v) { return v; }

SVCONV_INLINE float to_compute(BF16 v) {
  const std::uint32_t bits = std::uint32_t{v.bits} << 16;
  float result;
  memcpy(&result, &bits, 4);
  return result;
}

SVCONV_INLINE float to_compute(F16 v) {
#if defined(__F16C__)
  return _cvtsh_ss(v.bits);
#else
  const std::uint32_t sign = std::uint32_t{v.bits & 0x8000u} << 16;
  const std::uint32_t magnitude = v.bits & 0x7fffu;
  std::uint32_t bits;
  float result;
  if (magnitude >= 0x7c00u) {  // infinity, NaN
    bits = sign | 0x7f800000u | ((magnitude & 0x3ffu) << 13);
  } else if (magnitude >= 0x400u) {
    bits = sign | ((magnitude << 13) + 0x38000000u);
  } else {
    result = static_cast<float>(magnitude) * 5.9604644775390625e-8f;  // 2^-24
    memcpy(&bits, &result, 4);
    bits |= sign;
  }
  memcpy(&result, &bits, 4);
  return result;
#endif
}

SVCONV_INLINE void from_compute(float v, float* out) { *out = v; }
SVCONV_INLINE void from_compute(double v, double* out) { *out = v; }

SVCONV_INLINE void from_compute(float v, BF16* out) {
  std::uint32_t bits;
  memcpy(&bits, &v, 4);
  const std::uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  out->bits = static_cast<std::uint16_t>(v != v ? ((bits >> 16) | 0x40u) : rounded);
}

SVCONV_INLINE void from_compute(float v, F16* out) {
#if defined(__F16C__)
  out->bits = static_cast<std::uint16_t>(_cvtss_sh(v, 0));
#else
  std::uint32_t bits;
  memcpy(&bits, &v, 4);
  const std::uint32_t sign = (bits >> 16) & 0x8000u;
  bits &= 0x7fffffffu;
  std::uint32_t half;
  if (bits > 0x7f800000u) {
    half = 0x7e00u;
  } else if (bits >= 0x47800000u) {  // 2^16 and above
    half = 0x7c00u;
  } else if (bits >= 0x38800000u) {  // normal halves; a carry may run up into the exponent, to infinity
    half = (bits - 0x38000000u + 0xfffu + ((bits >> 13) & 1u)) >> 13;
  } else {  // adding 0.5 aligns the last place of a subnormal half with that of the sum
    float magnitude;
    memcpy(&magnitude, &bits, 4);
    magnitude += 0.5f;
    memcpy(&half, &magnitude, 4);
    half -= 0x3f000000u;
  }
  out->bits = static_cast<std::uint16_t>(sign | half);
#endif
}

}  // namespace
}  // namespace svconv
