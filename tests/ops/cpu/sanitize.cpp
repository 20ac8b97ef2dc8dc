// Runs every kernel of one instruction set under AddressSanitizer and UndefinedBehaviorSanitizer:
// all lengths from 0 to 300 in heap buffers of exactly that size, misaligned ones too, with outputs
// apart from the inputs and on top of each of them, and over strides, which must give the same
// bytes; and tasks of betas that repeat, whose gradients are summed. Compiled together with
// task.cpp and with kernels.cpp of the set, with the same -DISA.
#include "kernels.h"
#include "operators/strided.h"
#include "task.h"

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <vector>

using namespace softplus;

namespace {

int failures = 0;

// n elements of some size that end at the end of their heap block and start `offset` bytes into it.
struct Buffer {
  Buffer(int64_t bytes, int offset) : block(new char[bytes + offset]), data(block.get() + offset) {}
  std::unique_ptr<char[]> block;
  char* data;
};

uint16_t half_of(float x, Dtype dtype) {
  uint32_t b;
  std::memcpy(&b, &x, 4);
  if (dtype == Dtype::bfloat16) return uint16_t(b >> 16);
  if (std::isnan(x)) return 0x7e00;
  const uint16_t sign = uint16_t(b >> 16 & 0x8000);
  const float size = std::fabs(x);
  if (size >= 65504) return uint16_t(sign | (std::isinf(x) ? 0x7c00 : 0x7bff));
  if (size < 0x1p-14f) return uint16_t(sign | uint16_t(size * 0x1p24f));
  std::memcpy(&b, &size, 4);
  return uint16_t(sign | (b - (112u << 23)) >> 13);
}

int64_t size_of(Dtype dtype) {
  return dtype == Dtype::float64 ? 8 : dtype == Dtype::float32 ? 4 : 2;
}

void fill(char* data, int64_t n, Dtype dtype, unsigned seed) {
  const double inf = std::numeric_limits<double>::infinity();
  const double special[] = {0.0,   -0.0,  inf,    -inf,   NAN,    1e-40, -1e-40, 3e38,
                            -3e38, 1e300, -1e300, 5e-324, -87.34, 708.9, -745.2, 20.0};
  for (int64_t i = 0; i < n; i++) {
    seed = seed * 1664525u + 1013904223u;
    const double x =
        seed >> 28 == 0 ? special[seed >> 24 & 15] : (int(seed >> 8) - (1 << 23)) * 2e-6;
    // narrowing as the hardware does it, without leaving the range of the type
    const float y = std::fabs(x) > 3e38 && std::isfinite(x)
                        ? std::copysign(3e38f, float(x > 0 ? 1 : -1))
                        : float(x);
    const uint16_t h = half_of(y, dtype);
    if (dtype == Dtype::float64) std::memcpy(data + 8 * i, &x, 8);
    else if (dtype == Dtype::float32) std::memcpy(data + 4 * i, &y, 4);
    else std::memcpy(data + 2 * i, &h, 2);
  }
}

struct Named {
  const char* name;
  Kernel kernel;
  std::string outputs, inputs;  // of each of them x for the dtype, b for that of beta

