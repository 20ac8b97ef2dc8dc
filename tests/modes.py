"""A dispatch mode that records the operators called."""

from torch.utils._python_dispatch import TorchDispatchMode


class SeeOperators(TorchDispatchMode):
    """Record the operators called."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, operator, _types, args=(), kwargs=None):
        self.seen.append(str(operator))
        return operator(*args, **(kwargs or {}))
