"""The table of vocoders: for each, how a tiny one is built and fed. test_conformance.py asks the same of all of them.

A new vocoder adds one entry. Sizes are so small that the whole suite takes seconds: hop 20, at most 200 samples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rnnms import RNNMS, RNNMSConfig
from samplernn_pase import SampleRNNPASE, SampleRNNPASEConfig
from samplernn_pase.labels import LabelConfig as SampleLabelConfig
from samplernn_pase.speaker import SpeakerConfig
from specgrad import SpecGrad, SpecGradConfig
from specgrad.diffwave import DiffWaveConfig
from specgrad.shaping import ShapingConfig
from specgrad.stft import StftConfig
from vocoder_core.mel import MelConfig
from vocoder_core.vocoder import Vocoder
from vocoder_core.vq import QuantizerConfig
from vqvaevc import VQVAEVC, VQVAEVCConfig
from vqvaevc.condition import EncoderConfig
from vqvaevc.labels import LabelConfig
from vqvaevc.overtone import OvertoneConfig
from waveglow_vq import WaveGlowVQ, WaveGlowVQConfig
from waveglow_vq.condition import ConditionConfig
from waveglow_vq.flow import FlowConfig
from waveglow_vq.periodicity import PeriodicityConfig
from waveglow_vq.whiten import WhitenConfig

MEL = MelConfig(n_fft=128, win_length=80, hop_length=20, n_mels=8)


@dataclass(frozen=True)
class Case:
    """One vocoder of the table."""

    name: str  # its distribution, and the stem of its commands
    vocoder: type[Vocoder]
    config: Any
    inputs: Callable[[Any, Tensor, Tensor], dict[str, Tensor]]  # (model, mel, wav) -> arguments of forward
    output: Callable[[Any, dict[str, Tensor]], Tensor]  # (model, inputs) -> what forward predicts, batch first
    loss: Callable[[Any, dict[str, Tensor], Tensor], Tensor]  # (model, inputs, wav) -> scalar
    overfit: tuple[int, float, float]  # steps, learning rate, the factor by which the loss of one batch falls at least
    rounding: float = 0.0  # by which a row of a batch may differ from itself alone; none where samples are drawn
    start: Callable[[Any], None] = lambda model: None  # moves weights that begin at zero
    told: dict[str, Any] = field(default_factory=dict)  # what `synthesize` needs beside the mel
    synthesize: Callable[..., Tensor] = lambda model, mel, **told: model.synthesize(mel, **told)  # or what hears a wave


def rnnms_inputs(model: RNNMS, mel: Tensor, wav: Tensor) -> dict[str, Tensor]:
    """The mel and the codes before the predicted ones."""
    codes = model.labels(wav)
    first = torch.full_like(codes[:, :1], 2 ** (model.config.bits - 1))
    return {"mel": mel, "codes": torch.cat([first, codes[:, :-1]], dim=1)}


def rnnms_loss(model: RNNMS, inputs: dict[str, Tensor], wav: Tensor) -> Tensor:
    """Cross-entropy of the next code, nats per sample."""
    return F.cross_entropy(model(**inputs)[0].flatten(0, 1), model.labels(wav).flatten())


def specgrad_inputs(model: SpecGrad, mel: Tensor, wav: Tensor) -> dict[str, Tensor]:
    """The mel, the clean wave, noise, a place between the two for each row, and who speaks if that is asked."""
    draw = torch.Generator().manual_seed(2)
    white = torch.randn(wav.shape, generator=draw)
    who = {"speaker": torch.arange(len(wav)) % len(model.speakers.names)} if model.speakers else {}
    return {"mel": mel, "wav": wav, "white": white, "uniform": torch.rand(len(wav), generator=draw), **who}


def specgrad_loss(model: SpecGrad, inputs: dict[str, Tensor], wav: Tensor) -> Tensor:
    """What specgrad-train minimises."""
    return model.loss(model(**inputs))["loss"]


def moved_from_zero(model: torch.nn.Module) -> None:
    """Last layers begin at zero."""
    draw = torch.Generator().manual_seed(3)
    for parameter in model.parameters():
        if not parameter.any():
            parameter.data = 0.1 * torch.randn(parameter.shape, generator=draw)


def specgrad_case(name: str, config: SpecGradConfig, overfit: tuple[int, float, float]) -> Case:
    """One of its processes and networks."""
    return Case(
        name=name,
        vocoder=SpecGrad,
        config=config,
        inputs=specgrad_inputs,
        output=lambda model, inputs: model(**inputs).estimate,
        loss=specgrad_loss,
        overfit=overfit,
        rounding=1e-4,  # BLAS sums in another order; nothing is drawn from what it sums
        start=moved_from_zero,
        told={"speaker": config.speakers[0]} if config.speakers else {},
    )


def waveglow_inputs(model: WaveGlowVQ, mel: Tensor, wav: Tensor) -> dict[str, Tensor]:
    """The wave, its mel, what dequantises it, and who speaks if that is asked."""
    noise = torch.rand(wav.shape, generator=torch.Generator().manual_seed(2)) - 0.5
    who = {"speaker": torch.arange(len(wav)) % len(model.speakers.names)} if model.speakers else {}
    return {"wav": wav, "mel": mel, "noise": noise, **who}


def waveglow_case(name: str, **config: Any) -> Case:
    """One of its conditions."""
    small = {"group": 4, "flows": 4, "layers": 2, "channels": 16, "early_every": 2, "early_size": 2, "subframes": 1}
    flow = FlowConfig(**small, **config.pop("flow", {"prenet": 8}))
    own = WaveGlowVQConfig(**{"mel": MEL, "flow": flow, "whiten": WhitenConfig(8, 20), "periodicity": LAGS, **config})
    return Case(
        name=name,
        vocoder=WaveGlowVQ,
        config=own,
        inputs=waveglow_inputs,
        output=lambda model, inputs: model(**inputs).flowed.z,
        loss=lambda model, inputs, wav: model.loss(model(**inputs))["loss"],
        overfit=(60, 1e-2, 3.0),
        rounding=1e-4,  # BLAS sums in another order
        start=moved_from_zero,
        told={"speaker": own.speakers[0]} if own.speakers else {},
    )


def wave_of(mel: Tensor, samples: int, hop: int) -> Tensor:
    """A wave (B, samples) that a mel (B, M, F) decides: how high its tones are."""
    pitch = 0.1 + 0.1 * mel.mean(1).sigmoid()
    pitch = pitch[:, torch.arange(samples).div(hop, rounding_mode="floor") % mel.shape[2]]
    return 0.3 * torch.sin(pitch.cumsum(1)) + 0.3 * torch.sin(3.7 * pitch.cumsum(1))


def vqvaevc_inputs(model: VQVAEVC, mel: Tensor, wav: Tensor) -> dict[str, Tensor]:
    """The wave between a past and a future, which is all that hears the mel; and who speaks, if that is asked."""
    left, right = model.reach
    past = torch.zeros(len(wav), -(-left // 64) * 64)
    whole = torch.cat([past, wav, wave_of(mel, -(-right // 64) * 64, model.config.mel.hop_length)], dim=1)
    who = {"speaker": torch.arange(len(wav)) % len(model.speakers.names)} if model.speakers else {}
    return {"wav": whole, "heard": whole, **who}


def vqvaevc_pass(model: VQVAEVC, inputs: dict[str, Tensor]) -> Any:
    """The training pass of the samples between past and future."""
    left, right = (-(-side // 64) * 64 for side in model.reach)
    return model(**inputs, at=left, samples=inputs["wav"].shape[1] - left - right)


def vqvaevc_says(model: VQVAEVC, mel: Tensor, **told: Any) -> Tensor:
    """What a model of waves makes of the wave that a mel decides."""
    batch, hop = model.checked(mel), model.config.mel.hop_length
    return model.infer(wave_of(batch, batch.shape[2] * hop, hop), **told)


def louder_inside(model: torch.nn.Module) -> None:
    """Codes of an encoder as it is drawn are hardly moved by what it hears."""
    for name, parameter in model.named_parameters():
        if "encoder" in name and parameter.dim() > 1:
            parameter.data *= 3


def vqvaevc_case(name: str, source: str, **config: Any) -> Case:
    """One of its sources of codes, or the mel itself."""
    mel = replace(MEL, hop_length=64)
    encoder = EncoderConfig(source=source, channels=16, frames_per_code=1, layers=1, fine_layers=1)
    overtone = OvertoneConfig(conv=8, rnn=16, hidden=32, linear=16, speaker=source == "wave")
    # of a computed mel a prediction differs in its last bit in a batch, and may turn one of the codes that are told
    labels = {"wave": LabelConfig(), "codec": LabelConfig(kind="mulaw", embedding=8)}.get(
        source, LabelConfig(kind="mulaw", order=8, pitch=True, embedding=8)
    )
    own = VQVAEVCConfig(mel=mel, encoder=encoder, overtone=overtone, labels=labels, **config)
    hears = {"synthesize": vqvaevc_says} if source == "wave" else {}
    return Case(
        name=name,
        vocoder=VQVAEVC,
        config=own,
        inputs=vqvaevc_inputs,
        output=lambda model, inputs: torch.cat(vqvaevc_pass(model, inputs).logits, dim=2),
        loss=lambda model, inputs, wav: model.loss(vqvaevc_pass(model, inputs))["loss"],
        overfit=(60, 3e-2, 2.0),
        start=louder_inside,
        told={"backend": "torch"} | ({"speaker": own.speakers[0]} if source == "wave" else {}),
        **hears,
    )


def samplernn_inputs(model: SampleRNNPASE, mel: Tensor, wav: Tensor) -> dict[str, Tensor]:
    """Silence before the wave, the mel around it, a pitch and who speaks, if they are asked for."""
    before, after = model.context
    content = F.pad(mel, (before, after), mode="replicate").transpose(1, 2)
    told = {"wav": F.pad(wav, (before * model.config.mel.hop_length, 0)), "content": content}
    if model.config.labels.pitch:
        told["pitch"] = torch.tensor([30.0, 0.8]).expand(len(wav), before + mel.shape[2], 2)
    who = {"speaker": torch.arange(len(wav)) % len(model.config.speakers)} if model.config.speakers else {}
    return told | who


def samplernn_case(name: str, **config: Any) -> Case:
    """One of its labels."""
    small = {"mel": MEL, "ratios": (5, 4), "hidden_size": 24, "embedding_size": 8, "conds_size": 12}
    own = SampleRNNPASEConfig(**small, **config)
    return Case(
        name=name,
        vocoder=SampleRNNPASE,
        config=own,
        inputs=samplernn_inputs,
        output=lambda model, inputs: model(**inputs).logits,
        loss=lambda model, inputs, wav: model.loss(model(**inputs))["loss"],
        overfit=(60, 2e-2, 2.0),
        start=moved_from_zero,
        told={"backend": "torch"} | ({"speaker": own.speakers[0]} if own.speakers else {}),
    )


LAGS = PeriodicityConfig(envelopes=1, width=4, block=20)
PLAIN = {"whiten": WhitenConfig(order=0), "periodicity": PeriodicityConfig(envelopes=0)}
CASES = [
    Case(
        name="rnnms",
        vocoder=RNNMS,
        config=RNNMSConfig(mel=MEL, bits=8, encoder_size=8, embedding_size=16, hidden_size=32, linear_size=32),
        inputs=rnnms_inputs,
        output=lambda model, inputs: model(**inputs)[0],
        loss=rnnms_loss,
        overfit=(80, 1e-2, 3.0),
    ),
    samplernn_case(
        "samplernn-pase",
        labels=SampleLabelConfig(order=8, pitch=True),
        speaker=SpeakerConfig(provider="none"),
        combine="add",
        weight_norm=False,
    ),
    samplernn_case(
        "samplernn-pase, as published",
        labels=SampleLabelConfig(codec="seed"),
        speaker=SpeakerConfig(size=4),
        speakers=("one", "other"),
    ),
    specgrad_case(
        "specgrad",
        SpecGradConfig(mel=MEL, stft=StftConfig(channels=16, layers=2, encoder_layers=1)),
        overfit=(60, 1e-3, 3.0),
    ),
    specgrad_case(
        "specgrad, diffusion",
        SpecGradConfig(
            mel=MEL,
            process="diffusion",
            network="diffwave",
            shaping=ShapingConfig(),
            diffwave=DiffWaveConfig(channels=16, layers=4, cycle=4, embedding=16),
        ),
        overfit=(40, 1e-2, 3.0),
    ),
    specgrad_case(
        "specgrad, speakers",
        SpecGradConfig(
            mel=MEL,
            stft=StftConfig(channels=16, layers=2, encoder_layers=1),
            speaker_size=4,
            speakers=("one", "other"),
        ),
        overfit=(60, 1e-3, 3.0),
    ),
    vqvaevc_case("vqvaevc", "mel"),
    vqvaevc_case(
        "vqvaevc, codec",
        "codec",
        quantizer=QuantizerConfig(kind="ema", size=16, dim=4, restart=0),
        speakers=("one", "other"),
        speaker="learned",
        speaker_size=4,
    ),
    vqvaevc_case(
        "vqvaevc, codes of the wave",
        "wave",
        quantizer=QuantizerConfig(kind="sphere", size=16, dim=4),
        speakers=("one", "other"),
    ),
    waveglow_case("waveglow-vq"),
    waveglow_case(
        "waveglow-vq, as published",
        flow={"cond": "group", "prenet": 0, "film": False, "log_scale_bound": 0},
        condition=ConditionConfig(upsampler="nvidia"),
        **PLAIN,
    ),
    waveglow_case(
        "waveglow-vq, codes",
        # without instance norm, which does not hear how loud a mel is
        condition=ConditionConfig(
            "codes",
            frames_per_code=1,
            channels=16,
            encoder_layers=1,
            decoder_layers=1,
            fine_layers=1,
            instance_norm=False,
        ),
        quantizer=QuantizerConfig(size=8, dim=4, restart=0),
        speakers=("one", "other"),
        speaker_size=4,
    ),
]
