// h_0 = tanh(f * x + b_0), h_i = tanh(R_i h_{i-1} + b_i), y = L h_last, for a row of a tile at a time: the maps stay in cache.
// Every layer is the same loop, an outer product of pixels and weights in registers, over "taps": pixels of the window at fixed
// offsets, or maps of the layer before. A task is a tile whose place depends on the shapes alone.
#include "tanh_features.h"

#include "../core/boundary.h"
#include "simd.h"

namespace svconv {
void advise_huge_pages(void* data, std::size_t bytes);

namespace SVCONV_ISA {
namespace {

using V = Vector<float>::type;
constexpr int kLanes = Vector<float>::lanes;

// Registers: kVectors of pixels times kMaps of maps, beside the pixels and one weight.
#if defined(__AVX512F__)
constexpr int kVectors = 3, kMaps = 8;
#elif defined(__AVX2__)
constexpr int kVectors = 3, kMaps = 4;
#else
constexpr int kVectors = 2, kMaps = 4;
#endif
constexpr int kLastMaps = 4;
constexpr Index kColumns = 192;  // of a tile: whole blocks of registers for every instruction set
static_assert(kColumns % (kVectors * kLanes) == 0, "a tile consists of whole blocks");

// Subtracting zero changes nothing, also in -0: what remains is a broadcast.
SVCONV_INLINE V splat(float v) { return v - V{}; }

// ---- layers

// out[f][p] = bias[f] + sum_t weights[t][f] in[offsets[t] + p] for kCount vectors of pixels and F maps.
template <int kCount, int F>
SVCONV_INLINE void block(const float* in, const Index* offsets, Index taps, const float* weights, const float* bias, float* out, Index pitch) {
  V sum[F][kCount];
#pragma GCC unroll 8
  for (int f = 0; f < F; ++f)
#pragma GCC unroll 8
    for (int p = 0; p < kCount; ++p) sum[f][p] = splat(bias[f]);
  for (Index t = 0; t < taps; ++t, weights += F) {
    const float* source = in + offsets[t];
    V x[kCount];
#pragma GCC unroll 8
    for (int p = 0; p < kCount; ++p) x[p] = load(source + p * kLanes);
#pragma GCC unroll 8
    for (int f = 0; f < F; ++f) {
      const V w = splat(weights[f]);
#pragma GCC unroll 8
      for (int p = 0; p < kCount; ++p) sum[f][p] += w * x[p];
    }
  }
#pragma GCC unroll 8
  for (int f = 0; f < F; ++f)
#pragma GCC unroll 8
    for (int p = 0; p < kCount; ++p) store(sum[f][p], out + f * pitch + p * kLanes);
}

// Weights of one layer in the order in which the blocks read them: [groups of F maps][taps][F], zeros beyond the last map.
struct Layer {
  const float* weights;
  const float* bias;  // [groups * F]
  Index groups, taps;
};

template <int F> void apply(const Layer& layer, const float* in, const Index* offsets, Index vectors, float* out, Index pitch) {
  for (Index g = 0; g < layer.groups; ++g) {
    const float* weights = layer.weights + g * layer.taps * F;
    const float* bias = layer.bias + g * F;
    float* maps = out + g * F * pitch;
    Index v = 0;
    for (; v + kVectors <= vectors; v += kVectors)
      block<kVectors, F>(in + v * kLanes, offsets, layer.taps, weights, bias, maps + v * kLanes, pitch);
    for (; v < vectors; ++v) block<1, F>(in + v * kLanes, offsets, layer.taps, weights, bias, maps + v * kLanes, pitch);
  }
}

// ---- tanh

// x P(x^2) / Q(x^2), fitted for the least largest relative error (2.1e-8) up to 9.02, where tanh rounds to 1. NaN stays NaN.
SVCONV_INLINE V tanh(V x) {
  constexpr float kEnd = 9.02f;
  x = x > kEnd ? splat(kEnd) : x;
  x = x < -kEnd ? splat(-kEnd) : x;
  const V z = x * x;
  V p = z * 0x1.c9a25ap-27f + 0x1.5954dap-16f;
  V q = z * 0x1.a0b770p-21f + 0x1.584186p-12f;
  p = p * z + 0x1.c9f818p-9f;
  q = q * z + 0x1.a7df06p-6f;
  p = p * z + 0x1.12043ap-3f;
  q = q * z + 0x1.de5766p-2f;
  p = p * z + 1.0f;
  q = q * z + 1.0f;
  return x * p / q;
}

void tanh_in_place(float* values, Index count) {
  Index i = 0;
  for (; i + 4 * kLanes <= count; i += 4 * kLanes) {
    V v[4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) v[j] = tanh(load(values + i + j * kLanes));
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) store(v[j], values + i + j * kLanes);
  }
  for (; i < count; i += kLanes) store(tanh(load(values + i)), values + i);
}

// ---- the call

struct Geometry {
  Index batch, height, width, channels, maps, side, depth, outputs, layers;
  Index rows, row_tiles, column_tiles;

