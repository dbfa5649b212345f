// Per-pixel filtering on the CPU: y[b,c,m,p] = sum_d f[b,c,m,d,p] x[b,c,p+d], its transpose, its gradient, F'WF.
// Memory traffic is the cost: every filter value is read once for all images that share it. A task is a tile or band
// whose place depends on the shapes alone, computed whole by one thread: results do not depend on the thread count.
#include "pixel_filter.h"

#include "../core/boundary.h"
#include "pixel_filter_rows.h"

namespace svconv {
void advise_huge_pages(void* data, std::size_t bytes);

namespace SVCONV_ISA {
namespace {

struct Geometry {
  Index batch, channels, maps, kh, kw, height, width;
  Index filter_batch, filter_channels;  // 1 or batch, 1 or channels
  Index cy, cx;                         // the tap that meets the pixel itself
  Index images;                         // images that share one set of filters
  int padding;

  Geometry(const PixelFilterCall& call) {
    const Index* f = call.filters.shape;
    batch = call.image.shape[0], channels = call.image.shape[1];
    filter_batch = f[0], filter_channels = f[1];
    maps = f[2], kh = f[3], kw = f[4], height = f[5], width = f[6];
    cy = (kh - 1) / 2, cx = (kw - 1) / 2;
    images = (batch / max_index(1, filter_batch)) * (channels / max_index(1, filter_channels));
    padding = call.padding;
  }
  Index filter_sets() const { return filter_batch * filter_channels; }
  bool empty() const { return batch * channels * maps == 0; }
  double filter_count() const { return 1.0 * filter_sets() * maps * kh * kw * height * width; }

