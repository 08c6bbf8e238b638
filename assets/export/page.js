// A saved run, drawn without any network: joined with what it imports into the one script of the saved page. Texts go
// through textContent alone; colours through style properties.

import { el, onKeys, showPieces, showText, verbatim } from "../web/dom.js";
import { COLOURS, strengthOf } from "../web/lib/colours.js";
import { plainSigned, roleName } from "../web/lib/formats.js";
import { joins } from "../web/lib/signs.js";
import { FAINT_NATS, shiftOf } from "../web/lib/tokens.js";

const { run, made, texts, labels, terms } = JSON.parse(document.getElementById("run").textContent);
const place = (id) => document.getElementById(id);
const spans = [];
let at = { p: 0, i: 0 };

const prob = (nats) => (nats === null ? 0 : Math.exp(nats));
const share = (nats) => (100 * prob(nats)).toFixed(prob(nats) < 0.1 ? 1 : 0) + " %";
const hueOf = (role) => "var(" + (role === "mix" ? "--up" : role === "small_base" ? "--rest" : role.endsWith("_base") ? "--base" : "--tuned") + ")";
// A recorded token as the colours of the page know it.
const colourable = (token) => ({ i: token.id, b: token.base_first, r: token.rank, e: token.entropy_nats, y: [token.anchor_logprob, ...token.bars, token.neg_log_z, token.logprob] });

function paintAll() {
  const mode = COLOURS[place("mode").value];
  place("legend").replaceChildren(...mode.legend.map(([className, text, mark]) => {
    const entry = el("span");
    entry.append(el("i", "swatch " + className, mark), text);
    return entry;
  }));
  run.columns.forEach((column, p) => column.tokens.forEach((record, i) => {
    const token = colourable(record), span = spans[p][i];
    span.className = ["t", ...mode.classes({ terms: terms[p].slice(1) }, token), ...(texts[p][i] === "" ? ["mute"] : [])].join(" ");
    span.style.setProperty("--k", strengthOf(token) + "%");
  }));
}

function drawColumn(column, p) {
  const pane = el("section", "pane");
  const text = verbatim(el("div", "text"));
  text.setAttribute("role", "group");
  text.setAttribute("aria-label", "Text of the column " + column.name);
  const before = (i) => texts[p].slice(0, i).findLast(Boolean) || "", after = (i) => texts[p].slice(i).find(Boolean) || "";
  spans[p] = column.tokens.map((token, i) => {
    const joined = !texts[p][i] && run.pieces[token.id] && joins(before(i), after(i)); // a part of no width: letters join across it
    const span = showText(el("span", "t"), texts[p][i] || (joined ? "" : labels[token.id]));
    span.dataset.p = p;
    span.dataset.i = i;
    span.tabIndex = i === 0 ? 0 : -1;
    span.setAttribute("role", "button");
    span.setAttribute("aria-pressed", "false");
    span.setAttribute("aria-label", spoken(column, token, i));
    return span;
  });
  text.append(...spans[p]);
  const why = { stop: "finished", length: "length reached", cancelled: "stopped", error: "error" }[column.finish_reason] || column.finish_reason;
  pane.append(verbatim(showText(el("h2"), column.name)), verbatim(el("div", "recipe", column.recipe)), text, el("div", "foot", why + " · " + column.tokens.length + " tokens"));
  if (column.error) pane.append(el("p", "", column.error));
  return pane;
}

function spoken(column, token, i) {
  const shift = shiftOf(colourable(token));
  const moved = Math.abs(shift) < FAINT_NATS ? "unchanged" : shift > 0 ? "raised" : "lowered";
  return "Token " + (i + 1) + " of " + column.tokens.length + ", " + labels[token.id] + ", " + share(token.logprob) + ", anchor alone " + share(token.anchor_logprob) + ", " + moved;
}

function select(p, i, focus) {
  if (!spans[p] || !spans[p][i]) return;
  const old = spans[at.p] && spans[at.p][at.i];
  if (old) old.setAttribute("aria-pressed", "false");
  for (const span of spans[p]) span.tabIndex = -1;
  at = { p, i };
  spans[p][i].tabIndex = 0;
  spans[p][i].setAttribute("aria-pressed", "true");
  if (focus) spans[p][i].focus();
  drawCard(p, i);
}

