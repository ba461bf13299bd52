"""Tensors of the public SampleRNN with PASE, published or the paper's, by our names and as our layers have them.

Both are the same network (47,830,439 parameters with 126 speakers), but for what the mixer reads:

    davidalvarezdlt/samplernn_pase, b6c3b3f    [speaker, words, numbers]    frames_layers.1.x_expand.bias
    the paper's code, 7f311d0                  [words, numbers, speaker]    frame_level_layers.1._samples_expand_layer.*
    here                                       [speaker, numbers, words]    top.expand.bias

Their convolutions over one step are linear layers here; an upsampler's kernel has its places before its outputs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Tensors = dict[str, Tensor]

EXPECTED = "a checkpoint of davidalvarezdlt/samplernn_pase, or of the code of its paper"
TABLE, PAPER_MIX = "conds_mixer.speaker_embedding.weight", "_conds_adaptation_layer.weight"
MIXES = ("conds_mixer.conds_mix.weight", PAPER_MIX)
PASE_SIZES = (100, 50, 256)  # of vectors that no table holds: the paper's two configurations, and PASE+'s
PARTS = [  # theirs -> ours
    (r"conds_mixer\.speaker_embedding\.", "voices.table."),
    (r"(?:conds_mixer\.conds_utt|conds_linguistic)_(phonemes|vowels|gpos|tobi)(?:_emb)?\.", r"content.tables.\1."),
    (r"(?:conds_mixer\.conds_mix|_conds_adaptation_layer)\.", "mixer.mix."),
    (r"(?:frames_layers|frame_level_layers)\.0\.", "mid."),
    (r"(?:frames_layers|frame_level_layers)\.1\.", "top."),
    (r"(?:sample_layer|sample_level_layer)\.", "sample."),
]
LAYERS = [  # within a tier
    (r"(?:x_expand|_samples_expand_layer)\.", "expand."),
    (r"(?:conds_expand|_conds_expand_layer)\.", "conds."),
    (r"(?:rnn|_rnn_layer)\.(\w+_l0)", r"rnn.\1"),
    (r"(?:rnn_h0|_rnn_layer_h0)", "first"),
    (r"(?:upsample|_upsampling_layer)\.", "spread."),
    (r"(?:upsample_bias|_upsampling_layer_bias)", "spread.bias"),
    (r"(?:emb_layer|_embedding_layer)\.", "embedding."),
    (r"(?:emb_layer_expand|_embedding_expand_layer)\.", "history."),
    (r"(?:comb_layer|_inputs_comb_layer)\.", "combine."),
    (r"(?:comb_layer_expand|_global_expand_layer)\.", "hidden."),
    (r"(?:adapt|_adaptation_layer)\.", "logits."),
]
NORMED = {"weight_g": "parametrizations.weight.original0", "weight_v": "parametrizations.weight.original1"}


@dataclass(frozen=True)
class Layout:
    """What the mixer reads."""

    kind: str  # of content: world43 (theirs is acoustic), linguistic, linguistic_lf0
    word: int  # numbers of a category's vector; there are ten
    speaker: int  # numbers of a speaker's vector, S
    speakers: int | None  # of the table; None: there is none, vectors came from PASE


def state_dict(tree: dict[Any, Any]) -> Tensors:
    """The tensors of a checkpoint's tree by their names there, in float32, a table of speakers among them.

    Raises ValueError if they are none of this network's.
    """
    model = next((tree[key] for key in ("state_dict", "model_state", "model") if isinstance(tree.get(key), dict)), tree)
    found = {str(name): t.float() for name, t in model.items() if isinstance(t, Tensor) and t.is_floating_point()}
    if not any(name.startswith(("sample_layer.", "sample_level_layer.")) for name in found):
        raise ValueError(f"the checkpoint holds no SampleRNN's tensors; expected {EXPECTED}")
    table = tree["embedding_state"].get("weight") if isinstance(tree.get("embedding_state"), dict) else None
    return found | ({TABLE: table.float()} if isinstance(table, Tensor) else {})


def layout(theirs: Tensors) -> Layout:
    """What their mixer reads. Raises ValueError where that is nothing the public code could have made."""
    words = [tensor.shape[-1] for name, tensor in theirs.items() if re.search("_(phonemes|vowels|gpos|tobi)", name)]
    if len(set(words)) > 1:
        raise ValueError(f"the checkpoint's categories have vectors of {sorted(set(words))}; expected one size for all")
    mix = next((theirs[name] for name in MIXES if name in theirs), None)
    if mix is None or mix.dim() != 2:
        raise ValueError(f"the checkpoint has no mixer of speaker and content; expected {EXPECTED}")
    word, table = words[0] if words else 0, theirs.get(TABLE)
    widths = {"world43": 43, "linguistic": 45 + 10 * word, "linguistic_lf0": 47 + 10 * word}
    for size in PASE_SIZES if table is None else (table.shape[-1],):
        for kind, width in widths.items():
            if mix.shape[1] == width + size:
                return Layout(kind, word, size, None if table is None else len(table))
    raise ValueError(
        f"the checkpoint's mixer reads {mix.shape[1]} numbers; expected a speaker's and one of {list(widths.values())}"
    )


def renamed(theirs: Tensors, how: Layout) -> Tensors:
    """Tensors by this package's names, as its layers have them: moved, but not changed.

    Tables of words are left out where content has none: the public network has them in every mode. Raises ValueError
    for a tensor that the public network does not have, or of another number of axes.
    """
    ours: Tensors = {}
    for name, tensor in theirs.items():
        new = _renamed(name)
        if new.startswith("content.") and how.kind == "world43":
            continue
        try:
            ours[new] = _turned(new, tensor.roll(how.speaker, 1) if name == PAPER_MIX else tensor, how)
        except (RuntimeError, IndexError):
            shape = tuple(tensor.shape)
            raise ValueError(f"the checkpoint's {name} is of shape {shape}; expected {EXPECTED}") from None
    return ours


def _renamed(name: str) -> str:
    part = _replaced(name, PARTS)
    if part and part.startswith(("mid.", "top.", "sample.")):
        tier, _, layer = part.partition(".")
        found = _replaced(layer, LAYERS)
        part = found and f"{tier}.{found}"
    if not part:
        raise ValueError(f"the checkpoint holds {name}, which the public network does not have; expected {EXPECTED}")
    stem, _, last = part.rpartition(".")
    return f"{stem}.{NORMED.get(last, last)}"


def _replaced(name: str, patterns: list[tuple[str, str]]) -> str:
    """The name with the pattern replaced that it begins with; "" where none does."""
    for pattern, instead in patterns:
        new, count = re.subn(f"^{pattern}", instead, name)
        if count:
            return new
    return ""


def _turned(name: str, tensor: Tensor, how: Layout) -> Tensor:
    """A tensor as the layer of this name has it."""
    if name == "mixer.mix.weight":
        words = 0 if how.kind == "world43" else 10 * how.word
        who, told, numbers = tensor.split([how.speaker, words, tensor.shape[1] - how.speaker - words], dim=1)
        return torch.cat([who, numbers, told], dim=1)
    if name.endswith("spread.bias"):
        return tensor.transpose(0, 1)
    kernel = tensor.dim() == 3
    if kernel and name.endswith("spread.parametrizations.weight.original1"):
        return tensor.transpose(1, 2)
    if kernel and name.endswith("history.parametrizations.weight.original1"):
        return tensor.transpose(1, 2).flatten(1)  # the embeddings of the 20 codes, the oldest first
    return tensor.squeeze(2) if kernel and "spread." not in name else tensor
