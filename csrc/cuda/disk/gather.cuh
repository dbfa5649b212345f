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
  const DiskImages<S, CB>& images;
  int y, x;
  using T = compute_t<S>;

  __device__ __forceinline__ void one(T* sums, T weight, int dy, int dx) const {
    const int row = images.plane.row(y + dy), column = images.plane.column(x + dx);
    if (row < 0 || column < 0) return;
    const long long at = images.plane.place(row, column);
#pragma unroll
    for (int k = 0; k < CB; ++k) sums[k] += weight * to_compute(images.data[k][at]);
  }
  __device__ __forceinline__ void add(T* sums, T weight, int a, int b) const {
#pragma unroll 1
    for (int n = 0; n < 8; ++n) {  // bits: which side of the row, which side of the column, which of the two is the row
      if ((n & 1 && (n & 4 ? a : b) == 0) || (n & 2 && (n & 4 ? b : a) == 0) || (n & 4 && a == b)) continue;
      const int dy = n & 4 ? a : b, dx = n & 4 ? b : a;
      one(sums, weight, n & 1 ? -dy : dy, n & 2 ? -dx : dx);
    }
  }
};

template <bool Arc, typename T, typename Pixels> __device__ __forceinline__ void add_edge(T* sums, T r, DiskRow row, const Pixels& pixels) {
  const DiskScale<T> scale = {T(0.0625) / r, T(0.25) / (r * r)};
  const T ratio = T(-2) / r;
  for (int b = 0;; ++b) {
    row.move(b);
    if (row.outer < b) return;
    const T low_b = half_chord_before(r, b), high_b = half_chord_before(r, b + 1);
    int a = larger(b, row.inner + 1);
    T low_a = half_chord_before(r, a);
    for (; a <= row.outer; ++a) {
      const T high_a = half_chord_before(r, a + 1);
      const DiskPixel<T> pixel = disk_pixel<DeviceMath, T, Arc>(low_a, high_a, low_b, high_b, scale, a, b);
      const T weight = Arc ? pixel.arc + pixel.area * ratio : pixel.area;
      if (weight != T(0)) pixels.add(sums, weight, a, b);
      low_a = high_a;
    }
  }
}
template <typename T, typename Pixels>
__device__ __forceinline__ void add_edge(T* sums, T r, const DiskRow& row, bool slope, const Pixels& pixels) {
  if (slope) add_edge<true>(sums, r, row, pixels);
  else add_edge<false>(sums, r, row, pixels);
}

template <typename S, int CB>
__device__ __forceinline__ void load_rows(const DiskRuns<compute_t<S>, CB>& runs, const DiskImages<S, CB>& images, int top, int left,
                                          int count) {
  const int lane = static_cast<int>(threadIdx.x) % kDiskWidth, line = static_cast<int>(threadIdx.x) / kDiskWidth;
  for (int i = line; i < count; i += kDiskHeight) {
    const int row = images.plane.row(top + i);
    for (int j = lane; j < runs.pitch; j += kDiskWidth) {
      const int column = images.plane.column(left + j);
      const bool there = row >= 0 && column >= 0;
      const long long at = there ? images.plane.place(row, column) : 0;
#pragma unroll
      for (int k = 0; k < CB; ++k)
        runs.data[k * runs.channel_stride + i * runs.pitch + j] = there ? to_compute(images.data[k][at]) : compute_t<S>(0);
    }
  }
}

