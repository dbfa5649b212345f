// Every pixel sums over the disks that reach it. What is inside the smallest disk around a tile comes by runs of the values that the pixels
// send out. Between that and the largest one each pixel has an area of its own, which serves the eight pixels it is the same for: while a
// window is in shared memory as a whole, the areas of all its pixels at one offset are made, then read.
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
  const DiskScale<T> scale = disk_scale(T(1) / r);
  const T low_a = half_chord_before(r, a), high_a = half_chord_before(r, a + 1);
  const T low_b = half_chord_before(r, b), high_b = half_chord_before(r, b + 1);
  if (!slope) return disk_pixel<DeviceMath, T, false>(low_a, high_a, low_b, high_b, scale, a, b).area;
  const DiskPixel<T> pixel = disk_pixel<DeviceMath, T, true>(low_a, high_a, low_b, high_b, scale, a, b);
  return pixel.area - pixel.arc * T(0.5) * r;
}

// What the pixels of the plane send out.
template <typename S, int CB> struct DiskSources {
  using T = compute_t<S>;
  const DiskImages<S>& images;
  const DiskRadii<S>& radii;

  // The radius, 0 where there is no disk, and what a pixel inside of it receives.
  __device__ __forceinline__ T at(int row, int column, T* values) const {
    const bool there = row >= 0 && column >= 0;
    const T given = there ? radii.at(row, column) : T(0);
    const bool sends = given > T(0);
    const T inverse = T(1) / (sends ? given : T(1)), inner = T(kOneOverPi) * inverse * inverse * (radii.slope ? T(-2) * inverse : T(1));
    const long long at = sends ? images.plane.place(row, column) : 0;
#pragma unroll
    for (int k = 0; k < CB; ++k) values[k] = sends ? inner * images.at(k, at) : T(0);
    return sends ? given : T(0);
  }
};

// Rows of them in shared memory.
template <typename S, int CB> struct SourceRows {
  using T = compute_t<S>;
  DiskRuns<T, CB> runs;
  T* radii;

  __device__ __forceinline__ void load(const DiskSources<S, CB>& sources, int top, int left, int count) const {
#pragma unroll 1
    for (int i = tile_line(); i < count; i += kDiskHeight) {
      const int row = sources.images.plane.row(top + i);
#pragma unroll 1
      for (int j = tile_lane(); j < runs.pitch; j += kDiskWidth) {
        T values[CB];
        const int at = i * runs.pitch + j;
        radii[at] = sources.at(row, sources.images.plane.column(left + j), values);
#pragma unroll
        for (int k = 0; k < CB; ++k) runs.data[k * runs.channel_stride + at] = values[k];
      }
    }
    runs.build(count);
  }
  // sums += what the pixel at a place sends to the offset (a, b), neither negative.
  __device__ __forceinline__ void add(T* sums, int at, int a, int b, bool slope) const {
    const T r = radii[at];
    if (r > T(0)) add_share(sums, at, disk_share(r, larger(a, b), smaller(a, b), slope));
  }
  __device__ __forceinline__ void add_share(T* sums, int at, T share) const {
    if (share == T(0)) return;
#pragma unroll
    for (int k = 0; k < CB; ++k) sums[k] += share * runs.data[k * runs.channel_stride + at];
  }
  // sums += what comes to the target at `centre` from the eight places at the offset (a, b), a >= b >= 0; all threads call it.
  __device__ __forceinline__ void add_octant(T* sums, int centre, int a, int b, bool slope) const {
    T* const shares = radii + runs.table_stride;
    __syncthreads();
#pragma unroll 1
    for (int at = static_cast<int>(threadIdx.x); at < runs.table_stride; at += kDiskThreads)
      shares[at] = radii[at] > T(0) ? disk_share(radii[at], a, b, slope) : T(0);
    __syncthreads();
    const int rows_a = a * runs.pitch, rows_b = b * runs.pitch;
    const auto one = [&](int at) { add_share(sums, at, shares[at]); };
    one(centre + rows_b + a);
    if (a > 0) one(centre + rows_b - a);
    if (b > 0) one(centre - rows_b + a), one(centre - rows_b - a);
    if (a > b) one(centre + rows_a + b), one(centre - rows_a + b);
    if (a > b && b > 0) one(centre + rows_a - b), one(centre - rows_a - b);
  }
};

