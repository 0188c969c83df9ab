"""Where the rules, configs and data that come with fansr lie.

An installed package holds them as fansr/rules, fansr/configs and fansr/data; a checkout (and an
editable install) holds them beside the package.  Nothing else in fansr knows about either.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent


def path(kind: str, *parts: str) -> Path:
    """Path of a shipped file or folder: ``path("rules")``, ``path("data", "models", "tiny.safetensors")``.

    `kind` is "rules", "configs" or "data".  The path is returned whether or not the last part exists.
    """
    assert kind in ("rules", "configs", "data"), kind
    inside = _PACKAGE / kind
    return (inside if inside.is_dir() else _PACKAGE.parent / kind).joinpath(*parts)
