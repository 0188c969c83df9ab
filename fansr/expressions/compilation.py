"""How kernels are compiled: numba made ready, three kinds of kernels, and the types of their arguments.

    kernel  called from Python; compiled when its module is loaded and kept on disk (kernel_folder.py)
    shared  the same, and other kernels call its machine code, where numba would compile a copy of it into each of them
    inner   a small part of other kernels: compiled into each of them, and not at all in a process that finds those on disk

Every module with kernels imports numba through this one, since this must come before numba: no scipy, which numba
loads only to learn whether matrix products could be compiled.  No kernel here multiplies matrices, and scipy.linalg is
a fifth of what a command that compiles nothing spends on loading numba (0.16 s of 0.8 on one core).  Where scipy is
loaded already, or is loaded later, nothing changes.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fansr.expressions.kernel_folder import COMMON, PACKAGE, cache_folder, compiled_files

if "scipy" not in sys.modules and "numba" not in sys.modules:
    sys.modules["scipy"] = None  # "import scipy" now raises the ImportError that numba is prepared for
    try:
        import numba.np.arraymath  # noqa: F401
    finally:
        del sys.modules["scipy"]

import llvmlite.binding
import numba
from numba.core import cgutils
from numba.core.typing.templates import ConcreteTemplate
from numba.extending import intrinsic, lower_builtin  # noqa: F401
from numba.types import Array, UniTuple, float32, float64, int32, int64, uint8, uint64, void  # noqa: F401

# Argument types.  All arrays are C-contiguous; read-only inputs are copied by the callers.
I1, I2 = Array(int64, 1, "C"), Array(int64, 2, "C")
F1, F2, F3 = Array(float64, 1, "C"), Array(float64, 2, "C"), Array(float64, 3, "C")
U1, U2 = Array(uint8, 1, "C"), Array(uint8, 2, "C")
W1, W2 = Array(uint64, 1, "C"), Array(uint64, 2, "C")

# Sums under this may be reordered; NaN and infinities must still be seen, so only these flags.
REORDERED = {"reassoc", "contract", "nsz"}

_FOLDER = cache_folder()
_refreshed: list[bool] = []  # not empty: numba has gone through its registries
_sources: set[Path] = set()  # files whose kernels are loaded
_newest = max((PACKAGE / f"{name}.py").stat().st_mtime for name in COMMON)  # of them and of what they build on
_OPTIONS = {"nogil": True, "error_model": "numpy"}
_INNER = {**_OPTIONS, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def named(cls: type, *fields: numba.types.Type) -> numba.types.Type:
    """The numba type of a named tuple whose fields have these types."""
    return numba.types.BaseTuple.from_types(fields, cls)


def _drop_stale(source: Path):
    """Remove a file's machine code where a file loaded before is newer: numba looks at the file itself only.

    What a file builds on is loaded before it, so nothing is missed; a file it does not build on costs one compilation.
    """
    global _newest
    _sources.add(source)
    _newest = max(_newest, source.stat().st_mtime)
    for path in compiled_files(source, _FOLDER):
        with contextlib.suppress(FileNotFoundError):  # another process was faster
            if path.stat().st_mtime < _newest:
                path.unlink()


def _look_up_quickly(found):
    """Let numba go through its registries before the first kernel it takes from disk, not before each (5 ms a kernel).

    What is compiled still sees all that was registered before it.
    """
    cache = getattr(found, "_cache", None)
    if not hasattr(cache, "_load_overload") or not hasattr(cache, "_guard_against_spurious_io_errors"):
        return  # another numba, or no cache: as it comes

    def load_overload(signature, context):
        if not _refreshed:
            context.refresh()
            _refreshed.append(True)
        loaded = None
        with cache._guard_against_spurious_io_errors():
            loaded = cache._load_overload(signature, context)
        if loaded is None:
            context.refresh()
        return loaded

    cache.load_overload = load_overload


def kernel(signature: Any, **options: Any) -> Callable:
    """A decorator: compile for this signature when the module is loaded, or take the machine code from disk."""

    def compiled(function):
        source = Path(function.__code__.co_filename)
        if source not in _sources:
            _drop_stale(source)
        before = numba.config.CACHE_DIR
        # Asked for by numba when a function is decorated; other packages' kernels keep the folder they have.
        numba.config.CACHE_DIR = "" if _FOLDER in (None, PACKAGE) else str(_FOLDER)
        try:
            found = numba.njit(cache=_FOLDER is not None, **{**_OPTIONS, **options})(function)
            if numba.config.DISABLE_JIT:
                return found
            _look_up_quickly(found)
            found.compile(signature)  # as njit does when it is given a signature
            found.disable_compile()
            return found
        finally:
            numba.config.CACHE_DIR = before

    return compiled


def inner(function: Callable | None = None, **options: Any) -> Callable:
    """A decorator, with or without options: compile when the first kernel that calls this one is compiled.

    Whether it counts references is as for that kernel; one that gives arrays back must say `_nrt=True`, and not be called by
    shared kernels that do not allocate: what it gives back would never be freed.
    """
    if function is None:
        return functools.partial(inner, **options)
    if numba.config.DISABLE_JIT:
        return function
    found = numba.njit(function, **{**_INNER, **options})
    template = found.get_call_template

    def without_literals(args, kws):
        # numba would compile once more for every literal number it is called with.
        return template(
            [numba.types.unliteral(kind) for kind in args],
            {name: numba.types.unliteral(kind) for name, kind in kws.items()},
        )

    found.get_call_template = without_literals
    return found


def shared(signature: Any, python: bool = False, allocates: bool = False, **options: Any) -> Callable:
    """A decorator: as kernel(), called by other kernels through its address.  python: callable from Python as well.

    It must not raise.  Unless it `allocates` it makes no arrays, gives none back and calls no `inner` that does: then its arrays need
    no counting of references, whose atomic steps, two for each row of a work array that is looked at, took a sixth of the
    local search's time.  numba links a copy of every function into each of its callers and optimises it there once more; these
    are too large for that: half of the time of a cold start went into copies.
    """
    result, arguments = signature.return_type, signature.args

    def compiled(function):
        if numba.config.DISABLE_JIT:
            return function
        inside = kernel(
            signature,
            _nrt=allocates,
            **({} if python else {"no_cpython_wrapper": True}),
            no_cfunc_wrapper=True,
            **options,
        )(function)
        found = inside.overloads[tuple(arguments)]
        symbol = f"{function.__module__}.{function.__name__}"
        llvmlite.binding.add_symbol(symbol, found.library.get_pointer_to_function(found.fndesc.llvm_func_name))

        @functools.wraps(function)
        def call(*values):
            return inside(*values)

        class Typing(ConcreteTemplate):
            key, cases = call, [numba.core.typing.signature(result, *arguments)]

        call._numba_type_ = numba.types.Function(Typing)

        @lower_builtin(call, *arguments)
        def lower(context, builder, sig, values):
            convention = context.call_conv
            callee = cgutils.get_or_insert_function(
                builder.module, convention.get_function_type(sig.return_type, sig.args), symbol
            )
            return convention.call_function(builder, callee, sig.return_type, sig.args, values)[1]

        return call

    return compiled