  // The g-th image that uses a set of filters.
  Index image_batch(Index set, Index g) const {
    return filter_batch == 1 ? g / (channels / filter_channels) : set / filter_channels;
  }
  Index image_channel(Index set, Index g) const {
    return filter_channels == 1 ? g % channels : set % filter_channels;
  }
};

template <typename S> S* at(const View& view, Index i0, Index i1) {
  return static_cast<S*>(view.data) + i0 * view.stride[0] + i1 * view.stride[1];
}

template <typename S> S* image_at(const View& view, const Geometry& geo, Index set, Index g) {
  return at<S>(view, geo.image_batch(set, g), geo.image_channel(set, g));
}

template <typename S> S* filters_at(const View& view, const Geometry& geo, Index set) {
  return at<S>(view, set / geo.filter_channels, set % geo.filter_channels);
}

// Rows [r0 - cy, r0 + rows + kh - 1 - cy) and columns likewise of one image, continued by the padding.
template <typename X, typename T>
void pack_window(const X* x, Index row_stride, Index stride, const Geometry& geo, Index r0, Index rows, Index c0, Index n,
                 T* out, Index pitch) {
  const Index begin = c0 - geo.cx, end = c0 + n + geo.kw - 1 - geo.cx;
  const Index inner_begin = min_index(max_index(begin, 0), end), inner_end = max_index(min_index(end, geo.width), inner_begin);
  for (Index r = 0; r < rows + geo.kh - 1; ++r, out += pitch) {
    const Index row = boundary_index(r0 - geo.cy + r, geo.height, geo.padding);
    if (row < 0) {
      memset(out, 0, static_cast<std::size_t>(end - begin) * sizeof(T));
      continue;
    }
    const X* source = x + row * row_stride;
    const auto continued = [&](Index from, Index to) {
      for (Index c = from; c < to; ++c) {
        const Index column = boundary_index(c, geo.width, geo.padding);
        out[c - begin] = column < 0 ? T{0} : to_compute(source[column * stride]);
      }
    };
    continued(begin, inner_begin);
    read_row(source + inner_begin * stride, stride, out + (inner_begin - begin), inner_end - inner_begin);
    continued(inner_end, end);
  }
}

// All taps of n pixels of a row from any strides to [kh * kw][pitch].
template <typename F, typename T>
void pack_filters(const F* f, const Index* stride, const Geometry& geo, Index n, T* out, Index pitch) {
  constexpr Index kPixels = 16;
  for (Index c0 = 0; c0 < n; c0 += kPixels) {
    const Index count = min_index(kPixels, n - c0);
    for (Index i = 0; i < geo.kh; ++i)
      for (Index j = 0; j < geo.kw; ++j) {
        const F* source = f + i * stride[3] + j * stride[4] + c0 * stride[6];
        T* target = out + (i * geo.kw + j) * pitch + c0;
        for (Index c = 0; c < count; ++c) target[c] = to_compute(source[c * stride[6]]);
      }
  }
}

// ---- blocks: all taps of a piece of a row, kept in the level-2 cache between their uses

struct RowBlocks {
  Index count, width, pitch;
  RowBlocks(const Geometry& geo, Index columns, std::size_t item) {
    constexpr Index kBlockBytes = 256 << 10;
    const Index fitting = max_index(64, kBlockBytes / static_cast<Index>(item) / (geo.kh * geo.kw) / 16 * 16);
    count = divide_up(columns, fitting);
    width = min_index(columns, round_up(divide_up(columns, count), 16));
    count = divide_up(columns, width);
    pitch = round_up(width, 16) + 16;  // not a power of two: rows would share cache sets
  }
};

template <typename F, typename T>
void gather_block(const Geometry& geo, const F* f, Index row_taps, Index tap, Index ahead, const Rows<const T>& x, Index x_pitch,
                  const Rows<T>& acc, Index n) {
  const TapBlocks blocks(geo.kw);
  for (Index i = 0; i < geo.kh; ++i)
    for (Index k = 0; k < blocks.count(); ++k) {
      const Index j = blocks.begin(k);
      gather_taps(blocks.width(k), Taps<F>{f + i * row_taps + j * tap, tap, ahead, 0, ahead ? n / 2 : 0},
                  Rows<const T>{x.data + i * x_pitch + j, x.image_stride}, acc, geo.images, n, i + k == 0);
    }
}

template <typename F, typename T>
void scatter_block(const Geometry& geo, const F* f, Index row_taps, Index tap, Index ahead, const Rows<const T>& z,
                   const Rows<T>& acc, Index acc_pitch, Index n) {
  const TapBlocks blocks(geo.kw);
  for (Index i = 0; i < geo.kh; ++i)
    for (Index k = 0; k < blocks.count(); ++k) {
      const Index j = blocks.begin(k);
      scatter_taps(blocks.width(k), Taps<F>{f + i * row_taps + j * tap, tap, ahead, n / 2, ahead ? n : 0}, z,
                   Rows<T>{acc.data + i * acc_pitch + j, acc.image_stride}, geo.images, n);
    }
}

// ---- tiles of the gather forms

struct Tiling {
  Index rows, columns, row_tiles, column_tiles, pitch;

