"""Flow: an invertible map between a wave and white noise, given a condition. WaveGlow, arXiv 1811.00002.

    wav (B, T) -> G samples a column (B, L, G) -> [mix -> couple (-> film)] x flows -> z (B, G, L);  L = T / G
                                                    \\ every few flows some channels leave early

A coupling leaves half of the channels as they are and lets them, with the condition, tell how the other half is shifted
and scaled: so it can be undone. Written from the paper; NVIDIA/waveglow's weights fit with cond "group",
log_scale_bound 0, film off (test_oracle.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from .mixing import Mixing, TriangularMixing
from .wn import WN, _as_it_is


@dataclass(frozen=True)
class FlowConfig:
    """Sizes and ways of the flow. The default is the paper's shape made small; `configs/nvidia256.yaml` is public."""

    group: int = 16  # G, samples a column
    flows: int = 6  # 0: none, what comes before the flow is all there is
    layers: int = 6  # of each WN, dilations 1, 2, 4, ...
    channels: int = 96  # C
    kernel: int = 3
    early_every: int = 3  # before every such flow ...
    early_size: int = 4  # ... so many channels are done
    cond: Literal["frame", "group"] = "frame"  # projected once a frame: a tenth of the work of once a column
    prenet: int = 96  # channels of two convolutions over the frames before all that; 0: none
    subframes: int = 2  # columns the prenet makes of one frame
    log_scale_bound: float = 5.0  # log-scales stay within +-this; 0: free, which overflows on digital silence
    film: bool = True  # after each coupling the condition shifts and scales all channels
    mixing: Literal["dense", "lu"] = "dense"
    swap_odd: bool = False  # odd flows keep the second half, as NVIDIA's first checkpoints
    weight_norm: bool = True

    def __post_init__(self) -> None:
        for name in ("group", "layers", "channels", "kernel", "early_every", "subframes"):
            if getattr(self, name) < 1:
                raise ValueError(f"flow.{name} is {getattr(self, name)}; expected 1 or more")
        if self.kernel % 2 == 0:
            raise ValueError(f"flow.kernel is {self.kernel}; expected an odd number")
        if any(width < 2 or width % 2 for width in self.widths):
            raise ValueError(
                f"flow.group {self.group} less flow.early_size {self.early_size} every {self.early_every} of "
                f"{self.flows} flows leaves {min(self.widths)} channels; expected an even number of at least 2"
            )
        if self.cond == "group" and (self.prenet or self.film or self.subframes > 1):
            raise ValueError("flow.cond is group; expected flow.prenet 0, flow.film false and flow.subframes 1 with it")

    @property
    def widths(self) -> list[int]:
        """Channels alive at each flow."""
        return [self.group - self.early_size * (k // self.early_every) for k in range(self.flows)]


@dataclass(frozen=True)
class Flowed:
    """What the flow makes of waves: z, and the logs of its volume change."""

    z: Tensor  # (B, G, L), standard normal where the model is right; early channels first
    log_scales: list[Tensor]  # (B, L, .) of the couplings (and films)
    log_dets: list[Tensor]  # () of the mixings, of one row: L log |det W|

    def log_det(self) -> Tensor:
        """log |dz / dwav| of each row (B,)."""
        total = self.z.new_zeros(len(self.z))
        for scale in self.log_scales:
            total = total + scale.sum(dim=(1, 2))
        return total + sum(self.log_dets)


class Flow(nn.Module):
    """wav (B, T) <-> z (B, G, L), given a condition (B, D, T / stride)."""

    def __init__(self, config: FlowConfig, condition_channels: int, stride: int, speaker_size: int = 0) -> None:
        """stride: samples that one column of the condition stands for, 1 for cond "group"."""
        super().__init__()
        self.config = config
        self.hold = hold = 1 if config.cond == "group" else stride // config.subframes
        if (config.cond == "group") != (stride == 1) or (hold * config.subframes != stride and stride > 1):
            raise ValueError(f"flow.cond is {config.cond}, the condition has a column every {stride} samples")
        if config.cond == "frame" and hold % config.group:
            raise ValueError(f"{hold} samples of one condition; expected a multiple of flow.group {config.group}")
        self.prenet = Prenet(condition_channels, config.prenet, config.subframes) if config.prenet else None
        width = config.prenet or condition_channels * (config.group if config.cond == "group" else 1)
        norm = weight_norm if config.weight_norm else _as_it_is
        make = {"dense": Mixing, "lu": TriangularMixing}[config.mixing]
        self.mixings = nn.ModuleList(make(channels) for channels in config.widths)
        self.couplings = nn.ModuleList(
            WN(channels // 2, config.channels, config.layers, config.kernel, config.weight_norm)
            for channels in config.widths
        )
        projected = 2 * config.channels * config.layers
        self.conditions = nn.ModuleList(norm(nn.Linear(width, projected)) for _ in config.widths)
        self.films = nn.ModuleList(Film(width, channels) for channels in config.widths) if config.film else None
        self.speakers = nn.ModuleList(
            nn.Linear(speaker_size, projected, bias=False) for _ in config.widths if speaker_size
        )

    @property
    def context(self) -> int:
        """Samples on either side that an output sample depends on."""
        couplings = sum(wn.context for wn in self.couplings if isinstance(wn, WN)) * self.config.group
        return couplings + 4 * self.hold * self.config.subframes

    def forward(self, wav: Tensor, condition: Tensor, speaker: Tensor | None = None) -> Flowed:
        """wav (B, T), T a multiple of G; condition (B, D, T / stride); speaker (B, S) where the flow has one."""
        x = wav.unflatten(1, (-1, self.config.group))
        columns = self._columns(condition)
        early: list[Tensor] = []
        log_scales: list[Tensor] = []
        log_dets: list[Tensor] = []
        for k in range(self.config.flows):
            if self._leaves(k):
                early.append(x[..., : self.config.early_size])
                x = x[..., self.config.early_size :]
            matrix, log_det = self.mixings[k].matrix()  # type: ignore[operator]
            with torch.autocast(x.device.type, enabled=False):
                x = x @ matrix.T
            log_dets.append(log_det * x.shape[1])
            kept, moved = self._halves(x, k)
            shift, log_scale = self._tell(k, kept, columns, speaker)
            x = self._whole(kept, moved * log_scale.exp() + shift, k)
            log_scales.append(log_scale)
            if self.films is not None:
                shift, log_scale = self._film(k, columns, x.shape[1])
                x = x * log_scale.exp() + shift
                log_scales.append(log_scale)
        z = torch.cat([*early, x], dim=-1).transpose(1, 2)
        return Flowed(z, log_scales, log_dets)

    def inverse(self, z: Tensor, condition: Tensor, speaker: Tensor | None = None) -> Tensor:
        """The wave (B, T) whose `forward` is z (B, G, L)."""
        columns = self._columns(condition)
        rest = z.transpose(1, 2)
        size = self.config.early_size
        leaving = [k for k in range(self.config.flows) if self._leaves(k)]
        early = list(rest[..., : size * len(leaving)].split(size, dim=-1)) if leaving else []
        x = rest[..., size * len(leaving) :]
        for k in reversed(range(self.config.flows)):
            if self.films is not None:
                shift, log_scale = self._film(k, columns, x.shape[1])
                x = (x - shift) * (-log_scale).exp()
            kept, moved = self._halves(x, k)
            shift, log_scale = self._tell(k, kept, columns, speaker)
            x = self._whole(kept, (moved - shift) * (-log_scale).exp(), k)
            inverse = torch.linalg.inv(self.mixings[k].matrix()[0].double()).to(x.dtype)  # type: ignore[operator]
            with torch.autocast(x.device.type, enabled=False):
                x = x @ inverse.T
            if self._leaves(k):
                x = torch.cat([early.pop(), x], dim=-1)
        return x.flatten(1)

    def _leaves(self, k: int) -> bool:
        return k > 0 and k % self.config.early_every == 0 and self.config.early_size > 0

    def _halves(self, x: Tensor, k: int) -> tuple[Tensor, Tensor]:
        first, second = x.chunk(2, dim=-1)
        return (second, first) if self.config.swap_odd and k % 2 else (first, second)

    def _whole(self, kept: Tensor, moved: Tensor, k: int) -> Tensor:
        return torch.cat([moved, kept] if self.config.swap_odd and k % 2 else [kept, moved], dim=-1)

    def _columns(self, condition: Tensor) -> Tensor:
        """(B, N, width): the condition as the couplings read it, once a frame or folded to once a column of x."""
        if self.prenet is not None:
            result: Tensor = self.prenet(condition)
            return result
        if self.config.cond == "group":  # channel d, sample phase g -> d * G + g
            return condition.unflatten(2, (-1, self.config.group)).permute(0, 2, 1, 3).flatten(2)
        return condition.transpose(1, 2)

    def _tell(self, k: int, kept: Tensor, columns: Tensor, speaker: Tensor | None) -> tuple[Tensor, Tensor]:
        """Shift and log-scale (B, L, h) of the half that moves, both float32 (or wider) whatever WN computes in."""
        told = self.conditions[k](columns)
        if self.speakers and speaker is not None:
            told = told + self.speakers[k](speaker)[:, None]
        shift, raw = self.couplings[k](kept, told.unflatten(2, (self.config.layers, -1)))
        return shift.to(kept.dtype), self._bounded(raw.to(kept.dtype))

    def _film(self, k: int, columns: Tensor, length: int) -> tuple[Tensor, Tensor]:
        """Shift and log-scale (B, L, ch) of all channels."""
        assert self.films is not None
        with torch.autocast(columns.device.type, enabled=False):
            shift, raw = self.films[k](columns.float() if columns.dtype != torch.float64 else columns)
            each = length // columns.shape[1]
            return shift.repeat_interleave(each, 1), self._bounded(raw).repeat_interleave(each, 1)

    def _bounded(self, raw: Tensor) -> Tensor:
        bound = self.config.log_scale_bound
        return bound * torch.tanh(raw / bound) if bound else raw


class Prenet(nn.Module):
    """condition (B, D, N) -> (B, N * subframes, width): two convolutions over the frames, interpolated between."""

    def __init__(self, channels: int, width: int, subframes: int) -> None:
        super().__init__()
        self.subframes = subframes
        self.first = nn.Conv1d(channels, width, 5, padding=2)
        self.second = nn.Conv1d(width, width, 5, padding=2)

    def forward(self, condition: Tensor) -> Tensor:
        """(B, D, N) -> (B, N * subframes, width)."""
        hidden = F.gelu(self.first(condition))
        if self.subframes > 1:
            hidden = F.interpolate(hidden, scale_factor=self.subframes, mode="linear", align_corners=False)
        return F.gelu(self.second(hidden)).transpose(1, 2)


class Film(nn.Module):
    """columns (B, N, width) -> shift and raw log-scale (B, N, ch); zero until trained."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.project = nn.Conv1d(width, 2 * channels, 3, padding=1)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)  # type: ignore[arg-type]

    def forward(self, columns: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N, width) -> shift, raw log-scale (B, N, ch)."""
        shift, raw = self.project(columns.transpose(1, 2)).transpose(1, 2).chunk(2, dim=-1)
        return shift, raw
