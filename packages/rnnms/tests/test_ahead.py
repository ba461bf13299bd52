"""Streaming: the encoder with so many frames ahead, or a long mel piece by piece, and waves frame by frame."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rnnms import RNNMS, RNNMSConfig, ahead, infer
from rnnms.ahead import PIECE, encoded, latents, whole
from vocoder_core.recurrent.streams import Backend
from vocoder_core.streaming.pieces import InMemory

SPLITS = ((1,), (5, 0, 2), (64,))


def cut(mel: Tensor, sizes: tuple[int, ...]) -> Iterator[Tensor]:
    at, turn = 0, 0
    while at < mel.shape[1]:
        size = sizes[turn % len(sizes)]
        yield mel[:, at : at + size]
        at, turn = at + size, turn + 1


@pytest.fixture(scope="module")
def model() -> RNNMS:
    torch.manual_seed(0)
    return RNNMS(RNNMSConfig(bits=8, encoder_size=8, embedding_size=8, hidden_size=16, linear_size=16, emphasis=0.85))


@pytest.fixture(scope="module")
def late() -> RNNMS:
    """Labels that lag the mel by two frames, as univoc's."""
    torch.manual_seed(1)
    return RNNMS(RNNMSConfig(bits=8, encoder_size=8, embedding_size=8, hidden_size=16, linear_size=16, delay=400))


@pytest.fixture(scope="module")
def mel() -> Tensor:
    return -torch.rand(80, 23, generator=torch.Generator().manual_seed(0))


def by_hand(encoder: nn.GRU, mel: Tensor, look_ahead: int) -> Tensor:
    """What a frame hears, step by step: forwards all before it, backwards from K frames behind its piece."""

    def step(layer: int, back: int, x: Tensor, h: Tensor) -> Tensor:
        w, u, b, c = encoder.all_weights[2 * layer + back]
        return torch.gru_cell(x[None], h[None], w, u, b, c)[0]

    frames, size = mel.t(), encoder.hidden_size
    f0 = f1 = torch.zeros(size)
    states0, made = [], []
    for frame in frames:
        f0 = step(0, 0, frame, f0)
        states0.append(f0)
    for start in range(0, len(frames), PIECE):
        end = min(len(frames), start + PIECE + look_ahead)
        b0 = b1 = torch.zeros(size)
        lower, upper = {}, {}
        for j in reversed(range(start, end)):
            lower[j] = b0 = step(0, 1, frames[j], b0)
        for j in reversed(range(start, end)):
            upper[j] = b1 = step(1, 1, torch.cat([states0[j], lower[j]]), b1)
        for j in range(start, min(start + PIECE, len(frames))):
            f1 = step(1, 0, torch.cat([states0[j], lower[j]]), f1)
            made.append(torch.cat([f1, upper[j]]))
    return torch.stack(made)


@pytest.mark.parametrize("look_ahead", [0, 1, 6, 40])
def test_latents_hear_so_many_frames_ahead(model: RNNMS, mel: Tensor, look_ahead: int) -> None:
    with torch.inference_mode():
        for sizes in SPLITS:
            pieces = list(latents(model.encoder, cut(mel, sizes), look_ahead))
            assert [len(piece) for piece in pieces] == [PIECE] * 5 + [3]
            assert torch.allclose(torch.cat(pieces), by_hand(model.encoder, mel, look_ahead), atol=1e-6)
        if look_ahead > mel.shape[1]:
            assert torch.allclose(torch.cat(pieces), model.encode(mel[None])[0], atol=1e-6)