  Tiling(const Geometry& geo, std::size_t item) {
    constexpr Index kPixels = 8192, kWindowBytes = 640 << 10, kFewTasks = 16;
    columns = min_index(geo.width, 4096);
    rows = min_index(geo.height, max_index(1, kPixels / columns));
    const auto window = [&] {
      return geo.images * (rows + geo.kh - 1) * (columns + geo.kw - 1) * static_cast<Index>(item);
    };
    while (window() > kWindowBytes && (rows > 1 || columns > 128)) {
      if (rows > 4 || columns <= 128) rows = divide_up(rows, 2);
      else columns = round_up(divide_up(columns, 2), 16);
    }
    while (rows > 1 && tasks(geo) < kFewTasks) rows = divide_up(rows, 2);
    pitch = round_up(columns + geo.kw - 1, 16);
    tasks(geo);
  }
  Index tasks(const Geometry& geo) {
    row_tiles = divide_up(geo.height, rows);
    column_tiles = divide_up(geo.width, columns);
    return geo.filter_sets() * row_tiles * column_tiles;
  }
  Index window_rows(const Geometry& geo) const { return rows + geo.kh - 1; }
};

struct Tile {
  Index set, r0, rows, c0, columns;
  Tile(const Geometry& geo, const Tiling& tiling, Index task) {
    c0 = task % tiling.column_tiles * tiling.columns;
    task /= tiling.column_tiles;
    r0 = task % tiling.row_tiles * tiling.rows;
    set = task / tiling.row_tiles;
    rows = min_index(tiling.rows, geo.height - r0);
    columns = min_index(tiling.columns, geo.width - c0);
  }
};

template <typename X, typename T>
void pack_tile(const View& image, const Geometry& geo, const Tile& tile, T* window, Index pitch, Index image_stride) {
  for (Index g = 0; g < geo.images; ++g)
    pack_window(image_at<const X>(image, geo, tile.set, g), image.stride[2], image.stride[3], geo, tile.r0, tile.rows, tile.c0,
                tile.columns, window + g * image_stride, pitch);
}

// One map of a tile where the filters' rows are contiguous: long runs down the rows, one block of taps at a time.
template <typename F, typename T>
void gather_tile(const Geometry& geo, const F* f, const Index* stride, const Tile& tile, const Rows<const T>& window,
                 Index pitch, const Rows<T>& acc) {
  const TapBlocks blocks(geo.kw);
  for (Index i = 0; i < geo.kh; ++i)
    for (Index k = 0; k < blocks.count(); ++k) {
      const Index j = blocks.begin(k);
      for (Index r = 0; r < tile.rows; ++r) {
        const F* row = f + i * stride[3] + j * stride[4] + (tile.r0 + r) * stride[5] + tile.c0;
        gather_taps(blocks.width(k), Taps<F>{row, stride[4], stride[5], 0, r + 1 < tile.rows ? tile.columns : 0},
                    Rows<const T>{window.data + (r + i) * pitch + j, window.image_stride},
                    Rows<T>{acc.data + r * tile.columns, acc.image_stride}, geo.images, tile.columns, i + k == 0);
      }
    }
}

// The same from any strides: every piece of a row is brought into order in the cache first.
template <typename F, typename T>
void gather_tile_packed(const Geometry& geo, const F* f, const Index* stride, const Tile& tile, const Rows<const T>& window,
                        Index pitch, const Rows<T>& acc, const RowBlocks& blocks, T* packed) {
  for (Index r = 0; r < tile.rows; ++r)
    for (Index c = 0; c < tile.columns; c += blocks.width) {
      const Index n = min_index(blocks.width, tile.columns - c);
      pack_filters(f + (tile.r0 + r) * stride[5] + (tile.c0 + c) * stride[6], stride, geo, n, packed, blocks.pitch);
      gather_block(geo, static_cast<const T*>(packed), geo.kw * blocks.pitch, blocks.pitch, 0,
                   Rows<const T>{window.data + r * pitch + c, window.image_stride}, pitch,
                   Rows<T>{acc.data + r * tile.columns + c, acc.image_stride}, n);
    }
}

template <typename X, typename F>
Status forward(const PixelFilterCall& call) {
  using T = typename Compute<X>::type;
  const Geometry geo(call);
  if (geo.empty()) return Status::ok;
  const bool direct = call.filters.stride[6] == 1;
  Tiling tiling(geo, sizeof(T));
  const Index tasks = tiling.tasks(geo), window_image = tiling.window_rows(geo) * tiling.pitch;
  const Index acc_image = tiling.rows * tiling.columns;
  const RowBlocks blocks(geo, tiling.columns, sizeof(T));
  const Index packed_size = direct ? 0 : geo.kh * geo.kw * blocks.pitch;
  const Index per_thread = round_up(geo.images * (window_image + acc_image) + packed_size, 16);
  const int team = team_size(call.threads, tasks, geo.filter_count() * sizeof(F));
  Scratch scratch(static_cast<std::size_t>(team * per_thread) * sizeof(T));
  if (!scratch.ok()) return Status::out_of_memory;

#pragma omp parallel for schedule(dynamic, 1) num_threads(team) if (team > 1)
  for (Index task = 0; task < tasks; ++task) {
    const Tile tile(geo, tiling, task);
    T* window = scratch.as<T>() + thread_index() * per_thread;
    T* acc = window + geo.images * window_image;
    T* packed = acc + geo.images * acc_image;
    pack_tile<X>(call.image, geo, tile, window, tiling.pitch, window_image);
    const F* f = filters_at<const F>(call.filters, geo, tile.set);
    for (Index m = 0; m < geo.maps; ++m, f += call.filters.stride[2]) {
      const Rows<const T> x{window, window_image};
      const Rows<T> sums{acc, acc_image};
      if (direct) gather_tile(geo, f, call.filters.stride, tile, x, tiling.pitch, sums);
      else gather_tile_packed(geo, f, call.filters.stride, tile, x, tiling.pitch, sums, blocks, packed);
      for (Index g = 0; g < geo.images; ++g) {
        X* y = image_at<X>(call.stack, geo, tile.set, g) + m * call.stack.stride[2] + tile.c0;
        for (Index r = 0; r < tile.rows; ++r)
          write_row(acc + g * acc_image + r * tile.columns, y + (tile.r0 + r) * geo.width, tile.columns);
      }
    }
  }
  return Status::ok;
}

// ---- gradient in the filters

template <typename X, typename F>
Status backward_filters(const PixelFilterCall& call) {
  using T = typename Compute<X>::type;
  const Geometry geo(call);
  const double bytes = geo.filter_count() * sizeof(F);
  if (bytes == 0) return Status::ok;
  if (geo.batch * geo.channels == 0) {
    memset(call.filters.data, 0, static_cast<std::size_t>(bytes));
    return Status::ok;
  }
  advise_huge_pages(call.filters.data, static_cast<std::size_t>(bytes));
  constexpr double kBeyondCaches = 16 << 20;
  Tiling tiling(geo, sizeof(T));
  const Index tasks = tiling.tasks(geo), window_image = tiling.window_rows(geo) * tiling.pitch;
  const Index y_image = tiling.rows * tiling.columns;
  const Index per_thread = round_up(geo.images * (window_image + y_image), 16);
  const int team = team_size(call.threads, tasks, bytes);
  Scratch scratch(static_cast<std::size_t>(team * per_thread) * sizeof(T));
  if (!scratch.ok()) return Status::out_of_memory;
  const Index* stride = call.filters.stride;
  const bool streaming = bytes > kBeyondCaches && reinterpret_cast<std::uintptr_t>(call.filters.data) % kVectorBytes == 0 &&
                         geo.width * sizeof(F) % kVectorBytes == 0 && tiling.columns * sizeof(F) % kVectorBytes == 0;
  const TapBlocks blocks(geo.kw);

#pragma omp parallel num_threads(team) if (team > 1)
  {
    T* window = scratch.as<T>() + thread_index() * per_thread;
    T* packed = window + geo.images * window_image;
#pragma omp for schedule(dynamic, 1)
    for (Index task = 0; task < tasks; ++task) {
      const Tile tile(geo, tiling, task);
      pack_tile<X>(call.image, geo, tile, window, tiling.pitch, window_image);
      for (Index m = 0; m < geo.maps; ++m) {
        for (Index g = 0; g < geo.images; ++g) {
          const X* y = image_at<const X>(call.stack, geo, tile.set, g) + m * call.stack.stride[2];
          for (Index r = 0; r < tile.rows; ++r)
            read_row(y + (tile.r0 + r) * call.stack.stride[3] + tile.c0 * call.stack.stride[4], call.stack.stride[4],
                     packed + g * y_image + r * tile.columns, tile.columns);
        }
        F* df = filters_at<F>(call.filters, geo, tile.set) + m * stride[2] + tile.c0;
        for (Index i = 0; i < geo.kh; ++i)
          for (Index k = 0; k < blocks.count(); ++k) {
            const Index j = blocks.begin(k);
            for (Index r = 0; r < tile.rows; ++r) {
              F* row = df + i * stride[3] + j * stride[4] + (tile.r0 + r) * stride[5];
              const Rows<const T> y{packed + r * tile.columns, y_image};
              const Rows<const T> x{window + (r + i) * tiling.pitch + j, window_image};
              if (streaming) product_taps<true>(blocks.width(k), row, stride[4], y, x, geo.images, tile.columns);
              else product_taps<false>(blocks.width(k), row, stride[4], y, x, geo.images, tile.columns);
            }
          }
      }
    }
    if (streaming) fence_streaming();
  }
  return Status::ok;
}

// ---- scatter forms: a band of rows adds into a buffer of its own with kh - 1 more rows. Its halo rows wait in `halo`
// until all bands are done and are then added to the rows they belong to, band after band.

struct Bands {
  Index rows, count, halo_rows;
  explicit Bands(const Geometry& geo) {
    rows = min_index(geo.height, geo.kh > 16 ? 64 : 32);
    if (geo.filter_sets() * divide_up(geo.height, rows) < 16) rows = max_index(1, min_index(rows, divide_up(geo.height, 16)));
    count = divide_up(geo.height, rows);
    halo_rows = geo.kh - 1;
  }
  // Row of the extended plane that a halo row of a band stands for.
  Index halo_place(const Geometry& geo, Index band, Index h) const {
    const Index r0 = band * rows, r1 = min_index(geo.height, r0 + rows);
    return h < geo.cy ? r0 - geo.cy + h : r1 + (h - geo.cy);
  }
};

// For every row of the image the halo rows that fold into it, and its place among the rows that receive any.
class Receivers {
 public:
  Receivers(const Geometry& geo, const Bands& bands)
      : memory_(static_cast<std::size_t>(2 * geo.height + 2 + bands.count * bands.halo_rows) * sizeof(Index)) {
    if (!memory_.ok()) return;
    begin_ = memory_.as<Index>();
    slot_ = begin_ + geo.height + 1;
    entries_ = slot_ + geo.height + 1;
    memset(begin_, 0, static_cast<std::size_t>(geo.height + 1) * sizeof(Index));
    const Index halos = bands.count * bands.halo_rows;
    const auto row = [&](Index e) {
      return boundary_index(bands.halo_place(geo, e / bands.halo_rows, e % bands.halo_rows), geo.height, geo.padding);
    };
    for (Index e = 0; e < halos; ++e)
      if (const Index q = row(e); q >= 0) ++begin_[q + 1];
    count = 0;
    for (Index q = 0; q < geo.height; ++q) {
      slot_[q] = begin_[q + 1] ? count++ : -1;
      begin_[q + 1] += begin_[q];
    }
    for (Index e = 0; e < halos; ++e)
      if (const Index q = row(e); q >= 0) entries_[begin_[q]++] = e;
    for (Index q = geo.height; q > 0; --q) begin_[q] = begin_[q - 1];
    begin_[0] = 0;
  }
  bool ok() const { return memory_.ok(); }
  Index slot(Index row) const { return slot_[row]; }
  Index begin(Index row) const { return begin_[row]; }
  Index entry(Index k) const { return entries_[k]; }
  Index count = 0;

