"""specgrad-import: five public kinds of checkpoint become a folder; hostile and damaged ones are refused, unread."""

from __future__ import annotations

import os
import pickle
from math import log10
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from specgrad import SpecGrad, SpecGradConfig
from specgrad.diffusion import DiffusionConfig
from specgrad.diffwave import DiffWave, DiffWaveConfig
from specgrad.import_checkpoint import main
from specgrad.shaping import ShapingConfig
from specgrad.wavegrad import WaveGrad, WaveGradConfig
from vocoder_core.mel import MelConfig, log_mel
from vocoder_core.mel_presets import PRESETS

Weights = dict[str, torch.Tensor]
LINEAR_50, LINEAR_1000 = np.linspace(1e-4, 0.05, 50).tolist(), np.linspace(1e-6, 0.01, 1000).tolist()
LMNT = {
    "mel_scale": "htk", "mel_norm": "none", "preemphasis": 0.0, "fmin": 20.0, "scale": 100.0, "minimum": 0.0,
    "maximum": 1.0,
}  # fmt: skip
DIFFWAVE = {"sample_rate": 22050, "n_mels": 80, "n_fft": 1024, "hop_samples": 256, "dilation_cycle_length": 3,
            "noise_schedule": LINEAR_50}  # fmt: skip
PRIORGRAD = DIFFWAVE | {
    "fmin": 0, "fmax": 8000, "use_prior": True, "condition_prior": False, "condition_prior_global": False,
    "std_min": 0.1, "max_energy_override": 4.0, "use_l2loss": True,
}  # fmt: skip
WAVEGRAD = {"sample_rate": 22050, "hop_samples": 300, "crop_mel_frames": 24, "noise_schedule": LINEAR_1000}
TEYSIR = WAVEGRAD | {"n_mels": 128, "fmin": 20, "fmax": 11025, "std_min": 0.01, "lifter": 24}


def diffwave(
    names: str = "spectrogram_upsampler.conv{}.", strides: tuple[int, ...] = (16, 16), mels: int = 80
) -> Weights:
    """A small DiffWave's tensors under public names."""
    torch.manual_seed(0)
    config = DiffWaveConfig(channels=4, layers=5, cycle=3, embedding=16, steps=50, strides=strides)
    state = DiffWave(config, MelConfig(n_mels=mels, hop_length=int(np.prod(strides)), win_length=1200)).state_dict()
    public = {}
    for name, tensor in state.items():
        for n in (0, 1):
            name = name.replace(f"spectrogram_upsampler.layers.{n}.", names.format(n + (names.count("conv"))))
        public[name] = tensor
    return public


def wavegrad() -> Weights:
    torch.manual_seed(0)
    config = WaveGradConfig(widths=(4, 6, 6, 8, 8), widest=10)
    state = WaveGrad(config, PRESETS["specgrad24"]).state_dict()
    state["last_conv.weight"] *= 1e-3  # untrained, it would multiply its own noise
    return state


