#include "cpu/disk/disk.h"

#include "bindings/radial.h"

namespace svconv {
namespace {

constexpr RadialNames kNames = {"radius", "max_radius", ""};

void blur(const py::array& x, const py::array& radius, const py::array& y_out, const std::string& form, const std::string& padding,
          double max_radius, bool transposed, bool slope, int threads, const std::string& dtype) {
  RadialCall call = radial_call(kNames, form, padding, max_radius, transposed, slope, threads);
  blur_views(call, kNames, x, radius, y_out, dtype);
  run_radial(*level().disk, call, kNames);
}

void bwd_radius(const py::array& x, const py::array& g, const py::array& radius, const py::array& out, const std::string& form,
                const std::string& padding, double max_radius, int threads, const std::string& dtype) {
  RadialCall call = radial_call(kNames, form, padding, max_radius, false, true, threads);
  gradient_views(call, kNames, x, g, radius, out, dtype);
  run_radial(*level().disk, call, kNames);
}

}  // namespace

void register_disk(py::module_& m) {
  using py::arg;
  m.def("disk_blur", &blur, arg("x"), arg("radius"), arg("y_out"), arg("form"), arg("padding"), arg("max_radius"), arg("transposed"),
        arg("slope"), arg("threads"), arg("dtype"),
        "Blur by disks, or its transpose, with weights or their derivative in the radius; x, y_out [B,C,H,W], radius [B|1,C|1,H,W]");
  m.def("disk_bwd_radius", &bwd_radius, arg("x"), arg("g"), arg("radius"), arg("out"), arg("form"), arg("padding"), arg("max_radius"),
        arg("threads"), arg("dtype"), "The gradient of <g, blur of x> in the radius, summed over shared images; out like radius");
}

}  // namespace svconv
