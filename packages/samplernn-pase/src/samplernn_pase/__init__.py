"""Conditional SampleRNN: `SampleRNNPASE.from_pretrained().synthesize(mel)` gives a wave."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .model import SampleRNNPASE, SampleRNNPASEConfig

__all__ = ["SampleRNNPASE", "SampleRNNPASEConfig"]


def __getattr__(name: str) -> Any:
    """The public names, loaded at first use: torch takes seconds, and a command's --help needs none of it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import model

    return getattr(model, name)
