"""The search for betas: it finds a known optimum, keeps within the training, and its file is a schedule."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from specgrad import SpecGrad, SpecGradConfig, search
from specgrad.diffusion import DiffusionConfig
from specgrad.schedules import SCHEDULES, choose, levels
from specgrad.shaping import ShapingConfig
from specgrad.stft import StftConfig
from vocoder_core.mel_presets import PRESETS

PAPER = DiffusionConfig()


def test_it_finds_the_best_betas_of_a_smooth_score() -> None:
    best = np.log(SCHEDULES["pg6"])
    asked = []

    def score(betas: tuple[float, ...]) -> float:
        asked.append(betas)
        return float(np.square(np.log(betas) - best).sum())

    found, value = search.descend(score, SCHEDULES["wg6"], PAPER, 4)
    assert value < 0.02 * score(SCHEDULES["wg6"]) and value == score(found)
    assert len(asked) <= 100


def test_it_never_goes_beyond_what_the_network_was_trained_on() -> None:
    steps = DiffusionConfig(levels="discrete", beta_start=1e-4, beta_end=0.05, steps=50)
    known = levels(steps.training)
    noisiest, _ = search.descend(lambda betas: float(levels(betas)[-1]), SCHEDULES["pg6"], steps, 3)
    assert known[-1] <= levels(noisiest)[-1] < levels(SCHEDULES["pg6"])[-1]
    cleanest, _ = search.descend(lambda betas: -float(levels(betas)[0]), SCHEDULES["pg6"], steps, 3)
    assert levels(cleanest)[0] <= known[0] + 1e-9


@pytest.mark.parametrize("process", ["diffusion", "flow"])
def test_its_file_is_a_schedule(
    process: str, tmp_path: Path, shared_audio: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    small = StftConfig(channels=8, layers=1, encoder_layers=1)
    config = SpecGradConfig(mel=PRESETS["asr16"], process=process, shaping=ShapingConfig(), stft=small)  # type: ignore[arg-type]
    SpecGrad(config).save_pretrained(tmp_path)
    clip, file = str(shared_audio / "slt" / "arctic_a0009.flac"), tmp_path / "mine.yaml"
    status = search.main(
        [clip, str(file), "--checkpoint", str(tmp_path), "--steps", "1", "--sweeps", "1", "--device", "cpu"]
    )
    if process == "flow":
        assert status == 2 and "a flow has no betas" in capsys.readouterr().err
    else:
        assert status == 0 and len(choose(file, 1, PAPER.training)) == 1
