// The normal operator as one symmetric stencil: A(q, q + e) = sum_m sum_d w_m[q - d] f_m[d, q - d] f_m[d + e, q - d], of which the half
// that starts at the pixel itself is kept. A task is a strip of columns in a band of rows; source rows go by from top to bottom and add
// to the kh rows of the result that they can reach.
#pragma once

#include "cpu/pixel_filter/geometry.h"

namespace svconv {
namespace {

// out[s][t][c] = sum_m a[m][s][c] b[m][t][c]: products of NA neighbouring taps of a row with NT of another one. Two at a time spare half of
// the loads, and their sums still fit the registers of every instruction set.
template <int NA, int NT, typename T>
void pair_products(const T* a, const T* b, Index map_stride, Index maps, Index pitch, T* out, Index out_stride, Index n) {
  using V = typename Vector<T>::type;
  for (Index c = 0; c < n; c += Vector<T>::lanes) {
    V sum[NA][NT] = {};
    for (Index m = 0; m < maps; ++m) {
      V value[NA];
      for (int s = 0; s < NA; ++s) value[s] = load(a + m * map_stride + s * pitch + c);
      for (int t = 0; t < NT; ++t) {
        const V other = load(b + m * map_stride + t * pitch + c);
        for (int s = 0; s < NA; ++s) sum[s][t] += value[s] * other;
      }
    }
    for (int s = 0; s < NA; ++s)
      for (int t = 0; t < NT; ++t) store(sum[s][t], out + s * out_stride + t * pitch + c);
  }
}

// sum[c] += sum_t rows[t][c]
template <int NT, typename T> void add_rows(const T* rows, Index row_stride, T* sum, Index n) {
  for (Index c = 0; c < n; c += Vector<T>::lanes) {
    typename Vector<T>::type total = load(rows + c);
    for (int t = 1; t < NT; ++t) total += load(rows + t * row_stride + c);
    store(load(sum + c) + total, sum + c);
  }
}

template <typename F, typename S> class StencilAssembly {
  using T = typename Compute<F>::type;
  static constexpr Index kBandRows = 64, kSourceColumns = 64, kStripTiles = 4, kPairTaps = 5;

 public:
  explicit StencilAssembly(const PixelFilterCall& call) : call_(call), geo_(call) {
    const Index most = max_index(16, kSourceColumns - (geo_.kw - 1));
    columns_ = divide_up(geo_.width, divide_up(geo_.width, most));
    tiles_ = divide_up(geo_.width, columns_);
    strips_ = divide_up(tiles_, kStripTiles);
    rows_ = min_index(geo_.height, kBandRows);
    bands_ = divide_up(geo_.height, rows_);
    source_ = columns_ + geo_.kw - 1;
    pitch_ = round_up(source_, Vector<T>::lanes);
    values_ = call.stencil.shape[2];
    taps_ = geo_.kh * geo_.kw;
    block_ = geo_.maps * taps_ * pitch_;
    products_ = geo_.kw * geo_.kw * pitch_ + round_up(geo_.kw + Vector<T>::lanes, 16);  // combine() reads some columns further on
    sums_ = geo_.kh * values_ * pitch_;
  }

  Status run() {
    const Index sets = call_.stencil.shape[0] * call_.stencil.shape[1], tasks = sets * bands_ * strips_;
    if (tasks == 0) return Status::ok;
    const double bytes = 1.0 * sets * values_ * geo_.height * geo_.width * sizeof(S);
    advise_huge_pages(call_.stencil.data, static_cast<std::size_t>(bytes));
    const Index per_thread = round_up(2 * block_ + products_ + round_up(geo_.kw, 16) + kStripTiles * sums_, 16);
    const int team = team_size(call_.threads, tasks, bytes);
    Scratch scratch(static_cast<std::size_t>(team * per_thread) * sizeof(T));
    if (!scratch.ok()) return Status::out_of_memory;
#pragma omp parallel for schedule(dynamic, 1) num_threads(team) if (team > 1)
    for (Index task = 0; task < tasks; ++task)
      strip(task / (bands_ * strips_), task / strips_ % bands_, task % strips_, scratch.as<T>() + thread_index() * per_thread);
    return Status::ok;
  }

 private:
  struct Memory {
    T *filters, *weighed, *products, *sums, *column;
  };

  // The filters that are used next, asked for a few planes at a time while the products of others are formed: 256 bytes of each of
  // many planes are too little for the processor to see a stream in.
  struct Next {
    const F* row = nullptr;
    Index columns = 0, planes = 0, m = 0, i = 0, j = 0;
  };

  // Some tiles beside each other, row by row, so that every page of the filters is visited once.
  void strip(Index set, Index band, Index strip, T* memory) {
    const Index r0 = band * rows_, r1 = min_index(geo_.height, r0 + rows_), first = strip * kStripTiles;
    const Index last = min_index(tiles_, first + kStripTiles), below = geo_.kh - 1 - geo_.cy;
    Memory at = {memory, memory + block_, memory + 2 * block_, nullptr, memory + 2 * block_ + products_};
    T* sums = at.column + round_up(geo_.kw, 16);
    if (!call_.weights.data) at.weighed = at.filters;
    memset(sums, 0, static_cast<std::size_t>((last - first) * sums_) * sizeof(T));
    for (Index p = r0 - below; p < r1 + geo_.cy; ++p)
      for (Index tile = first; tile < last; ++tile) {
        const Index c0 = tile * columns_, columns = min_index(columns_, geo_.width - c0);
        at.sums = sums + (tile - first) * sums_;
        if ((p >= 0 && p < geo_.height) || geo_.padding == kCircular) {
          Next next = tile + 1 < last ? next_piece(set, p, c0 + columns_) : next_piece(set, p + 1, first * columns_);
          pack(set, boundary_index(p, geo_.height, kCircular), c0, at);
          add_source_row(p, r0, r1, columns, at, next);
        }
        if (p - geo_.cy >= r0) write(set, p - geo_.cy, c0, columns, at);
      }
  }

  T* sums_of(Index row, const Memory& at) const { return at.sums + row % geo_.kh * values_ * pitch_; }

  // All products of two taps of the source row p, the second not before the first, summed where the first tap is.
  void add_source_row(Index p, Index r0, Index r1, Index columns, const Memory& at, Next& next) {
    const Index kw = geo_.kw;
    for (Index i = 0; i < geo_.kh; ++i) {
      const Index row = p + i - geo_.cy;
      if (row < r0 || row >= r1) continue;
      for (Index k = i; k < geo_.kh; ++k) {
        for (Index j = 0; j < kw; j += 2)
          for (Index first = k == i ? j : 0; first < kw; first += kPairTaps) {
            const int count = static_cast<int>(min_index(kPairTaps, kw - first));
            const T *a = at.weighed + (i * kw + j) * pitch_, *b = at.filters + (k * kw + first) * pitch_;
            T* out = at.products + (j * kw + first) * pitch_;
            if (j + 1 < kw) products<2>(count, a, b, out);
            else products<1>(count, a, b, out);
            fetch(next);
          }
        for (Index e = k == i ? 0 : 1 - kw; e < kw; ++e)
          combine(e, at.products, sums_of(row, at) + ((k - i) * (2 * kw - 1) + e) * pitch_, columns);
      }
    }
  }

  Next next_piece(Index set, Index p, Index c0) const {
    if (call_.filters.stride[6] != 1 || p < 0 || p >= geo_.height) return {};
    const Index begin = max_index(0, c0 - (geo_.kw - 1 - geo_.cx)), sets = call_.stencil.shape[1];
    const Index calls = (geo_.kw + 1) / 2 * geo_.kh * (geo_.kh + 1) / 2;
    return {at_set<F>(call_.filters, set / sets, set % sets) + p * call_.filters.stride[5] + begin, min_index(source_, geo_.width - begin),
            divide_up(geo_.maps * taps_, calls)};
  }

  void fetch(Next& next) const {
    const Index* stride = call_.filters.stride;
    for (Index k = 0; k < next.planes && next.m < geo_.maps; ++k) {
      const char* row = reinterpret_cast<const char*>(next.row + next.m * stride[2] + next.i * stride[3] + next.j * stride[4]);
      for (Index b = 0; b < next.columns * static_cast<Index>(sizeof(F)); b += 64) __builtin_prefetch(row + b, 0, 2);
      if (++next.j < geo_.kw) continue;
      next.j = 0;
      if (++next.i == geo_.kh) next.i = 0, ++next.m;
    }
  }

  template <int NA> void products(int count, const T* a, const T* b, T* out) const {
#define SVCONV_CALL(NT) pair_products<NA, NT>(a, b, taps_ * pitch_, geo_.maps, pitch_, out, geo_.kw * pitch_, pitch_)
    switch (count) {
      case 1: SVCONV_CALL(1); break;
      case 2: SVCONV_CALL(2); break;
      case 3: SVCONV_CALL(3); break;
      case 4: SVCONV_CALL(4); break;
      default: SVCONV_CALL(5); break;
    }
#undef SVCONV_CALL
  }

  // sum[q] += sum over j of the product of taps j and j + e of the source pixel whose tap j is q.
  void combine(Index e, const T* products, T* sum, Index columns) const {
    const Index kw = geo_.kw, end = min_index(kw, kw - e);
    for (Index j = max_index(0, -e); j < end; j += kMaxTaps) {
      const int count = static_cast<int>(min_index(kMaxTaps, end - j));
      const T* first = products + (j * kw + j + e) * pitch_ + kw - 1 - j;
#define SVCONV_CALL(NT) add_rows<NT>(first, (kw + 1) * pitch_ - 1, sum, columns)
      SVCONV_TAPS(count, SVCONV_CALL)
#undef SVCONV_CALL
    }
  }

  void write(Index set, Index row, Index c0, Index columns, const Memory& at) {
    T* sums = sums_of(row, at);
    S* out = static_cast<S*>(call_.stencil.data) + ((set * values_ * geo_.height) + row) * geo_.width + c0;
    for (Index v = 0; v < values_; ++v) write_row(sums + v * pitch_, out + v * geo_.height * geo_.width, columns);
    memset(sums, 0, static_cast<std::size_t>(values_ * pitch_) * sizeof(T));
  }

  // ---- the filters of a piece of a row, [m][tap][pitch]: taps that reach over an edge are folded back, so that nothing does

  void pack(Index set, Index row, Index c0, const Memory& at) {
    const Index sb = set / call_.stencil.shape[1], sc = set % call_.stencil.shape[1], *stride = call_.filters.stride;
    const Index begin = c0 - (geo_.kw - 1 - geo_.cx);
    const bool edge_row = geo_.padding != kCircular && (row < geo_.cy || row >= geo_.height - (geo_.kh - 1 - geo_.cy));
    const bool edge_columns = begin < 0 || begin + pitch_ > geo_.width;
    if (edge_row) memset(at.filters, 0, static_cast<std::size_t>(block_) * sizeof(T));
    for (Index m = 0; m < geo_.maps; ++m)
      for (Index i = 0; i < geo_.kh; ++i) {
        const Index to = edge_row ? folded(row, i - geo_.cy, geo_.height) + geo_.cy : i;
        if (to < 0) continue;
        const F* f = at_set<F>(call_.filters, sb, sc) + m * stride[2] + i * stride[3] + row * stride[5];
        for (Index j = 0; j < geo_.kw; ++j)
          add_row(f + j * stride[4], stride[6], begin, edge_row, at.filters + (m * taps_ + to * geo_.kw + j) * pitch_);
      }
    if (geo_.padding != kCircular && edge_columns) fold_columns(begin, at);
    if (call_.weights.data) weigh(sb, sc, row, begin, at);
  }

  template <typename A> static const A* at_set(const View& view, Index sb, Index sc) {
    return static_cast<const A*>(view.data) + sb * view.stride[0] + sc * view.stride[1];
  }

  // Distance from a pixel to where the padding takes what is d away from it; far below zero where that is nowhere.
  Index folded(Index pixel, Index d, Index n) const {
    const Index q = boundary_index(pixel + d, n, geo_.padding);
    return q < 0 ? -(Index{1} << 40) : q - pixel;
  }

  // Columns [begin, begin + source) of a row, zeros beside the image unless it is circular; added to what is there, or instead of it.
  template <typename A> void add_row(const A* row, Index stride, Index begin, bool add, T* out) const {
    if (geo_.padding == kCircular) {
      for (Index c = 0; c < pitch_; ++c) out[c] = to_compute(row[boundary_index(begin + c, geo_.width, kCircular) * stride]);
      return;
    }
    const Index first = max_index(0, -begin), last = max_index(first, min_index(pitch_, geo_.width - begin));
    const A* inside = row + (begin + first) * stride;
    if (add) {
      for (Index c = first; c < last; ++c) out[c] += to_compute(inside[(c - first) * stride]);
      return;
    }
    memset(out, 0, static_cast<std::size_t>(first) * sizeof(T));
    read_row(inside, stride, out + first, last - first);
    memset(out + last, 0, static_cast<std::size_t>(pitch_ - last) * sizeof(T));
  }

  void fold_columns(Index begin, const Memory& at) const {
    for (Index c = 0; c < source_; ++c) {
      const Index pixel = begin + c;
      if (pixel < 0 || pixel >= geo_.width || (pixel >= geo_.cx && pixel < geo_.width - (geo_.kw - 1 - geo_.cx))) continue;
      for (Index line = 0; line < geo_.maps * geo_.kh; ++line) {
        T* f = at.filters + line * geo_.kw * pitch_ + c;
        for (Index j = 0; j < geo_.kw; ++j) at.column[j] = f[j * pitch_], f[j * pitch_] = 0;
        for (Index j = 0; j < geo_.kw; ++j)
          if (const Index to = folded(pixel, j - geo_.cx, geo_.width) + geo_.cx; to >= 0) f[to * pitch_] += at.column[j];
      }
    }
  }

  void weigh(Index sb, Index sc, Index row, Index begin, const Memory& at) const {
    const Index* stride = call_.weights.stride;
    T* w = at.products;
    for (Index m = 0; m < geo_.maps; ++m) {
      add_row(at_set<T>(call_.weights, sb, sc) + m * stride[2] + row * stride[3], stride[4], begin, false, w);
      for (Index t = m * taps_; t < (m + 1) * taps_; ++t)
        for (Index c = 0; c < pitch_; ++c) at.weighed[t * pitch_ + c] = at.filters[t * pitch_ + c] * w[c];
    }
  }

  const PixelFilterCall& call_;
  const Geometry geo_;
  Index columns_, tiles_, strips_, rows_, bands_, source_, pitch_, values_, taps_, block_, products_, sums_;
};

template <typename F, typename S> Status stencil_assembly(const PixelFilterCall& call) { return StencilAssembly<F, S>(call).run(); }

}  // namespace
}  // namespace svconv
