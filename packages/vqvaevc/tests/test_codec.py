"""The mel codec with pitch beside it: who hears what, what a file keeps is what is decoded, the codec learns alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import log
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from vocoder_core.corpus import Corpus
from vocoder_core.mel import log_mel
from vocoder_core.mel_presets import PRESETS
from vocoder_core.pitch import LEVELS, PitchConfig, height, lags, numbers, smoothed, track, voice
from vocoder_core.vq import QuantizerConfig
from vqvaevc.codec import Codec, harmonics
from vqvaevc.condition import EncoderConfig
from vqvaevc.labels import LabelConfig

MEL = PRESETS["asr16"]
SMALL = EncoderConfig(
    source="codec", channels=16, encoder_layers=1, layers=2, fine_layers=2, objective="mel", frames_per_code=4
)
CODES = QuantizerConfig(kind="ema", size=16, dim=8)
WITH_PITCH = LabelConfig(kind="mulaw", order=16, pitch=True)
Speech = Callable[..., Tensor]


def codec(config: EncoderConfig = SMALL, labels: LabelConfig = WITH_PITCH) -> Codec:
    torch.manual_seed(0)
    return Codec(config, MEL, CODES, labels, 4, 3)


def started(speech: Speech, config: EncoderConfig = SMALL) -> Codec:
    """A codec with a codebook that has seen speech."""
    made = codec(config)
    wav = speech(MEL).float()
    made(wav, wav, 0, who(), 0)
    return made.eval()


def who(rows: int = 1, seed: int = 2) -> Tensor:
    return torch.randn(rows, 4, generator=torch.Generator().manual_seed(seed))


def test_what_is_decoded_is_what_a_file_keeps(speech: Speech) -> None:
    """Codes and numbers of pitch alone give what the training pass gave of the wave, nothing being random."""
    made, wav = started(speech, replace(SMALL, objective="both")), speech(MEL, frames=99).float()
    codes, pitch = made.encode(wav)
    assert codes.shape == (1, 25) and codes.dtype == torch.int64 and 0 <= codes.min() and codes.max() < 16
    assert pitch is not None and pitch.shape == (1, 99) and pitch.max() <= LEVELS and (pitch == 0).any()
    told, passed = made.decode(codes, pitch, who()), made(wav, wav, 0, who(), None)
    for own, other in ((told.frames, passed.frames), (told.filters, passed.filters), (told.lag, passed.lag)):
        assert own is not None and other is not None
        torch.testing.assert_close(own, other)
    assert told.frames is not None and told.frames.shape == (1, 82, 99)
    assert told.lag is not None and told.lag.shape == (1, 4 * 99)


def test_the_decoder_hears_pitch_and_the_codes_do_not_move_with_it(speech: Speech) -> None:
    made, wav = started(speech), speech(MEL).float()
    codes, pitch = made.encode(wav)
    assert pitch is not None
    higher = torch.where(pitch > 0, (pitch + 12).clamp(max=LEVELS), 0)
    one, other = (made.decode(codes, numbers_, who()).frames for numbers_ in (pitch, higher))
    assert one is not None and other is not None and (one - other)[:, :80].abs().mean() > 0.01
    torch.testing.assert_close((other - one)[0, 81], torch.zeros(100), msg="voicing stays")


def test_unvoiced_frames_say_nothing_of_pitch(speech: Speech) -> None:
    made = codec()
    lag, voicing = torch.full((1, 6), 100.0), torch.tensor([[0.0, 0, 1, 1, 0, 0]])
    side = made.side((lag, voicing))
    assert side is not None and side.shape == (1, 82, 6)
    assert not side[:, :, :2].any() and not side[:, :, 4:].any() and (side[0, 81] == voicing).all()
    without = codec(labels=LabelConfig(kind="mulaw", order=16))
    assert without.side(None) is None and without.decoder.side is None
    codes, pitch = started(speech).encode(speech(MEL).float())
    assert without.eval().decode(codes, None, who()).frames is not None and pitch is not None


def test_harmonics_are_those_of_pulse_trains() -> None:
    """Against the mel of a made pulse train, less its envelope: the ripple of the same pitch correlates best."""
    combs, config = harmonics(MEL, PitchConfig()), PitchConfig()
    envelope = codec().smooth
    for hertz in (120.0, 200.0, 330.0):
        t = torch.arange(64 * 256, dtype=torch.float64) / 16_000
        buzz = sum(torch.cos(2 * torch.pi * k * hertz * t) for k in range(1, int(8000 / hertz)))
        mel = log_mel(0.01 * torch.as_tensor(buzz)[None], MEL)[0, :, 30].float()
        ripple = mel - envelope @ mel
        place = int((height(torch.tensor(16_000 / hertz), 16_000, config) * (len(combs) - 1)).round())
        assert np.corrcoef(combs[place], ripple)[0, 1] > 0.8, hertz
        rest = [np.corrcoef(comb, ripple)[0, 1] for comb in combs]
        assert abs(int(np.argmax(rest)) - place) <= 6, "28 cents"


def test_a_named_voice_moves_the_pitch_into_its_range(speech: Speech) -> None:
    made, wav = started(speech), speech(MEL).float()
    made.voices[1] = torch.tensor([log(110), 0.15])
    codes, pitch = made.encode(wav)
    assert pitch is not None
    told = made.decode(codes, pitch, who(), made.voices[[1]])
    assert told.lag is not None
    found = voice(told.lag[:, ::4], (pitch > 0).float(), 16_000)
    torch.testing.assert_close(found[0, 0], torch.tensor(log(110)), atol=0.02, rtol=0)
    stay = made.decode(codes, pitch, who(), made.voices[[0]]).lag
    torch.testing.assert_close(stay, made.decode(codes, pitch, who()).lag, msg="nobody's range is known of 0")


def test_voices_are_learned_from_training_speech(data: Path) -> None:
    corpus, made = Corpus.open(data), codec()
    speaker = corpus.split("train")[0].speaker
    made.learn_voices(corpus, ["nobody", speaker, "nobody"])
    assert not made.voices[[0, 2]].any()
    heard = [track(torch.from_numpy(corpus.wav(e))[None], 16_000, 256) for e in corpus.split("train")]
    own = [pitch for e, pitch in zip(corpus.split("train"), heard, strict=True) if e.speaker == speaker]
    f0 = np.concatenate([(16_000 / lag[voicing > 0]).log().numpy() for lag, voicing in own])
    if sum(lag.numel() for lag, _ in own) * 256 < 60 * 16_000:
        np.testing.assert_allclose(made.voices[1].numpy(), [f0.mean(), f0.std()], atol=1e-4)
    assert 60 < float(made.voices[1, 0].exp()) < 400 and 0.03 < float(made.voices[1, 1]) < 0.5


def test_training_is_a_function_of_its_seed_and_its_target_is_the_voice_as_it_was(speech: Speech) -> None:
    made, wav = started(speech, replace(SMALL, jitter=0.3, dropout=0.2)), speech(MEL).float()
    mel, pitch = log_mel(wav, MEL), made.pitch(wav)
    one, same, other = (made.decoded(mel, pitch, who(), seed) for seed in (5, 5, 6))
    assert torch.equal(one.mel, same.mel) and not torch.equal(one.mel, other.mel)
    torch.testing.assert_close(one.losses["mel"], (one.mel - mel).abs().mean())
    torch.testing.assert_close(one.losses["envelope"], (made.smooth @ (one.mel - mel)).abs().mean())
    assert one.losses.keys() == {"mel", "envelope", "commitment"}


@pytest.mark.parametrize("on", ["jitter", "dropout", "stretch", None])
def test_each_disturbance_of_codes_is_a_switch_of_its_own(speech: Speech, on: str | None) -> None:
    strengths = dict.fromkeys(("jitter", "dropout", "stretch"), 0.0)
    made, wav = started(speech, replace(SMALL, **strengths | ({on: 0.3} if on else {}))), speech(MEL).float()
    mel, pitch = log_mel(wav, MEL), made.pitch(wav)
    one, other = (made.decoded(mel, pitch, who(), seed).mel for seed in (5, 6))
    assert torch.equal(one, other) is (on is None)


def test_gradients_reach_everything_and_a_frozen_codec_gets_none(speech: Speech) -> None:
    wav, speaker = speech(MEL).float(), who().requires_grad_()
    made = codec().train()
    sum(made(wav, wav, 0, speaker, 0).losses.values()).backward()
    idle = {"encoder.first.bias", "encoder.down.bias", "encoder.layers.0.bias"}  # an instance norm takes them away
    for name, parameter in made.named_parameters():
        assert name in idle or (parameter.grad is not None and parameter.grad.abs().sum() > 0), name
    assert speaker.grad is not None and speaker.grad.abs().sum() > 0
    frozen = codec(replace(SMALL, objective="speech")).train()
    frozen.quantizer.load_state_dict(made.quantizer.state_dict())
    before = {name: tensor.clone() for name, tensor in frozen.state_dict().items()}
    told = frozen(wav, wav, 0, who(), 0)
    assert not told.losses and told.frames is not None and not told.frames.requires_grad
    assert all(torch.equal(before[name], tensor) for name, tensor in frozen.state_dict().items()), "nor its averages"


def test_it_learns_a_sentence(speech: Speech) -> None:
    """In 60 steps on two seconds of speech the error falls by half, and pitch is worth something."""
    wav = speech(MEL, frames=64).float()
    errors = {}
    for labels in (WITH_PITCH, LabelConfig(kind="mulaw", order=16)):
        made = codec(replace(SMALL, channels=32, frames_per_code=2, stretch=0.1), labels).train()
        mel, pitch = log_mel(wav, MEL), made.pitch(wav)
        assert (pitch is None) == (not labels.pitch)
        optimiser, seen = torch.optim.Adam(made.parameters(), 4e-3), []
        for step in range(60):
            passed = made.decoded(mel, pitch, who(), step)
            optimiser.zero_grad()
            torch.stack(list(passed.losses.values())).sum().backward()
            optimiser.step()
            seen.append(float(passed.stats["mel_l1"]))
        errors[labels.pitch] = np.mean(seen[-10:])
        assert errors[labels.pitch] < 0.5 * np.mean(seen[:5])
    assert errors[True] < errors[False]


def test_pitch_in_training_is_that_of_its_numbers(speech: Speech) -> None:
    wav = speech(MEL).float()
    lag, voicing = track(wav, 16_000, 256)
    back = lags(numbers(lag, voicing, 16_000), 16_000)
    seen = codec().pitch(wav)
    assert seen is not None
    torch.testing.assert_close(seen, (smoothed(back[0]), back[1]))
