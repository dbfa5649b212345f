// Functions for the host and the device: csrc/core knows no standard header, so that every compiler of device code takes it.
#pragma once

#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
#define SVCONV_HD __host__ __device__ __forceinline__
#else
// Internal linkage: a file is compiled once per instruction set, and no copy may replace another.
#define SVCONV_HD inline
#endif
