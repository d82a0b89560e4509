// What is shown. The work is done in worker.js.
const at = id => document.getElementById(id);
const worker = new Worker("worker.js", { type: "module" });
const names = fetch("imagenet_classes.txt").then(answer => answer.text()).then(text => text.trimEnd().split("\n"));
let photo = null;
let classes = 0;

function say(status, error = "") {
  at("status").textContent = status || "\u00a0";
  at("error").textContent = error;
}

// Browsers do not know the types of all pictures.
const isPhoto = file => file.type.startsWith("image/") || /\.(jpe?g|png|webp|hei[cf]|avif)$/i.test(file.name);

function take(file) {
  at("result").hidden = true;
  if (isPhoto(file)) {
    photo = file;
    at("chosen").textContent = file.name;
    if (classes) classify();
    else say("Now choose a checkpoint.");
  } else {
    classes = 0;
    at("network").textContent = file.name;
    say(`Loading ${file.name} …`);
    worker.postMessage({ weights: file });
  }
}

function classify() {
  say(`Looking at ${photo.name} …`);
  worker.postMessage({ photo });
}

async function show({ top, milliseconds, runs }) {
  const known = await names;
  at("classes").replaceChildren(...top.map(guess => {
    const row = document.createElement("tr");
    row.dataset.class = guess.class;
    row.dataset.probability = guess.probability;
    const bar = document.createElement("div");
    bar.className = "bar";
    bar.style.width = `${100 * guess.probability}%`;
    row.insertCell().append(classes === known.length ? known[guess.class] : `class ${guess.class}`, bar);
    row.insertCell().textContent = `${(100 * guess.probability).toFixed(2)} %`;
    return row;
  }));
  URL.revokeObjectURL(at("picture").src);
  at("picture").src = URL.createObjectURL(photo);
  at("result").hidden = false;
  say(`${milliseconds.toFixed(1)} ms for the network (median of ${runs} runs, one thread).`);
}

worker.onmessage = ({ data }) => {
  if (data.error) {
    if (!data.loaded) classes = 0;
    say("", data.error);
  } else if (data.classes) {
    classes = data.classes;
    at("network").textContent = `${data.name}: ${classes} classes`;
    if (photo) classify();
    else say("Now choose a photo.");
  } else {
    show(data.answer);
  }
};
worker.onerror = () => say("", "The page could not be loaded completely: is it served over HTTP, with shufflenet.wasm beside it?");

for (const id of ["weights", "photo"]) {
  at(id).onchange = () => {
    const [file] = at(id).files;
    // What was chosen by a button is what the button says, whatever its name.
    if (file) take(id === "photo" && !isPhoto(file) ? new File([file], file.name, { type: "image/unknown" }) : file);
  };
  // So that the same file may be chosen again.
  at(id).onclick = () => { at(id).value = ""; };
}
addEventListener("dragover", event => {
  event.preventDefault();
  document.body.classList.add("over");
});
addEventListener("dragleave", event => event.relatedTarget || document.body.classList.remove("over"));
addEventListener("drop", event => {
  event.preventDefault();
  document.body.classList.remove("over");
  for (const file of event.dataTransfer.files) take(file);
});
