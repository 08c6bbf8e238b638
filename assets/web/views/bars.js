// The attribution plot: the empty figure is made in Python and arrives with the run; this module appends the tokens and
// draws it with plotly. Its `react` keeps zoom, hidden traces and hover while it grows.

import { shortName, symbolOf, tickLabel } from "../lib/formats.js";
import { turnsAt } from "../lib/schedule.js";
import { menuOption, part } from "../dom.js";
import { asIf, emit, on, ownViews, plotted, run, running, selected, setOwnView, setPlotted, shown, tab } from "../store.js";
import { select } from "./columns.js";
import {
  clearBox, colour, drawSoon, drawSoonest, enlarge, fitHeight, heightOf, legendPx, loadPlotly, NOT_LOADED, noteOwnView, onNewRoom, PLOT_CONFIG, takeBox, themed, tokenPx,
  widthOf,
} from "./plotting.js";
import { offerTable } from "./plot-table.js";

const LEGEND_ROW_PX = 20; // its rows reduce the height of the bars
const NARROW_PX = 480; // a plot narrower than this has short names
const narrow = (box) => widthOf(box) < NARROW_PX;
const entryPx = (box) => (narrow(box) ? 130 : 190); // of the legend
let figure = null; // of the plotted column

export function startPlot(p = run.attributed ?? run.columns.length - 1) {
  part("plotted").replaceChildren(...run.columns.map((column, k) => menuOption(k, column.name)));
  choosePlot(p);
}

// Plot another column, with its tokens so far.
export function choosePlot(p) {
  setPlotted(p);
  part("plotted").value = p;
  part("columns").querySelectorAll(".pane").forEach((column, k) => column.classList.toggle("plotted", k === p));
  setOwnView("bars", null);
  part("plot-empty").hidden = false;
  clearBox(part("plot"));
  replot();
  emit("plotted");
}

export function clearPlot() { // no run is shown
  figure = null;
  offerTable(null);
  part("plot-empty").hidden = false;
  clearBox(part("plot"));
  drawSoonest();
}

// Redraw the same column at the current slider values; zoom and pan stay.
export function replot() {
  figure = { ...structuredClone({ data: run.columns[plotted].bars, layout: run.layout }), extent: [0, 0] };
  run.columns[plotted].tokens.forEach((_, i) => addBars(shown(run.columns[plotted], i)));
  emit("replotted");
  drawSoonest();
}

export function addBars(token) {
  figure.data.forEach((trace, t) => {
    trace.x.push(token.n);
    trace.y.push(token.y[t]);
  });
  const sums = [Math.min, Math.max].map((limit) => token.y.slice(0, -1).reduce((sum, y) => sum + limit(y, 0), 0)); // of the stacked bars
  figure.extent = [Math.min(figure.extent[0], sums[0], token.y.at(-1)), Math.max(figure.extent[1], sums[1], token.y.at(-1))];
  figure.layout.xaxis.tickvals.push(token.n);
  figure.layout.xaxis.ticktext.push(tickLabel(token.s || run.labels.get(token.i)));
}

const sizesOf = (layout) => [layout?.width, layout?.height, layout?.font.size].join();

async function drawBars() {
  if (!figure || !figure.data[0].x.length) return offerTable(null);
  offerTable(figure, run.columns[plotted].tokens);
  const plotly = await loadPlotly(figure.data);
  if (!plotly) return void (part("plot-empty").textContent = NOT_LOADED);
  if (!figure) return; // the run was cleared meanwhile
  part("plot-empty").hidden = true;
  const box = part("plot"), fresh = takeBox(box, plotly), layout = layoutNow(box), before = sizesOf(box.layout);
  const partly = running && !ownViews.bars && !box.data?.some(({ visible }) => visible === "legendonly");
  if (partly) layout.yaxis.range = wholeHeight();
  const bold = selected?.p === plotted ? selected.i : "";
  const sliders = JSON.stringify(asIf?.sliders); // they change the bars of as many tokens
  layout.datarevision = [figure.data[0].x.length, partly, bold, sliders].join(); // else plotly keeps the bars and names of the last drawing
  const data = (partly ? tokensIn(layout.xaxis.range) : figure.data).map((trace) => (narrow(box) ? { ...trace, name: shortName(trace.name) } : trace));
  await plotly.react(box, themed(data), layout, PLOT_CONFIG);
  // Plotly puts the legend where it fitted at the last size, that is over the bars; drawn once more, it is above them.
  if (!fresh && before !== sizesOf(layout)) await plotly.redraw(box);
  if (!fresh) return;
  noteOwnView(box, "bars");
  box.on("plotly_relayout", () => running && drawSoonest()); // with all tokens
}

