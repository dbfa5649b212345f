// The language of csrc/cuda for the host compiler: a kernel runs block by block, its threads as fibers that switch at barriers, or as
// threads of the system (SVCONV_EMULATION_THREADS) for ThreadSanitizer.
#pragma once

#define SVCONV_EMULATION

#include <cmath>
#include <cstdint>
#include <cstring>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
};

inline thread_local dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace emulation {
void barrier();
void* shared_memory();
}  // namespace emulation

inline void __syncthreads() { emulation::barrier(); }

// ---- the intrinsics that device.cuh uses

struct __half {
  _Float16 value;
};

inline __half __ushort_as_half(unsigned short bits) {
  __half half;
  std::memcpy(&half, &bits, 2);
  return half;
}
inline unsigned short __half_as_ushort(__half half) {
  unsigned short bits;
  std::memcpy(&bits, &half, 2);
  return bits;
}
inline float __half2float(__half half) { return static_cast<float>(half.value); }
inline __half __float2half_rn(float value) { return {static_cast<_Float16>(value)}; }
inline float __uint_as_float(unsigned bits) {
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}
inline unsigned __float_as_uint(float value) {
  unsigned bits;
  std::memcpy(&bits, &value, 4);
  return bits;
}
