#include "cpu/gaussian/gaussian.h"

#include "bindings/radial.h"

namespace svconv {
namespace {

constexpr RadialNames kNames = {"sigma", "max_sigma", "truncate * sigma of "};

void blur(const py::array& x, const py::array& sigma, const py::array& y_out, const std::string& form, const std::string& padding,
          double max_sigma, double truncate, bool transposed, bool slope, int threads, const std::string& dtype) {
  RadialCall call = radial_call(kNames, form, padding, max_sigma, transposed, slope, threads);
  call.truncate = truncate;
  blur_views(call, kNames, x, sigma, y_out, dtype);
  run_radial(*level().gaussian, call, kNames);
}

void bwd_sigma(const py::array& x, const py::array& g, const py::array& sigma, const py::array& out, const std::string& form,
               const std::string& padding, double max_sigma, double truncate, int threads, const std::string& dtype) {
  RadialCall call = radial_call(kNames, form, padding, max_sigma, false, true, threads);
  call.truncate = truncate;
  gradient_views(call, kNames, x, g, sigma, out, dtype);
  run_radial(*level().gaussian, call, kNames);
}

}  // namespace

void register_gaussian(py::module_& m) {
  using py::arg;
  m.def("gaussian_blur", &blur, arg("x"), arg("sigma"), arg("y_out"), arg("form"), arg("padding"), arg("max_sigma"), arg("truncate"),
        arg("transposed"), arg("slope"), arg("threads"), arg("dtype"),
        "Blur by Gaussians, or its transpose, with weights or their derivative in sigma; x, y_out [B,C,H,W], sigma [B|1,C|1,H,W]");
  m.def("gaussian_bwd_sigma", &bwd_sigma, arg("x"), arg("g"), arg("sigma"), arg("out"), arg("form"), arg("padding"), arg("max_sigma"),
        arg("truncate"), arg("threads"), arg("dtype"),
        "The gradient of <g, blur of x> in sigma, summed over shared images; out like sigma");
}

}  // namespace svconv