// While text streams, plotly gets only the tokens in view, because it styles every bar it has, seen or not.
function tokensIn([from, to]) {
  const first = Math.max(0, Math.floor(from)), end = Math.ceil(to) + 1;
  return figure.data.map((trace) => ({ ...trace, x: trace.x.slice(first, end), y: trace.y.slice(first, end) }));
}

// The range that plotly would choose for all tokens.
function wholeHeight() {
  const [low, high] = figure.extent, pad = 0.055 * (high - low || 1);
  return [low - (low < 0 ? pad : 0), high + (high > 0 ? pad : 0)];
}

// A click anywhere in a token's strip counts, because its bar may be tiny.
function onPlotClick(event) {
  const box = part("plot"), axis = box._fullLayout?.xaxis;
  if (!axis || !event.target.closest(".draglayer")) return;
  const px = event.clientX - box.getBoundingClientRect().left - axis._offset;
  if (px >= 0 && px <= axis._length) select(plotted, Math.round(axis.p2d(px)), false, true);
}

function layoutNow(box) {
  const layout = themed(figure.layout);
  const n = figure.data[0].x.length;
  const room = Math.max(6, Math.floor((widthOf(box) - 60 - legendPx(box)) / tokenPx(box)));
  const own = ownViews.bars;
  layout.xaxis.autorange = own === "all";
  if (own !== "all") layout.xaxis.range = own || windowOf(n, room);
  layout.width = widthOf(box);
  const extra = legendPx(box) ? 0 : LEGEND_ROW_PX * Math.max(0, Math.ceil((figure.data.length * entryPx(box)) / widthOf(box)) - 2);
  fitHeight(layout, heightOf(box) + extra);
  enlarge(box, layout, tickLabel(run.columns[plotted].name, 20));
  box.style.height = layout.height + "px";
  layout.font.family = getComputedStyle(box).fontFamily;
  layout.shapes = turnLines();
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
  const middle = selected && !running ? selected.i : n; // in another column, the same place
  const start = Math.max(0, Math.min(n - room, Math.round(middle - room / 2)));
  return [start - 0.6, start + room - 0.4];
}

const turns = () => run.columns[plotted].tokens.flatMap((token, i) => {
  const moved = turnsAt(run.columns[plotted], i, run.factors);
  return moved.length ? [{ i, text: moved.map(({ name, value }) => symbolOf(name) + " " + value.toFixed(2)).join(" · ") }] : [];
});
const turnLines = () => turns().map(({ i }) => ({ type: "line", xref: "x", yref: "paper", x0: i - 0.5, x1: i - 0.5, y0: 0, y1: 1,
  line: { width: 1.5, dash: "dot", color: colour("--accent") } }));
const turnLabels = () => turns().map(({ i, text }) => ({ x: i - 0.5, y: 1, xref: "x", yref: "paper", yanchor: "top", xanchor: "left",
  text, showarrow: false, font: { size: 12, color: colour("--accent") } }));

function showBand() {
  if (!figure || !selected) return;
  const outOf = (view) => Array.isArray(view) && (selected.i < view[0] || selected.i > view[1]);
  if (selected.p === plotted && outOf(ownViews.bars)) setOwnView("bars", null);
  drawSoonest();
}

export function listen() {
  part("plot").addEventListener("click", onPlotClick);
  part("plotted").addEventListener("change", () => choosePlot(Number(part("plotted").value)));
  new MutationObserver(drawSoonest).observe(document.body, { attributes: true, attributeFilter: ["class"] });
  onNewRoom(part("plot"), drawSoon);
  part("columns").addEventListener("click", (event) => {
    const title = event.target.closest(".pane h2");
    if (title && run) choosePlot([...part("columns").children].indexOf(title.closest(".pane")));
  });
  on("selected", showBand);
  on("draw", () => tab === "bars" && drawBars());
}
