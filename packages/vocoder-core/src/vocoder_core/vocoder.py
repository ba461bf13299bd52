"""Vocoder: a network with a config and a checkpoint folder, config.yaml + model.safetensors.

The one contract every vocoder shares: `from_pretrained(folder)` gives back what `save_pretrained(folder)` was given,
and nothing in a folder can make it run code. A training run's folder is such a folder.
"""

from __future__ import annotations

import os
from importlib import import_module, resources
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from . import config as configs
from . import stored_weights

CONFIG_NAME, WEIGHTS_NAME = "config.yaml", "model.safetensors"


class Vocoder(nn.Module):
    """Base of the vocoders: `config`, `sample_rate`, `from_pretrained`, `save_pretrained`."""

    config_class: ClassVar[type]

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config

    @property
    def sample_rate(self) -> int:
        """Samples per second of what `synthesize` returns."""
        return int(self.config.mel.sample_rate)

    def checked(self, mel: torch.Tensor) -> torch.Tensor:
        """A mel (B, M, F) or (M, F) as a batch (B, M, F) on the network's device and in its dtype.

        Raises ValueError for another shape or type, or for values that are not finite.
        """
        n_mels = self.config.mel.n_mels
        if mel.dim() not in (2, 3) or mel.shape[-2] != n_mels or not mel.is_floating_point():
            raise ValueError(
                f"synthesize got a {mel.dtype} tensor of shape {tuple(mel.shape)}; expected a float mel "
                f"(B, {n_mels}, F) or ({n_mels}, F)"
            )
        if not mel.isfinite().all():
            raise ValueError("synthesize got a mel with NaN or infinite values; expected finite ones: see log_mel")
        batch = mel if mel.dim() == 3 else mel[None]
        return batch.to(next(self.parameters()))

    @classmethod
    def from_pretrained(cls, folder: str | Path | None = None, device: str | torch.device = "cpu") -> Self:
        """The vocoder saved in a folder (None: the weights inside the installed package), in eval mode on `device`.

        Raises FileNotFoundError when the folder or one of its files is missing, ValueError when a file is damaged,
        belongs to another model, or does not fit its config.
        """
        path = cls._own_weights() if folder is None else Path(folder)
        model = cls(cls._read_config(path))
        model._fill(_read_tensors(path / WEIGHTS_NAME), path / WEIGHTS_NAME)
        return model.to(device).eval()

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.yaml and model.safetensors into a folder, made if missing; each appears whole or not at all."""
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump({"model": type(self).__name__, **configs.to_dict(self.config)}, sort_keys=False)
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
        _replace(path / CONFIG_NAME, lambda to: to.write_text(text, encoding="utf-8"))
        try:
            _replace(path / WEIGHTS_NAME, lambda to: save_file(tensors, to))
        except SafetensorError as error:  # its writer does not raise OSError when the disk is full
            message = f"{path / WEIGHTS_NAME}: cannot be written ({error}); the previous weights are kept"
            raise OSError(message) from None

    @classmethod
    def _own_weights(cls) -> Path:
        package = cls.__module__.split(".")[0]
        return Path(str(resources.files(import_module(package)) / "weights"))

    @classmethod
    def _read_config(cls, folder: Path) -> Any:
        path = folder / CONFIG_NAME
        if not path.is_file():
            raise FileNotFoundError(
                f"{folder}: no {CONFIG_NAME} there; expected a checkpoint folder with {CONFIG_NAME} and {WEIGHTS_NAME}"
            )
        tree = configs._read(path)
        name = tree.pop("model", None)
        if getattr(name, "content", None) != cls.__name__:
            raise ValueError(
                f"{path}: model is {getattr(name, 'content', None)!r}; expected {cls.__name__}: "
                "this checkpoint belongs to another vocoder"
            )
        return configs._build(cls.config_class, tree, "")

    def _fill(self, tensors: dict[str, torch.Tensor], path: Path) -> None:
        """Copy tensors into the parameters once they are known to be exactly the expected ones, finite and fitting."""
        own = self.state_dict()
        tensors = stored_weights.unpacked(tensors, own, path)
        missing, extra = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
        if missing or extra:
            named = f"lacks {missing[0]}" if missing else f"holds {extra[0]}, which the model does not have"
            raise ValueError(f"{path}: {named}; expected the tensors of {type(self).__name__} as its config describes")
        for name, tensor in tensors.items():
            if tensor.shape != own[name].shape:
                raise ValueError(
                    f"{path}: {name} has shape {tuple(tensor.shape)}; its config gives {tuple(own[name].shape)}"
                )
            if not tensor.isfinite().all():
                raise ValueError(f"{path}: {name} holds NaN or infinite weights; use an earlier checkpoint")
        self.load_state_dict(tensors)  # copies into the parameters' own dtype: fp16 or 8 bits on disk, fp32 here


def _read_tensors(path: Path) -> dict[str, torch.Tensor]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: missing; expected the weights beside {CONFIG_NAME}")
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise ValueError(f"{path}: not a readable safetensors file ({error}); it is damaged or another kind") from None


def _replace(path: Path, write: Any) -> None:
    """Write through a temporary name, so that a reader or a crash never meets half a file."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
