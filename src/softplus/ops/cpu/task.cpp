// How a task is run: block by block, on PyTorch's threads.
#include "task.h"

#include <algorithm>
#include <vector>

namespace softplus {
namespace {

// The elements for which betas are written out, and gradients towards them summed, at a time.
constexpr int64_t BLOCK = 512;

// Fewer elements than this for a thread are not worth its start: PyTorch's own figure.
constexpr int64_t GRAIN = 32768;

int64_t multiple(int64_t least, int64_t of) { return (least + of - 1) / of * of; }

// Sixteen sums at a time: one addition waits for another, and one sum would take four cycles an
// element.
template <class T> double sum(const T* values, int64_t n) {
  constexpr int64_t SUMS = 16;
  double sums[SUMS] = {};
  int64_t i = 0;
  for (; i + SUMS <= n; i += SUMS)
    for (int64_t j = 0; j < SUMS; j++) sums[j] += double(values[i + j]);
  for (int64_t j = 0; i < n; i++, j++) sums[j] += double(values[i]);
  for (int64_t half = SUMS / 2; half > 0; half /= 2)
    for (int64_t j = 0; j < half; j++) sums[j] += sums[j + half];
  return sums[0];
}

}  // namespace

// Whether the block that ends at `end` has the betas of the one that starts at `start` before it.
bool Betas::same_in_blocks(int64_t start, int64_t end) const {
  return BLOCK % (inner * count) == 0 || start / inner == (end - 1) / inner;
}

// Writes those of n elements from the one at `start` on. Runs of one beta are filled, and betas
// that change with each element copied: 40 nanoseconds a block, not 700.
template <class T> void Betas::write(T* to, int64_t start, int64_t n) const {
  const T* const from = static_cast<const T*>(betas);
  int64_t index = start / inner % count, done = start % inner;
  for (int64_t i = 0; i < n;) {
    const int64_t run = std::min(n - i, inner == 1 ? count - index : inner - done);
    if (inner == 1) {
      std::copy_n(from + index, run, to + i);
      index = 0;
    } else {
      std::fill_n(to + i, run, from[index]);
      index = index + 1 == count ? 0 : index + 1;
    }
    done = 0;
    i += run;
  }
}

template <class T>
void Sums::add(const Betas& betas, const T* values, int64_t start, int64_t n) const {
  double* const to = parts + start / part * width;
  int64_t run;
  for (int64_t i = 0; i < n; i += run) {
    if (betas.inner == 1) {
      const int64_t index = (start + i) % width;
      run = std::min(n - i, width - index);
      for (int64_t j = 0; j < run; j++) to[index + j] += double(values[i + j]);
    } else {
      run = std::min(n - i, betas.inner - (start + i) % betas.inner);
      to[(start + i) / betas.inner % betas.count] += sum(values + i, run);
    }
  }
}

void Task::run(int64_t start, int64_t end) const {
  if (!betas.betas || (betas.written_out(n) && !summed)) return call(start, end, nullptr, nullptr);
  if (parameters.single) run_blocks<float>(start, end);
  else run_blocks<double>(start, end);
}

template <class T> void Task::run_blocks(int64_t start, int64_t end) const {
  alignas(64) T block[BLOCK], to_sum[BLOCK];
  for (int64_t from = start; from < end; from += BLOCK) {
    const int64_t to = std::min(from + BLOCK, end);
    if (from == start || !betas.same_in_blocks(from - BLOCK, to))
      betas.write(block, from, to - from);
    call(from, to, block, summed ? to_sum : nullptr);
    if (summed) sums.add(betas, to_sum, from, to - from);
  }
}

void Task::call(int64_t start, int64_t end, void* block, void* to_sum) const {
  char* at[MOST_TENSORS];
  for (int64_t t = 0; t < tensors; t++) at[t] = data[t] + start * sizes[t];
  if (to_sum) at[outputs - 1] = static_cast<char*>(to_sum);
  if (block) at[tensors - 1] = static_cast<char*>(block);
  kernel(dtype, at + outputs, at, end - start, parameters);
}

}  // namespace softplus

// PyTorch's own threads: weak, these are the functions of the OpenMP library that PyTorch has
// loaded with global symbols. Where that is not of GCC's kind they are null, and the caller's
// thread does all.
extern "C" {
__attribute__((weak)) void GOMP_parallel(
    void (*function)(void*), void* argument, unsigned threads, unsigned flags);
__attribute__((weak)) int omp_get_thread_num();
__attribute__((weak)) int omp_get_num_threads();
}

namespace softplus {
namespace {

bool has_threads() { return GOMP_parallel && omp_get_thread_num && omp_get_num_threads; }

void run_share(void* pointer) {
  const Task& task = *static_cast<const Task*>(pointer);
  const int64_t threads = omp_get_num_threads(), whole = task.summed ? task.sums.part : BLOCK;
  const int64_t share = multiple((task.n + threads - 1) / threads, whole);
  const int64_t start = share * omp_get_thread_num();
  if (start < task.n) task.run(start, std::min(start + share, task.n));
}

}  // namespace

void run_on_threads(Task task, int64_t threads) {
  std::vector<double> parts;
  const int64_t count = task.betas.count;
  if (task.summed) {
    // Parts of eight elements or more a sum: what they take in all is an eighth of an output.
    const int64_t width = task.betas.inner == 1 ? multiple(64, count) : count;
    const int64_t part = multiple(std::max(GRAIN, 8 * width), BLOCK);
    parts.resize(size_t((task.n + part - 1) / part * width));
    task.sums = {parts.data(), part, width};
    task.sizes[task.outputs - 1] = 0;
  }
  threads = std::min(threads, (task.n + GRAIN - 1) / GRAIN);
  if (threads > 1 && has_threads()) GOMP_parallel(run_share, &task, unsigned(threads), 0);
  else task.run(0, task.n);
  if (!task.summed) return;
  double* const sums = reinterpret_cast<double*>(task.data[task.outputs - 1]);
  std::fill_n(sums, count, 0.0);
  for (size_t i = 0; i < parts.size(); i++) sums[int64_t(i) % count] += parts[i];
}

}  // namespace softplus
