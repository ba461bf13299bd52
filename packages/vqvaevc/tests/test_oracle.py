"""The network is mkotha/WaveRNN's and tarepan/vqvaevc's: same weights, same numbers; same uniforms, same samples.

The arrays in shared-audio/golden/vqvaevc.npz were computed by their code (tools/golden_vqvaevc.py), which gave the same
for both. Where VQVAEVC_ORACLES names a folder with their checkouts, `pytest -m oracle` meets them live.
"""

from __future__ import annotations

import importlib.util
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vocoder_core.mel import log_mel
from vocoder_core.recurrent.engine import CompiledLoop, Loop, TorchLoop
from vqvaevc import VQVAEVC, VQVAEVCConfig, labels
from vqvaevc.cell import Cell
from vqvaevc.condition import Conditioned
from vqvaevc.generate import of_units
from vqvaevc.import_checkpoint import derive_config, renamed
from vqvaevc.labels import LabelConfig, Told
from vqvaevc.model import ORIGINAL_MEL
from vqvaevc.packed import Packed
from vqvaevc.warmup import Past, State, warmed
from vqvaevc.wavernn import WaveRNN

sys.path.append(str(Path(__file__).parent))
from public_vqvae import PUBLISHED, Kind, Sizes, Weights, heard, samples, shapes, uniforms, weights

Arrays = dict[str, np.ndarray]
MASKED = 3 * 448  # weights that the original multiplies by zero after each update


@pytest.fixture(scope="module")
def arrays(golden: Path) -> Arrays:
    with np.load(golden / "vqvaevc.npz") as stored:
        return dict(stored)


def network(public: Weights) -> VQVAEVC:
    """Our network with a public one's weights, which nobody has masked or put on the sphere."""
    tensors = renamed(public)
    model = VQVAEVC(derive_config(tensors))
    model.load_state_dict(model.state_dict() | tensors)
    if model.quantizer is not None:
        model.quantizer.after_step()
    return model.eval()


@pytest.fixture(scope="module")
def small() -> VQVAEVC:
    return network(weights())


def voices() -> Tensor:
    """Speakers (B, S) of the golden arrays."""
    return torch.eye(3).flip(0)[:2]


def close(ours: Tensor, theirs: np.ndarray, atol: float = 1e-5) -> None:
    np.testing.assert_allclose(ours.detach().numpy(), theirs, rtol=0, atol=atol)


# ---- sizes


@pytest.mark.parametrize("speakers", [1, 109])
def test_the_published_size_has_as_many_parameters_less_those_that_are_masked(speakers: int) -> None:
    sizes = Sizes(speakers, *list(vars(PUBLISHED).values())[1:])
    published = sum(math.prod(shape) for shape in shapes("vqvae", sizes).values())
    assert published == 15_041_920 + 8_832 * speakers
    with torch.device("meta"):
        model = VQVAEVC(VQVAEVCConfig(speakers=tuple(f"p{i}" for i in range(speakers))))
        alone = VQVAEVC(VQVAEVCConfig())
    assert sum(p.numel() for p in model.parameters()) == published - MASKED
    assert sum(p.numel() for p in alone.parameters()) == 15_041_920 - MASKED


def test_the_default_config_is_what_the_import_makes_of_published_weights() -> None:
    sizes: dict[Kind, int] = {"vqvae": 16_004_608, "nocond": 13_398_400, "mel": 3_900_824}
    for kind, count in sizes.items():
        assert sum(math.prod(shape) for shape in shapes(kind, PUBLISHED).values()) == count
    meta = {name: torch.empty(shape, device="meta") for name, shape in shapes("vqvae", PUBLISHED).items()}
    names = tuple(f"p{i}" for i in range(109))
    assert derive_config(renamed(meta), names) == VQVAEVCConfig(speakers=names)
    meta = {name: torch.empty(shape, device="meta") for name, shape in shapes("nocond", PUBLISHED).items()}
    with torch.device("meta"):
        model = VQVAEVC(derive_config(renamed(meta)))
    assert sum(p.numel() for p in model.parameters()) == 13_398_400 - MASKED


