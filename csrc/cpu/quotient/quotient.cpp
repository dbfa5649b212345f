// The column passes of the quotient family; see quotient.h for what the arrays mean.
#include "cpu/quotient/quotient.h"

#include "cpu/quotient/gradients.h"
#include "cpu/quotient/products.h"
#include "cpu/quotient/rows.h"
#include "cpu/quotient/whole.h"

namespace svconv {
namespace SVCONV_ISA {
namespace {

Status filter(const WholeCall& call) { return call.x.dtype == DType::f64 ? filter_typed<double>(call) : filter_typed<float>(call); }
Status kernel(const WholeCall& call) { return call.x.dtype == DType::f64 ? kernel_typed<double>(call) : kernel_typed<float>(call); }
Status estimate(const QuotientCall& call) {
  return call.x.dtype == DType::f64 ? estimate_typed<double>(call) : estimate_typed<float>(call);
}
Status kernel_bwd(const QuotientCall& call) {
  return call.x.dtype == DType::f64 ? kernel_bwd_typed<double>(call) : kernel_bwd_typed<float>(call);
}
Status image_bwd(const QuotientCall& call) {
  return call.g.dtype == DType::f64 ? image_bwd_typed<double>(call) : image_bwd_typed<float>(call);
}
Status rows_forward(const RowsCall& call) {
  return call.image.dtype == DType::f64 ? rows_typed<double, true>(call) : rows_typed<float, true>(call);
}
Status rows_backward(const RowsCall& call) {
  return call.image.dtype == DType::f64 ? rows_typed<double, false>(call) : rows_typed<float, false>(call);
}

}  // namespace

const QuotientTable quotient = {filter, kernel, estimate, kernel_bwd, image_bwd, rows_forward, rows_backward};

}  // namespace SVCONV_ISA
}  // namespace svconv
