// h_0 = tanh(f * x + b_0), h_i = tanh(R_i h_{i-1} + b_i), y = L h_last, for a few pixels of a tile at a time: the maps stay in cache.
// Every layer is the same loop, an outer product of pixels and weights in registers, over "taps": pixels of the window at fixed
// offsets, or maps of the layer before. Filters whose side is a multiple of three save more than half of their products (FilterPairs).
// A task is a tile whose place depends on the shapes alone.
#include "cpu/tanh_features/tanh_features.h"

#include "core/boundary.h"
#include "cpu/parallel.h"
#include "cpu/tanh_features/filters.h"

namespace svconv {
namespace SVCONV_ISA {
namespace {

constexpr Index kColumns = 192;  // of a tile: whole blocks of registers for every instruction set
static_assert(kColumns % (2 * kVectors * kLanes) == 0, "a tile consists of whole blocks");

// ---- the call

struct Geometry {
  Index batch, height, width, channels, maps, side, depth, outputs, layers;
  Index rows, row_tiles, column_tiles;
  bool in_pairs;  // two rows at a time by FilterPairs

  explicit Geometry(const TanhFeaturesCall& call) {
    batch = call.image.shape[0], height = call.image.shape[2], width = call.image.shape[3];
    channels = call.filters.shape[1], maps = call.filters.shape[0], side = call.filters.shape[3];
    depth = call.hidden.shape[0], outputs = call.last.shape[0], layers = depth + 1;
    column_tiles = divide_up(width, kColumns);
    rows = batch * column_tiles * height >= 1024 ? 32 : 8;
    row_tiles = divide_up(height, rows);
    in_pairs = side % 3 == 0;
  }
  Index tasks() const { return batch * row_tiles * column_tiles; }
  Index taps() const { return channels * side * side; }
  Index padded_maps() const { return round_up(maps, kMaps); }
  FilterPairs pairs() const { return FilterPairs(channels, side, rows, kColumns / 2); }
  Index first_taps() const { return in_pairs ? FilterPairs::kPlanes * pairs().taps() : taps(); }
  Index padded_outputs() const { return round_up(outputs, kLastMaps); }
};

const float* element(const View& view, Index i, Index j) {
  return static_cast<const float*>(view.data) + i * view.stride[0] + j * view.stride[1];
}

// All weights in the order of the blocks.
class Weights {
 public:
  Weights(const TanhFeaturesCall& call, const Geometry& geo)
      : memory_(static_cast<std::size_t>(geo.padded_maps() * (geo.first_taps() + geo.layers + geo.depth * geo.maps) +
                                         geo.padded_outputs() * (geo.maps + 1)) *
                sizeof(float)) {
    if (!memory_.ok()) return;
    next_ = memory_.as<float>();
    const View& f = call.filters;
    const auto filter = [&](Index map, Index c) {
      const float* const taps = element(f, map, c);
      return [&f, taps](Index i, Index j) { return static_cast<double>(taps[i * f.stride[2] + j * f.stride[3]]); };
    };
    const Index square = geo.side * geo.side, segments = geo.side / 3, each = segments * segments;
    const Index taps = geo.in_pairs ? geo.pairs().taps() : geo.taps();
    first = pack<kMaps>(
        geo.maps, geo.first_taps(),
        [&](Index map, Index t) {
          const Index tap = t % taps;
          if (geo.in_pairs)
            return FilterPairs::weight(static_cast<int>(t / taps), tap % each / segments, tap % segments, filter(map, tap / each));
          return static_cast<float>(filter(map, tap / square)(tap % square / geo.side, tap % geo.side));
        },
        [&](Index map) { return bias(call, 0, map); });
    float* const mixes = next_;
    for (Index i = 0; i < geo.depth; ++i) {
      const Layer mix = pack<kMaps>(
          geo.maps, geo.maps, [&](Index map, Index from) { return element(call.hidden, i, map)[from * call.hidden.stride[2]]; },
          [&](Index map) { return bias(call, i + 1, map); });
      if (i == 0) hidden = mix;
    }
    hidden_stride_ = geo.depth ? (next_ - mixes) / geo.depth : 0;
    last = pack<kLastMaps>(
        geo.outputs, geo.maps, [&](Index map, Index from) { return *element(call.last, map, from); }, [](Index) { return 0.0f; });
  }
  bool ok() const { return memory_.ok(); }
  Layer mix(Index i) const {
    return Layer{hidden.weights + i * hidden_stride_, hidden.bias + i * hidden_stride_, hidden.groups, hidden.taps};
  }

