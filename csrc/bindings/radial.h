// What the bindings of disk and gaussian have in common: a call's views and options.
#pragma once

#include <cstdio>
#include <string>
#include <utility>

#include "bindings/arguments.h"
#include "cpu/radial/call.h"

namespace svconv {

constexpr double kFarthest = 16384;  // pixels, as LARGEST in svconv/_disk_area.py and svconv/_gaussian_window.py

// The names of the map and of its promise in errors, and what the map's largest number may be, in words and by the call.
struct RadialNames {
  const char *map, *most, *limited;
};

inline RadialCall radial_call(const RadialNames& names, const std::string& form, const std::string& padding, double most, bool transposed,
                              bool slope, int threads) {
  if (form != "gather" && form != "scatter") refuse("form", "expected gather or scatter, got '" + form + "'");
  if (!(most >= 0)) refuse(names.most, "expected a number >= 0, got " + std::to_string(most));
  RadialCall call;
  call.scatter = form == "scatter";
  call.padding = padding_of(padding);
  call.most = most;
  call.transposed = transposed, call.slope = slope;
  call.threads = threads_of(threads);
  return call;
}

// y_out = the blur of x, or its transpose.
inline void blur_views(RadialCall& call, const RadialNames& names, const py::array& x, const py::array& map, const py::array& y_out,
                       const std::string& dtype) {
  const DType type = dtype_of(dtype, "dtype"), map_type = type == DType::f64 ? DType::f64 : DType::f32;
  Dims dims;
  call.image = dims.input(x, "x", "B C H W", type);
  call.map = dims.input(map, names.map, "B? C? H W", map_type);
  call.result = dims.output(y_out, "y_out", "B C H W", type);
}

// out = the gradient of <g, blur of x> in the map.
inline void gradient_views(RadialCall& call, const RadialNames& names, const py::array& x, const py::array& g, const py::array& map,
                           const py::array& out, const std::string& dtype) {
  const DType type = dtype_of(dtype, "dtype"), map_type = type == DType::f64 ? DType::f64 : DType::f32;
  Dims dims;
  call.image = dims.input(x, "x", "B C H W", type);
  call.second = dims.input(g, "g", "B C H W", type);
  call.map = dims.input(map, names.map, "B? C? H W", map_type);
  dims.bind("MB", call.map.shape[0]);
  dims.bind("MC", call.map.shape[1]);
  call.result = dims.output(out, "out", "MB MC H W", map_type);
  if (call.scatter) {  // <g, D x> = <D' g, x>: the kernel of an input pixel reads g
    call.transposed = true;
    std::swap(call.image, call.second);
  }
}

template <typename Table> void run_radial(const Table& table, RadialCall& call, const RadialNames& names) {
  call.largest = table.largest(call);
  const double reach = call.truncate > 0 ? call.truncate * call.largest : call.largest;
  if (reach > kFarthest) {
    char text[128];
    std::snprintf(text, sizeof text, "expected %sat most %g pixels (%s= clamps), got %g", names.limited, kFarthest, names.most, reach);
    refuse(names.map, text);
  }
  run(table.blur, call);
}

}  // namespace svconv
