"""RNN_MS, the robust universal neural vocoder: `RNNMS.from_pretrained().synthesize(mel)`."""

from .model import RNNMS, RNNMSConfig

__all__ = ["RNNMS", "RNNMSConfig"]
