// Which of the compiled instruction sets runs.
#include "instruction_set.h"

#include <atomic>
#include <stdexcept>

namespace softplus {
namespace {

std::vector<const Kernels*> supported() {
  std::vector<const Kernels*> sets{&baseline};
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
      __builtin_cpu_supports("f16c"))
    sets.push_back(&avx2);
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
    sets.push_back(&avx512);
#endif
  return sets;
}

std::atomic<const Kernels*> current{supported().back()};

}  // namespace

const Kernels& chosen() { return *current.load(std::memory_order_relaxed); }

std::vector<std::string> available() {
  std::vector<std::string> names;
  for (const Kernels* set : supported()) names.push_back(set->name);
  return names;
}

void use(const std::string& name) {
  std::string known;
  for (const Kernels* set : supported()) {
    if (set->name == name) {
      current = set;
      return;
    }
    known += (known.empty() ? "" : ", ") + std::string(set->name);
  }
  throw std::invalid_argument(
      "instruction set '" + name + "' is not one that this CPU has; it has: " + known);
}

}  // namespace softplus
