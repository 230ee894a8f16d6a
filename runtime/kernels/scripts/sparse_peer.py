"""Times our sparse products against those of DeepSparse, one thread, in turns, beside our dense FP32 product.

    pip install deepsparse==1.8.0 onnx "numpy<2"
    python3 runtime/kernels/scripts/sparse_peer.py target/release/sparsec --elements fp32,int8 --tokens 64 --sparsity 50,75

Masks are uniform random. With few tokens weights come from memory: each engine computes a chain of layers, as many as hold
`--chain-mib` of kept weights, after other memory was read, twice as much as the last-level cache holds. A shape that is not square
takes turns with its transpose there, and both are one row. In INT8, DeepSparse rounds activations with a scale that is known
beforehand, where ours finds one for each token. In each of ROUNDS rounds each engine runs once, for SECONDS per case; the medians of
those are compared.
"""

import argparse
import os
import statistics
import tempfile

import deepsparse
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from peers import geometric_mean, median_ms, ours, print_header, print_row

SHAPES = {
    "t5-small": [(512, 512), (2048, 512), (512, 2048)],
    "whisper-small": [(768, 768), (3072, 768), (768, 3072)],
    "mpt-7b": [(4096, 4096), (12288, 4096), (16384, 4096), (4096, 16384)],
}
ROUNDS = 3
SECONDS = 0.3


def layer(index, x, rows, cols, sparsity, element):
    """Nodes and constants of one linear layer, [tokens, cols] to [tokens, rows]."""
    random = np.random.default_rng(index)
    weight = random.uniform(-1, 1, (cols, rows)).astype(np.float32) * np.float32(3 / cols**0.5)
    weight[random.uniform(size=weight.shape) < sparsity] = 0
    names = [f"{name}{index}" for name in ("w", "b", "scale", "zero", "none", "q", "products", "sums", "real", "z", "y", "out")]
    w, b, scale, zero, none, q, products, sums, real, z, y, out = names
    constant = lambda array, name: numpy_helper.from_array(np.asarray(array), name)
    if element == "fp32":
        nodes = [helper.make_node("MatMul", [x, w], [z]), helper.make_node("Add", [z, b], [y])]
        return nodes, [constant(weight, w), constant(np.zeros(rows, np.float32), b)], y
    row_scale = np.abs(weight).max(0) / 127
    constants = [
        constant(np.round(weight / row_scale).astype(np.int8), w),
        constant(np.zeros(rows, np.int32), b),
        constant(np.float32(1 / 127), scale),
        constant(np.uint8(128), zero),
        constant(np.int8(0), none),
        constant((row_scale / 127).astype(np.float32), out),
    ]
    nodes = [
        helper.make_node("QuantizeLinear", [x, scale, zero], [q]),
        helper.make_node("MatMulInteger", [q, w, zero, none], [products]),
        helper.make_node("Add", [products, b], [sums]),
        helper.make_node("Cast", [sums], [real], to=TensorProto.FLOAT),
        helper.make_node("Mul", [real, out], [y]),
    ]
    return nodes, constants, y


