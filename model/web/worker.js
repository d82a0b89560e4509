// The network in WebAssembly, through the C interface of `model/capi` (kernels.h says what the functions do).
const RUNS = 11;
const WARM_UP_MS = 500;
const TOP = 5;
const SIDE = 224;

// A module whose one function is `f32x4.relaxed_madd` of zeros: is there such an instruction?
const fused = WebAssembly.validate(new Uint8Array([
  0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 5, 1, 0x60, 0, 1, 0x7b, 3, 2, 1, 0, 10, 19, 1, 17, 0,
  0x41, 0, 0xfd, 15, 0x41, 0, 0xfd, 15, 0x41, 0, 0xfd, 15, 0xfd, 0x85, 2, 11,
]));
const compiled = WebAssembly.compileStreaming(fetch(fused ? "shufflenet-relaxed.wasm" : "shufflenet.wasm"));
let wasm, network, workspace;

// WASI as far as it is needed; everything else answers that it is not there.
const ENOSYS = 52;
const system = {
  random_get(at, length) {
    crypto.getRandomValues(new Uint8Array(wasm.memory.buffer, at, length));
    return 0;
  },
  environ_sizes_get(count, size) {
    const view = new DataView(wasm.memory.buffer);
    view.setUint32(count, 0, true);
    view.setUint32(size, 0, true);
    return 0;
  },
  environ_get: () => 0,
  // No folder is open: EBADF.
  fd_prestat_get: () => 8,
};

async function start() {
  const wasi_snapshot_preview1 = new Proxy(system, { get: (known, name) => known[name] ?? (() => ENOSYS) });
  wasm = (await WebAssembly.instantiate(await compiled, { wasi_snapshot_preview1 })).exports;
  wasm._initialize();
  network = workspace = 0;
}
let ready = start();
// The file that the network was loaded from.
let checkpoint = null;

// What can be told of a file, and does the module no harm. Any other error does: it stops in the middle.
class Told extends Error {}

function allocate(length) {
  const at = wasm.malloc(length);
  if (!at) throw new Told(`there is no memory for ${length} bytes`);
  return at;
}

// Runs `use` with memory for each length, and frees it.
function lend(lengths, use) {
  const lent = [];
  try {
    for (const length of lengths) lent.push(allocate(Math.max(length, 1)));
    return use(...lent);
  } finally {
    lent.forEach(at => wasm.free(at));
  }
}

const read = at => new DataView(wasm.memory.buffer).getUint32(at, true);

function check(status) {
  if (status === 0) return;
  const bytes = new Uint8Array(wasm.memory.buffer, wasm.kernels_last_error());
  throw new Told(new TextDecoder().decode(bytes.subarray(0, bytes.indexOf(0))));
}

// Creates what a function stores through its last argument.
const create = make => lend([4], out => (check(make(out)), read(out)));

// The C interface takes a pointer and a length as one argument, which WebAssembly hands over as a pointer to both.
function floats(at, numbers, use) {
  return lend([8], pair => {
    new Uint32Array(wasm.memory.buffer, pair, 2).set([at, numbers]);
    return use(pair);
  });
}

async function withFile(file, use) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  return lend([bytes.length], at => {
    new Uint8Array(wasm.memory.buffer, at, bytes.length).set(bytes);
    return use(at, bytes.length);
  });
}

async function load(file) {
  wasm.kernels_shufflenet_free(network);
  network = 0;
  checkpoint = null;
  const isa = new TextEncoder().encode("auto\0");
  network = await withFile(file, (data, length) => lend([isa.length], name => {
    new Uint8Array(wasm.memory.buffer, name, isa.length).set(isa);
    return create(out => wasm.kernels_shufflenet_load_bytes(data, length, name, out));
  }));
  workspace ||= create(out => wasm.kernels_workspace_new(out));
  checkpoint = file;
  return { name: file.name, classes: wasm.kernels_shufflenet_classes(network) };
}

async function classify(file) {
  const pixels = 3 * SIDE * SIDE;
  const classes = wasm.kernels_shufflenet_classes(network);
  return withFile(file, (data, length) => lend([4 * pixels, 4 * classes], (image, logits) =>
    floats(image, pixels, input => floats(logits, classes, output => {
      new Uint8Array(wasm.memory.buffer, image, 4 * pixels).fill(0);
      new Uint8Array(wasm.memory.buffer, logits, 4 * classes).fill(0);
      check(wasm.kernels_shufflenet_read_photo(network, data, length, input));
      const run = () => check(wasm.kernels_shufflenet_run(network, workspace, input, 1, SIDE, SIDE, output));
      // A browser compiles in haste what it loads, and again, well, what runs for long: three times as fast here.
      const warm = performance.now() + WARM_UP_MS;
      do run(); while (performance.now() < warm);
      const times = Array.from({ length: RUNS }, () => {
        const before = performance.now();
        run();
        return performance.now() - before;
      });
      check(wasm.kernels_softmax(output));
      const top = [...new Float32Array(wasm.memory.buffer, logits, classes)]
        .map((probability, index) => ({ class: index, probability }))
        .sort((a, b) => b.probability - a.probability)
        .slice(0, TOP);
      const milliseconds = times.sort((a, b) => a - b)[RUNS >> 1];
      return { answer: { top, milliseconds, runs: RUNS } };
    }))));
}

// A module that has stopped in the middle cannot be used again. A new one loads the checkpoint again.
async function restart() {
  await start();
  if (checkpoint) await load(checkpoint);
}

async function serve({ weights, photo }) {
  const file = weights ?? photo;
  try {
    await ready;
    postMessage(await (weights ? load(weights) : classify(photo)));
  } catch (error) {
    const why = error instanceof Told ? error.message : `the computation stopped (${error.message})`;
    if (!(error instanceof Told)) {
      ready = restart();
      await ready.catch(() => ready = start());
    }
    postMessage({ error: `${file.name}: ${why}`, loaded: checkpoint !== null });
  }
}

// One after the other.
let queue = Promise.resolve();
onmessage = ({ data }) => queue = queue.then(() => serve(data));
