// What every kernel uses: storage types and what they are computed in, the shared memory of a block.
//
// Three compilers take these files: NVRTC at run time (through CuPy), nvcc, and the host compiler behind tests/cuda_emulation/emulation.h.
// So: no headers but ours (CuPy's wheels bring none of CUDA's), no warp intrinsics, no static shared arrays; parameters of kernels are
// pointers, long long and double alone. What needs the device's own words stands here and in that header.
#pragma once

#include "core/host_device.h"

namespace svconv {

// Types that kernels are named by: a kernel of a type without external linkage has none either, and another name in every process.
struct BF16 {
  unsigned short bits;
};
struct F16 {
  unsigned short bits;
};

// What a storage type is computed in.
template <typename S> struct Compute {
  using type = float;
};
template <> struct Compute<double> {
  using type = double;
};
template <typename S> using compute_t = typename Compute<S>::type;

namespace {

#ifdef SVCONV_EMULATION
using emulation::float_of_half;
using emulation::half_of_float;
using emulation::shared_memory;
#else
__device__ __forceinline__ float float_of_half(unsigned short bits) {
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
  return value;
}
__device__ __forceinline__ unsigned short half_of_float(float value) {  // to the nearest, ties to even
  unsigned short bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
  return bits;
}
// The shared memory of the block; its size comes with the launch.
__device__ __forceinline__ void* shared_memory() {
  extern __shared__ __align__(16) unsigned char svconv_shared[];
  return svconv_shared;
}
#endif

__device__ __forceinline__ float to_compute(float v) { return v; }
__device__ __forceinline__ double to_compute(double v) { return v; }
__device__ __forceinline__ float to_compute(F16 v) { return float_of_half(v.bits); }
__device__ __forceinline__ float to_compute(BF16 v) { return __uint_as_float(static_cast<unsigned>(v.bits) << 16); }

__device__ __forceinline__ void from_compute(float v, float* out) { *out = v; }
__device__ __forceinline__ void from_compute(double v, double* out) { *out = v; }
__device__ __forceinline__ void from_compute(float v, F16* out) { out->bits = half_of_float(v); }
__device__ __forceinline__ void from_compute(float v, BF16* out) {  // to the nearest, ties to even; NaN stays NaN
  const unsigned bits = __float_as_uint(v);
  out->bits = static_cast<unsigned short>((v != v ? bits | 0x400000u : bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

__device__ __forceinline__ long long least(long long a, long long b) { return a < b ? a : b; }

}  // namespace
}  // namespace svconv
