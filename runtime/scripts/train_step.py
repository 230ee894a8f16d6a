#!/usr/bin/env python3
"""Times training steps (forward, backward, AdamW) of a plain pre-norm transformer: this project's operations against PyTorch.

    pip install torch
    cargo build --release -p sparsec-runtime --example train_step
    python runtime/scripts/train_step.py [--threads N] [--rounds N] [WIDTHxLAYERSxPOSITIONS ...]

Both keep their model in memory and take turns, a few steps each per round; the first step of a turn warms the caches and does not
count. Printed are medians over rounds of a turn's median step, the median of the rounds' ratios, and processor time per step, which
says more than the clock does where other programs run. runtime/examples/train_step.rs is our side.
"""

import argparse
import os
import statistics
import subprocess
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

BATCH = 8
DEPTH = 64  # width of one head of attention
STEPS = 5  # of a turn, the one that does not count included
OURS = Path(__file__).parents[2] / "target/release/examples/train_step"


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


class PyTorch:
    def __init__(self, width, layers, positions):
        torch.manual_seed(17)
        self.model = nn.Sequential(*(Block(width) for _ in range(layers)))
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4, weight_decay=0.01, fused=True)
        self.inputs, self.target = (torch.rand(BATCH, positions, width) * 2 - 1 for _ in range(2))

    def step(self):
        """Milliseconds of forward, backward and optimizer."""
        start = time.perf_counter()
        loss = ((self.model(self.inputs) - self.target) ** 2).mean() / (self.target**2).mean()
        forward = time.perf_counter()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        backward = time.perf_counter()
        self.optimizer.step()
        end = time.perf_counter()
        return [(b - a) * 1e3 for a, b in ((start, forward), (forward, backward), (backward, end))]

    def processor_time(self):
        return time.process_time()

    def close(self):
        pass


class Ours:
    def __init__(self, width, layers, positions, threads):
        sizes = map(str, (width, layers, positions, BATCH, threads))
        self.process = subprocess.Popen([OURS, *sizes], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def step(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return [float(value) for value in self.process.stdout.readline().split()[:3]]

    def processor_time(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def turn(side):
    """Medians over the steps of a turn: whole, forward, backward, optimizer; and the processor time of a step."""
    side.step()
    start = side.processor_time()
    steps = [side.step() for _ in range(STEPS - 1)]
    busy = (side.processor_time() - start) / len(steps) * 1e3
    return [statistics.median(column) for column in zip(*([sum(step), *step] for step in steps))] + [busy]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("shapes", nargs="*", default=["128x4x250", "192x4x250", "512x6x128"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"PyTorch {torch.__version__}, batch {BATCH}, threads {arguments.threads}; milliseconds per step")
    for shape in arguments.shapes:
        sizes = [int(size) for size in shape.split("x")]
        sides = Ours(*sizes, arguments.threads), PyTorch(*sizes)
        rounds = [[turn(side) for side in sides] for _ in range(1 + arguments.rounds)][1:]
        for name, turns in zip(("sparsec", "PyTorch"), zip(*rounds)):
            whole, forward, backward, optimizer, busy = (statistics.median(column) for column in zip(*turns))
            parts = f"forward {forward:.1f}, backward {backward:.1f}, optimizer {optimizer:.1f}"
            print(f"{shape:>10} {name}: {whole:7.1f} ({parts}), processor {busy:.1f}")
        ratio, busy = (statistics.median(ours[at] / theirs[at] for ours, theirs in rounds) for at in (0, 4))
        print(f"{shape:>10} sparsec / PyTorch: {ratio:.2f}, processor time {busy:.2f}", flush=True)
        for side in sides:
            side.close()


main()
