"""Conditions: rates, shapes and ranges of all three sources; codes do not say who speaks, the decoder is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from vocoder_core.mel import MelConfig, log_mel
from vocoder_core.mel_codec import envelope
from vocoder_core.mel_presets import PRESETS
from vocoder_core.vq import QuantizerConfig
from waveglow_vq.codec import Codec
from waveglow_vq.condition import Condition, ConditionConfig, MelCondition, conditioner
from waveglow_vq.wav_codec import WavCodec

MEL = PRESETS["asr16"]
CODES = QuantizerConfig(kind="ema", size=16, dim=8)
SMALL = ConditionConfig(
    source="codes", channels=16, encoder_layers=2, decoder_layers=3, fine_layers=2, objective="mel", stretch=0.2
)
Speech = Callable[..., torch.Tensor]


def codec(config: ConditionConfig = SMALL, speaker_size: int = 4, codes: QuantizerConfig = CODES) -> Codec:
    torch.manual_seed(0)
    made = conditioner(config, MEL, codes, speaker_size)
    assert isinstance(made, Codec)
    return made


def mels(rows: int = 2, frames: int = 25, seed: int = 1) -> torch.Tensor:
    return 2 * torch.randn(rows, 80, frames, generator=torch.Generator().manual_seed(seed)) - 4.5


def who(rows: int = 2, seed: int = 2) -> torch.Tensor:
    return torch.randn(rows, 4, generator=torch.Generator().manual_seed(seed))


def started(config: ConditionConfig = SMALL, speaker_size: int = 4) -> Codec:
    """A codec with a codebook that has seen mels."""
    made = codec(config, speaker_size)
    made(mels(4, 40), None, who(4) if speaker_size else None, 0)
    return made.eval()


def test_a_mel_is_its_own_condition() -> None:
    condition, mel = conditioner(ConditionConfig(), MEL, CODES), mels()
    assert condition.of_mel(mel) is mel and condition(mel, None, None, None).condition is mel
    assert (condition.channels, condition.stride, condition.bits) == (80, 256, 0) and not condition.state_dict()


def test_nvidias_upsampling_is_a_column_a_sample() -> None:
    """Against the sum that a transposed convolution stands for: frame f reaches samples 256 f ... 256 f + 1023."""
    condition = MelCondition(ConditionConfig(upsampler="nvidia"), replace(MEL, n_mels=3)).double()
    assert condition.upsample is not None and condition.upsample.weight.shape == (3, 3, 1024)
    mel = torch.randn(2, 3, 5, dtype=torch.float64)
    seen = condition.of_mel(mel)
    assert seen.shape == (2, 3, 5 * 256) and condition.stride == 1
    weight, bias = condition.upsample.weight, condition.upsample.bias
    for t in (0, 255, 256, 700, 1279):
        near = [(f, t - 256 * f) for f in range(5) if 0 <= t - 256 * f < 1024]
        expected = sum(mel[:, :, f] @ weight[:, :, at] for f, at in near) + bias
        torch.testing.assert_close(seen[:, :, t], expected)


@pytest.mark.parametrize(("frames_per_code", "rate"), [(1, 62.5), (2, 31.25), (3, 20.8333), (4, 15.625), (6, 10.4167)])
@pytest.mark.parametrize("frames", [1, 6, 25])
def test_codes_cover_every_frame(frames_per_code: int, rate: float, frames: int) -> None:
    made = started(replace(SMALL, frames_per_code=frames_per_code))
    codes = made.encode(mels(2, frames))
    assert codes.shape == (2, -(-frames // frames_per_code)) and codes.dtype == torch.int64
    assert made.decode(codes, who()).shape == (2, 80, codes.shape[1] * frames_per_code)
    assert made.decode(codes, who(), frames).shape == (2, 80, frames)
    assert made.code_rate == pytest.approx(rate, abs=1e-4) and made.bits == pytest.approx(4 * rate, abs=1e-3)


def test_a_code_lies_where_its_frames_are() -> None:
    """A change of one frame moves the codes around it, and no others, where nothing is taken over the whole file."""
    made = started(replace(SMALL, frames_per_code=4, instance_norm=False, encoder_layers=0))
    before = made.encoder(mels(1, 80))
    for frame in (0, 41, 79):
        mel = mels(1, 80)
        mel[0, :, frame] += 5
        moved = ((made.encoder(mel) - before).abs().amax(1)[0] > 1e-6).nonzero()[:, 0]
        assert frame // 4 in moved.tolist() and (moved - frame / 4 + 0.375).abs().max() < 1.5


def test_codes_do_not_hear_loudness_nor_colour_nor_a_steady_room() -> None:
    """Instance norm: a gain for each band, for the whole recording, changes no code."""
    made, mel = started(), mels(1, 60)
    colour = torch.linspace(-2, 1, 80)[:, None] + torch.randn(80, 1)
    same = (made.encode(mel) == made.encode(mel + colour)).float().mean()
    bare = started(replace(SMALL, instance_norm=False))
    assert same == 1 and (bare.encode(mel) == bare.encode(mel + colour)).float().mean() < 0.9


def test_the_voice_is_the_decoders_alone() -> None:
    made = started()
    codes = made.encode(mels())
    one, other = made.decode(codes, who()), made.decode(codes, who(seed=3))
    assert (one - other).abs().amin((1, 2)).shape == (2,) and (one - other).abs().mean() > 0.01
    with torch.no_grad():
        assert torch.equal(made.encode(mels()), codes), "encode has no speaker to be told"


def test_a_frame_is_decoded_from_the_codes_around_it() -> None:
    """So pieces of a file are decoded as the whole is: beyond the layers' reach nothing matters."""
    made, codes = started(), torch.arange(120).remainder(16)[None]
    far = 1 + 1 + 2 + 4 + 2  # codes: the first convolution, three layers, two fine ones of one and two frames
    whole, part = made.decode(codes, who(1)), made.decode(codes[:, 40:80], who(1))
    torch.testing.assert_close(whole[:, :, 2 * (40 + far) : 2 * (80 - far)], part[:, :, 2 * far : -2 * far])
    changed = codes.clone()
    changed[0, 60] = (changed[0, 60] + 1) % 16
    assert (made.decode(changed, who(1)) - whole)[:, :, 120:122].abs().max() > 0


