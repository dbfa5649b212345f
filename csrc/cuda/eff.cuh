// Efficient filter flow: a block takes one patch, with its plane in shared memory from the first pixel to the last.
//
// The tables of the two axes say which pixel stands at each place of a patch's plane (-1: none) and where the result of a place goes. What
// reaches a pixel from several patches is added by `eff_collect` in a fixed order.
#pragma once

#include "cuda/plane_fft.cuh"

namespace svconv {
namespace {

// One patch of a batch of `pieces_down` x `pieces_across`, for one of `planes` images.
struct Task {
  long long plane, row_piece, column_piece;
};

__device__ __forceinline__ Task task_of(long long number, long long planes, long long pieces_across) {
  const long long piece = number / planes;
  return {number % planes, piece / pieces_across, piece % pieces_across};
}

// Pixels of an image, weighted, as the rows of a plane; an odd last place of a row stands alone.
template <typename T>
__device__ __forceinline__ void load_plane(Complex<T>* plane, const PlanePlan<T>& plan, const T* image, long long stride_h,
                                           long long stride_w, const int* row_places, const int* column_places, const T* row_weights,
                                           const T* column_weights) {
  const int height = plan.height(), half = plan.half();
  const auto pixel = [&](int row, int f) {
    const int column = column_places[f];
    if (row < 0 || column < 0) return T(0);
    const T value = image[row * stride_h + column * stride_w];
    return column_weights ? value * column_weights[f] : value;
  };
  for (int t = static_cast<int>(threadIdx.x); t < height * half; t += static_cast<int>(blockDim.x)) {
    const int e = t / half, f = t % half;
    const T weight = row_weights ? row_weights[e] : T(1);
    plane[e * plan.pitch + f] = {pixel(row_places[e], 2 * f) * weight, pixel(row_places[e], 2 * f + 1) * weight};
  }
  __syncthreads();
}

// What `eff_filter` does with a patch's spectrum and that of its kernel.
enum EffMode { kMultiply, kMultiplyConjugate, kDivide };

// beta |D|^2 at a frequency; power [height, half + 1] is that of real filters, the same at v and -v; null for ones.
template <typename T> struct Regularisation {
  T beta;
  const T* power;
  int pitch;

  __device__ __forceinline__ T operator()(int v, int f) const { return power ? beta * power[v * pitch + f] : beta; }
};

}  // namespace

// The spectra of patches, or of the kernels of patches (then `row_patch`, `column_patch` name the patch of a piece, whose kernel is
// `stride_r` after the one before, and all pieces share their places: `each_row`, `each_column` = 0): spectra[block] in the order of the
// blocks, pieces outside, planes inside.
template <typename T>
__global__ void __launch_bounds__(512, sizeof(T) == 4 ? 2 : 1)
    eff_transform(const T* image, T* spectra, const int* row_places, const int* column_places, const T* row_weights,
                  const T* column_weights, const int* row_patch, const int* column_patch, const int* table, const T* roots,
                  long long row_first, long long column_first, long long pieces_across, long long planes, long long channels,
                  long long stride_b, long long stride_c, long long stride_r, long long stride_h, long long stride_w,
                  long long grid_columns, long long each_row, long long each_column, long long height, long long half, long long row_passes,
                  long long column_passes) {
  const PlanePlan<T> plan = plane_plan(table, roots, height, half, row_passes, column_passes);
  Complex<T>* const plane = static_cast<Complex<T>*>(shared_memory());
  const Task task = task_of(blockIdx.x, planes, pieces_across);
  const long long i = row_first + task.row_piece, j = column_first + task.column_piece;
  const T* const from = image + task.plane / channels * stride_b + task.plane % channels * stride_c +
                        (row_patch ? (row_patch[i] * grid_columns + column_patch[j]) * stride_r : 0);
  const int* const rows = row_places + i * each_row;
  load_plane(plane, plan, from, stride_h, stride_w, rows, column_places + j * each_column, row_weights ? row_weights + i * height : nullptr,
             column_weights ? column_weights + j * 2 * half : nullptr);
  forward(plane, plan, [&](int e) { return rows[e] >= 0; });
  Complex<T>* const to = reinterpret_cast<Complex<T>*>(spectra) + blockIdx.x * static_cast<long long>(plan.values());
  for (int t = static_cast<int>(threadIdx.x); t < plan.values(); t += static_cast<int>(blockDim.x))
    if (t % plan.pitch < plan.half()) to[t] = plane[t];
}

// Patches filtered: loaded, transformed, multiplied by the spectrum of their kernel or its conjugate or divided by it, and back to patches
// [block, height, 2 half], weighted; only the places that go somewhere are written. kernel_batch, kernel_channels: 1 where a kernel is
// shared.
template <typename T, int Mode>
__global__ void __launch_bounds__(512, sizeof(T) == 4 ? 2 : 1)
    eff_filter(const T* image, const T* spectra, T* patches, const int* row_load, const int* column_load, const T* row_load_weights,
               const T* column_load_weights, const int* row_store, const int* column_store, const T* row_store_weights,
               const T* column_store_weights, const T* beta, const T* power, const int* table, const T* roots, long long row_first,
               long long column_first, long long pieces_across, long long planes, long long channels, long long stride_b,
               long long stride_c, long long stride_h, long long stride_w, long long kernel_batch, long long kernel_channels,
               long long beta_stride, long long height, long long half, long long row_passes, long long column_passes) {
  const PlanePlan<T> plan = plane_plan(table, roots, height, half, row_passes, column_passes);
  Complex<T>* const plane = static_cast<Complex<T>*>(shared_memory());
  const Task task = task_of(blockIdx.x, planes, pieces_across);
  const long long i = row_first + task.row_piece, j = column_first + task.column_piece, width = 2 * half;
  const long long b = task.plane / channels, c = task.plane % channels;
  const int *const rows = row_load + i * height, *const to_rows = row_store + i * height, *const to_columns = column_store + j * width;
  load_plane(plane, plan, image + b * stride_b + c * stride_c, stride_h, stride_w, rows, column_load + j * width,
             row_load_weights ? row_load_weights + i * height : nullptr, column_load_weights ? column_load_weights + j * width : nullptr);
  forward(plane, plan, [&](int e) { return rows[e] >= 0; });

  const long long piece = blockIdx.x / planes;
  const long long kernel = (piece * kernel_batch + (kernel_batch > 1 ? b : 0)) * kernel_channels + (kernel_channels > 1 ? c : 0);
  const Complex<T>* const transfer = reinterpret_cast<const Complex<T>*>(spectra) + kernel * plan.values();
  const auto here = [&](int, int place) { return plane[place]; };
  const auto there = [&](int, int place) { return transfer[place]; };
  const auto write = [&](int place, Complex<T> value) { plane[place] = value; };
  if constexpr (Mode == kDivide) quotients(plan, 1, here, there, Regularisation<T>{beta[b * beta_stride], power, plan.half() + 1}, write);
  else products<Mode == kMultiplyConjugate>(plan, 1, here, there, write);
  backward(plane, plan, [&](int e) { return to_rows[e] >= 0; });

  const T scale = T(1) / (static_cast<T>(height) * static_cast<T>(half));
  T* const to = patches + blockIdx.x * height * width;
  for (int t = static_cast<int>(threadIdx.x); t < plan.height() * plan.half(); t += static_cast<int>(blockDim.x)) {
    const int e = t / plan.half(), f = 2 * (t % plan.half());
    if (to_rows[e] < 0) continue;
    const T weight = row_store_weights ? scale * row_store_weights[i * height + e] : scale;
    const Complex<T> value = plane[e * plan.pitch + f / 2];
    if (to_columns[f] >= 0) to[e * width + f] = value.re * weight * (column_store_weights ? column_store_weights[j * width + f] : T(1));
    if (to_columns[f + 1] >= 0)
      to[e * width + f + 1] = value.im * weight * (column_store_weights ? column_store_weights[j * width + f + 1] : T(1));
  }
}

// Adds patches [pieces, planes, height, width] to the result [planes, result_height, result_width]: each pixel from the entries of its row
// and of its column, one after the other. Pixel n = 0 .. rows - 1 is row_pixel[n], reached by the entries row_begin[n] .. row_end[n] - 1 of
// row_piece and row_place; the tables are those of the batch.
template <typename T>
__global__ void __launch_bounds__(256, 6)
    eff_collect(const T* patches, T* result, const int* row_pixel, const int* row_begin, const int* row_end, const int* row_piece,
                const int* row_place, const int* column_pixel, const int* column_begin, const int* column_end, const int* column_piece,
                const int* column_place, long long rows, long long columns, long long pieces_across, long long planes, long long height,
                long long width, long long result_height, long long result_width) {
  const long long number = blockIdx.x * static_cast<long long>(blockDim.x) + threadIdx.x;
  if (number >= rows * columns * planes) return;
  const int i = static_cast<int>(number / columns % rows), j = static_cast<int>(number % columns);
  const long long plane = number / columns / rows, patch = height * width;
  T total = T(0);
  for (int n = column_begin[j]; n < column_end[j]; ++n) {
    const T* const column = patches + (column_piece[n] * planes + plane) * patch + column_place[n];
    for (int m = row_begin[i]; m < row_end[i]; ++m) total += column[row_piece[m] * pieces_across * planes * patch + row_place[m] * width];
  }
  result[(plane * result_height + row_pixel[i]) * result_width + column_pixel[j]] += total;
}

// The kernels [kernel_batch, kernel_channels, R, kh, kw] += what the spectra x and g of a batch of patches [pieces, planes] say of them:
// the cross correlation, summed over images that share a kernel and over the pieces of a patch, at the places that kernel_rows [kh] and
// kernel_columns [kw] name. With Divide every patch is one piece, and what is summed is a quotient.
template <typename T, bool Divide>
__global__ void __launch_bounds__(512, sizeof(T) == 4 ? 2 : 1)
    eff_estimate(const T* x, const T* g, T* kernels, const int* row_patch, const int* column_patch, const int* kernel_rows,
                 const int* kernel_columns, const T* beta, const int* table, const T* roots, long long row_first, long long row_last,
                 long long column_first, long long column_last, long long batch, long long channels, long long kernel_batch,
                 long long kernel_channels, long long grid_rows, long long grid_columns, long long kernel_height, long long kernel_width,
                 long long beta_stride, long long height, long long half, long long row_passes, long long column_passes) {
  const PlanePlan<T> plan = plane_plan(table, roots, height, half, row_passes, column_passes);
  Complex<T>* const plane = static_cast<Complex<T>*>(shared_memory());
  const long long r = blockIdx.x % (grid_rows * grid_columns), kernel = blockIdx.x / (grid_rows * grid_columns);
  const long long planes = batch * channels, pieces_across = column_last - column_first;
  // pieces of one patch stand one after the other
  long long top = row_first, bottom, left = column_first, right;
  while (top < row_last && row_patch[top] != r / grid_columns) ++top;
  for (bottom = top; bottom < row_last && row_patch[bottom] == r / grid_columns;) ++bottom;
  while (left < column_last && column_patch[left] != r % grid_columns) ++left;
  for (right = left; right < column_last && column_patch[right] == r % grid_columns;) ++right;
  if (top == bottom || left == right) return;  // the whole block

  const long long first_b = kernel_batch > 1 ? kernel / kernel_channels : 0, count_b = kernel_batch > 1 ? 1 : batch;
  const long long first_c = kernel_channels > 1 ? kernel % kernel_channels : 0, count_c = kernel_channels > 1 ? 1 : channels;
  const long long across = right - left, images = count_b * count_c, terms = (bottom - top) * across * images;
  const auto spectrum = [&](const T* spectra, long long term) {
    const long long piece = (top - row_first + term / images / across) * pieces_across + left - column_first + term / images % across;
    const long long image = (first_b + term % images / count_c) * channels + first_c + term % images % count_c;
    return reinterpret_cast<const Complex<T>*>(spectra) + (piece * planes + image) * plan.values();
  };
  const auto of_g = [&](int term, int place) { return spectrum(g, term)[place]; };
  const auto of_x = [&](int term, int place) { return spectrum(x, term)[place]; };
  const auto write = [&](int place, Complex<T> value) { plane[place] = value; };
  if constexpr (Divide)
    quotients(plan, static_cast<int>(terms), of_g, of_x, Regularisation<T>{beta[first_b * beta_stride], nullptr, 0}, write);
  else products<true>(plan, static_cast<int>(terms), of_g, of_x, write);
  backward(plane, plan, [&](int) { return true; });

  const T scale = T(1) / (static_cast<T>(height) * static_cast<T>(half));
  T* const to = kernels + (kernel * grid_rows * grid_columns + r) * kernel_height * kernel_width;
  for (long long t = threadIdx.x; t < kernel_height * kernel_width; t += blockDim.x) {
    const int e = kernel_rows[t / kernel_width], f = kernel_columns[t % kernel_width];
    const Complex<T> value = plane[e * plan.pitch + f / 2];
    to[t] += scale * (f % 2 ? value.im : value.re);
  }
}

}  // namespace svconv
