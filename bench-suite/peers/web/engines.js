// The engines in the browser: each a function that loads a network and gives one that runs it. One thread, float32.
import { Tensor, loadAndCompile, loadLiteRt } from "@litertjs/core";
import * as ort from "onnxruntime-web/wasm";

const [CHANNELS, SIDE, CLASSES] = [3, 224, 1000];
const PIXELS = SIDE * SIDE;
const bytes = async path => new Uint8Array(await (await fetch(path)).arrayBuffer());

const planar = Float32Array.from({ length: CHANNELS * PIXELS }, (_, i) => Math.sin(i * 0.37) * 2);
const interleaved = Float32Array.from(planar, (_, i) => planar[(i % CHANNELS) * PIXELS + Math.floor(i / CHANNELS)]);

// Of the page in model/web, by the C interface. A slice is passed as a pointer to its pointer and length.
const shufflenet = module => async width => {
  let wasm;
  const u32 = at => new Uint32Array(wasm.memory.buffer, at, 2);
  const system = { fd_prestat_get: () => 8, environ_get: () => 0, environ_sizes_get: (...ats) => (ats.map(at => u32(at)[0] = 0), 0) };
  system.random_get = (at, length) => (crypto.getRandomValues(new Uint8Array(wasm.memory.buffer, at, length)), 0);
  const imports = { wasi_snapshot_preview1: new Proxy(system, { get: (known, name) => known[name] ?? (() => 52) }) };
  wasm = (await WebAssembly.instantiateStreaming(fetch(`/web/${module}.wasm`), imports)).instance.exports;
  wasm._initialize();

  const file = await bytes(`/models/${width}.safetensors`);
  const isa = new TextEncoder().encode("auto\0");
  const [data, name, image, logits, input, output, out] =
    [file.length, isa.length, 4 * planar.length, 4 * CLASSES, 8, 8, 8].map(wasm.malloc);
  new Uint8Array(wasm.memory.buffer, data, file.length).set(file);
  new Uint8Array(wasm.memory.buffer, name, isa.length).set(isa);
  new Float32Array(wasm.memory.buffer, image, planar.length).set(planar);
  new Float32Array(wasm.memory.buffer, logits, CLASSES).fill(0);
  u32(input).set([image, planar.length]);
  u32(output).set([logits, CLASSES]);
  const made = status => {
    if (status) throw new Error("shufflenet refuses");
    return u32(out)[0];
  };
  const network = made(wasm.kernels_shufflenet_load_bytes(data, file.length, name, out));
  const workspace = made(wasm.kernels_workspace_new(out));
  return () => {
    if (wasm.kernels_shufflenet_run(network, workspace, input, 1, SIDE, SIDE, output)) throw new Error("shufflenet fails");
    return new Float32Array(wasm.memory.buffer, logits, CLASSES);
  };
};

async function onnxruntime(width) {
  ort.env.wasm.numThreads = 1;
  const session = await ort.InferenceSession.create(await bytes(`/models/${width}_b1.onnx`), {
    executionProviders: ["wasm"], graphOptimizationLevel: "all",
  });
  const feeds = { [session.inputNames[0]]: new ort.Tensor("float32", planar, [1, CHANNELS, SIDE, SIDE]) };
  const [output] = session.outputNames;
  return async () => (await session.run(feeds))[output].data;
}

let started;
async function litert(width) {
  await (started ??= loadLiteRt("/node_modules/@litertjs/core/wasm/", { threads: false }));
  const network = await loadAndCompile(`/models/${width}_b1.tflite`, { accelerator: "wasm" });
  const input = new Tensor(interleaved, [1, SIDE, SIDE, CHANNELS]);
  return async () => {
    const [output] = await network.run(input);
    const logits = output.toTypedArray().slice();
    output.delete();
    return logits;
  };
}

export const ENGINES = {
  relaxed: shufflenet("shufflenet-relaxed"),
  simd128: shufflenet("shufflenet"),
  litert,
  onnxruntime,
};
