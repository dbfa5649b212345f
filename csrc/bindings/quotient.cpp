#include "cpu/quotient/quotient.h"

#include "bindings/arguments.h"

namespace svconv {
namespace {

constexpr const char* kKernel = "B? C? kh columns 2";

// A half spectrum [.., .., rows, columns, 2]; neighbouring columns and the two parts must be adjacent.
View checked_spectrum(const View& view, const py::array& array, const char* name, bool written) {
  if (written && !array.writeable()) refuse(name, "must be writeable");
  const bool interleaved = view.stride[4] == 1 && (view.shape[3] == 1 || view.stride[3] == 2);
  if (array.size() && !interleaved) refuse(name, "expected interleaved adjacent columns [.., columns, 2]");
  return view;
}

View spectrum(Dims& dims, const py::array& array, const char* name, const char* words, DType dtype, bool written = false) {
  return checked_spectrum(dims.input(array, name, words, dtype), array, name, written);
}

View optional_spectrum(Dims& dims, const py::object& array, const char* name, const char* words, DType dtype, bool written) {
  const View view = dims.optional_input(array, name, words, dtype);
  return array.is_none() ? view : checked_spectrum(view, py::reinterpret_borrow<py::array>(array), name, written);
}

// An int64 map of the plane's rows (or columns) to rows 0..rows-1, -1 for none; None: the plane is the stored array.
View row_map(const py::object& array, const char* name, Index plane, Index rows) {
  if (array.is_none()) {
    if (rows != plane) refuse(name, "expected a map where the stored rows are not the plane's");
    return View{};
  }
  if (!py::isinstance<py::array>(array)) refuse(name, "expected an array or None");
  const py::array map = py::reinterpret_borrow<py::array>(array);
  if (map.dtype().kind() != 'i' || map.itemsize() != 8 || map.ndim() != 1 || map.shape(0) != plane || (plane > 1 && map.strides(0) != 8))
    refuse(name, "expected contiguous int64 values for the " + std::to_string(plane) + " rows of the plane");
  View view;
  view.data = const_cast<void*>(map.data());
  const Index* value = static_cast<const Index*>(view.data);
  for (Index e = 0; e < plane; ++e)
    if (value[e] < -1 || value[e] >= rows) refuse(name, "row " + std::to_string(value[e]) + " is not one of " + std::to_string(rows));
  return view;
}

QuotientMode mode_of(const std::string& mode) {
  if (mode == "multiply") return QuotientMode::multiply;
  if (mode == "multiply_conjugate") return QuotientMode::multiply_conjugate;
  if (mode == "divide") return QuotientMode::divide;
  refuse("mode", "expected multiply, multiply_conjugate or divide, got '" + mode + "'");
}

QuotientCall call_of(Dims& dims, Index plane, Index offset, int threads) {
  QuotientCall call;
  if (plane < 1) refuse("plane", "expected at least 1 row");
  dims.bind("plane", plane);
  call.plane = plane;
  call.offset = offset;
  call.threads = threads_of(threads);
  return call;
}

// The sides of the plane, and where the kernel's first row and column stand.
WholeCall whole_call(Dims& dims, Index rows, Index columns, Index offset, int threads, DType dtype, const py::object& ramp,
                     const py::object& column_ramp) {
  WholeCall call;
  call.columns = call_of(dims, rows, offset, threads);
  if (columns < 1) refuse("width", "expected at least 1 column");
  call.plane = columns;
  dims.bind("width", columns);
  dims.bind("columns", columns / 2 + 1);
  call.columns.ramp = dims.table(ramp, "ramp", "plane 2", dtype);
  call.ramp = dims.table(column_ramp, "column_ramp", "columns 2", dtype);
  return call;
}

void filter(const py::array& x, const py::array& kernel, const py::array& out, const std::string& mode, Index plane, Index width,
            Index offset, const py::object& load, const py::object& store, const py::object& load_columns, const py::object& store_columns,
            const py::object& kernel_columns, const py::object& ramp, const py::object& column_ramp, const py::object& beta,
            const py::object& power, int threads, const std::string& dtype_name) {
  Dims dims;
  const DType dtype = dtype_of(dtype_name, "dtype");
  WholeCall call = whole_call(dims, plane, width, offset, threads, dtype, ramp, column_ramp);
  call.x = dims.input(x, "x", "B C H W", dtype);
  call.kernel = dims.input(kernel, "kernel", "B? C? kh kw", dtype);
  call.out = dims.output(out, "out", "B C H W", dtype);
  call.enter = row_map(load_columns, "load_columns", width, dims["W"]);
  call.leave = row_map(store_columns, "store_columns", width, dims["W"]);
  call.kernel_columns = row_map(kernel_columns, "kernel_columns", width, dims["kw"]);
  call.columns.load_x = row_map(load, "load", plane, dims["H"]);
  call.columns.store = row_map(store, "store", plane, dims["H"]);
  call.columns.power = dims.table(power, "power", "plane columns", dtype);
  call.columns.beta = dims.optional_input(beta, "beta", "B?", dtype);
  call.columns.mode = mode_of(mode);
  if (call.columns.mode == QuotientMode::divide && !call.columns.beta.data) refuse("beta", "is needed to divide");
  run(level().quotient->filter, call);
}

void kernel(const py::array& x, const py::array& y, const py::array& out, Index offset, const py::object& kernel_columns,
            const py::object& taper, const py::object& column_taper, const py::object& ramp, const py::object& column_ramp,
            const py::array& beta, int threads, const std::string& dtype_name) {
  Dims dims;
  const DType dtype = dtype_of(dtype_name, "dtype");
  if (x.ndim() != 4) refuse("x", "expected 4 dimensions, got " + std::to_string(x.ndim()));
  WholeCall call = whole_call(dims, x.shape(2), x.shape(3), offset, threads, dtype, ramp, column_ramp);
  call.x = dims.input(x, "x", "B C plane width", dtype);
  call.y = dims.input(y, "y", "B C plane width", dtype);
  dims.at_least_one("x", {"B", "C"});
  call.out = dims.output(out, "out", "B 1 kh kw", dtype);
  call.kernel_columns = row_map(kernel_columns, "kernel_columns", dims["width"], dims["kw"]);
  call.columns.taper = dims.table(taper, "taper", "plane", dtype);
  call.taper = dims.table(column_taper, "column_taper", "width", dtype);
  call.columns.beta = dims.input(beta, "beta", "B?", dtype);
  run(level().quotient->kernel, call);
}

void estimate(const py::array& x, const py::array& y, const py::array& out, Index plane, Index offset, const py::object& load_x,
              const py::object& load_y, const py::object& ramp, int threads, const std::string& dtype_name) {
  Dims dims;
  QuotientCall call = call_of(dims, plane, offset, threads);
  const DType dtype = dtype_of(dtype_name, "dtype");
  call.x = spectrum(dims, x, "x", "B C rows columns 2", dtype);
  call.y = spectrum(dims, y, "y", "B C y_rows columns 2", dtype);
  call.out_kernel = spectrum(dims, out, "out", kKernel, dtype, true);
  dims.at_least_one("x", {"B", "C"});
  call.load_x = row_map(load_x, "load_x", plane, dims["rows"]);
  call.load_y = row_map(load_y, "load_y", plane, dims["y_rows"]);
  call.ramp = dims.table(ramp, "ramp", "plane 2", dtype);
  run(level().quotient->estimate, call);
}

void kernel_bwd(const py::array& g, const py::array& x, const py::array& y, const py::object& out_x, const py::object& out_y,
                const py::array& slope, Index width, Index offset, const py::object& taper, const py::object& ramp, const py::array& beta,
                int threads, const std::string& dtype_name) {
  constexpr const char* kImage = "B C plane columns 2";
  const DType dtype = dtype_of(dtype_name, "dtype");
  Dims dims;
  const View image = spectrum(dims, x, "x", kImage, dtype);
  QuotientCall call = call_of(dims, dims["plane"], offset, threads);
  call.width = width;
  call.x = image;
  call.y = spectrum(dims, y, "y", kImage, dtype);
  call.kernel = spectrum(dims, g, "g", "B 1 kh columns 2", dtype);
  call.out_x = optional_spectrum(dims, out_x, "out_x", kImage, dtype, true);
  call.out_y = optional_spectrum(dims, out_y, "out_y", kImage, dtype, true);
  call.slope = dims.output(slope, "slope", "B", DType::f64);
  call.taper = dims.table(taper, "taper", "plane", dtype);
  call.ramp = dims.table(ramp, "ramp", "plane 2", dtype);
  call.beta = dims.input(beta, "beta", "B?", dtype);
  run(level().quotient->kernel_bwd, call);
}

void image_bwd(const py::array& g, const py::object& y, const py::array& kernel, const py::object& out_y, const py::object& out_kernel,
               const py::array& slope, Index plane, Index width, Index offset, const py::object& place, const py::object& extend,
               const py::object& ramp, const py::array& beta, const py::object& power, int threads, const std::string& dtype_name) {
  Dims dims;
  QuotientCall call = call_of(dims, plane, offset, threads);
  const DType dtype = dtype_of(dtype_name, "dtype");
  call.width = width;
  call.g = spectrum(dims, g, "g", "B C rows columns 2", dtype);
  call.y = optional_spectrum(dims, y, "y", "B C y_rows columns 2", dtype, false);
  call.kernel = spectrum(dims, kernel, "kernel", kKernel, dtype);
  call.out_x = optional_spectrum(dims, out_y, "out_y", "B C out_rows columns 2", dtype, true);
  dims.bind("KB", call.kernel.shape[0]);
  dims.bind("KC", call.kernel.shape[1]);
  call.out_kernel = optional_spectrum(dims, out_kernel, "out_kernel", "KB KC kh columns 2", dtype, true);
  if (call.out_kernel.data && !call.y.data) refuse("y", "is needed for the gradient in the kernel");
  call.load_x = row_map(place, "place", plane, dims["rows"]);
  if (call.y.data) call.load_y = row_map(extend, "extend", plane, dims["y_rows"]);
  if (call.out_x.data) call.store = row_map(extend, "extend", plane, dims["out_rows"]);
  call.slope = dims.output(slope, "slope", "B", DType::f64);
  call.ramp = dims.table(ramp, "ramp", "plane 2", dtype);
  call.power = dims.table(power, "power", "plane columns", dtype);
  call.beta = dims.input(beta, "beta", "B?", dtype);
  run(level().quotient->image_bwd, call);
}

RowsCall rows_call(Dims& dims, Index plane, int threads) {
  RowsCall call;
  if (plane < 1) refuse("plane", "expected at least 1 column");
  dims.bind("plane", plane);
  dims.bind("columns", plane / 2 + 1);
  call.plane = plane;
  call.threads = threads_of(threads);
  return call;
}

void rows_forward(const py::array& x, const py::array& out, Index plane, const py::object& load, const py::object& taper, int threads,
                  const std::string& dtype_name) {
  Dims dims;
  RowsCall call = rows_call(dims, plane, threads);
  const DType dtype = dtype_of(dtype_name, "dtype");
  call.image = dims.input(x, "x", "B C H W", dtype);
  call.spectrum = spectrum(dims, out, "out", "B C H columns 2", dtype, true);
  call.map = row_map(load, "load", plane, dims["W"]);
  call.taper = dims.table(taper, "taper", "plane", dtype);
  run(level().quotient->rows_forward, call);
}

void rows_backward(const py::array& spectrum_rows, const py::array& out, Index plane, const py::object& store, const py::object& taper,
                   int threads, const std::string& dtype_name) {
  Dims dims;
  RowsCall call = rows_call(dims, plane, threads);
  const DType dtype = dtype_of(dtype_name, "dtype");
  call.spectrum = spectrum(dims, spectrum_rows, "spectrum", "B C H columns 2", dtype);
  call.image = dims.output(out, "out", "B C H W", dtype);
  call.map = row_map(store, "store", plane, dims["W"]);
  call.taper = dims.table(taper, "taper", "plane", dtype);
  run(level().quotient->rows_backward, call);
}

}  // namespace

void register_quotient(py::module_& m) {
  using py::arg;
  m.def("quotient_filter", &filter, arg("x"), arg("kernel"), arg("out"), arg("mode"), arg("plane"), arg("width"), arg("offset"),
        arg("load"), arg("store"), arg("load_columns"), arg("store_columns"), arg("kernel_columns"), arg("ramp"), arg("column_ramp"),
        arg("beta"), arg("power"), arg("threads"), arg("dtype"),
        "x on a plane times the kernel's spectrum (or its conjugate, or divided by it); x, out [B,C,H,W], kernel [B|1,C|1,kh,kw]");
  m.def("quotient_kernel", &kernel, arg("x"), arg("y"), arg("out"), arg("offset"), arg("kernel_columns"), arg("taper"), arg("column_taper"),
        arg("ramp"), arg("column_ramp"), arg("beta"), arg("threads"), arg("dtype"),
        "The kernel's values of sum conj(X) Y / (sum |X|^2 + beta); x, y [B,n,H,W], out [B,1,kh,kw]");
  m.def("quotient_estimate", &estimate, arg("x"), arg("y"), arg("out"), arg("plane"), arg("offset"), arg("load_x"), arg("load_y"),
        arg("ramp"), arg("threads"), arg("dtype"), "Rows of the inverse column transform of sum conj(X) Y");
  m.def("quotient_kernel_bwd", &kernel_bwd, arg("g"), arg("x"), arg("y"), arg("out_x"), arg("out_y"), arg("slope"), arg("width"),
        arg("offset"), arg("taper"), arg("ramp"), arg("beta"), arg("threads"), arg("dtype"),
        "Gradients of the kernel quotient, spectra along rows");
  m.def("quotient_image_bwd", &image_bwd, arg("g"), arg("y"), arg("kernel"), arg("out_y"), arg("out_kernel"), arg("slope"), arg("plane"),
        arg("width"), arg("offset"), arg("place"), arg("extend"), arg("ramp"), arg("beta"), arg("power"), arg("threads"), arg("dtype"),
        "Gradients of the image quotient, spectra along rows");
  m.def("rows_forward", &rows_forward, arg("x"), arg("out"), arg("plane"), arg("load"), arg("taper"), arg("threads"), arg("dtype"),
        "Real transforms of rows of length plane; x [B,C,H,W], load [plane] columns of x (-1: zero) or None, taper [plane] or None, "
        "out [B,C,H,plane//2+1,2]");
  m.def("rows_backward", &rows_backward, arg("spectrum"), arg("out"), arg("plane"), arg("store"), arg("taper"), arg("threads"),
        arg("dtype"),
        "Inverse real transforms of rows; every column of the plane, times taper, is added to column store[..] of out (-1: dropped); "
        "spectrum [B,C,H,plane//2+1,2], out [B,C,H,W]");
}

}  // namespace svconv
