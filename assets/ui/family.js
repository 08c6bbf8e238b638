// The models: which family runs and how, another one for everybody, and what each model is shown around the question.

const POLL_MS = 400; // how often a loading family is asked how far it is
const ownFormats = {}; // role -> {kind, text}, where a person changed the family's way
const formatFields = {}; // role -> where it is changed
let menu = null; // what the server told last
let loadedHere = false; // this page pressed Load, so it follows when the new family is there
let watching = false;
let menuFailed = false; // the sentence says that the server could not be asked
let changedChip = null; // says that some model is shown something else than the family's own

const gigabytes = (bytes) => bytes < 1e8 ? (bytes / 1e6).toFixed(1) + " MB" : (bytes / 1e9).toFixed(bytes < 1e10 ? 1 : 0) + " GB";
const millions = (count) => count < 9.995e8 ? (count / 1e6).toFixed(count < 1e7 ? 1 : 0) + " M" : (count / 1e9).toFixed(1) + " B";

// The first chip opens the menu; the others say in short how the models run.
function makeFamilyChip(text) {
  const chip = el("button", "chip family-chip", text);
  chip.type = "button";
  chip.title = "Models: which run, how, and what they are shown";
  chip.setAttribute("aria-haspopup", "dialog");
  chip.addEventListener("click", openFamily);
  return chip;
}

// What every run adds to its request.
function familyAsked() {
  return { serial: config.serial, ...(Object.keys(ownFormats).length ? { formats: ownFormats } : {}) };
}

function startFamily(page) {
  part("family-formats").replaceChildren(...page.formats.map(makeFormat));
  for (const role of Object.keys(ownFormats)) delete ownFormats[role];
  tellFormats();
  if (page.notice) showError("family-notice", page.notice);
}

async function openFamily() {
  openDialog("family");
  await readMenu();
}

async function readMenu() {
  let answer;
  try {
    answer = JSON.parse(await server.family_menu({ quantisation: part("family-quantisation").value || undefined, key: keyHeld() }));
  } catch {
    menuFailed = true;
    return tellFamily("The server could not be reached. Please try again, or reload the page.");
  }
  if (answer.error) return tellFamily(answer.error);
  if (menuFailed) tellFamily(""); // it was reached after all
  menuFailed = false;
  menu = answer;
  showMenu();
  if (menu.progress.state === "loading") watchLoading();
}

function showMenu() {
  part("family-title").textContent = menu.title;
  part("family-models").replaceChildren(...menu.models.map(modelRow));
  const kinds = part("family-quantisation");
  kinds.replaceChildren(...menu.quantisations.map((kind) => Object.assign(el("option", "", QUANTISATION_NAMES[kind] || kind), { value: kind })));
  kinds.value = menu.quantisation;
  const chosen = chosenFamily() || menu.now;
  const rank = (choice) => choice.name === menu.now ? 0 : choice.problem ? 2 : 1; // what runs, what fits, the rest
  const choices = menu.choices.toSorted((one, other) => rank(one) - rank(other));
  part("family-choices").replaceChildren(...choices.map((choice) => familyChoice(choice, choice.name === chosen)));
  part("family-problems").replaceChildren(...menu.problems.map((text) => el("p", "sentence", text)));
  const reason = part("family-why-not");
  reason.textContent = menu.why_not;
  reason.hidden = !menu.why_not;
  showProgress(menu.progress);
}

const QUANTISATION_NAMES = { auto: "as it fits: whole, or else in 4 bits", none: "whole, not quantised", int8: "8 bits (int8)", nf4: "4 bits (NF4)", fp4: "4 bits (FP4)" };

function modelRow(model) {
  const row = el("tr");
  const name = el("th", "", roleName(model.role));
  name.scope = "row";
  name.title = model.source + ": " + model.reason;
  const stored = model.dtype + (model.quantisation === "none" ? "" : ", " + model.quantisation);
  const cells = [model.parameters ? millions(model.parameters) : "?", stored, model.device, gigabytes(model.weights_bytes), gigabytes(model.cache_bytes)];
  row.append(name, ...cells.map((text) => el("td", "", text)));
  return row;
}

