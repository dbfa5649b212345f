// A plan applied at one place of one channel: read from there (gather) or added there (spread).
#pragma once

#include "cpu/disk/plan.h"
#include "cpu/radial/tiles.h"

namespace svconv {
namespace {

// Calls one(Int<number>, offset) for the images of a place whose row is in low..high.
template <bool Clip, typename One> SVCONV_INLINE void eight_images(Place place, Index pitch, Index low, Index high, const One& one) {
  const Index a = place.a, b = place.b, rows_a = a * pitch, rows_b = b * pitch;
  if (!Clip || (a >= low && a <= high)) one(Int<0>{}, rows_a + b), one(Int<1>{}, rows_a - b);
  if (!Clip || (-a >= low && -a <= high)) one(Int<2>{}, b - rows_a), one(Int<3>{}, -rows_a - b);
  if (!Clip || (b >= low && b <= high)) one(Int<4>{}, rows_b + a), one(Int<5>{}, rows_b - a);
  if (!Clip || (-b >= low && -b <= high)) one(Int<6>{}, a - rows_b), one(Int<7>{}, -rows_b - a);
}

template <bool Clip, typename One> SVCONV_INLINE void four_images(Place place, Index pitch, Index low, Index high, const One& one) {
  const Index a = place.a, b = place.b, rows = a * pitch;
  if (b == 0) {
    if (!Clip || (0 >= low && 0 <= high)) one(Int<0>{}, a), one(Int<1>{}, -a);
    if (!Clip || (a >= low && a <= high)) one(Int<2>{}, rows);
    if (!Clip || (-a >= low && -a <= high)) one(Int<3>{}, -rows);
    return;
  }
  if (!Clip || (a >= low && a <= high)) one(Int<0>{}, rows + a), one(Int<1>{}, rows - a);
  if (!Clip || (-a >= low && -a <= high)) one(Int<2>{}, a - rows), one(Int<3>{}, -rows - a);
}

// The blurred values at `x` in the first of the tables.
template <typename L> SVCONV_INLINE typename L::V gather(const Plan<L>& plan, const typename L::Number* x, Index pitch) {
  using V = typename L::V;
  const V none{};
  V s0{}, s1{}, s2{}, s3{};
  const Index* runs = plan.runs;
  Index i = 0;
  for (; i + 4 <= plan.run_count; i += 4) {
    s0 += L::read(x + runs[i]), s1 += L::read(x + runs[i + 1]);
    s2 += L::read(x + runs[i + 2]), s3 += L::read(x + runs[i + 3]);
  }
  for (; i < plan.run_count; ++i) s0 += L::read(x + runs[i]);
  V sums[8] = {};
  for (int k = 0; k < plan.full; ++k) {
    const V w = plan.full_weights()[k];
    eight_images<false>(plan.full_places()[k], pitch, 0, 0, [&](auto n, Index at) { sums[n.value] += w * L::read(x + at); });
  }
  const V* weights = plan.partial_weights();
  const Place* places = plan.partial_places();
  for (int k = 0; k < plan.partial; ++k) {
    const V w = weights[k];
    eight_images<false>(places[k], pitch, 0, 0, [&](auto n, Index at) {
      const V value = L::read(x + at);
      sums[n.value] += w * (w != none ? value : none);
    });
  }
  const auto four = [&](const V* w, const Place* place, int count) {
    for (int k = 0; k < count; ++k)
      four_images<false>(place[k], pitch, 0, 0, [&](auto n, Index at) {
        const V value = L::read(x + at);
        sums[n.value] += w[k] * (w[k] != none ? value : none);
      });
  };
  four(plan.axis_weights(), plan.axis_places(), plan.axis);
  four(plan.diagonal_weights(), plan.diagonal_places(), plan.diagonal);
  const V here = L::read(x);
  sums[0] += plan.centre * (plan.centre != none ? here : none);
  const V edge = ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
  return (((s0 + s1) + (s2 + s3)) * plan.inner + edge) * plan.scale;
}

constexpr int kCopies = 4;  // of the first table

// Adds what the values v[image] at `y` in the first of each image's tables send out, on rows low..high. A vector that overlaps one that was
// written just now waits for it: images of the edge go to the copies of the first table in turn.
template <bool Clip, typename L>
SVCONV_INLINE void spread(const Plan<L>& plan, const typename L::V* v, Index images, typename L::Number* y, Index image_stride, Index copy,
                          Index pitch, Index low, Index high) {
  using T = typename L::Number;
  using V = typename L::V;
  const V none{};
  V scaled[kImages], inner[kImages];
  for (Index g = 0; g < images; ++g) scaled[g] = v[g] * plan.scale, inner[g] = scaled[g] * plan.inner;
  for (Index i = 0; i < plan.run_count; ++i) {
    T* const at = y + plan.runs[i];
    for (Index g = 0; g < images; ++g) L::write(L::read(at + g * image_stride) + inner[g], at + g * image_stride);
  }
  const auto each = [&](const V* w, const Place* place, int count, const auto& visit) {
    for (int k = 0; k < count; ++k)
      for (Index g = 0; g < images; ++g) {
        const V value = w[k] != none ? w[k] * scaled[g] : none;
        T* const image = y + g * image_stride + (L::count > 1 ? k % (kCopies / 2) * 2 * copy : 0);
        visit(place[k], [&](auto n, Index at) {
          T* const to = image + at + (L::count > 1 ? n.value % 2 * copy : 0);
          L::write(L::read(to) + value, to);
        });
      }
  };
  const auto eight = [&](Place place, const auto& one) { eight_images<Clip>(place, pitch, low, high, one); };
  const auto four = [&](Place place, const auto& one) { four_images<Clip>(place, pitch, low, high, one); };
  each(plan.full_weights(), plan.full_places(), plan.full, eight);
  each(plan.partial_weights(), plan.partial_places(), plan.partial, eight);
  each(plan.axis_weights(), plan.axis_places(), plan.axis, four);
  each(plan.diagonal_weights(), plan.diagonal_places(), plan.diagonal, four);
  if (L::nonzero(plan.centre) && (!Clip || (low <= 0 && high >= 0))) {
    const Place here = {0, 0};
    each(&plan.centre, &here, 1, [](Place, const auto& one) { one(Int<0>{}, 0); });
  }
}

}  // namespace
}  // namespace svconv
