"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const { highlights, points, tiles, pca, sample, run } = data;
const total = points.path.length;
const width = points.components;
const coordinates = new Int16Array(Uint8Array.from(atob(points.coordinates), (c) => c.charCodeAt(0)).buffer);

const $ = (id) => document.getElementById(id);
const number = new Intl.NumberFormat("en", { maximumFractionDigits: 3 }).format;
const percent = (share) => `${(100 * share).toFixed(1)}%`;
const amount = (n, singular, plural = `${singular}s`) => `${number(n)} ${n === 1 ? singular : plural}`;
const value = (point, column) => coordinates[point * width + column] * points.scale[column];
const labelOf = (point) => points.names[points.label[point]] ?? null;
const short = (path) => (points.prefix && path.startsWith(points.prefix) ? path.slice(points.prefix.length) : path);

// Labels and paths come from users. They enter the page here, as text and attributes, never as HTML.
function put(element, ...children) {
  element.append(...children.flat().filter((child) => child !== null));
  return element;
}

function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, text] of Object.entries(attributes)) element.setAttribute(key, text);
  return put(element, ...children);
}

const strong = (label) => make("strong", {}, named(label));
const named = (label) => (label === null ? make("em", {}, "no label") : make("bdi", {}, label));
const pathed = (path) => make("bdi", { dir: "ltr" }, path);
const bar = (share) => make("span", { class: "bar", style: `--share: ${share}`, "aria-hidden": "true" });
const link = (file) => make("a", { href: file }, file);
const fold = (words, ...children) => make("details", {}, make("summary", {}, words), ...children);

// Rows are arrays of cells; the first cell names the row. A details element holds the rows after the first `shown`.
function table(caption, heads, rows, shown = Infinity) {
  const cell = (content, i) => {
    if (i === 0) return make("th", { scope: "row" }, content);
    const barred = content.className === "bar";
    return make("td", barred ? { class: "bars" } : {}, typeof content === "number" ? number(content) : content);
  };
  const head = make("tr", {}, heads.map((text) => (text ? make("th", { scope: "col" }, text) : make("td"))));
  const build = (words, body) =>
    make("table", {}, make("caption", {}, words), make("thead", {}, head.cloneNode(true)),
      make("tbody", {}, body.map((row) => make("tr", {}, row.map(cell)))));
  const rest = rows.slice(shown);
  return [
    build(caption, rows.slice(0, shown)),
    rest.length ? fold(`${number(rest.length)} more`, build(`${caption}, continued`, rest)) : null,
  ];
}

function cards(items, build, shown = 12) {
  const list = (part) => make("ul", { class: "cards" }, part.map((item) => make("li", {}, build(item))));
  const rest = items.slice(shown);
  return [list(items.slice(0, shown)), rest.length ? fold(`${number(rest.length)} more`, list(rest)) : null];
}

function facts(caption, entries) {
  const words = (item) => {
    if (item === null) return "none";
    return typeof item === "object" ? JSON.stringify(item) : String(item);
  };
  const rows = Object.entries(entries ?? {}).map(([key, item]) => [key, words(item)]);
  if (!rows.length) return [];
  const [element] = table(caption, ["Name", "Value"], rows);
  element.className = "facts";
  return [element];
}

// The sheets are megabytes: the page holds each of them once, not once for each tile.
const sheets = document.head.appendChild(make("style")).sheet;
tiles.sheets.forEach((url, i) => sheets.insertRule(`.sheet${i} { background-image: url("${url}"); }`));
document.documentElement.style.setProperty("--columns", tiles.columns);

function tile(point) {
  const [path, label] = [points.path[point], labelOf(point)];
  const cell = point % (tiles.columns * tiles.rows);
  return make("span", {
    class: `tile sheet${Math.floor(point / (tiles.columns * tiles.rows))}`,
    style: `--column: ${cell % tiles.columns}; --row: ${Math.floor(cell / tiles.columns)}`,
    role: "img",
    "aria-label": label === null ? path : `${path}, label ${label}`,
    title: path,
  });
}

const words = (...lines) => make("div", { class: "words" }, lines.map((line) => make("p", {}, line)));
const strip = (name, images) =>
  make("ul", { class: "tiles", "aria-label": name }, images.map((point) => make("li", {}, tile(point))));

