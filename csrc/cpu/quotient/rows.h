// Real transforms along the rows, many rows at a time. Two neighbouring rows of a plane are the real and the imaginary part of one complex
// transform, whose spectrum is then taken apart (or put together, on the way back); each lane of a vector register has a pair of its own.
// Rows of different planes never meet: NaN and rounding of one image do not reach another.
#pragma once

#include "cpu/column_fft.h"
#include "cpu/quotient/quotient.h"
#include "cpu/transpose.h"

namespace svconv {
namespace SVCONV_ISA {
namespace {

// Groups of L pairs. A thread's memory: their rows on the plane, and the two buffers of the transform.
template <typename T> class RowGroups {
 public:
  using V = typename Vector<T>::type;
  using Z = Complex<V>;
  static constexpr Index L = Vector<T>::lanes;
  static constexpr Index kRows = 2 * L;

  explicit RowGroups(const RowsCall& call)
      : call_(call),
        transform_(call.plane),
        n_(call.plane),
        columns_(call.plane / 2 + 1),
        height_(call.image.shape[2]),
        channels_(call.image.shape[1]),
        plane_pairs_(divide_up(height_, 2)),
        pairs_(call.image.shape[0] * channels_ * plane_pairs_),
        pitch_(round_up(n_, L) + L),
        inner_(run_of(call.map, call.plane)) {}

  bool ok() const { return transform_.ok(); }
  Index tasks() const { return divide_up(pairs_, L); }
  std::size_t thread_bytes() const { return static_cast<std::size_t>(kRows * pitch_) * sizeof(T) + 2 * buffer_bytes(); }
  double bytes() const { return 6.0 * static_cast<double>(pairs_ * n_) * sizeof(T); }

  void forward(Index task, char* memory) const {
    T* const rows = reinterpret_cast<T*>(memory);
    Z *a = buffer(memory, 0), *b = buffer(memory, 1);
    T *image[kRows], *spectrum[kRows];
    find_rows(call_.image, task, image);
    find_rows(call_.spectrum, task, spectrum);
    for (Index r = 0; r < kRows; ++r) {
      if (image[r]) read_plane(image[r], rows + r * pitch_);
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

  void backward(Index task, char* memory) const {
    T* const rows = reinterpret_cast<T*>(memory);
    Z *a = buffer(memory, 0), *b = buffer(memory, 1);
    T *image[kRows], *spectrum[kRows];
    find_rows(call_.image, task, image);
    find_rows(call_.spectrum, task, spectrum);
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
  static Run run_of(const View& map_view, Index plane) {
    const Index* map = static_cast<const Index*>(map_view.data);
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

  // The rows of a group: the upper rows of its pairs, then the lower ones; nullptr where there is none.
  void find_rows(const View& view, Index task, T** rows) const {
    const Index* stride = view.stride;
    for (Index i = 0; i < L; ++i) {
      const Index pair = task * L + i, plane = pair / plane_pairs_, row = 2 * (pair % plane_pairs_);
      T* upper = nullptr;
      if (pair < pairs_)
        upper = static_cast<T*>(view.data) + plane / channels_ * stride[0] + plane % channels_ * stride[1] + row * stride[2];
      rows[i] = upper;
      rows[L + i] = upper && row + 1 < height_ ? upper + stride[2] : nullptr;
    }
  }

  // A row of the image on the plane, weighted by the taper.
  void read_plane(const T* row, T* to) const {
    const Index* map = static_cast<const Index*>(call_.map.data);
    const T* taper = static_cast<const T*>(call_.taper.data);
    const Index stride = call_.image.stride[3];
    for (Index e = 0; e < inner_.begin; ++e) to[e] = map[e] < 0 ? T(0) : row[map[e] * stride];
    const T* inside = row + inner_.source * stride;
    if (stride == 1) memcpy(to + inner_.begin, inside, static_cast<std::size_t>(inner_.end - inner_.begin) * sizeof(T));
    else
      for (Index e = inner_.begin; e < inner_.end; ++e) to[e] = inside[(e - inner_.begin) * stride];
    for (Index e = inner_.end; e < n_; ++e) to[e] = map[e] < 0 ? T(0) : row[map[e] * stride];
    for (Index e = 0; taper && e < n_; ++e) to[e] *= taper[e];
    for (Index e = n_; e < pitch_; ++e) to[e] = T(0);
  }

  // The transpose: every column of the plane is added to the one that the map names; the longest run comes first.
  void write_plane(T* from, T* row) const {
    const Index* map = static_cast<const Index*>(call_.map.data);
    const T* taper = static_cast<const T*>(call_.taper.data);
    const T scale = T(1) / static_cast<T>(n_);
    for (Index e = 0; e < n_; ++e) from[e] *= taper ? scale * taper[e] : scale;
    if (inner_.end - inner_.begin < call_.image.shape[3]) memset(row, 0, static_cast<std::size_t>(call_.image.shape[3]) * sizeof(T));
    memcpy(row + inner_.source, from + inner_.begin, static_cast<std::size_t>(inner_.end - inner_.begin) * sizeof(T));
    for (Index e = 0; e < inner_.begin; ++e)
      if (map[e] >= 0) row[map[e]] += from[e];
    for (Index e = inner_.end; e < n_; ++e)
      if (map[e] >= 0) row[map[e]] += from[e];
  }

  const RowsCall& call_;
  const ColumnTransform<T> transform_;
  const Index n_, columns_, height_, channels_, plane_pairs_, pairs_, pitch_;
  const Run inner_;
};

template <typename T, bool Forward> Status rows_typed(const RowsCall& call) {
  if (call.image.shape[0] * call.image.shape[1] == 0) return Status::ok;
  const RowGroups<T> groups(call);
  if (!groups.ok()) return Status::out_of_memory;
  const View& written = Forward ? call.spectrum : call.image;
  Index span = 1;
  for (int i = 0; i < 5 && written.shape[i]; ++i) span += (written.shape[i] - 1) * written.stride[i];
  advise_huge_pages(written.data, static_cast<std::size_t>(span) * sizeof(T));
  const Index tasks = groups.tasks();
  const int team = team_size(call.threads, tasks, groups.bytes() / 4);  // the work is arithmetic: a team pays later than for plain reading
  const std::size_t per_thread = (groups.thread_bytes() + 63) / 64 * 64;
  Scratch scratch(per_thread * static_cast<std::size_t>(team));
  if (!scratch.ok()) return Status::out_of_memory;
#pragma omp parallel for schedule(dynamic, 1) num_threads(team) if (team > 1)
  for (Index task = 0; task < tasks; ++task) {
    char* const memory = scratch.as<char>() + static_cast<std::size_t>(thread_index()) * per_thread;
    if constexpr (Forward) groups.forward(task, memory);
    else groups.backward(task, memory);
  }
  return Status::ok;
}

}  // namespace
}  // namespace SVCONV_ISA
}  // namespace svconv
