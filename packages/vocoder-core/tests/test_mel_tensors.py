"""log_mel as a torch function: batches, gradients, precisions, devices, and the sentences it refuses with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from vocoder_core.mel import MelConfig, log_mel
from vocoder_core.mel_presets import PRESETS

SMALL = MelConfig(8000, 32, 24, 8, 6, 100.0, 3500.0, log="ln", offset=0.0, scale=1.0, minimum=None)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", PRESETS)
def test_a_batch_is_its_rows(name: str) -> None:
    config = PRESETS[name]
    wav = noise(3, 9000)
    batch = log_mel(wav, config)
    assert batch.shape == (3, config.n_mels, 9000 // config.hop_length)
    for row, mel in zip(wav, batch):
        torch.testing.assert_close(log_mel(row, config), mel, rtol=0, atol=1e-6)


def test_rows_of_a_batch_do_not_touch_each_other() -> None:
    wav = noise(2, 9000)
    loud = torch.stack([wav[0], wav[1] * 8])
    assert torch.equal(log_mel(wav, PRESETS["asr16"])[0], log_mel(loud, PRESETS["asr16"])[0])


@pytest.mark.parametrize("samples", [20, 64])  # shorter than the padding, and longer
@pytest.mark.parametrize("centering", ["center", "same"])
@pytest.mark.parametrize("power", [1.0, 2.0])
def test_the_gradient_is_the_derivative(power: float, centering: Any, samples: int) -> None:
    config = replace(SMALL, power=power, centering=centering)
    wav = noise(2, samples).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: log_mel(x, config), wav)


@pytest.mark.parametrize("name", PRESETS)
def test_speech_gets_a_gradient_and_silence_a_finite_one(name: str) -> None:
    config = PRESETS[name]
    wav = torch.cat([noise(4096), torch.zeros(8192)]).requires_grad_()
    log_mel(wav, config).sum().backward()
    assert wav.grad is not None
    assert wav.grad.isfinite().all()
    assert wav.grad[:4096].abs().max() > 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_waves_dtype_comes_back(dtype: torch.dtype) -> None:
    wav = noise(4000).to(dtype)
    mel = log_mel(wav, PRESETS["waveglow22"])
    assert mel.dtype == dtype
    exact = log_mel(wav.double(), PRESETS["waveglow22"])
    torch.testing.assert_close(mel.double(), exact, rtol=torch.finfo(dtype).eps, atol=1e-12)


def test_float32_is_as_good_as_float64_in_quiet_bands() -> None:
    """A loud low tone over a very quiet noise: a float32 FFT puts its rounding errors where the noise is."""
    config = PRESETS["specgrad24"]
    wav = 0.9 * torch.sin(torch.arange(24000) * 0.02) + 3e-5 * torch.randn(
        24000, generator=torch.Generator().manual_seed(1)
    )
    difference = log_mel(wav, config) - log_mel(wav.double(), config)
    assert difference.abs().max() < 1e-5


def test_autocast_does_not_make_it_coarse() -> None:
    wav = noise(2, 8000)
    with torch.autocast("cpu", torch.bfloat16):
        mel = log_mel(wav, PRESETS["rnnms16"])
    assert torch.equal(mel, log_mel(wav, PRESETS["rnnms16"]))


def test_training_works_after_a_first_call_under_inference_mode() -> None:
    """The filters are kept between calls; a tensor born under inference_mode is refused by autograd for ever."""
    config = replace(SMALL, n_mels=7)  # not used before: its filters are made inside
    with torch.inference_mode():
        log_mel(noise(100), config)
    wav = noise(100).requires_grad_()
    log_mel(wav, config).sum().backward()
    assert wav.grad is not None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", PRESETS)
def test_the_gpu_gives_what_the_cpu_gives(name: str) -> None:
    wav = noise(2, 30000)
    mel = log_mel(wav.cuda(), PRESETS[name])
    assert mel.is_cuda
    torch.testing.assert_close(mel.cpu(), log_mel(wav, PRESETS[name]), rtol=0, atol=1e-5)
    with torch.autocast("cuda", torch.bfloat16):
        torch.testing.assert_close(log_mel(wav.cuda(), PRESETS[name]), mel, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("wav", "said"),
    [
        (torch.zeros(2, 1, 4000), r"\(2, 1, 4000\); expected float samples"),
        (torch.zeros(()), r"shape \(\); expected float samples"),
        (torch.zeros(4000, dtype=torch.int16), "torch.int16 tensor"),
    ],
)
def test_another_kind_of_tensor_is_refused_with_a_sentence(wav: torch.Tensor, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        log_mel(wav, PRESETS["rnnms16"])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"win_length": 4096}, "mel.win_length is 4096; expected 1 to n_fft=2048"),
        ({"hop_length": 0}, "mel.hop_length is 0"),
        ({"hop_length": 801}, "mel.hop_length is 801; expected 1 to 800"),
        ({"fmax": 9000.0}, "mel.fmax is 9000.0; expected at most half the sample rate, 8000 Hz"),
        ({"fmin": 8000.0}, "mel.fmin is 8000.0"),
        ({"n_mels": 0}, "mel.n_mels is 0"),
        ({"floor": 0.0}, "mel.floor is 0.0"),
        ({"sample_rate": -1}, "mel.sample_rate is -1"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        MelConfig(**settings)


def test_every_preset_says_its_frames() -> None:
    for config in PRESETS.values():
        for samples in (0, 1, config.hop_length, 12345):
            assert log_mel(torch.zeros(samples), config).shape[1] == config.frames(samples)
