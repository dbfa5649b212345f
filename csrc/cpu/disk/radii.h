// The numbers of a map of radii.
#pragma once

#include "cpu/disk/plan.h"
#include "cpu/radial/geometry.h"

namespace svconv {
namespace {

// Radii as the plans take them: 0 where the pixel is copied (or, of a slope, where the radius does not count), NaN where it is not finite.
template <typename L> SVCONV_INLINE typename L::V clean(typename L::V v, typename L::Number most, typename L::Number beyond) {
  using V = typename L::V;
  const V none{}, kept = v > none + typename L::Number(0.5) ? v : none, off = v - v;
  return v > none + most ? none + beyond : (off != none ? off : kept);
}
template <typename T> SVCONV_INLINE void clean(T* r, Index n, T most, bool slope) {
  const T beyond = slope || !(most > T(0.5)) ? T(0) : most;
  Index i = 0;
  for (; i + Vector<T>::lanes <= n; i += Vector<T>::lanes) store(clean<Lanes<T>>(load(r + i), most, beyond), r + i);
  for (; i < n; ++i) r[i] = clean<Single<T>>(r[i], most, beyond);
}

struct DiskKernel {
  template <typename T> static SVCONV_INLINE void clean(T* r, Index n, const RadialCall& call, bool slope) {
    svconv::clean(r, n, static_cast<T>(call.most), slope);
  }
  template <typename T> static SVCONV_INLINE int reach(T r, const RadialCall&) { return reach_of(r); }
};

}  // namespace
}  // namespace svconv
