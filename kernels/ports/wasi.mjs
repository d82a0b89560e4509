// Runs a WASI program, as cargo's runner: `node wasi.mjs PROGRAM.wasm ARGUMENTS...`.
import { readFile } from "node:fs/promises";
import { WASI } from "node:wasi";

const args = process.argv.slice(2);
const wasi = new WASI({
  version: "preview1",
  args,
  env: process.env,
  preopens: { "/": "/" },
});
const { instance } = await WebAssembly.instantiate(await readFile(args[0]), wasi.getImportObject());
process.exitCode = wasi.start(instance);
