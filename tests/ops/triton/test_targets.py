"""The kernels compiled for GPUs that are not here: what only the compilers can tell."""

import importlib
import itertools
import json
import re
import subprocess
import sys

import pytest

from interpreting import with_triton

pytestmark = [pytest.mark.slow, with_triton]

NUMBERS = ["size", "size_low", "inverse", "inverse_error", "lowest", "slope_lowest"]
DOUBLES = {"beta", "threshold", *NUMBERS, "bend_lowest", "least"}
TYPES = {"float32": "fp32", "float64": "fp64", "bfloat16": "bf16", "float16": "fp16"}
DIGITS = {"float32": 1, "float64": 2, "bfloat16": 0, "float16": 0}
# What a target makes of the kernels is read as text: operations that flush subnormal numbers, and
# divisions and exponentials that are not rounded correctly.
TARGETS = {
    "cuda": ((90, 32), "ptx", r"\.ftz|\.approx|\bdiv\.full"),
    "hip": (("gfx942", 64), "amdgcn", r"v_exp_f32|v_log_f32"),
}


def variants(dtype: str) -> list[tuple[str, dict]]:
    """Return kernels with the constants of calls that differ."""
    plain = {"UNIT": True, "NEGATIVE": False, "REVERTS": False, "ROWS": False}
    other = {"UNIT": False, "NEGATIVE": True, "REVERTS": True, "ROWS": True}
    digits = {"DIGITS": DIGITS[dtype]}
    odd = {"DIGITS": 3 if dtype == "float16" else DIGITS[dtype]}
    found = [("unary", {"KIND": "softplus"} | some | odd) for some in (plain, other)]
    found += [("unary", {"KIND": kind} | other | odd) for kind in ("shifted", "less", "inverse")]
    for of_output, some in itertools.product((True, False), (plain, other)):
        options = {"OF_OUTPUT": of_output} | some | digits
        found.append(("backward", options))
        found.append(("double_backward", options | {"TO_INPUT": of_output}))
    for name in ("forward_each", "backward_each", "double_backward_each"):
        for one, shifted in ((True, False), (False, True)):
            options = {"ONE": one, "SHIFTED": shifted, "REVERTS": not shifted}
            found.append((name, options | {"DIGITS": max(1, digits["DIGITS"])}))
    return found


def compiled(name: str, constants: dict, dtype: str, backend: str) -> str:
    """Return the text that a target's compiler makes of a kernel, and then assembles."""
    import triton  # noqa: PLC0415
    from triton.backends.compiler import GPUTarget  # noqa: PLC0415
    from triton.compiler import ASTSource  # noqa: PLC0415

    kernel = getattr(importlib.import_module("softplus.ops.triton.kernels"), name)
    constants = constants | {"WIDE": constants.get("NEGATIVE", False), "BLOCK": 1024}
    of_beta = {"betas", "to_beta", "grad_to_beta"}
    signature = {}
    for parameter in kernel.arg_names:
        if parameter in constants:
            signature[parameter] = "constexpr"
        elif parameter in DOUBLES:
            signature[parameter] = "fp64"
        elif parameter in of_beta:
            signature[parameter] = "*fp64"
        elif parameter in {"n", "inner", "run", "count"} or parameter.endswith("step"):
            signature[parameter] = "i32"
        else:
            signature[parameter] = f"*{TYPES[dtype]}"
    source = ASTSource(kernel, signature, constants)
    where, text, _ = TARGETS[backend]
    options = {"enable_fp_fusion": False, "num_warps": 4}
    made = triton.compile(source, target=GPUTarget(backend, *where), options=options)
    return made.asm[text]


def report(backend: str, dtype: str) -> None:
    """Print what is wrong with each kernel, as JSON."""
    wrong = {}
    for name, constants in variants(dtype):
        text = compiled(name, constants, dtype, backend)
        found = sorted(set(re.findall(TARGETS[backend][2], text)))
        contracted = "contract" in text
        if found or contracted or not text:
            wrong[f"{name} {constants}"] = found
    sys.stdout.write(json.dumps({"kernels": len(variants(dtype)), "wrong": wrong}))


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("backend", TARGETS)
def test_each_kernel_compiles_and_neither_flushes_nor_approximates(backend, dtype, monkeypatch):
    """In another process: this one's Triton may be an interpreter, which has no compiler."""
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    command = [sys.executable, __file__, backend, dtype]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="tests")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["kernels"] >= 19
    assert result["wrong"] == {}


if __name__ == "__main__":
    report(*sys.argv[1:])
