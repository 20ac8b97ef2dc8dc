"""What torch.fx shows of a model: its calls in order, its activations as single ones."""

import pytest
from torch import nn

from softplus import ShiftedSoftplus, Softplus, graph


class Asking(nn.Module):
    """Asks for shapes on the way, and uses a layer twice."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.act, self.last = nn.Linear(3, 3), Softplus(), ShiftedSoftplus()

    def forward(self, x):
        x = self.act(self.layer(x)).view(x.size(0), x.shape[1])
        return self.last(self.layer(x.T.T))


def test_calls_come_in_order_with_their_modules():
    model = Asking()
    called = [module for module in graph.calls(model).values() if module is not None]
    assert called == [model.layer, model.act, model.layer, model.last]


def test_what_asks_for_a_shape_reads_no_data():
    asking = {str(node) for node in graph.calls(Asking()) if graph.reads_no_data(node)}
    assert asking == {"size", "getattr_1"}


def test_tracing_leaves_the_model_alone():
    class Remembering(nn.Module):
        def __init__(self):
            super().__init__()
            self.act, self.last = Softplus(), None

        def forward(self, x):
            self.last = self.act(x)
            return self.last

    model = Remembering()
    graph.calls(model)
    assert model.last is None


def test_what_cannot_be_traced_says_why():
    class Branching(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    with pytest.raises(ValueError, match=r"^the calls of Branching cannot be traced: pass a part"):
        graph.calls(Branching())
    with pytest.raises(TypeError, match="model must be a"):
        graph.calls(lambda x: x)
