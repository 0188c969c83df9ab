"""Where the rules, configs and data that come with fansr lie.

An installed package holds them as fansr/rules, fansr/configs and fansr/data; a checkout (and an
editable install) holds them beside the package.  Nothing else in fansr knows about either.
"""

from __future__ import annotations

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent
# Catalogues of laws that results are reported on, and that are therefore held out of training.
CATALOGUES = ("fastsrb.json", "textbook.txt", "families.json")


def path(kind: str, *parts: str) -> Path:
    """Path of a shipped file or folder: ``path("rules")``, ``path("data", "models", "tiny.safetensors")``.

    `kind` is "rules", "configs" or "data".  The path is returned whether or not the last part exists.
    """
    assert kind in ("rules", "configs", "data"), kind
    inside = _PACKAGE / kind
    return (inside if inside.is_dir() else _PACKAGE.parent / kind).joinpath(*parts)


def example_table(name: str) -> str:
    """The shipped table that "planets", "planets.csv" or "data/planets.csv" names where there is no such file; else the name."""
    folder, base = os.path.split(name)
    if folder not in ("", "data") or os.path.exists(name):
        return name
    place = path("data", base if base.endswith(".csv") else f"{base}.csv")
    return str(place) if place.is_file() else name


def catalogues() -> list[str]:
    """Paths of the shipped CATALOGUES."""
    return [str(path("data", name)) for name in CATALOGUES]


def example_tables() -> list[str]:
    """Names of the shipped tables."""
    return sorted(place.stem for place in path("data").glob("*.csv"))
