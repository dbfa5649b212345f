#include "cpu/eff/eff.h"

#include "bindings/arguments.h"

namespace svconv {
namespace {

// int64 [pieces] or [pieces, length], C-contiguous, values from `least` up to below `limit`.
View integers(const py::handle& object, const std::string& name, Index pieces, Index length, Index least, Index limit) {
  if (!py::isinstance<py::array>(object)) refuse(name, "expected an array");
  const py::array array = py::reinterpret_borrow<py::array>(object);
  const bool shaped = length ? array.ndim() == 2 && array.shape(0) == pieces && array.shape(1) == length : array.ndim() == 1;
  if (array.dtype().kind() != 'i' || array.itemsize() != 8 || !shaped || !(array.flags() & py::array::c_style))
    refuse(name, "expected contiguous int64 values, " + (length ? std::to_string(pieces) + " x " + std::to_string(length) : "1-D"));
  View view;
  view.data = const_cast<void*>(array.data());
  for (Index i = 0; i < array.size(); ++i)
    if (const Index value = static_cast<const Index*>(view.data)[i]; value < least || value >= limit)
      refuse(name, std::to_string(value) + " is not in " + std::to_string(least) + ".." + std::to_string(limit - 1));
  return view;
}

// (patch, load, store, load_taper, store_taper, offset) of one axis.
EffAxis axis_of(const py::tuple& parts, const std::string& name, Index length, Index patches, Index loaded, Index stored, DType dtype) {
  if (parts.size() != 6) refuse(name, "expected (patch, load, store, load_taper, store_taper, offset)");
  if (length < 1) refuse(name, "expected a plane of at least 1 place");
  EffAxis axis;
  axis.pieces = py::len(parts[0]);
  axis.length = length;
  axis.offset = parts[5].cast<Index>();
  axis.patch = integers(parts[0], name + ".patch", axis.pieces, 0, 0, patches);
  axis.load = integers(parts[1], name + ".load", axis.pieces, length, -1, loaded);
  axis.store = integers(parts[2], name + ".store", axis.pieces, length, -1, stored);
  Dims dims;
  dims.bind("PIECES", axis.pieces);
  dims.bind("length", length);
  axis.load_taper = dims.table(py::reinterpret_borrow<py::object>(parts[3]), "load_taper", "PIECES length", dtype);
  axis.store_taper = dims.table(py::reinterpret_borrow<py::object>(parts[4]), "store_taper", "PIECES length", dtype);
  return axis;
}

// The axes, once the images and kernels are known; `stored` is the size of what the store maps name.
void take_axes(EffCall& call, const py::tuple& size, const py::tuple& rows, const py::tuple& columns, const View& stored, DType dtype) {
  const Index height = size[0].cast<Index>(), width = size[1].cast<Index>(), grid_rows = size[2].cast<Index>();
  call.grid_columns = size[3].cast<Index>();
  if (grid_rows < 1 || call.grid_columns < 1 || grid_rows * call.grid_columns != call.kernels.shape[2])
    refuse("size", "expected a grid of " + std::to_string(call.kernels.shape[2]) + " patches");
  call.rows = axis_of(rows, "rows", height, grid_rows, call.x.shape[2], stored.shape[2], dtype);
  call.columns = axis_of(columns, "columns", width, call.grid_columns, call.x.shape[3], stored.shape[3], dtype);
  if (call.kernels.shape[3] > height || call.kernels.shape[4] > width) refuse("kernels", "are larger than the plane");
}

Index values_of(const py::tuple& size, DType dtype) { return level().eff->values(size[0].cast<Index>(), size[1].cast<Index>(), dtype); }

// Spectra are read and written as whole vectors.
void aligned(const View& spectra, const char* name) {
  if (reinterpret_cast<std::uintptr_t>(spectra.data) % 64 != 0) refuse(name, "expected an address that is a multiple of 64");
}

EffMode mode_of(const std::string& mode) {
  if (mode == "multiply") return EffMode::multiply;
  if (mode == "multiply_conjugate") return EffMode::multiply_conjugate;
  if (mode == "divide") return EffMode::divide;
  refuse("mode", "expected multiply, multiply_conjugate or divide, got '" + mode + "'");
}

void apply(const py::array& x, const py::array& kernels, const py::object& spectra, const py::array& result, const std::string& mode,
           const py::tuple& size, const py::tuple& rows, const py::tuple& columns, const py::object& beta, const py::object& power,
           int threads, const std::string& dtype_name) {
  Dims dims;
  const DType dtype = dtype_of(dtype_name, "dtype");
  EffCall call;
  call.x = dims.input(x, "x", "B C H W", dtype);
  call.kernels = dims.input(kernels, "kernels", "B? C? R kh kw", dtype);
  call.result = dims.output(result, "result", "B C result_rows result_columns", dtype);
  dims.bind("values", values_of(size, dtype));
  call.spectra = dims.optional_input(spectra, "spectra", "B? C? R values", dtype);
  if (call.spectra.data && call.spectra.stride[3] != 1) refuse("spectra", "expected contiguous values");
  aligned(call.spectra, "spectra");
  take_axes(call, size, rows, columns, call.result, dtype);
  dims.bind("plane_rows", call.rows.length);
  dims.bind("plane_columns", call.columns.length / 2 + 1);
  call.beta = dims.optional_input(beta, "beta", "B?", dtype);
  call.power = dims.table(power, "power", "plane_rows plane_columns", dtype);
  call.mode = mode_of(mode);
  if (call.mode == EffMode::divide && !call.beta.data) refuse("beta", "is needed to divide");
  call.threads = threads_of(threads);
  run(level().eff->apply, call);
}

void estimate(const py::array& x, const py::array& y, const py::array& kernels, const py::tuple& size, const py::tuple& rows,
              const py::tuple& columns, const py::object& beta, int threads, const std::string& dtype_name) {
  Dims dims;
  const DType dtype = dtype_of(dtype_name, "dtype");
  EffCall call;
  call.x = dims.input(x, "x", "B C H W", dtype);
  call.y = dims.input(y, "y", "B C y_rows y_columns", dtype);
  dims.at_least_one("x", {"B", "C"});
  call.kernels = dims.output(kernels, "kernels", "KB KC R kh kw", dtype);
  for (const auto& [shared, all] : {std::pair{"KB", "B"}, std::pair{"KC", "C"}})
    if (dims[shared] != 1 && dims[shared] != dims[all]) refuse("kernels", std::string("expected 1 or ") + all + " on their first axes");
  take_axes(call, size, rows, columns, call.y, dtype);
  call.beta = dims.optional_input(beta, "beta", "KB?", dtype);
  call.threads = threads_of(threads);
  run(level().eff->estimate, call);
}

void spectra(const py::array& kernels, const py::array& out, const py::tuple& size, const py::tuple& offset, int threads,
             const std::string& dtype_name) {
  Dims dims;
  const DType dtype = dtype_of(dtype_name, "dtype");
  EffCall call;
  call.kernels = dims.input(kernels, "kernels", "KB KC R kh kw", dtype);
  dims.bind("values", values_of(size, dtype));
  call.spectra = dims.output(out, "out", "KB KC R values", dtype);
  aligned(call.spectra, "out");
  call.rows.length = size[0].cast<Index>();
  call.columns.length = size[1].cast<Index>();
  call.rows.offset = offset[0].cast<Index>();
  call.columns.offset = offset[1].cast<Index>();
  if (dims["kh"] > call.rows.length || dims["kw"] > call.columns.length) refuse("kernels", "are larger than the plane");
  call.threads = threads_of(threads);
  run(level().eff->spectra, call);
}

}  // namespace

void register_eff(py::module_& m) {
  using py::arg;
  m.def("eff_apply", &apply, arg("x"), arg("kernels"), arg("spectra"), arg("result"), arg("mode"), arg("size"), arg("rows"), arg("columns"),
        arg("beta"), arg("power"), arg("threads"), arg("dtype"),
        "Adds every patch, multiplied by its kernel's spectrum (or its conjugate, or divided), to result; size: plane and grid");
  m.def("eff_estimate", &estimate, arg("x"), arg("y"), arg("kernels"), arg("size"), arg("rows"), arg("columns"), arg("beta"),
        arg("threads"), arg("dtype"),
        "Kernels of sum conj(X) Y over the patches of two images, divided by sum |X|^2 + beta where beta is given");
  m.def("eff_spectra", &spectra, arg("kernels"), arg("out"), arg("size"), arg("offset"), arg("threads"), arg("dtype"),
        "The kernels' spectra as eff_apply takes them; out [.., .., R, eff_values]");
  m.def(
      "eff_values", [](const py::tuple& size, const std::string& dtype) { return values_of(size, dtype_of(dtype, "dtype")); }, arg("size"),
      arg("dtype"), "Values of one kernel's spectrum on this instruction set");
}

}  // namespace svconv