const ofSample = sample.compared < sample.usable
  ? ` Only ${number(sample.compared)} of ${amount(sample.usable, "usable image")} were compared.`
  : "";

/* Header */

{
  const { listed, reused, new: fresh, ok, rejected } = data.counts;
  const made = new Date(data.made).toLocaleString("en-GB", { dateStyle: "long", timeStyle: "short", timeZone: "UTC" });
  put($("made"), `Created on ${made} UTC from the results in `, make("code", {}, data.output), ".");
  if (points.prefix) put($("made"), " Paths are relative to ", make("code", {}, points.prefix), ".");
  const labels = data.labels.filter(([label]) => label !== null).length + data.other_labels;
  const counts = { Images: listed, Usable: ok, Rejected: rejected, Labels: labels, Reused: reused, New: fresh };
  put($("counts"), Object.entries(counts).map(([name, count]) =>
    make("div", {}, make("dt", {}, name), make("dd", {}, number(count)))));
}

/* Overview */

if (data.labels.length) {
  const highest = Math.max(...data.labels.map(([, count]) => count));
  put($("overview"), table("Images per label", ["Label", "Images", ""],
    data.labels.map(([label, count]) => [named(label), count, bar(count / highest)]), 30));
}
if (data.other_labels) {
  put($("overview"), make("p", {},
    `${amount(data.other_labels, "smaller label is", "smaller labels are")} not listed.`));
}

function sizes() {
  if (!data.sizes.length) return null;
  const rows = data.sizes.map(([across, down, count]) =>
    [`${across} \u00d7 ${down}`, count, bar(count / data.sizes[0][2])]);
  const others = data.other_sizes
    ? `${amount(data.other_sizes, "image has another size", "images have other sizes")}.`
    : "";
  return make("div", {}, table("Image sizes in pixels", ["Width \u00d7 height", "Images", ""], rows, 10),
    make("p", { class: "muted" }, others));
}

function rejections() {
  if (!data.rejections.length) return make("p", {}, "None. Every image could be read.");
  const reasons = data.rejections.map(({ reason, count, paths }) => fold(`${reason}: ${number(count)}`,
    make("ul", { class: "paths" }, paths.map((path) => make("li", {}, pathed(short(path))))),
    count > paths.length ? make("p", { class: "muted" }, `The first ${paths.length} of ${number(count)}.`) : null));
  return [...reasons, make("p", {}, "All rejected images are listed in ", link(data.rejected_csv), ".")];
}

put($("overview"), make("div", { class: "columns" }, sizes(),
  make("div", {}, make("h3", {}, "Rejected images"), rejections())));

/* Principal components, without the plot */

let sum = 0;
const sums = pca.ratio.map((share) => (sum += share));

{
  const kept = sums[Math.min(pca.k, sums.length) - 1] ?? 0;
  const source = pca.applied
    ? `The run applied an existing basis, which was fitted to ${amount(pca.fitted_to, "image")}.`
    : `The basis was fitted to ${amount(pca.fitted_to, "image")}.`;
  const levels = [0.5, 0.8, 0.9, 0.95]
    .map((level) => [level, sums.findIndex((share) => share >= level) + 1])
    .filter(([, count]) => count > 0)
    .map(([level, count], i) => `${number(count)} for ${100 * level}%${i ? "" : " of the variance"}`);
  put($("chosen"), `${amount(pca.k, "component")} ${pca.k === 1 ? "keeps" : "keep"} ${percent(kept)} of the variance `
    + `(requested: ${pca.asked}). ${source}${levels.length ? ` Components needed: ${levels.join(", ")}.` : ""}`);
  $("scree").setAttribute("aria-label", "Bars: the share of the variance that each component explains, falling from "
    + `${percent(pca.ratio[0] ?? 0)}. Line: the cumulative share, reaching ${percent(sums.at(-1) ?? 0)}. `
    + "A table of the numbers follows.");
  put($("components"), fold("Numbers", ...table("Share of the variance", ["Component", "Share", "Cumulative"],
    pca.ratio.map((share, i) => [String(i + 1), percent(share), percent(sums[i])]))));
  const ends = highlights.component_ends.map(({ low, high }, i) => [
    make("h3", {}, `Component ${i + 1} `, make("small", {}, `${percent(pca.ratio[i])} of the variance`)),
    make("div", { class: "columns" },
      make("div", {}, make("small", {}, "Low end"), strip(`Component ${i + 1}, low end`, low)),
      make("div", {}, make("small", {}, "High end"), strip(`Component ${i + 1}, high end`, high))),
  ]);
  put($("components"), ends.flat());
}

