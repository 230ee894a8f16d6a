#!/usr/bin/env python3
"""Times one training step (forward, backward, AdamW) of a plain pre-norm transformer in PyTorch.

    pip install torch
    python runtime/scripts/train_step.py WIDTH LAYERS POSITIONS BATCH THREADS

runtime/examples/train_step.rs takes the same arguments and times the same model on this project's operations.
"""

import statistics
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

DEPTH = 64  # width of one head of attention
WARM_UP, TIMED = 3, 12


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.q, self.k, self.v, self.out = (nn.Linear(width, width) for _ in range(4))
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.heads = -(-width // DEPTH)

    def forward(self, x):
        batch, positions, width = x.shape

        def split(x):
            return x.view(batch, positions, self.heads, -1).transpose(1, 2)

        normed = self.first(x)
        found = F.scaled_dot_product_attention(split(self.q(normed)), split(self.k(normed)), split(self.v(normed)))
        x = x + self.out(found.transpose(1, 2).reshape(batch, positions, width))
        return x + self.down(F.gelu(self.up(self.second(x))))


def main():
    width, layers, positions, batch, threads = map(int, sys.argv[1:])
    torch.set_num_threads(threads)
    torch.manual_seed(17)
    model = nn.Sequential(*(Block(width) for _ in range(layers)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.01, fused=True)
    inputs, target = torch.rand(batch, positions, width) * 2 - 1, torch.rand(batch, positions, width) * 2 - 1
    times = []
    for _ in range(WARM_UP + TIMED):
        start = time.perf_counter()
        loss = ((model(inputs) - target) ** 2).mean() / (target**2).mean()
        forward = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        backward = time.perf_counter()
        optimizer.step()
        end = time.perf_counter()
        times.append((end - start, forward - start, backward - forward, end - backward))
    total, forward, backward, step = (statistics.median(column) * 1e3 for column in zip(*times[WARM_UP:]))
    print(
        f"pytorch width {width} layers {layers} positions {positions} batch {batch} threads {threads}: {total:.1f} ms per step "
        f"(forward {forward:.1f}, backward {backward:.1f}, optimizer {step:.1f}), loss {loss:.5f}"
    )


main()
