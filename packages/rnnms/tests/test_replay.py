"""The decoder's frame as a CUDA graph: what of it a CPU can test, and on a GPU the graph itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from rnnms import infer
from rnnms.cell import Cell, Frames
from rnnms.generate import generate_codes, stream
from rnnms.model import RNNMS, Decoder, RNNMSConfig
from vocoder_core.mel import MelConfig
from vocoder_core.recurrent.draws import stream_keys, uniforms
from vocoder_core.recurrent.engine import Loop, Stream, TorchLoop
from vocoder_core.recurrent.narrow import Precision
from vocoder_core.recurrent.replay import Replayed
from vocoder_core.recurrent.tape import Taped

HOP, ROWS, FRAMES = 20, 3, 9
LOOPS: dict[str, Callable[[Cell], Loop]] = {
    "eager": lambda cell: Replayed(cell, 1.0, eager=True),
    "taped": lambda cell: Taped(cell, 1.0),
}


@pytest.fixture
def decoder() -> Decoder:
    """Weights large enough for the state and the labels to matter."""
    torch.manual_seed(0)
    config = RNNMSConfig(
        mel=MelConfig(hop_length=HOP, win_length=80, n_fft=128, n_mels=9), bits=7, encoder_size=5, embedding_size=11,
        hidden_size=37, linear_size=43,
    )  # fmt: skip
    network = RNNMS(config).eval().decoder
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(2)
    return network


@pytest.fixture
def latents() -> Tensor:
    return torch.randn(ROWS, FRAMES, 10, generator=torch.Generator().manual_seed(1))


def spoken(loop: Loop, latents: Tensor, ends: list[int]) -> Tensor:
    rows, told = len(latents), Frames(latents)
    speech = Stream(loop, stream_keys(list(range(rows)), rows))
    return torch.cat([speech(told.cut(a, b)) for a, b in zip([0, *ends], ends)], dim=1)


@pytest.mark.parametrize("rows", [1, ROWS])
@pytest.mark.parametrize("ends", [[FRAMES], [1, 3, FRAMES]])
@pytest.mark.parametrize("way", LOOPS)
def test_codes_are_those_of_the_torch_loop(
    decoder: Decoder, latents: Tensor, way: str, ends: list[int], rows: int
) -> None:
    expected = spoken(TorchLoop(Cell(decoder, rows), 1.0), latents[:rows], [FRAMES])
    assert torch.equal(spoken(LOOPS[way](Cell(decoder, rows)), latents[:rows], ends), expected)
    assert len(expected.unique()) > 20


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_frame_stays_on_its_device(decoder: Decoder, latents: Tensor, precision: Precision) -> None:
    """On one without memory: whatever meets it and does not lie there comes from the host."""
    loop = Replayed(Cell(decoder.to("meta"), ROWS), 1.0, precision, eager=True)
    u = uniforms(stream_keys(0, ROWS), 0, 2 * HOP)[..., None]
    assert loop(Frames(latents[:, :2].to("meta")), u).shape == (ROWS, 2 * HOP)


def test_logits_of_16_bit_weights_are_near_those_of_float32(decoder: Decoder, latents: Tensor) -> None:
    """Along the same labels: what a sample costs more, in bits, by what is drawn from; fp16 less than bf16."""
    codes = generate_codes(decoder, latents, 0, backend="torch")
    logits = {}
    for precision in ("fp32", "bf16", "fp16"):
        loop = Replayed(Cell(decoder, ROWS), 1.0, precision, eager=True)
        cell, made = loop.cell, []
        with torch.inference_mode(), loop.narrow or torch.inference_mode():
            for t in range(FRAMES * HOP):
                if t % HOP == 0:
                    cell.begin(Frames(latents[:, t // HOP : t // HOP + 1]))
                made.append(cell.logits(0))
                cell.take(codes[:, t])
        logits[precision] = torch.stack(made, 1).double().log_softmax(2)
    exact = logits["fp32"]
    bits = {name: ((exact.exp() * (exact - each)).sum(2).mean() / np.log(2)).item() for name, each in logits.items()}
    assert 0 < bits["fp16"] < bits["bf16"] < 0.01


def test_precision_is_of_the_graph_alone(decoder: Decoder, latents: Tensor) -> None:
    with pytest.raises(ValueError, match="precision is 'bf16' with backend 'numba'; expected fp32, or 'graph' on CUDA"):
        generate_codes(decoder, latents, 0, precision="bf16")
    with pytest.raises(ValueError, match="precision is 'fp8'; expected one of fp32, bf16, fp16"):
        generate_codes(decoder, latents, 0, precision="fp8")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="backend is 'graph' on cpu; a CUDA graph runs on a CUDA GPU: choose 'auto'"):
        generate_codes(decoder, latents, 0, backend="graph")


def test_the_command_says_in_one_sentence_that_a_cpu_has_no_graphs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "mel.npy", np.full((80, 3), -0.5, np.float32))
    arguments = [str(tmp_path / "mel.npy"), str(tmp_path / "out.wav"), "--backend", "graph", "--device", "cpu"]
    assert infer.main(arguments) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert "backend is 'graph' on cpu; a CUDA graph runs on a CUDA GPU: choose 'auto'" in last


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("rows", [1, ROWS])
def test_a_graph_says_what_the_torch_loop_says(decoder: Decoder, latents: Tensor, rows: int) -> None:
    decoder, own = decoder.cuda(), latents[:rows].cuda()
    speech = stream(decoder, rows, list(range(rows)), 1.0, "auto")
    assert isinstance(speech.loop, Replayed)
    told = Frames(own)
    made = torch.cat([speech(told.cut(a, b)) for a, b in [(0, 1), (1, 4), (4, FRAMES)]], dim=1)
    assert speech.loop.graph is not None
    assert torch.equal(made, spoken(TorchLoop(Cell(decoder, rows), 1.0), own, [FRAMES]))
    for precision in ("bf16", "fp16"):
        narrow = Replayed(Cell(decoder, rows), 1.0, precision)
        eager = Replayed(Cell(decoder, rows), 1.0, precision, eager=True)
        assert torch.equal(spoken(narrow, own, [FRAMES]), spoken(eager, own, [FRAMES]))
        assert narrow.graph is not None


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_the_shipped_voice_says_on_cuda_what_it_says_on_a_cpu() -> None:
    """By the same latents: those of a GPU may be rounded to TF32."""
    voice, mel = RNNMS.from_pretrained(), -torch.rand(2, 80, 10, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        latents = voice.encode(mel)
        expected = generate_codes(voice.decoder, latents, 0, backend="torch")
        made = generate_codes(voice.decoder.cuda(), latents.cuda(), 0)
    assert torch.equal(made.cpu(), expected)
