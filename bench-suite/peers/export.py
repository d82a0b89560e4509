#!/usr/bin/env python3
"""Exports torchvision's four ShuffleNetV2 in every format raced here, all with the same fixed weights.

    python export.py FOLDER [WIDTH ...]

Weights and images come from the formula of ../../model/tests/truth, so no download is needed and no engine can profit
from an easy value. Every format that fixes its batch is written for batch 1 and batch 8. Beside them, input_b{n}.npy
and {width}_logits_b{n}.npy (PyTorch, float64) serve to check each engine before it is timed.
"""

import pathlib
import subprocess
import sys

import litert_torch
import numpy as np
import openvino
import safetensors.torch
import torch
import torchvision

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "../../model/tests/truth"))
sys.dont_write_bytecode = True
from formula import image, tensor  # noqa: E402

WIDTHS = {"0.5": "x0_5", "1.0": "x1_0", "1.5": "x1_5", "2.0": "x2_0"}
BATCHES = [1, 8]


def network(suffix):
    model = getattr(torchvision.models, f"shufflenet_v2_{suffix}")()
    state = model.state_dict()
    for name, old in state.items():
        if not name.endswith("num_batches_tracked"):
            state[name] = torch.from_numpy(tensor("torchvision", name, tuple(old.shape)))
    model.load_state_dict(state)
    return model.eval()


def tool(*command):
    path = pathlib.Path(sys.executable).with_name(command[0])
    done = subprocess.run([path, *map(str, command[1:])], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{command[0]} failed:\n{done.stdout}{done.stderr}")


def export(width, folder):
    model = network(WIDTHS[width])
    torch.save(model.state_dict(), folder / f"{width}.pth")
    safetensors.torch.save_file(model.state_dict(), folder / f"{width}.safetensors")
    for batch in BATCHES:
        x = torch.from_numpy(image("torchvision", 224, 224, batch))
        base = f"{width}_b{batch}"
        with torch.no_grad():
            np.save(folder / f"{width}_logits_b{batch}.npy", model.double()(x.double()).numpy())
            model.float()
            if batch == 1:  # for pnnx: ncnn knows no batch
                torch.jit.trace(model, x).save(folder / f"{base}.torchscript")
        onnx = folder / f"{base}.onnx"
        torch.onnx.export(model, (x,), onnx, dynamo=False, input_names=["input"], output_names=["logits"])
        openvino.save_model(openvino.convert_model(onnx), folder / f"{base}.xml", compress_to_fp16=False)
        tool("mnnconvert", "-f", "ONNX", "--modelFile", onnx, "--MNNModel", folder / f"{base}.mnn", "--bizCode", "peers")
        # XNNPACK computes in NHWC: fed so, the graph needs no transposition.
        litert_torch.convert(litert_torch.to_channel_last_io(model, args=[0]).eval(),
                             (x.permute(0, 2, 3, 1).contiguous(),)).export(str(folder / f"{base}.tflite"))
    tool("pnnx", folder / f"{width}_b1.torchscript", "inputshape=[1,3,224,224]", "fp16=0", "optlevel=2",
         f"ncnnparam={folder}/{width}.param", f"ncnnbin={folder}/{width}.bin",
         *(f"{kind}={folder}/pnnx.{kind}" for kind in ["pnnxparam", "pnnxbin", "pnnxpy", "pnnxonnx", "ncnnpy"]))
    for scrap in folder.glob("pnnx.*"):
        scrap.unlink()


def main():
    folder = pathlib.Path(sys.argv[1]).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    for batch in BATCHES:
        np.save(folder / f"input_b{batch}.npy", image("torchvision", 224, 224, batch))
    for width in sys.argv[2:] or WIDTHS:
        print(f"exporting {width}", flush=True)
        export(width, folder)


if __name__ == "__main__":
    main()
