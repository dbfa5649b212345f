// What every binding does with its arguments. Arrays are taken as they are, never copied; half types come as uint16 arrays with a
// dtype tag; shapes are written in the words of the docstrings. What does not fit is a ValueError before anything is computed.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <initializer_list>
#include <new>
#include <string>
#include <string_view>

#include "cpu/dispatch.h"
#include "cpu/types.h"

namespace svconv {

namespace py = pybind11;

[[noreturn]] void refuse(const std::string& name, const std::string& what);  // ValueError "name: what"

DType dtype_of(const std::string& tag, const std::string& name);
int padding_of(const std::string& padding);
int threads_of(int threads);

// The sizes of one call, each named by a word, and the arrays that are made of them: input(x, "x", "B C H W", dtype).
//
// A word is bound to the size at which it is first seen and must have that size from then on. `B?` is 1 or B, and an axis of 1 is then
// read with stride 0; a number stands for itself; words and numbers can be added (C0+C1). Sides (H, W and words in small letters, such as
// kh or rows) are at least 1, counts (other words in capitals, such as B or C0) may be 0.
class Dims {
 public:
  // Any strides, also negative or zero, as long as every element is aligned.
  View input(const py::array& array, const char* name, const char* words, DType dtype);
  // None gives a View without data.
  View optional_input(const py::object& array, const char* name, const char* words, DType dtype);
  // None, or C-contiguous.
  View table(const py::object& array, const char* name, const char* words, DType dtype);
  // Writeable and C-contiguous.
  View output(const py::array& array, const char* name, const char* words, DType dtype);

  // Words are literals: they are kept as views.
  void bind(std::string_view word, Index size);
  Index operator[](std::string_view word) const { return find(word)->size; }
  // For counts that must not be 0 in this call; `name` is the array that brings them.
  void at_least_one(const char* name, std::initializer_list<const char*> words) const;

 private:
  struct Bound {
    std::string_view word;
    Index size;
  };
  static constexpr int kMost = 16;

  const Bound* find(std::string_view word) const;  // nullptr: not bound
  Index value_of(std::string_view sum) const;      // -1: a word of the sum is not bound
  std::string sizes_of(const char* words) const;
  void fit(View& view, const char* name, const char* words);

  Bound bound_[kMost];
  int count_ = 0;
};

// The instruction set that runs.
const Level& level();

// Runs a kernel without the GIL.
template <typename Call> void run(Status (*kernel)(const Call&), const Call& call) {
  Status status;
  {
    py::gil_scoped_release release;
    status = kernel(call);
  }
  if (status == Status::out_of_memory) throw std::bad_alloc();
}

}  // namespace svconv
