// Gaussians of the pixels that are read, row by row: a row of sources, weighed for the rows above and below, is summed under its column
// factors and added there. A part of the plane is written by one thread, in the order of the sources' rows.
#pragma once

#include "cpu/gaussian/windows.h"

namespace svconv {
namespace {

template <typename S> class GaussianSpreader {
 public:
  using T = typename Compute<S>::type;
  using V = typename Vector<T>::type;
  static constexpr Index kLanes = Vector<T>::lanes;

  GaussianSpreader(const RadialCall& call, const Geometry& geo, const Reaches<GaussianKernel>& reaches)
      : call_(call), geo_(geo), reaches_(reaches) {}

  // As GaussianGatherer::blur.
  int blur(Index map, Index first, Index count, const Rect& rect, T* out, Index pitch, Index image_stride) {
    const Index farthest = reaches_.largest(map), columns = round_up(rect.columns, kLanes), wide = columns + 2 * farthest;
    if (!windows_.begin(wide, farthest)) return -1;
    // sigma, a row of sources, that row weighed (twice for slopes): each with a vector behind it
    T* const rows = reinterpret_cast<T*>(rows_.get(static_cast<std::size_t>(4 * wide + count * columns * rect.rows) * sizeof(T)));
    if (!rows) return -1;
    T* const sums = rows + 4 * wide;
    memset(static_cast<void*>(sums), 0, static_cast<std::size_t>(count * columns * rect.rows) * sizeof(T));
    const int rule = geo_.extended ? geo_.padding : int{kZeros};
    const Plane<T> sigmas(call_.map, map / geo_.map_channels, map % geo_.map_channels, rule);
    Index y = rect.y - farthest, end = rect.y + rect.rows + farthest;
    if (!geo_.extended) y = max_index(y, 0), end = min_index(end, geo_.height);
    for (; y < end; ++y) {
      const Index away = max_index(rect.y - y, y - (rect.y + rect.rows - 1));
      sigmas.read(y, rect.x - farthest, wide, rows);
      GaussianKernel::clean(rows, wide, call_, call_.slope);
      if (reach_of_row(rows, wide) < away) continue;
      const int reach = windows_.make(rows, wide, call_);
      for (Index g = 0; g < count; ++g) {
        const Plane<S> plane(call_.image, geo_.image_batch(map, first + g), geo_.image_channel(map, first + g), rule);
        plane.read(y, rect.x - farthest, wide, rows + wide);
        for (int t = 0; t <= reach; ++t) {
          const bool above = y - t >= rect.y && y - t < rect.y + rect.rows, below = t && y + t >= rect.y && y + t < rect.y + rect.rows;
          if (!above && !below) continue;
          weigh(rows + wide, wide, t, rows + 2 * wide);
          T* const to = sums + (g * rect.rows - rect.y) * columns;
          add_row(rows + 2 * wide + farthest, wide, farthest, reach, columns, above ? to + (y - t) * columns : nullptr,
                  below ? to + (y + t) * columns : nullptr);
        }
      }
    }
    for (Index g = 0; g < count; ++g)
      for (Index i = 0; i < rect.rows; ++i)
        memcpy(out + g * image_stride + i * pitch, sums + (g * rect.rows + i) * columns,
               static_cast<std::size_t>(rect.columns) * sizeof(T));
    return 1;
  }

 private:
  Index reach_of_row(const T* sigma, Index n) const { return GaussianKernel::reach(largest_in(sigma, n), call_); }

  // The sources times what their weights have of row t; of slopes, a second row that goes with the squares of the columns.
  void weigh(const T* x, Index n, int t, T* to) const {
    for (Index j = 0; j < n; ++j) {
      const T e = windows_.row(t)[j], scale = windows_.scale()[j], value = e != T(0) && scale != T(0) ? e * scale * x[j] : T(0);
      to[j] = call_.slope ? value * (T(t) * T(t) - windows_.mean()[j]) : value;
      if (call_.slope) to[n + j] = value;
    }
  }

  void add_row(const T* u, Index wide, Index margin, int reach, Index columns, T* above, T* below) const {
    for (Index j = 0; j < columns; j += kLanes) {
      V sum = load(u + j);
      for (int k = 1; k <= reach; ++k) {
        const T* const e = windows_.row(k) + margin + j;
        V left = load(u + j - k), right = load(u + j + k);
        if (call_.slope) left += load(u + wide + j - k) * T(k * k), right += load(u + wide + j + k) * T(k * k);
        sum += weighted(load(e - k), left) + weighted(load(e + k), right);
      }
      if (above) store(load(above + j) + sum, above + j);
      if (below) store(load(below + j) + sum, below + j);
    }
  }

  const RadialCall& call_;
  const Geometry& geo_;
  const Reaches<GaussianKernel>& reaches_;
  Windows<T> windows_;
  Workspace rows_;
};

}  // namespace
}  // namespace svconv
