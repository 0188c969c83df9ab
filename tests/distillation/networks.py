"""Small networks with a part that is a law, or is none."""

import torch


class Planted(torch.nn.Module):
    """A block that is a law: 2 sin(3 x1) + x2^2 / (1 + x3), and x1 x2 + 0.5."""

    def forward(self, x):
        a, b, c = x.unbind(-1)
        return torch.stack([2 * torch.sin(3 * a) + b**2 / (1 + c), a * b + 0.5], -1)


class Net(torch.nn.Module):
    def __init__(self, body=None):
        super().__init__()
        self.body = body or Planted()
        self.head = torch.nn.Linear(2, 1)

    def forward(self, x):
        return self.head(self.body(x))


def batches(n=12, shape=(40, 3), seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [(torch.rand(shape, generator=generator),) for _ in range(n)]


def square_loss(model, batch):
    return model(*batch).square().mean()
