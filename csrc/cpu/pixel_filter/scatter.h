// The scatter forms of per-pixel filtering, x = F' y and the normal operator F' W F in one pass over the filters.
// A band of rows adds into a buffer of its own with kh - 1 more rows. Its halo rows wait in `halo`
// until all bands are done and are then added to the rows they belong to, band after band.
#pragma once

#include "cpu/pixel_filter/geometry.h"

namespace svconv {
namespace {

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

// Blocks of the gram: filter values of some rows and columns, all taps, that stay in the level-2 cache from their first
// to their second use. Large windows would leave runs so short that their ends cost more than they save: there a block is a long
// run of one row, whose second use finds it in the level-3 cache or, at worst, costs what a call of its own would.
struct GramBlocks {
  Index rows, width;

  GramBlocks(const Geometry& geo, Index band_rows, std::size_t item) {
    constexpr Index kBlockBytes = 400 << 10, kRun = 1024, kShort = 256;
    const Index pixels = kBlockBytes / static_cast<Index>(item) / (geo.kh * geo.kw);
    rows = min_index(band_rows, max_index(1, min_index(8, pixels / min_index(kRun, geo.width))));
    const Index fitting = pixels < kShort ? kRun : pixels / rows / 16 * 16;
    width = min_index(geo.width, round_up(divide_up(geo.width, divide_up(geo.width, fitting)), 16));
  }
};

template <typename X, typename F, bool Gram> class ScatterPass {
  using T = typename Compute<X>::type;
  static constexpr bool kRounds = sizeof(X) != sizeof(T);  // rows that wait for halos are kept in the compute type

 public:
  explicit ScatterPass(const PixelFilterCall& call)
      : call_(call),
        geo_(call),
        bands_(geo_),
        receivers_(geo_, bands_),
        direct_(call.filters.stride[6] == 1),
        blocks_(geo_, geo_.width, sizeof(T)),
        gram_(geo_, bands_.rows, sizeof(F)),
        pitch_(round_up(geo_.width + geo_.kw - 1, 16) + 16) {
    acc_image_ = (bands_.rows + geo_.kh - 1) * pitch_;
    if (!direct_) {
      stack_columns_ = blocks_.width, run_rows_ = 1;
      packed_size_ = geo_.kh * geo_.kw * blocks_.pitch;
    } else if (Gram) {
      stack_columns_ = gram_.width, run_rows_ = gram_.rows;
    } else {
      stack_columns_ = min_index(geo_.width, 2048);
      run_rows_ = min_index(bands_.rows, max_index(1, 16384 / (stack_columns_ * max_index(1, geo_.images))));
    }
    stack_pitch_ = round_up(stack_columns_ + 2 * kScatterMargin, 16);
    stack_image_ = run_rows_ * stack_pitch_;
  }

  Status run() {
    if (geo_.batch * geo_.channels == 0) return Status::ok;
    const Index images = geo_.batch * geo_.channels, tasks = geo_.filter_sets() * bands_.count;
    const Index per_thread = round_up(geo_.images * (acc_image_ * (Gram ? 2 : 1) + stack_image_) + packed_size_, 16);
    const int team = team_size(call_.threads, tasks, geo_.filter_count() * sizeof(F));
    Scratch scratch(static_cast<std::size_t>(team * per_thread) * sizeof(T));
    Scratch halo(static_cast<std::size_t>(images * bands_.count * bands_.halo_rows * geo_.width) * sizeof(T));
    Scratch waiting(kRounds ? static_cast<std::size_t>(images * receivers_.count * geo_.width) * sizeof(T) : 0);
    if (!scratch.ok() || !halo.ok() || !waiting.ok() || !receivers_.ok()) return Status::out_of_memory;
    halo_ = halo.as<T>();
    waiting_ = waiting.as<T>();

#pragma omp parallel for schedule(dynamic, 1) num_threads(team) if (team > 1)
    for (Index task = 0; task < tasks; ++task)
      band(task % geo_.filter_sets(), task / geo_.filter_sets(), scratch.as<T>() + thread_index() * per_thread);

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
      T* window = packed + packed_size_;
      for (Index g = 0; g < geo_.images; ++g)
        pack_window(image_at<const X>(call_.image, geo_, set, g), call_.image.stride[2], call_.image.stride[3], geo_, r0, rows, 0,
                    geo_.width, window + g * acc_image_, pitch_);
      if (direct_) by_gram_blocks(set, r0, rows, acc, stack, window);
      else by_blocks(set, r0, rows, acc, stack, packed, window);
    } else if (direct_) {
      by_taps(set, r0, rows, acc, stack);
    } else {
      by_blocks(set, r0, rows, acc, stack, packed, nullptr);
    }
    finish(set, band, r0, rows, acc);
  }