 private:
  Scratch memory_;
  Index *begin_ = nullptr, *slot_ = nullptr, *entries_ = nullptr;
};

template <typename X, typename F, bool Gram>
class ScatterPass {
  using T = typename Compute<X>::type;
  static constexpr bool kRounds = sizeof(X) != sizeof(T);  // rows that wait for halos are kept in the compute type

 public:
  explicit ScatterPass(const PixelFilterCall& call)
      : call_(call), geo_(call), bands_(geo_), receivers_(geo_, bands_), direct_(call.filters.stride[6] == 1),
        blocks_(geo_, geo_.width, direct_ ? sizeof(F) : sizeof(T)), pitch_(round_up(geo_.width + geo_.kw - 1, 16) + 16) {
    acc_image_ = (bands_.rows + geo_.kh - 1) * pitch_;
    stack_columns_ = Gram || !direct_ ? blocks_.width : min_index(geo_.width, 2048);
    run_rows_ = min_index(bands_.rows, max_index(1, 16384 / (stack_columns_ * max_index(1, geo_.images))));
    stack_pitch_ = round_up(stack_columns_ + 2 * kScatterMargin, 16);
    stack_image_ = Gram || !direct_ ? stack_pitch_ : run_rows_ * stack_pitch_;
  }

  Status run() {
    if (geo_.batch * geo_.channels == 0) return Status::ok;
    const Index images = geo_.batch * geo_.channels, tasks = geo_.filter_sets() * bands_.count;
    const Index packed_size = direct_ ? 0 : geo_.kh * geo_.kw * blocks_.pitch;
    const Index per_thread = round_up(geo_.images * (acc_image_ * (Gram ? 2 : 1) + stack_image_) + packed_size, 16);
    const int team = team_size(call_.threads, tasks, geo_.filter_count() * sizeof(F));
    Scratch scratch(static_cast<std::size_t>(team * per_thread) * sizeof(T));
    Scratch halo(static_cast<std::size_t>(images * bands_.count * bands_.halo_rows * geo_.width) * sizeof(T));
    Scratch waiting(kRounds ? static_cast<std::size_t>(images * receivers_.count * geo_.width) * sizeof(T) : 0);
    if (!scratch.ok() || !halo.ok() || !waiting.ok() || !receivers_.ok()) return Status::out_of_memory;
    halo_ = halo.as<T>();
    waiting_ = waiting.as<T>();

#pragma omp parallel for schedule(dynamic, 1) num_threads(team) if (team > 1)
    for (Index task = 0; task < tasks; ++task) band(task / bands_.count, task % bands_.count, scratch.as<T>() + thread_index() * per_thread);

    const Index rows = images * geo_.height;
#pragma omp parallel for schedule(static) num_threads(team) if (team > 1)
    for (Index row = 0; row < rows; ++row) merge(row / geo_.height, row % geo_.height);
    return Status::ok;
  }

