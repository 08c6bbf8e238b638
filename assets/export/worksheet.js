// A worksheet with its answer key, to print: joined with what it imports into the one script of its page. Every text of the
// run is shown as text. A browser may have saved the page as it was drawn, so that each place is emptied before it is filled.

import { el, mount, part, showText, verbatim } from "../web/dom.js";
import { roleName, shareText, symbolOf } from "../web/lib/formats.js";
import { grow, makeRun } from "../web/lib/runs.js";
import { blanksOf, piecesOf, slidersAt, sumOf, tieOf, wordsFor } from "./tasks.js";

const { rules, details, lines: [first, ...lines] } = JSON.parse(document.getElementById("run").textContent);
const run = makeRun(first, rules);
const GAP = "________";

const number = (value) => (Number.isFinite(value) ? (value < -0.005 ? "−" : "") + Math.abs(value).toFixed(2) : "−∞");
const difference = (value, less) => number(value) + (less < 0 ? " + " : " − ") + number(Math.abs(less));
const word = (text) => verbatim(showText(el("bdi", "word"), text));

// The text with numbered blanks, or, in the key, with the words in them.
function textWith(column, blanks, isKey) {
  const box = verbatim(el("p", "sheet-text"));
  for (const piece of piecesOf(column, blanks)) {
    if (typeof piece === "string") box.append(showText(el("span"), piece));
    else box.append(el("b", "blank", "(" + piece + ")"), isKey ? word(column.tokens[blanks[piece - 1]].s.trim()) : GAP);
  }
  return box;
}

// The sum says nothing without α, which the recipe leaves open: one value, or one for each blank if it moved.
function slidersText(column, blanks) {
  return slidersAt(column, blanks).map(({ control, values }) => {
    const texts = values.map(number), same = texts.every((text) => text === texts[0]);
    return ", " + symbolOf(control) + " = " + (same ? texts[0] : texts.map((text, k) => text + " at (" + (k + 1) + ")").join(", "));
  }).join("");
}

function table(heads, rows) {
  const made = el("table"), head = el("tr"), body = el("tbody"), top = el("thead");
  head.append(...heads.map((text) => Object.assign(el("th", "", text), { scope: "col" })));
  top.append(head);
  body.append(...rows.map((cells) => {
    const row = el("tr");
    row.append(...cells.map((cell) => {
      const place = el("td");
      place.append(cell);
      return place;
    }));
    return row;
  }));
  made.append(top, body);
  return made;
}

function words(column, blanks, isKey) {
  return table(["blank", "choose from", isKey ? "answer" : "your guess"], blanks.map((i, k) => {
    const choice = el("span"), own = run.labels.get(column.tokens[i].i);
    choice.append(...wordsFor(run, column, i).flatMap((text, n) => [...(n ? ["  ·  "] : []), word(text)]));
    return ["(" + (k + 1) + ")", choice, isKey ? word(own) : ""];
  }));
}

function sums(column, blanks, isKey) {
  const heads = ["blank", "log p, " + roleName(column.roles[0])];
  if (column.terms.length) heads.push(...column.bars.slice(1, column.terms.length + 1).map(({ name }) => name), "− log Z", "log p of the mix: the sum");
  return table([...heads, "p = exp(log p)"], blanks.map((i, k) => {
    const { parts, logprob, probability } = sumOf(column, i);
    const found = column.terms.length ? [logprob] : [];
    return ["(" + (k + 1) + ")", ...parts.map(number), ...found.map((value) => (isKey ? number(value) : "")), isKey ? shareText(probability) : ""];
  }));
}

function tie(column, blanks, { i, rows, scale, value }, isKey) {
  const box = el("div"), [, , plus, minus] = column.terms[0], control = symbolOf(column.terms[0][1]), labels = rows.map(({ id }) => run.labels.get(id));
  const what = el("p");
  what.append("At blank (" + (blanks.indexOf(i) + 1) + "), compare ", word(labels[0]), " with ", word(labels[1]), ". Δ is what tuning changed, the difference of the last two columns. Find the " + control + " at which both are equally likely.");
  const heads = ["token", "log p, " + roleName(column.roles[0]), roleName(column.roles[plus]), roleName(column.roles[minus]), "Δ"];
  box.append(what, table(heads, rows.map((row, k) => [word(labels[k]), ...[row.anchor, row.plus, row.minus].map(number), isKey ? number(row.delta) : ""])));
  const [own, other] = rows, ratio = "(" + difference(other.anchor, own.anchor) + ") / (" + (scale === 1 ? "" : number(scale) + " · (") + difference(own.delta, other.delta) + (scale === 1 ? "" : ")") + ")";
  if (isKey) box.append(el("p", "", "The log p of the second token minus that of the first, over the Δ of the first minus that of the second" + (scale === 1 ? "" : ", times " + number(scale)) + ":"));
  box.append(el("p", "", control + " = " + (isKey ? ratio + " = " + number(value) : GAP)));
  return box;
}

function section(title, ...content) {
  const made = el("section");
  made.append(el("h3", "", title), ...content);
  return made;
}

const numbers = (list) => (list.length ? list.map((k) => "(" + k + ")").join(", ") : "at none of them");

function sheet(column, blanks, isKey) {
  const found = tieOf(column, blanks), other = blanks.flatMap((i, k) => (column.tokens[i].b === column.tokens[i].i ? [] : [k + 1]));
  const parts = [section("1. Fill in", words(column, blanks, isKey))];
  if (column.terms.length) {
    const answer = el("p", "", isKey ? numbers(other) : GAP);
    const which = el("p", "", "At which blanks would the " + roleName(column.roles[0]) + " alone have preferred another token?");
    parts.push(section("2. Who decides?", which, answer));
  }
  parts.push(section(parts.length + 1 + ". Add up", el("p", "", "Log-probabilities are in nats (natural logarithms), rounded to two digits."), sums(column, blanks, isKey)));
  if (found) parts.push(section(parts.length + 1 + ". Where it flips", tie(column, blanks, found, isKey)));
  return parts;
}

for (const line of lines) grow(run, line);
mount(document.body);
const able = run.columns.flatMap((column, p) => (blanksOf(column, run.labels).length ? [p] : []));
const shown = able.includes(run.attributed) ? run.attributed : able.at(-1);
document.title = "Worksheet · " + run.prompt.slice(0, 60);
for (const box of [part("prompt"), part("key-prompt")]) verbatim(showText(box, run.prompt));
part("details").textContent = details;
if (shown === undefined) part("sheet").replaceChildren(el("p", "", "This run has no text with more than one token to choose from, so there is nothing to fill in."));
else {
  const column = run.columns[shown], blanks = blanksOf(column, run.labels);
  for (const [name, isKey] of [["sheet", false], ["key", true]]) {
    const who = el("p", "who");
    who.append(column.given >= column.tokens.length ? "A given text, scored by " : "Written by ", word(column.name), ": ", verbatim(el("code", "", column.recipe)), slidersText(column, blanks));
    part(name).replaceChildren(who, textWith(column, blanks, isKey), ...sheet(column, blanks, isKey));
  }
}
part("answers").hidden = false;
part("with-key").addEventListener("change", () => (part("answers").hidden = !part("with-key").checked));
part("print").addEventListener("click", () => window.print());
part("undrawn").hidden = true;
