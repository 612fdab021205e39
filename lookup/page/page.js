"use strict";

// Labels, paths and file names come from outside: they are inserted as text, never as markup.
const byId = (id) => document.getElementById(id);
const percent = (share) => `${Math.floor(100 * share)} %`; // never certain
let latest = 0;

async function ask(file) {
  const request = ++latest;
  byId("error").hidden = true;
  byId("answer").hidden = false;
  byId("answer").classList.add("waiting");
  byId("answer").setAttribute("aria-busy", "true");
  byId("name").textContent = "Looking …";
  byId("confidence").textContent = "";
  byId("meter").hidden = true;
  byId("near").hidden = true;
  byId("file").textContent = file.name;
  URL.revokeObjectURL(byId("photo").src);
  byId("photo").src = URL.createObjectURL(file);
  const form = new FormData();
  form.append("image", file);
  let answer;
  try {
    const response = await fetch("classify", { method: "POST", body: form });
    const text = await response.text();
    try {
      answer = JSON.parse(text);
    } catch {
      answer = { error: text || `The service answered ${response.status}.` };
    }
    if (!response.ok && !answer.error) answer.error = `The service answered ${response.status}.`;
  } catch {
    answer = { error: "The service cannot be reached, or did not accept the photo." };
  }
  if (request !== latest) return; // another photo was given meanwhile
  byId("answer").classList.remove("waiting");
  byId("answer").removeAttribute("aria-busy");
  if (answer.error) {
    byId("answer").hidden = true;
    byId("error").textContent = answer.error;
    byId("error").hidden = false;
    return;
  }
  show(answer);
}

function show(answer) {
  const known = answer.label !== null;
  byId("name").textContent = known ? answer.label : "Unknown";
  byId("confidence").textContent = known
    ? `${percent(answer.confidence)} confident`
    : "Nothing like it is among the known images.";
  byId("meter").hidden = !known;
  byId("meter").value = answer.confidence;
  byId("neighbors").replaceChildren(...answer.neighbours.map(card));
  byId("near").hidden = !answer.neighbours.length;
}

function card(neighbor) {
  const item = document.createElement("li");
  const image = document.createElement("img");
  image.alt = "";
  image.src = neighbor.thumbnail;
  const label = document.createElement("strong");
  label.textContent = neighbor.label ?? "without label";
  const rest = document.createElement("span");
  const name = neighbor.path.split("/").pop();
  rest.textContent = `similarity ${neighbor.similarity.toFixed(3)}, ${name}`;
  rest.title = neighbor.path;
  rest.className = "muted";
  item.append(image, label, rest);
  return item;
}

function take(files) {
  if (files.length) ask(files[0]);
}

byId("form").addEventListener("submit", (event) => event.preventDefault());
byId("image").addEventListener("change", (event) => {
  take(event.target.files);
});
for (const name of ["dragenter", "dragover"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    byId("drop").classList.add("over");
  });
}
for (const name of ["dragleave", "drop"]) {
  document.addEventListener(name, () => byId("drop").classList.remove("over"));
}
document.addEventListener("drop", (event) => {
  event.preventDefault(); // or the browser would open it
  take(event.dataTransfer.files);
});
document.addEventListener("paste", (event) => take(event.clipboardData.files));

fetch("health").then(async (response) => {
  const health = await response.json();
  byId("about").textContent =
    `${health.pictures.toLocaleString()} images with ${health.labels.toLocaleString()} labels, ` +
    `${health.model}. The photo goes to this service only, and is not kept.`;
}).catch(() => {});
