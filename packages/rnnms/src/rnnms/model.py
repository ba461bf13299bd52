"""RNN_MS: mel spectrogram in, speech out, one mu-law sample at a time.

Lorenzo-Trueba et al. 2019, "Towards achieving robust universal neural vocoding" (arXiv 1811.06292), as bshall and
tarepan reimplemented it (MIT): 6,478,080 parameters by default.

    mel (B, M, F) -> bi-GRU x 2 -> latents (B, F, 2C) -> each repeated hop_length times --+
                                                                                          v
    codes x[t-1] (B, T) -> embedding --------------------------------------------> GRU -> ReLU(fc1) -> fc2 -> p(x[t])

Written from the description; the originals' networks with the same weights are the test oracles.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vocoder_core import mulaw
from vocoder_core.mel import MelConfig
from vocoder_core.recurrent import recurrence
from vocoder_core.recurrent.streams import Backend
from vocoder_core.streaming.pieces import InMemory, Source
from vocoder_core.vocoder import Vocoder

from . import speaking
from .ahead import LOOK_AHEAD, encoded


@dataclass(frozen=True)
class RNNMSConfig:
    """Sizes and label format. Defaults are the paper's as the two public implementations have them.

    The network's label at sample t is mulaw(emphasis-filtered wave[t - delay]).
    """

    mel: MelConfig = field(default_factory=MelConfig)
    bits: int = 10  # mu-law: Q = 2^bits classes
    codec: mulaw.Codec = "round"  # "librosa", "midpoint": labels of univoc's checkpoints
    encoder_size: int = 128  # C, per direction
    embedding_size: int = 256  # E
    hidden_size: int = 896  # H
    linear_size: int = 1024
    delay: int = 0  # samples the labels lag the mel: 400 in univoc's checkpoints (its padding, half a window)
    loudness: float = -24.0  # LUFS of the speech it learns from: what `rnnms-infer` brings a recording to
    emphasis: float = 0.0  # pre-emphasis of the labels; 0.85 hides 8-bit noise under the speech (LPCNet), paper: none

    def __post_init__(self) -> None:
        for name in ("encoder_size", "embedding_size", "hidden_size", "linear_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected at least 1")
        if not 6 <= self.bits <= 16:
            raise ValueError(f"bits is {self.bits}; expected 6 to 16")
        if not 0 <= self.emphasis < 1:
            raise ValueError(f"emphasis is {self.emphasis}; expected 0 to below 1")
        if self.delay % self.mel.hop_length or self.delay < 0:
            raise ValueError(f"delay is {self.delay}; expected a multiple of hop_length {self.mel.hop_length}")


class RNNMS(Vocoder):
    """The universal vocoder. `RNNMS.from_pretrained().synthesize(mel)` gives a wave."""

    config_class = RNNMSConfig
    config: RNNMSConfig

    def __init__(self, config: RNNMSConfig) -> None:
        super().__init__(config)
        self.encoder = nn.GRU(config.mel.n_mels, config.encoder_size, 2, batch_first=True, bidirectional=True)
        self.decoder = Decoder(config)

    def forward(self, mel: Tensor, codes: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Training pass: the logits of every next sample, given the true ones before it.

        mel: (B, M, F), with C = F - T / hop_length extra frames of context, half on either side.
        codes: (B, T) int64, the samples *before* the predicted ones; T a multiple of hop_length.
        state: (B, H), the decoder's state before the first sample; None: zeros.
        Returns logits (B, T, Q) and the state (B, H) after the last sample.
        """
        frames, hop = mel.shape[2], self.config.mel.hop_length
        used, odd = divmod(codes.shape[1], hop)
        if odd or used > frames or (frames - used) % 2:
            raise ValueError(
                f"forward got {codes.shape[1]} codes for {frames} frames; expected {frames} x {hop} = "
                f"{frames * hop}, or fewer by an even number of frames of context"
            )
        context = (frames - used) // 2
        latents = self.encode(mel)[:, context : context + used]
        result: tuple[Tensor, Tensor] = self.decoder(latents, codes, state)
        return result

    def encode(self, mel: Tensor) -> Tensor:
        """mel (B, M, F) -> latents (B, F, 2C)."""
        if not mel.shape[2]:  # torch's GRU refuses what has no length
            return mel.new_zeros(len(mel), 0, 2 * self.config.encoder_size)
        latents: Tensor = self.encoder(mel.transpose(1, 2))[0]
        return latents

    @torch.inference_mode()
    def synthesize(
        self,
        mel: Tensor,
        *,
        seed: int | Sequence[int] | None = None,
        temperature: float = 1.0,
        backend: Backend = "auto",
        progress: bool = False,
        folds: int = 1,
        look_ahead: int | None = None,
    ) -> Tensor:
        """Wave (B, F * hop_length), float32 in [-1, 1], of a mel (B, M, F) (or (F * hop_length,) of one (M, F)).

        seed: the same seed gives the same samples, alone or in a batch; a sequence gives each row its own; None: any.
        temperature: 1 samples the model's distribution, towards 0 it takes the likeliest sample.
        backend: "torch" is the reference loop, "numba" the exact fp32 kernel for CPUs, "graph" is for CUDA, "auto" the
        fastest of these.
        folds: an utterance as so many streams at once, cut where it is quiet (vocoder_core.recurrent.folds): several
        times as fast on a CPU; other samples than in one.
        look_ahead: frames that the encoder hears ahead, as `synthesize_stream` has it; None: to the end.
        """
        from .generate import generate_codes, generate_folded

        config = self.config
        batch = self.checked(mel)
        if look_ahead is not None:
            if folds != 1:
                raise ValueError(f"look_ahead is {look_ahead} with folds {folds}; expected one of them")
            wav = self._in_frames(batch, look_ahead, seed, temperature, backend)
            return wav if mel.dim() == 3 else wav[0]
        lag = config.delay // config.mel.hop_length
        # labels lag the mel: hold the last frame a little longer, then drop the samples before the first one
        held = F.pad(batch, (0, lag), mode="replicate") if lag and batch.shape[2] else batch
        # row by row: in a batch BLAS rounds otherwise, and the last bit of a latent can turn a sample, then all others
        latents = encoded(self.encoder, held)
        if folds == 1:
            wav = self.waves(generate_codes(self.decoder, latents, seed, temperature, backend, progress))
        else:
            wav = generate_folded(self, latents, held.mean(1), folds, seed, temperature, backend, progress)
        wav = wav[:, config.delay :].clamp(-1, 1)
        return wav if mel.dim() == 3 else wav[0]

    def synthesize_stream(
        self, mel_frames: Tensor | Iterable[Tensor] | Source, *, seed: int | None = None, temperature: float = 1.0,
        backend: Backend = "auto", look_ahead: int | None = LOOK_AHEAD,
    ) -> Iterator[Tensor]:  # fmt: skip
        """Waves (hop_length,), frame by frame, of a mel that is still coming: portions (M, f) of any f.

        A frame is said once look_ahead + 3 frames (ahead.py), and what the labels lag, have come behind it, or the end.
        The same samples as `synthesize` with the same seed and look_ahead, however the mel is cut. None hears to the
        end: of a mel (M, F), or of a Source, which is read several times but never held.
        """
        mel = InMemory(self.checked(mel_frames)[0]) if isinstance(mel_frames, Tensor) else mel_frames
        for wav in speaking.spoken(self, [mel], look_ahead, speaking.Sampling(seed, temperature, backend)):
            yield wav[0]

    def _in_frames(
        self, mel: Tensor, look_ahead: int, seed: int | Sequence[int] | None, temperature: float, backend: Backend
    ) -> Tensor:
        """Waves (B, F * hop_length) of mels (B, M, F), frame by frame."""
        how = speaking.Sampling(seed, temperature, backend)
        frames = list(speaking.spoken(self, [InMemory(row) for row in mel], look_ahead, how))
        return (
            torch.cat(frames, dim=1) if frames else mel.new_zeros(len(mel), mel.shape[2] * self.config.mel.hop_length)
        )

    def waves(self, codes: Tensor) -> Tensor:
        """Waves (B, T) of codes (B, T), their delay still in front."""
        return deemphasise(mulaw.decode(codes, self.config.bits, self.config.codec), self.config.emphasis)

    def labels(self, wav: Tensor) -> Tensor:
        """Codes (B, T) the network is to predict for a wave (B, T) in [-1, 1]."""
        late = F.pad(wav, (self.config.delay, 0))[:, : wav.shape[1]]
        return mulaw.encode(emphasise(late, self.config.emphasis), self.config.bits, self.config.codec)