/* Plots */

const root = document.documentElement;
const dark = matchMedia("(prefers-color-scheme: dark)");
// On touch screens a drag scrolls the page, and buttons zoom.
const touch = matchMedia("(pointer: coarse)").matches;
const config = {
  displaylogo: false,
  displayModeBar: touch || "hover",
  doubleClick: touch ? false : "reset", // plotly takes one tap for two clicks
  responsive: true,
  // One of the default buttons sends the data to Plotly's cloud, so these are listed.
  modeBarButtons: [["zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]],
  plotlyServerURL: "",
};

function theme() {
  const style = getComputedStyle(root);
  return (name) => style.getPropertyValue(`--${name}`).trim();
}

function layoutOf(color, xaxis, yaxis) {
  const axis = { gridcolor: color("line"), zerolinecolor: color("line"), linecolor: color("line") };
  return {
    xaxis: { ...axis, ...xaxis },
    yaxis: { ...axis, ...yaxis },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: color("text"), family: "system-ui, sans-serif", size: 13 },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: color("muted"), activecolor: color("text") },
    margin: { l: 60, r: 10, t: 30, b: 50 },
    showlegend: false,
    // Plots do not adapt to the width of paper.
    ...(root.classList.contains("printing") ? { width: 680 } : { autosize: true }),
  };
}

function drawScree() {
  const color = theme();
  const x = pca.ratio.map((_, i) => i + 1);
  const ticks = { spikethickness: 1, spikecolor: color("muted"), ...(x.length > 12 ? {} : { dtick: 1 }) };
  const layout = layoutOf(color,
    { title: { text: "Component" }, fixedrange: true, range: [0.3, x.length + 0.7], ...ticks },
    { title: { text: "Share of the variance" }, tickformat: ".0%", range: [0, 1.02], fixedrange: true });
  layout.legend = { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 };
  layout.showlegend = true;
  layout.hovermode = "x unified";
  layout.hoverlabel = { bgcolor: color("raised") };
  const hovertemplate = "%{y:.1%}";
  Plotly.react("scree", [
    { type: "bar", name: "Each component", x, y: pca.ratio, hovertemplate,
      marker: { color: x.map((i) => color(i <= pca.k ? "accent" : "pale")) } },
    { type: "scatter", name: "Cumulative", mode: x.length > 60 ? "lines" : "lines+markers", x, y: sums, hovertemplate,
      line: { color: color("label-5") } },
  ], layout, { ...config, displayModeBar: false });
}

/* The map */

const HUES = 8;
const symbols = [
  ["circle", "M6,0A6,6 0 1,1 -6,0A6,6 0 1,1 6,0Z"],
  ["square", "M-5.5,-5.5H5.5V5.5H-5.5Z"],
  ["diamond", "M0,-7L7,0L0,7L-7,0Z"],
  ["triangle-up", "M0,-6.5L6.5,5H-6.5Z"],
  ["cross", "M-2,-6.5H2V-2H6.5V2H2V6.5H-2V2H-6.5V-2H-2Z"],
  ["x", "M-6,-3.2L-3.2,-6L0,-2.8L3.2,-6L6,-3.2L2.8,0L6,3.2L3.2,6L0,2.8L-3.2,6L-6,3.2L-2.8,0Z"],
  ["triangle-down", "M0,6.5L6.5,-5H-6.5Z"],
  ["star", "M0,-7L1.7,-2.3L6.7,-2.2L2.7,0.9L4.1,5.7L0,2.9L-4.1,5.7L-2.7,0.9L-6.7,-2.2L-1.7,-2.3Z"],
];
// Adjacent labels differ in color and in symbol; the 65th label looks like the first.
const hueOf = (label) => (label < 0 ? "label-none" : `label-${label % HUES}`);
const symbolOf = (label) => symbols[label < 0 ? 0 : (label + Math.floor(label / HUES)) % symbols.length];

