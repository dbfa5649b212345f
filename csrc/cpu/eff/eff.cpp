// The patches of efficient filter flow; see eff.h for what the tables mean.
#include "cpu/eff/eff.h"

#include "cpu/eff/patch.h"

namespace svconv {
namespace SVCONV_ISA {
namespace {

constexpr Index kImages = 4;  // share the spectrum of a kernel, and a task

template <typename T> const T* plane_of(const View& view, Index b, Index c) {
  return static_cast<const T*>(view.data) + b * view.stride[0] + c * view.stride[1];
}

template <typename T> T beta_of(const EffCall& call, Index b) { return static_cast<const T*>(call.beta.data)[b * call.beta.stride[0]]; }

// A task is a patch of up to kImages images; its pixels wait in memory until those of a batch are added in the order of the patches.
template <typename T> class Application {
 public:
  using Z = ComplexVector<T>;

  explicit Application(const EffCall& call)
      : call_(call),
        planes_(call),
        patches_(call.rows.pieces * call.columns.pieces),
        channels_(call.x.shape[1]),
        images_(call.x.shape[0] * channels_),
        tasks_(divide_up(images_, kImages) * patches_) {}

  Status run() {
    if (!planes_.ok()) return Status::out_of_memory;
    const int team = team_size(call_.threads, tasks_, 8.0 * static_cast<double>(images_ * patches_ * plane()) * sizeof(T));
    const Index batch = min_index(tasks_, team > 1 ? 4 * team : 1);
    const std::size_t per_thread = Patch<T>::bytes(planes_, 1);
    Scratch memory(per_thread * static_cast<std::size_t>(team)), pixels(sizeof(T) * static_cast<std::size_t>(batch * kImages * plane()));
    if (!memory.ok() || !pixels.ok()) return Status::out_of_memory;
#pragma omp parallel num_threads(team) if (team > 1)
    {
      Patch<T> patch(planes_, memory.as<char>() + static_cast<std::size_t>(thread_index()) * per_thread, 1);
      for (Index first = 0; first < tasks_; first += batch) {
        const Index count = min_index(batch, tasks_ - first);
#pragma omp for schedule(dynamic, 1)
        for (Index i = 0; i < count; ++i) compute(first + i, patch, pixels.as<T>() + i * kImages * plane());
#pragma omp for schedule(static)
        for (Index band = 0; band < team; ++band)
          for (Index i = 0; i < count; ++i) add(first + i, pixels.as<T>() + i * kImages * plane(), band, team);
      }
    }
    return Status::ok;
  }

 private:
  Index plane() const { return planes_.height * planes_.width; }
  Index row_piece(Index task) const { return task % patches_ / call_.columns.pieces; }
  Index column_piece(Index task) const { return task % patches_ % call_.columns.pieces; }
  Index first_image(Index task) const { return task / patches_ * kImages; }

  const Z* kernel(Index b, Index c, Index r, Patch<T>& patch, const T** last) const {
    if (call_.spectra.data) return reinterpret_cast<const Z*>(plane_of<T>(call_.spectra, b, c) + r * call_.spectra.stride[2]);
    const T* base = plane_of<T>(call_.kernels, b, c) + r * call_.kernels.stride[2];
    if (base != *last) patch.kernel_spectrum(call_.kernels, base, patch.spectrum(0));
    *last = base;
    return patch.spectrum(0);
  }

  void compute(Index task, Patch<T>& patch, T* pixels) const {
    const EffAxis &rows = call_.rows, &columns = call_.columns;
    const Index i = row_piece(task), j = column_piece(task), h = planes_.height, w = planes_.width;
    const Index r = map_of(rows.patch)[i] * call_.grid_columns + map_of(columns.patch)[j];
    const Index *load = planes_.load_slots + i * h, *store = planes_.store_slots + i * h;
    const T *load_rows = planes_.taper(rows.load_taper, i, h), *store_rows = planes_.taper(rows.store_taper, i, h);
    const T *load_columns = planes_.taper(columns.load_taper, j, w), *store_columns = planes_.taper(columns.store_taper, j, w);
    const T* last = nullptr;
    for (Index image = first_image(task); image < min_index(images_, first_image(task) + kImages); ++image, pixels += plane()) {
      const Index b = image / channels_, c = image % channels_;
      const Z* k = kernel(b, c, r, patch, &last);
      patch.load_rows(call_.x, plane_of<T>(call_.x, b, c), map_of(rows.load) + i * h, map_of(columns.load) + j * w, load_columns, 0);
      for (Index strip = 0; strip < planes_.strips.count; ++strip) {
        patch.load_strip(strip, load, load_rows, 0, 0);
        combine(b, strip, k + strip * h, patch.column(0));
        patch.store_strip(strip, store, store_rows);
      }
      patch.store_rows(store, store_columns, pixels);
    }
  }

  void combine(Index b, Index strip, const Z* k, Z* x) const {
    if (call_.mode == EffMode::divide) {
      const Index column = planes_.strips.first(strip);
      const T* power = call_.power.data ? static_cast<const T*>(call_.power.data) + column : nullptr;
      divide_swapped<T>(planes_.height, beta_of<T>(call_, b), power, call_.power.stride[0], planes_.strips.width(strip), k, x);
    } else {
      multiply_swapped<T>(planes_.height, call_.mode == EffMode::multiply ? T(1) : T(-1), k, x);
    }
  }

  // The rows of the result that belong to a band; every pixel receives its patches in the same order for any number of bands.
  void add(Index task, const T* pixels, Index band, Index bands) const {
    const Index i = row_piece(task), j = column_piece(task), height = call_.result.shape[2];
    const Index begin = height * band / bands, end = height * (band + 1) / bands;
    const Index *to_row = map_of(call_.rows.store) + i * planes_.height, *to_column = map_of(call_.columns.store) + j * planes_.width;
    for (Index image = first_image(task); image < min_index(images_, first_image(task) + kImages); ++image, pixels += plane()) {
      T* const result =
          static_cast<T*>(call_.result.data) + image / channels_ * call_.result.stride[0] + image % channels_ * call_.result.stride[1];
      for (Index e = 0; e < planes_.height; ++e)
        if (to_row[e] >= begin && to_row[e] < end)
          add_row(pixels + e * planes_.width, to_column, result + to_row[e] * call_.result.stride[2]);
    }
  }

  void add_row(const T* from, const Index* to, T* row) const {
    for (Index f = 0; f < planes_.width;) {
      if (to[f] < 0) {
        ++f;
        continue;
      }
      Index end = f + 1;
      while (end < planes_.width && to[end] == to[end - 1] + 1) ++end;
      T* const place = row + to[f];
      for (Index g = 0; g < end - f; ++g) place[g] += from[f + g];
      f = end;
    }
  }

  const EffCall& call_;
  const Planes<T> planes_;
  const Index patches_, channels_, images_, tasks_;
};

template <typename T> class Estimation {
 public:
  using V = typename Vector<T>::type;
  using Z = ComplexVector<T>;

  explicit Estimation(const EffCall& call) : call_(call), planes_(call) {}

  Status run() {
    if (!planes_.ok()) return Status::out_of_memory;
    const Index tasks = call_.kernels.shape[0] * call_.kernels.shape[1] * call_.kernels.shape[2];
    const double pixels = static_cast<double>(call_.x.shape[0] * call_.x.shape[1] * planes_.height * planes_.width);
    const int team = team_size(call_.threads, tasks, 8.0 * pixels * static_cast<double>(call_.kernels.shape[2]) * sizeof(T));
    const std::size_t per_thread = Patch<T>::bytes(planes_, 2);
    Scratch memory(per_thread * static_cast<std::size_t>(team));
    if (!memory.ok()) return Status::out_of_memory;
#pragma omp parallel for schedule(dynamic, 1) num_threads(team) if (team > 1)
    for (Index task = 0; task < tasks; ++task) {
      Patch<T> patch(planes_, memory.as<char>() + static_cast<std::size_t>(thread_index()) * per_thread, 2);
      estimate(task, patch);
    }
    return Status::ok;
  }

 private:
  void estimate(Index task, Patch<T>& patch) const {
    const View& kernels = call_.kernels;
    const Index r = task % kernels.shape[2], part = task / kernels.shape[2] % kernels.shape[1],
                group = task / kernels.shape[2] / kernels.shape[1];
    const Index batch = call_.x.shape[0], channels = call_.x.shape[1], parts = kernels.shape[1];
    const std::size_t bytes = sizeof(Z) * static_cast<std::size_t>(planes_.spectrum_values());
    memset(static_cast<void*>(patch.spectrum(0)), 0, bytes);
    if (call_.beta.data) memset(static_cast<void*>(patch.spectrum(1)), 0, bytes);
    for (Index i = 0; i < call_.rows.pieces; ++i)
      for (Index j = 0; j < call_.columns.pieces; ++j) {
        if (map_of(call_.rows.patch)[i] * call_.grid_columns + map_of(call_.columns.patch)[j] != r) continue;
        for (Index b = kernels.shape[0] == batch ? group : 0; b < (kernels.shape[0] == batch ? group + 1 : batch); ++b)
          for (Index c = parts == channels ? part : 0; c < (parts == channels ? part + 1 : channels); ++c) add(i, j, b, c, patch);
      }
    if (call_.beta.data) divide(beta_of<T>(call_, group), patch);
    T* const out = static_cast<T*>(kernels.data) + group * kernels.stride[0] + part * kernels.stride[1] + r * kernels.stride[2];
    patch.kernel_values(patch.spectrum(0), out);
  }

  // conj(X) Y, parts swapped for the way back, and |X|^2 where it is needed.
  void add(Index i, Index j, Index b, Index c, Patch<T>& patch) const {
    const EffAxis &rows = call_.rows, &columns = call_.columns;
    const Index h = planes_.height, w = planes_.width;
    patch.load_rows(call_.x, plane_of<T>(call_.x, b, c), map_of(rows.load) + i * h, map_of(columns.load) + j * w,
                    planes_.taper(columns.load_taper, j, w), 0);
    patch.load_rows(call_.y, plane_of<T>(call_.y, b, c), map_of(rows.store) + i * h, map_of(columns.store) + j * w,
                    planes_.taper(columns.store_taper, j, w), 1);
    for (Index strip = 0; strip < planes_.strips.count; ++strip) {
      patch.load_strip(strip, planes_.load_slots + i * h, planes_.taper(rows.load_taper, i, h), 0, 0);
      patch.load_strip(strip, planes_.store_slots + i * h, planes_.taper(rows.store_taper, i, h), 1, 1);
      const Z *x = patch.column(0), *y = patch.column(1);
      Z* const sum = patch.spectrum(0) + strip * h;
      for (Index u = 0; u < h; ++u) {
        const V re = x[u].re * y[u].re + x[u].im * y[u].im, im = x[u].re * y[u].im - x[u].im * y[u].re;
        sum[u] = {sum[u].re + im, sum[u].im + re};
      }
      if (!call_.beta.data) continue;
      Z* const norm = patch.spectrum(1) + strip * h;
      for (Index u = 0; u < h; ++u) norm[u].re += x[u].re * x[u].re + x[u].im * x[u].im;
    }
  }

  void divide(T beta, Patch<T>& patch) const {
    Z *sum = patch.spectrum(0), *norm = patch.spectrum(1);
    for (Index u = 0; u < planes_.spectrum_values(); ++u) {
      const V inverse = T(1) / (norm[u].re + beta);
      sum[u] = {sum[u].re * inverse, sum[u].im * inverse};
    }
  }

  const EffCall& call_;
  const Planes<T> planes_;
};

template <typename T> Status spectra_typed(const EffCall& call) {
  const Planes<T> planes(call);
  if (!planes.ok()) return Status::out_of_memory;
  const View &kernels = call.kernels, &out = call.spectra;
  const Index parts = kernels.shape[1], patches = kernels.shape[2], tasks = kernels.shape[0] * parts * patches;
  const int team = team_size(call.threads, tasks, 4.0 * static_cast<double>(tasks * planes.height * planes.width) * sizeof(T));
  const std::size_t per_thread = Patch<T>::bytes(planes, 0);
  Scratch memory(per_thread * static_cast<std::size_t>(team));
  if (!memory.ok()) return Status::out_of_memory;
#pragma omp parallel for schedule(dynamic, 1) num_threads(team) if (team > 1)
  for (Index task = 0; task < tasks; ++task) {
    Patch<T> patch(planes, memory.as<char>() + static_cast<std::size_t>(thread_index()) * per_thread, 0);
    const Index r = task % patches, c = task / patches % parts, b = task / patches / parts;
    T* const to = static_cast<T*>(out.data) + b * out.stride[0] + c * out.stride[1] + r * out.stride[2];
    patch.kernel_spectrum(kernels, plane_of<T>(kernels, b, c) + r * kernels.stride[2], reinterpret_cast<ComplexVector<T>*>(to));
  }
  return Status::ok;
}

Status apply(const EffCall& call) { return call.x.dtype == DType::f64 ? Application<double>(call).run() : Application<float>(call).run(); }
Status estimate(const EffCall& call) { return call.x.dtype == DType::f64 ? Estimation<double>(call).run() : Estimation<float>(call).run(); }
Status spectra(const EffCall& call) { return call.kernels.dtype == DType::f64 ? spectra_typed<double>(call) : spectra_typed<float>(call); }
Index values(Index rows, Index columns, DType dtype) {
  const bool wide = dtype == DType::f64;
  const Index lanes = wide ? Vector<double>::lanes : Vector<float>::lanes;
  return 2 * lanes * divide_up(columns / 2 + 1, lanes) * rows;
}

}  // namespace

const EffTable eff = {apply, estimate, spectra, values};

}  // namespace SVCONV_ISA
}  // namespace svconv
