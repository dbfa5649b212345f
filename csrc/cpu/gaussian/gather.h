// Gaussians of the pixels that are written: each reads the window around it, rows above and below at once.
#pragma once

#include "cpu/gaussian/windows.h"

namespace svconv {
namespace {

template <typename S> class GaussianGatherer {
 public:
  using T = typename Compute<S>::type;
  using V = typename Vector<T>::type;
  static constexpr Index kLanes = Vector<T>::lanes;

  GaussianGatherer(const RadialCall& call, const Geometry& geo) : call_(call), geo_(geo) {}

  // Blurs images first .. first + count of a map on a part of the plane: out[image][row][pitch]. 0: all is zero; -1: no memory.
  int blur(Index map, Index first, Index count, const Rect& rect, T* out, Index pitch, Index image_stride) {
    const Index columns = round_up(rect.columns, kLanes);
    T* const sigma = reinterpret_cast<T*>(sigma_.get(static_cast<std::size_t>(rect.rows * columns) * sizeof(T)));
    if (!sigma) return -1;
    const Index reach = read_sigma(map, rect, sigma, columns);
    if (!windows_.begin(columns, reach)) return -1;
    const Index wide = columns + 2 * reach, image = wide * (rect.rows + 2 * reach);
    T* const pixels = reinterpret_cast<T*>(pixels_.get(static_cast<std::size_t>(count * image + wide) * sizeof(T)));
    if (!pixels) return -1;
    T* const sums = pixels + count * image;
    const int rule = geo_.extended ? geo_.padding : int{kZeros};
    for (Index g = 0; g < count; ++g) {
      const Plane<S> plane(call_.image, geo_.image_batch(map, first + g), geo_.image_channel(map, first + g), rule);
      for (Index i = 0; i < rect.rows + 2 * reach; ++i) plane.read(rect.y - reach + i, rect.x - reach, wide, pixels + g * image + i * wide);
    }
    for (Index i = 0; i < rect.rows; ++i) {
      const int most = windows_.make(sigma + i * columns, columns, call_);
      for (Index g = 0; g < count; ++g)
        blur_row(pixels + g * image + (i + reach) * wide + reach, wide, most, columns, sums + reach, out + g * image_stride + i * pitch);
    }
    return 1;
  }

 private:
  Index read_sigma(Index map, const Rect& rect, T* sigma, Index pitch) const {
    const Plane<T> plane(call_.map, map / geo_.map_channels, map % geo_.map_channels, geo_.folded ? geo_.padding : int{kZeros});
    Index reach = 0;
    for (Index i = 0; i < rect.rows; ++i, sigma += pitch) {
      plane.read(rect.y + i, rect.x, rect.columns, sigma);
      GaussianKernel::clean(sigma, rect.columns, call_, call_.slope);
      for (Index j = rect.columns; j < pitch; ++j) sigma[j] = T(0);
      for (Index j = 0; j < rect.columns; ++j) reach = max_index(reach, GaussianKernel::reach(sigma[j], call_));
    }
    return reach;
  }

  // x: the row's first pixel; sums: room for a row with its margins.
  void blur_row(const T* x, Index wide, int reach, Index columns, T* sums, T* out) const {
    for (Index j = 0; j < columns; ++j) out[j] = T(0);
    for (int t = 0; t <= reach; ++t) {
      for (Index j = -reach; j < columns + reach; ++j) sums[j] = t ? x[j - t * wide] + x[j + t * wide] : x[j];
      for (Index j = 0; j < columns; j += kLanes) {
        const V e = load(windows_.row(t) + j);
        V row = load(sums + j), moment{};
        for (int k = 1; k <= reach; ++k) {
          const V both = weighted(load(windows_.row(k) + j), load(sums + j - k) + load(sums + j + k));
          row += both;
          if (call_.slope) moment += both * T(k * k);
        }
        if (call_.slope) row = row * (T(t) * T(t) - load(windows_.mean() + j)) + moment;
        store(load(out + j) + weighted(e, row), out + j);
      }
    }
    const V none{};
    for (Index j = 0; j < columns; j += kLanes) {
      const V scale = load(windows_.scale() + j);
      store(scale != none ? load(out + j) * scale : none, out + j);
    }
  }

  const RadialCall& call_;
  const Geometry& geo_;
  Windows<T> windows_;
  Workspace sigma_, pixels_;
};

}  // namespace
}  // namespace svconv
