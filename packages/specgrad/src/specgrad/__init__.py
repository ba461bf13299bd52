"""SpecGrad, a diffusion vocoder with shaped noise: `SpecGrad.from_pretrained().synthesize(mel)`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .model import SpecGrad, SpecGradConfig

__all__ = ["SpecGrad", "SpecGradConfig"]


def __getattr__(name: str) -> Any:
    """The public names, loaded at first use: torch takes seconds, and a command's --help needs none of it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import model

    return getattr(model, name)
