// The column passes of the quotient family; see quotient.h for what the arrays mean.
#include "cpu/quotient/quotient.h"

#include "cpu/column_fft.h"

namespace svconv {
namespace SVCONV_ISA {
namespace {

template <typename T> struct Strips {
  static constexpr int lanes = Vector<T>::lanes;
  Index columns, count;
  explicit Strips(Index columns_) : columns(columns_), count(divide_up(columns_, lanes)) {}
  Index first(Index strip) const { return strip * lanes; }
  int width(Index strip) const { return static_cast<int>(min_index(lanes, columns - strip * lanes)); }
};

template <typename T> const T* at(const View& view, Index b, Index c, Index column) {
  return static_cast<const T*>(view.data) + b * view.stride[0] + c * view.stride[1] + column * 2;
}
template <typename T> T* out_at(const View& view, Index b, Index c, Index column) {
  return static_cast<T*>(view.data) + b * view.stride[0] + c * view.stride[1] + column * 2;
}

const Index* map_of(const View& view) { return static_cast<const Index*>(view.data); }

// One thread's strips of a plane, and the steps that every pass is made of.
template <typename T> class Column {
 public:
  using V = typename Vector<T>::type;
  using Z = Complex<T>;

  Column(const QuotientCall& call, const ColumnTransform<T>& transform) : call_(call), transform_(transform), n_(call.plane) {}

  // Rows of an image placed on the plane by a map, weighted by the taper.
  void load(const View& view, const T* base, int width, const View& map_view, Z* to) const {
    const Index* map = map_of(map_view);
    const T* taper = static_cast<const T*>(call_.taper.data);
    for (Index e = 0; e < n_; ++e) {
      const Index row = map ? map[e] : e;
      Z z = {V{}, V{}};
      if (row >= 0) z = load_columns<T>(base + row * view.stride[2], width);
      if (taper) z = {z.re * taper[e], z.im * taper[e]};
      to[e] = z;
    }
  }

  // The transform of buffer `own`; afterwards own holds it and work is free.
  void forward(Z*& own, Z*& work) const {
    Z* result = transform_.forward(own, work);
    if (result != own) {
      work = own;
      own = result;
    }
  }

  // The spectrum of a kernel given by its rows.
  void kernel_spectrum(const View& view, Index b, Index c, Index column, int width, Z*& own, Z*& work) const {
    memset(static_cast<void*>(own), 0, sizeof(Z) * static_cast<std::size_t>(n_));
    const T* base = at<T>(view, b, c, column);
    for (Index a = 0; a < view.shape[2]; ++a) {
      const Z z = load_columns<T>(base + a * view.stride[2], width);
      Z& to = own[place(a)];
      to = {to.re + z.re, to.im + z.im};
    }
    forward(own, work);
    if (const T* ramp = static_cast<const T*>(call_.ramp.data))
      for (Index u = 0; u < n_; ++u) multiply(own[u], ramp[2 * u], ramp[2 * u + 1]);
  }

  // `own` holds a spectrum with real and imaginary part swapped; writes its inverse transform at the kernel's rows.
  void kernel_rows(const View& view, Index b, Index c, Index column, int width, Z*& own, Z*& work) const {
    if (const T* ramp = static_cast<const T*>(call_.ramp.data))   // times conj(ramp), on the swapped value times ramp
      for (Index u = 0; u < n_; ++u) multiply(own[u], ramp[2 * u], ramp[2 * u + 1]);
    forward(own, work);
    const T scale = T(1) / static_cast<T>(n_);
    T* base = out_at<T>(view, b, c, column);
    for (Index a = 0; a < view.shape[2]; ++a) {
      const Z z = own[place(a)];
      store_columns<T>({z.im * scale, z.re * scale}, base + a * view.stride[2], width);
    }
  }

  // `own` holds a swapped spectrum; its inverse transform goes to the rows that the map names.
  void store(const View& view, T* base, int width, const View& map_view, bool folds, Z*& own, Z*& work) const {
    forward(own, work);
    const Index* map = map_of(map_view);
    const T* taper = static_cast<const T*>(call_.taper.data);
    const T scale = T(1) / static_cast<T>(n_);
    const Index rows = view.shape[2];
    if (folds) {
      memset(static_cast<void*>(work), 0, sizeof(Z) * static_cast<std::size_t>(rows));
      for (Index e = 0; e < n_; ++e)
        if (map[e] >= 0) work[map[e]] = {work[map[e]].re + own[e].re, work[map[e]].im + own[e].im};
      for (Index r = 0; r < rows; ++r) store_columns<T>({work[r].im * scale, work[r].re * scale}, base + r * view.stride[2], width);
      return;
    }
    for (Index e = 0; e < n_; ++e) {
      const Index row = map ? map[e] : e;
      const T weight = taper ? scale * taper[e] : scale;
      if (row >= 0) store_columns<T>({own[e].im * weight, own[e].re * weight}, base + row * view.stride[2], width);
    }
  }

 private:
  Index place(Index a) const {
    const Index r = (a - call_.offset) % n_;
    return r < 0 ? r + n_ : r;
  }
  const QuotientCall& call_;
  const ColumnTransform<T>& transform_;
  Index n_;
};

// Whether a stored row receives more than one row of the plane.
Status map_folds(const View& map_view, Index plane, Index rows, bool* folds) {
  *folds = false;
  const Index* map = map_of(map_view);
  if (!map) return Status::ok;
  Scratch seen(static_cast<std::size_t>(rows));
  if (!seen.ok()) return Status::out_of_memory;
  char* hit = seen.as<char>();
  memset(hit, 0, static_cast<std::size_t>(rows));
  for (Index e = 0; e < plane; ++e) {
    if (map[e] < 0) continue;
    if (hit[map[e]]) *folds = true;
    hit[map[e]] = 1;
  }
  return Status::ok;
}

template <typename T> T beta_of(const QuotientCall& call, Index b) { return static_cast<const T*>(call.beta.data)[b * call.beta.stride[0]]; }

template <typename T> SVCONV_INLINE typename Vector<T>::type power_at(const QuotientCall& call, Index u, Index column, int width) {
  return load_part(static_cast<const T*>(call.power.data) + u * call.power.stride[0] + column, 0, width);
}

template <typename T> double bytes_of(const View& view) {
  return static_cast<double>(sizeof(T)) * 2 * static_cast<double>(view.shape[0] * view.shape[1]) * static_cast<double>(view.shape[2] * view.shape[3]);
}

// Work buffers for a team: `count` buffers of the transform's size for each thread.
template <typename T> class Buffers {
 public:
  Buffers(int team, Index count, Index space)
      : per_thread_(count * space), space_(space), memory_(sizeof(Complex<T>) * static_cast<std::size_t>(team * count * space)) {}
  bool ok() const { return const_cast<Scratch&>(memory_).ok(); }
  Complex<T>* get(Index i) { return memory_.template as<Complex<T>>() + thread_index() * per_thread_ + i * space_; }

 private:
  Index per_thread_, space_;
  Scratch memory_;
};

// Sums over a strip in double, weighted by how many frequencies a column stands for.
template <typename T> class SlopeSum {
 public:
  SVCONV_INLINE void add(typename Vector<T>::type v) {
    block_ += v;
    if (++filled_ == 16) flush();
  }
  double total(Index first, int width, Index plane_width) {
    flush();
    double sum = 0;
    for (int i = 0; i < width; ++i) {
      const Index v = first + i;
      sum += lanes_[i] * (v == 0 || 2 * v == plane_width ? 1.0 : 2.0);
    }
    return sum;
  }

 private:
  void flush() {
    for (int i = 0; i < Vector<T>::lanes; ++i) lanes_[i] += static_cast<double>(block_[i]);
    block_ = typename Vector<T>::type{};
    filled_ = 0;
  }
  typename Vector<T>::type block_{};
  double lanes_[Vector<T>::lanes] = {};
  int filled_ = 0;
};

// ---- apply

template <typename T> void apply_spectrum(const QuotientCall& call, Index b, Index column, int width, const Complex<T>* k, Complex<T>* x) {
  const bool divide = call.mode == QuotientMode::divide;
  const T sign = call.mode == QuotientMode::multiply ? T(1) : T(-1), beta = divide ? beta_of<T>(call, b) : T(0);
  for (Index u = 0; u < call.plane; ++u) {
    auto re = x[u].re * k[u].re - x[u].im * (k[u].im * sign), im = x[u].re * (k[u].im * sign) + x[u].im * k[u].re;
    if (divide) {
      auto denominator = k[u].re * k[u].re + k[u].im * k[u].im;
      if (call.power.data) denominator += power_at<T>(call, u, column, width) * beta;
      else denominator += beta;
      re /= denominator;
      im /= denominator;
    }
    x[u] = {im, re};
  }
}

template <typename T> Status apply_typed(const QuotientCall& call) {
  const ColumnTransform<T> transform(call.plane);
  if (!transform.ok()) return Status::out_of_memory;
  bool folds;
  if (map_folds(call.store, call.plane, call.out_x.shape[2], &folds) != Status::ok) return Status::out_of_memory;
  const Strips<T> strips(call.x.shape[3]);
  const Index batch = call.x.shape[0], channels = call.x.shape[1];
  const bool grouped = call.kernel.shape[0] == 1 && strips.count >= 2 * call.threads;
  const Index groups = grouped ? 1 : batch, tasks = groups * strips.count;
  const int team = team_size(call.threads, tasks, 2 * bytes_of<T>(call.x));
  const Index space = max_index(transform.space(), call.out_x.shape[2]);
  Buffers<T> buffers(team, 3, space);
  if (!buffers.ok()) return Status::out_of_memory;
  const Column<T> steps(call, transform);
#pragma omp parallel for schedule(dynamic, 1) num_threads(team) if (team > 1)
  for (Index task = 0; task < tasks; ++task) {
    const Index strip = task % strips.count, column = strips.first(strip);
    const int width = strips.width(strip);
    Complex<T>*k = buffers.get(0), *x = buffers.get(1), *work = buffers.get(2);
    const Index from = grouped ? 0 : task / strips.count, to = grouped ? batch : from + 1;
    for (Index b = from; b < to; ++b)
      for (Index c = 0; c < channels; ++c) {
        if ((b == from || call.kernel.shape[0] > 1 || call.kernel.shape[1] > 1) && (c == 0 || call.kernel.shape[1] > 1))
          steps.kernel_spectrum(call.kernel, b, c, column, width, k, work);
        steps.load(call.x, at<T>(call.x, b, c, column), width, call.load_x, x);
        steps.forward(x, work);
        apply_spectrum<T>(call, b, column, width, k, x);
        steps.store(call.out_x, out_at<T>(call.out_x, b, c, column), width, call.store, folds, x, work);
      }
  }
  return Status::ok;
}

// ---- estimate

template <typename T> Status estimate_typed(const QuotientCall& call) {
  using V = typename Vector<T>::type;
  const ColumnTransform<T> transform(call.plane);
  if (!transform.ok()) return Status::out_of_memory;
  const Strips<T> strips(call.x.shape[3]);
  const Index batch = call.x.shape[0], channels = call.x.shape[1], groups = call.out_kernel.shape[0], parts = call.out_kernel.shape[1];
  const Index tasks = groups * parts * strips.count;
  const int team = team_size(call.threads, tasks, 2 * bytes_of<T>(call.x));
  const bool divide = call.beta.data != nullptr;
  Buffers<T> buffers(team, divide ? 5 : 4, transform.space());
  if (!buffers.ok()) return Status::out_of_memory;
  const Column<T> steps(call, transform);
#pragma omp parallel for schedule(dynamic, 1) num_threads(team) if (team > 1)
  for (Index task = 0; task < tasks; ++task) {
    const Index strip = task % strips.count, column = strips.first(strip), part = task / strips.count % parts, group = task / strips.count / parts;
    const int width = strips.width(strip);
    Complex<T>*sum = buffers.get(0), *x = buffers.get(1), *y = buffers.get(2), *work = buffers.get(3);
    V* norm = divide ? &buffers.get(4)->re : nullptr;
    bool first = true;
    for (Index b = groups == batch ? group : 0; b < (groups == batch ? group + 1 : batch); ++b)
      for (Index c = parts == channels ? part : 0; c < (parts == channels ? part + 1 : channels); ++c) {
        steps.load(call.x, at<T>(call.x, b, c, column), width, call.load_x, x);
        steps.forward(x, work);
        steps.load(call.y, at<T>(call.y, b, c, column), width, call.load_y, y);
        steps.forward(y, work);
        for (Index u = 0; u < call.plane; ++u) {   // conj(X) Y, parts swapped for the way back
          const V re = x[u].re * y[u].re + x[u].im * y[u].im, im = x[u].re * y[u].im - x[u].im * y[u].re;
          sum[u] = first ? Complex<T>{im, re} : Complex<T>{sum[u].re + im, sum[u].im + re};
          if (divide) {
            const V power = x[u].re * x[u].re + x[u].im * x[u].im;
            norm[u] = first ? power : norm[u] + power;
          }
        }
        first = false;
      }
    if (divide) {
      const T beta = beta_of<T>(call, group);
      for (Index u = 0; u < call.plane; ++u) {
        const V inverse = T(1) / (norm[u] + beta);
        sum[u] = {sum[u].re * inverse, sum[u].im * inverse};
      }
    }
    steps.kernel_rows(call.out_kernel, group, part, column, width, sum, work);
  }
  return Status::ok;
}

// ---- gradients of the kernel quotient

template <typename T> Status kernel_bwd_typed(const QuotientCall& call) {
  using V = typename Vector<T>::type;
  using Z = Complex<T>;
  const ColumnTransform<T> transform(call.plane);
  if (!transform.ok()) return Status::out_of_memory;
  const Strips<T> strips(call.x.shape[3]);
  const Index batch = call.x.shape[0], n = call.x.shape[1], tasks = batch * strips.count;
  const int team = team_size(call.threads, tasks, 4 * bytes_of<T>(call.x));
  Buffers<T> buffers(team, 2 * n + 2, transform.space());
  Scratch pointers(sizeof(Z*) * static_cast<std::size_t>(team * 2 * n)), partial(sizeof(double) * static_cast<std::size_t>(tasks));
  if (!buffers.ok() || !pointers.ok() || !partial.ok()) return Status::out_of_memory;
  const Column<T> steps(call, transform);
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
      steps.load(call.x, at<T>(call.x, b, i, column), width, call.load_x, x[i]);
      steps.forward(x[i], work);
      steps.load(call.y, at<T>(call.y, b, i, column), width, call.load_y, y[i]);
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
      for (Index i = 0; i < n; ++i) {   // swapped for the way back
        const Z a = x[i][u], c = y[i][u];
        x[i][u] = {gr * c.im - gi * c.re - 2 * slope * a.im, gr * c.re + gi * c.im - 2 * slope * a.re};
        y[i][u] = {a.re * gi + a.im * gr, a.re * gr - a.im * gi};
      }
    }
    partial.as<double>()[task] = slopes.total(column, width, call.width);
    for (Index i = 0; i < n; ++i) {
      if (call.out_x.data) steps.store(call.out_x, out_at<T>(call.out_x, b, i, column), width, call.load_x, false, x[i], work);
      if (call.out_y.data) steps.store(call.out_y, out_at<T>(call.out_y, b, i, column), width, call.load_y, false, y[i], work);
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
  using Z = Complex<T>;
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
  const Column<T> steps(call, transform);
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
          steps.load(call.g, at<T>(call.g, b, c, column), width, call.load_x, g);
          steps.forward(g, work);
          if (with_y) {
            steps.load(call.y, at<T>(call.y, b, c, column), width, call.load_y, y);
            steps.forward(y, work);
          }
          const T beta = beta_of<T>(call, b);
          SlopeSum<T> slopes;
          for (Index u = 0; u < call.plane; ++u) {
            const V kr = k[u].re, ki = k[u].im;
            V power = V{} + T(1);
            if (call.power.data) power = power_at<T>(call, u, column, width);
            const V denominator = kr * kr + ki * ki + power * beta;
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
          if (call.out_x.data) steps.store(call.out_x, out_at<T>(call.out_x, b, c, column), width, call.store, folds, g, work);
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

Status apply(const QuotientCall& call) { return call.x.dtype == DType::f64 ? apply_typed<double>(call) : apply_typed<float>(call); }
Status estimate(const QuotientCall& call) { return call.x.dtype == DType::f64 ? estimate_typed<double>(call) : estimate_typed<float>(call); }
Status kernel_bwd(const QuotientCall& call) { return call.x.dtype == DType::f64 ? kernel_bwd_typed<double>(call) : kernel_bwd_typed<float>(call); }
Status image_bwd(const QuotientCall& call) { return call.g.dtype == DType::f64 ? image_bwd_typed<double>(call) : image_bwd_typed<float>(call); }

}  // namespace

const QuotientTable quotient = {apply, estimate, kernel_bwd, image_bwd};

}  // namespace SVCONV_ISA
}  // namespace svconv
