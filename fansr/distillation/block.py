"""A part of a network seen from outside: what goes in and comes out as rows, its forward replaced and put back.

    block = Block(model, "layers.2.mlp")
    taken = block.record(batches, rows=4000)        # Recorded: X (n, d), Y (n, m), and held-out rows
    with block.replaced(lambda rows, original: rows @ W):
        model(x)

Nothing in the model changes: hooks are taken off, forward is put back, weights are never written.  Knows nothing of laws.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch

from fansr.distillation import recording
from fansr.distillation.block_rows import BlockRows, Rows
from fansr.distillation.places import argument_names, call, find, moved
from fansr.errors import DataError


class Block(BlockRows):
    """The part of `model` at a dotted path, a module of it, or a function X -> Y in its place (which can only be recorded).

    argument: which tensors it is given are the rows' values: None the first, a number, a name, or several of them with commas,
    joined along the last dimension.  output: None the first tensor that comes out, a number or a key.
    layout: "last" (..., features), "channels" (B, C, ...), "patch:3" (B, C, H, W) with neighbourhoods of 3 x 3.
    call: of a module that is called several times in one forward, only that call, from 0; None all.
    """

    def __init__(
        self,
        model: Any,
        at: str | torch.nn.Module | Callable,
        argument: str | int | None = None,
        output: str | int | None = None,
        layout: str = "last",
        call: int | None = None,
    ):
        self.model, self.call = model, call
        self.path, self.module, self.function = find(model, at)
        names = argument_names(self.function if self.module is None else self.module.forward)
        super().__init__(self.path or "the model", names, argument, output, layout)
        self._count = 0
        self._counter: Any = None
        self._own: Callable | None = None  # the forward that was replaced

    # -- recording

    def record(
        self,
        batches: Iterable,
        rows: int = 4000,
        held: float = 0.5,
        seed: int = 0,
        run: Callable[[Any, Any], Any] | None = None,
        device: str | torch.device | None = None,
        strata: int = 1,
    ) -> recording.Recorded:
        """Rows drawn from all that pass the block (uniformly, without replacement; `rows` of them, and as many held-out ones).

        held: share of the batches, spread evenly, from which only held-out rows come; of a single batch, of its rows.
        run: (model, batch) -> anything, instead of model(*batch).  The model is in eval mode meanwhile, without gradients.
        strata: more than 1 draws as many rows far from the outputs' middle as near it (reservoir.StratifiedReservoir), for outputs
        with heavy tails.  Memory is that of the rows wanted (times the strata) and one batch.
        """
        return recording.record(self, batches, rows, held, seed, run, device, strata)

    @contextlib.contextmanager
    def listening(
        self, take: Callable, run: Callable | None = None, device: Any = None
    ) -> Iterator[Callable[[Any], Any]]:
        """take(args, kwargs, output) at every call of the block that is meant; gives the function that sends a batch through."""
        if self.module is None:

            def through(batch):
                batch = moved(batch, device)
                args = batch if isinstance(batch, (tuple, list)) else (batch,)
                take(tuple(args), {}, self.function(*args))

            yield through
            return
        handles: list[Any] = []

        def after(_module, args, kwargs, value):
            number, self._count = self._count, self._count + 1
            if self.call is None or number == self.call:
                take(args, kwargs, value)

        def begin(*_):  # calls are counted from the beginning of each forward of the model
            self._count = 0

        try:
            if isinstance(self.model, torch.nn.Module) and self.model is not self.module:
                handles.append(self.model.register_forward_pre_hook(begin))
            handles.append(self.module.register_forward_hook(after, with_kwargs=True))
            yield lambda batch: (run or call)(self.model, moved(batch, device))
        finally:
            for handle in handles:
                handle.remove()

    @contextlib.contextmanager
    def calm(self) -> Iterator[None]:
        """Eval mode; each module's own mode is put back."""
        modules = list(self.model.modules()) if isinstance(self.model, torch.nn.Module) else []
        modes = [module.training for module in modules]
        try:
            for module in modules:
                module.training = False
            yield
        finally:
            for module, mode in zip(modules, modes):
                module.training = mode

    # -- replacing

    def replace(self, rows: Rows) -> None:
        """From now on the block's forward is rows(X (N, d), original) -> (N, m); original() runs the block's own on the same rows.

        What else the block gives (a tuple's or a dict's other parts) still comes from the block itself.
        """
        if self.module is None:
            raise ValueError("a function has no place in a network: wanted Distiller(model, at=path) to switch")
        self.restore()
        own = self.module.forward  # bound; restored by removing the instance's attribute or putting it back
        self._had = "forward" in self.module.__dict__
        self._own = own
        block = self

        def forward(*args, **kwargs):
            number, block._count = block._count, block._count + 1
            if block.call is not None and number != block.call:
                return own(*args, **kwargs)
            return block.outcome(rows, own, args, kwargs)

        self._counter = None
        if self.call is not None and isinstance(self.model, torch.nn.Module):
            self._counter = self.model.register_forward_pre_hook(lambda *_: setattr(block, "_count", 0))
        self.module.forward = forward

    def restore(self) -> None:
        """The block's own forward again."""
        if self._own is None:
            return
        if self._had:
            self.module.forward = self._own
        else:
            del self.module.forward
        self._own = None
        if self._counter is not None:
            self._counter.remove()
            self._counter = None

    @property
    def is_replaced(self) -> bool:
        """Whether something else stands for the block."""
        return self._own is not None

    def own_forward(self) -> Callable:
        """The block's own forward, whether something stands for it or not."""
        return self.function if self.module is None else (self._own or self.module.forward)

    def run_rows(self, own: Callable, X: torch.Tensor) -> torch.Tensor:
        """(N, m): the block's own outputs on rows X (N, d), where it can be given rows alone (one argument, features last)."""
        if self.layout != "last" or (self.argument is not None and "," in str(self.argument)):
            raise DataError(f"{self.name} cannot be given rows alone: its layout is {self.layout}")
        Y, _ = self.outputs(own(X))
        return Y.reshape(len(X), -1)

    @contextlib.contextmanager
    def replaced(self, rows: Rows) -> Iterator[None]:
        """replace() for the length of a with block; what stood before is put back whatever happens."""
        before = self.module.__dict__.get("forward") if self.module is not None else None
        saved = (self._own, getattr(self, "_had", False), self._counter)
        if self._own is not None:  # switched: lift that, put it back afterwards
            self.module.__dict__.pop("forward", None)
            if saved[1]:
                self.module.forward = self._own
            self._own, self._counter = None, None
        try:
            self.replace(rows)
            yield
        finally:
            self.restore()
            if saved[0] is not None:
                self._own, self._had, self._counter = saved
                self.module.forward = before

    def digest(self) -> str:
        """A number of 16 digits that the block's weights have (names, shapes, types, values); "" for a function."""
        if self.module is None:
            return ""
        seen = hashlib.sha256()
        for name, tensor in self.module.state_dict().items():
            if isinstance(tensor, torch.Tensor):
                seen.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
                seen.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return seen.hexdigest()[:16]
