// Disks of the pixels that are read: each adds to the window around it. One thread writes one part of the plane and looks for every disk
// that reaches it; runs are added to tables of sums, which are taken apart when the part is complete.
#pragma once

#include "cpu/disk/planner.h"

namespace svconv {
namespace {

template <typename S> class Spreader {
 public:
  using T = typename Compute<S>::type;
  static constexpr Index kLanes = Vector<T>::lanes;

  Spreader(const DiskCall& call, const Geometry& geo, const Reaches& reaches) : call_(call), geo_(geo), reaches_(reaches) {}

  // As Gatherer::blur.
  int blur(Index map, Index first, Index count, const Rect& rect, T* out, Index pitch, Index image_stride) {
    const Index farthest = reaches_.largest(map);
    if (!list_chunks(rect, farthest)) return -1;
    int reach = -1;
    each_chunk(map, rect, farthest, [&](Index, const Chunk&, int most) { reach = most > reach ? most : reach; });
    if (reach < 0) return 0;
    if (!planner_.begin(reach, call_.slope)) return -1;
    const Index margin = 2 * reach + kLanes;
    tables_.top = top_table(reach);
    tables_.pitch = round_up(rect.columns + 2 * margin, kLanes) + kLanes;
    tables_.stride = rect.rows * tables_.pitch;
    sums_stride_ = (tables_.top + 1) * tables_.stride;
    const std::size_t bytes = static_cast<std::size_t>(count * sums_stride_ + kLanes) * sizeof(T);
    sums_ = reinterpret_cast<T*>(memory_.get(bytes));
    if (!sums_) return -1;
    memset(static_cast<void*>(sums_), 0, bytes);
    first_ = first, count_ = count, map_ = map;
    each_chunk(map, rect, farthest, [&](Index y, const Chunk& chunk, int) {
      for (Index x = chunk.begin; x < chunk.end; x += kLanes)
        spread_vector(rect, y, x, min_index(kLanes, chunk.end - x), sums_ + (y - rect.y) * tables_.pitch + margin + x - rect.x);
    });
    for (Index g = 0; g < count; ++g) {
      for (Index i = 0; i < rect.rows; ++i) {
        T* const row = sums_ + g * sums_stride_ + i * tables_.pitch;
        take_apart(row);
        memcpy(out + g * image_stride + i * pitch, row + margin, static_cast<std::size_t>(rect.columns) * sizeof(T));
      }
    }
    return 1;
  }

 private:
  struct Chunk {
    Index begin, end;  // columns of the plane
    Index low, high;   // blocks of the map that they show
    Index distance;    // to the part that is written
  };

  bool list_chunks(const Rect& rect, Index farthest) {
    constexpr Index kColumns = Reaches::kColumns;
    Index begin = rect.x - farthest, end = rect.x + rect.columns + farthest;
    if (!geo_.extended) begin = max_index(begin, 0), end = min_index(end, geo_.width);
    const Index lowest = begin >= 0 ? begin / kColumns : -divide_up(-begin, kColumns);
    chunk_count_ = max_index(divide_up(end - lowest * kColumns, kColumns), 0);
    chunks_ = reinterpret_cast<Chunk*>(chunk_memory_.get(static_cast<std::size_t>(chunk_count_ + 1) * sizeof(Chunk)));
    if (!chunks_) return false;
    for (Index k = 0; k < chunk_count_; ++k) {
      Chunk& chunk = chunks_[k];
      const Index from = (lowest + k) * kColumns;
      chunk.begin = geo_.extended ? from : max_index(from, 0);
      chunk.end = geo_.extended ? from + kColumns : min_index(from + kColumns, geo_.width);
      chunk.low = reaches_.across(), chunk.high = 0;
      for (Index x = chunk.begin; x < chunk.end; ++x) {
        const Index block = boundary_index(x, geo_.width, geo_.padding) / kColumns;
        chunk.low = min_index(chunk.low, block), chunk.high = max_index(chunk.high, block);
        if (chunk.begin >= 0 && chunk.end <= geo_.width) break;
      }
      chunk.distance = max_index(max_index(rect.x - chunk.end + 1, chunk.begin - rect.x - rect.columns + 1), 0);
    }
    return true;
  }

  // Calls one(row of the plane, chunk, largest reach) where a disk may reach the part.
  template <typename One> void each_chunk(Index map, const Rect& rect, Index farthest, const One& one) const {
    Index begin = rect.y - farthest, end = rect.y + rect.rows + farthest;
    if (!geo_.extended) begin = max_index(begin, 0), end = min_index(end, geo_.height);
    for (Index y = begin; y < end; ++y) {
      const Index distance = max_index(max_index(rect.y - y, y - rect.y - rect.rows + 1), 0);
      const int* const blocks = reaches_.row(map, boundary_index(y, geo_.height, geo_.padding));
      if (blocks[reaches_.across()] < distance) continue;
      for (Index k = 0; k < chunk_count_; ++k) {
        const Chunk& chunk = chunks_[k];
        int most = 0;
        for (Index block = chunk.low; block <= chunk.high; ++block) most = blocks[block] > most ? blocks[block] : most;
        if (most >= distance && most >= chunk.distance) one(y, chunk, most);
      }
    }
  }

  void spread_vector(const Rect& rect, Index y, Index x, Index n, T* to) {
    T r[kLanes];
    const int rule = geo_.extended ? geo_.padding : int{kZeros};
    const Plane<T> radii(call_.radius, map_ / geo_.map_channels, map_ % geo_.map_channels, rule);
    radii.read(y, x, n, r);
    clean(r, n, static_cast<T>(call_.max_radius), call_.slope);
    for (Index lane = n; lane < kLanes; ++lane) r[lane] = r[n - 1] > T(0) ? r[n - 1] : T(0);
    const Index above = max_index(max_index(rect.y - y, y - rect.y - rect.rows + 1), 0);
    const auto reaches = [&](T radius, Index begin, Index end) {
      const Index beside = max_index(max_index(rect.x - end + 1, begin - rect.x - rect.columns + 1), 0);
      return reach_of(radius) >= max_index(above, beside);
    };
    T high = 0;
    for (Index lane = 0; lane < n; ++lane) high = r[lane] > high ? r[lane] : high;
    if (!reaches(high, x, x + n)) return;
    const Index low_row = rect.y - y, high_row = rect.y + rect.rows - 1 - y, reach = reach_of(high);
    const bool clip = low_row > -reach || high_row < reach;
    const bool together = planner_.plan(r);
    if (together) planner_.vector.list_runs(tables_, clip ? low_row : -kAllRows, clip ? high_row : kAllRows);
    T values[kLanes] = {};
    const auto load_values = [&](Index g) {
      const Index image = first_ + g;
      Plane<S>(call_.image, geo_.image_batch(map_, image), geo_.image_channel(map_, image), rule).read(y, x, n, values);
    };
    if (together) {
      for (Index g = 0; g < count_; ++g) {
        load_values(g);
        T* const at = to + g * sums_stride_;
        if (clip) spread<true>(planner_.vector, load(values), at, tables_.pitch, low_row, high_row);
        else spread<false>(planner_.vector, load(values), at, tables_.pitch, low_row, high_row);
      }
      return;
    }
    for (Index lane = 0; lane < n; ++lane) {
      if (!reaches(r[lane], x + lane, x + lane + 1)) continue;
      planner_.plan_one(r[lane]);
      planner_.single.list_runs(tables_, low_row, high_row);
      for (Index g = 0; g < count_; ++g) {
        load_values(g);
        spread<true>(planner_.single, values[lane], to + g * sums_stride_ + lane, tables_.pitch, low_row, high_row);
      }
    }
  }

  void take_apart(T* row) const {
    for (int level = tables_.top; level > 0; --level) {
      const Index half = Index{1} << (level - 1);
      const T* const sums = row + level * tables_.stride;
      T* const parts = row + (level - 1) * tables_.stride;
      for (Index j = 0; j < min_index(half, tables_.pitch); ++j) parts[j] += sums[j];
      for (Index j = half; j < tables_.pitch; ++j) parts[j] += sums[j] + sums[j - half];
    }
  }

  const DiskCall& call_;
  const Geometry& geo_;
  const Reaches& reaches_;
  Planner<T> planner_;
  Workspace memory_, chunk_memory_;
  Tables tables_;
  Chunk* chunks_ = nullptr;
  Index chunk_count_ = 0, sums_stride_ = 0, first_ = 0, count_ = 0, map_ = 0;
  T* sums_ = nullptr;
};

}  // namespace
}  // namespace svconv