const present = new Map();
for (const label of points.label) present.set(label, (present.get(label) ?? 0) + 1);
const on = new Set(present.keys());
const [plot, stage, card, ring] = ["plot", "stage", "card", "ring"].map($);
const [across, up] = [$("across"), $("up")];

let visible = []; // points on the map, in the order of the trace
let walk = null; // those in view from left to right, for the keyboard; computed when a key needs it
let current = null;

const spread = (point) => (points.label[point] + 1) + 0.7 * ((point * 0.618) % 1 - 0.5);
const x = (point) => value(point, Number(across.value));
// With a single component, the vertical axis only separates the labels.
const y = (point) => (width > 1 ? value(point, Number(up.value)) : spread(point));

function range(of) {
  let [low, high] = [Infinity, -Infinity];
  for (let point = 0; point < total; point++) {
    low = Math.min(low, of(point));
    high = Math.max(high, of(point));
  }
  const margin = 0.04 * (high - low) || 1;
  return [low - margin, high + margin];
}

function drawMap() {
  const color = theme();
  const title = (column) => {
    const share = pca.ratio[column];
    return { text: `Component ${column + 1}${share === undefined ? "" : ` (${percent(share)})`}` };
  };
  visible = points.label.flatMap((label, point) => (on.has(label) ? [point] : []));
  const hues = new Map([...present.keys()].map((label) => [label, color(hueOf(label))]));
  // Ranges cover all points, so that the map stays in place while labels come and go.
  const layout = layoutOf(color,
    { title: title(Number(across.value)), range: range(x) },
    width > 1
      ? { title: title(Number(up.value)), range: range(y) }
      : { title: { text: "One row per label" }, range: range(y), showticklabels: false });
  layout.dragmode = touch ? false : "zoom";
  layout.hovermode = "closest";
  layout.uirevision = `${across.value} ${up.value}`;
  const trace = {
    type: "scatter",
    mode: "markers",
    x: visible.map(x),
    y: visible.map(y),
    hoverinfo: "none",
    marker: {
      size: (total > 2000 ? 7 : 9) - (plot.clientWidth < 500 ? 2 : 0),
      opacity: 0.85,
      color: visible.map((point) => hues.get(points.label[point])),
      symbol: visible.map((point) => symbolOf(points.label[point])[0]),
      line: { width: 0.6, color: color("outline") },
    },
  };
  walk = null;
  hide();
  return Plotly.react(plot, [trace], layout, config);
}

function show(point) {
  current = point;
  const { xaxis, yaxis } = plot._fullLayout; // the only way from a value to its position
  const [left, top] = [xaxis._offset + xaxis.d2p(x(point)), yaxis._offset + yaxis.d2p(y(point))];
  ring.hidden = false;
  ring.style.setProperty("--x", `${left}px`);
  ring.style.setProperty("--y", `${top}px`);
  // The card lies above its point or below it, towards the middle.
  card.style.setProperty("--left", `${left}px - 9rem`);
  card.style.setProperty("--top", top > plot.clientHeight / 2 ? `${top - 20}px - 8rem` : `${top + 20}px`);
  card.replaceChildren(make("div", {}, tile(point),
    words(pathed(points.path[point]), strong(labelOf(point)), `Image ${number(point + 1)} of ${number(total)}`)));
}

function hide() {
  ring.hidden = true;
  card.replaceChildren();
}

function walked() {
  const [[left, right], [bottom, top]] = [plot._fullLayout.xaxis.range, plot._fullLayout.yaxis.range];
  const inView = (point) => x(point) >= left && x(point) <= right && y(point) >= bottom && y(point) <= top;
  walk ??= visible.filter(inView).sort((a, b) => x(a) - x(b) || y(a) - y(b));
  return walk;
}

function step(event) {
  if (event.key === "Escape") return hide();
  const order = walked();
  const page = Math.max(10, Math.ceil(order.length / 20));
  const by = {
    ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1,
    PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity,
  }[event.key];
  if (!by || event.ctrlKey || event.altKey || event.metaKey) return;
  event.preventDefault();
  if (!order.length) return;
  const position = order.indexOf(current);
  const next = position < 0 && Math.abs(by) < Infinity ? 0 : position + by;
  show(order[Math.min(Math.max(next, 0), order.length - 1)]);
}

