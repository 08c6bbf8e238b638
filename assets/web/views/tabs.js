// The plots beside the attribution: one tab for each entry of eft_demo/figures/tabs.py. The server makes most figures from
// the stored run; a tab without a figure there is drawn here, by a view of its own.

import { restoreRun, server } from "../api.js";
import { el, offerColumns, onKeys, part } from "../dom.js";
import {
  config, currentNode, on, ownViews, plotted, run, running, sameOf, selected, setOwnView, setTab, tab,
} from "../store.js";
import { choosePlot } from "./bars.js";
import { select } from "./columns.js";
import { colour, drawSoon, drawSoonest, fitHeight, heightOf, loadPlotly, NOT_LOADED, noteOwnView, onNewRoom, PLOT_CONFIG, PX_PER_TOKEN, takeBox, themed, widthOf } from "./plotting.js";
import { offerTable } from "./plot-table.js";
import * as whatIf from "./what-if.js";

const DRAWN_HERE = { strip: whatIf };
const BARS_TITLE = "Where each token's probability comes from";
const CHOICES = { column: "which column", other: "which other column" }; // in the order in which a hint names them
const drawn = {}; // by tab: {key, figure} of what was asked for last

const names = () => ["bars", ...config.plots.map(({ name }) => name)];
const boxOf = (name) => part(name === "bars" ? "plot" : name + "-plot");
const choicesOf = (name) => Object.keys(CHOICES).map((which) => part(name + "-" + which)).filter(Boolean);
const columnsOf = (name) => choicesOf(name).map((choice) => Number(choice.value));

export function openTab(name) {
  setTab(name);
  for (const other of names()) {
    part("tab-" + other).setAttribute("aria-selected", other === name);
    part("tab-" + other).tabIndex = other === name ? 0 : -1;
    part("panel-" + other).hidden = other !== name;
  }
  part("page").classList.toggle("other-plot", name !== "bars");
  part("attribution-title").textContent = config.plots.find((one) => one.name === name)?.title ?? BARS_TITLE;
  offerTable(null); // that of the other tab
  drawSoonest();
}

// Offers the run's columns. A tab of one column shows the plotted one; a tab of two starts with the mixed one and the first.
function offerChoices() {
  const columns = run.columns.map((column) => column.name);
  for (const { name } of config.plots) {
    const [first, other] = choicesOf(name), fresh = offerColumns(first, columns);
    if (!other) first.value = plotted;
    else if (offerColumns(other, columns) || fresh) [first.value, other.value] = [run.attributed ?? columns.length - 1, 0];
  }
}

// A tab with its panel, like that of the attribution in the skeleton.
function addTab({ name, label, title, hint }) {
  const button = Object.assign(el("button", "", label), { id: "eft-tab-" + name, role: "tab", tabIndex: -1 });
  button.dataset.part = "tab-" + name;
  button.setAttribute("aria-selected", "false");
  button.setAttribute("aria-controls", "eft-panel-" + name);
  const panel = Object.assign(el("div"), { id: "eft-panel-" + name, role: "tabpanel", hidden: true });
  panel.dataset.part = "panel-" + name;
  panel.setAttribute("aria-labelledby", button.id);
  const words = el("p", "hint"), note = el("p", "plot-empty"), box = el("div", "plot notranslate");
  const [first, ...more] = hint.split(/(?<=\.) /); // beside the tabs, there is a place for one sentence
  words.append(...first.split(/\{(column|other)\}/).map((piece, i) => (i % 2 ? makeChoice(name, piece) : piece)));
  if (more.length) words.append(el("span", "more", " " + more.join(" ")));
  words.title = hint.replace(/\{(column|other)\}/g, (_, piece) => (piece === "other" ? "the other column" : "the column"));
  note.dataset.part = name + "-note";
  Object.assign(box, { translate: false, tabIndex: 0, role: "application", ariaLabel: title + ". Arrow keys move between tokens.", hidden: true });
  box.dataset.part = name + "-plot";
  panel.append(words, note, box);
  part("tabs").append(button);
  part("plot-table").before(panel);
  const choices = choicesOf(name);
  for (const choice of choices) choice.addEventListener("change", () => (choices.length > 1 ? drawSoonest() : choosePlot(Number(choice.value))));
  button.addEventListener("click", () => openTab(name));
  box.addEventListener("click", onTabClick);
  onNewRoom(box, () => tab === name && drawSoon());
}

function makeChoice(name, which) {
  const choice = el("select");
  choice.dataset.part = name + "-" + which;
  choice.setAttribute("aria-label", CHOICES[which]);
  return choice;
}

// What the open tab would show: null and a sentence where there is nothing.
/** @type {() => [request: any, sentence: string]} */
function tabRequest() {
  if (!run || !run.columns.some((column) => column.tokens.length)) return [null, "There is nothing to plot yet. Press Run first."];
  if (running) return [null, "The plot appears when the run has ended."];
  const columns = columnsOf(tab), [column] = columns.map((p) => run.columns[p]);
  if (columns[0] === columns[1]) return [null, "Choose two different columns."];
  const refusal = DRAWN_HERE[tab]?.refusalOf(column);
  return refusal ? [null, refusal] : [{ run: run.id, tab, columns }, ""];
}

async function figureFor(request) {
  const [column] = request.columns, here = DRAWN_HERE[request.tab];
  if (here) return here.figureOf(run.columns[column]);
  await restoreRun(run);
  return JSON.parse(await server.plot({ ...request, run: run.id }));
}

