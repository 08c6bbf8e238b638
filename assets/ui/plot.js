// The contribution plot: the figure is made in Python and arrives with the run; this appends to it and draws it with
// plotly's own script. Plotly.react keeps zoom, hidden traces and hover while it grows.

const PX_PER_TOKEN = 34;
const REDRAW_MS = 300;
const LEGEND_ROW_PX = 20, LEGEND_ENTRY_PX = 190; // its rows take height from the bars
let figure = null; // of the plotted column
let plotted = 0; // which column that is
let drawTimer = 0;
let plotlyReady = null;
let ownView = null; // where a person moved the plot to: a range or "all"; null follows the newest token

function loadPlotly() {
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

function startPlot(p = run.account ?? run.panels.length - 1) {
  part("plotted").replaceChildren(...run.panels.map((panel, p) => Object.assign(el("option", "", panel.name), { value: p })));
  choosePlot(p);
}

// Plot another column; what it has said so far is drawn at once.
function choosePlot(p) {
  plotted = p;
  part("plotted").value = p;
  part("columns").querySelectorAll(".pane").forEach((column, k) => column.classList.toggle("plotted", k === p));
  ownView = null;
  part("plot-empty").hidden = false;
  if (window.Plotly && part("plot").data) Plotly.purge(part("plot"));
  replot();
  if (asIf) tellAsIf();
}

// The same column anew, as the sliders have it; zoom and pan stay.
function replot() {
  figure = structuredClone({ data: run.panels[plotted].bars, layout: run.layout });
  run.panels[plotted].tokens.forEach((_, i) => addBars(shown(run.panels[plotted], i)));
  startTabs();
  drawSoonest();
}

function addBars(token) {
  figure.data.forEach((trace, t) => {
    trace.x.push(token.n);
    trace.y.push(token.y[t]);
  });
  figure.layout.xaxis.tickvals.push(token.n);
  figure.layout.xaxis.ticktext.push(tickLabel(token.s || run.labels.get(token.i)));
}

// A token as an axis label: spaces cut, the invisible shown, nothing that plotly takes for markup.
function tickLabel(text, longest = 12) {
  const shown = [...text.replace(/^ +| +$/g, "").replaceAll("\n", "↵").replaceAll("\t", "⇥").replace(/(?! )[\p{C}\p{Z}]/gu, "�")];
  const cut = shown.length > longest ? shown.slice(0, longest - 1).join("") + "…" : shown.join("");
  return cut.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;") || "␣";
}

// A drawing sets its own height, which must not ask for another one.
function onNewWidth(box, act) {
  let width = 0;
  new ResizeObserver(() => {
    if (box.clientWidth !== width) (width = box.clientWidth), act();
  }).observe(box);
}

function drawSoon() {
  if (!drawTimer) drawTimer = setTimeout(drawNow, REDRAW_MS);
}

async function drawNow() {
  clearTimeout(drawTimer);
  drawTimer = 0;
  if (tab !== "bars") return drawTab();
  if (!figure || !figure.data[0].x.length) return;
  if (!(await loadPlotly())) return void (part("plot-empty").textContent = "The plot's script could not be loaded; reload the page to try again.");
  part("plot-empty").hidden = true;
  const box = part("plot");
  const fresh = !box.data;
  await Plotly.react(box, themed(figure.data), layoutNow(box), PLOT_CONFIG);
  if (fresh) listenTo(box);
}

const PICTURE = "M3 4h18v16H3zM5 6v9l4-4 4 4 3-3 3 3V6z";
const OUTLINE = "M3 21v-5h2l9-9V5h5v5h-2l-9 9v2zM6 17l1 1 9-9-1-1z";

const saveButton = (format) => ({
  name: format, title: "Save as " + format.toUpperCase(), icon: { width: 24, height: 24, path: format === "png" ? PICTURE : OUTLINE },
  click: (box) => savePlot(box, format),
});

// One object for good. Plotly.react compares configs, functions by identity, and draws from nothing where they differ: two
// drawings under way, each with a config of its own, would undo each other for ever.
const PLOT_CONFIG = {
  displaylogo: false, displayModeBar: true, responsive: false, doubleClick: "autosize", scrollZoom: false,
  modeBarButtons: [["zoomIn2d", "zoomOut2d", "autoScale2d"], ["png", "svg"].map(saveButton)],
};

function savePlot(box, format) { // on the page's own ground, for a file may be shown anywhere
  const layout = { ...box.layout, paper_bgcolor: colour("--card") };
  return Plotly.downloadImage({ data: box.data, layout }, { format, filename: "eft-" + tab, width: box.clientWidth, height: box.layout.height, scale: 2 });
}

function listenTo(box) {
  box.on("plotly_relayout", (change) => {
    if (change["xaxis.autorange"]) ownView = "all";
    else if ("xaxis.range[0]" in change) ownView = [change["xaxis.range[0]"], change["xaxis.range[1]"]];
  });
}

// A click anywhere in a token's strip counts, not only on its bar, which may be a hair high.
function onPlotClick(event) {
  const box = part("plot"), axis = box._fullLayout?.xaxis;
  if (!axis || !event.target.closest(".draglayer")) return;
  const px = event.clientX - box.getBoundingClientRect().left - axis._offset;
  if (px >= 0 && px <= axis._length) select(plotted, Math.round(axis.p2d(px)), false);
}

const widthOf = (box) => box.clientWidth || box.parentElement.clientWidth || 600; // an empty box is out of sight and has none

function layoutNow(box) {
  const layout = themed(figure.layout);
  const n = figure.data[0].x.length;
  const room = Math.max(6, Math.floor((widthOf(box) - 60) / PX_PER_TOKEN));
  layout.xaxis.autorange = ownView === "all";
  if (ownView !== "all") layout.xaxis.range = ownView || windowOf(n, room);
  layout.datarevision = n;
  layout.width = widthOf(box);
  layout.height += LEGEND_ROW_PX * Math.max(0, Math.ceil((figure.data.length * LEGEND_ENTRY_PX) / widthOf(box)) - 2);
  box.style.height = layout.height + "px";
  layout.font.family = getComputedStyle(box).fontFamily;
  layout.shapes = turnLines(layout);
  layout.annotations = turnLabels();
  if (selected && selected.p === plotted) {
    const i = selected.i;
    layout.shapes.push({ type: "rect", xref: "x", yref: "paper", x0: i - 0.5, x1: i + 0.5, y0: 0, y1: 1, layer: "below",
      line: { width: 1.5, color: colour("--ink") }, fillcolor: colour("--well") });
    layout.xaxis.ticktext[i] = "<b>" + layout.xaxis.ticktext[i] + "</b>";
  }
  return layout;
}

// Follows the newest token; after the run, the selected one.
function windowOf(n, room) {
  if (n <= room) return [-0.6, Math.max(n, Math.min(room, 12)) - 0.4];
  const middle = selected && selected.p === plotted && !running ? selected.i : n;
  const start = Math.max(0, Math.min(n - room, Math.round(middle - room / 2)));
  return [start - 0.6, start + room - 0.4];
}

const turns = () => run.panels[plotted].tokens.flatMap((token, i) => {
  const moved = turnsAt(run.panels[plotted], i);
  return moved.length ? [{ i, text: moved.map(({ name, value }) => symbolOf(name) + " " + value.toFixed(2)).join(" · ") }] : [];
});
const turnLines = () => turns().map(({ i }) => ({ type: "line", xref: "x", yref: "paper", x0: i - 0.5, x1: i - 0.5, y0: 0, y1: 1,
  line: { width: 1.5, dash: "dot", color: colour("--accent") } }));
const turnLabels = () => turns().map(({ i, text }) => ({ x: i - 0.5, y: 1, xref: "x", yref: "paper", yanchor: "top", xanchor: "left",
  text, showarrow: false, font: { size: 12, color: colour("--accent") } }));

function showBand() {
  if (!figure || !selected) return;
  const outOf = (view) => Array.isArray(view) && (selected.i < view[0] || selected.i > view[1]);
  if (selected.p === plotted && outOf(ownView)) ownView = null;
  for (const box of ["odds", "strip"].map(boxOf)) if (outOf(box.ownView)) box.ownView = null;
  drawSoonest();
}

function drawSoonest() {
  clearTimeout(drawTimer);
  drawTimer = setTimeout(drawNow, 20);
}

function colour(name) { // in a form that plotly knows: a colour of the system has none
  const value = getComputedStyle(element.querySelector(".eft")).getPropertyValue(name).trim();
  if (value.startsWith("#")) return value;
  part("probe").style.color = value;
  return getComputedStyle(part("probe")).color;
}

// A deep copy with every `var(--name)` replaced by its colour in the present theme.
function themed(value) {
  if (typeof value === "string") {
    const match = /^var\((--[a-z]+)\)$/.exec(value);
    return match ? colour(match[1]) : value;
  }
  if (Array.isArray(value)) return value.map(themed);
  if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, themed(v)]));
  return value;
}