  Layer first{}, last{};

 private:
  static float bias(const TanhFeaturesCall& call, Index layer, Index map) {
    return call.biases.data ? *element(call.biases, layer, map) : 0.0f;
  }

  template <int F, typename Weight, typename Bias> Layer pack(Index maps, Index taps, const Weight& weight, const Bias& bias) {
    const Layer layer{next_, next_ + round_up(maps, F) * taps, divide_up(maps, F), taps};
    for (Index g = 0; g < layer.groups; ++g)
      for (Index t = 0; t < taps; ++t)
        for (Index m = g * F; m < g * F + F; ++m) *next_++ = m < maps ? weight(m, t) : 0.0f;
    for (Index m = 0; m < layer.groups * F; ++m) *next_++ = m < maps ? bias(m) : 0.0f;
    return layer;
  }

  Scratch memory_;
  float* next_ = nullptr;
  Layer hidden{};
  Index hidden_stride_ = 0;
};

// n columns from column c0 of row r, both continued beyond the image by its border pixels.
void pack_row(const View& view, Index b, Index c, Index r, Index c0, Index n, float* out) {
  const Index height = view.shape[2], width = view.shape[3], stride = view.stride[3];
  const float* source = element(view, b, c) + boundary_index(r, height, kReplicate) * view.stride[2];
  Index i = 0;
  for (; i < n && c0 + i < 0; ++i) out[i] = source[0];
  const Index inside = min_index(n, width - c0);
  if (stride == 1 && inside > i) {
    memcpy(out + i, source + c0 + i, static_cast<std::size_t>(inside - i) * sizeof(float));
    i = inside;
  }
  for (; i < inside; ++i) out[i] = source[(c0 + i) * stride];
  for (; i < n; ++i) out[i] = source[(width - 1) * stride];
}

class Tiles {
 public:
  Tiles(const TanhFeaturesCall& call, const Geometry& geo, const Weights& weights)
      : call_(call), geo_(geo), weights_(weights), pairs_(geo.pairs()), pitch_(kColumns + round_up(geo.side - 1, 16) + 16) {}

  // Floats of one thread: the window, what FilterPairs makes of it, two stacks of maps, the outputs.
  Index scratch_floats() const { return window_floats() + pair_floats() + kColumns * (2 * geo_.padded_maps() + geo_.padded_outputs()); }

  // The offsets of the taps in the window, then those of the maps in the three kinds of stacks.
  Index offsets() const { return first_taps() + 3 * geo_.maps; }
  void fill_offsets(Index* out) const {
    if (geo_.in_pairs) pairs_.fill_offsets(out);
    for (Index c = 0; c < geo_.channels && !geo_.in_pairs; ++c)
      for (Index i = 0; i < geo_.side; ++i)
        for (Index j = 0; j < geo_.side; ++j) out[(c * geo_.side + i) * geo_.side + j] = (c * window_rows() + i) * pitch_ + j;
    out += first_taps();
    const Index pitches[] = {kColumns, 4 * kVectors * kLanes, 4 * kLanes};
    for (Index pitch : pitches)
      for (Index m = 0; m < geo_.maps; ++m) *out++ = m * pitch;
  }