function drawCard(p, i) {
  const column = run.columns[p], token = column.tokens[i];
  showPieces(place("title"), ["“", labels[token.id], "” · token " + (i + 1) + " of " + column.tokens.length + " · ", column.name]);
  const controls = Object.entries(token.controls).map(([name, value]) => name + " " + value);
  place("note").textContent = ["id " + token.id, "probability " + share(token.logprob), "rank " + token.rank, "entropy " + (token.entropy_nats ?? 0).toFixed(2) + " nats", ...controls].join(" · ");
  place("tables").replaceChildren(candidateTable(token), attributionTable(token, terms[p]));
}

function candidateTable(token) {
  const roles = Object.keys(token.by_role);
  const table = tableOf(["candidate", ...roles.map(roleName), "mix"]);
  for (const candidate of token.candidates) {
    const row = el("tr", candidate.id === token.id ? "chosen" : "");
    row.append(verbatim(headOf(labels[candidate.id])), ...roles.map((role) => meter(candidate.by_role[role], role)), meter(candidate.logprob, "mix"));
    table.tBodies[0].append(row);
  }
  return table;
}

function attributionTable(token, names) {
  const table = tableOf(["attribution of this token", "nats"]);
  const rows = [[roleName(names[0]), token.anchor_logprob], ...token.bars.map((bar, k) => [roleName(names[k + 1]), bar]), ["normaliser", token.neg_log_z], ["sum: log p", token.logprob]];
  for (const [name, nats] of rows) {
    const row = el("tr");
    row.append(headOf(name), el("td", "number", plainSigned(nats)));
    table.tBodies[0].append(row);
  }
  return table;
}

function tableOf(heads) {
  const table = el("table"), row = table.createTHead().insertRow();
  row.append(...heads.map((name) => { const head = el("th", "", name); head.scope = "col"; return head; }));
  table.createTBody();
  return table;
}
function headOf(text) {
  const head = el("th", "", text);
  head.scope = "row";
  return head;
}
function meter(nats, role) {
  const cell = el("td"), box = el("span", "meter"), bar = el("i");
  bar.style.setProperty("--w", Math.min(100, 100 * prob(nats)).toFixed(1) + "%");
  bar.style.setProperty("--hue", hueOf(role));
  box.append(bar);
  cell.append(box, document.createTextNode(share(nats)));
  return cell;
}

function walk(key) {
  const last = run.columns[at.p].tokens.length - 1;
  const to = { ArrowRight: Math.min(last, at.i + 1), ArrowLeft: Math.max(0, at.i - 1), Home: 0, End: last }[key];
  if (to !== undefined) select(at.p, to, true);
  return to !== undefined;
}

document.title = run.prompt.slice(0, 60) + " · EFT Demo";
verbatim(showText(place("prompt"), run.prompt));
const set = Object.entries(run.controls).map(([name, value]) => name + " " + value);
const drawn = Object.entries(run.sampling).map(([name, value]) => roleName(name) + " " + value);
const rest = ["weight_filter", "schedule", "speculation"].filter((name) => run[name]).map((name) => roleName(name) + " " + run[name]);
const shown = Object.entries(run.formats).map(([role, own]) => roleName(role) + " had its own prompt format (" + own.kind + "): " + JSON.stringify(own.text));
place("details").textContent = ["family " + run.family, ...set, ...drawn, ...rest, ...shown, made].join(" · ");
place("mode").append(...Object.entries(COLOURS).filter(([name]) => name !== "flip").map(([name, mode]) => { const option = el("option", "", mode.title); option.value = name; return option; }));
place("columns").append(...run.columns.map(drawColumn));
place("mode").addEventListener("change", paintAll);
place("columns").addEventListener("click", (event) => { const span = event.target.closest(".t"); if (span) select(+span.dataset.p, +span.dataset.i, true); });
place("columns").addEventListener("focusin", (event) => { const span = event.target.closest(".t"); if (span && span.getAttribute("aria-pressed") === "false") select(+span.dataset.p, +span.dataset.i, false); });
onKeys(place("columns"), walk);
paintAll();
const first = run.columns.findLastIndex((column) => column.tokens.length);
if (first >= 0) select(first, 0, false);
