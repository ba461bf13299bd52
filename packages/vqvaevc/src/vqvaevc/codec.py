"""Codec: speech as a few codes a second and a pitch track, and both as a mel in the voice of whoever is named.

    wav -> mel -> Encoder -> quantiser ----------------------> Decoder -> mel estimate: frames for the decoder of speech
     `---> pitch -> numbers (6 bits a frame) -> target's pitch ---^          ^--- who speaks

Encoder and decoder are vocoder_core.mel_codec's, which says why they convert. Codes need not say how high the voice is,
because the decoder is told by itself: as what a pulse train of that pitch looks like in the mel, less its envelope, and
as a number. A voice that is converted keeps its melody and gets the target's range: log F0 less the mean of what is
said, by its deviation, times the target's deviation plus the target's mean, both of the target's training speech.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from vocoder_core.mel import MelConfig, filterbank, log_mel
from vocoder_core.mel_codec import Decoder, Encoder, envelope
from vocoder_core.mel_codec.perturb import drop, factors, jitter, stretch
from vocoder_core.pitch import LEVELS, PitchConfig, height, lags, moved, numbers, smoothed, voice
from vocoder_core.vq import QuantizerConfig, quantizer

from .condition import Conditioned, EncoderConfig, Frames, Pitch, drawn
from .labels import LabelConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vocoder_core.corpus import Corpus

FINER = 4  # rows of the table of harmonics for each number of pitch
VOICE_SECONDS = 60  # of a speaker's training speech, whose pitch is taken for his


@dataclass(frozen=True)
class Decoded:
    """A training pass: mels (B, M, F), losses with their weights in them, figures."""

    mel: Tensor
    losses: dict[str, Tensor] = field(default_factory=dict)
    stats: dict[str, Tensor] = field(default_factory=dict)


class Codec(Frames):
    """See the file. `voices` (speakers, 2): mean and deviation of each one's log F0; 0: not known, and left alone."""

    voices: Tensor
    smooth: Tensor
    combs: Tensor

    def __init__(
        self, config: EncoderConfig, mel: MelConfig, codes: QuantizerConfig, labels: LabelConfig, speaker_size: int,
        speakers: int,
    ) -> None:  # fmt: skip
        super().__init__(mel, labels)
        self.config, self.range = config, PitchConfig()
        self.code_hop = config.frames_per_code * mel.hop_length
        self.quantizer = quantizer(codes)
        self.encoder = Encoder(
            mel.n_mels, codes.dim, channels=config.channels, frames_per_code=config.frames_per_code,
            layers=config.encoder_layers,
        )  # fmt: skip
        self.decoder = Decoder(
            mel, codes.dim, channels=config.channels, frames_per_code=config.frames_per_code,
            coarse_layers=config.layers, fine_layers=config.fine_layers, speaker_size=speaker_size,
            side=mel.n_mels + 2 if labels.pitch else 0,
        )  # fmt: skip
        self.register_buffer("voices", torch.zeros(speakers, 2))
        self.register_buffer("smooth", envelope(mel.n_mels), persistent=False)
        self.register_buffer("combs", harmonics(mel, self.range), persistent=False)

    def forward(self, wav: Tensor, heard: Tensor, at: int, speaker: Tensor | None, seed: int | None) -> Conditioned:
        """See the base: of waves (B, T), whose codes are of the whole crop."""
        mel, pitch = log_mel(wav, self.mel), self.pitch(wav)
        made = self.decoded(mel, pitch, speaker, seed)
        if self.config.objective == "mel":
            return Conditioned(losses=made.losses, stats=made.stats)
        heard_as = made.mel.detach()
        if seed is not None and self.config.direct:
            rows = torch.rand(len(mel), 1, 1, generator=drawn(seed, mel), device=mel.device) < self.config.direct
            heard_as = torch.where(rows, mel, heard_as)
        told = self.told(heard_as, pitch)
        return replace(told, losses=made.losses, stats=made.stats)

    def decoded(self, mel: Tensor, pitch: Pitch | None, speaker: Tensor | None, seed: int | None) -> Decoded:
        """Mels (B, M, F) and pitch as codes and back: a training pass, whose randomness is the seed's; None: none."""
        config, codes = self.config, self.quantizer
        assert codes is not None
        if config.objective == "speech":  # the codec is as it is
            with torch.no_grad():
                vectors = codes.decode(codes.encode(self.encoder(mel)))
                made = self.decoder(vectors, speaker, self.side(pitch))[:, :, : mel.shape[2]]
            return Decoded(made, stats={"mel_l1": (made - mel).abs().mean()})
        draw, heard = None if seed is None else drawn(seed, mel), mel
        if draw is not None and config.stretch:
            heard = stretch(mel, factors(len(mel), config.stretch, draw))
        seen = codes(self.encoder(heard))
        vectors = seen.quantized
        if draw is not None and config.jitter:
            vectors = jitter(vectors, config.jitter, draw)
        if draw is not None and config.dropout:
            vectors = drop(vectors, config.dropout, draw)
        made = self.decoder(vectors, speaker, self.side(pitch))[:, :, : mel.shape[2]]
        error = made - mel
        losses = {
            **seen.losses,
            "mel": config.mel_weight * error.abs().mean(),
            "envelope": config.envelope_weight * (self.smooth @ error).abs().mean(),
        }
        return Decoded(made, losses, {**seen.stats, "mel_l1": error.detach().abs().mean()})

    def pitch(self, wav: Tensor) -> Pitch | None:
        """The pitch track of waves (B, T) as decoding will hear it: by its numbers, smoothed."""
        seen = super().pitch(wav)
        if seen is None:
            return None
        lag, voicing = lags(numbers(*seen, self.mel.sample_rate, self.range), self.mel.sample_rate, self.range)
        return smoothed(lag), voicing

    def side(self, pitch: Pitch | None) -> Tensor | None:
        """What the mel decoder is told of lags and voicing (B, F): (B, M + 2, F), all 0 where there is no voice."""
        if pitch is None:
            return None
        up = height(pitch[0], self.mel.sample_rate, self.range)  # 0 lowest to 1 highest
        place = (up * (len(self.combs) - 1)).round().long()
        told = torch.cat([self.combs[place], 4 * up[..., None] - 2, torch.ones_like(up)[..., None]], dim=-1)
        return (told * pitch[1][..., None]).transpose(1, 2)

    def encode(self, wav: Tensor) -> tuple[Tensor, Tensor | None]:
        """Codes (B, ceil(F / frames_per_code)) int64 of waves (B, F * hop_length), and pitch (B, F) in numbers."""
        assert self.quantizer is not None
        seen = super().pitch(wav)
        pitch = None if seen is None else numbers(*seen, self.mel.sample_rate, self.range)
        return self.quantizer.encode(self.encoder(log_mel(wav, self.mel))), pitch

    def decode(
        self, codes: Tensor, pitch: Tensor | None, speaker: Tensor | None, voice_of: Tensor | None = None
    ) -> Conditioned:
        """What the decoder of speech is told of codes (B, N) and numbers of pitch (B, F), said by speakers (B, S).

        voice_of (B, 2): rows of `voices` into whose range the pitch is moved; None: it stays. Without pitch, F is
        N * frames_per_code.
        """
        assert self.quantizer is not None
        told, frames = None, codes.shape[1] * self.config.frames_per_code
        if pitch is not None:
            frames = pitch.shape[1]
            lag, voicing = lags(pitch, self.mel.sample_rate, self.range)
            if voice_of is not None:
                lag = moved(lag, voicing, voice_of, self.mel.sample_rate, self.range)
            told = smoothed(lag), voicing
        return self.told(self.decoder(self.quantizer.decode(codes), speaker, self.side(told))[:, :, :frames], told)

    @torch.no_grad()
    def learn_voices(self, corpus: Corpus, names: Sequence[str]) -> None:
        """Take mean and deviation of log F0 of each of the model's speakers from the training speech."""
        for place, name in enumerate(names):
            samples, seen = 0, []
            for entry in corpus.split("train"):
                if entry.speaker == name and samples < VOICE_SECONDS * self.mel.sample_rate:
                    samples += entry.samples
                    seen.append(super().pitch(torch.from_numpy(corpus.wav(entry))[None].to(self.voices)))
            if seen and seen[0] is not None:
                lag, voicing = (torch.cat([each[k] for each in seen if each is not None], dim=1) for k in (0, 1))
                self.voices[place] = voice(lag, voicing, self.mel.sample_rate)[0]


