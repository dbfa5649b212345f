// The filters of tanh_features.cpp for two rows at a time, by the minimal filtering algorithm F(2 x 2, 3 x 3) of Winograd.
//
// A filter is cut into segments of 3 x 3 taps. Of a segment, two neighbouring outputs need four products instead of six along each axis,
//
//     y0 = m0 + m1 + m2,  y1 = m1 - m2 - m3,      m = (g0, (g0 + g1 + g2) / 2, (g0 - g1 + g2) / 2, g2) * (d0 - d2, d1 + d2, d2 - d1, d1 -
//     d3),
//
// and the sum over segments and channels is taken before y. Even and odd columns are kept apart, so that vectors never need shuffles; the
// maps come in four quadrants: even and odd columns of the upper row, then of the lower row.
#pragma once

#include "cpu/tanh_features/layers.h"

namespace svconv {
namespace SVCONV_ISA {
namespace {

class FilterPairs {
 public:
  static constexpr int kPlanes = 16;
  static constexpr int kBiasPlane = 5;  // its values go into all four outputs with weight 1

  // For windows of `channels` images of rows + side - 1 rows (rows even) and up to `pairs` pairs of columns.
  FilterPairs(Index channels, Index side, Index rows, Index pairs)
      : channels_(channels),
        segments_(side / 3),
        height_(rows + side - 1),
        reach_(3 * (side / 3 - 1) / 2),
        pitch_(round_up(pairs, kLanes) + round_up(reach_, kLanes)),
        line_(pitch_ + 2 * kLanes) {}

  Index taps() const { return channels_ * segments_ * segments_; }  // of one plane
  Index line() const { return line_; }                              // floats of the even or of the odd columns of a row
  Index window_floats() const { return channels_ * height_ * 2 * line_; }
  Index transformed_floats() const { return channels_ * segments_ * 32 * pitch_ + 8 * line_; }
  float* window_row(float* window, Index c, Index r) const { return window + (c * height_ + r) * 2 * line_; }

  // Where the taps of plane 0 stand in the transformed rows: a segment that begins in an odd column has rows of its own.
  void fill_offsets(Index* out) const {
    for (Index c = 0; c < channels_; ++c)
      for (Index s = 0; s < segments_; ++s)
        for (Index t = 0; t < segments_; ++t) *out++ = ((c * segments_ + s) * 32 + t % 2 * 4) * pitch_ + 3 * t / 2;
  }
  Index plane_offset(int plane) const { return (plane / 4 * 8 + plane % 4) * pitch_; }

  // The transformed filter value of a plane for tap (c, s, t); f(i, j) are the taps of the filter in channel c.
  template <typename Filter> static float weight(int plane, Index s, Index t, const Filter& f) {
    double rows[3];
    for (int j = 0; j < 3; ++j) rows[j] = part(plane / 4, f(3 * s, 3 * t + j), f(3 * s + 1, 3 * t + j), f(3 * s + 2, 3 * t + j));
    return static_cast<float>(part(plane % 4, rows[0], rows[1], rows[2]));
  }

  // The transformed rows of output rows r, r + 1 for `vectors` vectors of column pairs.
  void transform(const float* window, Index r, Index vectors, float* out) const {
    float* const lines = out + channels_ * segments_ * 32 * pitch_;
    const Index wide = vectors + round_up(reach_, kLanes) / kLanes;
    for (Index c = 0; c < channels_; ++c)
      for (Index s = 0; s < segments_; ++s) {
        const float* d = window + (c * height_ + r + 3 * s) * 2 * line_;
        for (Index j = 0; j < 2 * line_; j += kLanes) {
          const V d0 = load(d + j), d1 = load(d + 2 * line_ + j), d2 = load(d + 4 * line_ + j), d3 = load(d + 6 * line_ + j);
          store(d0 - d2, lines + j);
          store(d1 + d2, lines + 2 * line_ + j);
          store(d2 - d1, lines + 4 * line_ + j);
          store(d1 - d3, lines + 6 * line_ + j);
        }
        for (int a = 0; a < 4; ++a, out += 8 * pitch_) {
          const float* const even = lines + 2 * a * line_;
          const float* const odd = even + line_;
          for (Index v = 0; v < wide; ++v) {
            const Index j = v * kLanes;
            const V e0 = load(even + j), o0 = load(odd + j), e1 = load(even + j + 1), o1 = load(odd + j + 1), e2 = load(even + j + 2);
            columns(e0, o0, e1, o1, out + j);
            columns(o0, e1, o1, e2, out + 4 * pitch_ + j);
          }
        }
      }
  }

  // tanh of F maps and kCount vectors of column pairs from their planes [16][F][kCount vectors] to maps [F][4 quadrants][kCount vectors].
  template <int kCount, int F> static void join(const float* planes, float* maps) {
    constexpr Index kPitch = kCount * kLanes, kPlane = F * kPitch;
    for (Index f = 0; f < F; ++f)
      for (Index p = 0; p < kCount; ++p) {
        const float* const m = planes + f * kPitch + p * kLanes;
        V upper[4], lower[4];
#pragma GCC unroll 4
        for (int b = 0; b < 4; ++b) {
          const V m0 = load(m + b * kPlane), m1 = load(m + (4 + b) * kPlane), m2 = load(m + (8 + b) * kPlane),
                  m3 = load(m + (12 + b) * kPlane);
          upper[b] = m0 + m1 + m2;
          lower[b] = m1 - m2 - m3;
        }
        float* const to = maps + f * 4 * kPitch + p * kLanes;
        store(tanh(upper[0] + upper[1] + upper[2]), to);
        store(tanh(upper[1] - upper[2] - upper[3]), to + kPitch);
        store(tanh(lower[0] + lower[1] + lower[2]), to + 2 * kPitch);
        store(tanh(lower[1] - lower[2] - lower[3]), to + 3 * kPitch);
      }
  }

 private:
  static double part(int plane, double g0, double g1, double g2) {
    return plane == 0 ? g0 : plane == 1 ? (g0 + g1 + g2) / 2 : plane == 2 ? (g0 - g1 + g2) / 2 : g2;
  }

  SVCONV_INLINE void columns(V d0, V d1, V d2, V d3, float* out) const {
    store(d0 - d2, out);
    store(d1 + d2, out + pitch_);
    store(d2 - d1, out + 2 * pitch_);
    store(d1 - d3, out + 3 * pitch_);
  }

  Index channels_, segments_, height_, reach_, pitch_, line_;
};

}  // namespace
}  // namespace SVCONV_ISA
}  // namespace svconv