 private:
  void band(Index set, Index band, T* memory) {
    const Index r0 = band * bands_.rows, rows = min_index(bands_.rows, geo_.height - r0);
    T* acc = memory;
    T* stack = acc + geo_.images * acc_image_;
    T* packed = stack + geo_.images * stack_image_;
    memset(acc, 0, static_cast<std::size_t>(geo_.images * acc_image_) * sizeof(T));
    if constexpr (Gram) {
      T* window = packed + (direct_ ? 0 : geo_.kh * geo_.kw * blocks_.pitch);
      for (Index g = 0; g < geo_.images; ++g)
        pack_window(image_at<const X>(call_.image, geo_, set, g), call_.image.stride[2], call_.image.stride[3], geo_, r0, rows, 0,
                    geo_.width, window + g * acc_image_, pitch_);
      by_blocks(set, r0, rows, acc, stack, packed, window);
    } else if (direct_) {
      by_taps(set, r0, rows, acc, stack);
    } else {
      by_blocks(set, r0, rows, acc, stack, packed, nullptr);
    }
    finish(set, band, r0, rows, acc);
  }

  // Adjoint where the filters' rows are contiguous: long runs down the rows of the band.
  void by_taps(Index set, Index r0, Index rows, T* acc, T* stack) {
    const Index* stride = call_.filters.stride;
    const TapBlocks blocks(geo_.kw);
    for (Index first = 0; first < rows; first += run_rows_)
      for (Index c0 = 0; c0 < geo_.width; c0 += stack_columns_)
        for (Index m = 0; m < geo_.maps; ++m) {
          const Index n = min_index(stack_columns_, geo_.width - c0), last = min_index(rows, first + run_rows_);
          for (Index r = first; r < last; ++r) read_stack(set, m, r0 + r, c0, n, stack + (r - first) * stack_pitch_);
          const F* f = filters_at<const F>(call_.filters, geo_, set) + m * stride[2] + r0 * stride[5] + c0;
          for (Index i = 0; i < geo_.kh; ++i)
            for (Index k = 0; k < blocks.count(); ++k) {
              const Index j = blocks.begin(k);
              for (Index r = first; r < last; ++r)
                scatter_taps(blocks.width(k), Taps<F>{f + i * stride[3] + j * stride[4] + r * stride[5], stride[4], stride[5], 0, r + 1 < last ? n : 0},
                             Rows<const T>{stack + (r - first) * stack_pitch_ + kScatterMargin, stack_image_},
                             Rows<T>{acc + (r + i) * pitch_ + c0 + j, acc_image_}, geo_.images, n);
            }
        }
  }

