// The two plots that compare: log-odds between two columns, and what every alpha would choose. Their figures are made in
// Python from the kept run and drawn here.

import { controlsOf } from "../lib/counterfactual.js";
import { regain, server } from "../api.js";
import { offerColumns, onKeys, onNewWidth, part } from "../dom.js";
import { currentNode, on, plotted, run, running, sameOf, selected, setTab, tab } from "../store.js";
import { choosePlot } from "./bars.js";
import { select } from "./columns.js";
import {
  colour, drawSoon, drawSoonest, loadPlotly, PLOT_CONFIG, PX_PER_TOKEN, registerPlot, themed, widthOf,
} from "./plotting.js";
import { setControls } from "./sliders.js";

const drawn = { odds: null, strip: null }; // {key, figure} of what was asked for last

const TABS = ["bars", "odds", "strip"];
const TITLES = { bars: "Who put each token there", odds: "Which column finds the text more likely", strip: "What other slider values would choose" };
const boxOf = (name) => part({ bars: "plot", odds: "odds-plot", strip: "strip-plot" }[name]);

function openTab(name) {
  setTab(name);
  for (const other of TABS) {
    part("tab-" + other).setAttribute("aria-selected", other === name);
    part("tab-" + other).tabIndex = other === name ? 0 : -1;
    part("panel-" + other).hidden = other !== name;
  }
  part("attribution-title").textContent = TITLES[name];
  drawSoonest();
}

function startTabs() { // what was drawn is of another text
  const names = run.columns.map((column) => column.name);
  for (const [side, p] of Object.entries({ ours: run.attributed ?? names.length - 1, theirs: 0, stripped: plotted })) {
    if (offerColumns(part(side), names)) part(side).value = p;
  }
  part("stripped").value = plotted;
}

// What the open tab would show: null and a sentence where there is nothing.
/** @type {() => [request: any, sentence: string]} */
function tabRequest() {
  if (!run || !run.columns.some((column) => column.tokens.length)) return [null, "There is nothing to compare yet. Press Run first."];
  if (running) return [null, "The plot appears when the run has ended."];
  if (tab === "strip") {
    const [control] = controlsOf(run.columns[plotted]);
    return control ? [{ run: run.id, column: plotted, control }, ""] : [null, "No slider affects " + run.columns[plotted].name + ". Choose another column."];
  }
  if (sameOf(currentNode()) === null && !run.recorded) return [null, "Log-odds can only be added up over one text. Choose “shared text” above the columns."];
  const [ours, theirs] = ["ours", "theirs"].map((side) => Number(part(side).value));
  return ours === theirs ? [null, "Choose two different columns."] : [{ run: run.id, ours, theirs }, ""];
}

async function drawTab() {
  const name = tab, [request, sentence] = tabRequest();
  const note = part(name + "-note"), box = boxOf(name);
  note.textContent = sentence;
  note.hidden = !sentence;
  box.hidden = !request;
  if (!request) return;
  const key = JSON.stringify(request);
  if (drawn[name]?.key !== key) {
    const kept = drawn[name];
    drawn[name] = { key, figure: null };
    try {
      await regain(run);
      request.run = run.id;
      const answer = JSON.parse(await (name === "strip" ? server.strip(request) : server.log_odds(request)));
      if (answer.error) return void ((note.textContent = answer.error), (note.hidden = false), (box.hidden = true));
      if (drawn[name].key !== key) return;
      drawn[name].figure = answer;
      if (kept && kept.key !== key) box.ownView = null;
    } catch {
      drawn[name] = null;
      return void ((note.textContent = "The server could not be reached for this plot."), (note.hidden = false));
    }
  }
  if (!drawn[name]?.figure || tab !== name || !(await loadPlotly())) return;
  note.textContent = drawn[name].figure.note || "";
  note.hidden = !note.textContent;
  if (name === "odds") part("odds-of").textContent = " The text is that of " + run.columns[columnOfTab()].name + ".";
  const fresh = !box.data;
  await Plotly.react(box, themed(drawn[name].figure.data), tabLayout(box, drawn[name].figure.layout), PLOT_CONFIG);
  if (fresh) box.on("plotly_relayout", (change) => {
    if (change["xaxis.autorange"]) box.ownView = "all";
    else if ("xaxis.range[0]" in change) box.ownView = [change["xaxis.range[0]"], change["xaxis.range[1]"]];
  });
}