def test_training_is_a_function_of_its_seed() -> None:
    made = started(replace(SMALL, jitter=0.3, dropout=0.2))
    one, same, other, bare = (made(mels(), None, who(), seed).condition for seed in (5, 5, 6, None))
    assert torch.equal(one, same) and not torch.equal(one, other) and not torch.equal(one, bare)
    torch.testing.assert_close(bare, made.decode(made.encode(mels()), who(), 25))


def test_the_target_is_the_voice_as_it_was() -> None:
    """The encoder hears a stretched mel; the loss compares with the mel itself."""
    made = started()
    seen = made(mels(), None, who(), 5)
    torch.testing.assert_close(seen.losses["mel"], (seen.condition - mels()).abs().mean())
    assert seen.losses.keys() == {"mel", "envelope", "commitment"} and not seen.stats["mel_l1"].requires_grad
    assert started(replace(SMALL, objective="flow"))(mels(), None, who(), 5).losses.keys() == {"commitment"}


def test_the_envelope_is_a_cut_cosine_transform_and_has_no_pitch() -> None:
    dct, idct = (getattr(pytest.importorskip("scipy.fft"), name) for name in ("dct", "idct"))
    mel = mels(1, 7)[0].double().numpy()
    slow = dct(mel, axis=0, norm="ortho")
    slow[20:] = 0
    expected = torch.from_numpy(idct(slow, axis=0, norm="ortho"))
    torch.testing.assert_close(envelope(80).double() @ torch.from_numpy(mel), expected, atol=1e-4, rtol=0)
    ripple = torch.cos(2 * torch.pi * torch.arange(80) / 5)[:, None]  # harmonics of 185 Hz, 37 Hz a band
    assert (envelope(80) @ ripple).norm() < 0.1 * ripple.norm()
    made = started()
    seen = made(mels(), None, who(), 5)
    slow_error = (envelope(80) @ (seen.condition - mels())).abs().mean()
    torch.testing.assert_close(seen.losses["envelope"], 2 * slow_error)
    assert not [name for name in made.state_dict() if "smooth" in name]


def test_gradients_reach_everything() -> None:
    made = codec().train()
    speaker = who().requires_grad_()
    sum(made(mels(), None, speaker, 0).losses.values()).backward()
    # a bias before an instance norm is taken away by it
    idle = {"encoder.first.bias", "encoder.down.bias", *(f"encoder.layers.{i}.bias" for i in range(2))}
    for name, parameter in made.named_parameters():
        assert name in idle or (parameter.grad is not None and parameter.grad.abs().sum() > 0), name
    assert speaker.grad is not None and (speaker.grad.abs().sum(1) > 0).all()


def test_bf16_gives_finite_losses_and_silence_is_no_danger() -> None:
    made = codec()
    mel = mels()
    mel[0] = -11.5129
    with torch.autocast("cpu", torch.bfloat16):
        seen = made(mel, None, who(), 0)
    total = sum(seen.losses.values())
    total.backward()
    assert torch.isfinite(total) and seen.condition.dtype == torch.float32
    assert all(p.grad is None or p.grad.isfinite().all() for p in made.parameters())


