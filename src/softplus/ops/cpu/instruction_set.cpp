// Which of the compiled instruction sets runs.
#include "instruction_set.h"

#include <atomic>
#include <stdexcept>

namespace softplus {
namespace {

std::vector<const Kernels*> supported() {
  std::vector<const Kernels*> sets;
#if defined(__x86_64__)
  __builtin_cpu_init();
#endif
#define HAS(feature) and __builtin_cpu_supports(#feature)
#define SET(name, target, ...) \
  if (true __VA_ARGS__) sets.push_back(&name);
#include "instruction_sets.def"
#undef SET
#undef HAS
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