  void run(Index task, const Index* offsets, float* scratch) const {
    const Index c0 = task % geo_.column_tiles * kColumns, rest = task / geo_.column_tiles;
    const Index r0 = rest % geo_.row_tiles * geo_.rows, b = rest / geo_.row_tiles;
    const Tile tile{b, r0, c0, min_index(geo_.rows, geo_.height - r0), min_index(kColumns, geo_.width - c0), offsets, scratch};
    if (geo_.in_pairs) return run_pairs(tile);
    const Index half = geo_.side / 2, vectors = divide_up(tile.columns, kLanes);
    for (Index c = 0; c < geo_.channels; ++c)
      for (Index r = 0; r < tile.rows + geo_.side - 1; ++r)
        pack_row(source(c), b, channel(c), r0 - half + r, c0 - half, vectors * kLanes + geo_.side - 1,
                 scratch + (c * window_rows() + r) * pitch_);
    float* const maps = scratch + window_floats();
    for (Index r = 0; r < tile.rows; ++r) {
      apply<kMaps>(weights_.first, scratch + r * pitch_, offsets, vectors, maps, kColumns);
      activate(maps, vectors, kColumns);
      const float* const out = recombine(maps, offsets + first_taps(), vectors, kColumns);
      for (Index m = 0; m < geo_.outputs; ++m)
        memcpy(result(tile, m, r), out + m * kColumns, static_cast<std::size_t>(tile.columns) * sizeof(float));
    }
  }

 private:
  struct Tile {
    Index batch, row, column, rows, columns;
    const Index* offsets;
    float* scratch;
  };

  Index first_taps() const { return geo_.in_pairs ? pairs_.taps() : geo_.taps(); }
  Index window_rows() const { return geo_.rows + geo_.side - 1; }
  Index window_floats() const { return round_up(geo_.in_pairs ? pairs_.window_floats() : geo_.channels * window_rows() * pitch_, 16); }
  Index pair_floats() const { return geo_.in_pairs ? round_up(pairs_.transformed_floats() + planes_floats(), 16) : 0; }
  static Index planes_floats() { return FilterPairs::kPlanes * kMaps * kVectors * kLanes; }
  const View& source(Index c) const { return c < call_.image.shape[1] ? call_.image : call_.latent; }
  Index channel(Index c) const { return c < call_.image.shape[1] ? c : c - call_.image.shape[1]; }
  float* result(const Tile& tile, Index m, Index r) const {
    return const_cast<float*>(element(call_.result, tile.batch, m)) + (tile.row + r) * geo_.width + tile.column;
  }

  void activate(float* maps, Index vectors, Index pitch) const {
    if (vectors * kLanes == pitch) return tanh_in_place(maps, geo_.maps * pitch);
    for (Index m = 0; m < geo_.maps; ++m) tanh_in_place(maps + m * pitch, vectors * kLanes);
  }

  // All layers after the first; two stacks and the outputs stand one behind the other.
  const float* recombine(float* now, const Index* offsets, Index vectors, Index pitch) const {
    float* next = now + kColumns * geo_.padded_maps();
    float* const out = next + kColumns * geo_.padded_maps();
    for (Index i = 0; i < geo_.depth; ++i) {
      apply<kMaps>(weights_.mix(i), now, offsets, vectors, next, pitch);
      activate(next, vectors, pitch);
      float* const swap = now;
      now = next, next = swap;
    }
    apply<kLastMaps>(weights_.last, now, offsets, vectors, out, pitch);
    return out;
  }

  void run_pairs(const Tile& tile) const {
    const Index half = geo_.side / 2, line = pairs_.line(), vectors = divide_up(tile.columns, 2 * kLanes);
    float* const transformed = tile.scratch + window_floats();
    for (Index c = 0; c < geo_.channels; ++c)
      for (Index r = 0; r < round_up(tile.rows, 2) + geo_.side - 1; ++r) {
        pack_row(source(c), tile.batch, channel(c), tile.row - half + r, tile.column - half, 2 * line, transformed);
        float* const even = pairs_.window_row(tile.scratch, c, r);
        for (Index j = 0; j < line; ++j) even[j] = transformed[2 * j], even[line + j] = transformed[2 * j + 1];
      }
    for (Index r = 0; r < tile.rows; r += 2) {
      pairs_.transform(tile.scratch, r, vectors, transformed);
      Index v = 0;
      for (; v + kVectors <= vectors; v += kVectors) quadrants<kVectors>(tile, r, v, transformed, tile.offsets + first_taps() + geo_.maps);
      for (; v < vectors; ++v) quadrants<1>(tile, r, v, transformed, tile.offsets + first_taps() + 2 * geo_.maps);
    }
  }

