"""The encoder while the mel is still coming: forward GRUs remember, backward ones hear so many frames ahead.

Two layers in two directions, f and b; each of layer 1 reads both of layer 0 (PyTorch's bidirectional GRU):

    frames          ...  |<- piece ->|<--- look-ahead K --->|           PIECE frames are made at once
    f0, f1          ------------------>                                 their states go on with the next piece
    b0, b1                <----------------------------------           begin in silence, K frames behind the piece

so that a frame hears everything before it and K to K + PIECE - 1 frames after it: those many frames is what it waits
for. Nothing is lost where the mel ends within them. `whole` hears to the end, as training does, of a mel of any length:
the states of its pieces are found on two passes, one from either end, and kept, not what lies between.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vocoder_core.recurrent import recurrence
from vocoder_core.streaming.pieces import Grid, InMemory, Source, windows

PIECE = 4  # frames made at once, 50 ms
LONG = 4096  # frames of a piece of `whole`, 51 s: 4 MB of latents
LOOK_AHEAD = 16  # frames, 200 ms: the fewest that cost the shipped voice no more than a hundredth of a bit a sample

States = tuple[Tensor, Tensor]  # (H,) of both layers


def latents(encoder: nn.GRU, portions: Iterable[Tensor], look_ahead: int) -> Iterator[Tensor]:
    """Mel in portions (M, f) -> latents in pieces (n, 2C). Raises ValueError for a negative look-ahead."""
    if look_ahead < 0:
        raise ValueError(f"look_ahead is {look_ahead}; expected 0 or more frames")
    forward = silence(encoder)
    for window in windows(portions, Grid(PIECE, 0, look_ahead)):
        made, forward, _ = heard(encoder, window.frames.t(), window.count, forward, silence(encoder))
        yield made


def whole(encoder: nn.GRU, mel: Source, long: int = LONG) -> Iterator[Tensor]:
    """Latents in pieces (n, 2C) of a whole mel, as the encoder makes them; of a mel up to `long` frames exactly so."""
    if mel.frames <= long:
        if mel.frames:
            yield encoder(mel.cut(0, mel.frames).t()[None])[0][0]
        return
    starts = range(0, mel.frames, long)
    forward, first = [silence(encoder)[0]], silence(encoder)
    for start in starts[:-1]:
        forward.append(_states(encoder, 0, False, _piece(mel, start, long), forward[-1])[-1].clone())
    backward = [first]
    for start, before in zip(starts[:0:-1], forward[:0:-1]):
        piece = _piece(mel, start, long)
        backward.append(heard(encoder, piece, len(piece), (before, first[1]), backward[-1])[2])
    state = first
    for start, behind in zip(starts, backward[::-1]):
        piece = _piece(mel, start, long)
        made, state, _ = heard(encoder, piece, len(piece), state, behind)
        yield made


def encoded(encoder: nn.GRU, mel: Tensor) -> Tensor:
    """mel (B, M, F) -> latents (B, F, 2C), each row by `whole`."""
    if not mel.shape[2] or not len(mel):
        return mel.new_zeros(len(mel), mel.shape[2], 2 * encoder.hidden_size)
    return torch.stack([torch.cat(list(whole(encoder, InMemory(row)))) for row in mel])


def heard(
    encoder: nn.GRU, frames: Tensor, count: int, forward: States, backward: States
) -> tuple[Tensor, States, States]:
    """Latents (count, 2C) of the first frames of (n, M), the states behind these forwards, and at frame 0 backwards.

    forward: the states before frame 0; backward: behind frame n - 1.
    """
    ahead, behind = (_states(encoder, 0, back, frames, state[0]) for back, state in enumerate((forward, backward)))
    both = torch.cat([ahead, behind], dim=1)
    above = _states(encoder, 1, False, both[:count], forward[1])
    below = _states(encoder, 1, True, both, backward[1])
    made = torch.cat([above, below[:count]], dim=1)
    ends = ahead[count - 1], above[-1], behind[0], below[0]
    first, second, third, fourth = (end.clone() for end in ends)  # views would keep all states of every piece
    return made, (first, second), (third, fourth)


def silence(encoder: nn.GRU) -> States:
    """Where nothing has been heard."""
    nothing = encoder.get_parameter("weight_hh_l0").new_zeros(encoder.hidden_size)
    return nothing, nothing


def _states(encoder: nn.GRU, layer: int, back: bool | int, frames: Tensor, state: Tensor) -> Tensor:
    """Hidden states (n, H) of one layer in one direction over frames (n, D), after `state`."""
    inputs, recurrent, bias, own_bias = encoder.all_weights[2 * layer + back]
    entries = F.linear(frames, inputs, bias)[:, None]
    hidden = recurrence.gru(entries.flip(0) if back else entries, state[None], recurrent, own_bias)[:, 0]
    return hidden.flip(0) if back else hidden


def _piece(mel: Source, start: int, long: int) -> Tensor:
    return mel.cut(start, min(start + long, mel.frames)).t()
