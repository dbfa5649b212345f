// Images and maps of radii that go on beyond their edges, and the geometry of a disk in whole numbers.
#pragma once

#include "core/boundary.h"
#include "core/disk.h"
#include "cuda/device.cuh"

namespace svconv {
namespace {

// A tile of pixels, one per thread.
constexpr int kDiskWidth = 32, kDiskHeight = 16, kDiskThreads = kDiskWidth * kDiskHeight;
constexpr int kDiskBlock = 16;       // side of the blocks of a map that are noted before disks spread
constexpr int kNoDisk = 2147483647;  // a measure that no pixel has
constexpr double kOneOverPi = 0.31830988618379067154;

struct DeviceMath {
  static __device__ __forceinline__ float sqrt(float v) { return sqrtf(v); }
  static __device__ __forceinline__ double sqrt(double v) { return ::sqrt(v); }
};

template <typename N> __device__ __forceinline__ N larger(N a, N b) { return a > b ? a : b; }
template <typename N> __device__ __forceinline__ N smaller(N a, N b) { return a < b ? a : b; }
__device__ __forceinline__ int magnitude(int a) { return a < 0 ? -a : a; }

// How a plane is read: rows and columns of the image that stand at its places.
struct DiskPlane {
  long long row_stride, stride;
  int height, width, padding;
  __device__ __forceinline__ int row(int y) const { return static_cast<int>(boundary_index(y, height, padding)); }
  __device__ __forceinline__ int column(int x) const { return static_cast<int>(boundary_index(x, width, padding)); }
  __device__ __forceinline__ long long place(int row, int column) const { return row * row_stride + column * stride; }
};

// The radius of each pixel, stored as the image is or as it is computed: 0 where the kernel is the identity (or, of a slope, where the
// radius does not count), NaN where there is none, otherwise above 1/2.
template <typename S> struct DiskRadii {
  using T = compute_t<S>;
  const void* data;
  DiskPlane plane;
  bool half, slope;
  T most;

  __device__ __forceinline__ T at(int row, int column) const {
    const long long place = plane.place(row, column);
    T r = half ? T(to_compute(static_cast<const S*>(data)[place])) : static_cast<const T*>(data)[place];
    if (r > most) r = slope ? T(0) : most;
    if (r - r != T(0)) return r - r;
    return r > T(0.5) ? r : T(0);
  }
  __device__ __forceinline__ T at_plane(int y, int x) const {
    const int row = plane.row(y), column = plane.column(x);
    return row < 0 || column < 0 ? T(0) : at(row, column);
  }
};

// Pixels by whole numbers, so that (a, b) and (b, a) are never told apart: (a, b), neither negative, is wholly inside where
// (2a + 1)^2 + (2b + 1)^2 <= 4 r^2, and untouched where the near corner is not nearer than r.
template <typename T> __device__ __forceinline__ int inside_measure(T r) { return static_cast<int>(T(4) * r * r); }
template <typename T> __device__ __forceinline__ int touched_measure(T r) {
  const T exact = T(4) * r * r;
  const int whole = static_cast<int>(exact);
  return whole + (static_cast<T>(whole) < exact);
}
__device__ __forceinline__ int far_corner(int a, int b) { return (2 * a + 1) * (2 * a + 1) + (2 * b + 1) * (2 * b + 1); }
__device__ __forceinline__ int near_corner(int a, int b) {
  const int y = a > 0 ? 2 * a - 1 : 0, x = b > 0 ? 2 * b - 1 : 0;
  return y * y + x * x;
}
// How far a disk of this measure reaches, -1: nowhere.
__device__ __forceinline__ int measured_reach(int touched) {
  if (touched <= 0) return -1;
  int reach = static_cast<int>(sqrtf(static_cast<float>(touched)) * 0.5f);
  while (near_corner(reach + 1, 0) < touched) ++reach;
  while (reach > 0 && near_corner(reach, 0) >= touched) --reach;
  return reach;
}

// For a row of pixels at the distance b from the centre: up to `inner` all are inside, beyond `outer` none is touched (-1: none at all).
// Rows come one after the other, and only little changes between them.
struct DiskRow {
  int inside, touched;
  int inner = -1, outer = -1;
  __device__ __forceinline__ void move(int b) {
    while (far_corner(inner + 1, b) <= inside) ++inner;
    while (inner >= 0 && far_corner(inner, b) > inside) --inner;
    while (near_corner(outer + 1, b) < touched) ++outer;
    while (outer >= 0 && near_corner(outer, b) >= touched) --outer;
  }
};

// The channels that a block works on; a group that does not come out even repeats the last one.
template <typename S, int CB> struct DiskImages {
  const S* data[CB];
  DiskPlane plane;

  __device__ __forceinline__ DiskImages(const S* image, long long channel_stride, long long group, long long channels, DiskPlane plane)
      : plane(plane) {
#pragma unroll
    for (int k = 0; k < CB; ++k) data[k] = image + least(group * CB + k, channels - 1) * channel_stride;
  }
};

// Which pixel of which group of channels of which image a thread writes, and where; a tile begins at the place (top, left) of the plane,
// the image and a margin.
struct DiskTarget {
  long long image, group, at;  // `at`: in a plane of the result
  long long area;              // of such a plane
  int top, left, lane, line;
  bool there;
  __device__ __forceinline__ int y() const { return top + line; }
  __device__ __forceinline__ int x() const { return left + lane; }

  __device__ __forceinline__ DiskTarget(long long groups, long long height, long long width, long long margin) {
    const long long rows = height + 2 * margin, columns = width + 2 * margin;
    const long long across = (columns + kDiskWidth - 1) / kDiskWidth, tiles = (rows + kDiskHeight - 1) / kDiskHeight * across;
    const long long tile = blockIdx.x % tiles, map = blockIdx.x / tiles;
    group = map % groups, image = map / groups;
    lane = static_cast<int>(threadIdx.x) % kDiskWidth, line = static_cast<int>(threadIdx.x) / kDiskWidth;
    const long long row = tile / across * kDiskHeight + line, column = tile % across * kDiskWidth + lane;
    there = row < rows && column < columns;
    at = row * columns + column, area = rows * columns;
    top = static_cast<int>(row - line - margin), left = static_cast<int>(column - lane - margin);
  }
};

// The result is stored as it is computed where something follows, otherwise as the image is.
template <typename S> __device__ __forceinline__ void store_result(compute_t<S> value, void* out, long long at, bool wide) {
  if (wide) static_cast<compute_t<S>*>(out)[at] = value;
  else from_compute(value, static_cast<S*>(out) + at);
}

template <typename T> __device__ __forceinline__ T half_chord(T r, T t) {
  const T square = (r - t) * (r + t);
  return square > T(0) ? DeviceMath::sqrt(square) : T(0);
}
template <typename T> __device__ __forceinline__ T half_chord_before(T r, int k) { return half_chord(r, k > 0 ? T(k) - T(0.5) : T(0)); }

// The largest (smallest) value of the block's threads; all of them call it. `memory`: an int for each.
template <bool Largest> __device__ __forceinline__ int over_block(int value, int* memory) {
  const int me = static_cast<int>(threadIdx.x);
  memory[me] = value;
  for (int half = kDiskThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (me < half) memory[me] = Largest ? larger(memory[me], memory[me + half]) : smaller(memory[me], memory[me + half]);
  }
  __syncthreads();
  return memory[0];
}

}  // namespace
}  // namespace svconv
