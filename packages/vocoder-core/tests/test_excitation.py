"""Excitation labels: a slow loop that knows only their definition, the compiled twin, and what they are good for."""

from __future__ import annotations

from dataclasses import replace
from math import copysign, floor, log, log1p

import numpy as np
import pytest
import torch
from torch import Tensor

from vocoder_core import mulaw
from vocoder_core.excitation import (
    HELD,
    LEAST_LAG,
    MEMORY,
    WIDTHS,
    ExcitationConfig,
    companded,
    expanded,
    held,
    periods,
    told,
)  # fmt: skip
from vocoder_core.linear_prediction import Predictor
from vocoder_core.mel import MelConfig, log_mel
from vocoder_core.recurrent.excitation_teller import Excitations

CONFIGS = {
    "64": ExcitationConfig(),
    "80": ExcitationConfig(block=80),
    "10 bits": ExcitationConfig(bits=10, order=7, block=40, span=11.0),
    "no pitch": ExcitationConfig(block=80, pitch=False),
    "no order": ExcitationConfig(order=0, block=80),
}
Given = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]  # wav, filters, gain, lag, voicing


def given(config: ExcitationConfig, rows: int = 2, blocks: int = 9) -> Given:
    """Noise that rings, predictors and gains of a block each, pitch that moves; nothing of it is special."""
    draw = torch.Generator().manual_seed(3)
    wav = 0.1 * torch.randn(rows, blocks * config.block, generator=draw)
    filters = 0.2 * torch.randn(rows, blocks, config.order + 1, generator=draw)
    filters[..., 0] = 1
    gain = 0.05 + 0.1 * torch.rand(rows, blocks, generator=draw)
    lag, voicing = 5 + 120 * torch.rand(rows, blocks, generator=draw), torch.rand(rows, blocks, generator=draw)
    return wav, filters, gain, lag, voicing


def code(x: float, bits: int) -> int:
    """Mu-law of one sample."""
    top = 2 ** (bits - 1) - 1
    x = min(max(x, -1.0), 1.0)
    return top + 1 + int(copysign(floor(log1p((2 * top + 1) * abs(x)) / log1p(2 * top + 1) * top + 0.5), x))


