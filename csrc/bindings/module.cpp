// svconv._C: the one door between NumPy views and the kernels. Arrays are taken as they are, never copied; half types
// come as uint16 arrays with a dtype tag. What does not fit is a ValueError before anything is computed.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <initializer_list>
#include <string>

#include "core/boundary.h"
#include "cpu/dispatch.h"
#include "cpu/pixel_filter/pixel_filter.h"
#include "cpu/quotient/quotient.h"
#include "cpu/tanh_features/tanh_features.h"

namespace py = pybind11;

namespace svconv {
namespace {

#ifndef SVCONV_FLAGS
#define SVCONV_FLAGS ""
#endif

// ---- arguments

[[noreturn]] void refuse(const std::string& name, const std::string& what) { throw py::value_error(name + ": " + what); }

DType dtype_of(const std::string& tag, const std::string& name) {
  if (tag == "float32") return DType::f32;
  if (tag == "float64") return DType::f64;
  if (tag == "bfloat16") return DType::bf16;
  if (tag == "float16") return DType::f16;
  refuse(name, "expected float32, float64, bfloat16 or float16, got '" + tag + "'");
}

int padding_of(const std::string& padding) {
  const char* names[] = {"zeros", "replicate", "reflect", "symmetric", "circular"};
  for (int i = 0; i < 5; ++i)
    if (padding == names[i]) return i;
  refuse("padding", "expected zeros, replicate, reflect, symmetric or circular, got '" + padding + "'");
}

const char* storage_of(DType dtype) {
  return dtype == DType::f32 ? "float32" : dtype == DType::f64 ? "float64" : "uint16";
}

bool has_storage(const py::array& array, DType dtype) {
  const char kind = array.dtype().kind();
  if (dtype == DType::f32) return kind == 'f' && array.itemsize() == 4;
  if (dtype == DType::f64) return kind == 'f' && array.itemsize() == 8;
  return kind == 'u' && array.itemsize() == 2;
}

// Any strides, also negative or zero, as long as every element is aligned.
View input(const py::array& array, const char* name, int rank, DType dtype) {
  if (!has_storage(array, dtype))
    refuse(name, std::string("expected an array of ") + storage_of(dtype) + ", got " + std::string(py::str(array.dtype())));
  if (array.ndim() != rank) refuse(name, "expected " + std::to_string(rank) + " dimensions, got " + std::to_string(array.ndim()));
  View view;
  view.dtype = dtype;
  view.data = const_cast<void*>(array.data());
  const py::ssize_t item = array.itemsize();
  bool aligned = reinterpret_cast<std::uintptr_t>(view.data) % static_cast<std::uintptr_t>(item) == 0;
  for (int i = 0; i < rank; ++i) {
    view.shape[i] = array.shape(i);
    aligned = aligned && array.strides(i) % item == 0;
    view.stride[i] = array.strides(i) / item;
  }
  if (!aligned && array.size()) refuse(name, "address and strides must be multiples of the element size");
  if (rank && view.shape[rank - 1] == 1) view.stride[rank - 1] = 1;
  return view;
}

View output(const py::array& array, const char* name, int rank, DType dtype) {
  View view = input(array, name, rank, dtype);
  if (!array.writeable()) refuse(name, "must be writeable");
  if (!(array.flags() & py::array::c_style)) refuse(name, "must be C-contiguous");
  Index stride = 1;
  for (int i = rank - 1; i >= 0; --i) {
    view.stride[i] = stride;
    stride *= view.shape[i] > 0 ? view.shape[i] : 1;
  }
  return view;
}

std::string text(const Index* shape, int rank) {
  std::string result = "[";
  for (int i = 0; i < rank; ++i) result += (i ? ", " : "") + std::to_string(shape[i]);
  return result + "]";
}

// Sides that must be positive, whatever the batch.
void require_sides(const View& view, const char* name, std::initializer_list<int> axes) {
  for (int axis : axes)
    if (view.shape[axis] < 1) refuse(name, "dimension " + std::to_string(axis) + " must not be 0");
}

void require_shape(const View& view, const char* name, std::initializer_list<Index> expected) {
  const int rank = static_cast<int>(expected.size());
  for (int i = 0; i < rank; ++i)
    if (view.shape[i] != expected.begin()[i])
      refuse(name, "expected shape " + text(expected.begin(), rank) + ", got " + text(view.shape, rank));
}

// A leading axis that may be 1 beside `size` images; it is then read with stride 0.
void require_broadcast(View& view, const char* name, int axis, Index size) {
  if (view.shape[axis] != size && view.shape[axis] != 1)
    refuse(name, "expected 1 or " + std::to_string(size) + " in dimension " + std::to_string(axis) + ", got " +
                     std::to_string(view.shape[axis]));
  if (view.shape[axis] == 1) view.stride[axis] = 0;
}

int require_threads(int threads) {
  if (threads < 1) refuse("threads", "expected at least 1, got " + std::to_string(threads));
  return threads;
}

const Level& level() { return *chosen_level(); }

// Runs a kernel without the GIL.
template <typename Call> void run(Status (*kernel)(const Call&), const Call& call) {
  Status status;
  {
    py::gil_scoped_release release;
    status = kernel(call);
  }
  if (status == Status::out_of_memory) throw std::bad_alloc();
}

// ---- pixel_filter

void check_filters(const View& image, View& filters, const char* image_name, const char* filters_name) {
  require_sides(image, image_name, {2, 3});
  require_sides(filters, filters_name, {3, 4});
  require_broadcast(filters, filters_name, 0, image.shape[0]);
  require_broadcast(filters, filters_name, 1, image.shape[1]);
  require_shape(filters, filters_name, {filters.shape[0], filters.shape[1], filters.shape[2], filters.shape[3], filters.shape[4],
                                        image.shape[2], image.shape[3]});
  const bool half = filters.dtype == DType::bf16 || filters.dtype == DType::f16;
  if (filters.dtype != image.dtype && !(image.dtype == DType::f32 && half))
    refuse("f_dtype", "expected the image's dtype, or a half type beside float32");
}

void check_stack(const View& stack, const View& image, const View& filters, const char* name) {
  require_shape(stack, name, {image.shape[0], image.shape[1], filters.shape[2], image.shape[2], image.shape[3]});
}

PixelFilterCall pixel_filter_call(const std::string& padding, int threads) {
  PixelFilterCall call;
  call.padding = padding_of(padding);
  call.threads = require_threads(threads);
  return call;
}

void pixel_filter_fwd(const py::array& x, const py::array& f, const py::array& y_out, const std::string& padding, int threads,
                      const std::string& x_dtype, const std::string& f_dtype) {
  PixelFilterCall call = pixel_filter_call(padding, threads);
  const DType dtype = dtype_of(x_dtype, "x_dtype");
  call.image = input(x, "x", 4, dtype);
  call.filters = input(f, "f", 7, dtype_of(f_dtype, "f_dtype"));
  call.stack = output(y_out, "y_out", 5, dtype);
  check_filters(call.image, call.filters, "x", "f");
  check_stack(call.stack, call.image, call.filters, "y_out");
  run(level().pixel_filter->fwd, call);
}

void pixel_filter_adjoint(const py::array& y, const py::array& f, const py::array& x_out, const std::string& padding, int threads,
                          const std::string& x_dtype, const std::string& f_dtype) {
  PixelFilterCall call = pixel_filter_call(padding, threads);
  const DType dtype = dtype_of(x_dtype, "x_dtype");
  call.stack = input(y, "y", 5, dtype);
  call.filters = input(f, "f", 7, dtype_of(f_dtype, "f_dtype"));
  call.image = call.result = output(x_out, "x_out", 4, dtype);
  check_filters(call.image, call.filters, "x_out", "f");
  check_stack(call.stack, call.image, call.filters, "y");
  run(level().pixel_filter->adjoint, call);
}

void pixel_filter_bwd_filters(const py::array& x, const py::array& g, const py::array& df_out, const std::string& padding,
                              int threads, const std::string& x_dtype, const std::string& f_dtype) {
  PixelFilterCall call = pixel_filter_call(padding, threads);
  const DType dtype = dtype_of(x_dtype, "x_dtype");
  call.image = input(x, "x", 4, dtype);
  call.stack = input(g, "g", 5, dtype);
  call.filters = output(df_out, "df_out", 7, dtype_of(f_dtype, "f_dtype"));
  check_filters(call.image, call.filters, "x", "df_out");
  check_stack(call.stack, call.image, call.filters, "g");
  run(level().pixel_filter->bwd_filters, call);
}

void take_weights(PixelFilterCall& call, const py::object& w, DType dtype) {
  if (w.is_none()) return;
  if (!py::isinstance<py::array>(w)) refuse("w", "expected an array or None");
  const Index* shape = call.image.shape;
  call.weights = input(py::reinterpret_borrow<py::array>(w), "w", 5, dtype);
  require_broadcast(call.weights, "w", 0, shape[0]);
  require_broadcast(call.weights, "w", 1, shape[1]);
  require_shape(call.weights, "w", {call.weights.shape[0], call.weights.shape[1], call.filters.shape[2], shape[2], shape[3]});
}

void pixel_filter_gram(const py::array& x, const py::array& f, const py::object& w, const py::array& out,
                       const std::string& padding, int threads, const std::string& x_dtype, const std::string& f_dtype) {
  PixelFilterCall call = pixel_filter_call(padding, threads);
  const DType dtype = dtype_of(x_dtype, "x_dtype");
  call.image = input(x, "x", 4, dtype);
  call.filters = input(f, "f", 7, dtype_of(f_dtype, "f_dtype"));
  call.result = output(out, "out", 4, dtype);
  check_filters(call.image, call.filters, "x", "f");
  const Index* shape = call.image.shape;
  require_shape(call.result, "out", {shape[0], shape[1], shape[2], shape[3]});
  take_weights(call, w, dtype);
  run(level().pixel_filter->gram, call);
}

void pixel_filter_gram_bwd_filters(const py::array& x, const py::array& g, const py::array& f, const py::object& w, const py::array& df_out,
                                   const std::string& padding, int threads, const std::string& x_dtype, const std::string& f_dtype) {
  PixelFilterCall call = pixel_filter_call(padding, threads);
  const DType dtype = dtype_of(x_dtype, "x_dtype");
  call.image = input(x, "x", 4, dtype);
  call.second = input(g, "g", 4, dtype);
  call.filters = input(f, "f", 7, dtype_of(f_dtype, "f_dtype"));
  call.gradient = output(df_out, "df_out", 7, call.filters.dtype);
  check_filters(call.image, call.filters, "x", "f");
  const Index *shape = call.image.shape, *like = call.filters.shape;
  require_shape(call.second, "g", {shape[0], shape[1], shape[2], shape[3]});
  require_shape(call.gradient, "df_out", {like[0], like[1], like[2], like[3], like[4], like[5], like[6]});
  take_weights(call, w, dtype);
  run(level().pixel_filter->gram_bwd_filters, call);
}

void register_pixel_filter(py::module_& m) {
  using py::arg;
  m.def("pixel_filter_fwd", &pixel_filter_fwd, arg("x"), arg("f"), arg("y_out"), arg("padding"), arg("threads"), arg("x_dtype"),
        arg("f_dtype"), "y[b,c,m,p] = sum_d f[b|0,c|0,m,d,p] x[b,c,p+d]; x [B,C,H,W], f [B|1,C|1,M,kh,kw,H,W], y_out [B,C,M,H,W]");
  m.def("pixel_filter_adjoint", &pixel_filter_adjoint, arg("y"), arg("f"), arg("x_out"), arg("padding"), arg("threads"),
        arg("x_dtype"), arg("f_dtype"), "The exact transpose of pixel_filter_fwd; y [B,C,M,H,W], x_out [B,C,H,W]");
  m.def("pixel_filter_bwd_filters", &pixel_filter_bwd_filters, arg("x"), arg("g"), arg("df_out"), arg("padding"), arg("threads"),
        arg("x_dtype"), arg("f_dtype"), "df[b|0,c|0,m,d,p] = sum over shared images of g[b,c,m,p] x[b,c,p+d]");
  m.def("pixel_filter_gram_bwd_filters", &pixel_filter_gram_bwd_filters, arg("x"), arg("g"), arg("f"), arg("w"), arg("df_out"),
        arg("padding"), arg("threads"), arg("x_dtype"), arg("f_dtype"), "df[m,d,p] = (WFg)[m,p] x[p+d] + (WFx)[m,p] g[p+d]; df_out like f");
  m.def("pixel_filter_gram", &pixel_filter_gram, arg("x"), arg("f"), arg("w"), arg("out"), arg("padding"), arg("threads"),
        arg("x_dtype"), arg("f_dtype"), "sum_m F_m' W_m F_m x in one pass over f; w [B|1,C|1,M,H,W] or None, out [B,C,H,W]");
}

// ---- tanh_features

void tanh_features_fwd(const py::array& x, const py::object& latent, const py::array& filters, const py::array& hidden,
                       const py::object& biases, const py::array& last, const py::array& y_out, int threads) {
  TanhFeaturesCall call;
  call.threads = require_threads(threads);
  call.image = input(x, "x", 4, DType::f32);
  call.filters = input(filters, "filters", 4, DType::f32);
  call.hidden = input(hidden, "hidden", 3, DType::f32);
  call.last = input(last, "last", 2, DType::f32);
  call.result = output(y_out, "y_out", 4, DType::f32);
  require_sides(call.image, "x", {1, 2, 3});
  require_sides(call.filters, "filters", {0, 2});
  const Index* shape = call.image.shape;
  const Index maps = call.filters.shape[0], side = call.filters.shape[2];
  Index channels = shape[1];
  if (!latent.is_none()) {
    if (!py::isinstance<py::array>(latent)) refuse("latent", "expected an array or None");
    call.latent = input(py::reinterpret_borrow<py::array>(latent), "latent", 4, DType::f32);
    require_shape(call.latent, "latent", {shape[0], call.latent.shape[1], shape[2], shape[3]});
    channels += call.latent.shape[1];
  }
  if (side % 2 == 0) refuse("filters", "expected an odd side, got " + std::to_string(side));
  require_shape(call.filters, "filters", {maps, channels, side, side});
  require_shape(call.hidden, "hidden", {call.hidden.shape[0], maps, maps});
  if (!biases.is_none()) {
    if (!py::isinstance<py::array>(biases)) refuse("biases", "expected an array or None");
    call.biases = input(py::reinterpret_borrow<py::array>(biases), "biases", 2, DType::f32);
    require_shape(call.biases, "biases", {call.hidden.shape[0] + 1, maps});
  }
  require_shape(call.last, "last", {call.last.shape[0], maps});
  require_shape(call.result, "y_out", {shape[0], call.last.shape[0], shape[2], shape[3]});
  run(level().tanh_features->fwd, call);
}

void register_tanh_features(py::module_& m) {
  using py::arg;
  m.def("tanh_features_fwd", &tanh_features_fwd, arg("x"), arg("latent"), arg("filters"), arg("hidden"), arg("biases"), arg("last"),
        arg("y_out"), arg("threads"),
        "h = tanh(filters * [x, latent] + b), h <- tanh(hidden[i] h + b), y = last h; x [B,C0,H,W], latent [B,C1,H,W] or None, "
        "filters [N,C0+C1,k,k], hidden [L,N,N], biases [L+1,N] or None, last [O,N], y_out [B,O,H,W]; float32, borders replicated");
}

// ---- quotient

// A half spectrum [.., .., rows, columns, 2]; neighbouring columns and the two parts must be adjacent.
View spectrum(const py::array& array, const char* name, DType dtype, bool written = false) {
  View view = input(array, name, 5, dtype);
  if (written && !array.writeable()) refuse(name, "must be writeable");
  if (view.shape[4] != 2 || (view.shape[3] > 1 && view.stride[3] != 2)) refuse(name, "expected interleaved adjacent columns [.., columns, 2]");
  require_sides(view, name, {2, 3});
  return view;
}

View optional_spectrum(const py::object& array, const char* name, DType dtype, bool written) {
  return array.is_none() ? View{} : spectrum(py::cast<py::array>(array), name, dtype, written);
}

// An int64 map of the plane's rows to rows 0..rows-1, -1 for none; None: the plane is the stored array.
View row_map(const py::object& array, const char* name, Index plane, Index rows) {
  if (array.is_none()) {
    if (rows != plane) refuse(name, "expected a map where the stored rows are not the plane's");
    return View{};
  }
  const py::array map = py::cast<py::array>(array);
  if (map.dtype().kind() != 'i' || map.itemsize() != 8 || map.ndim() != 1 || map.shape(0) != plane || map.strides(0) != 8)
    refuse(name, "expected contiguous int64 values for the " + std::to_string(plane) + " rows of the plane");
  View view;
  view.data = const_cast<void*>(map.data());
  const Index* value = static_cast<const Index*>(view.data);
  for (Index e = 0; e < plane; ++e)
    if (value[e] < -1 || value[e] >= rows) refuse(name, "row " + std::to_string(value[e]) + " is not one of " + std::to_string(rows));
  return view;
}

// None or a C-contiguous array of known shape.
View optional_table(const py::object& array, const char* name, std::initializer_list<Index> shape, DType dtype) {
  if (array.is_none()) return View{};
  View view = input(py::cast<py::array>(array), name, static_cast<int>(shape.size()), dtype);
  require_shape(view, name, shape);
  Index stride = 1;
  for (int i = static_cast<int>(shape.size()) - 1; i >= 0; --i) {
    if (view.shape[i] > 1 && view.stride[i] != stride) refuse(name, "must be C-contiguous");
    view.stride[i] = stride;
    stride *= view.shape[i];
  }
  return view;
}

View beta_table(const py::object& array, Index batch, DType dtype) {
  if (array.is_none()) return View{};
  View view = input(py::cast<py::array>(array), "beta", 1, dtype);
  require_broadcast(view, "beta", 0, batch);
  return view;
}

void require_kernel(View& kernel, const char* name, const View& image) {
  require_broadcast(kernel, name, 0, image.shape[0]);
  require_broadcast(kernel, name, 1, image.shape[1]);
  if (kernel.shape[3] != image.shape[3]) refuse(name, "expected " + std::to_string(image.shape[3]) + " columns, got " + std::to_string(kernel.shape[3]));
}

void require_like(const View& view, const char* name, const View& image) {
  for (int axis : {0, 1, 3})
    if (view.data && view.shape[axis] != image.shape[axis]) refuse(name, "dimension " + std::to_string(axis) + " differs from the image's");
}

QuotientCall quotient_call(Index plane, Index offset, int threads) {
  QuotientCall call;
  if (plane < 1) refuse("plane", "expected at least 1 row");
  call.plane = plane;
  call.offset = offset;
  call.threads = require_threads(threads);
  return call;
}

void quotient_apply(const py::array& x, const py::array& kernel, const py::array& out, const std::string& mode, Index plane, Index offset,
                    const py::object& load, const py::object& store, const py::object& ramp, const py::object& beta, const py::object& power,
                    int threads, const std::string& dtype_name) {
  QuotientCall call = quotient_call(plane, offset, threads);
  const DType dtype = dtype_of(dtype_name, "dtype");
  call.x = spectrum(x, "x", dtype);
  call.kernel = spectrum(kernel, "kernel", dtype);
  call.out_x = spectrum(out, "out", dtype, true);
  require_kernel(call.kernel, "kernel", call.x);
  require_like(call.out_x, "out", call.x);
  call.load_x = row_map(load, "load", plane, call.x.shape[2]);
  call.store = row_map(store, "store", plane, call.out_x.shape[2]);
  call.ramp = optional_table(ramp, "ramp", {plane, 2}, dtype);
  call.power = optional_table(power, "power", {plane, call.x.shape[3]}, dtype);
  call.beta = beta_table(beta, call.x.shape[0], dtype);
  if (mode != "multiply" && mode != "multiply_conjugate" && mode != "divide") refuse("mode", "expected multiply, multiply_conjugate or divide");
  call.mode = mode == "multiply" ? QuotientMode::multiply : mode == "divide" ? QuotientMode::divide : QuotientMode::multiply_conjugate;
  if (call.mode == QuotientMode::divide && !call.beta.data) refuse("beta", "is needed to divide");
  run(level().quotient->apply, call);
}

void quotient_estimate(const py::array& x, const py::array& y, const py::array& out, Index plane, Index offset, const py::object& load_x,
                       const py::object& load_y, const py::object& taper, const py::object& ramp, const py::object& beta, int threads,
                       const std::string& dtype_name) {
  QuotientCall call = quotient_call(plane, offset, threads);
  const DType dtype = dtype_of(dtype_name, "dtype");
  call.x = spectrum(x, "x", dtype);
  call.y = spectrum(y, "y", dtype);
  require_like(call.y, "y", call.x);
  call.out_kernel = spectrum(out, "out", dtype, true);
  if (call.x.shape[0] < 1 || call.x.shape[1] < 1) refuse("x", "must not be empty");
  require_kernel(call.out_kernel, "out", call.x);
  call.load_x = row_map(load_x, "load_x", plane, call.x.shape[2]);
  call.load_y = row_map(load_y, "load_y", plane, call.y.shape[2]);
  call.taper = optional_table(taper, "taper", {plane}, dtype);
  call.ramp = optional_table(ramp, "ramp", {plane, 2}, dtype);
  call.beta = beta_table(beta, call.out_kernel.shape[0], dtype);
  run(level().quotient->estimate, call);
}

void quotient_kernel_bwd(const py::array& g, const py::array& x, const py::array& y, const py::object& out_x, const py::object& out_y,
                         const py::array& slope, Index width, Index offset, const py::object& taper, const py::object& ramp,
                         const py::array& beta, int threads, const std::string& dtype_name) {
  const DType dtype = dtype_of(dtype_name, "dtype");
  const View image = spectrum(x, "x", dtype);
  QuotientCall call = quotient_call(image.shape[2], offset, threads);
  call.width = width;
  call.x = image;
  call.y = spectrum(y, "y", dtype);
  call.kernel = spectrum(g, "g", dtype);
  if (call.kernel.shape[0] != image.shape[0] || call.kernel.shape[1] != 1 || call.kernel.shape[3] != image.shape[3]) refuse("g", "expected [B, 1, kh, columns, 2]");
  call.out_x = optional_spectrum(out_x, "out_x", dtype, true);
  call.out_y = optional_spectrum(out_y, "out_y", dtype, true);
  for (const View* view : {&call.y, &call.out_x, &call.out_y}) {
    require_like(*view, "y, out_x, out_y", image);
    if (view->data && view->shape[2] != image.shape[2]) refuse("y, out_x, out_y", "expected the rows of x");
  }
  call.slope = output(slope, "slope", 1, DType::f64);
  require_shape(call.slope, "slope", {image.shape[0]});
  call.taper = optional_table(taper, "taper", {call.plane}, dtype);
  call.ramp = optional_table(ramp, "ramp", {call.plane, 2}, dtype);
  call.beta = beta_table(beta, image.shape[0], dtype);
  run(level().quotient->kernel_bwd, call);
}

void quotient_image_bwd(const py::array& g, const py::object& y, const py::array& kernel, const py::object& out_y, const py::object& out_kernel,
                        const py::array& slope, Index plane, Index width, Index offset, const py::object& place, const py::object& extend,
                        const py::object& ramp, const py::array& beta, const py::object& power, int threads, const std::string& dtype_name) {
  QuotientCall call = quotient_call(plane, offset, threads);
  const DType dtype = dtype_of(dtype_name, "dtype");
  call.width = width;
  call.g = spectrum(g, "g", dtype);
  call.y = optional_spectrum(y, "y", dtype, false);
  call.kernel = spectrum(kernel, "kernel", dtype);
  call.out_x = optional_spectrum(out_y, "out_y", dtype, true);
  call.out_kernel = optional_spectrum(out_kernel, "out_kernel", dtype, true);
  require_like(call.y, "y", call.g);
  require_like(call.out_x, "out_y", call.g);
  require_kernel(call.kernel, "kernel", call.g);
  if (call.out_kernel.data) {
    if (!call.y.data) refuse("y", "is needed for the gradient in the kernel");
    require_shape(call.out_kernel, "out_kernel", {call.kernel.shape[0], call.kernel.shape[1], call.kernel.shape[2], call.kernel.shape[3], 2});
  }
  call.load_x = row_map(place, "place", plane, call.g.shape[2]);
  if (call.y.data) call.load_y = row_map(extend, "extend", plane, call.y.shape[2]);
  if (call.out_x.data) call.store = row_map(extend, "extend", plane, call.out_x.shape[2]);
  call.slope = output(slope, "slope", 1, DType::f64);
  require_shape(call.slope, "slope", {call.g.shape[0]});
  call.ramp = optional_table(ramp, "ramp", {plane, 2}, dtype);
  call.power = optional_table(power, "power", {plane, call.g.shape[3]}, dtype);
  call.beta = beta_table(beta, call.g.shape[0], dtype);
  run(level().quotient->image_bwd, call);
}

void register_quotient(py::module_& m) {
  using py::arg;
  m.def("quotient_apply", &quotient_apply, arg("x"), arg("kernel"), arg("out"), arg("mode"), arg("plane"), arg("offset"), arg("load"), arg("store"),
        arg("ramp"), arg("beta"), arg("power"), arg("threads"), arg("dtype"),
        "Transforms along the columns, multiplies by the kernel's spectrum (or its conjugate, or divides), transforms back");
  m.def("quotient_estimate", &quotient_estimate, arg("x"), arg("y"), arg("out"), arg("plane"), arg("offset"), arg("load_x"), arg("load_y"),
        arg("taper"), arg("ramp"), arg("beta"), arg("threads"), arg("dtype"),
        "Rows of the inverse column transform of sum conj(X) Y, divided by sum |X|^2 + beta where beta is given");
  m.def("quotient_kernel_bwd", &quotient_kernel_bwd, arg("g"), arg("x"), arg("y"), arg("out_x"), arg("out_y"), arg("slope"), arg("width"),
        arg("offset"), arg("taper"), arg("ramp"), arg("beta"), arg("threads"), arg("dtype"), "Gradients of the kernel quotient, spectra along rows");
  m.def("quotient_image_bwd", &quotient_image_bwd, arg("g"), arg("y"), arg("kernel"), arg("out_y"), arg("out_kernel"), arg("slope"), arg("plane"),
        arg("width"), arg("offset"), arg("place"), arg("extend"), arg("ramp"), arg("beta"), arg("power"), arg("threads"), arg("dtype"),
        "Gradients of the image quotient, spectra along rows");
}

// ---- the module

py::dict build_info() {
  py::dict info;
#if defined(__clang__)
  info["compiler"] = "clang " __clang_version__;
#elif defined(__GNUC__)
  info["compiler"] = "gcc " __VERSION__;
#else
  info["compiler"] = "unknown";
#endif
  info["flags"] = SVCONV_FLAGS;
  info["openmp"] = has_openmp();
  int count = 0;
  const Level* all = levels(&count);
  py::list built, supported;
  for (int i = 0; i < count; ++i) {
    built.append(all[i].name);
    if (all[i].supported) supported.append(all[i].name);
  }
  info["isa_built"] = built;
  info["isa_supported"] = supported;
  info["isa"] = level().name;
  return info;
}

}  // namespace
}  // namespace svconv

PYBIND11_MODULE(_C, m) {
  using namespace svconv;
  if (!chosen_level()) throw py::import_error("SVCONV_ISA: expected one of the levels in this build (baseline, avx2, avx512; generic)");
  m.doc() = "CPU kernels of svconv on NumPy views; see svconv.ops for the public functions";
  m.def("build_info", &build_info, "Compiler, flags, instruction sets built, supported and chosen, OpenMP");
  register_pixel_filter(m);
  register_quotient(m);
  register_tanh_features(m);
}
