"""Engines by name; each is loaded when it is wanted, and this file loads nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from btu.support.errors import InputError

if TYPE_CHECKING:
    from btu.engines.base import Engine

EngineName = Literal["local", "ray"]


def make_engine(name: EngineName, address: str | None = None) -> Engine:
    """An engine.

    Args:
        name: Of it.
        address: Of a cluster, where the engine has any.

    Raises:
        InputError: An address for an engine that has none.
    """
    if name == "ray":
        from btu.engines.cluster import RayEngine

        return RayEngine(address)
    from btu.engines.local import LocalEngine

    if address is not None:
        raise InputError(
            f"--engine-address: expected --engine ray with it, got --engine {name}. Leave it out, "
            "or name the engine."
        )
    return LocalEngine()
