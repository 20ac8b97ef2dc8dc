// How the entry finds the kernels of the library, which is another file: by a capsule in Python.
#pragma once

#include "kernels.h"

namespace softplus {

// The kernels in use.
using Table = const Kernels& (*)();

// The name of the capsule that holds it. Where the kernels are others, so is the name.
constexpr char TABLE[] = "softplus kernels"
#define KERNEL(name, outputs, inputs) " " #name ":" #outputs ":" #inputs
#include "kernels.def"
#undef KERNEL
    ;

}  // namespace softplus
