// y = A x with the stored half of a symmetric stencil: every value of A is read once and used for both of its places, A(q, q + e) x(q + e)
// for y(q) and A(q, q + e) x(q) for y(q + e). A task is a band of rows, which also reads the kh - 1 rows of values above it.
#pragma once

#include "cpu/pixel_filter/geometry.h"

namespace svconv {
namespace {

// y[c] += sum_t f[t][c] x[c + t] and spread[c + t] += f[t][c] z[c]; y and spread do not overlap.
template <int NT, typename F, typename T>
void symmetric_row(const Taps<F>& taps, const Ahead& ahead, const T* x, T* y, const T* z, T* spread, Index n) {
  using V = typename Vector<T>::type;
  constexpr Index L = Vector<T>::lanes;
  if constexpr (kShifts) {
    V before[NT] = {};
    const auto products = [&](Index q, const V* value, V zq) {
      V sum = load(spread + q);
      unroll<NT>([&](auto t) {
        const V product = value[t.value] * zq;
        sum += shifted<L - t.value>(before[t.value], product);
        before[t.value] = product;
      });
      store(sum, spread + q);
    };
    const auto gathered = [&](Index q, const V* value) {
      const V low = load(x + q), high = load(x + q + L);
      V sum = load(y + q);
      unroll<NT>([&](auto t) { sum += value[t.value] * shifted<t.value>(low, high); });
      return sum;
    };
    V value[NT];
    Index q = 0;
    for (; q + L <= n; q += L) {
      for (int t = 0; t < NT; ++t) value[t] = load(taps.f + t * taps.tap_stride + q);
      ahead.fetch<NT>(q);
      store(gathered(q, value), y + q);
      products(q, value, load(z + q));
    }
    for (; q < n + NT - 1; q += L) {
      for (int t = 0; t < NT; ++t) value[t] = load_part(taps.f + t * taps.tap_stride + q, 0, n - q);
      if (q < n) store_first(gathered(q, value), y + q, n - q);
      products(q, value, load_part(z + q, 0, n - q));
    }
  } else {
    gather_row<NT>(taps, ahead, Rows<const T>{x, 0}, Rows<T>{y, 0}, 1, n, false);
    for (int t = 0; t < NT; ++t) {
      const F* f = taps.f + t * taps.tap_stride;
      Index c = 0;
      for (; c + L <= n; c += L) store(load(spread + c + t) + load(f + c) * load(z + c), spread + c + t);
      for (; c < n; ++c) spread[c + t] += to_compute(f[c]) * z[c];
    }
  }
}

template <typename X, typename S> class StencilProduct {
  using T = typename Compute<X>::type;

 public:
  explicit StencilProduct(const PixelFilterCall& call) : call_(call), geo_(geometry(call)) {
    constexpr Index kBandPixels = 64 << 10, kRunPixels = 8 << 10;
    kw_ = geo_.cx + 1;
    rows_ = min_index(geo_.height, max_index(16, min_index(64, kBandPixels / geo_.width)));
    bands_ = divide_up(geo_.height, rows_);
    run_rows_ = max_index(1, min_index(rows_, kRunPixels / geo_.width));
    pitch_ = round_up(geo_.width + 2 * geo_.cx, 16) + 48;
    values_ = call.stencil.shape[2];
  }

  Status run() {
    if (geo_.batch * geo_.channels == 0) return Status::ok;
    const Index tasks = geo_.filter_sets() * bands_;
    const Index per_thread = geo_.images * (window_size() + sums_size() + run_size());
    const int team = team_size(call_.threads, tasks, 1.0 * geo_.filter_sets() * values_ * geo_.height * geo_.width * sizeof(S));
    Scratch scratch(static_cast<std::size_t>(team * per_thread) * sizeof(T));
    if (!scratch.ok()) return Status::out_of_memory;
#pragma omp parallel for schedule(dynamic, 1) num_threads(team) if (team > 1)
    for (Index task = 0; task < tasks; ++task) band(task / bands_, task % bands_ * rows_, scratch.as<T>() + thread_index() * per_thread);
    return Status::ok;
  }

 private:
  // The stored half as a window of kh rows that starts at the pixel's own row, 2 kw - 1 columns.
  static Geometry geometry(const PixelFilterCall& call) {
    PixelFilterCall half = call;
    const Index *stencil = call.stencil.shape, shape[] = {stencil[0], stencil[1], 1, call.kh, 2 * call.kw - 1, stencil[3], stencil[4]};
    memcpy(half.filters.shape, shape, sizeof shape);
    Geometry geo(half);
    geo.cy = 0;
    return geo;
  }

  Index above() const { return geo_.kh - 1; }
  Index window_size() const { return (rows_ + 2 * above()) * pitch_; }
  Index sums_size() const { return (rows_ + 2 * above()) * pitch_; }
  Index run_size() const { return run_rows_ * pitch_; }

  // Rows of x and of the sums start `above` rows before the band.
  void band(Index set, Index r0, T* window) {
    const Index rows = min_index(rows_, geo_.height - r0);
    T* sums = window + geo_.images * window_size();
    T* own = sums + geo_.images * sums_size();
    memset(window, 0, static_cast<std::size_t>(geo_.images * (window_size() + sums_size())) * sizeof(T));
    for (Index g = 0; g < geo_.images; ++g)
      pack_window(image_at<const X>(call_.image, geo_, set, g), call_.image.stride[2], call_.image.stride[3], geo_, r0 - above(),
                  rows + above(), 0, geo_.width, window + g * window_size(), pitch_);
    for (Index p = -above(); p < 0; ++p) run_of_rows(set, r0, p, 1, window, sums, own);
    for (Index p = 0; p < rows; p += run_rows_) {
      const Index count = min_index(run_rows_, rows - p);
      run_of_rows(set, r0, p, count, window, sums, own);
      for (Index g = 0; g < geo_.images; ++g) add(own + g * run_size(), count, sums + g * sums_size() + (p + above()) * pitch_ + geo_.cx);
    }
    for (Index g = 0; g < geo_.images; ++g)
      for (Index r = 0; r < rows; ++r) finish(set, g, r0 + r, sums + g * sums_size() + (r + above()) * pitch_ + geo_.cx);
  }

  // Source rows p of the band (negative: above it, of which only what reaches into the band is used), a block of taps at a time.
  void run_of_rows(Index set, Index r0, Index p, Index count, const T* window, T* sums, T* own) {
    const Index row = boundary_index(r0 + p, geo_.height, geo_.padding);
    if (row < 0) return;
    const Index plane = geo_.height * geo_.width;
    const S* values = static_cast<const S*>(call_.stencil.data) + set * values_ * plane + row * geo_.width;
    const T* x = window + (p + above()) * pitch_;
    T* spread = sums + (p + above()) * pitch_;
    for (Index r = 0; r < count; ++r)
      gather_row<1>(Taps<S>{values + r * geo_.width, plane}, Ahead{}, Rows<const T>{x + r * pitch_ + geo_.cx, window_size()},
                    Rows<T>{own + r * pitch_, run_size()}, geo_.images, geo_.width, true);
    for (Index i = max_index(0, -p); i < geo_.kh; ++i)
      for (Index e = i ? 1 - kw_ : 1; e < kw_;) {
        const Index left = kw_ - e;
        const int taps = static_cast<int>(left <= kMaxTaps ? left : left < 2 * kMaxTaps ? left - left / 2 : kMaxTaps);
        const S* f = values + (i * geo_.kw + e) * plane;
        for (Index r = 0; r < count; ++r, f += geo_.width) {
          const Ahead below(f + geo_.width, plane, 0, r + 1 < count ? geo_.width : 0);
          for (Index g = 0; g < geo_.images; ++g) {
            const T* xg = x + g * window_size() + r * pitch_ + geo_.cx;
            symmetric_taps(taps, Taps<S>{f, plane}, below, xg + i * pitch_ + e, own + g * run_size() + r * pitch_, xg,
                           spread + g * sums_size() + (r + i) * pitch_ + geo_.cx + e);
          }
        }
        e += taps;
      }
  }

  void symmetric_taps(int count, const Taps<S>& taps, const Ahead& ahead, const T* x, T* y, const T* z, T* spread) const {
#define SVCONV_CALL(NT) symmetric_row<NT>(taps, ahead, x, y, z, spread, geo_.width)
    SVCONV_TAPS(count, SVCONV_CALL)
#undef SVCONV_CALL
  }

  void add(const T* own, Index count, T* sums) const {
    for (Index r = 0; r < count; ++r)
      for (Index c = 0; c < geo_.width; ++c) sums[r * pitch_ + c] += own[r * pitch_ + c];
  }

  void finish(Index set, Index g, Index row, T* sum) const {
    for (Index e = 0; e < 2 * geo_.cx && geo_.padding == kCircular; ++e) {
      const Index c = e < geo_.cx ? e - geo_.cx : geo_.width + e - geo_.cx;
      sum[boundary_index(c, geo_.width, kCircular)] += sum[c];
    }
    const Index image = geo_.image_batch(set, g) * geo_.channels + geo_.image_channel(set, g);
    write_row(sum, static_cast<X*>(call_.result.data) + (image * geo_.height + row) * geo_.width, geo_.width);
  }

  const PixelFilterCall& call_;
  const Geometry geo_;
  Index kw_, rows_, bands_, run_rows_, pitch_, values_;
};

template <typename X, typename S> Status stencil_product(const PixelFilterCall& call) { return StencilProduct<X, S>(call).run(); }

}  // namespace
}  // namespace svconv
