// Shapes of a call, the image continued beyond its edges, and where kernels are large.
#pragma once

#include "core/boundary.h"
#include "cpu/parallel.h"
#include "cpu/radial/call.h"
#include "cpu/radial/lanes.h"

namespace svconv {
namespace {

struct Geometry {
  Index batch, channels, height, width;
  Index map_batch, map_channels;  // 1 or batch, 1 or channels
  int padding;
  bool spreads;   // the disk belongs to the pixel that is read, not to the one that is written
  bool extended;  // reads beyond the image, which its padding continues
  bool folded;    // writes beyond the image, which goes back to where its padding took it from

  explicit Geometry(const RadialCall& call) {
    batch = call.image.shape[0], channels = call.image.shape[1], height = call.image.shape[2], width = call.image.shape[3];
    map_batch = call.map.shape[0], map_channels = call.map.shape[1];
    padding = call.padding;
    spreads = call.scatter != call.transposed;
    extended = !call.transposed && padding != kZeros;
    folded = call.transposed && padding != kZeros;
  }
  Index maps() const { return map_batch * map_channels; }
  Index images() const { return map_batch && map_channels ? (batch / map_batch) * (channels / map_channels) : 0; }  // that share a map
  Index image_batch(Index map, Index g) const { return map_batch == 1 ? g / (channels / map_channels) : map / map_channels; }
  Index image_channel(Index map, Index g) const { return map_channels == 1 ? g % channels : map % map_channels; }
};

// Pixels y..y+rows, x..x+columns of the plane that the image is part of.
struct Rect {
  Index y, x, rows, columns;
};

template <typename S> struct Plane {
  const S* data;
  Index row_stride, stride, height, width;
  int padding;

  Plane(const View& view, Index b, Index c, int rule) {
    data = static_cast<const S*>(view.data) + b * view.stride[0] + c * view.stride[1];
    row_stride = view.stride[2], stride = view.stride[3], height = view.shape[2], width = view.shape[3];
    padding = rule;
  }
  // Pixels (y, x .. x + n) of the plane.
  template <typename T> void read(Index y, Index x, Index n, T* out) const {
    const Index row = boundary_index(y, height, padding);
    const Index begin = row < 0 ? n : min_index(max_index(-x, 0), n), end = row < 0 ? n : max_index(min_index(width - x, n), begin);
    const S* const from = data + row * row_stride;
    const auto beyond = [&](Index i, Index last) {
      for (; i < last; ++i) {
        const Index column = row < 0 ? -1 : boundary_index(x + i, width, padding);
        out[i] = column < 0 ? T{0} : static_cast<T>(to_compute(from[column * stride]));
      }
    };
    beyond(0, begin);
    Index i = begin;
    if (stride == 1)
      for (; i + Vector<T>::lanes <= end; i += Vector<T>::lanes) store(load(from + x + i), out + i);
    for (; i < end; ++i) out[i] = to_compute(from[(x + i) * stride]);
    beyond(end, n);
  }
};

// The largest of 0 and those that are numbers.
template <typename T> SVCONV_INLINE T largest_in(const T* r, Index n) {
  typename Vector<T>::type most{};
  T high = 0;
  Index i = 0;
  for (; i + Vector<T>::lanes <= n; i += Vector<T>::lanes) {
    const auto v = load(r + i);
    most = v > most ? v : most;
  }
  if (i) high = Lanes<T>::largest(most);
  for (; i < n; ++i) high = r[i] > high ? r[i] : high;
  return high;
}

// Reach of the kernels in blocks of the maps. Kernel::clean brings a row of a map to the numbers that kernels are made of, Kernel::reach
// says how far the one of a number reaches.
template <typename Kernel> class Reaches {
 public:
  static constexpr Index kRows = 16, kColumns = 64;

  Reaches(const Geometry& geo)
      : down_(divide_up(geo.height, kRows)),
        across_(divide_up(geo.width, kColumns)),
        memory_(static_cast<std::size_t>(geo.maps() * down_ * (across_ + 1)) * sizeof(int)) {}
  bool ok() const { return memory_.ok(); }

  template <typename T> void fill(const RadialCall& call, Index map) {
    const Plane<T> plane(call.map, map / call.map.shape[1], map % call.map.shape[1], kZeros);
    int* const all = memory_.template as<int>() + map * down_ * (across_ + 1);
    T r[kColumns];
    for (Index i = 0; i < down_; ++i) {
      int* const row = all + i * (across_ + 1);
      for (Index j = 0; j <= across_; ++j) row[j] = 0;
      for (Index y = i * kRows; y < min_index((i + 1) * kRows, plane.height); ++y)
        for (Index j = 0; j < across_; ++j) {
          const Index n = min_index(kColumns, plane.width - j * kColumns);
          plane.read(y, j * kColumns, n, r);
          Kernel::clean(r, n, call, false);
          const int reach = Kernel::reach(largest_in(r, n), call);
          row[j] = reach > row[j] ? reach : row[j];
          row[across_] = reach > row[across_] ? reach : row[across_];
        }
    }
  }
  // Blocks of the rows that hold the image's row y; the one at `across` is the largest of all.
  const int* row(Index map, Index y) const { return const_cast<Scratch&>(memory_).as<int>() + (map * down_ + y / kRows) * (across_ + 1); }
  Index across() const { return across_; }
  int largest(Index map) const {
    int most = 0;
    for (Index i = 0; i < down_; ++i) most = row(map, i * kRows)[across_] > most ? row(map, i * kRows)[across_] : most;
    return most;
  }

 private:
  Index down_, across_;
  Scratch memory_;
};

// The largest number of the maps, as the kernels take them.
template <typename Kernel, typename T> double largest_of(const RadialCall& call) {
  const View& view = call.map;
  constexpr Index kPiece = 512;
  T r[kPiece], high = 0;
  for (Index map = 0; map < view.shape[0] * view.shape[1]; ++map) {
    const Plane<T> plane(view, map / view.shape[1], map % view.shape[1], kZeros);
    for (Index y = 0; y < plane.height; ++y)
      for (Index x = 0; x < plane.width; x += kPiece) {
        const Index n = min_index(kPiece, plane.width - x);
        plane.read(y, x, n, r);
        Kernel::clean(r, n, call, false);
        const T most = largest_in(r, n);
        high = most > high ? most : high;
      }
  }
  return high;
}

template <typename Kernel> double largest_of(const RadialCall& call) {
  return call.map.dtype == DType::f64 ? largest_of<Kernel, double>(call) : largest_of<Kernel, float>(call);
}

// Memory that grows and keeps nothing.
class Workspace {
 public:
  ~Workspace() { free(data_); }
  Workspace() = default;
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
  char* get(std::size_t bytes) {
    if (bytes <= size_) return static_cast<char*>(data_);
    free(data_);
    size_ = (bytes + 63) / 64 * 64 + 128;
    if (posix_memalign(&data_, 64, size_) != 0) data_ = nullptr, size_ = 0;
    return static_cast<char*>(data_);
  }

 private:
  void* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace
}  // namespace svconv
