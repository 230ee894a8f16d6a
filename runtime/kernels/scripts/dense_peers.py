"""Times our dense FP32 product against those of ONNX Runtime and OpenVINO (oneDNN), one thread, in turns.

    pip install numpy onnx onnxruntime openvino
    python3 runtime/kernels/scripts/dense_peers.py target/release/sparsec

Every program computes y = x W^T + b with constant W: [rows, cols] in FP32. In each of ROUNDS rounds each of them runs once, for SECONDS per
case, and gives its median; printed are the medians of those, in milliseconds, and GFLOP/s.
"""

import os
import statistics
import sys

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import onnx
import onnxruntime
import openvino
from onnx import TensorProto, helper, numpy_helper

from peers import median_ms, ours, print_header, print_row

SHAPES = [(512, 512), (3072, 768), (4096, 4096)]
TOKENS = [64, 384, 1500]
ROUNDS = 3
SECONDS = 0.3


def graph(rows, cols):
    """A linear layer as an ONNX model, [tokens, cols] to [tokens, rows]."""
    random = np.random.default_rng(0)
    weight = numpy_helper.from_array(random.uniform(-1, 1, (cols, rows)).astype(np.float32), "w")
    bias = numpy_helper.from_array(random.uniform(-1, 1, rows).astype(np.float32), "b")
    info = helper.make_tensor_value_info
    nodes = [helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node("Add", ["z", "b"], ["y"])]
    ends = [info("x", TensorProto.FLOAT, ["tokens", cols])], [info("y", TensorProto.FLOAT, ["tokens", rows])]
    model = helper.make_model(helper.make_graph(nodes, "linear", *ends, [weight, bias]), opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    return model.SerializeToString()


def onnx_runtime(model, tokens, cols):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {"x": x})


def open_vino(model, tokens, cols):
    core = openvino.Core()
    read = core.read_model(model)
    read.reshape([tokens, cols])
    settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    request = core.compile_model(read, "CPU", settings).create_infer_request()

    def run(x):
        request.set_input_tensor(openvino.Tensor(x, shared_memory=True))
        request.infer()

    return run


def main():
    cases = [(*shape, tokens) for shape in SHAPES for tokens in TOKENS]
    models = {shape: graph(*shape) for shape in SHAPES}
    peers = {"onnxruntime": onnx_runtime, "openvino": open_vino}
    runs = {(name, *case): make(models[case[:2]], case[2], case[1]) for name, make in peers.items() for case in cases}
    times = {}
    for _ in range(ROUNDS):
        arguments = ["--formats", "dense", "--sparsity", "0", "--seconds", str(SECONDS)]
        for case, formats in ours(sys.argv[1], SHAPES, TOKENS, *arguments).items():
            times.setdefault(("sparsec", *case), []).append(formats[0]["median_ms"])
        for (name, *case), run in runs.items():
            x = np.random.default_rng(1).uniform(-1, 1, (case[2], case[1])).astype(np.float32)
            times.setdefault((name, *case), []).append(median_ms(run, x, SECONDS))
    names = ["sparsec", *peers]
    print(f"onnxruntime {onnxruntime.__version__}, openvino {openvino.__version__}")
    print_header(["shape", "tokens", *names, "of the best peer"])
    for rows, cols, tokens in cases:
        medians = [statistics.median(times[(name, rows, cols, tokens)]) for name in names]
        cells = [f"{ms:.3f} ms ({2e-6 * rows * cols * tokens / ms:.0f} GFLOP/s)" for ms in medians]
        print_row([f"{rows}x{cols}", str(tokens), *cells, f"{min(medians[1:]) / medians[0]:.2f}"])


main()
