// What all plots share: plotly's own script, loaded when needed; colours of the theme; and when the open plot is drawn anew.

import { element, part } from "../dom.js";
import { tab } from "../store.js";

export const PX_PER_TOKEN = 34;
const REDRAW_MS = 300;
let drawTimer = 0;
let plotlyReady = null;

export function loadPlotly() {
  plotlyReady ??= new Promise((resolve) => {
    if (window.Plotly) return resolve(true);
    const script = document.createElement("script");
    script.src = new URL("eft/plotly.min.js", document.baseURI).href;
    script.onload = () => resolve(true);
    script.onerror = () => resolve(false);
    document.head.append(script);
  });
  return plotlyReady;
}

const drawers = {}; // tab -> what draws it

// A plot of its own tab; what draws it is called at most so often while text streams.
export function registerPlot(name, draw) {
  drawers[name] = draw;
}

export function drawSoon() {
  if (!drawTimer) drawTimer = setTimeout(drawNow, REDRAW_MS);
}

export async function drawNow() {
  clearTimeout(drawTimer);
  drawTimer = 0;
  await drawers[tab]?.();
}

const PICTURE = "M3 4h18v16H3zM5 6v9l4-4 4 4 3-3 3 3V6z";
const OUTLINE = "M3 21v-5h2l9-9V5h5v5h-2l-9 9v2zM6 17l1 1 9-9-1-1z";

const saveButton = (format) => ({
  name: format, title: "Save as " + format.toUpperCase(), icon: { width: 24, height: 24, path: format === "png" ? PICTURE : OUTLINE },
  click: (box) => savePlot(box, format),
});

// One object for good. Plotly.react compares configs, functions by identity, and draws from nothing where they differ: two
// drawings under way, each with a config of its own, would undo each other for ever.
export const PLOT_CONFIG = {
  displaylogo: false, displayModeBar: true, responsive: false, doubleClick: "autosize", scrollZoom: false,
  modeBarButtons: [["zoomIn2d", "zoomOut2d", "autoScale2d"], ["png", "svg"].map(saveButton)],
};

function savePlot(box, format) { // on the page's own ground, for a file may be shown anywhere
  const layout = { ...box.layout, paper_bgcolor: colour("--card") };
  return Plotly.downloadImage({ data: box.data, layout }, { format, filename: "eft-" + tab, width: box.clientWidth, height: box.layout.height, scale: 2 });
}

export const widthOf = (box) => box.clientWidth || box.parentElement.clientWidth || 600; // an empty box is out of sight and has none

export function drawSoonest() {
  clearTimeout(drawTimer);
  drawTimer = setTimeout(drawNow, 20);
}

export function colour(name) { // in a form that plotly knows: a colour of the system has none
  const value = getComputedStyle(element.querySelector(".eft")).getPropertyValue(name).trim();
  if (value.startsWith("#")) return value;
  part("probe").style.color = value;
  return getComputedStyle(part("probe")).color;
}

// A deep copy with every `var(--name)` replaced by its colour in the present theme.
export function themed(value) {
  if (typeof value === "string") {
    const match = /^var\((--[a-z]+)\)$/.exec(value);
    return match ? colour(match[1]) : value;
  }
  if (Array.isArray(value)) return value.map(themed);
  if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, themed(v)]));
  return value;
}