function familyChoice(choice, chosen) {
  const label = el("label", "family-choice");
  const radio = Object.assign(el("input"), { type: "radio", name: "eft-family", value: choice.name, checked: chosen });
  radio.addEventListener("change", () => showLoadButton());
  const title = el("b", "", choice.title);
  const words = el("span", "family-words");
  words.append(title);
  if (choice.name === menu.now) words.append(el("span", "badge now", "runs now"));
  if (choice.gated) words.append(el("span", "badge", "gated: accept its licence on the hub first"));
  if (!choice.pinned) words.append(el("span", "badge", "unpinned: the newest revision is taken"));
  const facts = [sizesOf(choice.parameters), choice.licence, choice.here ? "on this machine" : "up to " + gigabytes(choice.download_bytes) + " to download"];
  words.append(el("small", "", facts.join(" · ")), memoryLine(choice));
  if (choice.problem) words.append(el("small", "problem", choice.problem));
  for (const text of [choice.warning, choice.note]) if (text) words.append(el("small", "", text));
  label.append(radio, words);
  return label;
}

function sizesOf(parameters) {
  const size = (role) => parameters[role] ? millions(parameters[role]) : "of a size not known yet";
  return Object.keys(parameters).length + " models: large " + size("large_base") + ", small " + size("small_base");
}

function memoryLine(choice) {
  const places = Object.entries(choice.needed_bytes).map(([device, bytes]) =>
    gigabytes(bytes) + " of " + gigabytes(choice.free_bytes[device] || 0) + " free " + (device === "cpu" ? "memory" : "on " + device));
  return el("small", choice.problem ? "fits-not" : "fits", (choice.problem ? "✕ does not fit: needs " : "✓ fits: needs ") + places.join(", "));
}

const chosenFamily = () => part("family-choices").querySelector("input:checked")?.value;

function showLoadButton() {
  const choice = menu.choices.find((other) => other.name === chosenFamily());
  const loading = menu.progress.state === "loading";
  part("family-load").disabled = loading || !choice || Boolean(choice.problem) || Boolean(menu.why_not);
  part("family-cancel").hidden = !loading;
  const kind = part("family-quantisation").value;
  part("family-measure").disabled = loading || !choice || ["auto", "none"].includes(kind) || Boolean(menu.why_not);
}

async function loadFamily() {
  if (!await beginFamily(server.load_family, "")) return;
  loadedHere = true;
  part("family-cancel").focus();
  watchLoading();
}

// The large base is loaded twice for it, whole and quantised, beside the family in use.
async function measureFamily() {
  if (!await beginFamily(server.measure_quantisation, "measure")) return;
  part("family-cancel").focus();
  watchLoading();
}

async function beginFamily(ask, stage) {
  tellFamily("");
  part("family-report").hidden = true;
  let sentence = "The server could not be reached. Please try again, or reload the page.";
  try {
    sentence = await ask({ family: chosenFamily(), quantisation: part("family-quantisation").value, key: keyHeld() });
  } catch { /* the sentence says it */ }
  tellFamily(sentence);
  if (sentence) return false;
  menu.progress = { state: "loading", family: chosenFamily(), stage: { stage, what: "", done_bytes: 0, total_bytes: 0 }, sentence: "" };
  showProgress(menu.progress);
  return true;
}

async function cancelLoading() {
  try {
    tellFamily(await server.cancel_loading({ key: keyHeld() }));
  } catch {
    tellFamily("The server could not be reached. Please try again, or reload the page.");
  }
}

async function watchLoading() {
  if (watching) return;
  watching = true;
  while (menu.progress.state === "loading" && element.isConnected) {
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    try {
      menu.progress = JSON.parse(await server.loading({}));
    } catch {
      continue; // it will answer again, or the page says elsewhere that it does not
    }
    showProgress(menu.progress);
  }
  watching = false;
  if (menu.progress.state === "loaded") return followFamily();
  if (menu.progress.state === "measured") return tellReport(menu.progress.sentence);
  tellFamily(menu.progress.sentence);
  part(loadedHere ? "family-load" : "family-measure").focus();
  loadedHere = false;
}

// The whole page is drawn from what it was told of its family, so it begins anew with the other one.
function followFamily() {
  if (!loadedHere) return tellFamily("Another family runs now. Reload the page to ask it.");
  beginAnew("");
}

function tellReport(text) {
  part("family-report").textContent = text;
  part("family-report").hidden = false;
  part("family-measure").focus();
}

const STAGES = { download: "Downloading", load: "Loading", check: "Checking", measure: "Measuring" };

