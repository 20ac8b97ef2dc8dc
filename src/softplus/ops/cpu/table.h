// How the entry finds the library, which is another file: by a capsule in Python.
#pragma once

#include "kernels.h"
#include "task.h"

namespace softplus {

struct Table {
  const Kernels& (*chosen)();  // the kernels in use
  void (*run_on_threads)(Task task, int64_t threads);
};

// The name of the capsule that holds it. Where the kernels are others, so is the name.
constexpr char TABLE[] = "softplus kernels and tasks"
#define KERNEL(name, outputs, inputs) " " #name ":" #outputs ":" #inputs
#include "kernels.def"
#undef KERNEL
    ;

}  // namespace softplus
