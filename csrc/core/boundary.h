// How an image continues beyond its edges: the index maps of all families, for host and device code alike.
#pragma once

#include "host_device.h"

namespace svconv {
namespace {

enum Padding { kZeros = 0, kReplicate = 1, kReflect = 2, kSymmetric = 3, kCircular = 4 };

#ifndef __CUDACC__
constexpr int kPaddings = 5;
// THE table of their names, in the order of the enum.
constexpr const char* kPaddingNames[kPaddings] = {"zeros", "replicate", "reflect", "symmetric", "circular"};
#endif

// Index inside [0, n) of the pixel that stands at index i, as in numpy.pad for any reach; -1 where the image is zero. I holds 2 n.
template <typename I> SVCONV_HD I boundary_index_in(I i, I n, int padding) {
  if (i >= 0 && i < n) return i;
  if (padding == kZeros) return -1;
  if (padding == kReplicate) return i < 0 ? 0 : n - 1;
  if (padding == kReflect && n == 1) return 0;
  const I period = padding == kCircular ? n : padding == kSymmetric ? 2 * n : 2 * (n - 1);
  I r = i % period;
  if (r < 0) r += period;
  if (r < n) return r;
  return padding == kSymmetric ? period - 1 - r : period - r;
}
SVCONV_HD long long boundary_index(long long i, long long n, int padding) { return boundary_index_in(i, n, padding); }

}  // namespace
}  // namespace svconv
