"""Sets of rewriting rules: the shipped tiers by their names, folders that fansr-mine wrote, and the engine over one of them.

A tier is called by the lengths that were mined, patterns of up to 3 tokens with replacements of up to 2 ("3-2") and so on: the
default lies in rules/ itself, any other in a folder of its name below.  It is the paper's dial L_max at the time of mining;
`longest` is the same dial at the time of use.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from fansr.cli import resources
from fansr.errors import DataError

DEFAULT_TIER = "3-2"


def tiers() -> dict[str, Path]:
    """The shipped tiers by name."""
    shipped = resources.path("rules")
    return {DEFAULT_TIER: shipped, **{p.parent.name: p.parent for p in sorted(shipped.glob("*/config.yaml"))}}


def folder_of(rules: str | None = None) -> Path:
    """The folder of a tier's name, or the folder itself; None: the default tier's."""
    name = DEFAULT_TIER if rules is None else str(rules)
    return tiers().get(name, Path(name))


def load_engine(rules: str | None = None, longest: int | None = None):
    """simplipy's engine with the operators and rules of a tier or folder.

    longest: rules whose pattern has more tokens are left out (0: all of them; the engine's own canonical form stays).
    """
    folder = folder_of(rules)
    config = f"{folder}/config.yaml"
    try:
        import simplipy

        engine = simplipy.SimpliPyEngine.from_config(config)
    except FileNotFoundError:
        raise DataError(
            f"{folder}: no rules here (config.yaml is missing); wanted {', '.join(tiers())} or a folder that fansr-mine wrote"
        ) from None
    except Exception as error:  # noqa: BLE001 - simplipy reports a wrong config in many ways
        raise DataError(f"{config}: cannot be loaded: {error}") from None
    if longest is None:
        return engine
    return with_rules(engine, [rule for rule in engine.simplification_rules if len(rule[0]) <= longest])


def with_rules(engine, rules):
    """An engine with the same operators and these rules."""
    return type(engine)(engine._operators_config, rules)


def rules_name(rules: str | None = None) -> str:
    """Short hash of a rule set, for histories: equal names mean equal rules."""
    folder = folder_of(rules)
    digest = hashlib.blake2b(digest_size=6)
    for name in ("config.yaml", "rules.json"):
        if (folder / name).exists():
            digest.update((folder / name).read_bytes())
    return digest.hexdigest()
