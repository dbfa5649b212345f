// Squares of registers transposed in place.
#pragma once

#include "cpu/simd.h"

namespace svconv {
namespace {

// Lanes of a and b in turn: those of the first halves, then those of the second halves.
template <typename V> SVCONV_INLINE void interleave(V& a, V& b) {
  constexpr int lanes = sizeof(V) / sizeof(a[0]);
#if defined(__GNUC__) && !defined(__clang__)
  typedef decltype(a < b) Mask;
  Mask first, second;
  for (int i = 0; i < lanes; ++i) {
    first[i] = (i & 1) * lanes + i / 2;
    second[i] = (i & 1) * lanes + i / 2 + lanes / 2;
  }
  const V low = __builtin_shuffle(a, b, first), high = __builtin_shuffle(a, b, second);
#else
  V low, high;
  for (int i = 0; i < lanes; ++i) {
    low[i] = i & 1 ? b[i / 2] : a[i / 2];
    high[i] = i & 1 ? b[i / 2 + lanes / 2] : a[i / 2 + lanes / 2];
  }
#endif
  a = low;
  b = high;
}

// log2(lanes) perfect shuffles of the square make its transpose.
template <typename V> SVCONV_INLINE void transpose(V* rows) {
  constexpr int lanes = sizeof(V) / sizeof(rows[0][0]);
  V next[lanes];
#pragma GCC unroll 4
  for (int step = lanes; step > 1; step /= 2) {
#pragma GCC unroll 8
    for (int i = 0; i < lanes / 2; ++i) {
      V a = rows[i], b = rows[i + lanes / 2];
      interleave(a, b);
      next[2 * i] = a;
      next[2 * i + 1] = b;
    }
#pragma GCC unroll 16
    for (int i = 0; i < lanes; ++i) rows[i] = next[i];
  }
}

}  // namespace
}  // namespace svconv
