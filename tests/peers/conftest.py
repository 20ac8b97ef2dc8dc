"""A detector's operator where torchvision's own cannot be loaded."""

import pytest
import torch
from torch import Tensor

from peers import torchvision_operators

pytest.register_assert_rewrite("peers.relus")


def _nms(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """Keep the boxes that overlap none of a better score."""
    overlaps = torchvision.ops.box_iou(boxes, boxes)
    kept: list[int] = []
    for box in scores.argsort(descending=True).tolist():
        if (overlaps[box, kept] <= threshold).all():
            kept.append(box)
    return torch.tensor(kept, dtype=torch.long)


if torchvision_operators.absent():
    import torchvision

    # The rest of a detector has a way without the operators.
    torch.library.impl("torchvision::nms", "CPU", _nms)
    torchvision.extension._has_ops = lambda: True
