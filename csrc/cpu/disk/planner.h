// The choice at each vector: one plan for all of its pixels, or one for each.
#pragma once

#include "cpu/disk/apply.h"
#include "cpu/disk/radii.h"

namespace svconv {
namespace {

template <typename T> class Planner {
 public:
  static constexpr int kLanes = Vector<T>::lanes;

  // Plans for radii that reach no further.
  bool begin(Index reach, bool slope) {
    slope_ = slope, known_ = false;
    if (reach > reach_) {
      const std::size_t together = (Plan<Lanes<T>>::bytes(reach) + 63) / 64 * 64;
      char* const memory = memory_.get(together + Plan<Single<T>>::bytes(reach));
      if (!memory) return false;
      vector.place(memory, reach);
      single.place(memory + together, reach);
      reach_ = reach;
    }
    vector.forget();
    single.forget();
    return true;
  }

  // Makes the plan of these pixels; whether it is one for all.
  bool plan(const T* r) {
    if (known_ && memcmp(r, last_, sizeof last_) == 0) return together_;
    memcpy(last_, r, sizeof last_);
    known_ = true;
    using V = typename Vector<T>::type;
    const V none{}, v = load(r), plain = v > none ? v : none;
    const T low = -Lanes<T>::largest(-plain), high = Lanes<T>::largest(plain), sum = Lanes<T>::sum(plain);
    vector.octant.set(low, high);
    const double one = vector.octant.edge + kRunCost * low, each = kLanes * kPlanCost + (kEdgeCost + kRunCost) * sum;
    together_ = vector.fits() && one <= each;
    if (together_) vector.weigh(load(r), slope_);
    return together_;
  }
  void plan_one(T r) {
    single.octant.set(r > T(0) ? r : T(0), r > T(0) ? r : T(0));
    single.weigh(r, slope_);
  }

  Plan<Lanes<T>> vector;
  Plan<Single<T>> single;

 private:
  // Measured, in units of one pixel of the edge.
  static constexpr double kRunCost = 0.75, kEdgeCost = 1.9, kPlanCost = 3;

  Workspace memory_;
  Index reach_ = -1;
  bool slope_ = false, known_ = false, together_ = false;
  T last_[kLanes];
};

// The last table for disks that reach so far.
inline int top_table(Index reach) {
  int top = 0;
  while (top + 1 < kLevels && (Index{2} << top) <= 2 * reach - 1) ++top;
  return top;
}

}  // namespace
}  // namespace svconv
