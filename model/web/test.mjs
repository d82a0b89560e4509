// Drives the page in Chromium by its debugging protocol, over a pipe, and compares it with the command.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { extname, join, resolve } from "node:path";
import { after, before, test } from "node:test";

const root = resolve(import.meta.dirname ?? new URL(".", import.meta.url).pathname, "../..");
const web = join(root, "target/web");
const shufflenet = join(process.env.CARGO_TARGET_DIR ?? join(root, "target"), "release/shufflenet");
const weights = width => join(web, `${width}.safetensors`);
const recorded = name => join(root, "model/tests/recorded", name);

const TYPES = { ".html": "text/html", ".js": "text/javascript", ".wasm": "application/wasm", ".txt": "text/plain" };
const served = new Set(["index.html", "page.js", "worker.js", "shufflenet.wasm", "shufflenet-relaxed.wasm", "imagenet_classes.txt"]);
// A browser with `false` for an answer has no relaxed SIMD. `change` is what else is done to worker.js.
let relaxed = true, change = null, asked = new Set();
const server = createServer((request, response) => {
  const name = request.url.slice(1) || "index.html";
  if (!served.has(name)) return response.writeHead(404).end();
  asked.add(name);
  let content = readFileSync(join(web, name));
  if (name === "worker.js" && !relaxed) content = content.toString().replace("WebAssembly.validate", "(() => false)");
  if (name === "worker.js" && change) content = change(content.toString());
  response.writeHead(200, { "Content-Type": TYPES[extname(name)], "Cache-Control": "no-store" }).end(content);
});

let browser, profile, session, counter = 0;
const waiting = new Map();
const logged = [];

function send(method, params = {}) {
  const id = ++counter;
  browser.stdio[3].write(JSON.stringify({ id, method, params, sessionId: session }) + "\0");
  return new Promise((resolve, reject) => waiting.set(id, { resolve, reject }));
}

function receive({ id, result, error, method, params }) {
  if (method === "Runtime.exceptionThrown" || (method === "Runtime.consoleAPICalled" && params.type === "error"))
    logged.push(JSON.stringify(params));
  const waits = waiting.get(id);
  waiting.delete(id);
  if (error) waits?.reject(new Error(error.message));
  else waits?.resolve(result);
}

