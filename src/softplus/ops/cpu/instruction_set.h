// Which of the compiled instruction sets runs.
#pragma once

#include <string>
#include <vector>

#include "kernels.h"

namespace softplus {

// The kernels in use: the best that the CPU has, or the set that SOFTPLUS_ISA or use() names.
const Kernels& chosen();

// The names of the compiled sets that this CPU can run, the plainest first.
std::vector<std::string> available();

// Makes a set the chosen one; throws std::invalid_argument for a name that is not available.
void use(const std::string& name);

}  // namespace softplus
