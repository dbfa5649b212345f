// What is done at one vector of pixels (or at one pixel): which pixels around it are wholly inside all of its disks, and are summed by
// runs, and the areas of those on the edge. It is made once and serves every channel.
#pragma once

#include "core/disk.h"
#include "cpu/parallel.h"
#include "cpu/radial/lanes.h"

namespace svconv {
namespace {

constexpr double kPi = 3.14159265358979323846;
constexpr Index kAllRows = Index{1} << 30;
constexpr Index kApart = 13;  // cache lines
constexpr int kLevels = 7;    // tables of sums of 1, 2, ..., 64 neighbours

// How far the disk reaches from its pixel.
template <typename T> SVCONV_INLINE int reach_of(T r) {
  if (!(r > T(0.5))) return 0;
  const T back = r - T(0.5);
  const int whole = static_cast<int>(back);
  return whole + (static_cast<T>(whole) < back);
}

// Offsets (a, b), a >= b >= 0, by whole numbers, so that (a, b) and (b, a) are never told apart.
struct Octant {
  int *inner, *outer;  // for b: pixels up to a = inner[b] are wholly inside the smallest disk; those beyond outer[b] outside the largest
  Index inside = -1, outside = -1;  // 4 r^2, whole: what the arrays were made for
  int rows = 0, columns = 0;        // b < rows has an inner; b < columns an edge or inner with a >= b
  int edge = 0;                     // pixels between, a >= b

  void set(double low, double high) {
    const double squared = 4 * high * high;
    const Index small = static_cast<Index>(4 * low * low), floor = static_cast<Index>(squared);
    const Index large = floor + (static_cast<double>(floor) < squared);
    if (small == inside && large == outside) return;
    if (small != inside) set_inner(small, static_cast<int>(low) + 1);
    set_outer(large, reach_of(high));
    inside = small, outside = large;
  }

 private:
  void set_inner(Index small, int n) {
    rows = 0;
    for (;; ++rows) {
      const Index b = 2 * rows + 1;
      while (n >= 0 && (2 * Index{n} + 1) * (2 * Index{n} + 1) + b * b > small) --n;
      if (n < 0) break;
      inner[rows] = n;
    }
  }
  void set_outer(Index large, int a) {
    edge = columns = 0;
    for (int b = 0;; ++b) {
      const Index y = b ? 2 * b - 1 : 0;
      while (a > 0 && (2 * Index{a} - 1) * (2 * Index{a} - 1) + y * y >= large) --a;
      if (a < b) break;
      outer[b] = a, columns = b + 1;
      const int first = first_edge(b);
      if (first <= a) edge += a - first + 1;
    }
  }

