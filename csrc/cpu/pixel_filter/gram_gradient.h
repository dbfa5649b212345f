// The gradient of the normal operator in the filters, df[d,p] = (WFg)[p] x[p+d] + (WFx)[p] g[p+d], in one read of the
// filters and one write of the gradient: a tile keeps the windows of both images and the responses of one map.
#pragma once

#include "cpu/pixel_filter/gather.h"

namespace svconv {
namespace {

// Multiplies the responses of a tile by the weights of map m; images stand one after the other.
template <typename X, typename T>
void weigh_tile(const View& weights, const Geometry& geo, const Tile& tile, Index m, T* responses, Index image_stride, T* row) {
  for (Index g = 0; g < geo.images; ++g) {
    const Index b = weights.shape[0] == 1 ? 0 : geo.image_batch(tile.set, g);
    const Index c = weights.shape[1] == 1 ? 0 : geo.image_channel(tile.set, g);
    const X* w = at<const X>(weights, b, c) + m * weights.stride[2];
    for (Index r = 0; r < tile.rows; ++r) {
      read_row(w + (tile.r0 + r) * weights.stride[3] + tile.c0 * weights.stride[4], weights.stride[4], row, tile.columns);
      T* response = responses + g * image_stride + r * tile.columns;
      for (Index k = 0; k < tile.columns; ++k) response[k] *= row[k];
    }
  }
}

template <typename X, typename F> Status gram_backward_filters(const PixelFilterCall& call) {
  using T = typename Compute<X>::type;
  const Geometry geo(call);
  const double bytes = geo.filter_count() * sizeof(F);
  if (bytes == 0) return Status::ok;
  if (geo.batch * geo.channels == 0) {
    memset(call.gradient.data, 0, static_cast<std::size_t>(bytes));
    return Status::ok;
  }
  advise_huge_pages(call.gradient.data, static_cast<std::size_t>(bytes));
  // Windows of x, g and x again: read from the second on they are (g, x), whose responses meet (x, g) in the product.
  Geometry both = geo, thrice = geo;
  both.images = 2 * geo.images, thrice.images = 3 * geo.images;
  Tiling tiling(thrice, sizeof(T));
  const bool direct = call.filters.stride[6] == 1;
  const Index tasks = tiling.tasks(geo), window_image = tiling.window_rows(geo) * tiling.pitch;
  const Index response_image = tiling.rows * tiling.columns;
  const RowBlocks blocks(geo, tiling.columns, sizeof(T));
  const Index packed_size = direct ? 0 : geo.kh * geo.kw * blocks.pitch;
  const Index per_thread = round_up(thrice.images * window_image + both.images * response_image + tiling.columns + packed_size, 16);
  const int team = team_size(call.threads, tasks, bytes);
  Scratch scratch(static_cast<std::size_t>(team * per_thread) * sizeof(T));
  if (!scratch.ok()) return Status::out_of_memory;
  const ProductTarget<F> target(call.gradient, geo, tiling);

#pragma omp parallel num_threads(team) if (team > 1)
  {
    T* window = scratch.as<T>() + thread_index() * per_thread;
    T* responses = window + thrice.images * window_image;
    T* row = responses + both.images * response_image;
    T* packed = row + tiling.columns;
    const Rows<const T> crossed{window + geo.images * window_image, window_image};
    const Rows<T> sums{responses, response_image};
#pragma omp for schedule(dynamic, 1)
    for (Index task = 0; task < tasks; ++task) {
      const Tile tile(geo, tiling, task);
      pack_tile<X>(call.image, geo, tile, window, tiling.pitch, window_image);
      pack_tile<X>(call.second, geo, tile, window + geo.images * window_image, tiling.pitch, window_image);
      memcpy(window + both.images * window_image, window, static_cast<std::size_t>(geo.images * window_image) * sizeof(T));
      const F* f = filters_at<const F>(call.filters, geo, tile.set);
      for (Index m = 0; m < geo.maps; ++m, f += call.filters.stride[2]) {
        if (direct) gather_tile(both, f, call.filters.stride, tile, crossed, tiling.pitch, sums);
        else gather_tile_packed(both, f, call.filters.stride, tile, crossed, tiling.pitch, sums, blocks, packed);
        if (call.weights.data)
          for (Index half = 0; half < 2; ++half)
            weigh_tile<X>(call.weights, geo, tile, m, responses + half * geo.images * response_image, response_image, row);
        product_tile(both, target, m, tile, Rows<const T>{responses, response_image}, Rows<const T>{window, window_image}, tiling.pitch);
      }
    }
    target.fence();
  }
  return Status::ok;
}

}  // namespace
}  // namespace svconv
