#!/usr/bin/env python3
"""Makes runtime/tests/fixtures/adamw.safetensors: steps of torch.optim.AdamW, for runtime/src/optimizer/adamw.rs.

    pip install torch safetensors
    python runtime/scripts/adamw_fixture.py

Rates go up and down, so that each step has another one.
"""

import pathlib

import torch
from safetensors.torch import save_file

FIXTURE = pathlib.Path(__file__).parent.parent / "tests/fixtures/adamw.safetensors"
DECAYS = {"plain": 0.0, "decayed": 0.1}
RATES = [1e-3, 2e-3, 3e-3, 2e-3, 1e-3]


def main():
    torch.manual_seed(17)
    tensors = {"rates": torch.tensor(RATES)}
    for case, decay in DECAYS.items():
        weights = torch.nn.Parameter(torch.randn(137))
        optimizer = torch.optim.AdamW([weights], weight_decay=decay)
        tensors[f"{case}/weights/0"] = weights.detach().clone()
        for step, rate in enumerate(RATES, 1):
            weights.grad = tensors[f"{case}/gradient/{step}"] = torch.randn(137)
            optimizer.param_groups[0]["lr"] = rate
            optimizer.step()
            tensors[f"{case}/weights/{step}"] = weights.detach().clone()
    save_file(tensors, FIXTURE)
    print(f"{FIXTURE}: {FIXTURE.stat().st_size} bytes")


main()
