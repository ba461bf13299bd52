"""A mel as a few codes a second and back into a mel, in the voice of whoever is named: the parts of such a codec.

    mel (B, M, F) -> Encoder -> vectors (B, D, N), to be quantised (vocoder_core.vq)
    vectors (B, D, N), speaker (B, S) -> Decoder -> mel (B, M, N * r)

Why it converts, where codes of the wave itself do not: the encoder hears no phase and no mean spectrum (instance norm:
AdaIN-VC, Chou et al. 2019, arXiv 1904.05742), the voice it hears is stretched at random while the target is not
(perturb.py), and a few hundred bits a second leave little room for who speaks.
"""

from __future__ import annotations

from .decoder import Decoder, Voiced
from .encoder import Encoder
from .envelope import envelope

__all__ = ["Decoder", "Encoder", "Voiced", "envelope"]
