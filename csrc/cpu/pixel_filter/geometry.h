// What the forms of per-pixel filtering share: shapes, the continued image, filters brought into order.
#pragma once

#include "core/boundary.h"
#include "cpu/parallel.h"
#include "cpu/pixel_filter/pixel_filter.h"
#include "cpu/pixel_filter/rows.h"
#include "cpu/transpose.h"

namespace svconv {
namespace {

struct Geometry {
  Index batch, channels, maps, kh, kw, height, width;
  Index filter_batch, filter_channels;  // 1 or batch, 1 or channels
  Index cy, cx;                         // the tap that meets the pixel itself
  Index images;                         // images that share one set of filters
  int padding;

  Geometry(const PixelFilterCall& call) {
    const Index* f = call.filters.shape;
    batch = call.image.shape[0], channels = call.image.shape[1];
    filter_batch = f[0], filter_channels = f[1];
    maps = f[2], kh = f[3], kw = f[4], height = f[5], width = f[6];
    cy = (kh - 1) / 2, cx = (kw - 1) / 2;
    images = (batch / max_index(1, filter_batch)) * (channels / max_index(1, filter_channels));
    padding = call.padding;
  }
  Index filter_sets() const { return filter_batch * filter_channels; }
  bool empty() const { return batch * channels * maps == 0; }
  double filter_count() const { return 1.0 * filter_sets() * maps * kh * kw * height * width; }

  // The g-th image that uses a set of filters.
  Index image_batch(Index set, Index g) const { return filter_batch == 1 ? g / (channels / filter_channels) : set / filter_channels; }
  Index image_channel(Index set, Index g) const { return filter_channels == 1 ? g % channels : set % filter_channels; }
};

template <typename S> S* at(const View& view, Index i0, Index i1) {
  return static_cast<S*>(view.data) + i0 * view.stride[0] + i1 * view.stride[1];
}

template <typename S> S* image_at(const View& view, const Geometry& geo, Index set, Index g) {
  return at<S>(view, geo.image_batch(set, g), geo.image_channel(set, g));
}

template <typename S> S* filters_at(const View& view, const Geometry& geo, Index set) {
  return at<S>(view, set / geo.filter_channels, set % geo.filter_channels);
}

// Rows [r0 - cy, r0 + rows + kh - 1 - cy) and columns likewise of one image, continued by the padding.
template <typename X, typename T>
void pack_window(const X* x, Index row_stride, Index stride, const Geometry& geo, Index r0, Index rows, Index c0, Index n, T* out,
                 Index pitch) {
  const Index begin = c0 - geo.cx, end = c0 + n + geo.kw - 1 - geo.cx;
  const Index inner_begin = min_index(max_index(begin, 0), end), inner_end = max_index(min_index(end, geo.width), inner_begin);
  for (Index r = 0; r < rows + geo.kh - 1; ++r, out += pitch) {
    const Index row = boundary_index(r0 - geo.cy + r, geo.height, geo.padding);
    if (row < 0) {
      memset(out, 0, static_cast<std::size_t>(end - begin) * sizeof(T));
      continue;
    }
    const X* source = x + row * row_stride;
    const auto continued = [&](Index from, Index to) {
      for (Index c = from; c < to; ++c) {
        const Index column = boundary_index(c, geo.width, geo.padding);
        out[c - begin] = column < 0 ? T{0} : to_compute(source[column * stride]);
      }
    };
    continued(begin, inner_begin);
    read_row(source + inner_begin * stride, stride, out + (inner_begin - begin), inner_end - inner_begin);
    continued(inner_end, end);
  }
}

// Taps of n pixels of a row, where the taps of a pixel stand side by side, to [taps][pitch]: squares of pixels and taps are transposed.
// The last square begins early, so that it is whole; for few taps a square is not worth it.
template <typename F, typename T> void pack_channels_last(const F* f, Index pixel, Index taps, Index n, T* out, Index pitch) {
  constexpr Index L = Vector<T>::lanes, kFew = L / 4;
  const Index few = taps % L <= kFew || taps < L ? taps % L : 0, whole = taps - few;
  for (Index c = 0; c < n; c += L) {
    const Index count = min_index(L, n - c);
    for (Index done = 0; done < whole; done += L) {
      const Index tap = min_index(done, whole - L);
      typename Vector<T>::type square[L];
      for (Index r = 0; r < L; ++r) square[r] = load(f + (c + min_index(r, count - 1)) * pixel + tap);
      transpose(square);
      for (Index t = 0; t < L; ++t) store(square[t], out + (tap + t) * pitch + c);
    }
    for (Index tap = whole; tap < taps; ++tap)
      for (Index r = 0; r < count; ++r) out[tap * pitch + c + r] = to_compute(f[(c + r) * pixel + tap]);
  }
}

// All taps of n pixels of a row from any strides to [kh * kw][pitch]; up to a vector more than n is written.
template <typename F, typename T> void pack_filters(const F* f, const Index* stride, const Geometry& geo, Index n, T* out, Index pitch) {
  if (stride[4] == 1 && stride[3] == geo.kw) return pack_channels_last(f, stride[6], geo.kh * geo.kw, n, out, pitch);
  constexpr Index kPixels = 16;
  for (Index c0 = 0; c0 < n; c0 += kPixels) {
    const Index count = min_index(kPixels, n - c0);
    for (Index i = 0; i < geo.kh; ++i)
      for (Index j = 0; j < geo.kw; ++j) {
        const F* source = f + i * stride[3] + j * stride[4] + c0 * stride[6];
        T* target = out + (i * geo.kw + j) * pitch + c0;
        for (Index c = 0; c < count; ++c) target[c] = to_compute(source[c * stride[6]]);
      }
  }
}

// ---- blocks: all taps of a piece of a row, kept in the level-2 cache between their uses

struct RowBlocks {
  Index count, width, pitch;
  RowBlocks(const Geometry& geo, Index columns, std::size_t item) {
    constexpr Index kBlockBytes = 256 << 10;
    const Index fitting = max_index(64, kBlockBytes / static_cast<Index>(item) / (geo.kh * geo.kw) / 16 * 16);
    count = divide_up(columns, fitting);
    width = min_index(columns, round_up(divide_up(columns, count), 16));
    count = divide_up(columns, width);
    pitch = round_up(width, 16) + 16;  // not a power of two: rows would share cache sets
  }
};

// Calls one(taps of row i, columns [j, j + width)) for every block of taps.
template <typename Function> void each_tap_block(const Geometry& geo, const Function& one) {
  const TapBlocks blocks(geo.kw);
  for (Index i = 0; i < geo.kh; ++i)
    for (Index k = 0; k < blocks.count(); ++k) one(i, blocks.begin(k), blocks.width(k));
}

// sums[g][c] = sum over all taps of packed[tap][c] x[g][c + tap].
template <typename T>
void gather_block(const Geometry& geo, const T* packed, Index packed_pitch, const Rows<const T>& x, Index x_pitch, const Rows<T>& sums,
                  Index n) {
  each_tap_block(geo, [&](Index i, Index j, int count) {
    gather_taps(count, Taps<T>{packed + (i * geo.kw + j) * packed_pitch, packed_pitch}, Ahead{},
                Rows<const T>{x.data + i * x_pitch + j, x.image_stride}, sums, geo.images, n, i + j == 0);
  });
}

}  // namespace
}  // namespace svconv