 public:
  int first_edge(int b) const {
    const int beyond = b < rows ? inner[b] + 1 : 0;
    return beyond > b ? beyond : b;
  }
};

struct Place {
  int a, b;
};

// The layout of the tables that a plan's runs point into.
struct Tables {
  Index pitch = 0, stride = 0;  // between rows, between tables
  int top = 0, step = 1;        // table k has sums of 2^(k step) neighbours, k step <= top
};

// A stride of at least n numbers under which neighbours do not meet in the same sets of a cache, where they would wait for each other.
inline Index apart(Index n, std::size_t item) {
  const Index line = 64 / static_cast<Index>(item), page = 64 * line;
  return round_up(n + line - kApart * line, page) + kApart * line;
}

template <typename L> class Plan {
 public:
  using T = typename L::Number;
  using V = typename L::V;

  static Index capacity(Index reach) { return 28 * (reach + 2) + 64; }
  static std::size_t bytes(Index reach) {
    const Index runs = (2 * reach + 1) * (2 * reach / (1 << (kLevels - 1)) + 2 * kLevels);
    return static_cast<std::size_t>((capacity(reach) * 2 + reach + 8) * static_cast<Index>(sizeof(V) + sizeof(Place)) +
                                    runs * static_cast<Index>(sizeof(Index)) + (reach + 8) * 8 + 6 * 64);
  }

  // Memory of `bytes(reach)`, aligned to cache lines.
  void place(char* memory, Index reach) {
    const auto take = [&](Index count, std::size_t item) {
      char* const at = memory;
      memory += round_up(count * static_cast<Index>(item), 64);
      return at;
    };
    capacity_ = static_cast<int>(capacity(reach));
    h_ = reinterpret_cast<V*>(take(reach + 4, sizeof(V)));
    weights_ = reinterpret_cast<V*>(take(2 * capacity_, sizeof(V)));
    places_ = reinterpret_cast<Place*>(take(2 * capacity_, sizeof(Place)));
    octant.inner = reinterpret_cast<int*>(take(reach + 4, sizeof(int)));
    octant.outer = reinterpret_cast<int*>(take(reach + 4, sizeof(int)));
    runs = reinterpret_cast<Index*>(memory);
    octant.inside = octant.outside = -1;
    forget();
  }
  // Tables have another layout from here on.
  void forget() { listed_ = -2; }

  bool fits() const { return octant.edge <= capacity_; }

  // Weights of the edge; the octant is set. r: 0 for the identity, NaN for a radius without a disk.
  void weigh(V r, bool slope) {
    const V none{}, plain = r > none ? none + T(1) : none, used = r > none ? r : none + T(1);
    h_[0] = used;
    for (int k = 1; k < octant.outer[0] + 2; ++k) {
      const V squared = (used - (T(k) - T(0.5))) * (used + (T(k) - T(0.5)));
      h_[k] = L::sqrt(squared > none ? squared : none);
    }
    scale = plain != none ? T(1 / kPi) / (used * used) : none + T(1);
    inner = slope ? T(-2) / used : none + T(1);
    const V copy = none + T(slope ? 0 : 1);
    centre = r != r ? r : (plain != none ? none : copy);
    full = partial = axis = diagonal = 0;
    if (slope) each<true>(plain, used);
    else each<false>(plain, used);
  }

  // Runs over rows low..high of the disk as offsets into tables.
  void list_runs(const Tables& tables, Index low, Index high) {
    if (listed_ == octant.inside && low == low_ && high == high_) return;
    listed_ = octant.inside, low_ = low, high_ = high, run_count = 0;
    const Index last = octant.rows - 1;
    for (Index dy = max_index(low, -last); dy <= min_index(high, last); ++dy) {
      const int n = octant.inner[dy < 0 ? -dy : dy];
      Index at = dy * tables.pitch - n, left = 2 * n + 1;
      for (int k = tables.top / tables.step; k >= 0; --k)
        for (const Index piece = Index{1} << k * tables.step; left >= piece; left -= piece, at += piece)
          runs[run_count++] = k * tables.stride + at;
    }
  }

  // Eight images each: weight and place; those where every lane is inside a disk, and the others.
  const V* full_weights() const { return weights_; }
  const Place* full_places() const { return places_; }
  const V* partial_weights() const { return weights_ + capacity_ - partial; }
  const Place* partial_places() const { return places_ + capacity_ - partial; }
  // Four images each: (a, 0) and (a, a).
  const V* axis_weights() const { return weights_ + capacity_; }
  const Place* axis_places() const { return places_ + capacity_; }
  const V* diagonal_weights() const { return weights_ + 2 * capacity_ - diagonal; }
  const Place* diagonal_places() const { return places_ + 2 * capacity_ - diagonal; }

  Octant octant;
  Index* runs = nullptr;
  Index run_count = 0;
  int full = 0, partial = 0, axis = 0, diagonal = 0;
  V centre, inner, scale;  // weights are multiplied by the scale; inner: that of a pixel wholly inside

 private:
  template <bool Arc> void each(V plain, V used) {
    const V none{};
    const DiskScale<V> share = {T(0.0625) / used, T(0.25) / (used * used)};
    const V ratio = T(-2) / used;
    for (int b = 0; b < octant.columns; ++b)
      for (int a = octant.first_edge(b); a <= octant.outer[b]; ++a) {
        const DiskPixel<V> pixel = disk_pixel<L, T, Arc>(h_, share, a, b);
        V w = Arc ? pixel.arc + pixel.area * ratio : pixel.area;
        w = plain != none ? w : none;
        const int lanes = L::nonzero(w);
        if (a == 0) centre = plain != none ? w : centre;
        else if (!lanes) continue;
        else if (b == 0) add(w, a, b, capacity_ + axis++);
        else if (a == b) add(w, a, b, 2 * capacity_ - ++diagonal);
        else if (lanes == L::count) add(w, a, b, full++);
        else add(w, a, b, capacity_ - ++partial);
      }
  }
  void add(V w, int a, int b, int at) { weights_[at] = w, places_[at] = {a, b}; }

  V *h_ = nullptr, *weights_ = nullptr;
  Place* places_ = nullptr;
  int capacity_ = 0;
  Index listed_ = -2, low_ = 0, high_ = 0;
};

}  // namespace
}  // namespace svconv
