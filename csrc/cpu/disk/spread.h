// Disks of the pixels that are read: each adds to the window around it. One thread writes one part of the plane and looks for every disk
// that reaches it; runs are added to tables of sums, which are taken apart when the part is complete.
#pragma once

#include "cpu/disk/planner.h"

namespace svconv {
namespace {

template <typename S> class Spreader {
 public:
  using T = typename Compute<S>::type;
  using V = typename Vector<T>::type;
  static constexpr Index kLanes = Vector<T>::lanes;

  Spreader(const RadialCall& call, const Geometry& geo, const Reaches<DiskKernel>& reaches) : call_(call), geo_(geo), reaches_(reaches) {}

  // As Gatherer::blur.
  int blur(Index map, Index first, Index count, const Rect& rect, T* out, Index pitch, Index image_stride) {
    const Index farthest = reaches_.largest(map);
    if (!list_chunks(rect, farthest)) return -1;
    int reach = -1;
    each_chunk(map, rect, farthest, [&](Index, const Chunk&, int most) { reach = most > reach ? most : reach; });
    if (reach < 0) return 0;
    if (!planner_.begin(reach, call_.slope)) return -1;
    const Index margin = 2 * reach + kLanes;
    tables_.top = top_table(reach), tables_.step = kStep;
    copies_ = reach <= kCopied ? kCopies : 1;
    tables_.pitch = round_up(rect.columns + 2 * margin, kLanes) + kLanes;
    tables_.stride = apart(rect.rows * tables_.pitch, sizeof(T));
    sums_stride_ = apart((tables_.top / kStep + copies_) * tables_.stride, sizeof(T)) + 64 / sizeof(T) * 7;
    const std::size_t bytes = static_cast<std::size_t>(count * sums_stride_ + kLanes) * sizeof(T);
    sums_ = reinterpret_cast<T*>(memory_.get(bytes));
    if (!sums_) return -1;
    memset(static_cast<void*>(sums_), 0, bytes);
    sums_ += (copies_ - 1) * tables_.stride;  // the first table stands behind its copies
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
    constexpr Index kColumns = Reaches<DiskKernel>::kColumns;
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
      chunk.distance = distance(chunk.begin, chunk.end, rect.x, rect.x + rect.columns);
    }
    return true;
  }

  // Calls one(row of the plane, chunk, largest reach) where a disk may reach the part.
  template <typename One> void each_chunk(Index map, const Rect& rect, Index farthest, const One& one) const {
    Index begin = rect.y - farthest, end = rect.y + rect.rows + farthest;
    if (!geo_.extended) begin = max_index(begin, 0), end = min_index(end, geo_.height);
    for (Index y = begin; y < end; ++y) {
      const Index above = distance(y, y + 1, rect.y, rect.y + rect.rows);
      const int* const blocks = reaches_.row(map, boundary_index(y, geo_.height, geo_.padding));
      if (blocks[reaches_.across()] < above) continue;
      for (Index k = 0; k < chunk_count_; ++k) {
        const Chunk& chunk = chunks_[k];
        int most = 0;
        for (Index block = chunk.low; block <= chunk.high; ++block) most = blocks[block] > most ? blocks[block] : most;
        if (most >= above && most >= chunk.distance) one(y, chunk, most);
      }
    }
  }

  Index distance(Index begin, Index end, Index low, Index high) const { return max_index(max_index(low - end, begin - high), -1) + 1; }

  void spread_vector(const Rect& rect, Index y, Index x, Index n, T* to) {
    T r[kLanes];
    const int rule = geo_.extended ? geo_.padding : int{kZeros};
    Plane<T>(call_.map, map_ / geo_.map_channels, map_ % geo_.map_channels, rule).read(y, x, n, r);
    clean(r, n, static_cast<T>(call_.most), call_.slope);
    for (Index lane = n; lane < kLanes; ++lane) r[lane] = r[n - 1] > T(0) ? r[n - 1] : T(0);
    const Index above = distance(y, y + 1, rect.y, rect.y + rect.rows), right = rect.x + rect.columns;
    const int reach = reach_of(largest_in(r, n));
    if (reach < max_index(above, distance(x, x + n, rect.x, right))) return;
    const Index copy = copies_ > 1 ? -tables_.stride : 0, low = rect.y - y, high = rect.y + rect.rows - 1 - y;
    V values[kImages];
    for (Index g = 0; g < count_; ++g) {
      const Index image = first_ + g;
      T lanes[kLanes] = {};
      Plane<S>(call_.image, geo_.image_batch(map_, image), geo_.image_channel(map_, image), rule).read(y, x, n, lanes);
      values[g] = load(lanes);
    }
    if (planner_.plan(r)) {
      const bool clip = low > -reach || high < reach;
      planner_.vector.list_runs(tables_, clip ? low : -kAllRows, clip ? high : kAllRows);
      if (clip) spread<true>(planner_.vector, values, count_, to, sums_stride_, copy, tables_.pitch, low, high);
      else spread<false>(planner_.vector, values, count_, to, sums_stride_, copy, tables_.pitch, low, high);
      return;
    }
    for (Index lane = 0; lane < n; ++lane) {
      if (reach_of(r[lane]) < max_index(above, distance(x + lane, x + lane + 1, rect.x, right))) continue;
      planner_.plan_one(r[lane]);
      planner_.single.list_runs(tables_, low, high);
      T one[kImages];
      for (Index g = 0; g < count_; ++g) one[g] = values[g][lane];
      spread<true>(planner_.single, one, count_, to + lane, sums_stride_, copy, tables_.pitch, low, high);
    }
  }

  void take_apart(T* row) const {
    for (int copy = 1; copy < copies_; ++copy) {
      const T* const __restrict more = row - copy * tables_.stride;
      T* const __restrict sums = row;
      for (Index j = 0; j < tables_.pitch; ++j) sums[j] += more[j];
    }
    for (int k = tables_.top / kStep; k > 0; --k) {
      const T* const __restrict sums = row + k * tables_.stride;
      T* const __restrict parts = row + (k - 1) * tables_.stride;
      const Index piece = Index{1} << (k - 1) * kStep, pieces = 1 << kStep;
      for (Index j = 0; j < min_index((pieces - 1) * piece, tables_.pitch); ++j)
        for (Index n = 0; n < pieces && n * piece <= j; ++n) parts[j] += sums[j - n * piece];
      for (Index j = (pieces - 1) * piece; j < tables_.pitch; ++j)
        parts[j] += (sums[j] + sums[j - piece]) + (sums[j - 2 * piece] + sums[j - 3 * piece]);
    }
  }

  static constexpr int kStep = 2;       // fewer tables than for reading: they are written, and are to stay in the caches
  static constexpr Index kCopied = 16;  // beyond this reach the copies cost more than they save

  const RadialCall& call_;
  const Geometry& geo_;
  const Reaches<DiskKernel>& reaches_;
  Planner<T> planner_;
  Workspace memory_, chunk_memory_;
  Tables tables_;
  Chunk* chunks_ = nullptr;
  int copies_ = 1;
  Index chunk_count_ = 0, sums_stride_ = 0, first_ = 0, count_ = 0, map_ = 0;
  T* sums_ = nullptr;
};

}  // namespace
}  // namespace svconv
