"""The public WaveGlows, with the same weights: same z, log-scales, log-determinants, loss, gradients, waves and mels.

The arrays in shared-audio/golden/waveglow_vq.npz were computed by their code (tools/golden_waveglow_vq.py). Where
WAVEGLOW_ORACLES names a folder with their checkouts, `pytest -m oracle` meets them live.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vocoder_core.config import load
from vocoder_core.mel import log_mel
from vocoder_core.mel_presets import PRESETS
from waveglow_vq import WaveGlowVQ
from waveglow_vq.flow import Flow, FlowConfig
from waveglow_vq.import_checkpoint import derive_config
from waveglow_vq.public_layouts import fused, renamed, sizes
from waveglow_vq.settings import Settings

sys.path.append(str(Path(__file__).parent))
from public_waveglow import Sizes, inputs, shapes, weights

PRECISIONS = [(torch.float64, 1e-10), (torch.float32, 1e-5)]
Arrays = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def arrays(golden: Path) -> Arrays:
    with np.load(golden / "waveglow_vq.npz") as stored:
        return dict(stored)


def network(public: dict[str, Tensor], dtype: torch.dtype = torch.float64, swap_odd: bool = False) -> Any:
    """Our flow with a public network's weights, and its upsampled condition of a mel."""
    state = fused(public)
    found = sizes(state, swap_odd)
    flow = Flow(found.flow, found.n_mels, 1)
    flow.load_state_dict(renamed(state))
    upsample = {name: state[f"upsample.{name}"].to(dtype).requires_grad_() for name in ("weight", "bias")}

    def condition(mel: Tensor) -> Tensor:
        up = F.conv_transpose1d(mel.to(dtype), upsample["weight"], upsample["bias"], stride=256)
        return up[..., : 256 * mel.shape[2]]

    return SimpleNamespace(flow=flow.to(dtype), condition=condition, upsample=upsample, state=state)


def config_path(name: str) -> Path:
    return Path(str(resources.files("waveglow_vq") / "configs" / f"{name}.yaml"))


def passed(net: Any, dtype: torch.dtype) -> Any:
    mel, wav, _ = inputs()
    return net.flow(wav.to(dtype), net.condition(mel))


def loss_of(flowed: Any) -> Tensor:
    """WaveGlowVQ.nll of a flow alone."""
    loss: Tensor = ((flowed.z.square().sum(dim=(1, 2)) / 2 - flowed.log_det()) / flowed.z[0].numel()).mean()
    return loss


# ---- forward


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("layout", ["fused", "dle", "old"])
def test_z_log_scales_and_log_determinants_are_the_originals(
    layout: str, dtype: torch.dtype, tolerance: float, arrays: Arrays
) -> None:
    made = passed(network(weights(layout), dtype), dtype)
    log_s = torch.cat([each.transpose(1, 2)[..., ::7] for each in made.log_scales], 1)
    theirs = arrays[f"{layout}_z"]
    assert theirs.std() > 0.3 and arrays[f"{layout}_log_s"].std() > 0.2, "a network that does something"
    np.testing.assert_allclose(made.z[..., ::7].detach().numpy(), theirs, rtol=0, atol=tolerance)
    np.testing.assert_allclose(log_s.detach().numpy(), arrays[f"{layout}_log_s"], rtol=0, atol=tolerance)
    log_det = torch.stack(made.log_dets).detach() / made.z.shape[2]
    theirs = arrays[f"{layout}_log_det"] / made.z[:, 0].numel()  # over both rows
    rounded = 1e-6 if layout == "dle" else 0.0  # taken in float32
    np.testing.assert_allclose(log_det.numpy(), theirs, rtol=0, atol=tolerance + rounded)


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("layout", ["fused", "dle", "old"])
def test_a_network_whose_weight_norm_was_removed_is_the_same(
    layout: str, dtype: torch.dtype, tolerance: float, arrays: Arrays
) -> None:
    plain = weights(layout, normed=False)
    made = passed(network(plain, dtype), dtype)
    assert not any("parametrizations" in name for name in network(plain).flow.state_dict())
    rounded = 1e-5  # the products of g and v are kept in float32
    np.testing.assert_allclose(made.z[..., ::7].detach().numpy(), arrays[f"{layout}_z"], rtol=0, atol=rounded)


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
def test_loss_and_gradients_are_nvidias(dtype: torch.dtype, tolerance: float, arrays: Arrays) -> None:
    """Of every parameter by its own name: the norm of its gradient, and the gradient along cos(0, 1, 2, ...)."""
    public = weights()
    net = network(public, dtype)
    loss = loss_of(passed(net, dtype))
    assert float(loss.detach()) == pytest.approx(
        float(arrays["fused_loss"]), abs=1e-5 if dtype == torch.float32 else 1e-10
    )
    loss.backward()
    ours = {name: p.grad for name, p in net.flow.named_parameters()}
    found = []
    for name in sorted(public):
        if name.startswith("upsample."):
            grad = net.upsample[name.removeprefix("upsample.")].grad
        else:
            (renamed_to,) = renamed({name: public[name]})
            grad = ours[renamed_to]
            if ".in_layers." in name and name.endswith("_v"):  # back to their (2C, C, taps)
                grad = grad.view(len(grad), Sizes.kernel, -1).transpose(1, 2)
        flat = grad.double().flatten()
        found.append([float(flat.norm()), float(flat @ torch.cos(torch.arange(len(flat)).double()))])
    assert len(found) == len(ours) + 2
    scale = arrays["fused_gradients"][:, :1]
    assert scale.min() > 1e-6
    assert (np.abs(np.array(found) - arrays["fused_gradients"]) / scale).max() < tolerance