def compiled(chain, tokens, sparsity, element):
    """The engine for a chain of layers."""
    nodes, constants, x = [], [], "x"
    for index, (rows, cols) in enumerate(chain):
        more, values, x = layer(index, x, rows, cols, sparsity, element)
        nodes += more
        constants += values
    info = helper.make_tensor_value_info
    ends = [info("x", TensorProto.FLOAT, [tokens, chain[0][1]])], [info(x, TensorProto.FLOAT, [tokens, chain[-1][0]])]
    model = helper.make_model(helper.make_graph(nodes, "chain", *ends, constants), opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        onnx.save(model, file.name)
        return deepsparse.Engine(file.name, batch_size=tokens, num_cores=1)


def beyond_caches():
    """Twice the bytes of the last-level cache."""
    size = open("/sys/devices/system/cpu/cpu0/cache/index3/size").read()
    return 2 * 1024 * int(size.strip().removesuffix("K"))


def units(shapes, chained):
    """The rows of the table: shapes that are measured together."""
    if not chained:
        return [[shape] for shape in shapes]
    return [[shape] if shape[0] == shape[1] else [shape, shape[::-1]] for shape in shapes if shape[0] >= shape[1]]


def measure(options, unit, tokens, sparsity, element):
    """Milliseconds of the dense product, of our best sparse one and of DeepSparse, for one of each shape of the unit."""
    kept = sum(rows * cols for rows, cols in unit) * (1 - sparsity / 100) * (4 if element == "fp32" else 1)
    chain_mib = options.chain_mib if tokens <= options.chained_up_to else 0
    chain = unit * max(1, round(chain_mib * 2**20 / kept))
    engine = compiled(chain, tokens, sparsity / 100, element)
    x = np.random.default_rng(1).uniform(-1, 1, (tokens, chain[0][1])).astype(np.float32)
    arguments = ["--sparsity", str(sparsity), "--elements", element, "--seconds", str(SECONDS), "--chain-mib", str(chain_mib)]
    if options.formats:
        arguments += ["--formats", options.formats]
    elsewhere = np.zeros(beyond_caches() // 8) if chain_mib else None
    evict = elsewhere.sum if chain_mib else lambda: None
    rounds = []
    for _ in range(ROUNDS):
        dense = sparse = 0
        for formats in ours(options.sparsec, unit, [tokens], *arguments).values():
            baseline = [f["median_ms"] for f in formats if f["format"] in ("dense", "gemm") and f["element"] == "fp32"]
            dense += min(baseline)
            sparse += min(f["median_ms"] for f in formats if f["element"] == element)
        peer = median_ms(lambda x: engine.run([x]), x, SECONDS, evict) * len(unit) / len(chain)
        rounds.append((dense, sparse, peer))
    return [statistics.median(column) for column in zip(*rounds)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    numbers = lambda text: [int(number) for number in text.split(",")]
    parser.add_argument("sparsec")
    parser.add_argument("--shapes", default="t5-small,whisper-small", help="models, or ROWSxCOLS")
    parser.add_argument("--tokens", type=numbers, default=[64])
    parser.add_argument("--sparsity", type=numbers, default=[50, 75, 80, 90])
    parser.add_argument("--elements", default="fp32,int8")
    parser.add_argument("--formats", help="ours, all by default")
    parser.add_argument("--chain-mib", type=int, default=16, help="0: weights stay in the caches as far as they fit")
    parser.add_argument("--chained-up-to", type=int, default=15, help="tokens up to which weights come from a chain")
    options = parser.parse_args()
    shapes = [shape for word in options.shapes.split(",") for shape in SHAPES.get(word) or [tuple(map(int, word.split("x")))]]
    print(f"deepsparse {deepsparse.__version__}; times faster than dense FP32, and ours over DeepSparse")
    print_header(["element", "tokens", "sparsity", "shape", "dense FP32", "sparsec", "DeepSparse", "ours / theirs"])
    for element in options.elements.split(","):
        for tokens in options.tokens:
            for sparsity in options.sparsity:
                ratios = []
                for unit in units(shapes, tokens <= options.chained_up_to and options.chain_mib > 0):
                    dense, sparse, peer = measure(options, unit, tokens, sparsity, element)
                    ratios.append((dense / sparse, dense / peer))
                    shape = " + ".join(f"{rows}x{cols}" for rows, cols in unit)
                    cells = [f"{ms:.3f} ms ({dense / ms:.2f})" for ms in (sparse, peer)]
                    print_row([element, str(tokens), f"{sparsity} %", shape, f"{dense:.3f} ms", *cells, f"{peer / sparse:.2f}"])
                mean, theirs = (geometric_mean(column) for column in zip(*ratios))
                print_row([element, str(tokens), f"{sparsity} %", "geometric mean", "", f"{mean:.2f}", f"{theirs:.2f}", f"{mean / theirs:.2f}"])


main()
