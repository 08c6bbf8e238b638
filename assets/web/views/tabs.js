// The plots beside the attribution. What every alpha would choose is worked out here; the log-odds between two columns and
// the tabs that a file of its own adds (eft_demo/figures/tabs.py) are figures that the server makes from the kept run.

import { controlsOf } from "../lib/counterfactual.js";
import { stripFigure } from "../lib/strip.js";
import { restoreRun, server } from "../api.js";
import { el, offerColumns, onKeys, onNewWidth, part } from "../dom.js";
import { currentNode, on, plotted, run, running, sameOf, selected, setTab, tab } from "../store.js";
import { choosePlot } from "./bars.js";
import { select } from "./columns.js";
import {
  colour, drawSoon, drawSoonest, loadPlotly, PLOT_CONFIG, PX_PER_TOKEN, registerPlot, themed, widthOf,
} from "./plotting.js";
import { rangeOf, setControls } from "./sliders.js";

const drawn = {}; // by tab: {key, figure} of what was asked for last

const TABS = ["bars", "odds", "strip"];
const TITLES = { bars: "Where each token's probability comes from", odds: "Which column finds the text more likely", strip: "What other slider values would choose" };
const added = []; // names of the tabs that the page line adds
const boxOf = (name) => part(name === "bars" ? "plot" : name + "-plot");

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
  for (const choice of added.map((name) => part(name + "-column"))) offerColumns(choice, names), (choice.value = plotted);
}

// A tab with its panel, as those in the skeleton are.
function addTab({ name, label, title, hint }) {
  if (part("tab-" + name)) return; // another family's page line
  added.push(name);
  TABS.push(name);
  TITLES[name] = title;
  const button = Object.assign(el("button", "", label), { type: "button", id: "eft-tab-" + name, role: "tab", tabIndex: -1 });
  button.dataset.part = "tab-" + name;
  button.setAttribute("aria-selected", "false");
  button.setAttribute("aria-controls", "eft-panel-" + name);
  const panel = Object.assign(el("div"), { id: "eft-panel-" + name, role: "tabpanel", hidden: true });
  panel.dataset.part = "panel-" + name;
  panel.setAttribute("aria-labelledby", button.id);
  const column = el("select"), note = el("p", "plot-empty"), box = el("div", "plot notranslate");
  column.dataset.part = name + "-column";
  column.setAttribute("aria-label", "which column");
  note.dataset.part = name + "-note";
  Object.assign(box, { translate: false, tabIndex: 0, role: "application", ariaLabel: title + ". Arrow keys move between tokens.", hidden: true });
  box.dataset.part = name + "-plot";
  const [before, after = ""] = hint.split("{column}"), words = el("p", "hint");
  words.append(before, column, after);
  panel.append(words, note, box);
  part("tabs").append(button);
  part("panel-strip").parentElement.append(panel);
  column.addEventListener("change", () => choosePlot(Number(column.value)));
  listenToTab(name);
}

function listenToTab(name) {
  registerPlot(name, drawTab);
  part("tab-" + name).addEventListener("click", () => openTab(name));
  boxOf(name).addEventListener("click", onTabClick);
  onNewWidth(boxOf(name), () => tab === name && drawSoon());
}

// What the open tab would show: null and a sentence where there is nothing.
/** @type {() => [request: any, sentence: string]} */
function tabRequest() {
  if (!run || !run.columns.some((column) => column.tokens.length)) return [null, "There is nothing to plot yet. Press Run first."];
  if (running) return [null, "The plot appears when the run has ended."];
  if (added.includes(tab)) return [{ run: run.id, tab, column: plotted }, ""];
  if (tab === "strip") {
    const [control] = controlsOf(run.columns[plotted]);
    return control ? [{ run: run.id, column: plotted, control, count: run.columns[plotted].tokens.length }, ""] : [null, "No slider affects " + run.columns[plotted].name + ". Choose another column."];
  }
  if (sameOf(currentNode()) === null && !run.recorded) return [null, "Both columns must score the same text. Choose “shared text” above the columns."];
  const [ours, theirs] = ["ours", "theirs"].map((side) => Number(part(side).value));
  return ours === theirs ? [null, "Choose two different columns."] : [{ run: run.id, ours, theirs }, ""];
}

async function figureFor(name, request) {
  if (name === "strip") return stripFigure(run, run.columns[request.column], request.control, rangeOf(request.control));
  await restoreRun(run);
  const asked = { ...request, run: run.id };
  return JSON.parse(await (added.includes(name) ? server.plot(asked) : server.log_odds(asked)));
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
      const answer = await figureFor(name, request);
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
  for (const box of TABS.slice(1).map(boxOf)) if (outOf(box.ownView)) box.ownView = null;
}

function windowAround(i, n, room) {
  const start = Math.max(0, Math.min(n - room, Math.round(i - room / 2)));
  return n <= room ? [-0.6, n - 0.4] : [start - 0.6, start + room - 0.4];
}

// The column whose text the open tab shows.
const columnOfTab = () => (tab === "odds" ? drawn.odds?.figure?.of ?? Number(part("ours").value) : plotted);

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
  on("page", ({ plots }) => plots.forEach(addTab));
  part("tab-bars").addEventListener("click", () => openTab("bars"));
  for (const name of ["odds", "strip"]) listenToTab(name);
  onKeys(part("tabs"), (key) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
    if (!step) return false;
    openTab(TABS[(TABS.indexOf(tab) + step + TABS.length) % TABS.length]);
    part("tab-" + tab).focus();
    return true;
  });
  part("stripped").addEventListener("change", () => choosePlot(Number(part("stripped").value)));
  for (const side of ["ours", "theirs"]) part(side).addEventListener("change", drawSoonest);
}
