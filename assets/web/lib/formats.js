// Formatting of numbers and names on the page.

/** @import { Nats, Column, End } from "../types.js" */

/** @type {(role: string) => string} */
export const roleName = (role) => role.replaceAll("_", " ");
/** @type {(control: string) => string} */
export const symbolOf = (control) => control.replace(/^alpha_/, "α ").replace("alpha", "α").replace("beta", "β").replaceAll("_", " ");

/** @type {(text: string) => string} */
export const capital = (text) => text[0].toUpperCase() + text.slice(1);

/** @type {(recipe: string) => string} */
export const readable = (recipe) => recipe.replace(/\balpha(_\w+)?\*/g, "α·").replaceAll("beta*", "β·").replaceAll(" - ", " − ");

/** @type {(column: Column, rate?: number, speedup?: number) => string} */
export function draftsText(column, rate, speedup) {
  const drafted = column.tokens.filter((token) => token.d).length;
  const kept = rate ?? column.tokens.filter((token) => token.d && token.d[0] === token.i).length / (drafted || 1);
  const texts = drafted || rate !== undefined ? [Math.round(100 * kept) + " % of drafts accepted"] : [];
  if (speedup) texts.push("speedup " + speedup.toFixed(1) + "×");
  return texts.join(" · ");
}

/** @type {(column: Column) => string} */
export function speedText(column) {
  const n = column.tokens.length, first = column.tokens[0].ms, last = column.tokens[n - 1].ms;
  const speed = n > 4 && last > first ? Math.round(((n - 1) * 1000) / (last - first)) + " tok/s · " : "";
  return speed + "first " + Math.round(first) + " ms";
}

/** @type {(done: number, of: number) => string} */
export const readingText = (done, of) => "reading the prompt: " + Math.floor((100 * done) / (of || 1)) + " %";

// Of a run that waits for a turn; the server knows how long only after somebody's turn has come.
/** @type {(place: number, seconds?: number) => string} */
export function turnText(place, seconds) {
  const ahead = place > 1 ? place - 1 + (place > 2 ? " others are" : " other is") + " ahead" : "you are next";
  return "waiting for a turn: " + ahead + (seconds ? ", about " + Math.max(1, Math.round(seconds)) + " s" : "");
}

// Of a column whose model runs on a server that has not answered for a while.
/** @type {(role: string, seconds: number) => string} */
export const lateText = (role, seconds) => "the server of the " + roleName(role) + " has not answered for " + Math.max(1, seconds) + " s";

/** @type {(line: End) => string} */
export function endedSpeed(line) {
  const texts = line.tps ? [Math.round(line.tps) + " tok/s", "first " + Math.round(line.ttft_ms || 0) + " ms"] : [];
  if (line.tps && line.reused) texts.push(line.reused[0] + " of " + line.reused[1] + " prompt tokens reused");
  return texts.join(" · ");
}

/** @type {(column: Column) => string} */
export function ending(column) {
  const why = column.ended ? column.ended.why : "";
  return { stop: "finished", length: "length limit reached", cancelled: "stopped", cut: "cut off", error: "error" }[why] || why;
}

/** @type {(nats: number) => string} */
export const signed = (nats) => (Math.abs(nats) < 0.05 ? "" : (nats < 0 ? "−" : "+") + Math.abs(nats).toFixed(1));

// A token as an axis label: trimmed, invisible characters shown, nothing that plotly would read as markup. A copy of
// `tick_label` (eft_demo/figures/contributions.py), because these plots grow in the page while a run streams and those of the
// server are whole; tests/ui/test_twins.py compares them.
/** @type {(text: string, longest?: number) => string} */
export function tickLabel(text, longest = 12) {
  const shown = [...text.replace(/^ +| +$/g, "").replaceAll("\n", "↵").replaceAll("\t", "⇥").replace(/(?! )[\p{C}\p{Z}]/gu, "�")];
  const cut = shown.length > longest ? shown.slice(0, longest - 1).join("") + "…" : shown.join("");
  return cut.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;") || "␣";
}

/** @type {(name: string) => string} */
export const shortName = (name) => name.replace(" · ", "·").replace(/\((.+) − .+\)/, "Δ$1"); // as above the columns

/** @type {(value: Nats) => string} */
export const plainSigned = (value) => (value === null || !Number.isFinite(value) ? (value === Infinity ? "+∞" : "−∞") : (value < -0.005 ? "−" : value > 0.005 ? "+" : "") + Math.abs(value).toFixed(2));
/** @type {(text: string) => string} */
export const quote = (text) => "“" + text + "”";

/** @type {(logprob: Nats | undefined) => string} */
export function decimal(logprob) { // a log-prob as a probability: .97, <.01, 0
  if (logprob === null || logprob === undefined) return "0";
  const p = Math.exp(logprob);
  if (p < 0.005) return "<.01";
  return p >= 0.995 ? (p > 0.9999 ? "1" : ">.99") : p.toFixed(2).slice(1);
}

/** @type {(logprob: Nats | undefined) => string} */
export function estimated(logprob) { // a bound such as <.01 is true of an estimate as it stands
  const p = decimal(logprob);
  return /^[<>]/.test(p) ? p : "about " + p;
}

/** @type {(nats: number) => string} */
export function factorText(nats) { // how many times as likely: "9×", "1/9"
  const times = Math.exp(Math.min(Math.abs(nats), 14)), step = 10 ** Math.max(-1, Math.floor(Math.log10(times)) - 1);
  const shown = times > 1e6 ? "over 1,000,000" : (Math.round(times / step) * step).toLocaleString("en", { maximumFractionDigits: 1 });
  return nats < 0 ? "1/" + shown : shown + "×";
}

/** @type {(logprob: Nats, unit?: string) => string} */
export const percent = (logprob, unit = "percent") => (logprob === null ? "0" : hundredths(Math.exp(logprob), 0.9999)) + " " + unit; // 100 from where `decimal` has 1
/** @type {(share: number) => string} */
export const shareText = (share) => hundredths(share, 1) + " %";
/** @type {(share: number, whole: number) => string | number} */
const hundredths = (share, whole) => (share > 0.995 && share < whole ? "more than 99" : share > 0 && share < 0.005 ? "less than 1" : Math.round(100 * share));
/** @type {(n: number) => string} */
export const counted = (n) => (n === 1 ? "one token" : (Number.isNaN(n) ? "…" : n) + " tokens");

/** @type {(bytes: number) => string} */
export const gigabytes = (bytes) => bytes < 1e8 ? (bytes / 1e6).toFixed(1) + " MB" : (bytes / 1e9).toFixed(bytes < 1e10 ? 1 : 0) + " GB";
/** @type {(count: number) => string} */
export const millions = (count) => count < 99500 ? Math.round(count / 1e3) + " k" : count < 9.995e8 ? (count / 1e6).toFixed(count < 1e7 ? 1 : 0) + " M" : (count / 1e9).toFixed(1) + " B";

const LEAST_SPAN = 0.2; // so that a waterfall whose numbers are all 0.00 shows no long bars
/** @type {(ends: number[]) => number} */
export const spanOf = (ends) => Math.max(Math.max(...ends) - Math.min(...ends), LEAST_SPAN); // nats across a waterfall
