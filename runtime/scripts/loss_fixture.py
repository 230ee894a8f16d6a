#!/usr/bin/env python3
"""Makes runtime/tests/fixtures/losses.safetensors: values and gradients of every loss, for runtime/src/loss/mod.rs.

    pip install torch safetensors
    python runtime/scripts/loss_fixture.py

Each loss is written here from its formula, in FP64, and differentiated by PyTorch's autograd.
"""

import pathlib

import torch
from safetensors.torch import save_file

FIXTURE = pathlib.Path(__file__).parent.parent / "tests/fixtures/losses.safetensors"
BATCH, TIME, VOCAB, POSITIONS, WIDTH = 3, 5, 13, 7, 4
ENCODER = ["model.encoder.layers.0", "model.encoder.layers.1"]
DECODER = ["model.decoder.layers.0", "model.decoder.layers.1"]


def cross_entropy(student, labels):
    return torch.nn.functional.cross_entropy(student.reshape(-1, VOCAB), labels.reshape(-1), ignore_index=-100)


def kl(student, teacher, labels, temperature):
    counted = labels != -100
    log_s = torch.log_softmax(student[counted] / temperature, -1)
    log_t = torch.log_softmax(teacher[counted] / temperature, -1)
    return temperature**2 / counted.sum() * (log_t.exp() * (log_t - log_s)).sum()


def squarehead(student, teacher, labels, eps):
    total = 0
    for path in student:
        counted = labels != -100 if path in DECODER else torch.ones(BATCH, POSITIONS, dtype=torch.bool)
        s, t = student[path][counted], teacher[path][counted]
        total = total + ((s - t) ** 2).mean() / ((t**2).mean() + eps)
    return total


def main():
    torch.manual_seed(17)
    tensors = {}

    def draw(name, *shape):
        tensors[name] = torch.randn(shape)
        return tensors[name].double().requires_grad_()

    labels = torch.randint(0, VOCAB, (BATCH, TIME))
    labels[0, 0] = labels[1, 3:] = labels[2, 4] = -100
    tensors["labels"] = labels
    student, teacher = draw("student/logits", BATCH, TIME, VOCAB), draw("teacher/logits", BATCH, TIME, VOCAB)
    shapes = {path: (POSITIONS, WIDTH) for path in ENCODER} | {path: (TIME, WIDTH) for path in DECODER}
    student_blocks = {path: draw(f"student/{path}", BATCH, *shape) for path, shape in shapes.items()}
    teacher_blocks = {path: draw(f"teacher/{path}", BATCH, *shape) for path, shape in shapes.items()}

    def keep(case, value, inputs):
        tensors[f"{case}/value"] = value.detach().float().reshape(1)
        for name, gradient in zip(inputs, torch.autograd.grad(value, list(inputs.values()))):
            tensors[f"{case}/gradient/{name}"] = gradient.float()

    keep("task", cross_entropy(student, labels), {"logits": student})
    for temperature in (1, 2.5):
        keep(f"kl at {temperature}", kl(student, teacher, labels, temperature), {"logits": student})
    for eps in (1e-8, 0.5):
        keep(f"squarehead with {eps}", squarehead(student_blocks, teacher_blocks, labels, eps), student_blocks)
    save_file(tensors, FIXTURE)
    print(f"{FIXTURE}: {FIXTURE.stat().st_size} bytes")


main()
