"""torch.export, AOTInductor and ONNX: what a deployed model holds and computes."""

import pytest
import torch
from torch import Tensor, nn

from calls import CALLS, close, each_call, normal


@pytest.mark.parametrize("strict", [True, False])
@each_call
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_export_needs_nothing_of_this_package(call, strict):
    class Model(nn.Module):
        """One call."""

        def forward(self, x: Tensor) -> Tensor:
            return call(x)

    torch._dynamo.reset()
    exported = torch.export.export(Model(), (normal(6),), strict=strict)
    targets = [str(node.target) for node in exported.graph.nodes if node.op == "call_function"]
    assert [target for target in targets if target.startswith("softplus")] == []
    if call not in [CALLS[name] for name in ("inverse", "shifted", "shift", "tensor beta")]:
        assert sum("aten.softplus" in target for target in targets) == 1
    other = normal(6, scale=5)
    assert close(exported.module()(other), call(other))