function legend() {
  const svg = (label) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    element.setAttribute("viewBox", "-8 -8 16 16");
    element.setAttribute("aria-hidden", "true");
    const path = element.appendChild(document.createElementNS("http://www.w3.org/2000/svg", "path"));
    path.setAttribute("d", symbolOf(label)[1]);
    path.setAttribute("fill", `var(--${hueOf(label)})`);
    return element;
  };
  const toggles = [...present.keys()].sort((a, b) => (a < 0) - (b < 0) || a - b).map((label) => {
    const button = make("button", { type: "button", "aria-pressed": "true" }, svg(label),
      make("span", { class: "name" }, named(points.names[label] ?? null)),
      make("small", {}, number(present.get(label))));
    button.addEventListener("click", () => {
      on.has(label) ? on.delete(label) : on.add(label);
      button.setAttribute("aria-pressed", String(on.has(label)));
      drawMap();
    });
    return { label, button };
  });
  const all = (pressed) => () => {
    for (const { label, button } of toggles.filter((toggle) => !toggle.button.hidden)) {
      pressed ? on.add(label) : on.delete(label);
      button.setAttribute("aria-pressed", String(pressed));
    }
    drawMap();
  };
  put($("toggles"), toggles.map(({ button }) => button));
  $("all").addEventListener("click", all(true));
  $("none").addEventListener("click", all(false));
  $("filter").hidden = toggles.length <= 20;
  $("filter").addEventListener("input", () => {
    const wanted = $("filter").value.trim().toLowerCase();
    for (const { label, button } of toggles) {
      button.hidden = !(points.names[label] ?? "no label").toLowerCase().includes(wanted);
    }
  });
  $("map-parts").classList.toggle("unlabeled", toggles.length < 2);
}

function startMap() {
  if (!total) {
    $("map-parts").remove();
    put($("map-note"), "There are no usable images to show.");
    return;
  }
  const all = sample.usable === 1 ? "the only usable image" : `all ${number(sample.usable)} usable images`;
  const part = `${number(sample.shown)} of ${amount(sample.usable, "image")}`;
  put($("map-note"), `The map shows ${sample.shown < sample.usable ? part : all}. `,
    "Images that look alike to the model lie close together.",
    sample.missing ? ` ${amount(sample.missing, "image is", "images are")} no longer available and shown in gray.` : "",
    present.size > HUES * symbols.length ? " Some labels share both color and symbol." : "");
  for (const [select, chosen] of [[across, 0], [up, 1]]) {
    for (let column = 0; column < width; column++) {
      select.append(make("option", { value: column }, `Component ${column + 1}`));
    }
    select.value = Math.min(chosen, width - 1);
    select.addEventListener("change", drawMap);
  }
  up.parentElement.hidden = width < 2;
  legend();
  drawMap().then(() => {
    plot.on("plotly_hover", (event) => show(visible[event.points[0].pointIndex]));
    plot.on("plotly_click", (event) => show(visible[event.points[0].pointIndex]));
    plot.on("plotly_unhover", hide);
    plot.on("plotly_relayout", () => {
      walk = null;
      if (ring.hidden) return;
      if (walked().includes(current)) show(current);
      else hide();
    });
    root.dataset.drawn = Math.round(performance.now());
  });
  stage.addEventListener("keydown", step);
  stage.addEventListener("blur", hide);
  stage.addEventListener("focus", () => {
    const order = walked();
    if (stage.matches(":focus-visible") && order.length) show(order.includes(current) ? current : order[0]);
  });
}

/* How well the labels separate */

const separation = data.separation;

if (separation) {
  const { accuracy: { value: share, low, high }, images, labels, by_label: byLabel } = separation;
  put($("separation"),
    make("p", {}, `For ${percent(share)} of ${amount(images, "image")} with ${amount(labels, "label")}, the most `
      + `similar other image has the same label (95% confidence interval: ${percent(low)} to ${percent(high)}).`
      + `${ofSample} In a series of images, the most similar one is usually from the same series. Images of objects that are `
      + "new to the archive are harder to label."),
    table("Accuracy by label, lowest first", ["Label", "Images", "Correct", "Share", ""],
      byLabel.map(({ label, images: count, right }) =>
        [named(points.names[label]), count, right, percent(right / count), bar(right / count)]), 10),
    make("h3", {}, "Most often confused"));
  put($("separation"), highlights.confusions.length
    ? cards(highlights.confusions, ({ label, other, count, total: of, examples }) => [
      words([strong(points.names[label]), " taken for ", strong(points.names[other])],
        `${number(count)} of ${amount(of, "image")}. Examples, each with its most similar image:`),
      make("ul", { class: "tiles" }, examples.map((pair) => make("li", { class: "pair" }, pair.map(tile)))),
    ])
    : make("p", {}, "No labels are confused."));
} else {
  put($("separation"), make("p", {}, data.separation_note));
}

