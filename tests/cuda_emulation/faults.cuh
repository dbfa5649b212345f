// Kernels with a fault each, and one without: what the emulation has to find, and must not find.
#pragma once

#include "cuda/device.cuh"

namespace faults {

enum Fault { kNone, kNoBarrier, kPastShared, kPastBuffer, kOneAddress, kEarlyReturn, kOverflow };

// Every element becomes the sum of the block's; the neighbours' values pass through shared memory.
template <int F> __global__ void sums(const float* x, float* y, long long n) {
  float* const values = static_cast<float*>(svconv::shared_memory());
  const int i = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
  const long long place = static_cast<long long>(blockIdx.x) * threads + i;
  if (F == kEarlyReturn && place >= n) return;
  values[i] = place < n ? x[place] : 0.0f;
  if (F != kNoBarrier) __syncthreads();
  float total = 0.0f;
  for (int j = 0; j < threads + (F == kPastShared ? 1 : 0); ++j) total += values[j];
  if (F == kOneAddress) {
    y[blockIdx.x] = static_cast<float>(i);
    return;
  }
  if (F == kOverflow) total += static_cast<float>(0x7fffffff + i);
  if (place < n || F == kPastBuffer) y[place] = total;
}

}  // namespace faults