def test_masked_weights_do_not_exist(small: VQVAEVC) -> None:
    """Whatever is loaded or learned: coarse units have no weight for their own byte, before any update as after it."""
    column = small.wavernn.gru.input_weight()[:, -1].view(3, 8)
    assert small.wavernn.gru.weight_fine.shape == (3, 4)
    assert (column[:, :4] == 0).all()
    assert (column[:, 4:] != 0).all()
    torch.testing.assert_close(column[:, 4:], weights()["overtone.wavernn.gru.weight_ih_l0"][:, -1].view(3, 8)[:, 4:])


# ---- the encoder and the sphere


def test_vectors_codes_and_the_table_are_the_originals(small: VQVAEVC, arrays: Arrays) -> None:
    model = network(weights()).double()
    found = model.condition.encoder(heard(samples(486 + 64 * 9 + 13, seed=1)))
    close(found.transpose(1, 2), arrays["encoded"])
    close(model.quantizer.codebook, arrays["table"], 1e-7)
    assert len(np.unique(arrays["placed"].reshape(-1, 5).round(5), axis=0)) > 3, "more than one code is used"
    close(model.quantizer.decode(model.quantizer.encode(found)).transpose(1, 2), arrays["placed"], 1e-7)


def test_penalties_and_entropy_are_the_originals(arrays: Arrays) -> None:
    """Both penalties a code, whose mean we minimise; theirs are computed in float32."""
    model = network(weights()).double().train()
    found = model.condition.encoder(heard(samples(486 + 64 * 9 + 13, seed=1)))
    model.quantizer.steps.fill_(2000)  # after the ramp: 0.01
    seen = model.quantizer(found)
    vq_pen, encoder_pen = arrays["penalties"].reshape(2, -1).mean(1)
    assert float(seen.losses["codebook"].detach()) == pytest.approx(vq_pen, rel=1e-5)
    assert float((seen.losses["commitment"] + seen.losses["norm"]).detach()) == pytest.approx(
        0.01 * encoder_pen, rel=1e-5
    )
    assert math.log(float(seen.stats["perplexity"])) == pytest.approx(float(arrays["entropy"]), abs=1e-5)


# ---- a training pass


def moved(wave: Tensor, samples: int) -> tuple[Tensor, Tensor]:
    """What is said (B, T) and what is heard, of a wave (B, T) whose sample 5630 theirs predicts first, and ours 5632.

    Its encoder begins a sample earlier in training than in generation, and ours as in generation: hence 3, not 2.
    """
    size = 5632 + samples + 960
    said, ear = (F.pad(wave, (n, 3))[:, :size] for n in (2, 3))
    return said, ear


@dataclass(frozen=True)
class Trained:
    """Log-probabilities of a pass, its losses, its gradients, and how exact they are."""

    said: list[Tensor]
    found: dict[str, Tensor]
    gradients: dict[str, Tensor]
    precision: float


@pytest.fixture(scope="module", params=[torch.float64, torch.float32], ids=["float64", "float32"])
def trained(request: pytest.FixtureRequest) -> Trained:
    """By torch, and on a CPU by the compiled recurrence, which takes float32."""
    model = network(weights()).to(request.param).train()
    model.quantizer.steps.fill_(2000)  # after the ramp
    made = model(*moved(samples(5629 + 64 + 960).to(request.param) / 32768, 64), 5632, 64, voices())
    found = model.loss(made)
    found["loss"].backward()
    gradients = {name: p.grad for name, p in model.named_parameters()}
    precision = 1e-6 if request.param == torch.float64 else 1e-5
    return Trained(
        [said.log_softmax(2) for said in made.logits], {k: v.detach() for k, v in found.items()}, gradients, precision
    )


def test_a_pass_has_the_originals_log_probabilities(trained: Trained, arrays: Arrays) -> None:
    for said, name in zip(trained.said, ("pass_coarse", "pass_fine")):
        assert arrays[name].std() > 0.9, "a network that says something"
        close(said[:, ::5, ::17], arrays[name], trained.precision)


def test_a_pass_has_the_originals_losses(trained: Trained, arrays: Arrays) -> None:
    coarse, fine, vq_pen, encoder_pen, whole, _ = arrays["pass_losses"]
    found = {name: float(value) for name, value in trained.found.items()}
    for name, theirs in ("bits_coarse", coarse), ("bits_fine", fine), ("bits", coarse + fine):
        assert found[name] * math.log(2) == pytest.approx(theirs, abs=trained.precision)
    assert found["codebook"] == pytest.approx(vq_pen, rel=1e-5)
    assert found["commitment"] + found["norm"] == pytest.approx(0.01 * encoder_pen, rel=1e-5)
    assert found["loss"] == pytest.approx(whole, rel=1e-6)


