"""Streaming: what comes in pieces of any size is worked on in pieces of fixed size, so that the result is one.

pieces      frames cut along a fixed grid, with context before and behind; sources that can be read anywhere
frames      the log-mel of a wave that comes in pieces, or of any part of a long one
rates       another sample rate, piece by piece
writer      an audio file that grows, and is kept when the work is interrupted
restore     the recording's rate, level and length again
pipes       raw PCM in, raw PCM out
flow        what a vocoder hands to its command for all this, and the command's options
"""

from __future__ import annotations