def slowly(row: list[np.ndarray], config: ExcitationConfig) -> tuple[list[list[int]], list[list[float]], list[int]]:
    """Codes, values and targets of one row: the definition, sample by sample, in float64."""
    wav, filters, gain, lag, voicing = row
    top = 2 ** (config.bits - 1) - 1
    said, codes, values = [], [], []

    def e_of(number: int) -> float:
        y = (number - top - 1) / top
        return copysign(((2 * top + 2) ** abs(y) - 1) / (2 * top + 1), y) * config.span

    def known(u: int) -> float:
        return e_of(said[u]) if u >= 0 else 0.0

    for u, x in enumerate(wav):
        b = u // config.block
        p = -sum(filters[b, k] * wav[u - k] for k in range(1, config.order + 1) if u >= k)
        own = [said[-1] if u else top + 1, code(wav[u - 1] if u else 0.0, config.bits), code(p, config.bits)]
        if config.pitch:
            ago = u - max(LEAST_LAG, round(float(lag[b])))
            around = [known(ago + k) for k in (-2, -1, 0, 1, 2)]
            foretold = voicing[b] * float(np.dot(around, (0.1, 0.2, 0.4, 0.2, 0.1)))
            own.append(code(foretold / config.span, config.bits))
            taps = [(said[ago + k] - top - 1) / top if ago + k >= 0 else 0.0 for k in (-2, -1, 0, 1, 2)]
            powers = [np.mean([known(ago + k) ** 2 for k in range(-w // 2 + 1, w // 2 + 1)]) for w in WIDTHS]
            loud = [0.15 * log(1 + power / 0.01) for power in powers]
            values.append(taps + loud)
        codes.append(own)
        said.append(code((x - p) / gain[b] / config.span, config.bits))
    return codes, values, said


@pytest.mark.parametrize("kind", CONFIGS)
def test_what_is_told_is_the_definition(kind: str) -> None:
    """Codes within one where a float32 lies next to a boundary, in fewer than a hundredth; values to rounding."""
    config = CONFIGS[kind]
    parts = given(config)
    seen = told(parts[0], config, *parts[1:])
    assert seen.codes.shape[2] == config.codes_told and seen.values.shape[2] == config.values_told
    for b in range(2):
        codes, values, said = slowly([part[b].double().numpy() for part in parts], config)
        apart = (seen.codes[b] - torch.tensor(codes)).abs(), (seen.targets[b] - torch.tensor(said)).abs()
        assert all(each.max() <= 1 and (each > 0).float().mean() < 0.01 for each in apart)
        if config.pitch:
            off = (seen.values[b] - torch.tensor(values)).abs()
            assert off.median() < 1e-5 and (off > 1e-2).float().mean() < 0.01
    half = config.classes // 2
    past = (seen.codes[..., :2].transpose(1, 2) - half) / (half - 1)
    torch.testing.assert_close(seen.past, past)
    assert len(seen.targets.unique()) > 40


@pytest.mark.parametrize("kind", CONFIGS)
def test_rows_and_cuts_are_what_they_are_alone(kind: str) -> None:
    config = CONFIGS[kind]
    parts = given(config)
    both, one = told(parts[0], config, *parts[1:]), told(parts[0][1:], config, *(part[1:] for part in parts[1:]))
    for name in ("past", "values", "codes", "targets"):
        assert torch.equal(getattr(both, name)[1:], getattr(one, name))
    cut = both.cut(70, 90)
    assert torch.equal(cut.past, both.past[:, :, 70:90]) and torch.equal(cut.codes, both.codes[:, 70:90])
    assert torch.equal(cut.values, both.values[:, 70:90]) and torch.equal(cut.targets, both.targets[:, 70:90])


def test_noise_disturbs_what_is_told_and_not_what_is_said() -> None:
    """In gains: half as much gain, half as much noise."""
    config = CONFIGS["80"]
    wav, filters, gain, lag, voicing = given(config)
    filters[..., 1:] = 0
    noise = torch.full_like(wav, 0.5)
    clean, seen = (told(wav, config, filters, gain, lag, voicing, each) for each in (None, noise))
    assert torch.equal(clean.targets, seen.targets)
    heard = expanded(seen.codes[:, 1:, 0], config.classes, config.span)
    expected = ((wav + noise * gain.repeat_interleave(80, 1)) / gain.repeat_interleave(80, 1))[:, :-1]
    assert (heard - expected).abs().median() < 0.05 and (heard - expected).abs().max() < 0.3, "mu-law's own steps"


@pytest.mark.parametrize("kind", CONFIGS)
def test_the_compiled_twin_says_the_same_sample_by_sample(kind: str) -> None:
    from vocoder_core.recurrent.excitation_kernel import ago, code_of, pitch_of

    config = CONFIGS[kind]
    wav, filters, gain, lag, voicing = given(config, rows=1)
    seen, pitch = told(wav, config, filters, gain, lag, voicing), pitch_of(config)
    classes = expanded(torch.arange(config.classes), config.classes, config.span).numpy()
    half, period = config.classes // 2, periods(lag)[0].numpy()
    codes = np.concatenate([np.full(MEMORY, half), seen.targets[0].numpy()])
    for u in range(wav.shape[1]):
        values, b = np.empty(config.values_told, np.float32), u // config.block
        foretold = ago(pitch, classes, codes, MEMORY + u - period[b], voicing[0, b].numpy(), values)
        np.testing.assert_allclose(values, seen.values[0, u], atol=2e-6)
        if config.pitch:
            assert code_of(foretold, half) == seen.codes[0, u, 3]
        assert code_of(float(wav[0, u - 1]), half) == seen.codes[0, u, 1] or not u


@pytest.mark.parametrize("kind", CONFIGS)
def test_the_teller_says_the_same_sample_by_sample(kind: str) -> None:
    """Told the true labels, it is told what the whole wave is, and says the wave within mu-law's steps; any split."""
    config = replace(CONFIGS[kind], loudest=1e6)
    wav, filters, gain, lag, voicing = given(config)
    filters[..., 1:] *= 0.2  # or what a label is off rings on
    seen, period = told(wav, config, filters, gain, lag, voicing), periods(lag)
    teller = Excitations.silence(config, 2, config.order + 3, wav.device)
    waves, same = [], []
    for first, last in ((0, 4), (4, 5), (5, 9)):
        teller.begin(*(each[:, first:last] for each in (filters, gain, period, voicing)))
        for u in range(first * config.block, last * config.block):
            values, codes = teller.told()
            torch.testing.assert_close(values, seen.values[:, u], atol=1e-5, rtol=0)
            same.append(codes[:, [0, 3]] == seen.codes[:, u, [0, 3]] if config.pitch else codes[:, 0])
            teller.take(seen.targets[:, u])
        waves.append(teller.end())
    if config.pitch:
        assert torch.stack(same).float().mean() > 0.999
    off = torch.cat(waves, dim=1) - wav
    assert off.square().mean() < 0.02 * wav.square().mean() and wav.shape == off.shape


@pytest.mark.parametrize("bits", [6, 8, 10])
def test_compiled_mu_law_codes_are_mulaws(bits: int) -> None:
    from vocoder_core.recurrent.excitation_kernel import code_of

    x = np.concatenate([np.linspace(-1.2, 1.2, 2001), np.geomspace(1e-8, 1, 500), [0.0, -0.0]]).astype(np.float32)
    found = [code_of(float(value), 2 ** (bits - 1)) for value in x]
    assert found == mulaw.encode(torch.from_numpy(x), bits).tolist()


def test_what_is_held_stays_within_the_power_and_is_held_alike_compiled() -> None:
    from vocoder_core.recurrent.excitation_kernel import held as compiled
    from vocoder_core.recurrent.excitation_kernel import pitch_of

    config = replace(CONFIGS["80"], loudest=1.2)
    classes = expanded(torch.arange(config.classes), config.classes, config.span)
    said = torch.full((1, HELD - 1), config.classes // 2)
    kept, pitch = 0, pitch_of(config)
    for label in torch.randint(0, config.classes, (1500,), generator=torch.Generator().manual_seed(1)):
        before = said[:, -(HELD - 1) :]
        own = held(label[None], before, classes, config)
        assert compiled(int(label), before[0].numpy(), classes.numpy(), pitch) == own
        kept += int(own == label)
        said = torch.cat([said, own[None]], dim=1)
    power = classes[said].square().unfold(1, HELD, 1).mean(2)
    assert 1.1 < power.max() < 1.25 and kept < 1200, "a cell of mu-law beyond it at most"
    assert classes.square().mean() > 10 * 1.2


def test_speech_is_a_whisper_of_unit_power_and_comes_back(shared_audio_wave: Tensor) -> None:
    """With the mel's own predictors at a hop of 80: unit power in the middle, and what is said is the wave again."""
    mel = MelConfig(sample_rate=16_000, n_fft=1024, win_length=640, hop_length=80, preemphasis=0)
    config = ExcitationConfig(block=80, pitch=False)
    wav = shared_audio_wave[:, : shared_audio_wave.shape[1] // 80 * 80]
    filters, gain = Predictor(config.order, config.block, mel)(log_mel(wav, mel))
    seen = told(wav, config, filters, gain)
    e = expanded(seen.targets, config.classes, config.span)
    assert 0.3 < e.square().mean() < 2
    scale = gain.repeat_interleave(80, 1)
    p = mulaw.decode(seen.codes[..., 2], config.bits)
    assert (e * scale).square().sum() < 0.2 * wav.square().sum(), "most of it is foreseen"
    assert (p + e * scale - wav).square().sum() < 0.01 * wav.square().sum()


@pytest.fixture
def shared_audio_wave(shared_audio: object) -> Tensor:
    from pathlib import Path

    from vocoder_core import audio

    wave, _ = audio.load(Path(str(shared_audio)) / "slt" / "arctic_a0007.flac", 16_000)
    return torch.from_numpy(0.95 / np.abs(wave).max() * wave)[None]


def test_companding() -> None:
    codes = torch.arange(256)
    assert torch.equal(expanded(codes, 256, 1.0)[1:], mulaw.decode(codes, 8)[1:])
    assert companded(codes, 256)[1] == -1 and companded(codes, 256)[128] == 0 and companded(codes, 256)[255] == 1
    assert torch.equal(periods(torch.tensor([1.0, 9.4, 99.6, 5e4])), torch.tensor([9, 9, 100, MEMORY - WIDTHS[-1]]))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"bits": 5}, "labels.bits is 5; expected 6 to 10"),
        ({"block": 0}, "labels.block is 0; expected 1 or more samples"),
        ({"order": 81, "block": 80}, "labels.order is 81; expected 0 to labels.block 80"),
        ({"span": 0.0}, "labels.span is 0.0; expected more than 0"),
        ({"loudest": float("nan")}, "labels.loudest is nan; expected more than 0"),
    ],
)
def test_refusals(wrong: dict[str, float], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        ExcitationConfig(**wrong)  # type: ignore[arg-type]