  explicit Geometry(const TanhFeaturesCall& call) {
    batch = call.image.shape[0], height = call.image.shape[2], width = call.image.shape[3];
    channels = call.filters.shape[1], maps = call.filters.shape[0], side = call.filters.shape[3];
    depth = call.hidden.shape[0], outputs = call.last.shape[0], layers = depth + 1;
    column_tiles = divide_up(width, kColumns);
    rows = batch * column_tiles * height >= 1024 ? 32 : 8;
    row_tiles = divide_up(height, rows);
  }
  Index tasks() const { return batch * row_tiles * column_tiles; }
  Index taps() const { return channels * side * side; }
  Index padded_maps() const { return round_up(maps, kMaps); }
  Index padded_outputs() const { return round_up(outputs, kLastMaps); }
};

const float* element(const View& view, Index i, Index j) {
  return static_cast<const float*>(view.data) + i * view.stride[0] + j * view.stride[1];
}

// All weights in the order of the blocks.
class Weights {
 public:
  Weights(const TanhFeaturesCall& call, const Geometry& geo)
      : memory_(static_cast<std::size_t>(geo.padded_maps() * (geo.taps() + geo.layers + geo.depth * geo.maps) +
                                         geo.padded_outputs() * (geo.maps + 1)) * sizeof(float)) {
    if (!memory_.ok()) return;
    next_ = memory_.as<float>();
    const View& f = call.filters;
    first = pack<kMaps>(geo.maps, geo.taps(), [&](Index map, Index tap) {
      const Index square = geo.side * geo.side, inside = tap % square;
      return element(f, map, tap / square)[inside / geo.side * f.stride[2] + inside % geo.side * f.stride[3]];
    }, [&](Index map) { return bias(call, 0, map); });
    float* const mixes = next_;
    for (Index i = 0; i < geo.depth; ++i) {
      const Layer mix = pack<kMaps>(geo.maps, geo.maps, [&](Index map, Index from) {
        return element(call.hidden, i, map)[from * call.hidden.stride[2]];
      }, [&](Index map) { return bias(call, i + 1, map); });
      if (i == 0) hidden = mix;
    }
    hidden_stride_ = geo.depth ? (next_ - mixes) / geo.depth : 0;
    last = pack<kLastMaps>(geo.outputs, geo.maps, [&](Index map, Index from) { return *element(call.last, map, from); },
                           [](Index) { return 0.0f; });
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
  Tiles(const TanhFeaturesCall& call, const Geometry& geo, const Weights& weights) : call_(call), geo_(geo), weights_(weights) {}

  static Index window_pitch(const Geometry& geo) { return kColumns + round_up(geo.side - 1, 16) + 16; }
  static Index window_floats(const Geometry& geo) { return geo.channels * (geo.rows + geo.side - 1) * window_pitch(geo); }
  // Floats of one thread: the window, two stacks of maps, the outputs.
  static Index scratch_floats(const Geometry& geo) {
    return round_up(window_floats(geo), 16) + kColumns * (2 * geo.padded_maps() + geo.padded_outputs());
  }

  // The offsets of the taps in the window, and of the maps in a stack.
  static Index offsets(const Geometry& geo) { return geo.taps() + geo.maps; }
  static void fill_offsets(const Geometry& geo, Index* out) {
    const Index pitch = window_pitch(geo);
    for (Index c = 0; c < geo.channels; ++c)
      for (Index i = 0; i < geo.side; ++i)
        for (Index j = 0; j < geo.side; ++j) *out++ = (c * (geo.rows + geo.side - 1) + i) * pitch + j;
    for (Index m = 0; m < geo.maps; ++m) *out++ = m * kColumns;
  }

  void run(Index task, const Index* offsets, float* scratch) const {
    const Index c0 = task % geo_.column_tiles * kColumns, rest = task / geo_.column_tiles;
    const Index r0 = rest % geo_.row_tiles * geo_.rows, b = rest / geo_.row_tiles;
    const Index rows = min_index(geo_.rows, geo_.height - r0), n = min_index(kColumns, geo_.width - c0);
    const Index vectors = divide_up(n, kLanes), pitch = window_pitch(geo_), half = geo_.side / 2;
    for (Index c = 0; c < geo_.channels; ++c) {
      const bool image = c < call_.image.shape[1];
      for (Index r = 0; r < rows + geo_.side - 1; ++r)
        pack_row(image ? call_.image : call_.latent, b, image ? c : c - call_.image.shape[1], r0 - half + r, c0 - half,
                 vectors * kLanes + geo_.side - 1, scratch + (c * (geo_.rows + geo_.side - 1) + r) * pitch);
    }
    float* now = scratch + round_up(window_floats(geo_), 16);
    float* next = now + kColumns * geo_.padded_maps();
    float* const out = next + kColumns * geo_.padded_maps();
    for (Index r = 0; r < rows; ++r) {
      apply<kMaps>(weights_.first, scratch + r * pitch, offsets, vectors, now, kColumns);
      activate(now, vectors);
      for (Index i = 0; i < geo_.depth; ++i) {
        apply<kMaps>(weights_.mix(i), now, offsets + geo_.taps(), vectors, next, kColumns);
        activate(next, vectors);
        float* const swap = now;
        now = next, next = swap;
      }
      apply<kLastMaps>(weights_.last, now, offsets + geo_.taps(), vectors, out, kColumns);
      for (Index m = 0; m < geo_.outputs; ++m)
        memcpy(const_cast<float*>(element(call_.result, b, m)) + (r0 + r) * geo_.width + c0, out + m * kColumns,
               static_cast<std::size_t>(n) * sizeof(float));
    }
  }

 private:
  void activate(float* maps, Index vectors) const {
    if (vectors * kLanes == kColumns) return tanh_in_place(maps, geo_.maps * kColumns);
    for (Index m = 0; m < geo_.maps; ++m) tanh_in_place(maps + m * kColumns, vectors * kLanes);
  }

  const TanhFeaturesCall& call_;
  const Geometry& geo_;
  const Weights& weights_;
};

Status fwd(const TanhFeaturesCall& call) {
  const Geometry geo(call);
  if (geo.batch * geo.outputs == 0) return Status::ok;
  const Weights weights(call, geo);
  const Index per_thread = round_up(Tiles::scratch_floats(geo), 16), tasks = geo.tasks();
  const double work = 1.0 * geo.batch * geo.height * geo.width * geo.maps * (geo.taps() + geo.maps * geo.depth);
  const int team = team_size(call.threads, tasks, work / 4);
  Scratch scratch(static_cast<std::size_t>(per_thread) * sizeof(float) * team);
  Scratch offsets(static_cast<std::size_t>(Tiles::offsets(geo)) * sizeof(Index));
  if (!weights.ok() || !scratch.ok() || !offsets.ok()) return Status::out_of_memory;
  Tiles::fill_offsets(geo, offsets.as<Index>());
  advise_huge_pages(call.result.data, static_cast<std::size_t>(geo.batch * geo.outputs * geo.height * geo.width) * sizeof(float));
  const Tiles tiles(call, geo, weights);
#pragma omp parallel for schedule(dynamic, 1) num_threads(team) if (team > 1)
  for (Index task = 0; task < tasks; ++task)
    tiles.run(task, offsets.as<Index>(), scratch.as<float>() + thread_index() * per_thread);
  return Status::ok;
}

}  // namespace

const TanhFeaturesTable tanh_features = {fwd};

}  // namespace SVCONV_ISA
}  // namespace svconv