  // The outputs come before the inputs.
  Dtype dtype_of(size_t tensor, Dtype dtype, const Parameters& p) const {
    if ((outputs + inputs)[tensor] != 'b') return dtype;
    return p.single ? Dtype::float32 : Dtype::float64;
  }
};

const Named KERNELS[] = {
#define KERNEL(name, outputs, inputs) {#name, ISA.name, #outputs, #inputs},
#include "kernels.def"
#undef KERNEL
};

// Calls with outputs of their own, then with output j on top of input i, for every i and j.
void hold(const Named& k, Dtype dtype, int64_t n, int offset, const Parameters& p) {
  const auto type = [&](int tensor) { return k.dtype_of(tensor, dtype, p); };
  const auto bytes = [&](int tensor) { return n * size_of(type(tensor)); };
  const int inputs = int(k.inputs.size()), outputs = int(k.outputs.size());
  const auto filled = [&](std::vector<Buffer>& buffers, std::vector<char*>& pointers) {
    for (int i = 0; i < inputs; i++) {
      buffers.emplace_back(bytes(outputs + i), offset);
      fill(buffers.back().data, n, type(outputs + i), unsigned(n * 10 + i));
      pointers.push_back(buffers.back().data);
    }
  };
  std::vector<Buffer> owned, own_out;
  std::vector<char*> in, out;
  filled(owned, in);
  for (int j = 0; j < outputs; j++) {
    own_out.emplace_back(bytes(j), (offset * 3) % 64);
    out.push_back(own_out.back().data);
  }
  k.kernel(dtype, in.data(), out.data(), n, p);
  for (int i = 0; i < inputs; i++) {
    for (int j = 0; j < outputs; j++) {
      if (type(j) != type(outputs + i)) continue;
      std::vector<Buffer> owned_again, other;
      std::vector<char*> in_again, out_again;
      filled(owned_again, in_again);
      for (int o = 0; o < outputs; o++) {
        other.emplace_back(bytes(o), offset);
        out_again.push_back(o == j ? in_again[i] : other.back().data);
      }
      k.kernel(dtype, in_again.data(), out_again.data(), n, p);
      for (int o = 0; o < outputs; o++) {
        if (n && std::memcmp(out_again[o], out[o], bytes(o)) != 0) {
          std::printf(
              "%s, dtype %d, n = %ld: output %d on input %d differs\n", k.name, int(dtype), long(n),
              j, i);
          failures++;
        }
      }
    }
  }
}

// The same over three rows of strided elements, every tensor with its own strides in turn: apart,
// side by side, backwards, and of inputs one element that stands for a row; the rows apart, or one
// for all where an input is.
void hold_strided(const Named& k, Dtype dtype, int64_t n, const Parameters& p) {
  const int64_t rows = 3, steps[] = {2, 1, -1, 3, 0};
  const int outputs = int(k.outputs.size()), tensors = outputs + int(k.inputs.size());
  for (int first = 0; first < 5; first++) {
    std::vector<Buffer> strided, dense;
    std::vector<char*> data, pointers;
    std::vector<int64_t> strides(2 * tensors), sizes;
    for (int t = 0; t < tensors; t++) {
      const Dtype type = k.dtype_of(t, dtype, p);
      const int64_t size = size_of(type), step = steps[(first + t) % (t < outputs ? 4 : 5)];
      const int64_t row_step = step == 0 ? (n % 2) : step == 1 && n % 2 ? n : 3 * n + 1;
      const int64_t elements = n ? (n - 1) * std::abs(step) + 2 * row_step + 1 : 0;
      strides[t] = step * size;
      strides[tensors + t] = row_step * size;
      sizes.push_back(size);
      strided.emplace_back(elements * size, 0);
      fill(strided[t].data, elements, type, unsigned(n * 10 + t));
      data.push_back(strided[t].data + (step < 0 && n ? (n - 1) * size : 0));
      dense.emplace_back(rows * n * size, 0);
      pointers.push_back(dense[t].data);
      for (int64_t i = 0; i < rows * n; i++)
        std::memcpy(
            pointers[t] + i * size, data[t] + i / n * strides[tensors + t] + i % n * strides[t],
            size);
    }
    k.kernel(dtype, pointers.data() + outputs, pointers.data(), rows * n, p);
    over_strides(
        data.data(), strides.data(), sizes.data(), tensors, outputs, n, rows,
        [&](char* const* t, int64_t count) { k.kernel(dtype, t + outputs, t, count, p); });
    for (int j = 0; j < outputs; j++) {
      for (int64_t i = 0; i < rows * n; i++) {
        const char* const got = data[j] + i / n * strides[tensors + j] + i % n * strides[j];
        if (std::memcmp(got, pointers[j] + i * sizes[j], sizes[j]) == 0) continue;
        std::printf(
            "%s, dtype %d, n = %ld, strides from %d: output %d differs\n", k.name, int(dtype),
            long(n), first, j);
        failures++;
        break;
      }
    }
  }
}

// A task with a pattern of betas, of which the gradients are summed, against one call of the kernel
// and a sum.
template <class B> void hold_task(Dtype dtype, int64_t n, int64_t inner, int64_t count) {
  constexpr int64_t OF_BETA = sizeof(B);
  const int64_t size = size_of(dtype), sizes[] = {size, 8, size, size, OF_BETA};
  std::vector<Buffer> own;
  for (int64_t bytes :
       {n * size, count * 8, n * size, n * size, count * OF_BETA, n * size, n * OF_BETA,
        n * OF_BETA})
    own.emplace_back(bytes, 0);
  const auto betas = reinterpret_cast<B*>(own[4].data);
  const auto sums = reinterpret_cast<double*>(own[1].data);
  const auto each = reinterpret_cast<B*>(own[6].data);
  const auto beta_of_each = reinterpret_cast<B*>(own[7].data);
  for (int t : {2, 3}) fill(own[t].data, n, dtype, unsigned(n + t));
  for (int64_t c = 0; c < count; c++) betas[c] = B(0.5) + B(c % 7);
  for (int64_t i = 0; i < n; i++) beta_of_each[i] = betas[i / inner % count];
  Task task = {.kernel = ISA.backward_each, .dtype = dtype, .n = n, .outputs = 2, .tensors = 5};
  task.betas = {betas, inner, count};
  task.summed = true;
  task.parameters.single = OF_BETA == 4;
  for (int t = 0; t < 5; t++) {
    task.data[t] = own[t].data;
    task.sizes[t] = sizes[t];
  }
  run_on_threads(task, 1);
  const char* const in[] = {own[2].data, own[3].data, own[7].data};
  char* const out[] = {own[5].data, own[6].data};
  ISA.backward_each(dtype, in, out, n, task.parameters);
  std::vector<double> sum(count), magnitude(count);
  for (int64_t i = 0; i < n; i++) {
    sum[i / inner % count] += double(each[i]);
    magnitude[i / inner % count] += std::fabs(double(each[i]));
  }
  bool same = std::memcmp(own[0].data, own[5].data, n * size) == 0;
  for (int64_t c = 0; c < count; c++)
    same = same && (std::isnan(sum[c])
                        ? std::isnan(sums[c])
                        : sum[c] == sums[c] || std::fabs(sum[c] - sums[c]) <= 1e-13 * magnitude[c]);
  if (same) return;
  std::printf(
      "a task, dtype %d, n = %ld, %ld of each of %ld betas: other sums\n", int(dtype), long(n),
      long(inner), long(count));
  failures++;
}

}  // namespace