async function evaluate(expression) {
  const { result, exceptionDetails } = await send("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true });
  assert.equal(exceptionDetails, undefined, expression);
  return result.value;
}

async function until(expression) {
  for (let tries = 0; tries < 1200; tries++) {
    const value = await evaluate(expression);
    if (value) return value;
    await new Promise(done => setTimeout(done, 50));
  }
  assert.fail(`never true: ${expression}\n${await evaluate("document.body.innerText")}\n${logged.join("\n")}`);
}

// Puts a file into one of the two fields, as a person does by the button.
async function choose(field, file) {
  const { root: document } = await send("DOM.getDocument");
  const { nodeId } = await send("DOM.querySelector", { nodeId: document.nodeId, selector: `#${field}` });
  await send("DOM.setFileInputFiles", { nodeId, files: [file] });
}

async function open() {
  logged.length = 0;
  await send("Page.navigate", { url: `http://127.0.0.1:${server.address().port}/` });
  await until("document.readyState === 'complete'");
}

const answer = () => until(`!document.getElementById("result").hidden && [...document.querySelectorAll("#classes tr")].map(row =>
  ({ class: +row.dataset.class, probability: +row.dataset.probability, text: row.cells[0].textContent }))`);
const error = () => until(`document.getElementById("error").textContent`);
const status = text => until(`document.getElementById("status").textContent.includes(${JSON.stringify(text)}) && document.getElementById("status").textContent`);

async function picture(name) {
  if (!process.env.SCREENSHOTS) return;
  const { data } = await send("Page.captureScreenshot", { format: "png" });
  writeFileSync(join(process.env.SCREENSHOTS, `${name}.png`), Buffer.from(data, "base64"));
}

const expected = (checkpoint, photo) => JSON.parse(
  execFileSync(shufflenet, ["classify", photo, "--weights", checkpoint, "--json"], { env: { ...process.env, KERNELS_ISA: "auto" } }))[0].top;

function assertSame(found, expected) {
  assert.deepEqual(found.map(guess => guess.class), expected.map(guess => guess.class));
  found.forEach((guess, i) => {
    assert.equal(guess.text, expected[i].label);
    // Logits of these made-up weights are about 100, in 24 bits, and a probability is off by as much of itself as its logit is
    // off. Below the least normal number of 32 bits there are fewer digits.
    const [here, there] = [guess.probability, expected[i].probability].map(p => Math.max(p, 1.2e-38));
    assert.ok(Math.abs(here - there) <= 1e-3 * there, `${guess.probability}, expected ${expected[i].probability}`);
  });
}

before(async () => {
  await new Promise(done => server.listen(0, "127.0.0.1", done));
  profile = mkdtempSync(join(tmpdir(), "page-"));
  browser = spawn("chromium", [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--remote-debugging-pipe", `--user-data-dir=${profile}`, "about:blank",
  ], { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
  let text = "";
  browser.stdio[4].setEncoding("utf8").on("data", chunk => {
    const messages = (text + chunk).split("\0");
    text = messages.pop();
    for (const message of messages) receive(JSON.parse(message));
  });
  const { targetInfos } = await send("Target.getTargets");
  const { targetId } = targetInfos.find(target => target.type === "page");
  session = (await send("Target.attachToTarget", { targetId, flatten: true })).sessionId;
  for (const domain of ["Page", "DOM", "Runtime"]) await send(`${domain}.enable`);
});

after(async () => {
  server.close();
  server.closeAllConnections();
  const gone = new Promise(done => browser.once("exit", done));
  // Asked, not killed: it waits for those of its processes that still write.
  send("Browser.close");
  await gone;
  rmSync(profile, { recursive: true, force: true, maxRetries: 20 });
});

for (const [width, module] of ["0.5", "1.0"].flatMap(width => [[width, "shufflenet"], [width, "shufflenet-relaxed"]])) {
  test(`${width}x, ${module}: classes and probabilities are those of the command`, async () => {
    const photo = recorded("images/orientation6.jpg");
    relaxed = module === "shufflenet-relaxed";
    asked.clear();
    await open();
    await choose("photo", photo);
    await status("choose a checkpoint");
    await choose("weights", weights(width));
    assertSame(await answer(), expected(weights(width), photo));
    console.log(`${width}x, ${module}: ${await status(" ms for the network")}`);
    await picture(`answer-${width}`);
    assert.deepEqual([...asked].filter(name => name.endsWith(".wasm")), [`${module}.wasm`]);
    assert.deepEqual(logged, []);
  });
}

test("dropped files are taken too", async () => {
  const photo = recorded("images/rgb.png");
  await open();
  const bytes = name => JSON.stringify(readFileSync(name).toString("base64"));
  await evaluate(`(async () => {
    const file = async (text, name, type) => new File([await (await fetch("data:;base64," + text)).blob()], name, { type });
    const dropped = new DataTransfer();
    dropped.items.add(await file(${bytes(weights("0.5"))}, "net.safetensors", ""));
    dropped.items.add(await file(${bytes(photo)}, "rgb.png", "image/png"));
    document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: dropped, bubbles: true, cancelable: true }));
  })()`);
  assertSame(await answer(), expected(weights("0.5"), photo));
});

test("what cannot be used is told in one sentence, and the page goes on", async () => {
  await open();
  await choose("weights", recorded("images/preprocessed.txt"));
  assert.match(await error(), /^preprocessed\.txt: not a checkpoint in a known format/);
  await choose("weights", recorded("weights/cycle.h5"));
  assert.match(await until(`document.getElementById("error").textContent.startsWith("cycle.h5") && document.getElementById("error").textContent`), /^cycle\.h5: [^\n]+$/);
  await picture("error");
  await choose("weights", weights("0.5"));
  await status("choose a photo");
  await choose("photo", recorded("images/preprocessed.txt"));
  assert.match(await error(), /^preprocessed\.txt: a text file, neither JPEG nor PNG nor WebP: [^\n]+$/);
  await choose("photo", recorded("images/bomb.png"));
  assert.match(await until(`document.getElementById("error").textContent.startsWith("bomb.png") && document.getElementById("error").textContent`), /^bomb\.png: [^\n]+$/);
  for (const name of ["images/rgb.jpg", "images/orientation6.webp", "images/jpeg/more_chroma_separate.jpg"]) {
    await choose("photo", recorded(name));
    assertSame(await answer(), expected(weights("0.5"), recorded(name)));
  }
  assert.deepEqual(logged, []);
});

test("a photo that stops the module costs no more than its own answer", async () => {
  // An access outside of the memory, which nothing can catch within the module.
  const call = "check(wasm.kernels_shufflenet_read_photo";
  change = content => content.replace(call, `if (file.name === "2x2.jpg") wasm.free(-8);\n${call}`);
  await open();
  await choose("weights", weights("0.5"));
  await status("choose a photo");
  change = null;
  for (let times = 0; times < 2; times++) {
    await choose("photo", recorded("images/jpeg/2x2.jpg"));
    assert.match(await error(), /^2x2\.jpg: the computation stopped \([^\n]+\)$/);
    await choose("photo", recorded("images/rgb.jpg"));
    assertSame(await answer(), expected(weights("0.5"), recorded("images/rgb.jpg")));
  }
  assert.deepEqual(logged, []);
});

test("the page fits a phone and a desktop, in light and in dark", async () => {
  for (const [width, scheme] of [[360, "light"], [360, "dark"], [1280, "light"], [1280, "dark"]]) {
    await send("Emulation.setDeviceMetricsOverride", { width, height: 800, deviceScaleFactor: 1, mobile: width < 500 });
    await send("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value: scheme }] });
    assert.ok(await evaluate("document.documentElement.scrollWidth <= innerWidth"), `${width} ${scheme}`);
    const [text, back] = await evaluate("[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]");
    const light = color => color.match(/\d+/g).slice(0, 3).reduce((sum, x) => sum + +x, 0) > 384;
    assert.deepEqual([light(text), light(back)], scheme === "dark" ? [true, false] : [false, true]);
    await picture(`${width}-${scheme}`);
  }
});