class Decoder(nn.Module):
    """The autoregressive half: p(x[t] | x[<t], latents). Keys and sizes as in the original."""

    def __init__(self, config: RNNMSConfig) -> None:
        super().__init__()
        self.hop_length = config.mel.hop_length
        self.embedding = nn.Embedding(2**config.bits, config.embedding_size)
        self.rnn = nn.GRU(config.embedding_size + 2 * config.encoder_size, config.hidden_size, batch_first=True)
        self.fc1 = nn.Linear(config.hidden_size, config.linear_size)
        self.fc2 = nn.Linear(config.linear_size, 2**config.bits)

    def forward(self, latents: Tensor, codes: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """latents (B, F, 2C), codes (B, F * hop_length) -> logits (B, F * hop_length, Q), state (B, H)."""
        if state is None:
            state = latents.new_zeros(latents.shape[0], self.rnn.hidden_size)
        hidden = (
            self._hidden_folded(latents, codes, state)
            if codes.device.type == "cpu"
            else self._hidden_cudnn(latents, codes, state)
        )
        return self.fc2(F.relu(self.fc1(hidden))), hidden[:, -1]

    def _hidden_cudnn(self, latents: Tensor, codes: Tensor, state: Tensor) -> Tensor:
        conditions = latents.repeat_interleave(self.hop_length, dim=1)
        inputs = torch.cat([self.embedding(codes), conditions], dim=2)  # embedding first: the original's order
        hidden: Tensor = self.rnn(inputs, state[None])[0]
        return hidden

    def _hidden_folded(self, latents: Tensor, codes: Tensor, state: Tensor) -> Tensor:
        """The same hidden states; the input products once per class and per frame instead of once per sample."""
        table, conditions = self.folded(latents)
        weight, bias = self.rnn.get_parameter("weight_hh_l0"), self.rnn.get_parameter("bias_hh_l0")
        hidden = recurrence.gru_of_codes(table, codes.t(), conditions.transpose(0, 1), state, weight, bias)
        return hidden.transpose(0, 1)

    def folded(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Input gates split into a table per class (Q, 3H), biases included, and a part per frame (B, F, 3H)."""
        inputs, _, bias, _ = self.rnn.all_weights[0]
        size = self.embedding.embedding_dim
        own, conditioning = inputs[:, :size], inputs[:, size:]
        table = self.embedding.weight @ own.t() + bias
        return table, latents @ conditioning.t()


def emphasise(wav: Tensor, coefficient: float) -> Tensor:
    """y[t] = x[t] - c x[t-1], x[-1] = 0, along the last axis of (B, T)."""
    return wav - coefficient * F.pad(wav, (1, 0))[:, :-1] if coefficient else wav


def deemphasise(wav: Tensor, coefficient: float) -> Tensor:
    """x[t] = y[t] + c x[t-1] of (B, T): undoes `emphasise`, by its impulse response c^n down to 1e-9."""
    if not coefficient or not wav.shape[1]:
        return wav
    impulse = response(coefficient, wav.device)
    long = F.conv1d(F.pad(wav[:, None].double(), (len(impulse) - 1, 0)), impulse[None, None])
    return long[:, 0].to(wav.dtype)


def response(coefficient: float, device: torch.device) -> Tensor:
    """c^n down to 1e-9, the last one first."""
    taps = int(-20.7 / torch.tensor(coefficient).log()) + 1
    return coefficient ** torch.arange(taps - 1, -1, -1, dtype=torch.float64, device=device)
