"""A listening page: one folder with index.html, FLAC and PNG files that opens without a server and can be sent by mail.

write_page(folder, [Clip("lj-001", recording, {"rnnms": copy}, text="...")], sample_rate=16_000, mel=config.mel)
"""

from __future__ import annotations

from .clip import Clip
from .page import write_page

__all__ = ["Clip", "write_page"]
