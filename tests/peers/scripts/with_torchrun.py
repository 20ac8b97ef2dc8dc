"""A training script that torchrun starts in two processes, as people write it."""

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

dist.init_process_group("gloo")
torch.manual_seed(torch.initial_seed() + dist.get_rank())
model = DistributedDataParallel(
    torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1))
)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(20):
    x = torch.randn(32, 4)
    loss = (model(x) - x[:, :1].abs()).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
dist.all_reduce(loss, op=dist.ReduceOp.AVG)
if dist.get_rank() == 0:
    print(f"loss={loss.item():.6f}")
dist.destroy_process_group()
