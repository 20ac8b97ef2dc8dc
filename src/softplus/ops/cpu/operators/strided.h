// A kernel of contiguous memory carried over memory of any strides, block by block.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "../kernels.h"

namespace softplus {

// Elements gathered at a time: blocks of as many doubles, of all the tensors that a kernel has, fit
// into the first-level cache.
constexpr int64_t BLOCK = 512;

template <size_t SIZE>
void copy(const char* from, int64_t from_step, char* to, int64_t to_step, int64_t n) {
  for (int64_t i = 0; i < n; i++) std::memcpy(to + i * to_step, from + i * from_step, SIZE);
}

// Of a size that the compiler knows, an element is one move and not a call: forward of a strided
// float32 tensor takes 57 microseconds at 65,536 elements, and took 540.
inline void copy(
    const char* from, int64_t from_step, char* to, int64_t to_step, int64_t n, int64_t size) {
  // One element for many: what is there is copied on, 1, 1, 2, 4, … For 16 that takes longer.
  if (to_step == size && (from_step == size || (from_step == 0 && n >= 64))) {
    int64_t done = from_step == 0 ? size : n * size;
    std::memcpy(to, from, size_t(done));
    for (; done < n * size; done += std::min(done, n * size - done))
      std::memcpy(to + done, to, size_t(std::min(done, n * size - done)));
    return;
  }
  if (size == 2) return copy<2>(from, from_step, to, to_step, n);
  if (size == 4) return copy<4>(from, from_step, to, to_step, n);
  copy<8>(from, from_step, to, to_step, n);
}

// A tensor of which `rows` rows of n elements are visited.
struct Rows {
  char* data;
  int64_t size, step, row_step;  // of an element; from one to the next, in bytes; from row to row
  int64_t n, rows;

  bool dense() const { return step == size && (rows == 1 || row_step == n * size); }
  // Whether each block is the start of the first: of one element for all, or of one short row.
  bool repeats() const { return (rows == 1 || row_step == 0) && (step == 0 || BLOCK % n == 0); }

  // Between these elements and a block of them: into it, or out of it.
  template <bool INTO>
  void move(int64_t start, int64_t length, char* block) const {
    for (int64_t end = start + length; start < end;) {
      const int64_t row = start / n, column = start % n, count = std::min(n - column, end - start);
      char* const here = data + row * row_step + column * step;
      if (INTO) copy(here, step, block, size, count, size);
      else copy(block, size, here, step, count, size);
      start += count;
      block += count * size;
    }
  }
};

// Calls kernel(pointers, count) over `rows` rows of n elements; the pointers are those of the
// outputs, then of the inputs, of `sizes` bytes an element; `strides` are those from element to
// element, then those from row to row. What a kernel gives for an element depends on its value
// alone, so blocks and strides change nothing.
template <typename Kernel>
void over_strides(
    char* const* data, const int64_t* strides, const int64_t* sizes, int tensors, int outputs,
    int64_t n, int64_t rows, const Kernel& kernel) {
  Rows of[MOST_TENSORS];
  for (int t = 0; t < tensors; t++)
    of[t] = {data[t], sizes[t], strides[t], strides[tensors + t], n, rows};
  if (std::all_of(of, of + tensors, [](const Rows& tensor) { return tensor.dense(); }))
    return kernel(data, n * rows);
  alignas(64) char blocks[MOST_TENSORS][BLOCK * sizeof(double)];
  for (int64_t start = 0; start < n * rows; start += BLOCK) {
    const int64_t length = std::min(BLOCK, n * rows - start);
    char* pointers[MOST_TENSORS];
    for (int t = 0; t < tensors; t++) {
      pointers[t] = of[t].dense() ? data[t] + start * sizes[t] : blocks[t];
      // The gradient of a sum is one number for all elements: its block is filled once, as that of
      // a beta for each of 64 channels, which took 35 microseconds more at 65,536 elements.
      if (t >= outputs && !of[t].dense() && (start == 0 || !of[t].repeats()))
        of[t].template move<true>(start, length, blocks[t]);
    }
    kernel(pointers, length);
    for (int t = 0; t < outputs; t++)
      if (!of[t].dense()) of[t].template move<false>(start, length, blocks[t]);
  }
}

}  // namespace softplus
