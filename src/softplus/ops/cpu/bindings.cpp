// The whole library but its kernels, in one translation unit: reading PyTorch's headers is most of
// the time that compiling takes.
#include "instruction_set.cpp"
#include "operators/autograd.cpp"
#include "operators/calls.cpp"
#include "operators/cpu.cpp"
#include "patch.cpp"

#include "entry.cpp"
