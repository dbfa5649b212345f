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

inline float float_of_half(unsigned short bits) {
  _Float16 value;
  std::memcpy(&value, &bits, 2);
  return static_cast<float>(value);
}
inline unsigned short half_of_float(float value) {
  const _Float16 half = static_cast<_Float16>(value);
  unsigned short bits;
  std::memcpy(&bits, &half, 2);
  return bits;
}
}  // namespace emulation

inline void __syncthreads() { emulation::barrier(); }

// ---- the intrinsics that device.cuh uses

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
