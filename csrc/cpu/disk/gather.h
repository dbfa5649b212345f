// Disks of the pixels that are written: each reads the window around it.
#pragma once

#include "cpu/disk/planner.h"

namespace svconv {
namespace {

template <typename S> class Gatherer {
 public:
  using T = typename Compute<S>::type;
  static constexpr Index kLanes = Vector<T>::lanes;

  Gatherer(const RadialCall& call, const Geometry& geo) : call_(call), geo_(geo) {}

  // Blurs images first .. first + count of a map on a part of the plane: out[image][row][pitch]. 0: all is zero; -1: no memory.
  int blur(Index map, Index first, Index count, const Rect& rect, T* out, Index pitch, Index image_stride) {
    const Index columns = round_up(rect.columns, kLanes);
    T* const radii = reinterpret_cast<T*>(radii_.get(static_cast<std::size_t>(rect.rows * columns) * sizeof(T)));
    if (!radii) return -1;
    const int reach = read_radii(map, rect, radii, columns);
    if (reach < 0) return 0;
    if (!planner_.begin(reach, call_.slope)) return -1;
    Tables tables;
    tables.top = top_table(reach);
    tables.pitch = columns + 2 * reach + kLanes;
    tables.stride = apart((rect.rows + 2 * reach) * tables.pitch, sizeof(T));
    const Index window = apart((tables.top + 1) * tables.stride, sizeof(T)) + 64 / sizeof(T) * 7;
    T* const windows = reinterpret_cast<T*>(windows_.get(static_cast<std::size_t>(count * window + (1 << kLevels) + kLanes) * sizeof(T)));
    if (!windows) return -1;
    for (Index g = 0; g < count; ++g) read_window(map, first + g, rect, reach, tables, windows + g * window);
    for (Index i = 0; i < rect.rows; ++i)
      for (Index j = 0; j < rect.columns; j += kLanes) {
        const Index at = (i + reach) * tables.pitch + j + reach;
        blur_vector(radii + i * columns + j, tables, windows + at, window, count, out + i * pitch + j, image_stride);
      }
    return 1;
  }

 private:
  // The largest reach, -1 if no disk holds a pixel that is read.
  int read_radii(Index map, const Rect& rect, T* radii, Index pitch) const {
    const Plane<T> plane(call_.map, map / geo_.map_channels, map % geo_.map_channels, geo_.folded ? geo_.padding : int{kZeros});
    int most = -1;
    for (Index i = 0; i < rect.rows; ++i, radii += pitch) {
      const Index y = rect.y + i;
      plane.read(y, rect.x, rect.columns, radii);
      clean(radii, rect.columns, static_cast<T>(call_.most), call_.slope);
      if (y >= 0 && y < geo_.height && rect.x >= 0 && rect.x + rect.columns <= geo_.width) {
        most = static_cast<int>(max_index(most, reach_of(largest_in(radii, rect.columns))));
      } else {
        const Index above = max_index(max_index(-y, y - geo_.height + 1), 0);
        for (Index j = 0; j < rect.columns; ++j) {
          const int reach = reach_of(radii[j]);
          const Index x = rect.x + j;
          if (max_index(above, max_index(-x, x - geo_.width + 1)) > reach) radii[j] = 0;
          else most = reach > most ? reach : most;
        }
      }
      const T last = radii[rect.columns - 1];
      for (Index j = rect.columns; j < pitch; ++j) radii[j] = last;
    }
    return most;
  }

  void read_window(Index map, Index image, const Rect& rect, Index reach, const Tables& tables, T* to) const {
    const Plane<S> plane(call_.image, geo_.image_batch(map, image), geo_.image_channel(map, image),
                         geo_.extended ? geo_.padding : int{kZeros});
    const Index columns = rect.columns + 2 * reach;
    for (Index i = 0; i < rect.rows + 2 * reach; ++i) {
      T* const row = to + i * tables.pitch;
      plane.read(rect.y - reach + i, rect.x - reach, columns, row);
      for (Index j = columns; j < tables.pitch; ++j) row[j] = 0;
      for (int level = 1; level <= tables.top; ++level) {
        const Index half = Index{1} << (level - 1);
        const T* const __restrict from = row + (level - 1) * tables.stride;
        T* const __restrict sums = row + level * tables.stride;
        for (Index j = 0; j < tables.pitch - half; ++j) sums[j] = from[j] + from[j + half];
        for (Index j = tables.pitch - half; j < tables.pitch; ++j) sums[j] = 0;
      }
    }
  }

  void blur_vector(const T* r, const Tables& tables, const T* x, Index window, Index count, T* out, Index image_stride) {
    if (planner_.plan(r)) {
      planner_.vector.list_runs(tables, -kAllRows, kAllRows);
      for (Index g = 0; g < count; ++g) store(gather(planner_.vector, x + g * window, tables.pitch), out + g * image_stride);
      return;
    }
    for (Index lane = 0; lane < kLanes; ++lane) {
      planner_.plan_one(r[lane]);
      planner_.single.list_runs(tables, -kAllRows, kAllRows);
      for (Index g = 0; g < count; ++g) out[g * image_stride + lane] = gather(planner_.single, x + g * window + lane, tables.pitch);
    }
  }

  const RadialCall& call_;
  const Geometry& geo_;
  Planner<T> planner_;
  Workspace radii_, windows_;
};

}  // namespace
}  // namespace svconv