  // kCount vectors of column pairs of two rows through all layers.
  template <int kCount> void quadrants(const Tile& tile, Index r, Index v, float* transformed, const Index* map_offsets) const {
    constexpr Index kPitch = 4 * kCount * kLanes;
    const float none[kMaps] = {};
    float* const planes = transformed + pairs_.transformed_floats();
    float* const maps = transformed + pair_floats();
    const Layer& first = weights_.first;
    for (Index g = 0; g < first.groups; ++g) {
      const float* weights = first.weights + g * first.taps * kMaps;
      for (int plane = 0; plane < FilterPairs::kPlanes; ++plane, weights += pairs_.taps() * kMaps)
        block<kCount, kMaps>(transformed + pairs_.plane_offset(plane) + v * kLanes, tile.offsets, pairs_.taps(), weights,
                             plane == FilterPairs::kBiasPlane ? first.bias + g * kMaps : none, planes + plane * kMaps * kCount * kLanes,
                             kCount * kLanes);
      FilterPairs::join<kCount, kMaps>(planes, maps + g * kMaps * kPitch);
    }
    const float* out = recombine(maps, map_offsets, 4 * kCount, kPitch);
    const Index column = 2 * v * kLanes, columns = min_index(2 * kCount * kLanes, tile.columns - column);
    for (Index m = 0; m < geo_.outputs; ++m, out += kPitch)
      for (Index i = 0; i < 2 && r + i < tile.rows; ++i) {
        const float* const even = out + 2 * i * kCount * kLanes;
        const float* const odd = even + kCount * kLanes;
        float* const row = result(tile, m, r + i) + column;
        for (Index j = 0; j < columns / 2; ++j) row[2 * j] = even[j], row[2 * j + 1] = odd[j];
        if (columns % 2) row[columns - 1] = even[columns / 2];
      }
  }

  const TanhFeaturesCall& call_;
  const Geometry& geo_;
  const Weights& weights_;
  FilterPairs pairs_;
  Index pitch_;
};

Status fwd(const TanhFeaturesCall& call) {
  const Geometry geo(call);
  if (geo.batch * geo.outputs == 0) return Status::ok;
  const Weights weights(call, geo);
  const Tiles tiles(call, geo, weights);
  const Index per_thread = round_up(tiles.scratch_floats(), 16), tasks = geo.tasks();
  const double work = 1.0 * geo.batch * geo.height * geo.width * geo.maps * (geo.taps() + geo.maps * geo.depth);
  const int team = team_size(call.threads, tasks, work / 4);
  Scratch scratch(static_cast<std::size_t>(per_thread) * sizeof(float) * team);
  Scratch offsets(static_cast<std::size_t>(tiles.offsets()) * sizeof(Index));
  if (!weights.ok() || !scratch.ok() || !offsets.ok()) return Status::out_of_memory;
  tiles.fill_offsets(offsets.as<Index>());
  advise_huge_pages(call.result.data, static_cast<std::size_t>(geo.batch * geo.outputs * geo.height * geo.width) * sizeof(float));
#pragma omp parallel for schedule(dynamic, 1) num_threads(team) if (team > 1)
  for (Index task = 0; task < tasks; ++task) tiles.run(task, offsets.as<Index>(), scratch.as<float>() + thread_index() * per_thread);
  return Status::ok;
}

}  // namespace

const TanhFeaturesTable tanh_features = {fwd};

}  // namespace SVCONV_ISA
}  // namespace svconv
