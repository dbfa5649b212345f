// The normal operator of per-pixel filters, sum_m F_m' W_m F_m x, with one read of the filters.
//
// A block owns a tile of pixels, one per thread. For each map a thread keeps the K x K values of its pixel's filter in registers, forms the
// response u = w sum f x from a tile of x with its halo, and adds f u to the tile of results with its halo, both in shared memory. There
// are K copies of the latter, one for each column of taps: in copy j a thread adds to its own column alone, so that no two threads meet at
// an address as long as all are at the same row of taps, and a barrier after each row of taps is enough. The copies, moved by their
// columns, add up to what the tile gives to each position of its halo. A second kernel sums the tiles that overlap at a position and folds
// the positions outside of the image to the pixels that stand there. All sums have a fixed order.
//
// Sides of images are below 2^30, so that positions are ints; what is multiplied by a stride is 64-bit.
#pragma once

#include "core/boundary.h"
#include "cuda/device.cuh"

namespace svconv {
namespace {

constexpr int kTall = 8, kWide = 32, kTilePixels = kTall * kWide;  // a warp is a row of the tile

// Blocks of the normal operator on a multiprocessor, as in svconv/backends/cuda/pixel_filter.py.
template <typename S, int K> struct Blocks {
  static constexpr int value = sizeof(S) == 8 ? (K == 7 ? 1 : K == 5 ? 2 : 3) : (K == 7 ? 3 : K == 5 ? 4 : 6);
};

// The elements of a tile with its halo.
template <int K> struct Halo {
  static constexpr int rows = kTall + K - 1, columns = kWide + K - 1, count = rows * columns;
  static constexpr int copies = K * rows * kWide;
};

// Copies x around a tile, continued by the padding, to `inside`, and sets the copies of the result to zero.
template <typename S, int K>
__device__ __forceinline__ void begin_plane(const S* x, long long x_h, long long x_w, int top, int left, int height, int width, int padding,
                                            compute_t<S>* inside, compute_t<S>* copies) {
#pragma unroll 1
  for (int i = static_cast<int>(threadIdx.x); i < Halo<K>::count; i += kTilePixels) {
    const int row = boundary_index_in(top - (K - 1) / 2 + i / Halo<K>::columns, height, padding);
    const int col = boundary_index_in(left - (K - 1) / 2 + i % Halo<K>::columns, width, padding);
    inside[i] = row < 0 || col < 0 ? compute_t<S>(0) : to_compute(x[row * x_h + col * x_w]);
  }
#pragma unroll 1
  for (int i = static_cast<int>(threadIdx.x); i < Halo<K>::copies; i += kTilePixels) copies[i] = 0;
}

// What the tile gives to each position of its halo: the copies, each moved by its column.
template <typename T, int K> __device__ __forceinline__ void end_plane(const T* copies, T* result) {
#pragma unroll 1
  for (int i = static_cast<int>(threadIdx.x); i < Halo<K>::count; i += kTilePixels) {
    const int row = i / Halo<K>::columns, col = i % Halo<K>::columns;
    T sum = 0;
#pragma unroll
    for (int j = 0; j < K; ++j)
      if (col >= j && col - j < kWide) sum += copies[(j * Halo<K>::rows + row) * kWide + col - j];
    result[i] = sum;
  }
}

}  // namespace

// partial[outer, inner, tile, kTall + K - 1, kWide + K - 1] of x [outer, inner, height, width]: one of the two leading axes is the batch,
// the other the channels. A block takes up to `together` planes along `inner`, more than one only where f_n is 0. weights may be nullptr.
template <typename S, typename F, int K>
__global__ void __launch_bounds__(kTilePixels, (Blocks<S, K>::value))
    pixel_filter_gram(const S* x, long long x_o, long long x_n, long long x_h, long long x_w, const F* filters, long long f_o,
                      long long f_n, long long f_m, long long f_i, long long f_j, long long f_h, long long f_w, const S* weights,
                      long long w_o, long long w_n, long long w_m, long long w_h, long long w_w, compute_t<S>* partial, long long outer,
                      long long inner, long long maps, long long height, long long width, long long together, long long padding) {
  using T = compute_t<S>;
  constexpr int kPlane = Halo<K>::count + Halo<K>::copies;
  T* const shared = static_cast<T*>(shared_memory());
  const unsigned across = static_cast<unsigned>((width + kWide - 1) / kWide);
  const unsigned tiles = static_cast<unsigned>((height + kTall - 1) / kTall) * across;
  const unsigned images = static_cast<unsigned>(outer), groups = static_cast<unsigned>((inner + together - 1) / together);
  const unsigned tile = blockIdx.x / images / groups;  // blocks that read the same filters are neighbours
  const int top = static_cast<int>(tile / across) * kTall, left = static_cast<int>(tile % across) * kWide;
  const long long o = blockIdx.x % images, n = blockIdx.x / images % groups * together;
  const int planes = static_cast<int>(least(together, inner - n));
  const int thread = static_cast<int>(threadIdx.x), row = top + thread / kWide, col = left + thread % kWide;
  const bool exists = row < height && col < width;

  x += o * x_o + n * x_n;
#pragma unroll 1
  for (int k = 0; k < planes; ++k, x += x_n) {
    T* const inside = shared + k * kPlane;
    begin_plane<S, K>(x, x_h, x_w, top, left, static_cast<int>(height), static_cast<int>(width), static_cast<int>(padding), inside,
                      inside + Halo<K>::count);
  }
  __syncthreads();

  filters += o * f_o + n * f_n + row * f_h + col * f_w;
  if (weights != nullptr) weights += o * w_o + n * w_n + row * w_h + col * w_w;
#pragma unroll 1
  for (int m = 0; m < static_cast<int>(maps); ++m) {
    T f[K * K];
    const F* tap = filters + m * f_m;
#pragma unroll
    for (int i = 0; i < K; ++i, tap += f_i - K * f_j)
#pragma unroll
      for (int j = 0; j < K; ++j, tap += f_j) f[i * K + j] = exists ? to_compute(*tap) : T(0);
#pragma unroll 1
    for (int k = 0; k < planes; ++k) {
      const T* const around = shared + k * kPlane + thread / kWide * Halo<K>::columns + thread % kWide;
      T u = 0;
#pragma unroll
      for (int i = 0; i < K; ++i)
#pragma unroll
        for (int j = 0; j < K; ++j) u += f[i * K + j] * around[i * Halo<K>::columns + j];
      if (weights != nullptr && exists) u *= to_compute(weights[m * w_m + k * w_n]);
      if (!exists) u = 0;  // zero filters would make NaN of an infinity of x
      T* const own = shared + k * kPlane + Halo<K>::count + thread;
#pragma unroll
      for (int i = 0; i < K; ++i) {
#pragma unroll
        for (int j = 0; j < K; ++j) own[(j * Halo<K>::rows + i) * kWide] += f[i * K + j] * u;
        __syncthreads();
      }
    }
  }

  partial += ((o * inner + n) * tiles + tile) * Halo<K>::count;
#pragma unroll 1
  for (int k = 0; k < planes; ++k)
    end_plane<T, K>(shared + k * kPlane + Halo<K>::count, partial + static_cast<long long>(k) * tiles * Halo<K>::count);
}

namespace {

// Candidate a of the positions along an axis where pixel q of n stands: q itself, then the positions that a window of `side` reaches
// before the first pixel and behind the last.
__device__ __forceinline__ bool stands(int q, int n, int side, int padding, int a, int* position) {
  const int top = (side - 1) / 2;
  *position = a == 0 ? q : a <= top ? -a : n + a - top - 1;
  return a == 0 || boundary_index_in(*position, n, padding) == q;
}

// How many candidates there can be: far from the edges a pixel stands at its own place only.
__device__ __forceinline__ int candidates(int q, int n, int side, int padding) {
  return padding == kZeros || (q >= side && q < n - side) ? 1 : side;
}

// The sum of the tiles that reach position (row, col).
template <typename T> __device__ __forceinline__ T at_position(const T* partial, int row, int col, int height, int width, int side) {
  const int down = (height + kTall - 1) / kTall, across = (width + kWide - 1) / kWide;
  const int rows = kTall + side - 1, columns = kWide + side - 1, y = row + (side - 1) / 2, x = col + (side - 1) / 2;
  T sum = 0;
#pragma unroll 1
  for (int i = (y < side ? 0 : y - side + 1) / kTall; i <= y / kTall && i < down; ++i)
#pragma unroll 1
    for (int j = (x < side ? 0 : x - side + 1) / kWide; j <= x / kWide && j < across; ++j)
      sum += partial[((static_cast<long long>(i) * across + j) * rows + (y - i * kTall)) * columns + (x - j * kWide)];
  return sum;
}

}  // namespace

// out [outer, inner, height, width], whose planes are contiguous, from partial; one block for each tile of each plane.
template <typename S>
__global__ void __launch_bounds__(kTilePixels, 5)
    pixel_filter_fold(const compute_t<S>* partial, S* out, long long out_o, long long out_n, long long inner, long long height,
                      long long width, long long side, long long padding) {
  const unsigned across = static_cast<unsigned>((width + kWide - 1) / kWide);
  const unsigned tiles = static_cast<unsigned>((height + kTall - 1) / kTall) * across;
  const unsigned tile = blockIdx.x % tiles, plane = blockIdx.x / tiles;
  const int thread = static_cast<int>(threadIdx.x);
  const int row = static_cast<int>(tile / across) * kTall + thread / kWide, col = static_cast<int>(tile % across) * kWide + thread % kWide;
  const int h = static_cast<int>(height), w = static_cast<int>(width), k = static_cast<int>(side), rule = static_cast<int>(padding);
  if (row >= h || col >= w) return;
  partial += static_cast<long long>(plane) * tiles * ((kTall + k - 1) * (kWide + k - 1));
  const int rows = candidates(row, h, k, rule), columns = candidates(col, w, k, rule);
  compute_t<S> sum = 0;
#pragma unroll 1
  for (int a = 0; a < rows; ++a) {
    int from_row, from_col;
    if (!stands(row, h, k, rule, a, &from_row)) continue;
#pragma unroll 1
    for (int b = 0; b < columns; ++b)
      if (stands(col, w, k, rule, b, &from_col)) sum += at_position(partial, from_row, from_col, h, w, k);
  }
  const unsigned count = static_cast<unsigned>(inner);
  from_compute(sum, out + plane / count * out_o + plane % count * out_n + row * width + col);
}

}  // namespace svconv