  // All taps of a piece of a row at once: for the gram both uses of a filter value, or filters of any strides.
  void by_blocks(Index set, Index r0, Index rows, T* acc, T* stack, T* packed, const T* window) {
    const Index* stride = call_.filters.stride;
    for (Index r = 0; r < rows; ++r)
      for (Index c0 = 0; c0 < geo_.width; c0 += blocks_.width)
        for (Index m = 0; m < geo_.maps; ++m) {
          const Index n = min_index(blocks_.width, geo_.width - c0);
          const F* f = filters_at<const F>(call_.filters, geo_, set) + m * stride[2] + (r0 + r) * stride[5] + c0 * stride[6];
          T* out = acc + r * pitch_ + c0;
          const T* x = Gram ? window + r * pitch_ + c0 : nullptr;
          if (direct_) {
            block(set, m, r0 + r, c0, n, f, stride[3], stride[4], next_block(m, c0, r + 1 < rows), x, stack, out);
          } else {
            pack_filters(f, stride, geo_, n, packed, blocks_.pitch);
            block(set, m, r0 + r, c0, n, static_cast<const T*>(packed), geo_.kw * blocks_.pitch, blocks_.pitch, 0, x, stack, out);
          }
        }
  }

  // From a filter value to the one that is used in its place in the next block; 0 at the end.
  Index next_block(Index m, Index c0, bool more_rows) const {
    const Index* stride = call_.filters.stride;
    const Index first_map = (1 - geo_.maps) * stride[2];
    if (m + 1 < geo_.maps) return stride[2];
    if (c0 + blocks_.width < geo_.width) return first_map + blocks_.width;
    return more_rows ? first_map - c0 + stride[5] : 0;
  }

