"""A part of a network seen from outside: what goes in and comes out as rows, its forward replaced and put back.

    block = Block(model, "layers.2.mlp")
    taken = block.record(batches, rows=4000)        # Recorded: X (n, d), Y (n, m), and held-out rows
    with block.replaced(lambda rows, original: rows @ W):
        model(x)

Nothing in the model changes: hooks are taken off, forward is put back, weights are never written.  Knows nothing of laws.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from fansr.errors import DataError

# rows(X (N, d), original) -> Y (N, m); original() is what the block itself gives, original(X') what it gives for other rows.
Rows = Callable[[torch.Tensor, Callable[..., torch.Tensor]], torch.Tensor]
LEAST_HELD = 50  # rows that say anything about a law


@dataclass
class Recorded:
    """Rows that went through a block: X (n, d) and Y (n, m), float32 on the CPU, and X_held (h, d), Y_held (h, m) of other batches.

    seen: rows that passed; not_finite: rows left out because a value of theirs was none; by_rows: there was one batch, and its
    rows were divided; calls: times the block was called.
    """

    X: torch.Tensor
    Y: torch.Tensor
    X_held: torch.Tensor
    Y_held: torch.Tensor
    seen: int
    not_finite: int = 0
    by_rows: bool = False
    calls: int = 0


class Block:
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
        self.model, self.argument, self.output, self.call = model, argument, output, call
        self.layout, self.patch = _layout(layout)
        self.path, self.module, self.function = _find(model, at)
        self.name = self.path or "the model"
        self.names = _argument_names(self.function if self.module is None else self.module.forward)
        self.squeezed: bool | None = None  # outputs have no dimension of their own: (...) and not (..., 1)
        self.plain: bool | None = None  # what comes out is a tensor and nothing else
        self._count = 0
        self._counter: Any = None
        self._own: Callable | None = None  # the forward that was replaced

    # -- rows

    def inputs(self, args: Sequence, kwargs: dict) -> torch.Tensor:
        """The tensor (..., d) of the block's arguments whose rows are taken, laid out with features last."""
        names = [None] if self.argument is None else str(self.argument).split(",")
        found = [self._argument(name, args, kwargs) for name in names]
        whole = next((t for t in found if not t.is_floating_point()), None)
        if whole is not None:
            kind = "complex numbers" if whole.is_complex() else "whole numbers"
            raise DataError(
                f"{self.name} is given {kind} ({str(whole.dtype)[6:]}): wanted a block whose input is real numbers"
            )
        if len(found) > 1:
            shapes = {tuple(t.shape[:-1]) for t in found}
            if len(shapes) > 1:
                raise DataError(
                    f"{self.name}: arguments {self.argument} have shapes {', '.join(map(str, shapes))} before the last"
                )
        X = found[0] if len(found) == 1 else torch.cat(found, dim=-1)
        return self._features_last(X, "given", self.patch)

    def _argument(self, name: str | None, args: Sequence, kwargs: dict) -> torch.Tensor:
        given: dict[str, Any] = {str(i): value for i, value in enumerate(args)}
        given.update(self._named(args))
        given.update(kwargs)
        if name is None:
            value = next((v for v in (*args, *kwargs.values()) if isinstance(v, torch.Tensor)), None)
        else:
            value = given.get(name.strip())
        if not isinstance(value, torch.Tensor):
            tensors = [key for key, v in given.items() if isinstance(v, torch.Tensor)]
            wanted = f"no tensor {name}" if name is not None else "no tensor"
            raise DataError(f"{self.name} is given {wanted}; tensors are {', '.join(tensors) or 'none'} (--argument)")
        return value

    def _named(self, args: Sequence) -> dict[str, Any]:
        """Arguments by the names that the block's forward gives them."""
        if self.argument is None:
            return {}
        return dict(zip(self.names, args))

    def _features_last(self, T: torch.Tensor, what: str, patch: int = 0) -> torch.Tensor:
        if self.layout == "last":
            return T
        if T.dim() < 3 or (patch and T.dim() != 4):
            raise DataError(
                f"{self.name} is {what} shape {tuple(T.shape)}: the layout {'patch' if patch else 'channels'} wants (B, C, H, W)"
            )
        if patch:
            B, C, H, W = T.shape
            around = torch.nn.functional.unfold(T, patch, padding=patch // 2)  # (B, C * patch^2, H * W)
            return around.transpose(1, 2).reshape(B, H, W, C * patch * patch)
        return T.movedim(1, -1)

    def outputs(self, value: Any) -> tuple[torch.Tensor, bool]:
        """(the tensor of what a block gave, whether it was all of it)."""
        if isinstance(value, torch.Tensor):
            return value, True
        items = (
            dict(enumerate(value))
            if isinstance(value, (tuple, list))
            else dict(value)
            if isinstance(value, dict)
            else {}
        )
        if self.output is not None:
            items = {key: part for key, part in items.items() if str(key) == str(self.output)}
        tensor = next((part for part in items.values() if isinstance(part, torch.Tensor)), None)
        if tensor is None:
            which = "no tensor" if self.output is None else f"no tensor {self.output}"
            raise DataError(f"{self.name} gives {which}, but a {type(value).__name__} (--output names a part of it)")
        return tensor, False

    def pairs(self, args: Sequence, kwargs: dict, value: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """(X (N, d), Y (N, m)) of one call; DataError where rows in and out are not the same."""
        X = self.inputs(args, kwargs)
        Y, self.plain = self.outputs(value)
        if not Y.is_floating_point():
            hint = "give the logits" if not Y.is_complex() else "give its real parts"
            raise DataError(f"{self.name} gives {str(Y.dtype)[6:]} values: wanted real numbers ({hint})")
        whole = Y
        if self.layout != "last":
            Y = Y.movedim(1, -1) if Y.dim() >= 3 else Y
        lead = tuple(X.shape[:-1])
        squeezed = tuple(Y.shape) == lead and len(lead) > 0
        if not squeezed and tuple(Y.shape[:-1]) != lead:
            raise DataError(
                f"{self.name} makes shape {tuple(whole.shape)} of {tuple(X.shape)} (features last): wanted one row out for "
                "each row in; another --at, --argument or --layout"
            )
        m = 1 if squeezed else Y.shape[-1]
        if not X.shape[-1] or not m:
            raise DataError(f"{self.name} makes shape {tuple(whole.shape)} of {tuple(X.shape)}: rows of no values")
        if self.squeezed is not None and self.squeezed != squeezed:
            raise DataError(f"{self.name}: the shape of what it gives changes between calls")
        self.squeezed = squeezed
        return X.reshape(-1, X.shape[-1]), Y.reshape(-1, m)

    # -- recording

    def record(
        self,
        batches: Iterable,
        rows: int = 4000,
        held: float = 0.5,
        seed: int = 0,
        run: Callable[[Any, Any], Any] | None = None,
        device: str | torch.device | None = None,
    ) -> Recorded:
        """Rows drawn from all that pass the block (uniformly, without replacement; `rows` of them, and as many held-out ones).

        held: share of the batches, spread evenly, from which only held-out rows come; of a single batch, of its rows.
        run: (model, batch) -> anything, instead of model(*batch).  The model is in eval mode meanwhile, without gradients.
        Memory is that of the rows wanted and one batch.
        """
        if not 0 <= held < 1:
            raise ValueError(f"held={held!r}: wanted a share from 0, and below 1")
        if rows < 1:
            raise ValueError(f"rows={rows!r}: wanted a number of rows")
        kept, tried = _Reservoir(rows, seed), _Reservoir(rows, seed + 1)
        state = {"to": kept, "calls": 0, "seen": 0, "bad": 0, "width": None}

        def take(args, kwargs, value):
            with torch.no_grad():
                X, Y = self.pairs(args, kwargs, value)
                width = (X.shape[1], Y.shape[1])
                if state["width"] not in (None, width):
                    raise DataError(f"{self.name}: {state['width']} values in and out of a row before, {width} now")
                state["width"] = width
                state["calls"] += 1
                state["seen"] += len(X)
                X, Y = X.float(), Y.float()
                good = torch.isfinite(X).all(dim=1) & torch.isfinite(Y).all(dim=1)
                state["bad"] += int((~good).sum())
                state["to"].add(X[good], Y[good])

        passed = 0
        with self._listening(take), self.calm(), torch.no_grad():
            for batch in batches:
                is_held = math.floor((passed + 1) * held + 1e-9) > math.floor(passed * held + 1e-9)
                state["to"] = tried if is_held else kept
                self._pass(batch, run, device)
                passed += 1
        if not passed:
            raise DataError("no batches came: wanted at least one")
        if not state["calls"]:
            times = "" if self.call is None else f" a {self.call + 1}. time in one forward (--call counts from 0)"
            raise DataError(f"{self.name} is never called{times}: another --at")
        if state["seen"] == 0:
            raise DataError(f"{self.name}: the batches have no rows")
        if state["bad"] == state["seen"]:
            raise DataError(
                f"{self.name}: none of its {state['seen']} rows is finite: look at the weights or the batches"
            )
        if not len(kept):
            raise DataError(
                f"{self.name}: no finite row in the batches that are not held out: other batches, or another --held"
            )
        X, Y = kept.rows()
        X_held, Y_held = tried.rows() if len(tried) else (X[:0], Y[:0])
        by_rows = held > 0 and not len(X_held)
        if by_rows:
            order = torch.randperm(len(X), generator=torch.Generator().manual_seed(seed))
            cut = len(X) - math.floor(held * len(X))
            X_held, Y_held, X, Y = X[order[cut:]], Y[order[cut:]], X[order[:cut]], Y[order[:cut]]
        return Recorded(X, Y, X_held, Y_held, state["seen"], state["bad"], by_rows, state["calls"])

    def _pass(self, batch: Any, run: Callable | None, device) -> None:
        batch = moved(batch, device)
        if self.module is None:
            args = batch if isinstance(batch, (tuple, list)) else (batch,)
            self._take(tuple(args), {}, self.function(*args))
        elif run is not None:
            run(self.model, batch)
        else:
            call(self.model, batch)

    @contextlib.contextmanager
    def _listening(self, take: Callable) -> Iterator[None]:
        """take(args, kwargs, output) at every call of the block that is meant."""
        if self.module is None:
            self._take = take
            yield
            return
        handles = []
        with self._counting(handles):

            def after(_module, args, kwargs, value):
                number, self._count = self._count, self._count + 1
                if self.call is None or number == self.call:
                    take(args, kwargs, value)

            handles.append(self.module.register_forward_hook(after, with_kwargs=True))
            yield

    @contextlib.contextmanager
    def _counting(self, handles: list) -> Iterator[None]:
        """Calls of the block are counted from the beginning of each forward of the model."""

        def begin(*_):
            self._count = 0

        try:
            if isinstance(self.model, torch.nn.Module) and self.model is not self.module:
                handles.append(self.model.register_forward_pre_hook(begin))
            yield
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

    def outcome(self, rows: Rows, own: Callable, args: Sequence, kwargs: dict) -> Any:
        """What the block gives when rows() stands for it."""
        X = self.inputs(args, kwargs)
        flat = X.reshape(-1, X.shape[-1])
        made: list[Any] = []

        def original(changed: torch.Tensor | None = None) -> torch.Tensor:
            if changed is not None:
                there = self._with_rows(changed.reshape(X.shape), args, kwargs)
                return self.pairs(*there, own(*there[0], **there[1]))[1]
            if not made:
                made.append(own(*args, **kwargs))
            return self.pairs(args, kwargs, made[0])[1]

        if self.squeezed is None or self.plain is None:
            original()
        Y = rows(flat, original)
        Y = Y.reshape(X.shape[:-1]) if self.squeezed else Y.reshape(*X.shape[:-1], Y.shape[-1])
        if self.layout != "last" and not self.squeezed:
            Y = Y.movedim(-1, 1)
        if self.plain:
            return Y
        original()
        return self._with(made[0], Y)

    def _with_rows(self, X: torch.Tensor, args: Sequence, kwargs: dict) -> tuple[tuple, dict]:
        """The arguments with X in the place of the tensor whose rows are taken."""
        if self.patch or (self.argument is not None and "," in str(self.argument)):
            raise DataError(
                f"{self.name}: rows of several arguments or of neighbourhoods cannot be put back as arguments"
            )
        old = self._argument(None if self.argument is None else str(self.argument), args, kwargs)
        new = X if self.layout == "last" else X.movedim(-1, 1)
        return tuple(new if a is old else a for a in args), {k: new if a is old else a for k, a in kwargs.items()}

    def _with(self, value: Any, Y: torch.Tensor) -> Any:
        """A tuple, list or dict of outputs with Y in the place of its tensor."""
        old, _ = self.outputs(value)
        if isinstance(value, dict):
            return type(value)({key: Y if part is old else part for key, part in value.items()})
        parts = [Y if part is old else part for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)

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


class _Reservoir:
    """`size` rows drawn uniformly from all that are added: those of the smallest random keys, in the order they came."""

    def __init__(self, size: int, seed: int):
        self.size, self.came = size, 0
        self.generator = torch.Generator().manual_seed(seed)
        self.parts: tuple[torch.Tensor, ...] | None = None  # keys, numbers, X, Y

    def __len__(self) -> int:
        return 0 if self.parts is None else len(self.parts[0])

    def add(self, X: torch.Tensor, Y: torch.Tensor) -> None:
        n = len(X)
        keys = torch.rand(n, generator=self.generator, dtype=torch.float64)
        numbers = torch.arange(self.came, self.came + n)
        self.came += n
        if self.parts is not None and len(self) == self.size:  # most rows of a long run are turned down here
            near = keys < self.parts[0].max()
            keys, numbers = keys[near], numbers[near]
            at = near.nonzero().squeeze(1).to(X.device)
            X, Y = X[at], Y[at]
        if not len(X):
            return
        new = (keys, numbers, X.detach().clone(), Y.detach().clone())
        if self.parts is not None:
            new = tuple(torch.cat(pair) for pair in zip(self.parts, new))
        if len(new[0]) > self.size:
            best = torch.topk(new[0], self.size, largest=False).indices
            new = tuple(part[best.to(part.device)] for part in new)
        self.parts = new

    def rows(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(X, Y) on the CPU in the order in which the rows came."""
        order = torch.argsort(self.parts[1])
        return tuple(part[order.to(part.device)].cpu().contiguous() for part in self.parts[2:])


def call(model: Any, batch: Any) -> Any:
    """model(*batch) for a tuple or list, model(**batch) for a dict, model(batch) for anything else."""
    if isinstance(batch, dict):
        return model(**batch)
    return model(*batch) if isinstance(batch, (tuple, list)) else model(batch)


def moved(value: Any, device: Any) -> Any:
    """A batch with its tensors on a device; as it is for None."""
    if device is None:
        return value
    if isinstance(value, dict):
        return {key: moved(part, device) for key, part in value.items()}
    if isinstance(value, (tuple, list)):
        return type(value)(moved(part, device) for part in value)
    return value.to(device) if hasattr(value, "to") else value


def _argument_names(function: Callable) -> list[str]:
    """How a forward names the arguments that it takes by position."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    return [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]


def _layout(text: str) -> tuple[str, int]:
    kind, _, size = text.partition(":")
    if kind == "patch" and size.isdigit() and int(size) % 2 and 1 <= int(size) <= 15:
        return "patch", int(size)
    if kind in ("last", "channels") and not size:
        return kind, 0
    raise ValueError(f"layout={text!r}: wanted last, channels, or patch:3 (an odd number up to 15)")


def _find(model: Any, at: Any) -> tuple[str, torch.nn.Module | None, Callable | None]:
    """(path, module, function) of what `at` names; DataError lists the nearest paths."""
    if isinstance(at, torch.nn.Module):
        if isinstance(model, torch.nn.Module):
            for path, module in model.named_modules():
                if module is at:
                    return path, at, None
        raise DataError(f"the module {type(at).__name__} is no part of the model")
    if not isinstance(at, str):
        if callable(at):
            return getattr(at, "__name__", "function"), None, at
        raise ValueError(f"at={at!r}: wanted a dotted path, a module or a function")
    if not isinstance(model, torch.nn.Module):
        raise DataError(f"the model is a {type(model).__name__}: wanted a torch.nn.Module with a part {at!r}")
    modules = dict(model.named_modules())
    if at in ("", "."):
        return "", model, None
    if at in modules:
        return at, modules[at], None
    paths = [path for path in modules if path]
    near = difflib.get_close_matches(at, paths, 4, 0.3) or paths[:8]
    raise DataError(
        f"the model has no part {at!r}; {'the nearest are' if near else 'it has no parts at all'} {', '.join(near)}"
    )