int main() {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const Parameters all[] = {{1, 20, 0},          {0.7, 20, nan, false, true, true},
                            {-3, 5, 0.3},        {100, 20, 0},
                            {0x1p-100, 20, nan}, {-0x1p100, 0, 1, false, false, true}};
  int64_t calls = 0;
  for (Dtype d : {Dtype::float32, Dtype::float64, Dtype::bfloat16, Dtype::float16}) {
    for (int64_t n = 0; n <= 300; n++) {
      for (int offset : {0, int(size_of(d)), 1 + int(n % 63)}) {
        Parameters p = all[n % 6];
        p.single = d != Dtype::float64 && n / 6 % 2;
        for (const Named& k : KERNELS) {
          hold(k, d, n, offset, p);
          if (offset == 0 && n % 7 == 0) hold_strided(k, d, n + n / 7 % 2, p);  // up to two blocks
          calls++;
        }
      }
    }
  }
  for (Dtype d : {Dtype::float32, Dtype::float64, Dtype::bfloat16, Dtype::float16})
    for (int64_t n : {0, 1, 511, 512, 513, 1700, 40000})
      for (int64_t inner : {1, 3, 16, 700})
        for (int64_t count : {1, 2, 64, 600}) {
          hold_task<double>(d, n, inner, count);
          if (d != Dtype::float64) hold_task<float>(d, n, inner, count);
        }
  std::printf("%s: %ld runs, %d failures\n", ISA.name, long(calls), failures);
  return failures != 0;
}
