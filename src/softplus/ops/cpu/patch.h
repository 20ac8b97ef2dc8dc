// The kernels in the place of PyTorch's own, for code that calls PyTorch's functions.
#pragma once

namespace softplus {

// From the first patch() on, until every one is taken back by an unpatch(), PyTorch's softplus and
// log_sigmoid and their backwards run on these kernels on CPU, in every thread.
void patch();
void unpatch();

}  // namespace softplus