def checkpoint(weights: Weights, params: dict[str, Any] | None) -> dict[str, Any]:
    """As the learners of PriorGrad, DiffWave, WaveGrad and Teysir-B's SpecGrad write it."""
    optimizer = {"state": {0: {"step": torch.tensor(5.0), "exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 2e-4}]}
    return {"step": 7, "model": weights, "optimizer": optimizer, "params": params, "scaler": {}}


SEED_NAMES = "spectrogram_upsampler.layers.{}.0."
KINDS: dict[str, tuple[Any, list[str]]] = {
    "priorgrad": (lambda: checkpoint(diffwave(), PRIORGRAD), []),
    "diffwave": (lambda: checkpoint(diffwave(), DIFFWAVE), []),
    "wavegrad": (lambda: checkpoint(wavegrad(), WAVEGRAD), []),
    "teysir": (lambda: checkpoint(wavegrad(), TEYSIR), []),
    "seed": (lambda: diffwave(SEED_NAMES, (10, 30), 128), ["--project", "seed", "--mel", "specgrad24"]),
    "several GPUs": (lambda: checkpoint({f"module.{k}": v for k, v in diffwave().items()}, PRIORGRAD), []),
    "bare": (diffwave, ["--project", "priorgrad"]),
}


def imported(kind: str, folder: Path) -> SpecGrad:
    make, more = KINDS[kind]
    torch.save(make(), folder / "weights.pt")
    assert main([str(folder / "weights.pt"), str(folder / "out"), *more]) == 0
    return SpecGrad.from_pretrained(folder / "out")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_becomes_a_vocoder(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = imported(kind, tmp_path)
    assert f"specgrad-infer in.wav out.wav --checkpoint {tmp_path / 'out'}" in capsys.readouterr().out
    sizes: dict[str, Any] = {"strides": (10, 30), "mels": 128} if kind == "seed" else {}
    wanted = wavegrad() if kind in ("wavegrad", "teysir") else diffwave(**sizes)
    public = [name for name in wanted if "upsampler" not in name]
    for name in public:
        assert torch.equal(model.net.state_dict()[name], wanted[name]), name
    assert torch.equal(model.mel_mean, torch.zeros(model.config.mel.n_mels)), "it reads mels as it did"
    assert torch.equal(model.mel_std, torch.ones(model.config.mel.n_mels))
    hop = model.config.mel.hop_length
    wav = model.synthesize(log_mel(0.01 * torch.randn(1, 4 * hop), model.config.mel), seed=0)
    assert wav.shape == (1, 4 * hop)
    assert wav.isfinite().all()
    assert wav.std() > 0


def test_priorgrads_front_end_noise_and_levels(tmp_path: Path) -> None:
    config = imported("priorgrad", tmp_path).config
    assert config.mel == PRESETS["hifi22"]
    assert (config.process, config.network) == ("diffusion", "diffwave")
    assert config.diffwave == DiffWaveConfig(channels=4, layers=5, cycle=3, embedding=16, steps=50, strides=(16, 16))
    assert config.diffusion == DiffusionConfig("discrete", 1e-4, 0.05, 50, "l2", "time")
    silence = (80 * 1e-5) ** 0.5
    assert config.shaping == ShapingConfig(prior="energy", phase="zero", floor=0.1, energies=(silence, 4.0))


def test_lmnts_front_ends_and_levels(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "w").mkdir()
    diffwave_config, wavegrad_config = (
        imported("diffwave", tmp_path / "d").config,
        imported("wavegrad", tmp_path / "w").config,
    )
    assert diffwave_config.mel == MelConfig(22050, 1024, 1024, 256, 80, offset=20 * log10(384**0.5) - 80, **LMNT)  # type: ignore[arg-type]
    assert wavegrad_config.mel == MelConfig(22050, 2048, 1200, 300, 128, offset=20 * log10(450**0.5) - 80, **LMNT)  # type: ignore[arg-type]
    assert diffwave_config.diffusion == DiffusionConfig("discrete", 1e-4, 0.05, 50, "l1", "plain")
    assert wavegrad_config.diffusion == DiffusionConfig("continuous", 1e-6, 0.01, 1000, "l1", "plain")
    assert diffwave_config.shaping.prior == wavegrad_config.shaping.prior == "white"
    assert wavegrad_config.wavegrad == WaveGradConfig((4, 6, 6, 8, 8), 10, (5, 5, 3, 2, 2), embedding_scale=1.0)


def test_teysirs_front_end_and_noise(tmp_path: Path) -> None:
    config = imported("teysir", tmp_path).config
    assert config.mel == MelConfig(
        22050, 2048, 1200, 300, 128, 20.0, 11025.0, mel_norm="slaney", magnitude_eps=1e-9, preemphasis=0.0, log="ln",
        offset=0.0, scale=1.0, minimum=None,
    )  # fmt: skip
    assert config.shaping == ShapingConfig(smoothing="onesided", lifter=24)
    assert config.diffusion.levels == "continuous"


def test_what_the_params_say_is_taken(tmp_path: Path) -> None:
    params = PRIORGRAD | {"sample_rate": 24000, "fmax": 12000, "use_prior": False,
                          "noise_schedule": np.linspace(1e-4, 0.02, 200).tolist()}  # fmt: skip
    torch.save(checkpoint(diffwave(), params), tmp_path / "weights.pt")
    assert main([str(tmp_path / "weights.pt"), str(tmp_path / "out")]) == 0
    config = SpecGrad.from_pretrained(tmp_path / "out").config
    assert (config.mel.sample_rate, config.mel.fmax, config.diffwave.steps) == (24000, 12000, 200)
    assert config.diffusion == DiffusionConfig("discrete", 1e-4, 0.02, 200, "l2", "time")
    assert config.shaping.prior == "white"


# ---- refusals


class Payload:
    """Unpickled by Python's own unpickler, it calls `function(*arguments)`."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.filterwarnings("ignore:Detected pickle protocol 4")
@pytest.mark.parametrize("wrapping", ["zip", "legacy", "pickle"])
@pytest.mark.parametrize("function", [os.system, exec, eval])
def test_a_hostile_pickle_is_refused_with_a_sentence_and_nothing_runs(
    function: Any, wrapping: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target, source = tmp_path / "ran", tmp_path / "weights.pt"
    order = f"touch {target}" if function is os.system else f"open({str(target)!r}, 'w')"
    tree = checkpoint(diffwave(), PRIORGRAD) | {"scaler": Payload(function, order)}
    if wrapping == "pickle":
        source.write_bytes(pickle.dumps(tree["scaler"]))
    else:
        torch.save(tree, source, _use_new_zipfile_serialization=wrapping == "zip")
    assert main([str(source), str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"specgrad-import: error: {source}: ")
    assert "nothing in it was run" in error
    assert len(error.splitlines()) == 1
    assert not target.exists()
    assert not (tmp_path / "out").exists()
    pickle.loads(pickle.dumps(Payload(function, order)))
    assert target.exists(), "the payload works, so this test can fail"


@pytest.mark.parametrize("keep", [0, 10, 2000])
def test_a_truncated_file_is_refused(keep: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(checkpoint(diffwave(), PRIORGRAD), tmp_path / "whole.pt")
    (tmp_path / "half.pt").write_bytes((tmp_path / "whole.pt").read_bytes()[:keep])
    assert main([str(tmp_path / "half.pt"), str(tmp_path / "out")]) == 2
    assert "not a checkpoint that can be read safely" in capsys.readouterr().err


def without(weights: Weights, name: str) -> Weights:
    return {key: tensor for key, tensor in weights.items() if key != name}


unconditional = {k: v for k, v in diffwave().items() if "upsampler" not in k and "conditioner" not in k}
CROOKED = DIFFWAVE | {"noise_schedule": [1e-4, 1e-3, 0.05]}
REFUSED: dict[str, tuple[Any, list[str], str]] = {
    "another network": ({"encoder.weight": torch.ones(2, 2)}, [], "(encoder.weight, ...) are no known network's"),
    "no tensors": ({"model": {"step": 3}}, [], "holds no tensors; expected a checkpoint of PriorGrad"),
    "whose?": (diffwave(), [], "diffwave and priorgrad have the same tensors; say whose it is with --project"),
    "whose is it?": (wavegrad(), [], "teysir and wavegrad have the same tensors"),
    "unconditional": (checkpoint(unconditional, DIFFWAVE), [], "an unconditional DiffWave, which reads no mel"),
    "reads energy": (checkpoint(diffwave(), PRIORGRAD | {"condition_prior": True}), [], "condition_prior"),
    "the seed's mel": (diffwave(SEED_NAMES, (10, 30), 128), ["--project", "seed"], "for example --mel specgrad24"),
    "no such mel": (checkpoint(diffwave(), DIFFWAVE), ["--mel", "mine"], "--mel mine: no such front end; expected"),
    "other hop": (checkpoint(diffwave(), DIFFWAVE | {"hop_samples": 200}), [], "product is hop_length 200"),
    "crooked": (checkpoint(diffwave(), CROOKED), [], "is no straight line"),
    "no schedule": (checkpoint(diffwave(), DIFFWAVE | {"noise_schedule": "wg50"}), [], "is no straight line"),
    "text": (checkpoint(diffwave(), DIFFWAVE | {"sample_rate": "high"}), [], "sample_rate = 'high'; expected a number"),
    "not whole": (checkpoint(without(diffwave(), "skip_projection.bias"), DIFFWAVE), [], "skip_projection.bias"),
    "no input": (checkpoint(without(diffwave(), "input_projection.weight"), DIFFWAVE), [], "input_projection.weight"),
    "not a number": (
        checkpoint(diffwave() | {"skip_projection.bias": torch.full((4,), torch.nan)}, DIFFWAVE), [],
        "skip_projection.bias holds NaN or infinite weights",
    ),
    "misshapen": (checkpoint(diffwave() | {"skip_projection.bias": torch.ones(5)}, DIFFWAVE), [], "size mismatch"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_vocoder_of_the_five_is_refused(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree, more, said = REFUSED[name]
    torch.save(tree, tmp_path / "weights.pt")
    assert main([str(tmp_path / "weights.pt"), str(tmp_path / "out"), *more]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_no_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "none.pt"), str(tmp_path / "out")]) == 2
    assert "no such file; expected a checkpoint of PriorGrad" in capsys.readouterr().err


def test_an_imported_network_estimates_what_it_did(tmp_path: Path) -> None:
    """The whole way: tensors under public names, through the file, to the same numbers. See also test_oracle.py."""
    torch.manual_seed(1)
    config = DiffWaveConfig(channels=4, layers=5, cycle=3, embedding=16, steps=50)
    weights = diffwave()
    weights["output_projection.weight"] = torch.randn(1, 4, 1)
    torch.save(checkpoint(weights, PRIORGRAD), tmp_path / "weights.pt")
    assert main([str(tmp_path / "weights.pt"), str(tmp_path / "out")]) == 0
    model = SpecGrad.from_pretrained(tmp_path / "out")
    original = DiffWave(config, PRESETS["hifi22"])
    original.load_state_dict(
        {k.replace("conv1", "layers.0").replace("conv2", "layers.1"): v for k, v in weights.items()}
    )
    mel, wave, step = torch.randn(2, 80, 3), torch.randn(2, 768), torch.tensor([0.5, 49.0])
    with torch.no_grad():
        ours = model.estimate(wave, model.condition(mel), step)
        assert torch.equal(ours, original(wave, original.condition(mel, mel), step))
    assert isinstance(model.config, SpecGradConfig)
