// The area of a unit pixel inside a disk and the length of the circle inside the pixel, as in svconv/_disk_area.py, for host and device
// code alike: V is a number or a vector of numbers, Math brings the square root.
#pragma once

#include "host_device.h"

namespace svconv {
namespace {

// With u = chord / (2 r), z = u^2 <= 1/2: the angle of an arc less its sine is u^3 segment(z), the arc is chord * arc(z).
// Arguments instead of arrays: device code may not read an array of the host's.
template <typename V, typename T> SVCONV_HD V disk_series(V z, T c, T last) { return z * last + c; }
template <typename V, typename T, typename... Rest> SVCONV_HD V disk_series(V z, T c, Rest... rest) {
  return disk_series(z, rest...) * z + c;
}

template <typename T> struct DiskSeries;
template <> struct DiskSeries<float> {
  template <typename V> static SVCONV_HD V segment(V z) {
    return disk_series(z, 1.33333334f, 0.399998061f, 0.21438768f, 0.136850735f, 0.119511959f, -0.0328845964f, 0.392678896f, -0.503634012f,
                       0.455001605f);
  }
  template <typename V> static SVCONV_HD V arc(V z) {
    return disk_series(z, 1.0f, 0.166666142f, 0.0750275732f, 0.0440916167f, 0.0358142393f, -0.00702057915f, 0.107400021f, -0.135916271f,
                       0.123913495f);
  }
};
template <> struct DiskSeries<double> {
  template <typename V> static SVCONV_HD V segment(V z) {
    return disk_series(z, 1.33333333333333333, 0.399999999999997991, 0.214285714286302058, 0.138888888820730335, 0.0994318223578367936,
                       0.0757209976088831479, 0.0601601405962426303, 0.0492194779840776886, 0.0422179865096021608, 0.0268991023336207573,
                       0.092811494707704967, -0.328386318137196001, 1.60792844809174186, -5.49761930911943888, 14.9922067035812497,
                       -31.3004818592912451, 49.592934142323033, -57.5256584304611115, 46.3345837522770312, -23.2125559515748977,
                       5.53315027657558962);
  }
  template <typename V> static SVCONV_HD V arc(V z) {
    return disk_series(z, 1.0, 0.166666666666666147, 0.075000000000151996, 0.0446428571252314566, 0.0303819455243646789,
                       0.0223721186874375752, 0.0173537705581113138, 0.0139472049459937798, 0.0117780126991579429, 0.0075817717256605394,
                       0.0244690245733371097, -0.0845811996492627309, 0.416161956251229644, -1.42181803183899733, 3.87831206762714493,
                       -8.09716237840242821, 12.8306580503193017, -14.8843875742310523, 11.9905492962093299, -6.00804287215645151,
                       1.43260727057650981);
  }
};

template <typename V, typename T> SVCONV_HD V disk_clamp(V v, T low, T high) {
  const V least = V{} + low, most = V{} + high;
  v = v < least ? least : v;
  return v > most ? most : v;
}

// What the pixels of one radius share: 1 / (16 r) and 1 / (4 r^2).
template <typename V> struct DiskScale {
  V segment, square;
};

template <typename V> struct DiskPixel {
  V area, arc;
};

// The pixel about (a, b), a >= b >= 0. low_a, high_a: half the chords at the distances a - 1/2 and a + 1/2 from the centre, the radius
// where that is negative; low_b, high_b alike. The circle enters the pixel at (xa, sa) and leaves it at (xb, sb); points that it does not
// reach fall together. No two large numbers are subtracted.
template <typename Math, typename T, bool Arc, typename V>
SVCONV_HD DiskPixel<V> disk_pixel(V low_a, V high_a, V low_b, V high_b, DiskScale<V> scale, int a, int b) {
  const T x0 = b ? T(b) - T(0.5) : T(0), x1 = T(b) + T(0.5), y0 = a ? T(a) - T(0.5) : T(0), y1 = T(a) + T(0.5);
  const V xa = disk_clamp(high_a, x0, x1), xb = disk_clamp(low_a, x0, x1);
  const V sa = disk_clamp(low_b, y0, y1), sb = disk_clamp(high_b, y0, y1);
  const V width = xb - xa, drop = sa - sb, square = width * width + drop * drop, chord = Math::sqrt(square), z = square * scale.square;
  const T twice = T((a ? 1 : 2) * (b ? 1 : 2));  // an axis halves its pixels
  const V segment = square * chord * scale.segment * DiskSeries<T>::segment(z);
  DiskPixel<V> pixel;
  pixel.area = ((xa - x0) * (y1 - y0) + width * ((sa + sb) * T(0.5) - y0) + segment) * twice;
  pixel.arc = Arc ? chord * DiskSeries<T>::arc(z) * twice : V{};
  return pixel;
}

// h[k]: half the chord at the distance k - 1/2, h[0] the radius.
template <typename Math, typename T, bool Arc, typename V> SVCONV_HD DiskPixel<V> disk_pixel(const V* h, DiskScale<V> scale, int a, int b) {
  return disk_pixel<Math, T, Arc>(h[a], h[a + 1], h[b], h[b + 1], scale, a, b);
}

}  // namespace
}  // namespace svconv
