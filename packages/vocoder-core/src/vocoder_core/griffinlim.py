"""Griffin-Lim: a wave from the same log-mel a vocoder reads, without any training. The baseline to beat.

    log-mel -> mel amplitudes -> non-negative spectrum -> fast Griffin-Lim phases -> undo pre-emphasis -> wav

Phases: D. Griffin & J. Lim 1984, with the momentum of Perraudin, Balazs & Søndergaard 2013 (alpha = 0.99).
Spectrum from mel: the multiplicative update of Lee & Seung 2001 for the Kullback-Leibler divergence, which fits loud
and quiet bands alike and never leaves the non-negative numbers. Own code; librosa.griffinlim is the test oracle.

Time: frame j's window begins `before` samples ahead of sample j * hop of the wave, so the iterations run on the padded
wave, and the padding is cut off at the end:

    |<- before ->|<------------- F * hop ------------->|<- after ->|
    |<-- n_fft, frame 0 -->|
         hop  ->|<-- n_fft, frame 1 -->|
"""

from __future__ import annotations

from math import ceil, log

import torch
import torch.nn.functional as F

from .mel import MelConfig, filterbank, preemphasise

MOMENTUM = 0.99
LEAST = 1e-6  # added to a given spectrum, in which a bin of 0 would stay 0
PIECE = 1536  # frames that `settled` works on at a time: 25 s at a hop of 256 and 16 kHz
MEL_UPDATES = 30  # after them the mel of the found spectrum is within 0.1 % of the wanted one


def griffin_lim(
    mel: torch.Tensor, config: MelConfig, iterations: int = 60, seed: int = 0, start: torch.Tensor | None = None
) -> torch.Tensor:
    """Wave of a log-mel spectrogram in any dialect of MelConfig.

    mel: (M, F) or (B, M, F) as `log_mel` gives it. Returns (F * hop,) or (B, F * hop) in [-1, 1], in the mel's dtype,
    on its device; the same for the same seed. start: a wave of that shape whose phases are the first ones, instead of
    random ones, and whose spectrum is kept as far as the mel leaves it free. Raises ValueError for another shape.
    """
    if mel.dim() not in (2, 3) or mel.shape[-2] != config.n_mels:
        bands = config.n_mels
        raise ValueError(f"griffin_lim got a mel of shape {tuple(mel.shape)}; expected ({bands}, F) or (B, {bands}, F)")
    if start is not None and start.shape != (*mel.shape[:-2], mel.shape[-1] * config.hop_length):
        raise ValueError(f"griffin_lim got a start of shape {tuple(start.shape)} for a mel of shape {tuple(mel.shape)}")
    batch = mel.detach() if mel.dim() == 3 else mel.detach()[None]
    if batch.shape[-1] == 0:
        return mel.new_zeros(*mel.shape[:-2], 0)
    if start is not None:
        start = start.reshape(len(batch), -1)
        start = preemphasise(start, config.preemphasis) if config.preemphasis else start
        own = _spectrum(start, batch.shape[-1], config).abs() + LEAST
    magnitude = spectrum_of_mel(batch, config, start=None if start is None else own)
    wav = wave_of_spectrum(magnitude, config, iterations, seed, start)
    if config.preemphasis:
        wav = undo_preemphasis(wav, config.preemphasis)
    wav = wav.clamp(-1, 1)
    return wav if mel.dim() == 3 else wav[0]


