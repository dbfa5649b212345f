// Every pixel sums over the disks that reach it. What is inside the smallest disk around a tile comes by runs of the values that the pixels
// send out; each pixel between that and the largest one has an area of its own.
#pragma once

#include "cuda/disk/runs.cuh"

namespace svconv {
namespace {

// The share of a pixel of the offset (a, b) that is inside a disk; of a slope the derivative of the weight as a multiple of its value
// inside.
template <typename T> __device__ __forceinline__ T disk_share(T r, int a, int b, bool slope) {
  const T measure = T(4) * r * r;
  if (static_cast<T>(far_corner(a, b)) <= measure) return T(1);
  if (static_cast<T>(near_corner(a, b)) >= measure) return T(0);
  const DiskScale<T> scale = {T(0.0625) / r, T(0.25) / (r * r)};
  const T low_a = half_chord_before(r, a), high_a = half_chord_before(r, a + 1);
  const T low_b = half_chord_before(r, b), high_b = half_chord_before(r, b + 1);
  if (!slope) return disk_pixel<DeviceMath, T, false>(low_a, high_a, low_b, high_b, scale, a, b).area;
  const DiskPixel<T> pixel = disk_pixel<DeviceMath, T, true>(low_a, high_a, low_b, high_b, scale, a, b);
  return pixel.area - pixel.arc * T(0.5) * r;
}

// What the pixels of the plane send out.
template <typename S, int CB> struct DiskSources {
  using T = compute_t<S>;
  const DiskImages<S, CB>& images;
  const DiskRadii<S>& radii;

  // The radius, 0 where there is no disk, and what a pixel inside of it receives.
  __device__ __forceinline__ T at(int row, int column, T* values) const {
    const bool there = row >= 0 && column >= 0;
    const T given = there ? radii.at(row, column) : T(0);
    const bool sends = given > T(0);
    const T r = sends ? given : T(1), inner = T(kOneOverPi) / (r * r) * (radii.slope ? T(-2) / r : T(1));
    const long long at = sends ? images.plane.place(row, column) : 0;
#pragma unroll
    for (int k = 0; k < CB; ++k) values[k] = sends ? inner * to_compute(images.data[k][at]) : T(0);
    return sends ? given : T(0);
  }
};

// Rows of them in shared memory.
template <typename S, int CB> struct SourceRows {
  using T = compute_t<S>;
  DiskRuns<T, CB> runs;
  T* radii;

  __device__ __forceinline__ void load(const DiskSources<S, CB>& sources, int top, int left, int count) const {
    const int lane = static_cast<int>(threadIdx.x) % kDiskWidth, line = static_cast<int>(threadIdx.x) / kDiskWidth;
    for (int i = line; i < count; i += kDiskHeight) {
      const int row = sources.images.plane.row(top + i);
      for (int j = lane; j < runs.pitch; j += kDiskWidth) {
        T values[CB];
        const int at = i * runs.pitch + j;
        radii[at] = sources.at(row, sources.images.plane.column(left + j), values);
#pragma unroll
        for (int k = 0; k < CB; ++k) runs.data[k * runs.channel_stride + at] = values[k];
      }
    }
    runs.build(count);
  }
  // sums += what the pixel of a row and column sends to the offset (a, b), neither negative.
  __device__ __forceinline__ void add(T* sums, int row, int column, int a, int b, bool slope) const {
    const int at = row * runs.pitch + column;
    const T r = radii[at];
    if (r == T(0)) return;
    const T share = disk_share(r, larger(a, b), smaller(a, b), slope);
    if (share == T(0)) return;
#pragma unroll
    for (int k = 0; k < CB; ++k) sums[k] += share * runs.data[k * runs.channel_stride + at];
  }
};

// Which disks may reach a tile: the largest measure of pixels touched, and one that is inside of all of them, as far as they matter.
struct DiskReach {
  int touched = 0, inside = kNoDisk;

