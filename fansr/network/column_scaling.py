"""Columns of very large or very small numbers shown over a power of two, alike in training and in use.

Works on numpy arrays and on torch tensors: `xp` is the module whose functions are meant, numpy or torch.
"""

from __future__ import annotations

import numpy as np

LOW, HIGH = 1e-2, 1e2  # a column whose root mean square lies outside is shown scaled by a power of two


def scale_exponents(values, xp=np, valid=None):
    """Powers of two to divide each column by: values (..., M, C) float64 -> (..., C), 0 where its rms is ordinary.

    valid (..., M) bool: the points that count, the others being 0; None: all.

    Dividing by a power of two changes a number's exponent bits only: it is exact, and undone by a constant in
    the law.  Columns with an ordinary size stay as they are, so that sin(x) need not become sin(c*x).
    """
    size = xp.abs(values)
    top = xp.amax(size, axis=-2, keepdims=True)
    unit = xp.where((top > 0) & xp.isfinite(top), top, 1.0)
    # Over the largest first: the squares of 1e-200 and 1e200 are not numbers.
    square = xp.square(size / unit).mean(axis=-2, keepdims=True)
    if valid is not None:
        square = square * (valid.shape[-1] / valid.sum(-1)[..., None, None])
    rms = unit * xp.sqrt(square)
    odd = xp.isfinite(rms) & (rms > 0) & ((rms < LOW) | (rms > HIGH))
    return xp.where(odd, xp.floor(xp.log2(xp.where(odd, rms, 1.0))), 0.0).squeeze(-2)


def scaled(values, exponents, xp=np):
    """values (..., M, C) float64 over 2**exponents (..., C); exact, also where the power itself would overflow."""
    half = xp.floor(exponents / 2)[..., None, :]
    rest = exponents[..., None, :] - half
    if xp is np:  # numpy's ldexp takes whole numbers only, torch's would make float32 of them
        half, rest = half.astype(np.int64), rest.astype(np.int64)
    return xp.ldexp(xp.ldexp(values, -half), -rest)