@pytest.mark.parametrize("preset", ["asr16", "rnnms16", "specgrad24"])
def test_an_untrained_decoder_speaks_in_the_range_of_its_mel(preset: str, speech: Speech) -> None:
    config: MelConfig = PRESETS[preset]
    made = conditioner(SMALL, config, CODES, 0)
    mel = log_mel(speech(config), config).float()
    made(mel, None, None, 0)
    decoded = made.eval().decode(made.encode(mel, None), None, mel.shape[2])
    assert (decoded.mean() - mel.mean()).abs() < 2 * mel.std() and decoded.std() < 2 * mel.std()


def test_the_seeds_codec_hears_64_samples_a_code() -> None:
    made = conditioner(ConditionConfig(source="wav", channels=12), MEL, QuantizerConfig(kind="ema", size=8, dim=6))
    assert isinstance(made, WavCodec)
    wav = torch.randn(2, 1280, generator=torch.Generator().manual_seed(0))
    seen = made(mels(2, 5), wav, None, 0)
    assert seen.condition.shape == (2, 12, 1280) and (made.stride, made.channels) == (1, 12)
    made.eval()
    codes = made.encode(None, wav)
    assert codes.shape == (2, 20) and made.code_rate == 250 and made.bits == 750
    torch.testing.assert_close(made.decode(codes), made(mels(2, 5), wav, None, None).condition)
    with pytest.raises(ValueError, match=r"shape \(2, 100\); expected \(B, T\), T a multiple of 64"):
        made.encode(None, wav[:, :100])
    with pytest.raises(ValueError, match="use encode and decode, not a mel"):
        made.of_mel(mels())


def test_the_seeds_codec_has_the_seeds_size_and_field() -> None:
    """2.1 and 3.3 million parameters, 280 samples: what the original's description says."""
    made = WavCodec(ConditionConfig(source="wav"), replace(MEL, sample_rate=22_050), QuantizerConfig(dim=144))
    encoder, decoder = (sum(p.numel() for p in part.parameters()) for part in (made.encoder, made.decoder))
    assert round(encoder / 1e6, 1) == 2.1 and round(decoder / 1e6, 1) == 3.3
    assert round(made.code_rate, 1) == 344.5 and round(made.bits) == 3101
    wav = torch.zeros(1, 1280, requires_grad=True)
    made.encoder(wav)[0, :, 10].sum().backward()
    assert wav.grad is not None
    heard = wav.grad[0].nonzero()
    assert int(heard.max() - heard.min()) + 1 == 280


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"frames_per_code": 0}, "condition.frames_per_code is 0; expected 1 or more"),
        ({"stretch": 1.0}, "condition.stretch is 1.0; expected 0 up to, not including, 1"),
        ({"mel_weight": -1.0}, "condition.mel_weight is -1.0; expected 0 or more"),
        ({"upsampler": "nvidia"}, "nvidia with source codes; expected source mel"),
        ({"source": "wav"}, "objective is mel with source wav; expected source codes"),
    ],
)
def test_settings_out_of_range_are_refused_in_a_sentence(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **wrong)  # type: ignore[arg-type]


def test_a_mel_has_no_codes() -> None:
    condition: Condition = conditioner(ConditionConfig(), MEL, CODES)
    for ask in (
        lambda: condition.encode(mels(), torch.zeros(2, 10)),
        lambda: condition.decode(torch.zeros(2, 3), None),
    ):
        with pytest.raises(ValueError, match="hears mels and has no codes"):
            ask()


def test_a_codec_learns_who_speaks_from_the_name_alone() -> None:
    """Two voices that differ by a colour: after some steps a codec says the same codes in either one's."""
    torch.manual_seed(0)
    made, table = codec(replace(SMALL, stretch=0.0)), torch.nn.Embedding(2, 4)
    colour = torch.stack([torch.linspace(1, -1, 80), torch.linspace(-1, 1, 80)])
    optimizer = torch.optim.Adam([*made.parameters(), *table.parameters()], lr=3e-3)
    said = torch.randn(12, 80, 4, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)

    def speech_of(speaker: torch.Tensor, seed: int) -> torch.Tensor:
        words = torch.randint(12, (len(speaker), 6), generator=torch.Generator().manual_seed(seed))
        return said[words].transpose(1, 2).flatten(2) + colour[speaker][:, :, None] - 4.5

    for step in range(100):
        speaker = torch.tensor([0, 1] * 4)
        loss = torch.stack(list(made(speech_of(speaker, step), None, table(speaker), step).losses.values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    made.eval()
    first = torch.tensor([0, 0])
    with torch.no_grad():
        turned = made.decode(made.encode(speech_of(first, 999)), table(1 - first))
    to_source, to_target = (F.l1_loss(turned, speech_of(speaker, 999)) for speaker in (first, 1 - first))
    assert to_target < 0.6 * to_source