  // From the blocks of a map, whose first begins `margin` before the image; no disk reaches farther than `farthest`.
  __device__ __forceinline__ DiskReach(const int* table, long long entries, int down, int across, int margin, int farthest,
                                       const DiskTarget& target, int* memory) {
    const int top = larger(target.top - farthest + margin, 0) / kDiskBlock, left = larger(target.left - farthest + margin, 0) / kDiskBlock;
    const int bottom = smaller((target.top + kDiskHeight - 1 + farthest + margin) / kDiskBlock + 1, down);
    const int right = smaller((target.left + kDiskWidth - 1 + farthest + margin) / kDiskBlock + 1, across);
    const long long columns = larger(right - left, 0), count = larger(bottom - top, 0) * columns;
    for (long long n = threadIdx.x; n < count; n += kDiskThreads) {
      const int i = top + static_cast<int>(n / columns), j = left + static_cast<int>(n % columns);
      const long long at = static_cast<long long>(i) * across + j;
      const int dy = gap(i * kDiskBlock - margin, target.top, kDiskHeight), dx = gap(j * kDiskBlock - margin, target.left, kDiskWidth);
      const int most = table[at];
      if (near_corner(dy, dx) >= most) continue;
      touched = larger(touched, most);
      // what is farther away than a run is never in it
      inside = smaller(inside, larger(table[at + entries], far_corner(dy, dx) - 1));
    }
    touched = over_block<true>(touched, memory);
    inside = over_block<false>(inside, memory + kDiskThreads);
  }

