// Every pixel sums over its own disk: what is inside by runs, the edge by areas, each of which serves the eight pixels it is the same for.
#pragma once

#include "cuda/disk/runs.cuh"

namespace svconv {
namespace {

// The pixels around a target in the window in shared memory.
template <typename T, int CB> struct WindowPixels {
  const T* centre;
  int pitch, channel_stride;

  // sums += weight x at the offsets (+-a, +-b) and (+-b, +-a), a >= b >= 0, each once.
  __device__ __forceinline__ void add(T* sums, T weight, int a, int b) const {
    const int rows_a = a * pitch, rows_b = b * pitch;
#pragma unroll
    for (int k = 0; k < CB; ++k) {
      const T* const x = centre + k * channel_stride;
      T sum = x[rows_b + a];
      if (a > 0) sum += x[rows_b - a];
      if (b > 0) sum += x[a - rows_b] + x[-rows_b - a];
      if (a > b) sum += x[rows_a + b] + x[b - rows_a];
      if (a > b && b > 0) sum += x[rows_a - b] + x[-rows_a - b];
      sums[k] += weight * sum;
    }
  }
};

// The same where no window was loaded.
template <typename S, int CB> struct FarPixels {
  const DiskImages<S>& images;
  using T = compute_t<S>;

  __device__ __forceinline__ void add(T* sums, T weight, int a, int b) const {
#pragma unroll 1
    for (int turned = 0; turned < (a > b ? 2 : 1); ++turned) {
      const int dy = turned ? a : b, dx = turned ? b : a;
#pragma unroll 1
      for (int i = dy; i >= -dy; i -= larger(2 * dy, 1)) add_row(sums, weight, i, dx, larger(2 * dx, 1));
    }
  }
  // At the offsets (dy, dx), (dy, dx - step), ..., (dy, -dx).
  __device__ __forceinline__ void add_row(T* sums, T weight, int dy, int dx, int step) const {
    const int row = images.plane.row(images.tile.y() + dy);
    if (row < 0) return;
    const long long start = images.plane.place(row, 0);
#pragma unroll 1
    for (int j = dx; j >= -dx; j -= step) {
      const int column = images.plane.column(images.tile.x() + j);
      if (column < 0) continue;
      const long long at = start + column * images.plane.stride;
#pragma unroll
      for (int k = 0; k < CB; ++k) sums[k] += weight * images.at(k, at);
    }
  }
};

// sums += the edge of a disk, or with dw/dr.
template <typename T, typename Pixels>
__device__ __forceinline__ void add_edge(T* sums, T r, T inverse, DiskRow row, bool slope, const Pixels& pixels) {
  const DiskScale<T> scale = disk_scale(inverse);
  T high_b = r;
#pragma unroll 1
  for (int b = 0;; ++b) {
    row.move(b);
    if (row.outer < b) return;
    const T low_b = high_b;
    high_b = half_chord_before(r, b + 1);
    int a = larger(b, row.inner + 1);
    T low_a = half_chord_before(r, a);
#pragma unroll 1
    for (; a <= row.outer; ++a) {
      const T high_a = half_chord_before(r, a + 1);
      T weight;
      if (slope) {
        const DiskPixel<T> pixel = disk_pixel<DeviceMath, T, true>(low_a, high_a, low_b, high_b, scale, a, b);
        weight = pixel.arc - T(2) * inverse * pixel.area;
      } else {
        weight = disk_pixel<DeviceMath, T, false>(low_a, high_a, low_b, high_b, scale, a, b).area;
      }
      if (weight != T(0)) pixels.add(sums, weight, a, b);
      low_a = high_a;
    }
  }
}

template <typename S, int CB>
__device__ __forceinline__ void load_rows(const DiskRuns<compute_t<S>, CB>& runs, const DiskImages<S>& images, int top, int left,
                                          int count) {
#pragma unroll 1
  for (int i = tile_line(); i < count; i += kDiskHeight) {
    const int row = images.plane.row(top + i);
#pragma unroll 1
    for (int j = tile_lane(); j < runs.pitch; j += kDiskWidth) {
      const int column = images.plane.column(left + j);
      const bool there = row >= 0 && column >= 0;
      const long long at = there ? images.plane.place(row, column) : 0;
#pragma unroll
      for (int k = 0; k < CB; ++k) runs.data[k * runs.channel_stride + i * runs.pitch + j] = there ? images.at(k, at) : compute_t<S>(0);
    }
  }
}

// sums = the sum of w(r, d) x, but for the factor 1 / (pi r^2), over the disk `own` of the target; `reach` is that of all disks of the
// tile.
template <typename S, int CB>
__device__ __forceinline__ void gather_disk(compute_t<S>* sums, compute_t<S> r, compute_t<S> inverse, DiskRow own, bool slope, int reach,
                                            const DiskImages<S>& images, compute_t<S>* memory, long long capacity) {
  using T = compute_t<S>;
  const DiskRuns<T, CB> runs(memory, reach, 0, capacity);
  const FarPixels<S, CB> far = {images};
  const int rows = kDiskHeight + 2 * reach;
  const bool whole = runs.rows == rows;
  DiskRow row = own;
  row.move(0);
  const int last = row.inner;
  for (int first = 0; first < rows && runs.rows > 0; first += runs.rows) {
    const int count = smaller(runs.rows, rows - first);
    if (first > 0) __syncthreads();
    load_rows(runs, images, images.tile.top - reach + first, images.tile.left - reach, count);
    runs.build(count);
    const int centre = tile_line() + reach - first;  // its row among those that are there
    if (whole) {
#pragma unroll 1
      for (int b = 0; b <= last; ++b) {  // rows above and below have runs of one length
        row.move(b);
        runs.add(sums, (centre + b) * runs.pitch + tile_lane() + reach - row.inner, -2 * b * runs.pitch, 2 * row.inner + 1);
      }
    } else {
#pragma unroll 1
      for (int dy = larger(-centre, -last); dy <= smaller(count - 1 - centre, last); ++dy) {
        row.move(magnitude(dy));
        runs.add(sums, (centre + dy) * runs.pitch + tile_lane() + reach - row.inner, 0, 2 * row.inner + 1);
      }
    }
  }
  if (runs.rows == 0)  // not even one row has room
    for (int dy = -last; dy <= last; ++dy) {
      row.move(magnitude(dy));
      far.add_row(sums, T(1), dy, row.inner, 1);
    }
  if (slope) {
#pragma unroll
    for (int k = 0; k < CB; ++k) sums[k] *= T(-2) * inverse;
  }
  if (whole) {
    const WindowPixels<T, CB> near = {runs.data + (tile_line() + reach) * runs.pitch + tile_lane() + reach, runs.pitch,
                                      runs.channel_stride};
    add_edge(sums, r, inverse, own, slope, near);
  } else {
    add_edge(sums, r, inverse, own, slope, far);
  }
}

}  // namespace

// out[b,c,p] = sum_q w(radius[p], p - q) x[b,c,q], or with dw/dr, at the pixels of the image and a margin. The image goes on by `padding`,
// the map by `around`. With a factor out[b,group,p] = the sum of factor[b,c,p] times that over the channels of the group.
template <typename S, int CB>
__global__ void __launch_bounds__(kDiskThreads, sizeof(compute_t<S>) == 8 ? 1 : 2)
    disk_gather(const S* x, long long x_b, long long x_c, long long x_h, long long x_w, const void* radius, long long r_b, long long r_c,
                long long r_h, long long r_w, long long half_map, const S* factor, long long f_b, long long f_c, long long f_h,
                long long f_w, void* out, long long wide, long long channels, long long height, long long width, long long margin,
                long long padding, long long around, long long slope, double most, long long capacity) {
  using T = compute_t<S>;
  DiskTile<S>& tile = *static_cast<DiskTile<S>*>(shared_memory());
  int* const notes = reinterpret_cast<int*>(&tile) + kTileBytes / 4;
  if (threadIdx.x == 0) tile.find(x, x_b, x_c, CB, channels, height, width, margin);
  __syncthreads();
  const DiskImages<S> images = {tile, x_c, {x_h, x_w, static_cast<int>(height), static_cast<int>(width), static_cast<int>(padding)}};
  const DiskPlane map_plane = {r_h, r_w, static_cast<int>(height), static_cast<int>(width), static_cast<int>(around)};
  const DiskRadii<S> radii(radius, tile.image * r_b + tile.group * r_c, map_plane, half_map != 0, slope != 0, most);
  const T given = tile.there(height, width, margin) ? radii.at_plane(tile.y(), tile.x()) : T(0);
  const bool plain = given > T(0);
  const T r = plain ? given : T(1), inverse = T(1) / r;
  const DiskRow own = {plain ? inside_measure(r) : 0, plain ? touched_measure(r) : 0};
  const int reach = measured_reach(over_block<true>(own.touched, notes));
  T sums[CB];
#pragma unroll
  for (int k = 0; k < CB; ++k) sums[k] = plain ? T(0) : given;  // 0 or NaN
  if (reach >= 0)
    gather_disk<S, CB>(sums, r, inverse, own, slope != 0, reach, images, reinterpret_cast<T*>(notes + 2 * kDiskThreads), capacity);
  if (!tile.there(height, width, margin)) return;

  const int row = images.plane.row(tile.y()), column = images.plane.column(tile.x());
  const bool copies = own.touched == 0 && sums[0] == T(0) && !slope && row >= 0 && column >= 0;
  const long long here = copies ? images.plane.place(row, column) : 0;
#pragma unroll
  for (int k = 0; k < CB; ++k) sums[k] = copies ? images.at(k, here) : sums[k] * (T(kOneOverPi) * inverse * inverse);
  if (!factor) {
    const long long area = (height + 2 * margin) * (width + 2 * margin);
    long long at = tile.place(tile.image * channels + tile.group * CB, height, width, margin);
#pragma unroll
    for (int k = 0; k < CB; ++k, at += area)
      if (k <= tile.last) store_result<S>(sums[k], out, at, wide != 0);
    return;
  }
  const S* from = factor + tile.image * f_b + tile.group * CB * f_c + map_plane.row(tile.y()) * f_h + map_plane.column(tile.x()) * f_w;
  T product = 0;
#pragma unroll
  for (int k = 0; k < CB; ++k, from += f_c)
    if (k <= tile.last) product += sums[k] * to_compute(*from);
  const long long groups = (channels + CB - 1) / CB;
  static_cast<T*>(out)[tile.place(tile.image * groups + tile.group, height, width, margin)] = product;
}

}  // namespace svconv
