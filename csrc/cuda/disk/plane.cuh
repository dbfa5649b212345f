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
  __device__ __forceinline__ int row(int y) const { return boundary_index_in(y, height, padding); }
  __device__ __forceinline__ int column(int x) const { return boundary_index_in(x, width, padding); }
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

  __device__ __forceinline__ DiskRadii(const void* radius, long long map, DiskPlane plane, bool half, bool slope, double most)
      : plane(plane), half(half), slope(slope), most(static_cast<T>(most)) {
    data = half ? static_cast<const void*>(static_cast<const S*>(radius) + map)
                : static_cast<const void*>(static_cast<const T*>(radius) + map);
  }

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

__device__ __forceinline__ int tile_lane() { return static_cast<int>(threadIdx.x) % kDiskWidth; }
__device__ __forceinline__ int tile_line() { return static_cast<int>(threadIdx.x) / kDiskWidth; }

// Which group of channels of which image a block writes, and where its tile begins in the plane, the image and a margin. It stands in
// shared memory, because registers are few.
template <typename S> struct DiskTile {
  const S* first;  // channel of the group
  int last;        // of the group's channels, one that does not come out even repeats it
  int image, group, top, left;

  __device__ __forceinline__ void find(const S* x, long long x_b, long long x_c, int size, long long channels, long long height,
                                       long long width, long long margin) {
    const long long groups = (channels + size - 1) / size, columns = width + 2 * margin;
    const long long across = (columns + kDiskWidth - 1) / kDiskWidth;
    const long long tiles = (height + 2 * margin + kDiskHeight - 1) / kDiskHeight * across, tile = blockIdx.x % tiles;
    group = static_cast<int>(blockIdx.x / tiles % groups), image = static_cast<int>(blockIdx.x / tiles / groups);
    top = static_cast<int>(tile / across * kDiskHeight - margin), left = static_cast<int>(tile % across * kDiskWidth - margin);
    last = static_cast<int>(least(channels - 1 - static_cast<long long>(group) * size, size - 1));
    first = x + image * x_b + group * size * x_c;
  }
  // The pixel of a thread, and whether it is written.
  __device__ __forceinline__ int y() const { return top + tile_line(); }
  __device__ __forceinline__ int x() const { return left + tile_lane(); }
  __device__ __forceinline__ bool there(long long height, long long width, long long margin) const {
    return y() < height + margin && x() < width + margin;
  }
  // Where it stands in a plane of the result.
  __device__ __forceinline__ long long place(long long plane, long long height, long long width, long long margin) const {
    return (plane * (height + 2 * margin) + y() + margin) * (width + 2 * margin) + x() + margin;
  }
};
constexpr int kTileBytes = 64;  // for a DiskTile

template <typename S> struct DiskImages {
  const DiskTile<S>& tile;
  long long stride;
  DiskPlane plane;
  __device__ __forceinline__ compute_t<S> at(int k, long long place) const {
    return to_compute(tile.first[(k < tile.last ? k : tile.last) * stride + place]);
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
template <typename T> __device__ __forceinline__ DiskScale<T> disk_scale(T inverse) {
  return {T(0.0625) * inverse, T(0.25) * inverse * inverse};
}
template <typename T> __device__ __forceinline__ T half_chord_before(T r, int k) { return half_chord(r, k > 0 ? T(k) - T(0.5) : T(0)); }

// The largest (smallest) value of the block's threads; all of them call it. `memory`: an int for each.
template <bool Largest, int Threads = kDiskThreads> __device__ __forceinline__ int over_block(int value, int* memory) {
  const int me = static_cast<int>(threadIdx.x);
  memory[me] = value;
  for (int half = Threads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (me < half) memory[me] = Largest ? larger(memory[me], memory[me + half]) : smaller(memory[me], memory[me + half]);
  }
  __syncthreads();
  return memory[0];
}

}  // namespace
}  // namespace svconv