 private:
  // By how much a block is away from a tile along an axis.
  static __device__ __forceinline__ int gap(int block, int tile, int side) {
    return larger(larger(tile - (block + kDiskBlock - 1), block - (tile + side - 1)), 0);
  }
};

// sums += what reaches the target from the disks of a tile's window.
template <typename S, int CB>
__device__ __forceinline__ void spread_disks(compute_t<S>* sums, const DiskReach& around, const DiskSources<S, CB>& sources,
                                             const DiskTarget& target, compute_t<S>* memory, long long capacity) {
  using T = compute_t<S>;
  const bool slope = sources.radii.slope;
  const int reach = measured_reach(around.touched), height = kDiskHeight + 2 * reach;
  SourceRows<S, CB> rows = {DiskRuns<T, CB>(memory, reach, 1, capacity), nullptr};
  rows.radii = rows.runs.past();
  DiskRow row = {smaller(around.inside, around.touched), around.touched};
  for (int first = 0; first < height && rows.runs.rows > 0; first += rows.runs.rows) {
    const int count = smaller(rows.runs.rows, height - first);
    if (first > 0) __syncthreads();
    rows.load(sources, target.top - reach + first, target.left - reach, count);
    const int own = target.line + reach - first, centre = target.lane + reach;
    for (int dy = larger(-own, -reach); dy <= smaller(count - 1 - own, reach); ++dy) {
      const int b = magnitude(dy);
      row.move(b);
      if (row.inner >= 0) rows.runs.add(sums, own + dy, centre - row.inner, 2 * row.inner + 1);
      for (int a = row.inner + 1; a <= row.outer; ++a) {
        rows.add(sums, own + dy, centre - a, b, a, slope);
        if (a > 0) rows.add(sums, own + dy, centre + a, b, a, slope);
      }
    }
  }
  if (rows.runs.rows > 0) return;
  for (int dy = -reach; dy <= reach; ++dy) {  // not even one row has room
    row.move(magnitude(dy));
    for (int dx = -row.outer; dx <= row.outer; ++dx) {
      T values[CB];
      const T r = sources.at(sources.images.plane.row(target.y() + dy), sources.images.plane.column(target.x() + dx), values);
      if (r == T(0)) continue;
      const T share = disk_share(r, larger(magnitude(dy), magnitude(dx)), smaller(magnitude(dy), magnitude(dx)), slope);
      if (share == T(0)) continue;
#pragma unroll
      for (int k = 0; k < CB; ++k) sums[k] += share * values[k];
    }
  }
}

}  // namespace

// table[0, map, block]: the largest measure of pixels that a disk of the block touches, 0 without disks; table[1, map, block]: the smallest
// measure of pixels inside. The blocks cover the image and a margin, where the map goes on by `padding`.
template <typename S>
__global__ void __launch_bounds__(kDiskThreads)
    disk_blocks(const void* radius, long long r_b, long long r_c, long long r_h, long long r_w, long long half_map, int* table,
                long long map_channels, long long entries, long long down, long long across, long long height, long long width,
                long long margin, long long padding, long long slope, double most) {
  using T = compute_t<S>;
  int* const memory = static_cast<int*>(shared_memory());
  constexpr int pixels = kDiskBlock * kDiskBlock;
  // two blocks of the map in one of threads, so that they reduce alike: first their largest, then their smallest measures
  int touched = 0, inside = kNoDisk;
  const long long block = blockIdx.x, map = block / (down * across), place = block % (down * across);
  const long long offset = map / map_channels * r_b + map % map_channels * r_c;
  const DiskRadii<S> radii = {half_map ? static_cast<const void*>(static_cast<const S*>(radius) + offset)
                                       : static_cast<const void*>(static_cast<const T*>(radius) + offset),
                              {r_h, r_w, static_cast<int>(height), static_cast<int>(width), static_cast<int>(padding)},
                              half_map != 0,
                              slope != 0,
                              static_cast<T>(most)};
  const int me = static_cast<int>(threadIdx.x);
  const long long y = place / across * kDiskBlock + me / kDiskBlock - margin, x = place % across * kDiskBlock + me % kDiskBlock - margin;
  if (me < pixels && y < height + margin && x < width + margin) {
    const T r = radii.at_plane(static_cast<int>(y), static_cast<int>(x));
    if (r > T(0)) touched = touched_measure(r), inside = inside_measure(r);
  }
  touched = over_block<true>(touched, memory);
  inside = over_block<false>(inside, memory + kDiskThreads);
  if (me == 0) table[block] = touched, table[entries + block] = inside;
}

// out[b,c,p] = sum_q w(radius[q], p - q) x[b,c,q], or with dw/dr, at the pixels of the image and `margin`; q is the image and
// `source_margin`, where image and map go on by `padding`. The table is that of disk_blocks; no disk reaches farther than `farthest`.
template <typename S, int CB>
__global__ void __launch_bounds__(kDiskThreads)
    disk_spread(const S* x, long long x_b, long long x_c, long long x_h, long long x_w, const void* radius, long long r_b, long long r_c,
                long long r_h, long long r_w, long long half_map, const int* table, long long t_b, long long t_c, long long entries,
                long long down, long long across, long long source_margin, long long farthest, void* out, long long wide,
                long long channels, long long height, long long width, long long margin, long long padding, long long slope, double most,
                long long capacity) {
  using T = compute_t<S>;
  int* const block = static_cast<int*>(shared_memory());
  const DiskTarget target((channels + CB - 1) / CB, height, width, margin);
  const DiskPlane plane = {x_h, x_w, static_cast<int>(height), static_cast<int>(width), static_cast<int>(padding)};
  const DiskImages<S, CB> images(x + target.image * x_b, x_c, target.group, channels, plane);
  const long long map = target.image * r_b + target.group * r_c;
  const DiskRadii<S> radii = {half_map ? static_cast<const void*>(static_cast<const S*>(radius) + map)
                                       : static_cast<const void*>(static_cast<const T*>(radius) + map),
                              {r_h, r_w, plane.height, plane.width, plane.padding},
                              half_map != 0,
                              slope != 0,
                              static_cast<T>(most)};
  const DiskReach around(table + target.image * t_b + target.group * t_c, entries, static_cast<int>(down), static_cast<int>(across),
                         static_cast<int>(source_margin), static_cast<int>(farthest), target, block);
  T sums[CB] = {};
  if (around.touched > 0)
    spread_disks(sums, around, DiskSources<S, CB>{images, radii}, target, reinterpret_cast<T*>(block + 2 * kDiskThreads), capacity);
  if (!target.there) return;

  const int row = plane.row(target.y()), column = plane.column(target.x());
  const bool inside = row >= 0 && column >= 0;
  const T own = inside ? radii.at(row, column) : T(1);
#pragma unroll
  for (int k = 0; k < CB; ++k) {
    const long long channel = target.group * CB + k;
    if (channel >= channels) continue;
    T total = sums[k];
    if (own == T(0) && !slope) total += to_compute(images.data[k][plane.place(row, column)]);
    if (!(own >= T(0))) total = own;  // NaN where the pixel's own radius is none
    store_result<S>(total, out, (target.image * channels + channel) * target.area + target.at, wide != 0);
  }
}

}  // namespace svconv