  template <typename S>
  void block(Index set, Index m, Index row, Index c0, Index n, const S* f, Index row_taps, Index tap, Index ahead, const T* x,
             T* stack, T* out) {
    if constexpr (Gram) {
      gather_block(geo_, f, row_taps, tap, ahead, Rows<const T>{x, acc_image_}, pitch_,
                   Rows<T>{stack + kScatterMargin, stack_image_}, n);
      for (Index g = 0; g < geo_.images; ++g) clear_margins(stack + g * stack_image_, n);
      if (call_.weights.data) weigh(set, m, row, c0, n, stack);
    } else {
      read_stack(set, m, row, c0, n, stack);
    }
    scatter_block(geo_, f, row_taps, tap, ahead, Rows<const T>{stack + kScatterMargin, stack_image_}, Rows<T>{out, acc_image_},
                  pitch_, n);
  }

  void read_stack(Index set, Index m, Index row, Index c0, Index n, T* out) {
    const Index* stride = call_.stack.stride;
    for (Index g = 0; g < geo_.images; ++g) {
      read_row(image_at<const X>(call_.stack, geo_, set, g) + m * stride[2] + row * stride[3] + c0 * stride[4], stride[4],
               out + g * stack_image_ + kScatterMargin, n);
      clear_margins(out + g * stack_image_, n);
    }
  }

  static void clear_margins(T* row, Index n) {
    memset(row, 0, kScatterMargin * sizeof(T));
    memset(row + kScatterMargin + n, 0, kScatterMargin * sizeof(T));
  }

  void weigh(Index set, Index m, Index row, Index c0, Index n, T* stack) {
    const Index* stride = call_.weights.stride;
    for (Index g = 0; g < geo_.images; ++g) {
      const X* w = image_at<const X>(call_.weights, geo_, set, g) + m * stride[2] + row * stride[3] + c0 * stride[4];
      for (Index c = 0; c < n; ++c) stack[g * stack_image_ + kScatterMargin + c] *= to_compute(w[c * stride[4]]);
    }
  }

