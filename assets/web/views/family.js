// The family menu: the loaded models, and loading another family for all visitors.

import { gigabytes, millions, roleName } from "../lib/formats.js";
import { pause, server } from "../api.js";
import { el, element, menuOption, part } from "../dom.js";
import { familyMenu as menu, loadedHere, menuFailed, noteLoadedHere, noteMenuFailed, setFamilyMenu, setProgress } from "../store.js";
import { dialogOf, openDialog } from "./dialogs.js";
import { keyHeld } from "./key.js";
import { reloadPage } from "./memory.js";

const POLL_MS = 400; // interval of progress requests
const ANSWER_MS = 10_000; // a server silent for this long counts as unreachable
const UNREACHABLE = "The server could not be reached. Please try again, or reload the page.";
const UNHEARD = "The server cannot be reached, so the progress is unknown. This page keeps trying.";
const NOT_LOADING = "The server was restarted and is not loading anything. Press Load again.";
let watching = false; // the progress of a load is being requested

// The first chip opens the menu; the others summarise how the models run.
export function makeFamilyChip(text) {
  const chip = el("button", "chip family-chip", text);
  chip.title = "Models: which ones run, where, and with which prompts";
  chip.setAttribute("aria-haspopup", "dialog");
  chip.addEventListener("click", openFamily);
  return chip;
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
    noteMenuFailed();
    return announceFamily(UNREACHABLE);
  }
  if (answer.error) return announceFamily(answer.error);
  if (menuFailed) announceFamily(""); // the server is reachable again
  setFamilyMenu(answer);
  showMenu();
  if (menu.progress.state === "loading") watchLoading();
}

function showMenu() {
  part("family-title").textContent = menu.title;
  part("family-models").replaceChildren(...menu.models.map(modelRow));
  const kinds = part("family-quantisation");
  kinds.replaceChildren(...menu.quantisations.map((kind) => menuOption(kind, QUANTISATION_NAMES[kind] || kind)));
  kinds.value = menu.quantisation;
  const chosen = chosenFamily() || menu.now;
  const rank = (choice) => choice.name === menu.now ? 0 : choice.problem ? 2 : 1; // in use, fitting, the rest
  const choices = menu.choices.toSorted((one, other) => rank(one) - rank(other));
  part("family-choices").replaceChildren(...choices.map((choice) => familyChoice(choice, choice.name === chosen)));
  part("family-problems").replaceChildren(...menu.problems.map((text) => el("p", "sentence", text)));
  const reason = part("family-why-not");
  reason.textContent = menu.why_not;
  reason.hidden = !menu.why_not;
  showProgress(menu.progress);
}

const QUANTISATION_NAMES = { auto: "automatic: 4 bits only where needed", none: "not quantised", int8: "8 bits (int8)", nf4: "4 bits (NF4)", fp4: "4 bits (FP4)" };

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
  if (choice.name === menu.now) words.append(el("span", "badge now", "in use"));
  if (choice.gated) words.append(el("span", "badge", "gated: accept the licence on the hub first"));
  if (!choice.pinned) words.append(el("span", "badge", "not pinned: uses the newest revision"));
  const facts = [sizesOf(choice.parameters), choice.licence, choice.here ? "on this machine" : "up to " + gigabytes(choice.download_bytes) + " to download"];
  words.append(el("small", "", facts.join(" · ")), memoryLine(choice));
  if (choice.problem) words.append(el("small", "problem", choice.problem));
  for (const text of [choice.warning, choice.note]) if (text) words.append(el("small", "", text));
  label.append(radio, words);
  return label;
}

function sizesOf(parameters) {
  const size = (role) => parameters[role] ? millions(parameters[role]) : "of unknown size";
  return Object.keys(parameters).length + " models: large " + size("large_base") + ", small " + size("small_base");
}

function memoryLine(choice) {
  const places = Object.entries(choice.needed_bytes).map(([device, bytes]) =>
    gigabytes(bytes) + " of " + gigabytes(choice.free_bytes[device] || 0) + " free " + (device === "cpu" ? "memory" : "on " + device));
  if (choice.problem) return el("small", "fits-not", "✕ does not fit: needs " + places.join(", "));
  return el("small", "fits", "✓ fits: needs " + places.join(", ") + "; room for " + choice.rows + " full texts at once");
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
  noteLoadedHere(true);
  part("family-cancel").focus();
  watchLoading();
}

// This loads the large base twice, unquantised and quantised, beside the family in use.
async function measureFamily() {
  if (!await beginFamily(server.measure_quantisation, "measure")) return;
  part("family-cancel").focus();
  watchLoading();
}

async function beginFamily(ask, stage) {
  announceFamily("");
  part("family-report").hidden = true;
  let refusal = UNREACHABLE;
  try {
    refusal = await ask({ family: chosenFamily(), quantisation: part("family-quantisation").value, key: keyHeld() });
  } catch { /* the server is away */ }
  announceFamily(refusal);
  if (refusal) return false;
  setProgress({ state: "loading", family: chosenFamily(), stage: { stage, what: "", done_bytes: 0, total_bytes: 0 }, message: "" });
  showProgress(menu.progress);
  return true;
}

async function cancelLoading() {
  try {
    announceFamily(await server.cancel_loading({ key: keyHeld() }));
  } catch {
    announceFamily(UNREACHABLE);
  }
}

async function watchLoading() {
  if (watching) return;
  watching = true;
  let unheard = false;
  while (menu.progress.state === "loading" && element.isConnected) {
    await pause(POLL_MS);
    try {
      setProgress(JSON.parse(await Promise.race([server.loading({}), pause(ANSWER_MS).then(() => "")]))); // "" is no JSON
    } catch {
      unheard = true;
      announceFamily(UNHEARD);
      continue;
    }
    if (unheard) announceFamily("");
    unheard = false;
    showProgress(menu.progress);
  }
  watching = false;
  if (menu.progress.state === "loaded") return followFamily();
  if (menu.progress.state === "measured") return showReport(menu.progress.message);
  announceFamily(menu.progress.state === "idle" ? NOT_LOADING : menu.progress.message);
  part(loadedHere ? "family-load" : "family-measure").focus();
  noteLoadedHere(false);
}

// The whole page depends on its family, so it reloads for another one.
function followFamily() {
  if (!loadedHere) return announceFamily("A different model family is now loaded. Reload the page to use it.");
  reloadPage("");
}

function showReport(text) {
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

function announceFamily(text) {
  const place = part("family-sentence");
  place.textContent = text;
  place.hidden = !text;
}

export function listen() {
  part("family-quantisation").addEventListener("change", readMenu);
  part("family-load").addEventListener("click", loadFamily);
  part("family-measure").addEventListener("click", measureFamily);
  part("family-cancel").addEventListener("click", cancelLoading);
  window.addEventListener("hashchange", () => dialogOf("family").open && readMenu()); // the address may now contain the key
}
