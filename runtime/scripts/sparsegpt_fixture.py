#!/usr/bin/env python3
"""Makes runtime/tests/fixtures/sparsegpt.safetensors: small layers pruned by SparseGPT, for runtime/src/pruner/tests.rs.

    pip install numpy safetensors
    python runtime/scripts/sparsegpt_fixture.py

The algorithm is written here from its description (arXiv 2301.00774) with numpy in FP64, by the textbook route: damped Hessian,
inverse, upper Cholesky factor, blocks of columns. With `--authors DIR`, where DIR is a checkout of IST-DASLab/sparsegpt, every case is
also run through the authors' own code (this needs torch) and must agree; their rule removes one weight more than `n * s`, so the
sparsity they are given is that much smaller.
"""

import argparse
import pathlib
import sys
import types

import numpy as np
from safetensors.numpy import save_file

FIXTURE = pathlib.Path(__file__).parent.parent / "tests/fixtures/sparsegpt.safetensors"

# name: outputs, inputs, columns of a block, sparsity, damping, columns of a group that keeps as many as the others (0: none),
# inputs that never fire
CASES = {
    "half": (6, 24, 8, 0.5, 0.01, 0, []),
    "most": (8, 32, 16, 0.75, 0.01, 0, []),
    "one block": (5, 12, 128, 0.6, 0.1, 0, []),
    "dead inputs": (4, 32, 16, 0.5, 0.01, 0, [3, 17, 18]),
    "uneven blocks": (7, 19, 8, 0.43, 0.01, 0, []),
    "two of four": (6, 32, 16, 0.5, 0.01, 4, []),
    "four of sixteen": (5, 32, 32, 0.75, 0.01, 16, []),
}


def sparsegpt(weight, hessian, block, sparsity, damping, group):
    """The pruned weight and the kept weights of `weight` [out, in], for `hessian` [in, in]."""
    weight, hessian = weight.astype(np.float64), hessian.astype(np.float64)
    out, inputs = weight.shape
    dead = np.diag(hessian) == 0
    hessian[dead, dead] = 1
    weight[:, dead] = 0
    hessian += damping * np.mean(np.diag(hessian)) * np.eye(inputs)
    upper = np.linalg.cholesky(np.linalg.inv(hessian)).T
    kept = np.ones((out, inputs), bool)
    for start in range(0, inputs, block):
        end = min(start + block, inputs)
        if group:
            for first in range(start, end, group):
                score = (weight[:, first : first + group] / np.diag(upper)[first : first + group]) ** 2
                for row, order in enumerate(np.argsort(score, axis=1, kind="stable")):
                    kept[row, first + order[: round(group * sparsity)]] = False
                eliminate(weight, kept, upper, range(first, first + group))
            continue
        score = (weight[:, start:end] / np.diag(upper)[start:end]) ** 2
        count = int(np.floor(out * end * sparsity + 0.5)) - np.count_nonzero(~kept)
        removed = np.zeros(score.size, bool)
        removed[np.argsort(score, axis=None, kind="stable")[:count]] = True
        kept[:, start:end] = ~removed.reshape(score.shape)
        eliminate(weight, kept, upper, range(start, end))
    return weight, kept


def eliminate(weight, kept, upper, columns):
    for column in columns:
        error = np.where(kept[:, column], 0, weight[:, column]) / upper[column, column]
        weight[:, column:] -= np.outer(error, upper[column, column:])
        weight[~kept[:, column], column] = 0


def authors(directory, weight, hessian, block, sparsity, damping, group):
    """The same by the authors' code."""
    import torch

    sys.path.insert(0, str(directory))
    # Imported there and not used for a plain linear layer.
    sys.modules.setdefault("transformers", types.SimpleNamespace(Conv1D=type("Conv1D", (), {})))
    sys.modules.setdefault("quant", types.ModuleType("quant"))
    torch.cuda.synchronize = lambda: None
    from sparsegpt import SparseGPT

    out, inputs = weight.shape
    layer = torch.nn.Linear(inputs, out, bias=False)
    layer.weight.data = torch.tensor(weight)
    pruner = SparseGPT(layer)
    pruner.H = torch.tensor(hessian)
    if group:
        pruner.fasterprune(0, round(group * sparsity), group, blocksize=block, percdamp=damping)
        return layer.weight.data.numpy()
    per_block = out * min(block, inputs)
    pruner.fasterprune((round(per_block * sparsity) - 0.5) / per_block, blocksize=block, percdamp=damping)
    return layer.weight.data.numpy()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--authors", type=pathlib.Path, help="a checkout of IST-DASLab/sparsegpt to compare with")
    arguments = parser.parse_args()
    random = np.random.default_rng(17)
    tensors = {}
    for name, (out, inputs, block, sparsity, damping, group, dead) in CASES.items():
        # Correlated inputs, or else there is nothing to make up for.
        x = random.normal(size=(3 * inputs, inputs)) @ random.normal(size=(inputs, inputs)) / np.sqrt(inputs)
        x[:, dead] = 0
        hessian = (2 / len(x) * x.T @ x).astype(np.float32)
        weight = random.normal(size=(out, inputs)).astype(np.float32)
        pruned, kept = sparsegpt(weight.copy(), hessian.copy(), block, sparsity, damping, group)
        if arguments.authors and inputs % min(block, inputs) == 0:
            theirs = authors(arguments.authors, weight.copy(), hessian.copy(), block, sparsity, damping, group)
            assert ((theirs != 0) == (pruned != 0)).all(), f"{name}: other masks"
            print(f"{name}: same mask as the authors' code, weights within {np.abs(theirs - pruned).max():.1e}")
        tensors |= {
            f"{name}/settings": np.array([block, sparsity, damping, group], np.float64),
            f"{name}/hessian": hessian,
            f"{name}/weight": weight,
            f"{name}/pruned": pruned.astype(np.float32),
            f"{name}/kept": kept.astype(np.uint8),
        }
    save_file(tensors, FIXTURE)
    print(f"{FIXTURE}: {FIXTURE.stat().st_size} bytes")


main()
