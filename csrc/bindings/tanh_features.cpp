#include "cpu/tanh_features/tanh_features.h"

#include "bindings/arguments.h"

namespace svconv {
namespace {

void fwd(const py::array& x, const py::object& latent, const py::array& filters, const py::array& hidden, const py::object& biases,
         const py::array& last, const py::array& y_out, int threads) {
  TanhFeaturesCall call;
  call.threads = threads_of(threads);
  Dims dims;
  call.image = dims.input(x, "x", "B C0 H W", DType::f32);
  dims.at_least_one("x", {"C0"});
  if (latent.is_none()) dims.bind("C1", 0);
  call.latent = dims.optional_input(latent, "latent", "B C1 H W", DType::f32);
  call.filters = dims.input(filters, "filters", "N C0+C1 k k", DType::f32);
  dims.at_least_one("filters", {"N"});
  if (dims["k"] % 2 == 0) refuse("filters", "expected an odd side, got " + std::to_string(dims["k"]));
  call.hidden = dims.input(hidden, "hidden", "L N N", DType::f32);
  call.biases = dims.optional_input(biases, "biases", "L+1 N", DType::f32);
  call.last = dims.input(last, "last", "O N", DType::f32);
  call.result = dims.output(y_out, "y_out", "B O H W", DType::f32);
  run(level().tanh_features->fwd, call);
}

}  // namespace

void register_tanh_features(py::module_& m) {
  using py::arg;
  m.def("tanh_features_fwd", &fwd, arg("x"), arg("latent"), arg("filters"), arg("hidden"), arg("biases"), arg("last"), arg("y_out"),
        arg("threads"),
        "h = tanh(filters * [x, latent] + b), h <- tanh(hidden[i] h + b), y = last h; x [B,C0,H,W], latent [B,C1,H,W] or None, "
        "filters [N,C0+C1,k,k], hidden [L,N,N], biases [L+1,N] or None, last [O,N], y_out [B,O,H,W]; float32, borders replicated");
}

}  // namespace svconv
