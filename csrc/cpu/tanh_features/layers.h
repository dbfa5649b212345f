// One layer of maps for a few vectors of pixels, and tanh: the arithmetic of tanh_features.cpp.
#pragma once

#include "cpu/simd.h"

namespace svconv {
namespace SVCONV_ISA {
namespace {

using V = Vector<float>::type;
constexpr int kLanes = Vector<float>::lanes;

// Registers: kVectors of pixels times kMaps of maps, beside the pixels and one weight.
#if defined(__AVX512F__)
constexpr int kVectors = 3, kMaps = 8;
#elif defined(__AVX2__)
constexpr int kVectors = 3, kMaps = 4;
#else
constexpr int kVectors = 2, kMaps = 4;
#endif
constexpr int kLastMaps = 4;

// Subtracting zero changes nothing, also in -0: what remains is a broadcast.
SVCONV_INLINE V splat(float v) { return v - V{}; }

// out[f][p] = bias[f] + sum_t weights[t][f] in[offsets[t] + p] for kCount vectors of pixels and F maps.
template <int kCount, int F>
SVCONV_INLINE void block(const float* in, const Index* offsets, Index taps, const float* weights, const float* bias, float* out,
                         Index pitch) {
  V sum[F][kCount];
#pragma GCC unroll 8
  for (int f = 0; f < F; ++f)
#pragma GCC unroll 8
    for (int p = 0; p < kCount; ++p) sum[f][p] = splat(bias[f]);
  for (Index t = 0; t < taps; ++t, weights += F) {
    const float* source = in + offsets[t];
    V x[kCount];
#pragma GCC unroll 8
    for (int p = 0; p < kCount; ++p) x[p] = load(source + p * kLanes);
#pragma GCC unroll 8
    for (int f = 0; f < F; ++f) {
      const V w = splat(weights[f]);
#pragma GCC unroll 8
      for (int p = 0; p < kCount; ++p) sum[f][p] += w * x[p];
    }
  }
#pragma GCC unroll 8
  for (int f = 0; f < F; ++f)
#pragma GCC unroll 8
    for (int p = 0; p < kCount; ++p) store(sum[f][p], out + f * pitch + p * kLanes);
}

// Weights of one layer in the order in which the blocks read them: [groups of F maps][taps][F], zeros beyond the last map.
struct Layer {
  const float* weights;
  const float* bias;  // [groups * F]
  Index groups, taps;
};

template <int F> void apply(const Layer& layer, const float* in, const Index* offsets, Index vectors, float* out, Index pitch) {
  for (Index g = 0; g < layer.groups; ++g) {
    const float* weights = layer.weights + g * layer.taps * F;
    const float* bias = layer.bias + g * F;
    float* maps = out + g * F * pitch;
    const Index whole = vectors - vectors % kVectors;
    for (Index v = 0; v < whole; v += kVectors)
      block<kVectors, F>(in + v * kLanes, offsets, layer.taps, weights, bias, maps + v * kLanes, pitch);
    for (Index v = whole; v < vectors; ++v) block<1, F>(in + v * kLanes, offsets, layer.taps, weights, bias, maps + v * kLanes, pitch);
  }
}

// x P(x^2) / Q(x^2), fitted for the least largest relative error (2.1e-8) up to 9.02, where tanh rounds to 1. NaN stays NaN.
SVCONV_INLINE V tanh(V x) {
  constexpr float kEnd = 9.02f;
  x = x > kEnd ? splat(kEnd) : x;
  x = x < -kEnd ? splat(-kEnd) : x;
  const V z = x * x;
  V p = z * 0x1.c9a25ap-27f + 0x1.5954dap-16f;
  V q = z * 0x1.a0b770p-21f + 0x1.584186p-12f;
  p = p * z + 0x1.c9f818p-9f;
  q = q * z + 0x1.a7df06p-6f;
  p = p * z + 0x1.12043ap-3f;
  q = q * z + 0x1.de5766p-2f;
  p = p * z + 1.0f;
  q = q * z + 1.0f;
  return x * p / q;
}

void tanh_in_place(float* values, Index count) {
  Index i = 0;
  for (; i + 4 * kLanes <= count; i += 4 * kLanes) {
    V v[4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) v[j] = tanh(load(values + i + j * kLanes));
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) store(v[j], values + i + j * kLanes);
  }
  for (; i < count; i += kLanes) store(tanh(load(values + i)), values + i);
}

}  // namespace
}  // namespace SVCONV_ISA
}  // namespace svconv
