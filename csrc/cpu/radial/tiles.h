// A blur tile by tile. A task is a tile of the image and one map, done whole by one thread: which tiles there are, and the order of every
// sum, depends on the shapes and the map alone.
#pragma once

#include "cpu/radial/geometry.h"

namespace svconv {
namespace {

constexpr Index kImages = 8;  // at most, that are done at once
constexpr Index kGatherRows = 64, kGatherColumns = 128;
// Parts that kernels are added to: large ones where kernels are, or much of the work would be done for their neighbours too.
constexpr struct {
  Index reach, rows, columns;
} kSpread[] = {{16, 64, 256}, {32, 96, 128}, {Index{1} << 40, 128, 256}};
constexpr Index kBeyond = 32;  // rows and columns beyond the image that are done with those inside

struct Tile {
  Index map, y, x, rows, columns;
};

// Kernel: as Reaches takes it. Gatherer and Spreader of S blur a part of the plane: the kernels of the pixels that are written, of those
// that are read.
template <typename S, typename Kernel, typename Gatherer, typename Spreader> class Blur {
 public:
  using T = typename Compute<S>::type;
  static constexpr Index kLanes = Vector<T>::lanes;

  explicit Blur(const RadialCall& call) : call_(call), geo_(call), reaches_(geo_) {
    rows_ = kGatherRows, columns_ = kGatherColumns;
    if (geo_.spreads) {
      int size = 0;
      while (Kernel::reach(call.largest, call) > kSpread[size].reach) ++size;
      rows_ = kSpread[size].rows, columns_ = kSpread[size].columns;
    }
    rows_ = min_index(rows_, geo_.height), columns_ = min_index(columns_, geo_.width);
    down_ = divide_up(geo_.height, rows_), across_ = divide_up(geo_.width, columns_);
    pitch_ = round_up(columns_, kLanes);
  }

  Status run() {
    if (geo_.images() == 0) {
      clear();
      return Status::ok;
    }
    if (!reaches_.ok()) return Status::out_of_memory;
    const Index maps = geo_.maps(), tasks = maps * down_ * across_;
    const double work = 32.0 * static_cast<double>(geo_.batch * geo_.channels * geo_.height * geo_.width) * sizeof(T);
    [[maybe_unused]] const int team = team_size(call_.threads, tasks, work);
    bool failed = false;
#pragma omp parallel num_threads(team) if (team > 1)
    {
#pragma omp for schedule(static)
      for (Index map = 0; map < maps; ++map) reaches_.template fill<T>(call_, map);
      Worker worker(*this);
#pragma omp for schedule(dynamic, 1)
      for (Index task = 0; task < tasks; ++task)
        if (!worker.run(tile_of(task))) {
#pragma omp atomic write
          failed = true;
        }
    }
    return failed ? Status::out_of_memory : Status::ok;
  }

 private:
  Tile tile_of(Index task) const {
    Tile tile;
    tile.x = task % across_ * columns_, task /= across_;
    tile.y = task % down_ * rows_, tile.map = task / down_;
    tile.rows = min_index(rows_, geo_.height - tile.y), tile.columns = min_index(columns_, geo_.width - tile.x);
    return tile;
  }

  // The gradient in a map that no image uses.
  void clear() const {
    if (!call_.second.data) return;
    const Index n = geo_.maps() * geo_.height * geo_.width;
    for (Index i = 0; i < n; ++i) static_cast<T*>(call_.result.data)[i] = 0;
  }

  // What one thread does and keeps.
  class Worker {
   public:
    explicit Worker(const Blur& blur)
        : blur_(blur), call_(blur.call_), geo_(blur.geo_), gatherer_(call_, geo_), spreader_(call_, geo_, blur.reaches_) {}

    bool run(const Tile& tile) {
      const Index images = geo_.images(), at_once = min_index(images, kImages), pitch = blur_.pitch_;
      image_stride_ = blur_.rows_ * pitch;
      T* const sums = reinterpret_cast<T*>(memory_.get(static_cast<std::size_t>((at_once + 1) * image_stride_ + kLanes) * sizeof(T)));
      if (!sums) return false;
      T* const gradient = sums + at_once * image_stride_;
      memset(static_cast<void*>(gradient), 0, static_cast<std::size_t>(image_stride_) * sizeof(T));
      for (Index first = 0; first < images; first += at_once) {
        const Index count = min_index(at_once, images - first);
        const bool done = geo_.folded ? fold(tile, first, count, sums) : part(tile, first, count, sums);
        if (!done) return false;
        for (Index g = 0; g < count; ++g) {
          if (call_.second.data) multiply(tile, first + g, sums + g * image_stride_, gradient);
          else write(tile, first + g, sums + g * image_stride_);
        }
      }
      if (call_.second.data)
        for (Index i = 0; i < tile.rows; ++i)
          memcpy(static_cast<T*>(call_.result.data) + (tile.map * geo_.height + tile.y + i) * geo_.width + tile.x, gradient + i * pitch,
                 static_cast<std::size_t>(tile.columns) * sizeof(T));
      return true;
    }

   private:
    int blur(Index map, Index first, Index count, const Rect& rect, T* out, Index pitch, Index image_stride) {
      return geo_.spreads ? spreader_.blur(map, first, count, rect, out, pitch, image_stride)
                          : gatherer_.blur(map, first, count, rect, out, pitch, image_stride);
    }

    bool part(const Tile& tile, Index first, Index count, T* sums) {
      const int done = blur(tile.map, first, count, {tile.y, tile.x, tile.rows, tile.columns}, sums, blur_.pitch_, image_stride_);
      if (done == 0) memset(static_cast<void*>(sums), 0, static_cast<std::size_t>(count * image_stride_) * sizeof(T));
      return done >= 0;
    }

    // Moves `from` to the next stretch of an axis of the plane that shows pixels first..first + count; its length, 0 at the end.
    Index next_stretch(Index* from, Index end, Index n, Index first, Index count) const {
      const auto shows = [&](Index i) {
        const Index at = boundary_index(i, n, geo_.padding) - first;
        return at >= 0 && at < count;
      };
      while (*from < end && !shows(*from)) ++*from;
      Index length = 0;
      while (length < count + 2 * kBeyond && *from + length < end && shows(*from + length)) ++length;
      return length;
    }

    // Every part of the plane that shows the tile, in a fixed order.
    bool fold(const Tile& tile, Index first, Index count, T* sums) {
      memset(static_cast<void*>(sums), 0, static_cast<std::size_t>(count * image_stride_) * sizeof(T));
      const Index reach = blur_.reaches_.largest(tile.map);
      const Index pitch = round_up(tile.columns + 2 * kBeyond, kLanes), stride = pitch * (tile.rows + 2 * kBeyond);
      T* const part = reinterpret_cast<T*>(part_memory_.get(static_cast<std::size_t>(count * stride + kLanes) * sizeof(T)));
      if (!part) return false;
      Rect rect;
      for (rect.y = -reach; (rect.rows = next_stretch(&rect.y, geo_.height + reach, geo_.height, tile.y, tile.rows)); rect.y += rect.rows)
        for (rect.x = -reach; (rect.columns = next_stretch(&rect.x, geo_.width + reach, geo_.width, tile.x, tile.columns));
             rect.x += rect.columns) {
          const int done = blur(tile.map, first, count, rect, part, pitch, stride);
          if (done < 0) return false;
          if (done)
            for (Index g = 0; g < count; ++g) add(tile, rect, part + g * stride, pitch, sums + g * image_stride_);
        }
      return true;
    }

    void add(const Tile& tile, const Rect& rect, const T* part, Index pitch, T* sums) const {
      const Index begin = min_index(max_index(-rect.x, 0), rect.columns),
                  end = max_index(min_index(geo_.width - rect.x, rect.columns), begin);
      for (Index i = 0; i < rect.rows; ++i, part += pitch) {
        T* const row = sums + (boundary_index(rect.y + i, geo_.height, geo_.padding) - tile.y) * blur_.pitch_;
        const auto beyond = [&](Index j, Index last) {
          for (; j < last; ++j) row[boundary_index(rect.x + j, geo_.width, geo_.padding) - tile.x] += part[j];
        };
        beyond(0, begin);
        T* const inside = row + rect.x - tile.x;
        for (Index j = begin; j < end; ++j) inside[j] += part[j];
        beyond(end, rect.columns);
      }
    }

    void write(const Tile& tile, Index image, const T* sums) const {
      const View& view = call_.result;
      S* to = static_cast<S*>(view.data) + geo_.image_batch(tile.map, image) * view.stride[0] +
              geo_.image_channel(tile.map, image) * view.stride[1] + tile.y * view.stride[2] + tile.x;
      for (Index i = 0; i < tile.rows; ++i, to += view.stride[2], sums += blur_.pitch_) {
        Index j = 0;
        for (; j + kLanes <= tile.columns; j += kLanes) store(load(sums + j), to + j);
        for (; j < tile.columns; ++j) from_compute(sums[j], to + j);
      }
    }

    void multiply(const Tile& tile, Index image, const T* sums, T* gradient) {
      const Plane<S> plane(call_.second, geo_.image_batch(tile.map, image), geo_.image_channel(tile.map, image), kZeros);
      T values[kGatherColumns];
      for (Index i = 0; i < tile.rows; ++i, sums += blur_.pitch_, gradient += blur_.pitch_)
        for (Index j = 0; j < tile.columns; j += kGatherColumns) {
          const Index n = min_index(kGatherColumns, tile.columns - j);
          plane.read(tile.y + i, tile.x + j, n, values);
          for (Index k = 0; k < n; ++k) gradient[j + k] += values[k] * sums[j + k];
        }
    }

    const Blur& blur_;
    const RadialCall& call_;
    const Geometry& geo_;
    Gatherer gatherer_;
    Spreader spreader_;
    Workspace memory_, part_memory_;
    Index image_stride_ = 0;
  };

  const RadialCall& call_;
  const Geometry geo_;
  Reaches<Kernel> reaches_;
  Index rows_, columns_, down_, across_, pitch_;
};

// The blur of a call whose images are stored in any type.
template <typename Kernel, template <typename> class Gatherer, template <typename> class Spreader> Status blur_of(const RadialCall& call) {
  switch (call.image.dtype) {
    case DType::f64: return Blur<double, Kernel, Gatherer<double>, Spreader<double>>(call).run();
    case DType::bf16: return Blur<BF16, Kernel, Gatherer<BF16>, Spreader<BF16>>(call).run();
    case DType::f16: return Blur<F16, Kernel, Gatherer<F16>, Spreader<F16>>(call).run();
    default: return Blur<float, Kernel, Gatherer<float>, Spreader<float>>(call).run();
  }
}

}  // namespace
}  // namespace svconv
