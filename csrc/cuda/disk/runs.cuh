// Rows of a tile's window in shared memory, with tables of the sums of 2, 4, 8, ... neighbours: a run of pixels is the sum of its binary
// pieces. Only pixels of the run enter, so that a star elsewhere in the row does not spoil the sum.
#pragma once

#include "cuda/disk/plane.cuh"

namespace svconv {
namespace {

template <typename T, int CB> struct DiskRuns {
  T* data;  // [channel][table][row][pitch]
  int pitch, tables, rows;
  int table_stride, channel_stride;

  // The tables of a window whose disks reach so far, as many rows of it as `capacity` numbers hold beside `beside` others for a pixel; no
  // rows if not even one fits.
  __device__ __forceinline__ DiskRuns(T* memory, int reach, int beside, long long capacity) {
    data = memory;
    pitch = kDiskWidth + 2 * reach;
    tables = 1;
    while ((1 << tables) <= 2 * reach - 1) ++tables;
    rows = static_cast<int>(least(capacity / (static_cast<long long>(pitch) * (CB * tables + beside)), kDiskHeight + 2 * reach));
    table_stride = rows * pitch;
    channel_stride = tables * table_stride;
  }
  __device__ __forceinline__ T* past() const { return data + CB * channel_stride; }

  // Makes the tables of the first `count` rows, which are there; all threads call it.
  __device__ __forceinline__ void build(int count) const {
    for (int table = 1; table < tables; ++table) {
      __syncthreads();
      const int half = 1 << (table - 1), columns = pitch - 2 * half + 1;
#pragma unroll 1
      for (int row = tile_line(); row < count; row += kDiskHeight)
#pragma unroll 1
        for (int column = tile_lane(); column < columns; column += kDiskWidth) {
          T* const to = data + table * table_stride + row * pitch + column;
#pragma unroll
          for (int k = 0; k < CB; ++k) {
            const T* const from = to + k * channel_stride - table_stride;
            to[k * channel_stride] = from[0] + from[half];
          }
        }
    }
    __syncthreads();
  }

  // sums += the run of `length` pixels that begins at a row and column.
  __device__ __forceinline__ void add(T* sums, int row, int column, int length) const {
    const T* at = data + (tables - 1) * table_stride + row * pitch + column;
#pragma unroll 1
    for (int table = tables - 1; table >= 0; --table, at -= table_stride)
      if (length >> table & 1) {
#pragma unroll
        for (int k = 0; k < CB; ++k) sums[k] += at[k * channel_stride];
        at += 1 << table;
      }
  }
};

}  // namespace
}  // namespace svconv