// A figure that is drawn here grows while a run is replayed; the server has all of the run.
function keyOf(request) {
  const here = DRAWN_HERE[request.tab], column = run.columns[request.columns[0]];
  return JSON.stringify([request, here ? [column.tokens.length, here.stateOf(column)] : "all"]);
}

function sayOver(name, sentence) { // in the place of the plot
  part(name + "-note").className = "plot-empty";
  part(name + "-note").textContent = sentence;
  part(name + "-note").hidden = !sentence;
  boxOf(name).hidden = sentence !== "";
}

async function drawTab() {
  const name = tab, [request, sentence] = tabRequest(), box = boxOf(name);
  sayOver(name, sentence);
  if (!request || drawn[name]?.key !== keyOf(request)) offerTable(null);
  if (!request) return;
  const key = keyOf(request);
  if (drawn[name]?.key !== key) {
    const kept = drawn[name];
    drawn[name] = { key, figure: null };
    try {
      const answer = await figureFor(request);
      if (answer.error) return sayOver(name, answer.error);
      if (drawn[name].key !== key) return;
      drawn[name].figure = answer;
      if (kept && kept.key !== key) setOwnView(name, null);
    } catch {
      drawn[name] = null;
      return sayOver(name, "The server could not be reached for this plot.");
    }
  }
  if (!drawn[name]?.figure || tab !== name) return;
  offerTable(drawn[name].figure, run.columns[columnOfTab()].tokens);
  const { data, layout, note = "" } = drawn[name].figure;
  if (!box.data) sayOver(name, "Loading the plotting script…"); // the full one takes a while
  const plotly = await loadPlotly(data);
  const [wanted] = tabRequest(); // another one, or none, if something happened meanwhile
  if (!wanted || keyOf(wanted) !== key) return;
  sayOver(name, plotly ? "" : NOT_LOADED);
  if (!plotly) return;
  Object.assign(part(name + "-note"), { className: "hint", textContent: note, hidden: !note });
  const fresh = takeBox(box, plotly);
  await plotly.react(box, themed(data), tabLayout(box, layout), PLOT_CONFIG);
  if (fresh) noteOwnView(box, name);
}

function tabLayout(box, made) {
  const mine = selected && (selected.p === columnOfTab() || sameOf(currentNode()) !== null);
  const layout = themed(made), i = mine ? selected.i : -1, n = layout.xaxis.tickvals.length;
  layout.width = widthOf(box);
  fitHeight(layout, DRAWN_HERE[tab] && !box.closest(".presenting") ? Math.max(layout.height, heightOf(box)) : heightOf(box)); // presented, the columns stay in sight
  box.style.height = layout.height + "px";
  layout.font.family = getComputedStyle(box).fontFamily;
  const room = Math.max(6, Math.floor((widthOf(box) - 60) / PX_PER_TOKEN)), own = ownViews[tab];
  layout.xaxis.autorange = own === "all";
  if (own !== "all") layout.xaxis.range = own || windowAround(i, n, room);
  if (i >= 0 && i < n) {
    layout.shapes = [{ type: "rect", xref: "x", yref: "paper", x0: i - 0.5, x1: i + 0.5, y0: 0, y1: 1, line: { width: 1.5, color: colour("--ink") } }];
    layout.xaxis.ticktext[i] = "<b>" + layout.xaxis.ticktext[i] + "</b>";
  }
  return layout;
}

// A token out of a plot's sight brings the plot back to it.
function followSelection() {
  const outOf = (view) => Array.isArray(view) && (selected.i < view[0] || selected.i > view[1]);
  for (const { name } of config.plots) if (outOf(ownViews[name])) setOwnView(name, null);
}

function windowAround(i, n, room) {
  const start = Math.max(0, Math.min(n - room, Math.round(i - room / 2)));
  return n <= room ? [-0.6, n - 0.4] : [start - 0.6, start + room - 0.4];
}

// The column whose text the open tab shows.
const columnOfTab = () => drawn[tab]?.figure?.of ?? columnsOf(tab)[0];

// A click selects the token there; on a plot that is drawn here, it may do more with the row.
function onTabClick(event) {
  const box = boxOf(tab), axes = box._fullLayout;
  if (!axes || !event.target.closest(".draglayer")) return;
  const at = box.getBoundingClientRect();
  const px = event.clientX - at.left - axes.xaxis._offset, py = event.clientY - at.top - axes.yaxis._offset;
  if (px < 0 || px > axes.xaxis._length) return;
  select(columnOfTab(), Math.round(axes.xaxis.p2d(px)), false, true);
  DRAWN_HERE[tab]?.onCell(run.columns[columnOfTab()], box.data[0].y[Math.round(axes.yaxis.p2c(py))]);
}

export function listen() {
  on("replotted", offerChoices);
  on("draw", () => tab !== "bars" && drawTab());
  on("scored", () => DRAWN_HERE[tab] && drawSoon());
  on("selected", followSelection);
  on("page", ({ plots }) => plots.forEach(addTab));
  part("tab-bars").addEventListener("click", () => openTab("bars"));
  onKeys(part("tabs"), (key) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[key], all = names();
    if (!step) return false;
    openTab(all[(all.indexOf(tab) + step + all.length) % all.length]);
    part("tab-" + tab).focus();
    return true;
  });
}