def harmonics(mel: MelConfig, pitch: PitchConfig) -> Tensor:
    """What pulse trains look like in a log-mel (nat), less their envelope: (L, M), the lowest first, even in log F0."""
    count = FINER * (LEVELS - 1) + 1
    hertz = pitch.lowest_hz * (pitch.highest_hz / pitch.lowest_hz) ** np.linspace(0, 1, count)
    bins = np.arange(mel.n_fft // 2 + 1) * mel.sample_rate / mel.n_fft
    width = mel.sample_rate / mel.win_length
    bank, rows = filterbank(mel), []
    for f0 in hertz:
        away = (bins[:, None] - f0 * np.arange(1, int(mel.sample_rate / 2 / f0) + 1)) / width
        outside = np.where(np.abs(np.abs(away) - 1) < 1e-6, 1e-6, 1 - away**2)
        lobe = np.where(np.abs(away) < 2, np.sinc(away) / outside, 0.0)  # the main lobe of a Hann window
        power = np.square(np.where(np.abs(np.abs(away) - 1) < 1e-6, 0.5, lobe)).sum(1)
        rows.append(np.log(bank @ np.sqrt(power) + 1e-3))
    comb = torch.tensor(np.array(rows), dtype=torch.float32)
    return comb - comb @ envelope(mel.n_mels)
