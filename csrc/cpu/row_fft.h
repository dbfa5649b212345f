// Real transforms along rows, a group of rows at a time. Two rows are the real and the imaginary part of one complex transform, whose
// spectrum is then taken apart (or put together, on the way back); each lane of a vector register has a pair of its own.
#pragma once

#include "cpu/column_fft.h"
#include "cpu/transpose.h"

namespace svconv {
namespace SVCONV_ISA {
namespace {

// Rows of a plane of n columns. map [n]: the column of the image that stands at each place (-1: zero; nullptr: the plane is the image);
// taper [n]: weights of the places, or nullptr; width: columns of an image that is written.
template <typename T> class RowTransform {
 public:
  using V = typename Vector<T>::type;
  using Z = Complex<V>;
  static constexpr Index L = Vector<T>::lanes;
  static constexpr Index kRows = 2 * L;

  RowTransform(const ColumnTransform<T>& transform, Index n, const Index* map, const T* taper, Index width)
      : transform_(transform),
        n_(n),
        columns_(n / 2 + 1),
        pitch_(round_up(n, L) + L),
        width_(width),
        map_(map),
        taper_(taper),
        inner_(run_of(map, n)) {}

  // A thread's memory: the rows on the plane, and the two buffers of the transform.
  static std::size_t thread_bytes(const ColumnTransform<T>& transform, Index n) {
    return static_cast<std::size_t>(kRows * (round_up(n, L) + L)) * sizeof(T) + 2 * static_cast<std::size_t>(transform.space()) * sizeof(Z);
  }

  // The rows image[r] of `stride` between neighbours -> half spectra spectrum[r], interleaved; nullptr: no such row. Row r and row L + r
  // are a pair.
  void forward(const T* const* image, Index stride, T* const* spectrum, char* memory) const {
    T* const rows = reinterpret_cast<T*>(memory);
    Z *a = buffer(memory, 0), *b = buffer(memory, 1);
    for (Index r = 0; r < kRows; ++r) {
      if (image[r]) read_plane(image[r], stride, rows + r * pitch_);
      else memset(rows + r * pitch_, 0, static_cast<std::size_t>(pitch_) * sizeof(T));
    }
    for (Index e = 0; e < n_; e += L) {
      V re[L], im[L];
      for (Index r = 0; r < L; ++r) re[r] = load(rows + r * pitch_ + e), im[r] = load(rows + (L + r) * pitch_ + e);
      transpose(re);
      transpose(im);
      for (Index j = 0; j < min_index(L, n_ - e); ++j) a[e + j] = {re[j], im[j]};
    }
    const Z* z = transform_.forward(a, b);
    for (Index k = 0; k < columns_; k += L / 2) {
      V low[L], high[L];  // the spectra of the rows in the real and in the imaginary part, re and im in turn
      const Index width = min_index(L / 2, columns_ - k);
      for (Index j = 0; j < L / 2; ++j) {
        const Z p = j < width ? z[k + j] : Z{}, q = j < width ? z[k + j ? n_ - k - j : 0] : Z{};
        low[2 * j] = (p.re + q.re) * T(0.5);
        low[2 * j + 1] = (p.im - q.im) * T(0.5);
        high[2 * j] = (p.im + q.im) * T(0.5);
        high[2 * j + 1] = (q.re - p.re) * T(0.5);
      }
      transpose(low);
      transpose(high);
      for (Index r = 0; r < kRows; ++r)
        if (spectrum[r]) store_first(r < L ? low[r] : high[r - L], spectrum[r] + 2 * k, 2 * width);
    }
  }

  // Half spectra -> rows of the plane, times the taper, added to the columns of image[r] that the map names; neighbours are adjacent.
  void backward(const T* const* spectrum, T* const* image, char* memory) const {
    T* const rows = reinterpret_cast<T*>(memory);
    Z *a = buffer(memory, 0), *b = buffer(memory, 1);
    for (Index k = 0; k < columns_; k += L / 2) {
      V low[L], high[L];
      const Index width = min_index(L / 2, columns_ - k);
      for (Index r = 0; r < L; ++r) {
        const T *p = spectrum[r], *q = spectrum[L + r];
        low[r] = p ? load_part(p + 2 * k, 0, 2 * width) : V{};
        high[r] = q ? load_part(q + 2 * k, 0, 2 * width) : V{};
      }
      transpose(low);
      transpose(high);
      for (Index j = 0; j < width; ++j) {
        const Index u = k + j;
        const bool real = u == 0 || 2 * u == n_;  // their own mirror image: what they have of an imaginary part does not count
        const V pr = low[2 * j], qr = high[2 * j], pi = real ? V{} : low[2 * j + 1], qi = real ? V{} : high[2 * j + 1];
        if (!real) a[n_ - u] = {qr - pi, pr + qi};  // conj(P) + i conj(Q), parts swapped for the way back
        a[u] = {pi + qr, pr - qi};
      }
    }
    const Z* z = transform_.forward(a, b);
    for (Index e = 0; e < n_; e += L) {
      V re[L], im[L];
      for (Index j = 0; j < L; ++j) {
        const Z value = e + j < n_ ? z[e + j] : Z{};
        re[j] = value.im, im[j] = value.re;
      }
      transpose(re);
      transpose(im);
      for (Index r = 0; r < L; ++r) store(re[r], rows + r * pitch_ + e), store(im[r], rows + (L + r) * pitch_ + e);
    }
    for (Index r = 0; r < kRows; ++r)
      if (image[r]) write_plane(rows + r * pitch_, image[r]);
  }

 private:
  struct Run {
    Index begin, end, source;
  };

  // The longest run of the plane's columns that stand in the image side by side: columns [begin, end) are those from `source` on.
  static Run run_of(const Index* map, Index plane) {
    if (!map) return {0, plane, 0};
    Run best = {0, 0, 0};
    for (Index e = 0; e < plane;) {
      Index end = e + 1;
      while (end < plane && map[e] >= 0 && map[end] == map[end - 1] + 1) ++end;
      if (map[e] >= 0 && end - e > best.end - best.begin) best = {e, end, map[e]};
      e = end;
    }
    return best;
  }

  std::size_t buffer_bytes() const { return static_cast<std::size_t>(transform_.space()) * sizeof(Z); }
  Z* buffer(char* memory, int i) const {
    return reinterpret_cast<Z*>(memory + static_cast<std::size_t>(kRows * pitch_) * sizeof(T) +
                                static_cast<std::size_t>(i) * buffer_bytes());
  }

  // A row of the image on the plane, weighted by the taper.
  void read_plane(const T* row, Index stride, T* to) const {
    for (Index e = 0; e < inner_.begin; ++e) to[e] = map_[e] < 0 ? T(0) : row[map_[e] * stride];
    const T* inside = row + inner_.source * stride;
    if (stride == 1) memcpy(to + inner_.begin, inside, static_cast<std::size_t>(inner_.end - inner_.begin) * sizeof(T));
    else
      for (Index e = inner_.begin; e < inner_.end; ++e) to[e] = inside[(e - inner_.begin) * stride];
    for (Index e = inner_.end; e < n_; ++e) to[e] = map_[e] < 0 ? T(0) : row[map_[e] * stride];
    for (Index e = 0; taper_ && e < n_; ++e) to[e] *= taper_[e];
    for (Index e = n_; e < pitch_; ++e) to[e] = T(0);
  }

  // The transpose: every column of the plane is added to the one that the map names; the longest run comes first.
  void write_plane(T* from, T* row) const {
    const T scale = T(1) / static_cast<T>(n_);
    for (Index e = 0; e < n_; ++e) from[e] *= taper_ ? scale * taper_[e] : scale;
    if (inner_.end - inner_.begin < width_) memset(row, 0, static_cast<std::size_t>(width_) * sizeof(T));
    memcpy(row + inner_.source, from + inner_.begin, static_cast<std::size_t>(inner_.end - inner_.begin) * sizeof(T));
    for (Index e = 0; e < inner_.begin; ++e)
      if (map_[e] >= 0) row[map_[e]] += from[e];
    for (Index e = inner_.end; e < n_; ++e)
      if (map_[e] >= 0) row[map_[e]] += from[e];
  }

  const ColumnTransform<T>& transform_;
  const Index n_, columns_, pitch_, width_;
  const Index* const map_;
  const T* const taper_;
  const Run inner_;
};

}  // namespace
}  // namespace SVCONV_ISA
}  // namespace svconv
