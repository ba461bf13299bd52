"""Codec: a mel as a few codes a second, and back into a mel, in the voice of whoever is named.

    mel (B, M, F) -> by mean and deviation of each band -> conv 5 -> stride r -> conv layers -> (B, D, N) -> codes
    codes, speaker -> conv layers at N -> r frames a code -> conv layers at F -> mel (B, M, F)

Encoder and decoder are vocoder_core.mel_codec's, which says why they convert. What the decoder says is a mel, as the
flow hears others.
"""

from __future__ import annotations

from math import log2

from torch import Tensor

from vocoder_core.mel import MelConfig
from vocoder_core.mel_codec import Decoder, Encoder, envelope
from vocoder_core.mel_codec.perturb import drop, factors, jitter, stretch
from vocoder_core.vq import Quantizer, QuantizerConfig, quantizer

from .condition import Condition, ConditionConfig, Conditioned, drawn


class Codec(Condition):
    """See the file. `channels` are the mel's bands, `stride` its hop."""

    quantizer: Quantizer
    smooth: Tensor

    def __init__(self, config: ConditionConfig, mel: MelConfig, codes: QuantizerConfig, speaker_size: int = 0) -> None:
        super().__init__()
        self.config, self.channels, self.stride = config, mel.n_mels, mel.hop_length
        self.quantizer = quantizer(codes)
        self.encoder = Encoder(
            mel.n_mels, codes.dim, channels=config.channels, frames_per_code=config.frames_per_code,
            layers=config.encoder_layers, instance_norm=config.instance_norm,
        )  # fmt: skip
        self.decoder = Decoder(
            mel, codes.dim, channels=config.channels, frames_per_code=config.frames_per_code,
            coarse_layers=config.decoder_layers, fine_layers=config.fine_layers, speaker_size=speaker_size,
        )  # fmt: skip
        self.code_rate = mel.sample_rate / mel.hop_length / config.frames_per_code
        self.bits = self.code_rate * log2(self.quantizer.size)
        self.register_buffer("smooth", envelope(mel.n_mels), persistent=False)

    def forward(self, mel: Tensor, wav: Tensor, speaker: Tensor | None, seed: int | None) -> Conditioned:
        """Codes of a perturbed mel, decoded towards the mel itself."""
        config, draw = self.config, drawn(seed, mel)
        heard = mel
        if draw is not None and config.stretch:
            heard = stretch(mel, factors(len(mel), config.stretch, draw))
        seen = self.quantizer(self.encoder(heard))
        vectors = seen.quantized
        if draw is not None and config.jitter:
            vectors = jitter(vectors, config.jitter, draw)
        if draw is not None and config.dropout:
            vectors = drop(vectors, config.dropout, draw)
        decoded = self.decoder(vectors, speaker)[:, :, : mel.shape[2]]
        error = decoded - mel
        losses = dict(seen.losses)
        if config.objective != "flow":
            losses["mel"] = config.mel_weight * error.abs().mean()
            losses["envelope"] = config.envelope_weight * (self.smooth @ error).abs().mean()
        return Conditioned(decoded, losses, {**seen.stats, "mel_l1": error.detach().abs().mean()})

    def of_mel(self, mel: Tensor) -> Tensor:
        """The mel itself."""
        return mel

    def encode(self, mel: Tensor, wav: Tensor | None = None) -> Tensor:
        """Codes (B, ceil(F / frames_per_code)) of mels (B, M, F)."""
        return self.quantizer.encode(self.encoder(mel))

    def decode(self, codes: Tensor, speaker: Tensor | None = None, frames: int | None = None) -> Tensor:
        """Mels (B, M, F) of codes (B, N) said by speakers (B, S); F = frames, or N * frames_per_code."""
        return self.decoder(self.quantizer.decode(codes), speaker)[:, :, :frames]
