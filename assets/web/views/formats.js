// Prompt formats: the family's default for each model, and the visitor's changes.

import { roleName } from "../lib/formats.js";
import { server } from "../api.js";
import { el, menuOption, part, showText, verbatim } from "../dom.js";
import { config, forgetFormats, ownFormats, setFormat } from "../store.js";
import { showError } from "./messages.js";

const formatFields = {}; // role -> its fields

// Added to the request of every run.
export function familySettings() {
  return { serial: config.serial, ...(Object.keys(ownFormats).length ? { formats: ownFormats } : {}) };
}

export function startFamily(page) {
  part("family-formats").replaceChildren(...page.formats.map(makeFormat));
  forgetFormats();
  part("system").addEventListener("input", showFormatsSummary);
  showFormatsSummary();
  if (page.notice) showError("family-notice", page.notice);
}

const KIND_NAMES = { plain: "plain text", "few-shot": "few-shot examples", chat: "chat template" };

function makeFormat(format) {
  const box = el("details", "format");
  box.dataset.role = format.role;
  const state = el("span");
  const summary = el("summary", "", roleName(format.role) + " ");
  summary.append(state);
  const kind = el("select");
  kind.append(...format.kinds.map((name) => menuOption(name, KIND_NAMES[name])));
  const text = verbatim(Object.assign(el("textarea"), { rows: 3, spellcheck: false }));
  const labels = [el("label", "", "Prompt format "), el("label", "", "")];
  const hint = el("span");
  labels[0].append(kind);
  labels[1].append(hint, text);
  const sentence = el("p", "sentence");
  sentence.setAttribute("role", "alert");
  sentence.hidden = true;
  const whole = verbatim(el("pre", "whole"));
  whole.tabIndex = 0;
  whole.setAttribute("role", "group");
  whole.setAttribute("aria-label", "Full prompt of " + roleName(format.role));
  const reset = el("button", "plain", "Reset to the family's default");
  const fields = formatFields[format.role] = { format, kind, text, hint, state, sentence, whole, reset };
  reset.addEventListener("click", () => fillFormat(fields, format));
  kind.addEventListener("change", () => { text.value = kind.value === "chat" ? "" : format.kind === "chat" ? "{prompt}" : format.text; checkFormat(fields); });
  text.addEventListener("change", () => checkFormat(fields));
  box.addEventListener("toggle", () => box.open && checkFormat(fields));
  box.append(summary, ...labels, sentence, el("small", "", "Full prompt:"), whole, reset);
  fillFormat(fields, format, false);
  return box;
}

function fillFormat(fields, { kind, text }, check = true) {
  fields.kind.value = kind;
  fields.text.value = text;
  showFormatState(fields);
  if (check) checkFormat(fields);
}

export function setFormats(formats) { // from a link; the server has checked them
  for (const [role, own] of Object.entries(formats)) setFormat(role, own);
  for (const [role, own] of Object.entries(formats)) fillFormat(formatFields[role], own);
  showFormatsSummary();
}

// A changed format applies from the next run, once the server has accepted it.
async function checkFormat(fields) {
  const { format, kind, text, sentence, whole } = fields;
  const asked = { role: format.role, kind: kind.value, text: text.value };
  let answer = { error: "The server could not be reached, so this was not checked." };
  try {
    answer = JSON.parse(await server.show_format(asked));
  } catch { /* the sentence says it */ }
  if (asked.kind !== kind.value || asked.text !== text.value) return; // an answer to an older text
  sentence.textContent = answer.error || "";
  sentence.hidden = !answer.error;
  if (answer.error) return;
  showText(whole, answer.text);
  if (asked.kind === format.kind && asked.text === format.text) setFormat(format.role, null);
  else setFormat(format.role, { kind: asked.kind, text: asked.text });
  showFormatState(fields);
  showFormatsSummary();
}

function showFormatState({ format, kind, hint, state, reset }) {
  const own = ownFormats[format.role];
  state.textContent = KIND_NAMES[(own || format).kind] + (own ? ", changed by you" : ", the family's default");
  hint.textContent = kind.value === "chat" ? "System prompt (may be empty)" : "{prompt} marks the question; use it once";
  reset.hidden = !own;
}

// Which models a system prompt reaches: those with a chat template that has none of its own.
function showSystem() {
  const reached = config.formats.filter(({ role, ...own }) => {
    const { kind, text } = ownFormats[role] || own;
    return kind === "chat" && !text;
  });
  part("system-note").textContent = reached.length
    ? "For " + reached.map(({ role }) => roleName(role)).join(", ") + ". Models without a chat template, and those whose format has a system prompt of its own, ignore it."
    : "It has no effect now: no model here has a chat template without a system prompt of its own.";
}

export function setSystem(text) {
  part("system").value = text;
  showFormatsSummary();
}

export function makeChangedChip() { // shows that some prompt format differs from the family's
  const chip = el("span", "chip");
  chip.dataset.part = "formats-changed";
  return chip;
}

function showFormatsSummary() {
  const changed = [...Object.keys(ownFormats).map(roleName), ...(part("system").value ? ["system prompt"] : [])], chip = part("formats-changed");
  chip.hidden = !changed.length;
  chip.textContent = "prompts changed: " + changed.join(", ");
  showSystem();
}
