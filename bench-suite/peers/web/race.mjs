// Races the engines of engines.js in headless Chromium, on one thread; race.sh prepares what it needs.
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { cpus, tmpdir } from "node:os";
import { extname, join, normalize, resolve } from "node:path";

const here = import.meta.dirname ?? new URL(".", import.meta.url).pathname;
const target = resolve(here, "../../../target");
const [rounds = "20", widths = "0.5,1.0,1.5,2.0"] = process.argv.slice(2);

const TYPES = { ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm" };
const folders = {
  node_modules: join(target, "peers/web/node_modules"),
  models: join(target, "peers/models"),
  web: join(target, "web"),
};
const locate = path => {
  const [first, ...rest] = normalize(path).split("/").filter(Boolean);
  return folders[first] ? join(folders[first], ...rest) : join(here, first ?? "race.html");
};

const server = createServer(async (request, response) => {
  if (request.method === "POST") {
    const parts = [];
    for await (const part of request) parts.push(part);
    response.end();
    return tell(JSON.parse(Buffer.concat(parts)));
  }
  try {
    const path = locate(new URL(request.url, "http://localhost").pathname);
    const content = readFileSync(path);
    response.writeHead(200, {
      "Content-Type": TYPES[extname(path)] ?? "application/octet-stream",
      // A page that is isolated from others has a clock of five microseconds, not a hundred.
      "Cross-Origin-Opener-Policy": "same-origin",
      "Cross-Origin-Embedder-Policy": "require-corp",
    }).end(content);
  } catch {
    response.writeHead(404).end();
  }
}).listen(0, "127.0.0.1");

const version = name => JSON.parse(readFileSync(join(folders.node_modules, name, "package.json"))).version;
const TITLES = {
  relaxed: "**shufflenet**, relaxed SIMD",
  simd128: "**shufflenet**, simd128",
  onnxruntime: `ONNX Runtime Web ${version("onnxruntime-web")}`,
  litert: `LiteRT.js ${version("@litertjs/core")} (XNNPACK)`,
};

function tell({ width, names, times, over, error }) {
  if (error) console.error(error);
  if (over || error) return end(error ? 1 : 0);
  const at = (sorted, part) => sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))];
  const rows = names.map((name, i) => {
    const sorted = times[i].sort((a, b) => a - b);
    return { name, min: sorted[0], median: at(sorted, 0.5), p90: at(sorted, 0.9), n: sorted.length };
  });
  console.log(`\n${width}x\n\n| engine | min ms | median | p90 | min / ours | median / ours | n |\n|---|---:|---:|---:|---:|---:|---:|`);
  for (const { name, min, median, p90, n } of rows)
    console.log(`| ${TITLES[name]} | ${min.toFixed(2)} | ${median.toFixed(2)} | ${p90.toFixed(2)} | ${(min / rows[0].min).toFixed(2)} | ${(median / rows[0].median).toFixed(2)} | ${n} |`);
}

const commit = execFileSync("git", ["describe", "--always", "--dirty"], { cwd: here }).toString().trim();
console.log(`${cpus()[0].model}, ${execFileSync("chromium", ["--version"]).toString().trim()}, ${new Date().toISOString().slice(0, 10)}, ours ${commit}.`);
console.log("torchvision's ShuffleNetV2, 224x224, float32, one image, one thread: ms per image.");
const profile = mkdtempSync(join(tmpdir(), "race-"));
server.on("listening", () => {
  const page = `http://127.0.0.1:${server.address().port}/?rounds=${rounds}&widths=${widths}`;
  browser = spawn("chromium", ["--headless=new", "--no-sandbox", "--disable-gpu", `--user-data-dir=${profile}`, page], { stdio: "ignore" });
  browser.on("error", error => (console.error(`chromium: ${error.message}`), end(1)));
});
let browser;

function end(code) {
  browser?.once("exit", () => (rmSync(profile, { recursive: true, force: true, maxRetries: 20 }), process.exit(code)));
  if (!browser?.kill()) process.exit(code);
}
