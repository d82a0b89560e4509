#!/usr/bin/env python3
"""One engine in a process of its own, so that thread pools and libraries of two engines never meet.

    python engines.py ENGINE FOLDER WIDTH BATCH THREADS

It loads a network exported by export.py, then answers each line on standard input with one line of JSON:
    logits PATH     one inference; writes the logits to PATH as .npy
    run SECONDS     inferences for that long, after a fifth of it to warm up; answers {"ns": [duration, ...]}
Every engine reads float32 images from the caller's memory and leaves float32 logits there; that is what is timed.
"""

import json
import os
import sys
import time

import numpy as np


def onnxruntime(model, x, threads):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = ort.InferenceSession(f"{model}.onnx", options, providers=["CPUExecutionProvider"])
    y = np.empty((len(x), 1000), np.float32)
    binding = session.io_binding()
    binding.bind_input("input", "cpu", 0, np.float32, x.shape, x.ctypes.data)
    binding.bind_output("logits", "cpu", 0, np.float32, y.shape, y.ctypes.data)

    def run():
        session.run_with_iobinding(binding)
        return y

    return run, ort.__version__


def openvino(model, x, threads):
    import openvino as ov

    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
        "INFERENCE_NUM_THREADS": str(threads),
        "INFERENCE_PRECISION_HINT": "f32",  # where the CPU has bf16 instructions, the default is bf16
    }
    compiled = ov.Core().compile_model(f"{model}.xml", "CPU", settings)
    request = compiled.create_infer_request()
    request.set_input_tensor(ov.Tensor(x, shared_memory=True))
    y = request.get_output_tensor().data

    def run():
        request.infer()
        return y

    return run, ov.__version__.split("-")[0]


def litert(model, x, threads):
    import ai_edge_litert
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(f"{model}.tflite", num_threads=threads)  # XNNPACK is its default delegate
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]["index"]
    result = interpreter.get_output_details()[0]["index"]
    nhwc = np.ascontiguousarray(x.transpose(0, 2, 3, 1))

    def run():
        interpreter.set_tensor(source, nhwc)
        interpreter.invoke()
        return interpreter.get_tensor(result)

    return run, ai_edge_litert.__version__


def ncnn(model, x, threads):
    import ncnn

    net = ncnn.Net()
    net.opt.num_threads = threads
    net.opt.use_vulkan_compute = False
    for storage in ["fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_packed", "bf16_storage"]:
        setattr(net.opt, f"use_{storage}", False)
    base = model.rsplit("_b", 1)[0]  # ncnn knows no batch: its images go one after the other
    net.load_param(f"{base}.param")
    net.load_model(f"{base}.bin")
    y = np.empty((len(x), 1000), np.float32)
    images = [ncnn.Mat(image) for image in x]

    def run():
        for image, row in zip(images, y):
            extractor = net.create_extractor()
            extractor.input("in0", image)
            row[:] = np.asarray(extractor.extract("out0")[1])
        return y

    return run, ncnn.__version__


def mnn(model, x, threads):
    import MNN

    interpreter = MNN.Interpreter(f"{model}.mnn")
    session = interpreter.createSession({"backend": "CPU", "precision": "high", "numThread": threads})
    source = interpreter.getSessionInput(session)
    result = interpreter.getSessionOutput(session)
    host = MNN.Tensor(x.shape, MNN.Halide_Type_Float, x, MNN.Tensor_DimensionType_Caffe)
    y = np.empty((len(x), 1000), np.float32)
    out = MNN.Tensor(y.shape, MNN.Halide_Type_Float, y, MNN.Tensor_DimensionType_Caffe)

    def run():
        source.copyFrom(host)
        interpreter.runSession(session)
        result.copyToHostTensor(out)
        return out.getNumpyData()

    return run, MNN.version()


def torch(model, x, threads):
    import torch
    import torchvision

    torch.set_num_threads(threads)
    folder, name = model.rsplit("/", 1)
    width = name.split("_")[0]
    network = getattr(torchvision.models, f"shufflenet_v2_x{width.replace('.', '_')}")()
    network.load_state_dict(torch.load(f"{folder}/{width}.pth"))
    # Freezing folds BN and packs weights; it takes a C++ compiler, and half a minute the first time.
    network = torch.compile(network.eval(), options={"freezing": True})
    image = torch.from_numpy(x)

    def run():
        with torch.inference_mode():
            return network(image).numpy()

    return run, torch.__version__.split("+")[0]


ENGINES = {f.__name__: f for f in [onnxruntime, openvino, litert, ncnn, mnn, torch]}


def timed(run, seconds):
    """Nanoseconds of each run; at least two runs."""
    ns = []
    now = start = time.perf_counter_ns()
    while len(ns) < 2 or now - start < 1e9 * seconds:
        before = time.perf_counter_ns()
        run()
        now = time.perf_counter_ns()
        ns.append(now - before)
    return ns


def serve(engine, folder, width, batch, threads):
    # Engines print on standard output; the answers go where they cannot.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    x = np.load(f"{folder}/input_b{batch}.npy")
    start = time.perf_counter()
    run, version = ENGINES[engine](f"{folder}/{width}_b{batch}", x, int(threads))
    run()
    print(json.dumps({"version": version, "load_ms": 1e3 * (time.perf_counter() - start)}), file=answers)
    for line in sys.stdin:
        command, argument = line.split()
        if command == "logits":
            np.save(argument, np.asarray(run(), np.float32).reshape(len(x), -1))
            print("{}", file=answers)
            continue
        timed(run, float(argument) / 5)  # caches and clock
        ns = timed(run, float(argument))
        print(json.dumps({"ns": ns}), file=answers)


if __name__ == "__main__":
    serve(*sys.argv[1:])