def settled(wav: torch.Tensor, mel: torch.Tensor, config: MelConfig, steps: int) -> torch.Tensor:
    """Waves (B, T) brought to their mels (B, M, F): magnitudes by the mel, phases at first the wave's own.

    Noise in a narrow band is louder here and softer there by chance; the mel knows how loud it was. steps 0: as it is.
    """
    if not steps:
        return wav
    context = (steps + 1) * -(-config.n_fft // config.hop_length)
    piece, hop, made = max(PIECE, 4 * context), config.hop_length, torch.empty_like(wav)
    for start in range(0, mel.shape[2], piece):
        first, end = max(0, start - context), min(mel.shape[2], start + piece)
        last = min(mel.shape[2], end + context)
        part = griffin_lim(mel[:, :, first:last], config, steps - 1, start=wav[:, first * hop : last * hop])
        made[:, start * hop : end * hop] = part[:, (start - first) * hop : (end - first) * hop]
    return made


def spectrum_of_mel(
    mel: torch.Tensor, config: MelConfig, updates: int = MEL_UPDATES, start: torch.Tensor | None = None
) -> torch.Tensor:
    """|STFT| (B, n_fft // 2 + 1, F) whose mel is nearest to log-mel (B, M, F); 0 in bins that no filter sees.

    start: a positive |STFT| to begin from, whose shape within bands is kept; None: the bands spread over their bins.
    """
    bands = _mel_amplitude(mel, config)
    filters = torch.from_numpy(filterbank(config)).to(bands)  # (M, bins)
    seen = filters.sum(0)[:, None]  # (bins, 1)
    if start is None:
        each = bands / filters.sum(1)[:, None].clamp(min=1e-12)
        spectrum = filters.T @ each / seen.clamp(min=1e-12)  # first guess: bands spread over their bins
    else:
        spectrum = start**config.power
    for _ in range(updates):
        ratio = bands / (filters @ spectrum).clamp(min=1e-12)
        spectrum = spectrum * (filters.T @ ratio) / seen.clamp(min=1e-12)
    return spectrum ** (1 / config.power)


def wave_of_spectrum(
    magnitude: torch.Tensor, config: MelConfig, iterations: int, seed: int, start: torch.Tensor | None = None
) -> torch.Tensor:
    """Wave (B, F * hop) whose |STFT| is near to magnitude (B, n_fft // 2 + 1, F), by fast Griffin-Lim.

    start (B, F * hop): a wave whose phases to begin from; None: random ones.
    """
    window = torch.hann_window(config.win_length, dtype=magnitude.dtype, device=magnitude.device)
    if start is None:
        generator = torch.Generator().manual_seed(seed)
        turns = torch.rand(magnitude.shape[1:], generator=generator, dtype=torch.float64)  # batch == single
        spectrum = torch.polar(magnitude, (2 * torch.pi * turns).to(magnitude).expand_as(magnitude))
    else:
        spectrum = torch.polar(magnitude, _spectrum(start, magnitude.shape[-1], config).angle())
    previous = torch.zeros_like(spectrum)
    for _ in range(iterations):
        consistent = _stft(_overlap_add(spectrum, window, config), window, config)
        ahead = consistent - MOMENTUM / (1 + MOMENTUM) * previous
        spectrum = magnitude * ahead / ahead.abs().clamp(min=1e-16)
        previous = consistent
    padded, before = _overlap_add(spectrum, window, config), _before(config)
    wanted = magnitude.shape[-1] * config.hop_length
    return F.pad(padded, (0, max(0, before + wanted - padded.shape[-1])))[:, before : before + wanted]


def undo_preemphasis(wav: torch.Tensor, coefficient: float) -> torch.Tensor:
    """Inverse of mel.preemphasise along the last axis, (..., T) -> (..., T): x[t] = y[t] + c x[t-1].

    The first sample came as y[0] = 3 x[0] - x[1], hence x[0] = (y[0] + y[1]) / (3 - c). The recursion is a convolution
    with c^n, cut where it falls below 1e-12.
    """
    if wav.shape[-1] < 2:
        return wav  # preemphasise leaves a single sample alone
    start = (wav[..., :1] + wav[..., 1:2]) / (3 - coefficient)
    driven = torch.cat([start, wav[..., 1:]], dim=-1).double()
    length = driven.shape[-1]
    taps = min(length, ceil(log(1e-12) / log(coefficient)))
    response = coefficient ** torch.arange(taps, dtype=torch.float64, device=wav.device)
    size = length + taps - 1
    spectrum = torch.fft.rfft(driven, size) * torch.fft.rfft(response, size)
    return torch.fft.irfft(spectrum, size)[..., :length].to(wav.dtype)


def _mel_amplitude(mel: torch.Tensor, config: MelConfig) -> torch.Tensor:
    """Undo scale, offset and logarithm: mel amplitudes (or powers, for power=2)."""
    value = mel * config.scale + config.offset
    if config.log == "ln":
        return value.exp()
    return 10 ** (value if config.log == "log10" else value * config.power / 20)


def _before(config: MelConfig) -> int:
    """Samples by which the first frame's window begins ahead of the wave."""
    return config.n_fft // 2 if config.centering == "center" else (config.n_fft - config.hop_length) // 2


def _spectrum(wav: torch.Tensor, frames: int, config: MelConfig) -> torch.Tensor:
    """STFT (B, bins, frames) of waves (B, T), silence around them."""
    window, before = torch.hann_window(config.win_length, dtype=wav.dtype, device=wav.device), _before(config)
    after = (frames - 1) * config.hop_length + config.n_fft - before - wav.shape[-1]
    return _stft(F.pad(wav, (before, max(0, after))), window, config)[..., :frames]


def _stft(padded: torch.Tensor, window: torch.Tensor, config: MelConfig) -> torch.Tensor:
    return torch.stft(
        padded, config.n_fft, config.hop_length, config.win_length, window, center=False, return_complex=True
    )


def _overlap_add(spectrum: torch.Tensor, window: torch.Tensor, config: MelConfig) -> torch.Tensor:
    """Least-squares inverse STFT: (B, bins, F) -> padded wave (B, (F - 1) * hop + n_fft)."""
    frames = torch.fft.irfft(spectrum, config.n_fft, dim=1)
    side = (config.n_fft - config.win_length) // 2
    framed = F.pad(window, (side, config.n_fft - config.win_length - side))
    length = (frames.shape[-1] - 1) * config.hop_length + config.n_fft
    stacked = torch.cat([frames * framed[:, None], (framed**2)[None, :, None].expand(1, -1, frames.shape[-1])])
    sums = F.fold(stacked, (1, length), (1, config.n_fft), stride=(1, config.hop_length))[:, 0, 0]
    return sums[:-1] / sums[-1].clamp(min=1e-6)  # where hardly a window reaches, the wave fades instead of exploding