  // Adjoint where the filters' rows are contiguous: long runs down some rows of the band.
  void by_taps(Index set, Index r0, Index rows, T* acc, T* stack) {
    const Index* stride = call_.filters.stride;
    for (Index first = 0; first < rows; first += run_rows_)
      for (Index c0 = 0; c0 < geo_.width; c0 += stack_columns_)
        for (Index m = 0; m < geo_.maps; ++m) {
          const Index n = min_index(stack_columns_, geo_.width - c0), last = min_index(rows, first + run_rows_);
          for (Index r = first; r < last; ++r) read_stack(set, m, r0 + r, c0, n, stack + (r - first) * stack_pitch_);
          const F* f = filters_at<const F>(call_.filters, geo_, set) + m * stride[2] + r0 * stride[5] + c0;
          each_tap_block(geo_, [&](Index i, Index j, int count) {
            for (Index r = first; r < last; ++r) {
              const F* row = f + i * stride[3] + j * stride[4] + r * stride[5];
              const Ahead below(row + stride[5], stride[4], 0, r + 1 < last ? n : 0);
              scatter_taps(count, Taps<F>{row, stride[4]}, below,
                           Rows<const T>{stack + (r - first) * stack_pitch_ + kScatterMargin, stack_image_},
                           Rows<T>{acc + (r + i) * pitch_ + c0 + j, acc_image_}, geo_.images, n);
            }
          });
        }
  }

  // Gram where the filters' rows are contiguous: a block of filter values is used forwards as it arrives, then backwards.
  // Half of the next block is asked for in the backward use, so that memory does not rest meanwhile.
  void by_gram_blocks(Index set, Index r0, Index rows, T* acc, T* stack, const T* window) {
    const Index* stride = call_.filters.stride;
    for (Index first = 0; first < rows; first += gram_.rows)
      for (Index c0 = 0; c0 < geo_.width; c0 += gram_.width)
        for (Index m = 0; m < geo_.maps; ++m) {
          const Index n = min_index(gram_.width, geo_.width - c0), run = min_index(gram_.rows, rows - first);
          const F* f = filters_at<const F>(call_.filters, geo_, set) + m * stride[2] + (r0 + first) * stride[5] + c0;
          gather_gram_block(f, Rows<const T>{window + first * pitch_ + c0, acc_image_}, stack, run, n);
          for (Index r = 0; r < run; ++r) {
            T* row = stack + r * stack_pitch_;
            for (Index g = 0; g < geo_.images; ++g) clear_margins(row + g * stack_image_, n);
            if (call_.weights.data) weigh(set, m, r0 + first + r, c0, n, row);
          }
          const F* next = next_gram_block(f, m, c0, rows - first > gram_.rows);
          scatter_gram_block(f, next, stack, acc + first * pitch_ + c0, run, n);
        }
  }

  // First value of the next block; nullptr at the end of the band.
  const F* next_gram_block(const F* f, Index m, Index c0, bool more_rows) const {
    const Index* stride = call_.filters.stride;
    if (m + 1 < geo_.maps) return f + stride[2];
    f -= m * stride[2];
    if (c0 + gram_.width < geo_.width) return f + gram_.width;
    return more_rows ? f - c0 + gram_.rows * stride[5] : nullptr;
  }

  // Blocks of taps that are asked for while the block before is used backwards.
  Index early_taps() const { return geo_.kh * TapBlocks(geo_.kw).count() / 2; }