/* Label errors, near-duplicates, outliers */

function fill(section, key, { intro, none, build }) {
  const [items, found] = [highlights[key], data.totals[key]];
  const first = found > items.length ? ` The first ${items.length} of ${number(found)} are shown.` : "";
  put($(section), items.length
    ? [make("p", {}, intro, ofSample, first, " All are listed in ", link(data.files[key]), "."), ...cards(items, build)]
    : make("p", {}, none));
}

fill("label-errors", "label_issues", {
  intro: "For each of these images, most of the ten most similar images share another label. The most certain come "
    + "first.",
  none: separation ? `No label looks wrong.${ofSample}` : "Not checked: this takes at least two labels.",
  build: ({ image, suggested, share }) => [tile(image), words(pathed(points.path[image]),
    ["Labeled ", strong(labelOf(image)), ", looks like ", strong(points.names[suggested]),
      ` (${percent(share)} of its neighbors)`])],
});

fill("near-duplicates", "near_duplicates", {
  intro: "Pairs of images that are the same: identical files, or copies that were saved again or resized. The "
    + "number is the largest difference in brightness between the two, from 0 to 255.",
  none: `No two images are near-duplicates.${ofSample}`,
  build: ({ first, second, kind, difference }) => [strip("Near-duplicates", [first, second]), words(
    kind === "same bytes" ? "Identical files" : `Same image, difference ${number(difference)}`,
    ...[first, second].map((image) => pathed(points.path[image])))],
});

fill("outliers", "outliers", {
  intro: "Images far from all others, the farthest first.",
  none: `No image stands out.${ofSample}`,
  build: ({ image, score }) => [tile(image), words(pathed(points.path[image]), named(labelOf(image)),
    `${score.toFixed(1)} times as far from its neighbors as the median image`)],
});

/* The run */

function unlisted({ count, names }) {
  if (!count) return [];
  const others = count > names.length ? ` and ${number(count - names.length)} more` : "";
  return [make("p", {}, `${amount(count, "folder")} could not be listed for lack of permission, and `
    + `${count === 1 ? "its images are" : "their images are"} left out: ${names.join(", ")}${others}.`)];
}

{
  const seconds = Object.entries(run.seconds);
  const longest = Math.max(...seconds.map(([, time]) => time));
  const { listed, reused, new: fresh } = data.counts;
  const speed = run.images_per_second ? `, at ${number(run.images_per_second)} images per second` : "";
  put($("run"),
    make("p", {}, `Run ${run.id} covers ${amount(listed, "image")}. It reused the features of ${number(reused)} and `
      + `computed those of ${number(fresh)}${speed}.`),
    ...unlisted(data.unlisted_folders),
    table("Where the time went", ["Stage", "Seconds", ""],
      seconds.map(([stage, time]) => [stage, time.toFixed(1), bar(longest ? time / longest : 0)])),
    make("div", { class: "columns" }, ["Settings", "Model", "Versions", "Validation"]
      .map((name) => make("div", {}, facts(name, run[name.toLowerCase()])))));
}

/* Drawing, repeated when the color scheme changes */

function paint() {
  if (pca.ratio.length) drawScree();
  if (total) drawMap();
}

if (pca.ratio.length) drawScree();
startMap();
dark.addEventListener("change", paint);

// On paper everything is unfolded, except long tables, and plots have the colors of the light scheme.
let opened = [];
addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details:not([open])")].filter((element) => !element.querySelector("table"));
  for (const element of opened) element.open = true;
  root.classList.add("printing");
  paint();
});
addEventListener("afterprint", () => {
  for (const element of opened) element.open = false;
  root.classList.remove("printing");
  paint();
});