// Which disks may reach a tile: the largest measure of pixels touched, and one that is inside of all of them, as far as they matter.
struct DiskReach {
  int touched = 0, inside = kNoDisk;

  // From the blocks of a map, whose first begins `margin` before the image; no disk reaches farther than `farthest`.
  __device__ __forceinline__ DiskReach(const int* table, long long entries, int down, int across, int margin, int farthest, int tile_top,
                                       int tile_left, int* memory) {
    const int top = larger(tile_top - farthest + margin, 0) / kDiskBlock, left = larger(tile_left - farthest + margin, 0) / kDiskBlock;
    const int bottom = smaller((tile_top + kDiskHeight - 1 + farthest + margin) / kDiskBlock + 1, down);
    const int right = smaller((tile_left + kDiskWidth - 1 + farthest + margin) / kDiskBlock + 1, across);
    const long long columns = larger(right - left, 0), count = larger(bottom - top, 0) * columns;
    for (long long n = threadIdx.x; n < count; n += kDiskThreads) {
      const int i = top + static_cast<int>(n / columns), j = left + static_cast<int>(n % columns);
      const long long at = static_cast<long long>(i) * across + j;
      const int dy = gap(i * kDiskBlock - margin, tile_top, kDiskHeight), dx = gap(j * kDiskBlock - margin, tile_left, kDiskWidth);
      const int most = dy > farthest || dx > farthest ? 0 : table[at];
      if (most == 0 || near_corner(dy, dx) >= most) continue;
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
                                             compute_t<S>* memory, long long capacity) {
  using T = compute_t<S>;
  const bool slope = sources.radii.slope;
  const DiskTile<S>& tile = sources.images.tile;
  const int reach = measured_reach(around.touched), height = kDiskHeight + 2 * reach;
  SourceRows<S, CB> rows = {DiskRuns<T, CB>(memory, reach, 2, capacity), nullptr};
  rows.radii = rows.runs.past();
  DiskRow row = {smaller(around.inside, around.touched), around.touched};
  const int pitch = rows.runs.pitch, column = tile_lane() + reach;
  if (rows.runs.rows == height) {
    rows.load(sources, tile.top - reach, tile.left - reach, height);
    const int centre = (tile_line() + reach) * pitch + column;
    for (int b = 0; b <= reach; ++b) {
      row.move(b);
      // rows above and below have runs of one length
      if (row.inner >= 0) rows.runs.add(sums, centre + b * pitch - row.inner, -2 * b * pitch, 2 * row.inner + 1);
      for (int a = larger(b, row.inner + 1); a <= row.outer; ++a) rows.add_octant(sums, centre, a, b, slope);
    }
    return;
  }
  for (int first = 0; first < height && rows.runs.rows > 0; first += rows.runs.rows) {
    const int count = smaller(rows.runs.rows, height - first), own = tile_line() + reach - first;
    __syncthreads();
    rows.load(sources, tile.top - reach + first, tile.left - reach, count);
#pragma unroll 1
    for (int dy = larger(-own, -reach); dy <= smaller(count - 1 - own, reach); ++dy) {
      const int b = magnitude(dy), centre = (own + dy) * pitch + column;
      row.move(b);
      if (row.inner >= 0) rows.runs.add(sums, centre - row.inner, 0, 2 * row.inner + 1);
      if (row.inner == row.outer) continue;
      // from -outer to outer without the run
#pragma unroll 1
      for (int dx = -row.outer; dx <= row.outer; dx = dx == -row.inner - 1 ? larger(dx, row.inner) + 1 : dx + 1)
        rows.add(sums, centre + dx, b, magnitude(dx), slope);
    }
  }
  if (rows.runs.rows > 0) return;
  for (int dy = -reach; dy <= reach; ++dy) {  // not even one row has room
    row.move(magnitude(dy));
#pragma unroll 1
    for (int dx = -row.outer; dx <= row.outer; ++dx) {
      T values[CB];
      const T r = sources.at(sources.images.plane.row(tile.y() + dy), sources.images.plane.column(tile.x() + dx), values);
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
__global__ void __launch_bounds__(kDiskBlock* kDiskBlock)
    disk_blocks(const void* radius, long long r_b, long long r_c, long long r_h, long long r_w, long long half_map, int* table,
                long long map_channels, long long entries, long long down, long long across, long long height, long long width,
                long long margin, long long padding, long long slope, double most) {
  using T = compute_t<S>;
  int* const memory = static_cast<int*>(shared_memory());
  constexpr int pixels = kDiskBlock * kDiskBlock;
  int touched = 0, inside = kNoDisk;
  const long long block = blockIdx.x, map = block / (down * across), place = block % (down * across);
  const long long offset = map / map_channels * r_b + map % map_channels * r_c;
  const DiskPlane plane = {r_h, r_w, static_cast<int>(height), static_cast<int>(width), static_cast<int>(padding)};
  const DiskRadii<S> radii(radius, offset, plane, half_map != 0, slope != 0, most);
  const int me = static_cast<int>(threadIdx.x);
  const long long y = place / across * kDiskBlock + me / kDiskBlock - margin, x = place % across * kDiskBlock + me % kDiskBlock - margin;
  if (y < height + margin && x < width + margin) {
    const T r = radii.at_plane(static_cast<int>(y), static_cast<int>(x));
    if (r > T(0)) touched = touched_measure(r), inside = inside_measure(r);
  }
  touched = over_block<true, pixels>(touched, memory);
  inside = over_block<false, pixels>(inside, memory + pixels);
  if (me == 0) table[block] = touched, table[entries + block] = inside;
}

// out[b,c,p] = sum_q w(radius[q], p - q) x[b,c,q], or with dw/dr, at the pixels of the image and `margin`; q is the image and
// `source_margin`, where image and map go on by `padding`. The table is that of disk_blocks; no disk reaches farther than `farthest`.
template <typename S, int CB>
__global__ void __launch_bounds__(kDiskThreads, sizeof(compute_t<S>) == 8 ? 1 : 2)
    disk_spread(const S* x, long long x_b, long long x_c, long long x_h, long long x_w, const void* radius, long long r_b, long long r_c,
                long long r_h, long long r_w, long long half_map, const int* table, long long t_b, long long t_c, long long entries,
                long long down, long long across, long long source_margin, long long farthest, void* out, long long wide,
                long long channels, long long height, long long width, long long margin, long long padding, long long slope, double most,
                long long capacity) {
  using T = compute_t<S>;
  DiskTile<S>& tile = *static_cast<DiskTile<S>*>(shared_memory());
  int* const notes = reinterpret_cast<int*>(&tile) + kTileBytes / 4;
  if (threadIdx.x == 0) tile.find(x, x_b, x_c, CB, channels, height, width, margin);
  __syncthreads();
  const DiskImages<S> images = {tile, x_c, {x_h, x_w, static_cast<int>(height), static_cast<int>(width), static_cast<int>(padding)}};
  const DiskPlane map_plane = {r_h, r_w, static_cast<int>(height), static_cast<int>(width), static_cast<int>(padding)};
  const DiskRadii<S> radii(radius, tile.image * r_b + tile.group * r_c, map_plane, half_map != 0, slope != 0, most);
  const DiskReach around(table + tile.image * t_b + tile.group * t_c, entries, static_cast<int>(down), static_cast<int>(across),
                         static_cast<int>(source_margin), static_cast<int>(farthest), tile.top, tile.left, notes);
  T sums[CB] = {};
  if (around.touched > 0)
    spread_disks(sums, around, DiskSources<S, CB>{images, radii}, reinterpret_cast<T*>(notes + 2 * kDiskThreads), capacity);
  if (!tile.there(height, width, margin)) return;

  const int row = images.plane.row(tile.y()), column = images.plane.column(tile.x());
  const bool inside = row >= 0 && column >= 0;
  const T own = inside ? radii.at(row, column) : T(1);
  const bool copies = own == T(0) && !slope;
  const long long here = copies ? images.plane.place(row, column) : 0, area = (height + 2 * margin) * (width + 2 * margin);
  long long at = tile.place(tile.image * channels + tile.group * CB, height, width, margin);
#pragma unroll
  for (int k = 0; k < CB; ++k, at += area) {
    if (k > tile.last) continue;
    if (copies) sums[k] += images.at(k, here);
    if (!(own >= T(0))) sums[k] = own;  // NaN where the pixel's own radius is none
    store_result<S>(sums[k], out, at, wide != 0);
  }
}

}  // namespace svconv