def test_every_gradient_is_the_originals(trained: Trained, arrays: Arrays) -> None:
    """Also through the sphere. Weights that they mask have gradients, too, which change nothing."""
    theirs = renamed({k[9:]: torch.from_numpy(v) for k, v in arrays.items() if k.startswith("gradient.")})
    assert set(trained.gradients) == set(theirs)
    for name, gradient in theirs.items():
        scale = float(gradient.abs().max())
        assert scale > 1e-6, name
        assert float((trained.gradients[name] - gradient).abs().max()) < 3 * trained.precision * max(1.0, scale), name


@pytest.mark.parametrize(("dtype", "precision"), [(torch.float64, 1e-5), (torch.float32, 2e-5)])
def test_the_published_size_says_the_same_of_speech(arrays: Arrays, dtype: torch.dtype, precision: float) -> None:
    """The second of two speakers, 128 samples; theirs are computed in float32, so that in ours two roundings meet."""
    model = network(weights("vqvae", Sizes(2, *list(vars(PUBLISHED).values())[1:]), seed=4)).to(dtype)
    wave = torch.from_numpy(arrays["full_wave"].astype(np.float32))[None].to(dtype) / 32768
    wav, ear = moved(wave, 128)
    with torch.no_grad():
        made = model(wav, ear, 5632, 128, torch.eye(2, dtype=dtype)[1:])
        codes = model.quantizer.encode(model.condition.encoder((ear[:, 666:] * 32768 + 0.5) / 32767.5))
    np.testing.assert_array_equal(codes[0].numpy(), arrays["full_codes"])
    for said, name in zip(made.logits, ("full_coarse", "full_fine")):
        close(said[0].log_softmax(1)[::11, ::17], arrays[name], precision)


# ---- generation


def loop_of(model: VQVAEVC, kind: str, state: State, who: Tensor | None) -> Loop:
    if kind == "torch":
        return TorchLoop(Cell(model, state, who), 1.0)
    pytest.importorskip("numba")
    return CompiledLoop(Packed(model, state, who), 1.0)


def generated(model: VQVAEVC, loop: str, units: Tensor | None, who: Tensor | None, draws: np.ndarray) -> Tensor:
    """Waves (B, 192) of three units, warmed up the original's way."""
    with torch.inference_mode():
        state = warmed(model, Past.zeros(model, 2), None if units is None else units[..., :85], who)
        return loop_of(model, loop, state, who)(of_units(model, units, Conditioned(), 2, 3), draws)


@pytest.mark.parametrize("loop", ["torch", "numba"])
def test_the_same_uniforms_draw_the_originals_samples(loop: str, small: VQVAEVC, arrays: Arrays) -> None:
    """Their own sampler was replaced by inversion of its softmax. A wave of theirs is half a 16-bit step higher."""
    with torch.no_grad():
        vectors = small.condition.encoder(heard(samples(486 + 64 * 88, seed=2)).float())
        units = small.quantizer.decode(small.quantizer.encode(vectors))
    wave = generated(small, loop, units, voices(), uniforms(2, 192, 3))
    assert len(set(arrays["generated_labels"].ravel().tolist())) > 100, "varied samples, or equality says little"
    np.testing.assert_array_equal(labels.split(wave).numpy(), arrays["generated_labels"])
    close(wave, arrays["generated_wave"], 3.1e-5)


@pytest.mark.parametrize("loop", ["torch", "numba"])
def test_without_codes_it_babbles_as_the_original_does(loop: str, arrays: Arrays) -> None:
    wave = generated(network(weights("nocond")), loop, None, None, uniforms(2, 192, 4))
    np.testing.assert_array_equal(labels.split(wave).numpy(), arrays["nocond_labels"])


def test_codes_of_a_recording_are_those_that_generation_hears(small: VQVAEVC) -> None:
    """4,966 samples of silence before it and 960 after, as in training; theirs are zeros, half a step less."""
    wave = samples(1000, seed=8)
    silence = F.pad(wave, (4966, 960))
    with torch.no_grad():
        wanted = small.quantizer.encode(small.condition.encoder(heard(silence).float()))
        found = small.condition.encode(wave.float() / 32768)
    np.testing.assert_array_equal(found[:, : wanted.shape[1]].numpy(), wanted.numpy())
    assert found.shape[1] - wanted.shape[1] in (0, 1), "theirs ends with the last whole 64 samples"


