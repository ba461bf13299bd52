"""What autoregressive vocoders share: how samples are drawn, compiled arithmetic for one core, a GRU to train on a CPU.

engine      how a vocoder describes its step, and the loops and streams that run it; the compiled loop: loop
folds       one utterance as several streams, cut where it is quiet
replay      the loop in torch as a CUDA graph of a block, or without one; narrow: its weights in 16 bits; what no graph
            can hold: watched; one played on a CPU: tape
draws       seeds to uniforms, a label from a distribution and a uniform
products    of kernels, in floats (floats, primitives) or in whole numbers (integers, integers_kernel, vnni, amx)
arithmetic  what a sample costs in bytes and products, and how fast a core reads weights: for benches
primitives  exp, a sparse product, a GRU step and a draw for kernels that numba compiles; imports numba
excitation_teller  what is told of a sample behind a linear prediction, sample by sample; compiled: excitation_kernel
streams     which backend runs, rows on threads, its weights on large pages
recurrence  a GRU forward and backward whose input products are done beforehand; its compiled step: recurrence_kernel
"""

from __future__ import annotations

from .recurrence import gru, gru_of_codes

__all__ = ["gru", "gru_of_codes"]
