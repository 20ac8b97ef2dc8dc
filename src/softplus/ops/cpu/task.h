// A call of a kernel over contiguous memory as a task that threads share: its betas written out
// block by block, and the gradients towards them summed as they come.
#pragma once

#include "kernels.h"

namespace softplus {

// Element i reads betas[i / inner % count], which are of T: double or, where Parameters are
// `single`, float.
struct Betas {
  const void* betas = nullptr;
  int64_t inner = 1, count = 1;

  bool written_out(int64_t n) const { return inner == 1 && count >= n; }
  bool same_in_blocks(int64_t start, int64_t end) const;
  template <class T> void write(T* to, int64_t start, int64_t n) const;
};

// The sums of an output over the elements of each beta, part by part: what is added to what depends
// on neither threads nor instruction sets. With an `inner` of 1 element i is added to sum i % width
// of its part, the width being a multiple of the count: of those the processor makes several at a
// time.
struct Sums {
  double* parts = nullptr;
  int64_t part = 0, width = 0;  // elements of a part; sums that it has

  template <class T> void add(const Betas& betas, const T* values, int64_t start, int64_t n) const;
};

// Over the betas and the last output of a part of it `call` puts a block of betas, and a block of
// gradients that are to be summed.
struct Task {
  Kernel kernel = nullptr;
  Dtype dtype = Dtype::float32;
  Parameters parameters = {};
  int64_t n = 0, outputs = 0, tensors = 0;
  char* data[MOST_TENSORS] = {};  // of the outputs, then of the inputs
  int64_t sizes[MOST_TENSORS] = {};
  Betas betas = {};  // of a kernel that has one for each element; of the others .betas is null
  bool summed = false;  // whether the last output is the sum for each beta, of float64
  Sums sums = {};

  void run(int64_t start, int64_t end) const;
  template <class T> void run_blocks(int64_t start, int64_t end) const;
  void call(int64_t start, int64_t end, void* block, void* to_sum) const;
};

// Runs a task on up to so many of PyTorch's threads.
void run_on_threads(Task task, int64_t threads);

}  // namespace softplus
