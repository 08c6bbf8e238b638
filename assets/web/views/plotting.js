// Shared by all plots: loading plotly's scripts, the theme's colours, and when the open plot is redrawn.

import { part } from "../dom.js";
import { emit, running, setOwnView, tab } from "../store.js";

export const PX_PER_TOKEN = 34;
const REDRAW_MS = 300, SHARE = 6; // on slow machines, at most a sixth of the time goes into plots while text streams
let drawTimer = 0;
let lastMs = 0; // of a drawing

// Plotly's full script holds up the page for a second when it is evaluated, so the page has the light one, and loads the full one
// for a figure with another type of trace than these. The light one would silently draw such a trace as a scatter plot.
const LIGHT_TYPES = ["bar", "pie", "scatter"];
export const NOT_LOADED = "The plotting script could not be loaded. Reload the page to try again.";
const plotlyReady = {}; // by script: a promise of it

// The script that can draw a figure of these traces; null if it could not be loaded.
export async function loadPlotly(data = []) {
  const light = await (plotlyReady.light ??= loadScript(new URL("../vendor/plotly-basic.min.js", import.meta.url)));
  if (light && data.every(({ type = "scatter" }) => LIGHT_TYPES.includes(type))) return light;
  return (plotlyReady.full ??= loadScript(new URL("eft/plotly.min.js", document.baseURI))); // after the light one: both set the same global
}

function loadScript(address) {
  return new Promise((resolve) => {
    const script = document.createElement("script");
    script.src = address.href;
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => resolve(null);
    document.head.append(script);
  });
}

// Call this before `plotly` draws into a box: a drawing is changed, saved and removed only by the script that made it. Returns
// whether the box is empty.
export function takeBox(box, plotly) {
  if (box.drawnBy !== plotly) clearBox(box);
  box.drawnBy = plotly;
  return !box.data;
}

export function clearBox(box) {
  if (box.data) box.drawnBy.purge(box);
}

// The open plot listens for "draw", which comes at a limited rate while text streams.
export function drawSoon() {
  if (!drawTimer) drawTimer = setTimeout(drawNow, running ? Math.max(REDRAW_MS, (SHARE - 1) * lastMs) : REDRAW_MS);
}

export function drawNow() {
  clearTimeout(drawTimer);
  drawTimer = 0;
  const began = performance.now();
  emit("draw");
  setTimeout(() => (lastMs = performance.now() - began)); // plotly follows in the same task
}

const PICTURE = "M3 4h18v16H3zM5 6v9l4-4 4 4 3-3 3 3V6z";
const OUTLINE = "M3 21v-5h2l9-9V5h5v5h-2l-9 9v2zM6 17l1 1 9-9-1-1z";

const saveButton = (format) => ({
  name: format, title: "Save as " + format.toUpperCase(), icon: { width: 24, height: 24, path: format === "png" ? PICTURE : OUTLINE },
  click: (box) => savePlot(box, format),
});

// One shared object. Plotly.react compares configs (functions by identity) and redraws from scratch where they differ: two
// concurrent drawings with different configs would redraw endlessly.
export const PLOT_CONFIG = {
  displaylogo: false, displayModeBar: true, responsive: false, doubleClick: "autosize", scrollZoom: false,
  modeBarButtons: [["zoomIn2d", "zoomOut2d", "autoScale2d"], ["png", "svg"].map(saveButton)],
};

function savePlot(box, format) { // with the page's background, because a file may be shown anywhere
  const layout = { ...box.layout, paper_bgcolor: colour("--card") };
  return box.drawnBy.downloadImage({ data: box.data, layout }, { format, filename: "eft-" + tab, width: box.clientWidth, height: box.layout.height, scale: 2 });
}

// The height that the style sheet gives a plot in this window.
export const heightOf = (box) => parseFloat(getComputedStyle(box).minHeight) || 350;
const LOW_PX = 240; // a plot lower than this has narrower margins

// Presented, the letters of a plot are as large as the style sheet has them, and a token gets more room.
const presentedPx = (box) => (box.closest(".presenting") ? parseFloat(getComputedStyle(box).fontSize) : 0);
export const tokenPx = (box) => (presentedPx(box) * 2.6 || PX_PER_TOKEN);

// On a wide screen the legend is beside the bars, which need the height, and names the plotted column.
const LEGEND_EM = 15;
export const legendPx = (box) => (widthOf(box) > 50 * presentedPx(box) ? LEGEND_EM * presentedPx(box) : 0);

export function enlarge(box, layout, name) {
  const px = presentedPx(box), beside = legendPx(box);
  if (!px) return;
  layout.showlegend = Boolean(beside) || layout.height > 7.5 * px;
  layout.font.size = px;
  Object.assign(layout.margin, { t: beside || !layout.showlegend ? 4 : 1.8 * px, b: 3.4 * px, l: 4 * px });
  if (!beside) return;
  Object.assign(layout.margin, { r: beside, autoexpand: false }); // else plotly adds the legend's size once more
  Object.assign(layout.legend, { orientation: "v", x: 1.01, xanchor: "left", y: 1, yanchor: "top", maxheight: layout.height, title: { text: "<b>" + name + "</b>" } });
  layout.legend.font.size = 0.82 * px;
}

export function fitHeight(layout, height) {
  layout.height = height;
  if (height < LOW_PX) Object.assign(layout.margin, { t: Math.min(layout.margin.t, 24), b: 46 }), (layout.font.size = 12.5);
}

// Notes which range of tokens a person has chosen in this plot.
export function noteOwnView(box, name) {
  box.on("plotly_relayout", (change) => {
    if (change["xaxis.autorange"]) setOwnView(name, "all");
    else if ("xaxis.range[0]" in change) setOwnView(name, [change["xaxis.range[0]"], change["xaxis.range[1]"]]);
  });
}

// Reacts to a new width of a plot, and to the height that a new window gives it; not to the height that a drawing gives its box.
export function onNewRoom(box, act) {
  let width = 0, height = heightOf(box);
  const look = () => {
    if (!box.isConnected || (box.clientWidth === width && heightOf(box) === height)) return;
    [width, height] = [box.clientWidth, heightOf(box)];
    act();
  };
  new ResizeObserver(look).observe(box);
  window.addEventListener("resize", look);
}

export const widthOf = (box) => box.clientWidth || box.parentElement.clientWidth || 600; // a hidden box has no width

export function drawSoonest() {
  clearTimeout(drawTimer);
  drawTimer = setTimeout(drawNow, 20);
}

export function colour(name) { // in a form that plotly understands: system colours must be resolved
  const value = getComputedStyle(part("page")).getPropertyValue(name).trim();
  if (value.startsWith("#")) return value;
  part("probe").style.color = value;
  return getComputedStyle(part("probe")).color;
}

// A deep copy with every `var(--name)` replaced by its colour in the current theme.
export function themed(value) {
  if (typeof value === "string") {
    const match = /^var\((--[a-z]+)\)$/.exec(value);
    return match ? colour(match[1]) : value;
  }
  if (Array.isArray(value)) return value.map(themed);
  if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, themed(v)]));
  return value;
}