  // Folds the columns, writes the rows that are complete, puts the others where merge() finds them.
  void finish(Index set, Index band, Index r0, Index rows, T* acc) {
    for (Index g = 0; g < geo_.images; ++g) {
      const Index image = geo_.image_batch(set, g) * geo_.channels + geo_.image_channel(set, g);
      for (Index a = 0; a < rows + geo_.kh - 1; ++a) {
        T* row = acc + g * acc_image_ + a * pitch_ + geo_.cx;
        for (Index e = 0; e < geo_.kw - 1; ++e) {
          const Index c = e < geo_.cx ? e - geo_.cx : geo_.width + e - geo_.cx;
          if (const Index q = boundary_index(c, geo_.width, geo_.padding); q >= 0) row[q] += row[c];
        }
        if (a < geo_.cy || a >= geo_.cy + rows) {
          const Index h = a < geo_.cy ? a : a - rows;
          write_row(row, halo_row(image, band * bands_.halo_rows + h), geo_.width);
        } else if (const Index q = r0 + a - geo_.cy; kRounds && receivers_.slot(q) >= 0) {
          write_row(row, waiting_row(image, q), geo_.width);
        } else {
          write_row(row, result_row(image, q), geo_.width);
        }
      }
    }
  }

  void merge(Index image, Index q) {
    if (receivers_.slot(q) < 0) return;
    T* sum = nullptr;
    if constexpr (kRounds) sum = waiting_row(image, q);
    else sum = result_row(image, q);
    for (Index k = receivers_.begin(q); k < receivers_.begin(q + 1); ++k) {
      const T* halo = halo_row(image, receivers_.entry(k));
      for (Index c = 0; c < geo_.width; ++c) sum[c] += halo[c];
    }
    if constexpr (kRounds) write_row(sum, result_row(image, q), geo_.width);
  }

  T* halo_row(Index image, Index entry) const { return halo_ + (image * bands_.count * bands_.halo_rows + entry) * geo_.width; }
  T* waiting_row(Index image, Index q) const { return waiting_ + (image * receivers_.count + receivers_.slot(q)) * geo_.width; }
  X* result_row(Index image, Index q) const { return static_cast<X*>(call_.result.data) + (image * geo_.height + q) * geo_.width; }

  const PixelFilterCall& call_;
  const Geometry geo_;
  const Bands bands_;
  const Receivers receivers_;
  const bool direct_;
  const RowBlocks blocks_;
  const Index pitch_;
  Index acc_image_ = 0, stack_image_ = 0, stack_columns_ = 0, stack_pitch_ = 0, run_rows_ = 0;
  T *halo_ = nullptr, *waiting_ = nullptr;
};

template <typename X, typename F> Status adjoint(const PixelFilterCall& call) { return ScatterPass<X, F, false>(call).run(); }
template <typename X, typename F> Status gram(const PixelFilterCall& call) { return ScatterPass<X, F, true>(call).run(); }

// ---- storage types: filters as the image, or half filters beside a float32 image

#define SVCONV_BY_TYPE(NAME, IMAGE, FUNCTION)                                                  \
  Status NAME(const PixelFilterCall& call) {                                                   \
    switch (call.IMAGE.dtype) {                                                                \
      case DType::f64: return FUNCTION<double, double>(call);                                  \
      case DType::bf16: return FUNCTION<BF16, BF16>(call);                                     \
      case DType::f16: return FUNCTION<F16, F16>(call);                                        \
      default: break;                                                                          \
    }                                                                                          \
    switch (call.filters.dtype) {                                                              \
      case DType::bf16: return FUNCTION<float, BF16>(call);                                    \
      case DType::f16: return FUNCTION<float, F16>(call);                                      \
      default: return FUNCTION<float, float>(call);                                            \
    }                                                                                          \
  }

SVCONV_BY_TYPE(fwd_any, image, forward)
SVCONV_BY_TYPE(adjoint_any, stack, adjoint)
SVCONV_BY_TYPE(bwd_filters_any, image, backward_filters)
SVCONV_BY_TYPE(gram_any, image, gram)
#undef SVCONV_BY_TYPE

}  // namespace

const PixelFilterTable pixel_filter = {fwd_any, adjoint_any, bwd_filters_any, gram_any};

}  // namespace SVCONV_ISA
}  // namespace svconv
