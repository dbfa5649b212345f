// Rows of a tile's window in shared memory, with tables of the sums of 3, 4, 8, 16, ... neighbours. A run has an odd length: it is one
// pixel or three, and binary pieces. Only pixels of the run enter, so that a star elsewhere in the row does not spoil the sum.
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
    while ((1 << tables) < 2 * reach) ++tables;
    rows = static_cast<int>(least(capacity / (static_cast<long long>(pitch) * (CB * tables + beside)), kDiskHeight + 2 * reach));
    table_stride = rows * pitch;
    channel_stride = tables * table_stride;
  }
  __device__ __forceinline__ T* past() const { return data + CB * channel_stride; }

  // Makes the tables of the first `count` rows, which are there; all threads call it.
  __device__ __forceinline__ void build(int count) const {
    __syncthreads();
    if (tables > 1) {
      each(count, pitch - 2, [&](T* x, int column) {
        const T three = x[0] + x[1] + x[2];
        x[table_stride] = three;
        if (tables > 2 && column < pitch - 3) x[2 * table_stride] = three + x[3];
      });
      __syncthreads();
    }
#pragma unroll 1
    for (int table = 3; table < tables; ++table) {
      const int half = 1 << (table - 1), from = (table - 1) * table_stride;
      each(count, pitch - 2 * half + 1, [&](T* x, int) { x[from + table_stride] = x[from] + x[from + half]; });
      __syncthreads();
    }
  }

  // sums += the run of `length` pixels, an odd number, that begins at a place of a row, and the one `apart` numbers from there unless that
  // is 0.
  __device__ __forceinline__ void add(T* sums, int place, int apart, int length) const {
    const T* at = data + place;
    piece(sums, at + (length & 2 ? table_stride : 0), apart);
    at += length & 2 ? 3 : 1;
#pragma unroll 1
    for (int table = 2; length >> table; ++table)
      if (length >> table & 1) {
        piece(sums, at + table * table_stride, apart);
        at += 1 << table;
      }
  }

 private:
  __device__ __forceinline__ static void add_to(T* sums, const T* at, int channel_stride) {
#pragma unroll
    for (int k = 0; k < CB; ++k) sums[k] += at[k * channel_stride];
  }
  __device__ __forceinline__ void piece(T* sums, const T* at, int apart) const {
    add_to(sums, at, channel_stride);
    if (apart) add_to(sums, at + apart, channel_stride);
  }
  // Calls one(place, column) for the first columns of all channels.
  template <typename One> __device__ __forceinline__ void each(int count, int columns, const One& one) const {
#pragma unroll 1
    for (int row = tile_line(); row < count; row += kDiskHeight)
#pragma unroll 1
      for (int column = tile_lane(); column < columns; column += kDiskWidth) {
#pragma unroll
        for (int k = 0; k < CB; ++k) one(data + k * channel_stride + row * pitch + column, column);
      }
  }
};

}  // namespace
}  // namespace svconv