function tabLayout(box, made) {
  const mine = selected && (selected.p === columnOfTab() || sameOf(currentNode()) !== null);
  const layout = themed(made), i = mine ? selected.i : -1, n = layout.xaxis.tickvals.length;
  layout.width = widthOf(box);
  box.style.height = layout.height + "px";
  layout.font.family = getComputedStyle(box).fontFamily;
  const room = Math.max(6, Math.floor((widthOf(box) - 60) / PX_PER_TOKEN));
  layout.xaxis.autorange = box.ownView === "all";
  if (box.ownView !== "all") layout.xaxis.range = Array.isArray(box.ownView) ? box.ownView : windowAround(i, n, room);
  if (i >= 0 && i < n) {
    layout.shapes = [{ type: "rect", xref: "x", yref: "paper", x0: i - 0.5, x1: i + 0.5, y0: 0, y1: 1, line: { width: 1.5, color: colour("--ink") } }];
    layout.xaxis.ticktext[i] = "<b>" + layout.xaxis.ticktext[i] + "</b>";
  }
  return layout;
}

// A token out of a plot's sight brings the plot back to it.
function followSelection() {
  const outOf = (view) => Array.isArray(view) && (selected.i < view[0] || selected.i > view[1]);
  for (const box of ["odds", "strip"].map(boxOf)) if (outOf(box.ownView)) box.ownView = null;
}

function windowAround(i, n, room) {
  const start = Math.max(0, Math.min(n - room, Math.round(i - room / 2)));
  return n <= room ? [-0.6, n - 0.4] : [start - 0.6, start + room - 0.4];
}

// The column whose text the open tab shows.
const columnOfTab = () => (tab === "strip" ? plotted : drawn.odds?.figure?.of ?? Number(part("ours").value));

// A click on a cell of the strip: that token, at that value of the slider. On the line: that token.
function onTabClick(event) {
  const box = boxOf(tab), axes = box._fullLayout;
  if (!axes || !event.target.closest(".draglayer")) return;
  const at = box.getBoundingClientRect();
  const px = event.clientX - at.left - axes.xaxis._offset, py = event.clientY - at.top - axes.yaxis._offset;
  if (px < 0 || px > axes.xaxis._length) return;
  select(columnOfTab(), Math.round(axes.xaxis.p2d(px)), false);
  const value = Number(box.data[0].y[Math.round(axes.yaxis.p2c(py))]);
  if (tab === "strip" && Number.isFinite(value)) setControls({ [controlsOf(run.columns[plotted])[0]]: value });
}

export function listen() {
  on("replotted", startTabs);
  on("selected", followSelection);
  registerPlot("odds", drawTab);
  registerPlot("strip", drawTab);
  for (const name of TABS) part("tab-" + name).addEventListener("click", () => openTab(name));
  onKeys(part("tabs"), (key) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
    if (!step) return false;
    openTab(TABS[(TABS.indexOf(tab) + step + TABS.length) % TABS.length]);
    part("tab-" + tab).focus();
    return true;
  });
  for (const name of ["odds", "strip"]) {
    boxOf(name).addEventListener("click", onTabClick);
    onNewWidth(boxOf(name), () => tab === name && drawSoon());
  }
  part("stripped").addEventListener("change", () => choosePlot(Number(part("stripped").value)));
  for (const side of ["ours", "theirs"]) part(side).addEventListener("change", drawSoonest);
}
