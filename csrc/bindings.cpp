// svconv._C: the one door between NumPy views and the kernels. Arrays are taken as they are, never copied; half types
// come as uint16 arrays with a dtype tag. What does not fit is a ValueError before anything is computed.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <initializer_list>
#include <string>

#include "core/boundary.h"
#include "cpu/dispatch.h"

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
  if (!w.is_none()) {
    if (!py::isinstance<py::array>(w)) refuse("w", "expected an array or None");
    call.weights = input(py::reinterpret_borrow<py::array>(w), "w", 5, dtype);
    require_broadcast(call.weights, "w", 0, shape[0]);
    require_broadcast(call.weights, "w", 1, shape[1]);
    require_shape(call.weights, "w", {call.weights.shape[0], call.weights.shape[1], call.filters.shape[2], shape[2], shape[3]});
  }
  run(level().pixel_filter->gram, call);
}

void register_pixel_filter(py::module_& m) {
  using py::arg;
  m.def("pixel_filter_fwd", &pixel_filter_fwd, arg("x"), arg("f"), arg("y_out"), arg("padding"), arg("threads"), arg("x_dtype"),
        arg("f_dtype"), "y[b,c,m,p] = sum_d f[b|0,c|0,m,d,p] x[b,c,p+d]; x [B,C,H,W], f [B|1,C|1,M,kh,kw,H,W], y_out [B,C,M,H,W]");
  m.def("pixel_filter_adjoint", &pixel_filter_adjoint, arg("y"), arg("f"), arg("x_out"), arg("padding"), arg("threads"),
        arg("x_dtype"), arg("f_dtype"), "The exact transpose of pixel_filter_fwd; y [B,C,M,H,W], x_out [B,C,H,W]");
  m.def("pixel_filter_bwd_filters", &pixel_filter_bwd_filters, arg("x"), arg("g"), arg("df_out"), arg("padding"), arg("threads"),
        arg("x_dtype"), arg("f_dtype"), "df[b|0,c|0,m,d,p] = sum over shared images of g[b,c,m,p] x[b,c,p+d]");
  m.def("pixel_filter_gram", &pixel_filter_gram, arg("x"), arg("f"), arg("w"), arg("out"), arg("padding"), arg("threads"),
        arg("x_dtype"), arg("f_dtype"), "sum_m F_m' W_m F_m x in one pass over f; w [B|1,C|1,M,H,W] or None, out [B,C,H,W]");
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
}
