// Row kernels of per-pixel filtering. A block of NT <= 8 horizontally neighbouring taps is applied to one row of n
// pixels: NT streams of filter values, one load and store of the accumulator for all of them. G images that share the
// filters are done while the filter values are in registers.
#pragma once

#include "cpu/simd.h"

#ifdef SVCONV_PLANT_OVERREAD
#include <stdlib.h>
#endif

namespace svconv {
namespace {

constexpr int kMaxTaps = 8;

// Reads a whole vector from the end of a row, as a careless row loop would: only in the build that checks whether its sanitizers look
// (.ci/sanitizers), and there only where the environment asks for it.
template <typename F> SVCONV_INLINE void planted_overread([[maybe_unused]] const F* end) {
#ifdef SVCONV_PLANT_OVERREAD
  if (!getenv("SVCONV_PLANT_OVERREAD")) return;
  const auto past = load(end);
  asm volatile("" : : "m"(past));
#endif
}

// One block of taps: filter values f[t * tap_stride + c].
template <typename F> struct Taps {
  const F* f;
  Index tap_stride;
};

// Values to ask for while columns [begin, end) of another block are done; none by default.
struct Ahead {
  const char* address = nullptr;
  Index tap_bytes = 0, item = 0, begin = 0, end = 0;

  Ahead() = default;
  template <typename F>
  Ahead(const F* f, Index tap_stride, Index first, Index last)
      : address(reinterpret_cast<const char*>(f)),
        tap_bytes(tap_stride * static_cast<Index>(sizeof(F))),
        item(sizeof(F)),
        begin(first),
        end(last) {}
  template <int NT> SVCONV_INLINE void fetch(Index c) const {
    if (c >= begin && c < end)
      for (int t = 0; t < NT; ++t) __builtin_prefetch(address + t * tap_bytes + c * item, 0, 2);
  }
};

// Zeros (at least) on both sides of a row that is scattered: a whole vector, and the taps before it.
constexpr Index kScatterMargin = 32;

// Rows of G images, image_stride apart.
template <typename T> struct Rows {
  T* data;
  Index image_stride;
};

// acc[g][c] (+)= sum_t f[t][c] x[g][c + t]
template <int NT, typename F, typename T>
void gather_row(const Taps<F>& taps, const Ahead& ahead, const Rows<const T>& x, const Rows<T>& acc, Index images, Index n, bool first) {
  using V = typename Vector<T>::type;
  constexpr Index L = Vector<T>::lanes;
  const F* f = taps.f;
  const Index fs = taps.tap_stride;
  Index c = 0;
  V next = load(x.data);
  for (; c + L <= n; c += L) {
    V value[NT];
    for (int t = 0; t < NT; ++t) value[t] = load(f + t * fs + c);
    ahead.fetch<NT>(c);
    for (Index g = 0; g < images; ++g) {
      const T* xg = x.data + g * x.image_stride + c;
      T* ag = acc.data + g * acc.image_stride + c;
      V sum = first ? V{} : load(ag);
      if constexpr (kShifts && NT > 1) {
        const V low = images == 1 ? next : load(xg), high = load(xg + L);
        unroll<NT>([&](auto t) { sum += value[t.value] * shifted<t.value>(low, high); });
        next = high;
      } else {
        for (int t = 0; t < NT; ++t) sum += value[t] * load(xg + t);
      }
      store(sum, ag);
    }
  }
  planted_overread(f + (NT - 1) * fs + c);
  for (; c < n; ++c)
    for (Index g = 0; g < images; ++g) {
      const T* xg = x.data + g * x.image_stride + c;
      T* ag = acc.data + g * acc.image_stride + c;
      T sum = first ? T{0} : *ag;
      for (int t = 0; t < NT; ++t) sum += to_compute(f[t * fs + c]) * xg[t];
      *ag = sum;
    }
}

// One image of scatter_row: products are formed where the filter values are aligned, then moved by t.
template <int NT, typename F, typename T> void scatter_shifted_row(const Taps<F>& taps, const Ahead& ahead, const T* z, T* acc, Index n) {
  using V = typename Vector<T>::type;
  constexpr Index L = Vector<T>::lanes;
  V before[NT] = {};
  const auto add = [&](Index q, const V* value) {
    const V zq = load(z + q);
    V sum = load(acc + q);
    unroll<NT>([&](auto t) {
      const V product = value[t.value] * zq;
      sum += shifted<L - t.value>(before[t.value], product);
      before[t.value] = product;
    });
    store(sum, acc + q);
  };
  V value[NT];
  Index q = 0;
  for (; q + L <= n; q += L) {
    for (int t = 0; t < NT; ++t) value[t] = load(taps.f + t * taps.tap_stride + q);
    ahead.fetch<NT>(q);
    add(q, value);
  }
  for (; q < n + NT - 1; q += L) {
    for (int t = 0; t < NT; ++t) value[t] = load_part(taps.f + t * taps.tap_stride + q, 0, n - q);
    add(q, value);
  }
}

// acc[g][c + t] += f[t][c] z[g][c] for all c, t; written as a gather over q = c + t. Whole vectors throughout: z has
// zeros on both sides, lanes of f outside its row are not read, and acc takes some zeros beyond its end.
template <int NT, typename F, typename T>
void scatter_row(const Taps<F>& taps, const Ahead& ahead, const Rows<const T>& z, const Rows<T>& acc, Index images, Index n) {
  using V = typename Vector<T>::type;
  constexpr Index L = Vector<T>::lanes;
  const F* f = taps.f;
  const Index fs = taps.tap_stride;
  if constexpr (kShifts && NT > 1) {
    if (images == 1) {
      scatter_shifted_row<NT>(taps, ahead, z.data, acc.data, n);
      return;
    }
  }
  const auto add = [&](Index q, const V* value) {
    for (Index g = 0; g < images; ++g) {
      const T* zg = z.data + g * z.image_stride + q;
      T* ag = acc.data + g * acc.image_stride + q;
      V sum = load(ag);
      if constexpr (kShifts && NT > 1) {
        const V low = load(zg - L), high = load(zg);
        unroll<NT>([&](auto t) { sum += value[t.value] * shifted<L - t.value>(low, high); });
      } else {
        for (int t = 0; t < NT; ++t) sum += value[t] * load(zg - t);
      }
      store(sum, ag);
    }
  };
  const auto edge = [&](Index q) {
    V value[NT];
    for (int t = 0; t < NT; ++t) value[t] = load_part(f + t * fs + q - t, t - q, n - q + t);
    add(q, value);
  };
  const Index total = n + NT - 1;
  Index q = 0;
  if (NT > 1)
    for (; q < NT - 1 && q < total; q += L) edge(q);
  for (; q + L <= n; q += L) {
    V value[NT];
    for (int t = 0; t < NT; ++t) value[t] = load(f + t * fs + q - t);
    ahead.fetch<NT>(q);
    add(q, value);
  }
  for (; q < total; q += L) edge(q);
}

// df[t][c] = sum_g y[g][c] x[g][c + t]; all images at once, so every value is written a single time.
template <int NT, bool Streaming, typename F, typename T>
void product_row(F* df, Index fs, const Rows<const T>& y, const Rows<const T>& x, Index images, Index n) {
  using V = typename Vector<T>::type;
  constexpr Index L = Vector<T>::lanes;
  Index c = 0;
  for (; c + L <= n; c += L) {
    V sum[NT] = {};
    for (Index g = 0; g < images; ++g) {
      const V yg = load(y.data + g * y.image_stride + c);
      const T* xg = x.data + g * x.image_stride + c;
      if constexpr (kShifts && NT > 1) {
        const V low = load(xg), high = load(xg + L);
        unroll<NT>([&](auto t) { sum[t.value] += yg * shifted<t.value>(low, high); });
      } else {
        for (int t = 0; t < NT; ++t) sum[t] += yg * load(xg + t);
      }
    }
    for (int t = 0; t < NT; ++t) {
      if constexpr (Streaming) store_streaming(sum[t], df + t * fs + c);
      else store(sum[t], df + t * fs + c);
    }
  }
  for (; c < n; ++c)
    for (int t = 0; t < NT; ++t) {
      T sum = 0;
      for (Index g = 0; g < images; ++g) sum += y.data[g * y.image_stride + c] * x.data[g * x.image_stride + c + t];
      from_compute(sum, df + t * fs + c);
    }
}

// ---- run-time number of taps

#define SVCONV_TAPS(count, CALL) \
  switch (count) { \
    case 1: CALL(1); break; \
    case 2: CALL(2); break; \
    case 3: CALL(3); break; \
    case 4: CALL(4); break; \
    case 5: CALL(5); break; \
    case 6: CALL(6); break; \
    case 7: CALL(7); break; \
    default: CALL(8); break; \
  }

template <typename F, typename T>
void gather_taps(int count, const Taps<F>& taps, const Ahead& ahead, const Rows<const T>& x, const Rows<T>& acc, Index images, Index n,
                 bool first) {
#define SVCONV_CALL(NT) gather_row<NT>(taps, ahead, x, acc, images, n, first)
  SVCONV_TAPS(count, SVCONV_CALL)
#undef SVCONV_CALL
}

template <typename F, typename T>
void scatter_taps(int count, const Taps<F>& taps, const Ahead& ahead, const Rows<const T>& z, const Rows<T>& acc, Index images, Index n) {
#define SVCONV_CALL(NT) scatter_row<NT>(taps, ahead, z, acc, images, n)
  SVCONV_TAPS(count, SVCONV_CALL)
#undef SVCONV_CALL
}

template <bool Streaming, typename F, typename T>
void product_taps(int count, F* df, Index fs, const Rows<const T>& y, const Rows<const T>& x, Index images, Index n) {
#define SVCONV_CALL(NT) product_row<NT, Streaming>(df, fs, y, x, images, n)
  SVCONV_TAPS(count, SVCONV_CALL)
#undef SVCONV_CALL
}

// Columns of a kernel in blocks of nearly equal width.
struct TapBlocks {
  Index columns;
  explicit TapBlocks(Index kw) : columns(kw), count_(divide_up(kw, kMaxTaps)) {}
  Index count() const { return count_; }
  Index begin(Index block) const { return columns * block / count_; }
  int width(Index block) const { return static_cast<int>(begin(block + 1) - begin(block)); }

 private:
  Index count_;
};

// ---- between storage and compute types

template <typename S, typename T> void read_row(const S* source, Index stride, T* target, Index n) {
  Index c = 0;
  if (stride == 1) {
    for (; c + Vector<T>::lanes <= n; c += Vector<T>::lanes) store(load(source + c), target + c);
  }
  for (; c < n; ++c) target[c] = to_compute(source[c * stride]);
}

template <typename T, typename S> void write_row(const T* source, S* target, Index n) {
  Index c = 0;
  for (; c + Vector<T>::lanes <= n; c += Vector<T>::lanes) store(load(source + c), target + c);
  for (; c < n; ++c) from_compute(source[c], target + c);
}

}  // namespace
}  // namespace svconv
