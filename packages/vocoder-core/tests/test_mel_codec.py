"""Encoder and decoder of a mel: rates and reach, and what enters beside the codes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vocoder_core.mel_codec import Decoder, Encoder, envelope
from vocoder_core.mel_presets import PRESETS

MEL = PRESETS["asr16"]


def decoder(side: int = 0, frames_per_code: int = 4, speaker_size: int = 3) -> Decoder:
    torch.manual_seed(0)
    return Decoder(
        MEL, 8, channels=12, frames_per_code=frames_per_code, coarse_layers=2, fine_layers=2,
        speaker_size=speaker_size, side=side,
    )  # fmt: skip


@pytest.mark.parametrize("frames", [1, 7, 24])
def test_the_encoder_covers_every_frame(frames: int) -> None:
    made = Encoder(80, 8, channels=12, frames_per_code=4, layers=2)(torch.randn(2, 80, frames))
    assert made.shape == (2, 8, -(-frames // 4)) and made.isfinite().all()


def test_instance_norm_takes_the_mean_voice_out() -> None:
    encoder, mel = Encoder(80, 8, channels=12, frames_per_code=2, layers=1), torch.randn(1, 80, 40)
    torch.testing.assert_close(encoder(mel + torch.randn(80, 1)), encoder(mel), atol=1e-4, rtol=1e-4)
    bare = Encoder(80, 8, channels=12, frames_per_code=2, layers=1, instance_norm=False)
    assert (bare(mel + torch.randn(80, 1)) - bare(mel)).abs().max() > 0.1


def test_what_enters_beside_the_codes_reaches_its_own_frames() -> None:
    """At the frames' rate: a change of one frame moves that one, and what the fine layers reach, 1 + 1 + 2 around."""
    made, vectors, who, side = decoder(side=2), torch.randn(1, 8, 10), torch.randn(1, 3), torch.randn(1, 2, 40)
    other = side.clone()
    other[0, 1, 21] += 1
    moved = (made(vectors, who, other) - made(vectors, who, side)).abs().amax(1)[0] > 1e-6
    assert moved[21] and moved.nonzero()[:, 0].min() == 17 and moved.nonzero()[:, 0].max() == 25


def test_a_shorter_side_ends_in_silence() -> None:
    made, vectors, who, side = decoder(side=2), torch.randn(1, 8, 10), torch.randn(1, 3), torch.randn(1, 2, 38)
    full = torch.cat([side, torch.zeros(1, 2, 2)], dim=2)
    assert torch.equal(made(vectors, who, side), made(vectors, who, full))
    without = set(decoder().state_dict())
    assert set(made.state_dict()) - without == {"side.weight", "side.bias"} and without < set(made.state_dict())


def test_levels_begin_in_the_middle_of_what_a_mel_can_be() -> None:
    from vocoder_core.mel import loudest_level, silence_level

    made = decoder()(torch.randn(4, 8, 50), torch.randn(4, 3)).mean()
    assert abs(made - (silence_level(MEL) + loudest_level(MEL)) / 2) < 1


def test_the_envelope_is_a_cut_cosine_transform_and_has_no_pitch() -> None:
    fft = pytest.importorskip("scipy.fft")
    mel = torch.randn(80, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).numpy()
    slow = fft.dct(mel, axis=0, norm="ortho")
    slow[20:] = 0
    np.testing.assert_allclose(
        (envelope(80).double() @ torch.from_numpy(mel)).numpy(), fft.idct(slow, axis=0, norm="ortho"), atol=1e-4
    )
    ripple = torch.cos(2 * torch.pi * torch.arange(80) / 5)[:, None]  # harmonics of 185 Hz, 37 Hz a band
    assert (envelope(80) @ ripple).norm() < 0.1 * ripple.norm()