function showProgress(progress) {
  const bar = part("family-progress"), stage = progress.stage;
  part("family-stage").hidden = progress.state !== "loading";
  if (stage.total_bytes) bar.value = stage.done_bytes / stage.total_bytes;
  else bar.removeAttribute("value");
  const size = stage.total_bytes ? ", " + gigabytes(stage.done_bytes) + " of " + gigabytes(stage.total_bytes) : "";
  part("family-stage-text").textContent = (STAGES[stage.stage] || "Starting") + " " + (stage.what || progress.family) + size;
  showLoadButton();
}

function tellFamily(text) {
  const place = part("family-sentence");
  place.textContent = text;
  place.hidden = !text;
}

// -- what each model is shown --

const KIND_NAMES = { plain: "plain text", "few-shot": "examples first", chat: "chat template" };

function makeFormat(format) {
  const box = el("details", "format");
  box.dataset.role = format.role;
  const state = el("span");
  const summary = el("summary", "", roleName(format.role) + " ");
  summary.append(state);
  const kind = el("select");
  kind.append(...format.kinds.map((name) => Object.assign(el("option", "", KIND_NAMES[name]), { value: name })));
  const text = verbatim(Object.assign(el("textarea"), { rows: 3, spellcheck: false }));
  const labels = [el("label", "", "Way of asking "), el("label", "", "")];
  const hint = el("span");
  labels[0].append(kind);
  labels[1].append(hint, text);
  const sentence = el("p", "sentence");
  sentence.setAttribute("role", "alert");
  sentence.hidden = true;
  const whole = verbatim(el("pre", "whole"));
  whole.tabIndex = 0;
  whole.setAttribute("role", "group");
  whole.setAttribute("aria-label", "All that " + roleName(format.role) + " is shown");
  const reset = Object.assign(el("button", "plain", "As the family has it"), { type: "button" });
  const fields = formatFields[format.role] = { format, kind, text, hint, state, sentence, whole, reset };
  reset.addEventListener("click", () => fillFormat(fields, format));
  kind.addEventListener("change", () => { text.value = kind.value === "chat" ? "" : format.kind === "chat" ? "{prompt}" : format.text; checkFormat(fields); });
  text.addEventListener("change", () => checkFormat(fields));
  box.addEventListener("toggle", () => box.open && checkFormat(fields));
  box.append(summary, ...labels, sentence, el("small", "", "All that it is shown:"), whole, reset);
  fillFormat(fields, format, false);
  return box;
}

function fillFormat(fields, { kind, text }, check = true) {
  fields.kind.value = kind;
  fields.text.value = text;
  showFormatState(fields);
  if (check) checkFormat(fields);
}

function setFormats(formats) { // of a link: the server has checked them
  Object.assign(ownFormats, formats);
  for (const [role, own] of Object.entries(formats)) fillFormat(formatFields[role], own);
  tellFormats();
}

// A changed format counts from the next Run on, once the server has accepted it.
async function checkFormat(fields) {
  const { format, kind, text, sentence, whole } = fields;
  const asked = { role: format.role, kind: kind.value, text: text.value };
  let answer = { error: "The server could not be reached, so this is not checked." };
  try {
    answer = JSON.parse(await server.show_format(asked));
  } catch { /* the sentence says it */ }
  if (asked.kind !== kind.value || asked.text !== text.value) return; // an answer to what stood here before
  sentence.textContent = answer.error || "";
  sentence.hidden = !answer.error;
  if (answer.error) return;
  showText(whole, answer.text);
  if (asked.kind === format.kind && asked.text === format.text) delete ownFormats[format.role];
  else ownFormats[format.role] = { kind: asked.kind, text: asked.text };
  showFormatState(fields);
  tellFormats();
}

function showFormatState({ format, kind, hint, state, reset }) {
  const own = ownFormats[format.role];
  state.textContent = KIND_NAMES[(own || format).kind] + (own ? ", changed by you" : ", as the family has it");
  hint.textContent = kind.value === "chat" ? "System prompt, or nothing" : "{prompt} stands for the question, once";
  reset.hidden = !own;
}

function tellFormats() {
  const changed = Object.keys(ownFormats);
  changedChip.hidden = !changed.length;
  changedChip.textContent = "prompts changed: " + changed.map(roleName).join(", ");
}

part("family-quantisation").addEventListener("change", readMenu);
part("family-load").addEventListener("click", loadFamily);
part("family-measure").addEventListener("click", measureFamily);
part("family-cancel").addEventListener("click", cancelLoading);
window.addEventListener("hashchange", () => dialogOf("family").open && readMenu()); // perhaps with the key
