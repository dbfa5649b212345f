// The factors of Gaussians of a row of pixels: e(t) = exp(-t^2 / (2 sigma^2)) up to the half width of each pixel's own window, 0 beyond.
#pragma once

#include "cpu/radial/geometry.h"

namespace svconv {
namespace {

struct GaussianKernel {
  // 0 where the pixel is copied (or, of a slope, where sigma does not count), NaN where sigma is not finite.
  template <typename T> static void clean(T* sigma, Index n, const RadialCall& call, bool slope) {
    for (Index i = 0; i < n; ++i) {
      T s = sigma[i];
      if (s > call.most) s = slope ? T(0) : static_cast<T>(call.most);
      if (!(s - s == T(0))) s = static_cast<T>(__builtin_nan(""));
      else if (!(half_width(s, call) >= T(1))) s = T(0);
      sigma[i] = s;
    }
  }
  // To be rounded down; in the precision of the map, as the reference computes it. Before the map is checked it may be beyond every int.
  template <typename T> static SVCONV_INLINE T half_width(T sigma, const RadialCall& call) {
    return static_cast<T>(call.truncate) * sigma + T(0.5);
  }
  template <typename T> static SVCONV_INLINE int reach(T sigma, const RadialCall& call) {
    const T wide = half_width(sigma, call);
    return wide >= T(1) ? static_cast<int>(wide) : 0;
  }
};

template <typename T> class Windows {
 public:
  // Room for n pixels of that reach; false: no memory.
  bool begin(Index n, Index reach) {
    pitch = n;
    const std::size_t bytes = static_cast<std::size_t>(n * (reach + 1 + 2)) * sizeof(T);
    data_ = reinterpret_cast<T*>(memory_.get(bytes));
    return data_ != nullptr;
  }

  // Of sigmas that have been cleaned; the largest reach among them.
  int make(const T* sigma, Index n, const RadialCall& call) {
    int most = 0;
    for (Index i = 0; i < n; ++i) most = max_index(most, GaussianKernel::reach(sigma[i], call));
    for (int t = 0; t <= most; ++t) memset(static_cast<void*>(row(t)), 0, static_cast<std::size_t>(n) * sizeof(T));
    for (Index i = 0; i < n; ++i) {
      if (i && memcmp(sigma + i, sigma + i - 1, sizeof(T)) == 0) {
        for (int t = 0; t <= most; ++t) row(t)[i] = row(t)[i - 1];
        scale()[i] = scale()[i - 1], mean()[i] = mean()[i - 1];
      } else {
        one(sigma[i], i, call);
      }
    }
    return most;
  }

  T* row(Index t) const { return data_ + (t + 2) * pitch; }
  T* scale() const { return data_; }         // of the weights: 1 / Z^2, of the slopes / (Z^2 sigma^3)
  T* mean() const { return data_ + pitch; }  // of t^2 over both axes, which the slopes are less by

  Index pitch = 0;

 private:
  void one(T sigma, Index i, const RadialCall& call) {
    const int reach = GaussianKernel::reach(sigma, call);
    row(0)[i] = T(1);
    scale()[i] = sigma != sigma ? sigma : T(call.slope ? 0 : 1), mean()[i] = T(0);
    if (!reach) return;
    const double s = static_cast<double>(sigma), q = __builtin_exp(-0.5 / (s * s)), q2 = q * q;
    double e = 1, step = q, total = 1, moment = 0;
    for (int t = 1; t <= reach; ++t, step *= q2) {
      e *= step;
      row(t)[i] = static_cast<T>(e);
      total += 2 * e, moment += 2 * e * t * t;
    }
    scale()[i] = static_cast<T>(1 / (total * total * (call.slope ? s * s * s : 1)));
    mean()[i] = static_cast<T>(2 * moment / total);
  }

  Workspace memory_;
  T* data_ = nullptr;
};

// a where it has a weight, 0 elsewhere: a NaN does not pass a weight of 0.
template <typename V> SVCONV_INLINE V weighted(V w, V a) {
  const V none{};
  return w != none ? w * a : none;
}

}  // namespace
}  // namespace svconv
