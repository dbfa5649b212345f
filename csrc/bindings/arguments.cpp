#include "bindings/arguments.h"

#include <cstdint>
#include <stdexcept>

#include "core/boundary.h"

namespace svconv {
namespace {

const char* storage_of(DType dtype) { return dtype == DType::f32 ? "float32" : dtype == DType::f64 ? "float64" : "uint16"; }

bool has_storage(const py::array& array, DType dtype) {
  const char kind = array.dtype().kind();
  if (dtype == DType::f32) return kind == 'f' && array.itemsize() == 4;
  if (dtype == DType::f64) return kind == 'f' && array.itemsize() == 8;
  return kind == 'u' && array.itemsize() == 2;
}

// ---- words; nothing is allocated unless there is an error to tell

struct Word {
  std::string_view text;  // without the question mark
  bool broadcast;         // B?: 1 or B
};

// Takes the next part of `rest` up to the separator.
std::string_view take(std::string_view& rest, char separator) {
  const std::size_t end = rest.find(separator);
  const std::string_view part = rest.substr(0, end);
  rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
  return part;
}

Word next_word(std::string_view& rest) {
  std::string_view text = take(rest, ' ');
  const bool broadcast = text.back() == '?';
  if (broadcast) text.remove_suffix(1);
  return {text, broadcast};
}

int rank_of(const char* words) {
  int rank = 0;
  for (std::string_view rest = words; !rest.empty(); ++rank) take(rest, ' ');
  return rank;
}

bool is_side(std::string_view word) { return word == "H" || word == "W" || (word[0] >= 'a' && word[0] <= 'z'); }

// "rows", "columns": an error reads as a sentence.
bool is_plural(std::string_view word) { return word.size() > 2 && word.back() == 's'; }

std::string bracketed(const char* words) {
  std::string result = "[";
  for (std::string_view rest = words; !rest.empty();) {
    result += take(rest, ' ');
    result += rest.empty() ? "]" : ", ";
  }
  return result;
}

std::string shape_of(const View& view, int rank) {
  std::string result = "[";
  for (int i = 0; i < rank; ++i) result += (i ? ", " : "") + std::to_string(view.shape[i]);
  return result + "]";
}

// ---- arrays

View described(const py::array& array, const char* name, const char* words, DType dtype) {
  const int rank = rank_of(words);
  if (!has_storage(array, dtype))
    refuse(name, std::string("expected an array of ") + storage_of(dtype) + ", got " + std::string(py::str(array.dtype())));
  if (array.ndim() != rank)
    refuse(name, "expected " + std::to_string(rank) + " dimensions, got " + std::to_string(array.ndim()) + "; " + bracketed(words));
  View view;
  view.dtype = dtype;
  view.data = const_cast<void*>(array.data());
  const py::ssize_t item = array.itemsize();
  bool aligned = reinterpret_cast<std::uintptr_t>(view.data) % static_cast<std::uintptr_t>(item) == 0;
  for (int i = 0; i < rank; ++i) {
    view.shape[i] = array.shape(i);
    aligned = aligned && array.strides(i) % item == 0;
    view.stride[i] = array.strides(i) / item;
  }
  if (!aligned && array.size()) refuse(name, "address and strides must be multiples of the element size");
  if (rank && view.shape[rank - 1] == 1) view.stride[rank - 1] = 1;
  return view;
}

// Whether the strides are those of a C-contiguous array; where an axis has one element they are made so.
bool is_contiguous(View& view, int rank) {
  Index stride = 1;
  for (int i = rank - 1; i >= 0; --i) {
    if (view.shape[i] > 1 && view.stride[i] != stride) return false;
    view.stride[i] = stride;
    stride *= view.shape[i] > 0 ? view.shape[i] : 1;
  }
  return true;
}

py::array array_of(const py::object& object, const char* name) {
  if (!py::isinstance<py::array>(object)) refuse(name, "expected an array or None");
  return py::reinterpret_borrow<py::array>(object);
}

}  // namespace

void refuse(const std::string& name, const std::string& what) { throw py::value_error(name + ": " + what); }

DType dtype_of(const std::string& tag, const std::string& name) {
  if (tag == "float32") return DType::f32;
  if (tag == "float64") return DType::f64;
  if (tag == "bfloat16") return DType::bf16;
  if (tag == "float16") return DType::f16;
  refuse(name, "expected float32, float64, bfloat16 or float16, got '" + tag + "'");
}

int padding_of(const std::string& padding) {
  std::string known;
  for (int i = 0; i < kPaddings; ++i) {
    if (padding == kPaddingNames[i]) return i;
    known += std::string(i == 0 ? "" : i + 1 < kPaddings ? ", " : " or ") + kPaddingNames[i];
  }
  refuse("padding", "expected " + known + ", got '" + padding + "'");
}

int threads_of(int threads) {
  if (threads < 1) refuse("threads", "expected at least 1, got " + std::to_string(threads));
  return threads;
}

const Level& level() { return *chosen_level(); }

View Dims::input(const py::array& array, const char* name, const char* words, DType dtype) {
  View view = described(array, name, words, dtype);
  fit(view, name, words);
  return view;
}

View Dims::optional_input(const py::object& array, const char* name, const char* words, DType dtype) {
  return array.is_none() ? View{} : input(array_of(array, name), name, words, dtype);
}

View Dims::table(const py::object& array, const char* name, const char* words, DType dtype) {
  if (array.is_none()) return View{};
  View view = described(array_of(array, name), name, words, dtype);
  const bool contiguous = is_contiguous(view, rank_of(words));
  fit(view, name, words);
  if (!contiguous) refuse(name, "must be C-contiguous");
  return view;
}

View Dims::output(const py::array& array, const char* name, const char* words, DType dtype) {
  View view = described(array, name, words, dtype);
  if (!array.writeable()) refuse(name, "must be writeable");
  if (!(array.flags() & py::array::c_style)) refuse(name, "must be C-contiguous");
  is_contiguous(view, rank_of(words));
  fit(view, name, words);
  return view;
}

void Dims::bind(std::string_view word, Index size) {
  if (count_ == kMost) throw std::length_error("more words than one call can bind");
  bound_[count_++] = {word, size};
}

void Dims::at_least_one(const char* name, std::initializer_list<const char*> words) const {
  for (const char* word : words)
    if ((*this)[word] < 1) refuse(name, std::string("must not be empty: ") + word + " is 0");
}

const Dims::Bound* Dims::find(std::string_view word) const {
  for (int i = 0; i < count_; ++i)
    if (bound_[i].word == word) return &bound_[i];
  return nullptr;
}

Index Dims::value_of(std::string_view sum) const {
  Index total = 0;
  while (!sum.empty()) {
    const std::string_view term = take(sum, '+');
    if (const Bound* bound = find(term)) {
      total += bound->size;
      continue;
    }
    Index number = 0;
    for (const char digit : term) {
      if (digit < '0' || digit > '9') return -1;
      number = 10 * number + (digit - '0');
    }
    total += number;
  }
  return total;
}

std::string Dims::sizes_of(const char* words) const {
  std::string result = "[";
  for (std::string_view rest = words; !rest.empty();) {
    const Word word = next_word(rest);
    const Index value = value_of(word.text);
    const std::string text = value < 0 ? std::string(word.text) : std::to_string(value);
    result += (word.broadcast && text != "1" ? "1|" : "") + text + (rest.empty() ? "]" : ", ");
  }
  return result;
}

void Dims::fit(View& view, const char* name, const char* words) {
  std::string_view rest = words;
  for (int i = 0; !rest.empty(); ++i) {
    const auto [word, broadcast] = next_word(rest);
    const Index size = view.shape[i], expected = value_of(word);
    if (size < 1 && is_side(word)) refuse(name, "dimension " + std::to_string(i) + " must not be 0; " + bracketed(words));
    if (broadcast && size == 1) {
      view.stride[i] = 0;
      continue;
    }
    if (expected < 0) bind(word, size);
    if (expected < 0 || size == expected) continue;
    const std::string wanted = std::to_string(expected), got = ", got " + std::to_string(size) + "; " + bracketed(words);
    if (broadcast) refuse(name, "expected 1 or " + wanted + " in dimension " + std::to_string(i) + got);
    if (is_plural(word)) refuse(name, "expected " + wanted + " " + std::string(word) + got);
    refuse(name, "expected shape " + bracketed(words) + " = " + sizes_of(words) + ", got " + shape_of(view, rank_of(words)));
  }
}

}  // namespace svconv
