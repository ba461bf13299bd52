"""What stands before the flow: linear prediction by the mel against scipy's, periodicity against a loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from vocoder_core.mel import log_mel
from vocoder_core.mel_presets import PRESETS
from waveglow_vq import periodicity as periodicity_module
from waveglow_vq import whiten as whiten_module
from waveglow_vq.periodicity import BOUND, QUIET, Periodicity, PeriodicityConfig
from waveglow_vq.whiten import Whiten, WhitenConfig

MEL = PRESETS["asr16"]


def test_the_filter_is_scipys(speech: Callable[..., Tensor]) -> None:
    """Of a mel that does not change, forward is lfilter(A, g) and inverse lfilter(g, A)."""
    from scipy.signal import lfilter

    wav = speech(MEL, frames=20)
    mel = log_mel(wav, MEL)[:, :, 9:10].expand(-1, -1, 20)
    whiten = Whiten(WhitenConfig(order=16), MEL).double()
    filters, gain = whiten.predictor(mel)
    taps, loud = filters[0, 3].numpy(), float(gain[0, 3])
    np.testing.assert_allclose(whiten(wav, mel)[0][0], lfilter(taps, [loud], wav[0].numpy()), atol=1e-9)
    np.testing.assert_allclose(whiten.inverse(wav, mel)[0], lfilter([loud], taps, wav[0].numpy()), atol=1e-9)


def test_speech_comes_out_white_and_of_unit_variance(speech: Callable[..., Tensor]) -> None:
    """At any level, from the mel alone: the spectrum of 30 dB range is flat within 10, the variance near 1."""
    wav = speech(MEL, frames=180)
    whiten = Whiten(WhitenConfig(), MEL).double()
    for level in (1.0, 0.03):
        excitation = whiten(level * wav, log_mel(level * wav, MEL))[0]
        assert 0.6 < float(excitation.var()) < 1.6
        before, after = _range(wav), _range(excitation)
        assert after < 10 < 25 < before, (before, after)


def _range(wav: Tensor) -> float:
    """Decibels between the loudest and the softest of 8 bands of the mean spectrum."""
    power = (
        torch.stft(wav, 512, window=torch.hann_window(512).double(), return_complex=True).abs().square().mean((0, 2))
    )
    bands = torch.stack([part.mean() for part in power[4:252].split(31)])
    return float(10 * torch.log10(bands.max() / bands.min()))


def test_whitening_is_worth_most_of_the_likelihood(speech: Callable[..., Tensor]) -> None:
    """Nothing trained: 4.3 nats a sample and more over the wave itself, whose loss is its mean square / 2."""
    wav = speech(MEL, frames=180)
    excitation, log_det = Whiten(WhitenConfig(), MEL).double()(wav, log_mel(wav, MEL))
    loss = (excitation.square().sum() / 2 - log_det.sum()) / wav.numel()
    assert float(loss) < float(wav.square().mean() / 2) - 4.3


@pytest.mark.parametrize("kind", ["whiten", "periodicity"])
def test_the_way_back_is_exact_and_does_not_show_its_pieces(
    kind: str, speech: Callable[..., Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """fp32, on speech: inverse(forward) within 1e-4; cut every 7 frames as when cut every 256."""
    wav = speech(MEL, frames=60).float()
    mel = log_mel(wav, MEL)
    step = _periodicity() if kind == "periodicity" else Whiten(WhitenConfig(), MEL)
    heard = (mel + 5) / 2 if kind == "periodicity" else mel
    with torch.no_grad():
        made, _ = step(wav, heard)
        whole = step.inverse(made, heard)
        monkeypatch.setattr(periodicity_module if kind == "periodicity" else whiten_module, "PIECE", 7)
        pieces = step.inverse(made, heard)
    torch.testing.assert_close(whole, wav, atol=1e-4, rtol=0)
    torch.testing.assert_close(pieces, whole, atol=1e-5, rtol=0)


def test_periodicity_is_what_a_loop_over_its_lags_gives(speech: Callable[..., Tensor]) -> None:
    wav = speech(MEL, frames=8)[:, 512:2048]
    periodicity = _periodicity().double()
    mel = torch.randn(1, MEL.n_mels, 6, generator=torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        made, log_det = periodicity(wav, mel)
        weights, gains = (tensor[0] for tensor in periodicity._weights(mel))
        x, total = wav[0].numpy(), 0.0
        for n in (0, 31, 100, 700, 1535):
            block = n // 64
            lags = range(periodicity.low, periodicity.high)
            past = np.array([x[n - lag] if n >= lag else 0.0 for lag in lags])
            w = weights[block].numpy()
            loud = np.log(w[1:] @ np.abs(past) + QUIET)
            raw = float(np.tanh(gains[block, :-1].numpy()) @ loud + float(gains[block, -1]))
            total = BOUND * np.tanh(raw / BOUND)
            assert float(made[0, n]) == pytest.approx((x[n] - w[0] @ past) * np.exp(-total), abs=1e-9)
        assert float(weights[:, 0].sum(-1).max()) < 1, "else the inverse may ring up"
    assert log_det.shape == (1,)


def test_periodicity_learns_the_pitch_of_a_tone() -> None:
    """A pulse train at 125 Hz among noise: after a few steps the weights lie a whole number of its periods back."""
    torch.manual_seed(0)
    pulses = torch.zeros(1, 4096)
    pulses[:, ::128] = 10.0
    voiced = pulses + 0.1 * torch.randn_like(pulses)
    noise = torch.randn(1, 4096)
    mel = torch.stack([torch.ones(MEL.n_mels, 16), -torch.ones(MEL.n_mels, 16)])
    periodicity = Periodicity(PeriodicityConfig(envelopes=1, width=16), MEL)
    optimizer = torch.optim.Adam(periodicity.parameters(), lr=0.02)
    for _ in range(60):
        r, log_det = periodicity(torch.cat([voiced, noise]), mel)
        loss = (r.square().sum(1) / 2 - log_det).mean() / 4096
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        weights, _ = periodicity._weights(mel)
    lag = periodicity.low + int(weights[0, 8, 0].argmax())
    assert lag % 128 == 0, lag
    assert float(weights[0, 8, 0].max()) > 20 / periodicity.lags > float(weights[1, 8, 0].max())


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: WhitenConfig(order=-1), "whiten.order"),
        (lambda: WhitenConfig(order=65, block=64), "at most whiten.block"),
        (lambda: Whiten(WhitenConfig(block=48), MEL), "divisor of hop_length"),
        (lambda: PeriodicityConfig(lowest_hz=500, highest_hz=40), "two rising numbers"),
        (lambda: Periodicity(PeriodicityConfig(block=48), MEL), "divisor of hop_length"),
    ],
)
def test_what_cannot_be_is_refused(make: Callable[[], object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        make()


def _periodicity() -> Periodicity:
    torch.manual_seed(0)
    periodicity = Periodicity(replace(PeriodicityConfig(), envelopes=2, width=8), MEL)
    with torch.no_grad():
        for parameter in periodicity.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return periodicity
