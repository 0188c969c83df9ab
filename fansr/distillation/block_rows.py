"""A block's arguments as rows, and rows as what the block gives: X (N, d) in, Y (N, m) out, whatever the shapes around them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from fansr.distillation.places import layout_of
from fansr.errors import DataError

# rows(X (N, d), original) -> Y (N, m); original() is what the block itself gives, original(X') what it gives for other rows.
Rows = Callable[[torch.Tensor, Callable[..., torch.Tensor]], torch.Tensor]


class BlockRows:
    """How the rows of a block called `name`, whose forward calls its arguments `names`, stand in its arguments and outputs.

    argument, output, layout: as those of block.Block.  squeezed, plain: what a first call has shown (None before it).
    """

    def __init__(
        self, name: str, names: Sequence[str], argument: str | int | None, output: str | int | None, layout: str
    ):
        self.name, self.names, self.argument, self.output = name, list(names), argument, output
        self.layout, self.patch = layout_of(layout)
        self.squeezed: bool | None = None  # outputs have no dimension of their own: (...) and not (..., 1)
        self.plain: bool | None = None  # what comes out is a tensor and nothing else

    @property
    def layout_text(self) -> str:
        """The layout as it was asked for."""
        return f"patch:{self.patch}" if self.patch else self.layout

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
