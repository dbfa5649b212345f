#include "cpu/pixel_filter/pixel_filter.h"

#include "bindings/arguments.h"
#include "core/boundary.h"

namespace svconv {
namespace {

constexpr const char* kImage = "B C H W";
constexpr const char* kStack = "B C M H W";
constexpr const char* kFilters = "B? C? M kh kw H W";
constexpr const char* kWeights = "B? C? M H W";

struct Types {
  DType image, filters;
};

Types types_of(const std::string& x_dtype, const std::string& f_dtype) {
  const Types types = {dtype_of(x_dtype, "x_dtype"), dtype_of(f_dtype, "f_dtype")};
  const bool half = types.filters == DType::bf16 || types.filters == DType::f16;
  if (types.filters != types.image && !(types.image == DType::f32 && half))
    refuse("f_dtype", "expected the image's dtype, or a half type beside float32");
  return types;
}

PixelFilterCall call_of(const std::string& padding, int threads) {
  PixelFilterCall call;
  call.padding = padding_of(padding);
  call.threads = threads_of(threads);
  return call;
}

void fwd(const py::array& x, const py::array& f, const py::array& y_out, const std::string& padding, int threads,
         const std::string& x_dtype, const std::string& f_dtype) {
  PixelFilterCall call = call_of(padding, threads);
  const Types types = types_of(x_dtype, f_dtype);
  Dims dims;
  call.image = dims.input(x, "x", kImage, types.image);
  call.filters = dims.input(f, "f", kFilters, types.filters);
  call.stack = dims.output(y_out, "y_out", kStack, types.image);
  run(level().pixel_filter->fwd, call);
}

void adjoint(const py::array& y, const py::array& f, const py::array& x_out, const std::string& padding, int threads,
             const std::string& x_dtype, const std::string& f_dtype) {
  PixelFilterCall call = call_of(padding, threads);
  const Types types = types_of(x_dtype, f_dtype);
  Dims dims;
  call.image = call.result = dims.output(x_out, "x_out", kImage, types.image);
  call.filters = dims.input(f, "f", kFilters, types.filters);
  call.stack = dims.input(y, "y", kStack, types.image);
  run(level().pixel_filter->adjoint, call);
}

void bwd_filters(const py::array& x, const py::array& g, const py::array& df_out, const std::string& padding, int threads,
                 const std::string& x_dtype, const std::string& f_dtype) {
  PixelFilterCall call = call_of(padding, threads);
  const Types types = types_of(x_dtype, f_dtype);
  Dims dims;
  call.image = dims.input(x, "x", kImage, types.image);
  call.filters = dims.output(df_out, "df_out", kFilters, types.filters);
  call.stack = dims.input(g, "g", kStack, types.image);
  run(level().pixel_filter->bwd_filters, call);
}

void gram(const py::array& x, const py::array& f, const py::object& w, const py::array& out, const std::string& padding, int threads,
          const std::string& x_dtype, const std::string& f_dtype) {
  PixelFilterCall call = call_of(padding, threads);
  const Types types = types_of(x_dtype, f_dtype);
  Dims dims;
  call.image = dims.input(x, "x", kImage, types.image);
  call.filters = dims.input(f, "f", kFilters, types.filters);
  call.result = dims.output(out, "out", kImage, types.image);
  call.weights = dims.optional_input(w, "w", kWeights, types.image);
  run(level().pixel_filter->gram, call);
}

void gram_bwd_filters(const py::array& x, const py::array& g, const py::array& f, const py::object& w, const py::array& df_out,
                      const std::string& padding, int threads, const std::string& x_dtype, const std::string& f_dtype) {
  PixelFilterCall call = call_of(padding, threads);
  const Types types = types_of(x_dtype, f_dtype);
  Dims dims;
  call.image = dims.input(x, "x", kImage, types.image);
  call.second = dims.input(g, "g", kImage, types.image);
  call.filters = dims.input(f, "f", kFilters, types.filters);
  dims.bind("FB", call.filters.shape[0]);
  dims.bind("FC", call.filters.shape[1]);
  call.gradient = dims.output(df_out, "df_out", "FB FC M kh kw H W", types.filters);
  call.weights = dims.optional_input(w, "w", kWeights, types.image);
  run(level().pixel_filter->gram_bwd_filters, call);
}

Index stencil_values(Index kh, Index kw) { return ((2 * kh - 1) * (2 * kw - 1) + 1) / 2; }

void stencil(const py::array& f, const py::object& w, const py::array& s_out, const std::string& padding, int threads,
             const std::string& f_dtype, const std::string& s_dtype) {
  PixelFilterCall call = call_of(padding, threads);
  const DType from = dtype_of(f_dtype, "f_dtype"), to = dtype_of(s_dtype, "s_dtype");
  if (from != to && from != DType::f32 && to != DType::f32) refuse("s_dtype", "expected the filters' dtype, or float32 beside a half type");
  if ((from == DType::f64) != (to == DType::f64)) refuse("s_dtype", "expected float64 for float64 filters, and for no others");
  Dims dims;
  dims.bind("B", s_out.ndim() > 1 ? s_out.shape(0) : 1);
  dims.bind("C", s_out.ndim() > 1 ? s_out.shape(1) : 1);
  call.filters = dims.input(f, "f", kFilters, from);
  call.weights = dims.optional_input(w, "w", kWeights, from == DType::f64 ? DType::f64 : DType::f32);
  dims.bind("values", stencil_values(dims["kh"], dims["kw"]));
  call.stencil = dims.output(s_out, "s_out", "B C values H W", to);
  const bool mirrors = call.padding == kReflect || call.padding == kSymmetric;
  if (mirrors && (dims["kh"] % 2 == 0 || dims["kw"] % 2 == 0)) refuse("f", "expected odd sides beside reflect and symmetric");
  call.image = call.stencil;
  run(level().pixel_filter->stencil, call);
}

void stencil_apply(const py::array& x, const py::array& s, const py::array& out, int kh, int kw, const std::string& padding, int threads,
                   const std::string& x_dtype, const std::string& s_dtype) {
  PixelFilterCall call = call_of(padding, threads);
  if (call.padding != kZeros && call.padding != kCircular) refuse("padding", "expected zeros or circular");
  if (kh < 1 || kw < 1) refuse("kh, kw", "expected at least 1");
  const Types types = types_of(x_dtype, s_dtype);
  Dims dims;
  call.kh = kh, call.kw = kw;
  call.image = dims.input(x, "x", kImage, types.image);
  dims.bind("values", stencil_values(kh, kw));
  call.stencil = dims.table(s, "s", "B? C? values H W", types.filters);
  call.result = dims.output(out, "out", kImage, types.image);
  run(level().pixel_filter->stencil_apply, call);
}

}  // namespace

void register_pixel_filter(py::module_& m) {
  using py::arg;
  m.def("pixel_filter_fwd", &fwd, arg("x"), arg("f"), arg("y_out"), arg("padding"), arg("threads"), arg("x_dtype"), arg("f_dtype"),
        "y[b,c,m,p] = sum_d f[b|0,c|0,m,d,p] x[b,c,p+d]; x [B,C,H,W], f [B|1,C|1,M,kh,kw,H,W], y_out [B,C,M,H,W]");
  m.def("pixel_filter_adjoint", &adjoint, arg("y"), arg("f"), arg("x_out"), arg("padding"), arg("threads"), arg("x_dtype"), arg("f_dtype"),
        "The exact transpose of pixel_filter_fwd; y [B,C,M,H,W], x_out [B,C,H,W]");
  m.def("pixel_filter_bwd_filters", &bwd_filters, arg("x"), arg("g"), arg("df_out"), arg("padding"), arg("threads"), arg("x_dtype"),
        arg("f_dtype"), "df[b|0,c|0,m,d,p] = sum over shared images of g[b,c,m,p] x[b,c,p+d]");
  m.def("pixel_filter_gram", &gram, arg("x"), arg("f"), arg("w"), arg("out"), arg("padding"), arg("threads"), arg("x_dtype"),
        arg("f_dtype"), "sum_m F_m' W_m F_m x in one pass over f; w [B|1,C|1,M,H,W] or None, out [B,C,H,W]");
  m.def("pixel_filter_gram_bwd_filters", &gram_bwd_filters, arg("x"), arg("g"), arg("f"), arg("w"), arg("df_out"), arg("padding"),
        arg("threads"), arg("x_dtype"), arg("f_dtype"), "df[m,d,p] = (WFg)[m,p] x[p+d] + (WFx)[m,p] g[p+d]; df_out like f");
  m.def("pixel_filter_stencil", &stencil, arg("f"), arg("w"), arg("s_out"), arg("padding"), arg("threads"), arg("f_dtype"), arg("s_dtype"),
        "sum_m F_m' W_m F_m as the half A(q, q + e), e from 0 on, of a symmetric stencil; w [B|1,C|1,M,H,W] in float32 (float64) or None, "
        "s_out [B,C,values,H,W]");
  m.def("pixel_filter_stencil_apply", &stencil_apply, arg("x"), arg("s"), arg("out"), arg("kh"), arg("kw"), arg("padding"), arg("threads"),
        arg("x_dtype"), arg("s_dtype"), "A x of such a half, s [B|1,C|1,values,H,W]; zeros or circular");
}

}  // namespace svconv
