// Waterfalls of one token: its log-prob part by part, and its log-odds against a rival, where the normaliser cancels. Each bar
// starts where the one before it ended. For the page and for a saved run alike.

import { anchorOf, coefficientsAt, controlsOf, deltasOf, insideOf, levelOf, mixedAt } from "../lib/counterfactual.js";
import { plainSigned, shortName, spanOf, symbolOf } from "../lib/formats.js";
import { factorAt } from "../lib/schedule.js";
import { mainRival } from "../lib/sentences.js";
import { finalOf } from "../lib/tokens.js";
import { el, noHover, verbatim } from "../dom.js";

/** @type {(run: import("../types.js").Run, column: import("../types.js").Column, token: import("../types.js").Token, against: number | null) => HTMLElement[]} */
export function waterfallsOf({ labels, factors }, column, token, against) { // `against` is the rival; null takes the main one
  const chosen = token.c.find(([id]) => id === token.i);
  const other = token.c.find(([id]) => id === against) || mainRival(column, token);
  return [chosen && attributionWaterfall(labels, column, token), chosen && other && logOddsWaterfall(labels, column, token, chosen, other, factorAt(factors, token.n))].filter(Boolean);
}

const namesOf = (column) => column.bars.slice(0, column.terms.length + 1).map((bar) => bar.name);
const coloursOf = (column) => column.bars.map((bar) => bar.marker?.color);

function attributionWaterfall(labels, column, token) {
  const names = column.terms.length ? [...namesOf(column), "normaliser"] : namesOf(column);
  const values = token.y.slice(0, names.length), colours = coloursOf(column);
  return fall(["Log-prob of ", labels.get(token.i)], names.map((name, k) => [name, values[k], colours[k]]), "nats", finalOf(token));
}

function logOddsWaterfall(labels, column, token, chosen, other, factor) {
  const mixed = mixedAt(column, token, {}), inside = insideOf(column, token), weights = coefficientsAt(column, token.v);
  const acts = (row) => !inside || inside.has(row[0]);
  const pushes = [chosen, other].map((row) => deltasOf(column, row).map((delta, k) => (acts(row) ? weights[k] * delta : 0)));
  const parts = [anchorOf(chosen) - anchorOf(other), ...pushes[0].map((push, k) => push - pushes[1][k])];
  const colours = coloursOf(column), total = mixed.get(token.i) - mixed.get(other[0]);
  const rows = namesOf(column).map((name, k) => [name, parts[k], colours[k]]);
  return fall(["Lead over ", labels.get(other[0])], rows, levelText(column, token, other[0], factor), Number.isFinite(total) ? total : null);
}

// The value of each slider at which the two tie, with the others unchanged, if it is on the slider.
function levelText(column, token, id, factor) {
  const controls = controlsOf(column);
  const texts = controls.flatMap((control) => {
    const level = levelOf(column, token, control, id, factor), { lowest, highest } = column.rules;
    const isOn = level && level.slider >= (control === "beta" ? 0 : lowest) && level.slider <= highest;
    return isOn ? [symbolOf(control) + " " + level.slider.toFixed(2).replace("-", "−")] : [];
  });
  if (texts.length) return "tie at " + texts.join(" or ");
  return controls.length === 1 ? "no " + symbolOf(controls[0]) + " on the slider makes them tie" : controls.length ? "no single slider makes them tie" : "nats";
}

function fall([before, bold], rows, unit, total) {
  const box = el("div", "fall"), head = el("h3");
  head.append(before, verbatim(el("b", "", bold)), el("span", "", unit));
  const list = el("dl");
  const ends = rows.reduce((sums, [, value]) => [...sums, sums.at(-1) + (Number.isFinite(value) ? value : 0)], [0]);
  const low = Math.min(...ends), span = spanOf(ends);
  const step = (name, value, from, to, colour, className) => {
    const row = el("div", className), track = el("dd", "track"), bar = el("i");
    bar.style.left = (100 * (Math.min(from, to) - low)) / span + "%";
    bar.style.width = (100 * Math.abs(to - from)) / span + "%";
    bar.style.setProperty("--c", colour);
    track.style.setProperty("--zero", (100 * (0 - low)) / span + "%");
    track.append(bar);
    const term = el("dt", "", noHover() ? name : shortName(name));
    term.title = name;
    row.append(term, track, el("dd", "", plainSigned(value)));
    return row;
  };
  list.append(...rows.map(([name, value, colour], k) => step(name, value, ends[k], ends[k + 1], colour, "")));
  list.append(step("sum", total, 0, ends.at(-1), "var(--up)", "sum"));
  box.append(head, list);
  return box;
}
