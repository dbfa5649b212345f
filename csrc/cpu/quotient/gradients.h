// The gradients of the kernel quotient and of the image quotient.
#pragma once

#include "cpu/quotient/columns.h"

namespace svconv {
namespace SVCONV_ISA {
namespace {

// ---- gradients of the kernel quotient

template <typename T> Status kernel_bwd_typed(const QuotientCall& call) {
  using V = typename Vector<T>::type;
  using Z = ComplexVector<T>;
  const ColumnTransform<T> transform(call.plane);
  if (!transform.ok()) return Status::out_of_memory;
  const Strips<T> strips(call.x.shape[3]);
  const Index batch = call.x.shape[0], n = call.x.shape[1], tasks = batch * strips.count;
  const int team = team_size(call.threads, tasks, 4 * bytes_of<T>(call.x));
  Buffers<T> buffers(team, 2 * n + 2, transform.space());
  Scratch pointers(sizeof(Z*) * static_cast<std::size_t>(team * 2 * n)), partial(sizeof(double) * static_cast<std::size_t>(tasks));
  if (!buffers.ok() || !pointers.ok() || !partial.ok()) return Status::out_of_memory;
  const Column<T> steps = steps_of<T>(call, transform);
#pragma omp parallel for schedule(dynamic, 1) num_threads(team) if (team > 1)
  for (Index task = 0; task < tasks; ++task) {
    const Index strip = task % strips.count, column = strips.first(strip), b = task / strips.count;
    const int width = strips.width(strip);
    Z** x = pointers.as<Z*>() + thread_index() * 2 * n;
    Z** y = x + n;
    Z *g = buffers.get(2 * n), *work = buffers.get(2 * n + 1);
    for (Index i = 0; i < n; ++i) {
      x[i] = buffers.get(2 * i);
      y[i] = buffers.get(2 * i + 1);
      steps.load(call.x, at<T>(call.x, b, i, column), width, map_of(call.load_x), taper_of<T>(call), x[i]);
      steps.forward(x[i], work);
      steps.load(call.y, at<T>(call.y, b, i, column), width, map_of(call.load_y), taper_of<T>(call), y[i]);
      steps.forward(y[i], work);
    }
    steps.kernel_spectrum(call.kernel, b, 0, column, width, g, work);
    const T beta = beta_of<T>(call, b);
    SlopeSum<T> slopes;
    for (Index u = 0; u < call.plane; ++u) {
      V norm = V{} + beta, re{}, im{};
      for (Index i = 0; i < n; ++i) {
        const Z a = x[i][u], c = y[i][u];
        norm += a.re * a.re + a.im * a.im;
        re += a.re * c.re + a.im * c.im;
        im += a.re * c.im - a.im * c.re;
      }
      const V inverse = T(1) / norm, gr = g[u].re * inverse, gi = g[u].im * inverse, slope = (gr * re + gi * im) * inverse;
      slopes.add(slope);
      for (Index i = 0; i < n; ++i) {  // swapped for the way back
        const Z a = x[i][u], c = y[i][u];
        x[i][u] = {gr * c.im - gi * c.re - 2 * slope * a.im, gr * c.re + gi * c.im - 2 * slope * a.re};
        y[i][u] = {a.re * gi + a.im * gr, a.re * gr - a.im * gi};
      }
    }
    partial.as<double>()[task] = slopes.total(column, width, call.width);
    for (Index i = 0; i < n; ++i) {
      if (call.out_x.data)
        steps.store(call.out_x, out_at<T>(call.out_x, b, i, column), width, map_of(call.load_x), taper_of<T>(call), false, x[i], work);
      if (call.out_y.data)
        steps.store(call.out_y, out_at<T>(call.out_y, b, i, column), width, map_of(call.load_y), taper_of<T>(call), false, y[i], work);
    }
  }
  for (Index b = 0; call.slope.data && b < batch; ++b) {
    double sum = 0;
    for (Index strip = 0; strip < strips.count; ++strip) sum += partial.as<double>()[b * strips.count + strip];
    static_cast<double*>(call.slope.data)[b] = sum;
  }
  return Status::ok;
}

// ---- gradients of the image quotient

template <typename T> Status image_bwd_typed(const QuotientCall& call) {
  using V = typename Vector<T>::type;
  using Z = ComplexVector<T>;
  const ColumnTransform<T> transform(call.plane);
  if (!transform.ok()) return Status::out_of_memory;
  bool folds = false;
  if (call.out_x.data && map_folds(call.store, call.plane, call.out_x.shape[2], &folds) != Status::ok) return Status::out_of_memory;
  const Strips<T> strips(call.g.shape[3]);
  const Index batch = call.g.shape[0], channels = call.g.shape[1], groups = call.kernel.shape[0], parts = call.kernel.shape[1];
  const Index tasks = groups * strips.count;
  const int team = team_size(call.threads, tasks, 4 * bytes_of<T>(call.g));
  const Index space = call.out_x.data ? max_index(transform.space(), call.out_x.shape[2]) : transform.space();
  Buffers<T> buffers(team, 5, space);
  Scratch partial(sizeof(double) * static_cast<std::size_t>(batch * strips.count));
  if (!buffers.ok() || !partial.ok()) return Status::out_of_memory;
  for (Index i = 0; i < batch * strips.count; ++i) partial.as<double>()[i] = 0;
  const Column<T> steps = steps_of<T>(call, transform);
  const bool with_y = call.y.data != nullptr;
#pragma omp parallel for schedule(dynamic, 1) num_threads(team) if (team > 1)
  for (Index task = 0; task < tasks; ++task) {
    const Index strip = task % strips.count, column = strips.first(strip), group = task / strips.count;
    const int width = strips.width(strip);
    Z *k = buffers.get(0), *g = buffers.get(1), *y = buffers.get(2), *sum = buffers.get(3), *work = buffers.get(4);
    for (Index part = 0; part < parts; ++part) {
      steps.kernel_spectrum(call.kernel, group, part, column, width, k, work);
      if (call.out_kernel.data) memset(static_cast<void*>(sum), 0, sizeof(Z) * static_cast<std::size_t>(call.plane));
      for (Index b = groups == batch ? group : 0; b < (groups == batch ? group + 1 : batch); ++b)
        for (Index c = parts == channels ? part : 0; c < (parts == channels ? part + 1 : channels); ++c) {
          steps.load(call.g, at<T>(call.g, b, c, column), width, map_of(call.load_x), taper_of<T>(call), g);
          steps.forward(g, work);
          if (with_y) {
            steps.load(call.y, at<T>(call.y, b, c, column), width, map_of(call.load_y), taper_of<T>(call), y);
            steps.forward(y, work);
          }
          const T beta = beta_of<T>(call, b);
          SlopeSum<T> slopes;
          for (Index u = 0; u < call.plane; ++u) {
            const V kr = k[u].re, ki = k[u].im;
            V power = V{} + T(1);
            if (call.power.data) power = power_at<T>(call, u, column, width);
            const V denominator = never_zero(V(kr * kr + ki * ki + power * beta), T(0));
            const V gr = g[u].re / denominator, gi = g[u].im / denominator;
            g[u] = {kr * gi + ki * gr, kr * gr - ki * gi};
            if (!with_y) continue;
            const V yr = y[u].re, yi = y[u].im;
            const V xr = (kr * yr + ki * yi) / denominator, xi = (kr * yi - ki * yr) / denominator, slope = gr * xr + gi * xi;
            slopes.add(call.power.data ? slope * power : slope);
            if (call.out_kernel.data)
              sum[u] = {sum[u].re + (gr * yi - gi * yr - 2 * slope * ki), sum[u].im + (gr * yr + gi * yi - 2 * slope * kr)};
          }
          partial.as<double>()[b * strips.count + strip] += slopes.total(column, width, call.width);
          if (call.out_x.data)
            steps.store(call.out_x, out_at<T>(call.out_x, b, c, column), width, map_of(call.store), taper_of<T>(call), folds, g, work);
        }
      if (call.out_kernel.data) steps.kernel_rows(call.out_kernel, group, part, column, width, sum, work);
    }
  }
  for (Index b = 0; call.slope.data && b < batch; ++b) {
    double total = 0;
    for (Index strip = 0; strip < strips.count; ++strip) total += partial.as<double>()[b * strips.count + strip];
    static_cast<double*>(call.slope.data)[b] = total;
  }
  return Status::ok;
}

}  // namespace
}  // namespace SVCONV_ISA
}  // namespace svconv