# ---- and back


@pytest.mark.parametrize("layout", ["fused", "dle"])
def test_a_wave_out_of_known_noise_is_the_originals(layout: str, arrays: Arrays) -> None:
    """Theirs computes in float32."""
    net, (mel, _, z) = network(weights(layout)), inputs()
    wave = net.flow.inverse(0.7 * z, net.condition(mel))[:, ::7].detach()
    np.testing.assert_allclose(wave.numpy(), arrays[f"{layout}_wave"], rtol=0, atol=1e-5)


def test_the_oldest_checkpoints_swap_halves(arrays: Arrays) -> None:
    """NVIDIA's glow_old.py: in every odd flow the second half stays as it is."""
    public, (mel, _, z) = weights("dle", Sizes(every=4)), inputs()
    swapped, not_swapped = network(public, swap_odd=True), network(public)
    wave = swapped.flow.inverse(0.7 * z, swapped.condition(mel))[:, ::7].detach()
    np.testing.assert_allclose(wave.numpy(), arrays["swapped_wave"], rtol=0, atol=2e-5)
    other = not_swapped.flow.inverse(0.7 * z, not_swapped.condition(mel))[:, ::7].detach()
    assert np.abs(other.numpy() - arrays["swapped_wave"]).max() > 0.1


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
def test_the_inverse_undoes_the_public_network(dtype: torch.dtype, tolerance: float) -> None:
    net, (mel, wav, _) = network(weights(), dtype), inputs()
    again = net.flow.inverse(passed(net, dtype).z, net.condition(mel))
    assert (again - wav).abs().max() < tolerance


# ---- sizes


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("nvidia256", 87_879_272),
        ("paper512", 268_294_760),
        # the seed's 156.9 M and 182.5 M, less its FiLM behind couplings and its 512 x 512 table of speakers
        ("seed_ljs_vq", 156_910_392 - 884_880),
        ("seed_vctk", 156_910_392 - 884_880 + 12 * 2 * 256 * 8 * 512),
    ],
)
def test_public_sizes_are_those_of_the_configs(name: str, parameters: int) -> None:
    with torch.device("meta"):
        model = WaveGlowVQ(load(Settings, config_path(name)).model)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


@pytest.mark.parametrize(("name", "channels"), [("nvidia256", 256), ("paper512", 512)])
def test_a_config_is_what_the_import_makes_of_published_weights(name: str, channels: int) -> None:
    """By the 686 tensors of NVIDIA's layout, and the 938 of DeepLearningExamples'."""
    published = Sizes(80, 12, every=4, layers=8, channels=channels)
    for layout, count in ("fused", 686), ("dle", 938):
        tensors = {k: torch.empty(shape, device="meta") for k, shape in shapes(layout, published).items()}
        assert len(tensors) == count
        made = derive_config(sizes(fused(tensors)), "waveglow22")
        assert made == load(Settings, config_path(name)).model