// sums = the sum of w(r, d) x, but for the factor 1 / (pi r^2), over the disk `own` of the target; `reach` is that of all disks of the
// tile.
template <typename S, int CB>
__device__ __forceinline__ void gather_disk(compute_t<S>* sums, compute_t<S> r, DiskRow own, bool slope, int reach,
                                            const DiskImages<S, CB>& images, const DiskTarget& target, compute_t<S>* memory,
                                            long long capacity) {
  using T = compute_t<S>;
  const DiskRuns<T, CB> runs(memory, reach, 0, capacity);
  const FarPixels<S, CB> far = {images, target.y(), target.x()};
  const int rows = kDiskHeight + 2 * reach;
  DiskRow row = own;
  row.move(0);
  const int last = row.inner;
  for (int first = 0; first < rows && runs.rows > 0; first += runs.rows) {
    const int count = smaller(runs.rows, rows - first);
    if (first > 0) __syncthreads();
    load_rows(runs, images, target.top - reach + first, target.left - reach, count);
    runs.build(count);
    const int centre = target.line + reach - first;  // its row among those that are there
    for (int dy = larger(-centre, -last); dy <= smaller(count - 1 - centre, last); ++dy) {
      row.move(magnitude(dy));
      runs.add(sums, centre + dy, target.lane + reach - row.inner, 2 * row.inner + 1);
    }
  }
  if (runs.rows == 0)  // not even one row has room
    for (int dy = -last; dy <= last; ++dy) {
      row.move(magnitude(dy));
      for (int dx = -row.inner; dx <= row.inner; ++dx) far.one(sums, T(1), dy, dx);
    }
  if (slope) {
#pragma unroll
    for (int k = 0; k < CB; ++k) sums[k] *= T(-2) / r;
  }
  if (runs.rows == rows) {
    const WindowPixels<T, CB> near = {runs.data + (target.line + reach) * runs.pitch + target.lane + reach, runs.pitch,
                                      runs.channel_stride};
    add_edge(sums, r, own, slope, near);
  } else {
    add_edge(sums, r, own, slope, far);
  }
}

}  // namespace

// out[b,c,p] = sum_q w(radius[p], p - q) x[b,c,q], or with dw/dr, at the pixels of the image and a margin. The image goes on by `padding`,
// the map by `around`. With a factor out[b,group,p] = the sum of factor[b,c,p] times that over the channels of the group.
template <typename S, int CB>
__global__ void __launch_bounds__(kDiskThreads)
    disk_gather(const S* x, long long x_b, long long x_c, long long x_h, long long x_w, const void* radius, long long r_b, long long r_c,
                long long r_h, long long r_w, long long half_map, const S* factor, long long f_b, long long f_c, long long f_h,
                long long f_w, void* out, long long wide, long long channels, long long height, long long width, long long margin,
                long long padding, long long around, long long slope, double most, long long capacity) {
  using T = compute_t<S>;
  int* const block = static_cast<int*>(shared_memory());
  const long long groups = (channels + CB - 1) / CB;
  const DiskTarget target(groups, height, width, margin);
  const DiskPlane plane = {x_h, x_w, static_cast<int>(height), static_cast<int>(width), static_cast<int>(padding)};
  const DiskImages<S, CB> images(x + target.image * x_b, x_c, target.group, channels, plane);
  const long long map = target.image * r_b + target.group * r_c;
  const DiskRadii<S> radii = {half_map ? static_cast<const void*>(static_cast<const S*>(radius) + map)
                                       : static_cast<const void*>(static_cast<const T*>(radius) + map),
                              {r_h, r_w, plane.height, plane.width, static_cast<int>(around)},
                              half_map != 0,
                              slope != 0,
                              static_cast<T>(most)};
  const T given = target.there ? radii.at_plane(target.y(), target.x()) : T(0);
  const bool plain = given > T(0);
  const T r = plain ? given : T(1);
  const DiskRow own = {plain ? inside_measure(r) : 0, plain ? touched_measure(r) : 0};
  const int reach = measured_reach(over_block<true>(own.touched, block));
  T sums[CB] = {};
  if (reach >= 0) gather_disk(sums, r, own, slope != 0, reach, images, target, reinterpret_cast<T*>(block + kDiskThreads), capacity);
  if (!target.there) return;

  const T scale = T(kOneOverPi) / (r * r);
  const int row = plane.row(target.y()), column = plane.column(target.x());
  T product = 0;
#pragma unroll
  for (int k = 0; k < CB; ++k) {
    T total = sums[k] * scale;
    if (!plain) {  // 0 or NaN
      total = given;
      if (given == T(0) && !slope && row >= 0 && column >= 0) total = to_compute(images.data[k][plane.place(row, column)]);
    }
    const long long channel = target.group * CB + k;
    if (channel >= channels) continue;
    if (factor) {
      const long long from = radii.plane.row(target.y()) * f_h + radii.plane.column(target.x()) * f_w;
      product += total * T(to_compute(factor[target.image * f_b + channel * f_c + from]));
    } else {
      store_result<S>(total, out, (target.image * channels + channel) * target.area + target.at, wide != 0);
    }
  }
  if (factor) static_cast<T*>(out)[(target.image * groups + target.group) * target.area + target.at] = product;
}

}  // namespace svconv
