"""Muon: an optimizer whose steps for weight matrices are orthogonal matrices, and AdamW for everything else; and AdamCPR.

A step of Adam is dominated by a few directions of a gradient matrix; Muon takes all of its directions
equally (Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"): the momentum G = U S V'
is replaced by U V', found to within a few percent by five Newton-Schulz steps, which are matrix products only.
Steps are scaled by 0.2 * sqrt(longer side), so that their root mean square is Adam's and one learning rate serves
both (Liu et al. 2025, "Muon is scalable for LLM training").
"""

from __future__ import annotations

import torch
from torch import Tensor

from fansr.network.weight_shapes import turned_by_muon

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # Jordan et al.: the steepest at 0, singular values end in [0.7, 1.2]
ROUNDS = 5
RMS = 0.2  # of a step of Adam's, about


def orthogonal(matrices: Tensor) -> Tensor:
    """U V' of each matrix of (K, m, n) with m <= n, its singular values brought near 1; computed in bfloat16."""
    a, b, c = NEWTON_SCHULZ
    x = matrices / (matrices.square().sum((-2, -1), keepdim=True).sqrt() + 1e-7)
    x = x.bfloat16()
    for _ in range(ROUNDS):
        gram = x @ x.transpose(-1, -2)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.to(matrices.dtype)


class Muon(torch.optim.AdamW):
    """AdamW whose groups with parts > 0 hold matrices that take Muon's steps instead.

    parts: how many matrices of equal height stand one on the other in a parameter (3 for queries, keys and
    values in one); 0: AdamW.
    """

    def __init__(self, groups, momentum: float = 0.95, **adam):
        super().__init__([{"parts": 0, **group} for group in groups], **adam)
        self.momentum = momentum

    @torch.no_grad()
    def step(self, closure=None):
        whole = self.param_groups
        self.param_groups = [group for group in whole if not group["parts"]]
        try:
            super().step(closure)
        finally:
            self.param_groups = whole
        for group in whole:
            if group["parts"]:
                self._turn(group)

    def _turn(self, group):
        """Muon's step for all parameters of a group; those of one shape are worked on together."""
        shapes: dict[tuple, list] = {}
        for parameter in group["params"]:
            if parameter.grad is not None:
                shapes.setdefault(tuple(parameter.shape), []).append(parameter)
        for (rows, columns), parameters in shapes.items():
            shape = (len(parameters) * group["parts"], rows // group["parts"], columns)
            flip = shape[1] > shape[2]
            steps = torch.stack([self._momentum(p) for p in parameters]).view(shape)
            steps = orthogonal(steps.transpose(1, 2) if flip else steps)
            steps = (steps.transpose(1, 2) if flip else steps).reshape(len(parameters), rows, columns)
            size = RMS * max(shape[1:]) ** 0.5
            for parameter, step in zip(parameters, steps):
                parameter.mul_(1.0 - group["lr"] * group["weight_decay"]).sub_(step, alpha=group["lr"] * size)

    def _momentum(self, parameter) -> Tensor:
        """The gradient looked one step ahead along its running sum (Nesterov)."""
        state = self.state[parameter]
        if "exp_avg" not in state:
            state["exp_avg"] = torch.zeros_like(parameter)
        average = state["exp_avg"].lerp_(parameter.grad, 1.0 - self.momentum)
        return parameter.grad.lerp(average, self.momentum)


class AdamCPR(torch.optim.AdamW):
    """Adam whose matrices are bounded in the place of weight decay: constrained parameter regularization (Franke et al.
    2024, arXiv 2311.09058, algorithm 1, bounds from the end of warm-up).

    A matrix W has R(W), its mean square, a bound k that `bound` sets to R, and a multiplier l from 0 on.  After each step of
    Adam:  l <- max(0, l + mu (R(W) - k)),  W <- W - l W.  Departure: R is a mean, not half a sum, so that one mu serves
    matrices of all sizes, and it is taken after Adam's step.
    """

    def __init__(self, groups, mu: float = 1.0, **adam):
        super().__init__([{"bounded": False, **group} for group in groups], **adam)
        self.mu = mu

    def _matrices(self):
        return (p for group in self.param_groups if group["bounded"] for p in group["params"])

    @torch.no_grad()
    def bound(self) -> None:
        """Fix the bounds of those matrices that have none yet."""
        for parameter in self._matrices():
            state = self.state[parameter]
            if "exp_avg" in state and "bound" not in state:
                state["bound"] = parameter.square().mean()
                state["multiplier"] = torch.zeros_like(state["bound"])

    @torch.no_grad()
    def step(self, closure=None):
        super().step(closure)
        for parameter in self._matrices():
            state = self.state[parameter]
            if parameter.grad is not None and "bound" in state:
                excess = parameter.square().mean() - state["bound"]
                state["multiplier"].add_(excess, alpha=self.mu).clamp_(min=0.0)
                parameter.sub_(parameter * state["multiplier"])


def build(model, name: str, lr: float, weight_decay: float, beta2: float) -> torch.optim.Optimizer:
    """AdamW, Muon or AdamCPR for this network: matrices decay (under AdamCPR are bounded), vectors do not; embeddings and the
    last layer are AdamW's under Muon."""
    if name == "adamcpr":
        matrices, vectors = ([p for p in model.parameters() if (p.dim() > 1) == wide] for wide in (True, False))
        groups = [{"params": matrices, "bounded": True}, {"params": vectors}]
        return AdamCPR(groups, lr=lr, betas=(0.9, beta2), weight_decay=0.0, fused=True)
    members: dict[tuple, list] = {}
    for key, parameter in model.named_parameters():
        inner = name == "muon" and turned_by_muon(key, model.config)
        parts = (3 if "qkv" in key else 2 if "key_value" in key else 1) if inner else 0
        members.setdefault((parts, weight_decay if parameter.dim() > 1 else 0.0), []).append(parameter)
    groups = [{"params": params, "parts": parts, "weight_decay": decay} for (parts, decay), params in members.items()]
    return (Muon if name == "muon" else torch.optim.AdamW)(groups, lr=lr, betas=(0.9, beta2), fused=True)