@pytest.mark.parametrize("long", [1, 4, 9, 22, 23, 99])
def test_a_long_mel_in_pieces_is_encoded_as_a_whole(model: RNNMS, mel: Tensor, long: int) -> None:
    with torch.inference_mode():
        pieces = list(whole(model.encoder, InMemory(mel), long))
        assert len(pieces) == -(-23 // long)
        assert torch.allclose(torch.cat(pieces), model.encode(mel[None])[0], atol=1e-6)
        assert torch.equal(encoded(model.encoder, mel[None]), model.encode(mel[None])), "a short one bit by bit"


def test_states_that_are_kept_of_a_piece_hold_nothing_else_of_it(model: RNNMS, mel: Tensor) -> None:
    """Of an hour, views into 70 pieces were 440 MB of the published size."""
    nothing = ahead.silence(model.encoder)
    with torch.inference_mode():
        _, forward, backward = ahead.heard(model.encoder, mel.t(), 23, nothing, nothing)
    for state in (*forward, *backward):
        assert state.untyped_storage().nbytes() == state.numel() * state.element_size()


@pytest.mark.parametrize("backend", ["torch", "numba", "int8"])
@pytest.mark.parametrize("kind", ["model", "late"])
def test_what_is_streamed_is_what_is_synthesised(
    kind: str, backend: Backend, mel: Tensor, request: pytest.FixtureRequest
) -> None:
    voice: RNNMS = request.getfixturevalue(kind)
    mel = mel[:, :7] if backend == "torch" else mel
    wanted = voice.synthesize(mel, seed=3, backend=backend, look_ahead=6)
    assert wanted.shape == (mel.shape[1] * 200,)
    for sizes in SPLITS:
        frames = list(voice.synthesize_stream(cut(mel, sizes), seed=3, backend=backend, look_ahead=6))
        assert all(frame.shape == (200,) for frame in frames) and torch.equal(torch.cat(frames), wanted)
    for source in (mel, InMemory(mel)):
        frames = list(voice.synthesize_stream(source, seed=3, backend=backend, look_ahead=None))
        assert torch.equal(torch.cat(frames), voice.synthesize(mel, seed=3, backend=backend))


def test_a_row_is_the_same_alone_and_in_a_batch(model: RNNMS, mel: Tensor) -> None:
    both = model.synthesize(torch.stack([mel, mel.flip(1)]), seed=[1, 2], look_ahead=3)
    for row, one, seed in zip(both, (mel, mel.flip(1)), (1, 2)):
        assert torch.equal(row, model.synthesize(one, seed=seed, look_ahead=3))
    assert model.synthesize(mel[:, :0], seed=0, look_ahead=3).shape == (0,)


@pytest.mark.parametrize(("kind", "lag"), [("model", 0), ("late", 2)])
def test_a_frame_comes_as_soon_as_its_latency_says(
    kind: str, lag: int, mel: Tensor, request: pytest.FixtureRequest
) -> None:
    voice: RNNMS = request.getfixturevalue(kind)
    asked = []

    def frames() -> Iterator[Tensor]:
        for j in range(mel.shape[1]):
            asked.append(j)
            yield mel[:, j : j + 1]

    for j, _ in zip(range(12), voice.synthesize_stream(frames(), look_ahead=6)):
        said = j + lag
        assert asked[-1] == said - said % PIECE + PIECE - 1 + 6


def test_the_future_beyond_the_look_ahead_changes_nothing(model: RNNMS, mel: Tensor) -> None:
    changed = torch.cat([mel[:, :14], F.pad(mel[:, 14:], (0, 3)).flip(1)], dim=1)
    one, other = (model.synthesize(each, seed=0, look_ahead=6) for each in (mel, changed))
    assert torch.equal(one[: 8 * 200], other[: 8 * 200]) and not torch.equal(one[: 12 * 200], other[: 12 * 200])


def test_what_cannot_be_streamed_is_refused(model: RNNMS, mel: Tensor) -> None:
    with pytest.raises(ValueError, match="cannot be heard from its end"):
        next(model.synthesize_stream(iter([mel]), look_ahead=None))
    with pytest.raises(ValueError, match="expected 0 or more frames"):
        next(model.synthesize_stream(iter([mel]), look_ahead=-1))
    with pytest.raises(ValueError, match="look_ahead is 2 with folds 2"):
        model.synthesize(mel, look_ahead=2, folds=2)
    with pytest.raises(ValueError, match="expected a float mel"):
        next(model.synthesize_stream(iter([mel[:3]])))


def test_the_command_hears_as_far_ahead_as_the_network() -> None:
    assert infer.LOOK_AHEAD == ahead.LOOK_AHEAD