@pytest.mark.parametrize(
    ("group", "layers", "channels", "early", "millions"), [(16, 7, 192, 4, 18.0), (32, 6, 128, 8, 7.2)]
)
def test_small_flows_on_a_plain_mel_have_their_reckoned_size(
    group: int, layers: int, channels: int, early: int, millions: float
) -> None:
    """S and XS, as added up by hand: 80 bands once a frame, no prenet, no FiLM, no weight norm."""
    config = FlowConfig(
        group,
        8,
        layers,
        channels,
        early_every=4,
        early_size=early,
        prenet=0,
        subframes=1,
        film=False,
        weight_norm=False,
    )
    with torch.device("meta"):
        found = sum(parameter.numel() for parameter in Flow(config, 80, 256).parameters())
    wanted = 0
    for width in config.widths:
        last = 2 * layers - 1  # the last layer of a WN has no residual
        wanted += width**2 + (80 + 1) * 2 * channels * layers
        wanted += (width // 2 + 1) * channels + layers * (3 * channels + 1) * 2 * channels
        wanted += last * (channels + 1) * channels + (channels + 1) * width
    assert found == wanted
    assert round(found / 1e6, 1) == millions


# ---- front end


def test_the_front_end_of_a_public_network_is_tacotrons(arrays: Arrays) -> None:
    """Its STFT is a convolution with a matrix in float32, and its logarithm ends at 1e-5."""
    ours = log_mel(torch.from_numpy(arrays["front_wav"] / 32768), PRESETS["waveglow22"]).numpy()
    theirs = arrays["front_mel"]
    assert theirs.shape[1] == ours.shape[1] + 1, "they keep the frame behind the end"
    np.testing.assert_allclose(ours, theirs[:, :-1], rtol=0, atol=2e-4)
    assert np.abs(ours - theirs[:, :-1]).mean() < 1e-5


# ---- live


@contextmanager
def live(project: str, module: str) -> Iterator[Any]:
    """A module of a checkout in the folder that WAVEGLOW_ORACLES names."""
    folder = os.environ.get("WAVEGLOW_ORACLES")
    if not folder:
        pytest.skip("WAVEGLOW_ORACLES names no folder of checkouts: see tools/golden_waveglow_vq.py")
    path = str(Path(folder) / project)
    sys.path.insert(0, path)
    try:
        yield importlib.import_module(module)
    finally:
        sys.path.remove(path)
        for name in [name for name, held in sys.modules.items() if str(folder) in str(getattr(held, "__file__", ""))]:
            del sys.modules[name]


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore")  # torch.qr, weight_norm, torch.jit: deprecated
@pytest.mark.parametrize(
    ("project", "module"),
    [("waveglow", "glow"), ("dle/PyTorch/SpeechSynthesis/Tacotron2", "waveglow.model")],
)
def test_a_network_of_the_published_depth_live(project: str, module: str) -> None:
    """12 flows of 8 layers on 80 mels, 32 channels wide, with the weights it starts with and random last layers."""
    torch.manual_seed(0)
    with live(project, module) as loaded:
        theirs = loaded.WaveGlow(80, 12, 8, 4, 2, {"n_layers": 8, "n_channels": 32, "kernel_size": 3})
        for wn in theirs.WN:
            torch.nn.init.normal_(wn.end.weight, std=0.02)
        mel, wav = torch.randn(2, 80, 12) - 5, 0.3 * torch.randn(2, 3072)
        net = network(theirs.state_dict(), torch.float32)
        with torch.no_grad():
            z, log_s, log_det = theirs((mel, wav))
            made = net.flow(wav, net.condition(mel))
    assert (made.z - z).abs().max() < 1e-5
    assert max(float((a.transpose(1, 2) - b).abs().max()) for a, b in zip(made.log_scales, log_s)) < 1e-5
    assert torch.allclose(2 * torch.stack(made.log_dets), torch.stack(log_det), atol=1e-3)
    assert torch.stack([each.std() for each in log_s]).min() > 1e-3
