"""The fixture that runs a test of the kernels once for each instruction set."""

from instruction_sets import isa  # noqa: F401 -- a fixture