  void gather_gram_block(const F* f, const Rows<const T>& x, T* stack, Index run, Index n) const {
    const Index* stride = call_.filters.stride;
    const TapBlocks blocks(geo_.kw);
    Index later = early_taps();
    each_tap_block(geo_, [&](Index i, Index j, int count) {
      const Index later_row = later / blocks.count();
      const Index soon = later_row * stride[3] + blocks.begin(later % blocks.count()) * stride[4];
      for (Index r = 0; r < run; ++r) {
        const F* row = f + i * stride[3] + j * stride[4] + r * stride[5];
        const Ahead ahead = later_row < geo_.kh ? Ahead(f + soon + r * stride[5], stride[4], 0, n) : Ahead();
        gather_taps(count, Taps<F>{row, stride[4]}, ahead, Rows<const T>{x.data + (r + i) * pitch_ + j, x.image_stride},
                    Rows<T>{stack + r * stack_pitch_ + kScatterMargin, stack_image_}, geo_.images, n, i + j == 0);
      }
      ++later;
    });
  }

  void scatter_gram_block(const F* f, const F* next, const T* stack, T* out, Index run, Index n) const {
    const Index* stride = call_.filters.stride;
    Index early = next ? early_taps() : 0;
    each_tap_block(geo_, [&](Index i, Index j, int count) {
      const Index tap = i * stride[3] + j * stride[4];
      for (Index r = 0; r < run; ++r) {
        const Ahead ahead = early > 0 ? Ahead(next + tap + r * stride[5], stride[4], 0, n) : Ahead();
        scatter_taps(count, Taps<F>{f + tap + r * stride[5], stride[4]}, ahead,
                     Rows<const T>{stack + r * stack_pitch_ + kScatterMargin, stack_image_},
                     Rows<T>{out + (r + i) * pitch_ + j, acc_image_}, geo_.images, n);
      }
      --early;
    });
  }

  // Filters of any strides: all taps of a piece of a row are brought into order in the cache, then used.
  void by_blocks(Index set, Index r0, Index rows, T* acc, T* stack, T* packed, const T* window) {
    const Index* stride = call_.filters.stride;
    for (Index r = 0; r < rows; ++r)
      for (Index c0 = 0; c0 < geo_.width; c0 += blocks_.width)
        for (Index m = 0; m < geo_.maps; ++m) {
          const Index n = min_index(blocks_.width, geo_.width - c0);
          const F* f = filters_at<const F>(call_.filters, geo_, set) + m * stride[2] + (r0 + r) * stride[5] + c0 * stride[6];
          const Rows<T> sums{stack + kScatterMargin, stack_image_};
          pack_filters(f, stride, geo_, n, packed, blocks_.pitch);
          if constexpr (Gram) {
            gather_block(geo_, static_cast<const T*>(packed), blocks_.pitch, Rows<const T>{window + r * pitch_ + c0, acc_image_}, pitch_,
                         sums, n);
            for (Index g = 0; g < geo_.images; ++g) clear_margins(stack + g * stack_image_, n);
            if (call_.weights.data) weigh(set, m, r0 + r, c0, n, stack);
          } else {
            read_stack(set, m, r0 + r, c0, n, stack);
          }
          each_tap_block(geo_, [&](Index i, Index j, int count) {
            scatter_taps(count, Taps<T>{packed + (i * geo_.kw + j) * blocks_.pitch, blocks_.pitch}, Ahead{},
                         Rows<const T>{sums.data, stack_image_}, Rows<T>{acc + (r + i) * pitch_ + c0 + j, acc_image_}, geo_.images, n);
          });
        }
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
  const GramBlocks gram_;
  const Index pitch_;
  Index acc_image_ = 0, stack_image_ = 0, stack_columns_ = 0, stack_pitch_ = 0, run_rows_ = 0, packed_size_ = 0;
  T *halo_ = nullptr, *waiting_ = nullptr;
};

template <typename X, typename F> Status adjoint(const PixelFilterCall& call) { return ScatterPass<X, F, false>(call).run(); }
template <typename X, typename F> Status gram(const PixelFilterCall& call) { return ScatterPass<X, F, true>(call).run(); }

}  // namespace
}  // namespace svconv
