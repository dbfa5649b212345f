#include "cpu/disk/disk.h"

#include <cstdio>
#include <utility>

#include "bindings/arguments.h"

namespace svconv {
namespace {

constexpr const char* kImage = "B C H W";
constexpr const char* kMap = "B? C? H W";
constexpr double kLargest = 16384;  // as LARGEST in svconv/_disk_area.py

bool is_scatter(const std::string& form) {
  if (form != "gather" && form != "scatter") refuse("form", "expected gather or scatter, got '" + form + "'");
  return form == "scatter";
}

void run_disk(DiskCall& call) {
  call.largest = level().disk->largest(call);
  if (call.largest > kLargest) {
    char text[96];
    std::snprintf(text, sizeof text, "expected at most %g pixels (max_radius= clamps), got %g", kLargest, call.largest);
    refuse("radius", text);
  }
  run(level().disk->blur, call);
}

DiskCall call_of(const std::string& form, const std::string& padding, double max_radius, bool transposed, bool slope, int threads) {
  DiskCall call;
  call.scatter = is_scatter(form);
  call.padding = padding_of(padding);
  if (!(max_radius >= 0)) refuse("max_radius", "expected a number >= 0, got " + std::to_string(max_radius));
  call.max_radius = max_radius;
  call.transposed = transposed, call.slope = slope;
  call.threads = threads_of(threads);
  return call;
}

DType map_dtype(DType image) { return image == DType::f64 ? DType::f64 : DType::f32; }

void blur(const py::array& x, const py::array& radius, const py::array& y_out, const std::string& form, const std::string& padding,
          double max_radius, bool transposed, bool slope, int threads, const std::string& dtype) {
  DiskCall call = call_of(form, padding, max_radius, transposed, slope, threads);
  const DType type = dtype_of(dtype, "dtype");
  Dims dims;
  call.image = dims.input(x, "x", kImage, type);
  call.radius = dims.input(radius, "radius", kMap, map_dtype(type));
  call.result = dims.output(y_out, "y_out", kImage, type);
  run_disk(call);
}

void bwd_radius(const py::array& x, const py::array& g, const py::array& radius, const py::array& dr_out, const std::string& form,
                const std::string& padding, double max_radius, int threads, const std::string& dtype) {
  DiskCall call = call_of(form, padding, max_radius, false, true, threads);
  const DType type = dtype_of(dtype, "dtype");
  Dims dims;
  call.image = dims.input(x, "x", kImage, type);
  call.second = dims.input(g, "g", kImage, type);
  call.radius = dims.input(radius, "radius", kMap, map_dtype(type));
  dims.bind("RB", call.radius.shape[0]);
  dims.bind("RC", call.radius.shape[1]);
  call.result = dims.output(dr_out, "dr_out", "RB RC H W", map_dtype(type));
  if (call.scatter) {  // <g, D x> = <D' g, x>: the disk of an input pixel reads g
    call.transposed = true;
    std::swap(call.image, call.second);
  }
  run_disk(call);
}

}  // namespace

void register_disk(py::module_& m) {
  using py::arg;
  m.def("disk_blur", &blur, arg("x"), arg("radius"), arg("y_out"), arg("form"), arg("padding"), arg("max_radius"), arg("transposed"),
        arg("slope"), arg("threads"), arg("dtype"),
        "Blur by disks, or its transpose, with weights or their derivative in the radius; x, y_out [B,C,H,W], radius [B|1,C|1,H,W]");
  m.def("disk_bwd_radius", &bwd_radius, arg("x"), arg("g"), arg("radius"), arg("dr_out"), arg("form"), arg("padding"), arg("max_radius"),
        arg("threads"), arg("dtype"), "The gradient of <g, blur of x> in the radius, summed over shared images; dr_out like radius");
}

}  // namespace svconv