# ---- the mel vocoder: its WaveRNN is ours, without an Overtone


def test_their_mel_vocoder_is_our_wavernn_behind_their_upsampling(arrays: Arrays) -> None:
    public = weights("mel")
    layer = WaveRNN(LabelConfig(), 4, 8, 7, 0)
    layer.load_state_dict({k[8:]: v for k, v in renamed({k: v for k, v in public.items() if "wavernn." in k}).items()})
    mel = torch.from_numpy(np.random.default_rng(5).random((2, 4, 5)))
    up = mel[:, None]
    for i in range(3):
        kernel, bias = (public[f"upsample.up_layers.{i}.{name}"].double() for name in ("weight", "bias"))
        up = F.conv2d(up.repeat_interleave(4, dim=3), kernel, bias)
    told = labels.dual(samples(193, seed=6).double() / 32768)
    told = Told(told.past[..., 1:], told.values[:, 1:], None, told.coarse[:, 1:], told.targets[:, 1:])
    said = layer.double()(up[:, 0, :, 1:-1].transpose(1, 2), told, None)
    for logits, name in zip(said, ("mel_coarse", "mel_fine")):
        close(logits.log_softmax(2)[:, ::13, ::17], arrays[name])


# ---- front end


def test_the_mel_is_the_originals(arrays: Arrays) -> None:
    ours = log_mel(torch.from_numpy(arrays["front_wav"] / np.float32(32768)), ORIGINAL_MEL)
    theirs = arrays["front_mel"]
    assert theirs.shape[1] == ours.shape[1] + 1, "they keep the frame behind the end"
    close(ours[:, 16:-16], theirs[:, 16:-17], 2e-5)  # librosa pads by zeros since 0.10, by reflection before


# ---- live


@contextmanager
def live(name: str) -> Iterator[Any]:
    """A checkout in the folder that VQVAEVC_ORACLES names, through tools/public_wavernn.py."""
    folder = os.environ.get("VQVAEVC_ORACLES")
    tool = Path(__file__).resolve().parents[3] / "tools" / "public_wavernn.py"
    if not folder or not tool.is_file():
        pytest.skip("VQVAEVC_ORACLES names no folder of checkouts: see tools/golden_vqvaevc.py")
    pytest.importorskip("librosa")
    spec = importlib.util.spec_from_file_location("public_wavernn", tool)
    module = importlib.util.module_from_spec(spec)
    sys.modules["public_wavernn"] = module
    spec.loader.exec_module(module)
    with module.project(Path(folder) / name) as its:
        yield its


@pytest.mark.oracle
@pytest.mark.parametrize("name", ["mkotha", "tarepan"])
def test_a_fresh_network_of_the_published_size_live(name: str) -> None:
    """With its own first weights: the log-probabilities of training, and whole generation of one unit."""
    torch.manual_seed(0)
    with live(name) as its, torch.no_grad():
        theirs = its.vqvae.Model(896, 896, 109, (4, 4, 4), True, True, True).eval()
        theirs.after_update()
        ours, who = network(theirs.state_dict()), torch.eye(109)[7:8]
        ear = heard(samples(5929 + 550, rows=1)).float()
        units = theirs.vq(theirs.encoder(ear)[:, :86].unsqueeze(2))[0].squeeze(2)
        draws, drawn = uniforms(1, 64, 9), list[Tensor]()

        def sampled(score: Tensor) -> Tensor:
            below = score.double().softmax(1).cumsum(1) <= draws.reshape(-1)[len(drawn)]
            drawn.append(below.sum(1).clamp(max=255))
            return drawn[-1]

        its.nn.sample_softmax = sampled
        wave = theirs.overtone.generate(units, who)
        state = warmed(ours, Past.zeros(ours, 1), units[:, :85].transpose(1, 2), who)
        made = [
            loop_of(ours, loop, state, who)(of_units(ours, units.transpose(1, 2), Conditioned(), 1, 1), draws)
            for loop in ("torch", "numba")
        ]
    for one in made:
        np.testing.assert_array_equal(labels.split(one)[0].flatten().numpy(), torch.cat(drawn).numpy())
        close(one, wave.numpy(), 3.1e-5)
