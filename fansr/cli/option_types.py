"""Types of option values: numbers that refuse what is none, choices that name the nearest word, sizes in bytes."""

from __future__ import annotations

import math
import re

import click

from fansr.errors import did_you_mean

LARGEST = (1 << 63) - 1  # of a whole number where an option says no more


class StrictNumber:
    """A type of numbers that takes nothing its own type forgets to refuse: NaN, infinities, whole numbers beyond 64
    bits, and from a config file what is no number or no whole one."""

    def convert(self, value, param, ctx):
        whole = isinstance(self, click.types.IntParamType)
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            self.fail(f"{value!r} is no number", param, ctx)
        if whole and isinstance(value, float) and not value.is_integer():
            self.fail(f"{value!r} is no whole number", param, ctx)
        try:
            number = super().convert(value, param, ctx)
            finite = math.isfinite(number)
        except (OverflowError, ValueError):
            self.fail(f"{str(value)[:40]!r} is no number that can be used", param, ctx)
        if not finite:
            self.fail(f"{value!r}: wanted a finite number", param, ctx)
        if whole and abs(number) > LARGEST:
            low = getattr(self, "min", None)
            self.fail(
                f"{str(value)[:40]} is not in the range {-LARGEST if low is None else low} to {LARGEST}", param, ctx
            )
        return number


class _Int(StrictNumber, click.types.IntParamType):
    pass


class _Float(StrictNumber, click.types.FloatParamType):
    pass


class _IntRange(StrictNumber, click.IntRange):
    pass


class _FloatRange(StrictNumber, click.FloatRange):
    pass


class _Choice(click.Choice):
    """A choice that says which of its words is the nearest to one it does not have."""

    def convert(self, value, param, ctx):
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            names = [str(choice) for choice in self.choices]
            meant = did_you_mean(str(value), names)
            self.fail(f"{str(value)[:40]!r} is none of {', '.join(names)}{meant}", param, ctx)


def strict(type: click.ParamType) -> click.ParamType:
    """The strict type for an option's own; one that is neither numbers nor a choice stays."""
    if isinstance(type, click.Choice):
        return _Choice(type.choices, type.case_sensitive)
    if isinstance(type, click.IntRange):
        return _IntRange(type.min, type.max, type.min_open, type.max_open, type.clamp)
    if isinstance(type, click.FloatRange):
        return _FloatRange(type.min, type.max, type.min_open, type.max_open, type.clamp)
    if isinstance(type, click.types.IntParamType):
        return _Int()
    return _Float() if isinstance(type, click.types.FloatParamType) else type


class Size(click.ParamType):
    """A number of bytes: 1000000, 256M, 4G."""

    name = "size"

    def convert(self, value, param, ctx):
        match = re.fullmatch(r"([0-9]{1,15})([KMG]?)(i?B)?", str(value).strip(), re.IGNORECASE)
        size = match and int(match[1]) << {"": 0, "K": 10, "M": 20, "G": 30}[match[2].upper()]
        if not size or not 1024 <= size <= 1 << 40:
            self.fail(f"{str(value)[:40]!r} is no size; wanted bytes from 1K to 1024G, such as 256M", param, ctx)
        return size
