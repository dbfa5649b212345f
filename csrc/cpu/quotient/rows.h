// Real transforms along the rows of all planes, many rows at a time. Two neighbouring rows of a plane are a pair; rows of different planes
// never meet: NaN and rounding of one image do not reach another.
#pragma once

#include "cpu/quotient/quotient.h"
#include "cpu/row_fft.h"

namespace svconv {
namespace SVCONV_ISA {
namespace {

template <typename T> class RowGroups {
 public:
  static constexpr Index L = RowTransform<T>::L;
  static constexpr Index kRows = RowTransform<T>::kRows;

  explicit RowGroups(const RowsCall& call)
      : call_(call),
        columns_(call.plane),
        rows_(columns_, call.plane, static_cast<const Index*>(call.map.data), static_cast<const T*>(call.taper.data), call.image.shape[3]),
        height_(call.image.shape[2]),
        channels_(call.image.shape[1]),
        plane_pairs_(divide_up(height_, 2)),
        pairs_(call.image.shape[0] * channels_ * plane_pairs_) {}

  bool ok() const { return columns_.ok(); }
  Index tasks() const { return divide_up(pairs_, L); }
  std::size_t thread_bytes() const { return RowTransform<T>::thread_bytes(columns_, call_.plane); }
  double bytes() const { return 6.0 * static_cast<double>(pairs_ * call_.plane) * sizeof(T); }

  void forward(Index task, char* memory) const {
    T *image[kRows], *spectrum[kRows];
    find_rows(call_.image, task, image);
    find_rows(call_.spectrum, task, spectrum);
    rows_.forward(image, call_.image.stride[3], spectrum, memory);
  }

  void backward(Index task, char* memory) const {
    T *image[kRows], *spectrum[kRows];
    find_rows(call_.image, task, image);
    find_rows(call_.spectrum, task, spectrum);
    rows_.backward(spectrum, image, memory);
  }

 private:
  // The rows of a group: the upper rows of its pairs, then the lower ones; nullptr where there is none.
  void find_rows(const View& view, Index task, T** rows) const {
    const Index* stride = view.stride;
    for (Index i = 0; i < L; ++i) {
      const Index pair = task * L + i, plane = pair / plane_pairs_, row = 2 * (pair % plane_pairs_);
      T* upper = nullptr;
      if (pair < pairs_)
        upper = static_cast<T*>(view.data) + plane / channels_ * stride[0] + plane % channels_ * stride[1] + row * stride[2];
      rows[i] = upper;
      rows[L + i] = upper && row + 1 < height_ ? upper + stride[2] : nullptr;
    }
  }

  const RowsCall& call_;
  const ColumnTransform<T> columns_;
  const RowTransform<T> rows_;
  const Index height_, channels_, plane_pairs_, pairs_;
};

template <typename T, bool Forward> Status rows_typed(const RowsCall& call) {
  if (call.image.shape[0] * call.image.shape[1] == 0) return Status::ok;
  const RowGroups<T> groups(call);
  if (!groups.ok()) return Status::out_of_memory;
  const View& written = Forward ? call.spectrum : call.image;
  Index span = 1;
  for (int i = 0; i < 5 && written.shape[i]; ++i) span += (written.shape[i] - 1) * written.stride[i];
  advise_huge_pages(written.data, static_cast<std::size_t>(span) * sizeof(T));
  const Index tasks = groups.tasks();
  const int team = team_size(call.threads, tasks, groups.bytes() / 4);  // the work is arithmetic: a team pays later than for plain reading
  const std::size_t per_thread = (groups.thread_bytes() + 63) / 64 * 64;
  Scratch scratch(per_thread * static_cast<std::size_t>(team));
  if (!scratch.ok()) return Status::out_of_memory;
#pragma omp parallel for schedule(dynamic, 1) num_threads(team) if (team > 1)
  for (Index task = 0; task < tasks; ++task) {
    char* const memory = scratch.as<char>() + static_cast<std::size_t>(thread_index()) * per_thread;
    if constexpr (Forward) groups.forward(task, memory);
    else groups.backward(task, memory);
  }
  return Status::ok;
}

}  // namespace
}  // namespace SVCONV_ISA
}  // namespace svconv
