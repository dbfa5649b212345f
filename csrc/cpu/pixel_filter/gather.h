// The gather forms of per-pixel filtering, y = F x and the gradient in the filters: tiles with their window of the image.
#pragma once

#include "cpu/pixel_filter/geometry.h"

namespace svconv {
namespace {

struct Tiling {
  Index rows, columns, row_tiles, column_tiles, pitch;

  Tiling(const Geometry& geo, std::size_t item) {
    constexpr Index kPixels = 8192, kWindowBytes = 640 << 10, kFewTasks = 16;
    columns = min_index(geo.width, 4096);
    rows = min_index(geo.height, max_index(1, kPixels / columns));
    const auto window = [&] { return geo.images * (rows + geo.kh - 1) * (columns + geo.kw - 1) * static_cast<Index>(item); };
    while (window() > kWindowBytes && (rows > 1 || columns > 128)) {
      if (rows > 4 || columns <= 128) rows = divide_up(rows, 2);
      else columns = round_up(divide_up(columns, 2), 16);
    }
    while (rows > 1 && tasks(geo) < kFewTasks) rows = divide_up(rows, 2);
    pitch = round_up(columns + geo.kw - 1, 16);
    tasks(geo);
  }
  Index tasks(const Geometry& geo) {
    row_tiles = divide_up(geo.height, rows);
    column_tiles = divide_up(geo.width, columns);
    return geo.filter_sets() * row_tiles * column_tiles;
  }
  Index window_rows(const Geometry& geo) const { return rows + geo.kh - 1; }
};

struct Tile {
  Index set, r0, rows, c0, columns;
  // The sets of a tile follow each other: the filters of all may stand side by side at a pixel.
  Tile(const Geometry& geo, const Tiling& tiling, Index task) {
    set = task % geo.filter_sets();
    task /= geo.filter_sets();
    c0 = task % tiling.column_tiles * tiling.columns;
    r0 = task / tiling.column_tiles * tiling.rows;
    rows = min_index(tiling.rows, geo.height - r0);
    columns = min_index(tiling.columns, geo.width - c0);
  }
};

template <typename X, typename T>
void pack_tile(const View& image, const Geometry& geo, const Tile& tile, T* window, Index pitch, Index image_stride) {
  for (Index g = 0; g < geo.images; ++g)
    pack_window(image_at<const X>(image, geo, tile.set, g), image.stride[2], image.stride[3], geo, tile.r0, tile.rows, tile.c0,
                tile.columns, window + g * image_stride, pitch);
}

// One map of a tile where the filters' rows are contiguous: long runs down the rows, one block of taps at a time.
template <typename F, typename T>
void gather_tile(const Geometry& geo, const F* f, const Index* stride, const Tile& tile, const Rows<const T>& window, Index pitch,
                 const Rows<T>& sums) {
  each_tap_block(geo, [&](Index i, Index j, int count) {
    for (Index r = 0; r < tile.rows; ++r) {
      const F* row = f + i * stride[3] + j * stride[4] + (tile.r0 + r) * stride[5] + tile.c0;
      const Ahead below(row + stride[5], stride[4], 0, r + 1 < tile.rows ? tile.columns : 0);
      gather_taps(count, Taps<F>{row, stride[4]}, below, Rows<const T>{window.data + (r + i) * pitch + j, window.image_stride},
                  Rows<T>{sums.data + r * tile.columns, sums.image_stride}, geo.images, tile.columns, i + j == 0);
    }
  });
}

// The same from any strides: every piece of a row is brought into order in the cache first.
template <typename F, typename T>
void gather_tile_packed(const Geometry& geo, const F* f, const Index* stride, const Tile& tile, const Rows<const T>& window, Index pitch,
                        const Rows<T>& sums, const RowBlocks& blocks, T* packed) {
  for (Index r = 0; r < tile.rows; ++r)
    for (Index c = 0; c < tile.columns; c += blocks.width) {
      const Index n = min_index(blocks.width, tile.columns - c);
      pack_filters(f + (tile.r0 + r) * stride[5] + (tile.c0 + c) * stride[6], stride, geo, n, packed, blocks.pitch);
      gather_block(geo, static_cast<const T*>(packed), blocks.pitch, Rows<const T>{window.data + r * pitch + c, window.image_stride}, pitch,
                   Rows<T>{sums.data + r * tile.columns + c, sums.image_stride}, n);
    }
}

template <typename X, typename F> Status forward(const PixelFilterCall& call) {
  using T = typename Compute<X>::type;
  const Geometry geo(call);
  if (geo.empty()) return Status::ok;
  const bool direct = call.filters.stride[6] == 1;
  Tiling tiling(geo, sizeof(T));
  const Index tasks = tiling.tasks(geo), window_image = tiling.window_rows(geo) * tiling.pitch;
  const Index acc_image = tiling.rows * tiling.columns;
  const RowBlocks blocks(geo, tiling.columns, sizeof(T));
  const Index packed_size = direct ? 0 : geo.kh * geo.kw * blocks.pitch;
  const Index per_thread = round_up(geo.images * (window_image + acc_image) + packed_size, 16);
  const int team = team_size(call.threads, tasks, geo.filter_count() * sizeof(F));
  Scratch scratch(static_cast<std::size_t>(team * per_thread) * sizeof(T));
  if (!scratch.ok()) return Status::out_of_memory;

#pragma omp parallel for schedule(dynamic, 1) num_threads(team) if (team > 1)
  for (Index task = 0; task < tasks; ++task) {
    const Tile tile(geo, tiling, task);
    T* window = scratch.as<T>() + thread_index() * per_thread;
    T* acc = window + geo.images * window_image;
    T* packed = acc + geo.images * acc_image;
    pack_tile<X>(call.image, geo, tile, window, tiling.pitch, window_image);
    const F* f = filters_at<const F>(call.filters, geo, tile.set);
    for (Index m = 0; m < geo.maps; ++m, f += call.filters.stride[2]) {
      const Rows<const T> x{window, window_image};
      const Rows<T> sums{acc, acc_image};
      if (direct) gather_tile(geo, f, call.filters.stride, tile, x, tiling.pitch, sums);
      else gather_tile_packed(geo, f, call.filters.stride, tile, x, tiling.pitch, sums, blocks, packed);
      for (Index g = 0; g < geo.images; ++g) {
        X* y = image_at<X>(call.stack, geo, tile.set, g) + m * call.stack.stride[2] + tile.c0;
        for (Index r = 0; r < tile.rows; ++r)
          write_row(acc + g * acc_image + r * tile.columns, y + (tile.r0 + r) * geo.width, tile.columns);
      }
    }
  }
  return Status::ok;
}

// ---- gradient in the filters

// Where a gradient in the filters is written; past the caches if it is larger than they are and aligned.
template <typename F> struct ProductTarget {
  const View& view;
  bool streaming;
  ProductTarget(const View& gradient, const Geometry& geo, const Tiling& tiling) : view(gradient) {
    constexpr double kBeyondCaches = 16 << 20;
    streaming = geo.filter_count() * sizeof(F) > kBeyondCaches && reinterpret_cast<std::uintptr_t>(view.data) % kVectorBytes == 0 &&
                geo.width * sizeof(F) % kVectorBytes == 0 && tiling.columns * sizeof(F) % kVectorBytes == 0;
  }
  void fence() const {
    if (streaming) fence_streaming();
  }
};

// df[d, p] = sum over images of y[p] x[p + d], one map of a tile.
template <typename F, typename T>
void product_tile(const Geometry& geo, const ProductTarget<F>& target, Index m, const Tile& tile, const Rows<const T>& y,
                  const Rows<const T>& window, Index pitch) {
  const Index* stride = target.view.stride;
  F* df = filters_at<F>(target.view, geo, tile.set) + m * stride[2] + tile.c0;
  each_tap_block(geo, [&](Index i, Index j, int count) {
    for (Index r = 0; r < tile.rows; ++r) {
      F* row = df + i * stride[3] + j * stride[4] + (tile.r0 + r) * stride[5];
      const Rows<const T> response{y.data + r * tile.columns, y.image_stride};
      const Rows<const T> x{window.data + (r + i) * pitch + j, window.image_stride};
      if (target.streaming) product_taps<true>(count, row, stride[4], response, x, geo.images, tile.columns);
      else product_taps<false>(count, row, stride[4], response, x, geo.images, tile.columns);
    }
  });
}

template <typename X, typename F> Status backward_filters(const PixelFilterCall& call) {
  using T = typename Compute<X>::type;
  const Geometry geo(call);
  const double bytes = geo.filter_count() * sizeof(F);
  if (bytes == 0) return Status::ok;
  if (geo.batch * geo.channels == 0) {
    memset(call.filters.data, 0, static_cast<std::size_t>(bytes));
    return Status::ok;
  }
  advise_huge_pages(call.filters.data, static_cast<std::size_t>(bytes));
  Tiling tiling(geo, sizeof(T));
  const Index tasks = tiling.tasks(geo), window_image = tiling.window_rows(geo) * tiling.pitch;
  const Index y_image = tiling.rows * tiling.columns;
  const Index per_thread = round_up(geo.images * (window_image + y_image), 16);
  const int team = team_size(call.threads, tasks, bytes);
  Scratch scratch(static_cast<std::size_t>(team * per_thread) * sizeof(T));
  if (!scratch.ok()) return Status::out_of_memory;
  const ProductTarget<F> target(call.filters, geo, tiling);

#pragma omp parallel num_threads(team) if (team > 1)
  {
    T* window = scratch.as<T>() + thread_index() * per_thread;
    T* packed = window + geo.images * window_image;
#pragma omp for schedule(dynamic, 1)
    for (Index task = 0; task < tasks; ++task) {
      const Tile tile(geo, tiling, task);
      pack_tile<X>(call.image, geo, tile, window, tiling.pitch, window_image);
      for (Index m = 0; m < geo.maps; ++m) {
        for (Index g = 0; g < geo.images; ++g) {
          const X* y = image_at<const X>(call.stack, geo, tile.set, g) + m * call.stack.stride[2];
          for (Index r = 0; r < tile.rows; ++r)
            read_row(y + (tile.r0 + r) * call.stack.stride[3] + tile.c0 * call.stack.stride[4], call.stack.stride[4],
                     packed + g * y_image + r * tile.columns, tile.columns);
        }
        product_tile(geo, target, m, tile, Rows<const T>{packed, y_image}, Rows<const T>{window, window_image}, tiling.pitch);
      }
    }
    target.fence();
  }
  return Status::ok;
}

}  // namespace
}  // namespace svconv
