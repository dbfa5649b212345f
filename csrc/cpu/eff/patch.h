// One patch on its plane: rows in, strips of columns, rows out.
#pragma once

#include "cpu/column_steps.h"
#include "cpu/eff/eff.h"
#include "cpu/row_fft.h"

namespace svconv {
namespace SVCONV_ISA {
namespace {

// What all patches of a call share.
template <typename T> struct Planes {
  using Z = ComplexVector<T>;
  static constexpr Index kRows = RowTransform<T>::kRows;

  explicit Planes(const EffCall& call_)
      : call(call_),
        height(call.rows.length),
        width(call.columns.length),
        kernel_height(call.kernels.shape[3]),
        kernel_width(call.kernels.shape[4]),
        along_columns(height),
        along_rows(width),
        strips(width / 2 + 1),
        pitch(2 * strips.columns),
        steps(along_columns, height, call.rows.offset),
        tables(sizeof(Index) * static_cast<std::size_t>(width + height * (call.rows.pieces * 2 + 1))) {
    if (!tables.ok()) return;
    Index* next = tables.template as<Index>();
    kernel_columns = next;
    for (Index f = 0; f < width; ++f) next[f] = -1;
    for (Index a = 0; a < kernel_width; ++a) next[wrapped(a - call.columns.offset)] = a;
    load_slots = next += width;
    store_slots = load_slots + call.rows.pieces * height;
    for (Index i = 0; i < call.rows.pieces * height; ++i) {  // a row of the plane stands in the slot of its own number
      load_slots[i] = map_of(call.rows.load)[i] < 0 ? -1 : i % height;
      store_slots[i] = map_of(call.rows.store)[i] < 0 ? -1 : i % height;
    }
  }
  bool ok() const { return along_columns.ok() && along_rows.ok() && tables.ok(); }

  Index spectrum_values() const { return strips.count * height; }  // of one kernel, in complex vectors
  Index wrapped(Index place) const { return (place % width + width) % width; }
  const T* taper(const View& view, Index piece, Index length) const {
    return view.data ? static_cast<const T*>(view.data) + piece * length : nullptr;
  }

  const EffCall& call;
  const Index height, width, kernel_height, kernel_width;
  const ColumnTransform<T> along_columns, along_rows;
  const Strips<T> strips;
  const Index pitch;
  const Column<T> steps;
  Scratch tables;
  Index *kernel_columns = nullptr, *load_slots = nullptr, *store_slots = nullptr;
};

// A thread's memory and the steps of a patch.
template <typename T> class Patch {
 public:
  using Z = ComplexVector<T>;
  static constexpr Index kRows = RowTransform<T>::kRows;

  static std::size_t bytes(const Planes<T>& planes, int spectra) { return Patch(planes, nullptr, spectra).bytes_; }

  // In memory of so many bytes, aligned to vectors; nullptr only counts them.
  Patch(const Planes<T>& planes, char* memory, int spectra) : planes_(planes) {
    const auto take = [&](std::size_t size) {
      char* const part = memory ? memory + bytes_ : nullptr;
      bytes_ += (size + 63) / 64 * 64;
      return part;
    };
    const auto column_bytes = sizeof(Z) * static_cast<std::size_t>(planes.along_columns.space());
    rows_memory_ = take(RowTransform<T>::thread_bytes(planes.along_rows, planes.width));
    for (Z*& buffer : columns_) buffer = reinterpret_cast<Z*>(take(column_bytes));
    for (T*& rows : rows_) rows = reinterpret_cast<T*>(take(sizeof(T) * static_cast<std::size_t>(planes.height * planes.pitch)));
    for (int i = 0; i < spectra; ++i)
      spectra_[i] = reinterpret_cast<Z*>(take(sizeof(Z) * static_cast<std::size_t>(planes.spectrum_values())));
  }

  Z* spectrum(int i) const { return spectra_[i]; }
  Z*& column(int i) { return columns_[i]; }

  // The rows of an image that a piece of each axis names, transformed, into row buffer `to`.
  void load_rows(const View& image, const T* base, const Index* rows, const Index* columns, const T* taper, int to) {
    const RowTransform<T> transform(planes_.along_rows, planes_.width, columns, taper, 0);
    const T* from[kRows];
    T* into[kRows];
    Index count = 0;
    const auto flush = [&] {
      for (Index r = count; r < kRows; ++r) from[r] = into[r] = nullptr;
      if (count) transform.forward(from, image.stride[3], into, rows_memory_);
      count = 0;
    };
    for (Index e = 0; e < planes_.height; ++e) {
      if (rows[e] < 0) continue;
      from[count] = base + rows[e] * image.stride[2];
      into[count] = rows_[to] + e * planes_.pitch;
      if (++count == kRows) flush();
    }
    flush();
  }

  // A strip of the loaded rows, weighted and transformed, into column buffer `to`; buffer 2 is the work space.
  void load_strip(Index strip, const Index* slots, const T* taper, int from, int to) {
    planes_.steps.load(row_view(), at(from, strip), planes_.strips.width(strip), slots, taper, columns_[to]);
    planes_.steps.forward(columns_[to], columns_[2]);
  }

  // The strip of column buffer 0, swapped, back to the rows that `slots` names.
  void store_strip(Index strip, const Index* slots, const T* taper) {
    planes_.steps.store(row_view(), at(0, strip), planes_.strips.width(strip), slots, taper, false, columns_[0], columns_[2]);
  }

  // Rows of row buffer 0 back to pixels of the plane, weighted, into `pixels` [height, width].
  void store_rows(const Index* slots, const T* taper, T* pixels) {
    const RowTransform<T> transform(planes_.along_rows, planes_.width, nullptr, taper, planes_.width);
    back(transform, planes_.height, slots, pixels, planes_.width, 0);
  }

  // The spectrum of a kernel, strip by strip.
  void kernel_spectrum(const View& kernels, const T* base, Z* to) {
    const RowTransform<T> transform(planes_.along_rows, planes_.width, planes_.kernel_columns, nullptr, 0);
    for (Index first = 0; first < planes_.kernel_height; first += kRows) {
      const T* from[kRows];
      T* into[kRows];
      for (Index r = 0; r < kRows; ++r) {
        const bool inside = first + r < planes_.kernel_height;
        from[r] = inside ? base + (first + r) * kernels.stride[3] : nullptr;
        into[r] = inside ? rows_[1] + (first + r) * planes_.pitch : nullptr;
      }
      transform.forward(from, kernels.stride[4], into, rows_memory_);
    }
    for (Index strip = 0; strip < planes_.strips.count; ++strip) {
      View rows = row_view();
      rows.data = rows_[1];
      rows.shape[2] = planes_.kernel_height;
      planes_.steps.kernel_spectrum(rows, 0, 0, planes_.strips.first(strip), planes_.strips.width(strip), columns_[0], columns_[2]);
      memcpy(static_cast<void*>(to + strip * planes_.height), columns_[0], sizeof(Z) * static_cast<std::size_t>(planes_.height));
    }
  }

  // The kernel of a swapped spectrum, into base [kernel_height, kernel_width], contiguous.
  void kernel_values(const Z* from, T* base) {
    for (Index strip = 0; strip < planes_.strips.count; ++strip) {
      View rows = row_view();
      rows.data = rows_[1];
      rows.shape[2] = planes_.kernel_height;
      memcpy(static_cast<void*>(columns_[0]), from + strip * planes_.height, sizeof(Z) * static_cast<std::size_t>(planes_.height));
      planes_.steps.kernel_rows(rows, 0, 0, planes_.strips.first(strip), planes_.strips.width(strip), columns_[0], columns_[2]);
    }
    const RowTransform<T> transform(planes_.along_rows, planes_.width, planes_.kernel_columns, nullptr, planes_.kernel_width);
    back(transform, planes_.kernel_height, nullptr, base, planes_.kernel_width, 1);
  }

 private:
  T* at(int rows, Index strip) const { return rows_[rows] + 2 * planes_.strips.first(strip); }
  View row_view() const {
    View view;
    view.shape[2] = planes_.height;
    view.stride[2] = planes_.pitch;
    return view;
  }

  void back(const RowTransform<T>& transform, Index height, const Index* slots, T* pixels, Index pitch, int from) {
    const T* spectrum[kRows];
    T* image[kRows];
    Index count = 0;
    const auto flush = [&] {
      for (Index r = count; r < kRows; ++r) spectrum[r] = image[r] = nullptr;
      if (count) transform.backward(spectrum, image, rows_memory_);
      count = 0;
    };
    for (Index e = 0; e < height; ++e) {
      if (slots && slots[e] < 0) continue;
      spectrum[count] = rows_[from] + e * planes_.pitch;
      image[count] = pixels + e * pitch;
      if (++count == kRows) flush();
    }
    flush();
  }

  const Planes<T>& planes_;
  std::size_t bytes_ = 0;
  char* rows_memory_;
  Z* columns_[3];
  T* rows_[2];
  Z* spectra_[2];
};

}  // namespace
}  // namespace SVCONV_ISA
}  // namespace svconv
