// The address bar: it always holds a link to the present settings and to what is shown, as Share makes it. So a reload, a
// bookmark or a copied address loses nothing, even in a browser that stores nothing. Typed texts are not sent anywhere for it.
// Settings that no link can hold, such as half of a recipe, leave the last link in place.

import { isSameQuestion } from "../lib/changed.js";
import { linkedPath } from "../lib/linked.js";
import { isReplaceable, NO_PROMPT, withoutSettings, withTexts, withView } from "../lib/address.js";
import { server } from "../api.js";
import { element } from "../dom.js";
import { chosen, colourBy, config, currentNode, nodes, on, ownAddress, poll, run, sameOf, selected, setOwnAddress } from "../store.js";
import { familySettings } from "./formats.js";
import { allSettings, runSettings } from "./settings.js";

const WRITE_MS = 600; // after the last change; browsers limit how often an address may change
let addressTimer = 0, turn = 0;
let written = ""; // what the address says
let made = { key: "", query: "" }; // the server's last link, and the settings that it is for

// What a link says beside the settings: from 1, as a person counts.
export function linkedView() {
  const shared = run && currentNode() ? sameOf(currentNode()) : null;
  const { branches } = branchesShown();
  return { colour: colourBy === "tuning" ? "" : colourBy, shared: shared === null ? 0 : shared + 1, selected: selected && [selected.p + 1, selected.i + 1], ...(branches.length ? { branches } : {}) };
}

const pathTo = (node) => (node.parent === null ? [node] : [...pathTo(nodes.get(node.parent)), node]);

// The branches that lead to the shown text, if the settings are still those of its run.
export function branchesShown() {
  const node = run && currentNode();
  if (!node || node.parent === null) return linkedPath([]);
  return isSameQuestion(run.asked, allSettings()) ? linkedPath(pathTo(node)) : { ...linkedPath([]), lost: "the settings are no longer those of its run" };
}

// The settings that a link holds: of a branch, with the sliders of the run that it is a branch of.
export function linkedSettings() {
  const { branches, controls } = branchesShown(), settings = { ...familySettings(), ...runSettings() };
  return branches.length ? { ...settings, controls: { ...settings.controls, ...controls } } : settings;
}

const allSaid = () => JSON.stringify([linkedSettings(), linkedView()]);

// The address is right as it is, such as that of a link that has just been read.
export function settleAddress() {
  clearTimeout(addressTimer);
  turn += 1;
  written = allSaid();
}

export function addressSoon() {
  clearTimeout(addressTimer);
  addressTimer = setTimeout(writeAddress, WRITE_MS, location.hash);
}

async function linkTo(settings) {
  try {
    return JSON.parse(await server.make_link({ ...settings, prompt: NO_PROMPT })).query || "";
  } catch {
    return ""; // the server is away; the next change tries again
  }
}

const isStill = (there) => location.hash === there || location.search + location.hash === ownAddress;

// `there`: the address when the change was made. Another one now is that of a link which has not been read yet.
async function writeAddress(there) {
  if (!config || config.absent || poll || !element.isConnected || !isStill(there) || !isReplaceable(location.hash)) return; // a question shows a part of the run only
  const said = allSaid(), asked = (turn += 1);
  if (said === written || chosen.some(({ error }) => error)) return;
  const { prompt, system, turns, ...settings } = linkedSettings(), key = JSON.stringify(settings), view = linkedView();
  if (made.key !== key || !made.query) {
    const query = await linkTo(settings);
    if (asked !== turn) return; // something changed since
    made = { key, query };
  }
  const query = made.query && withTexts(made.query, { prompt, system, turns });
  if (!query || !isStill(there)) return;
  try {
    const address = withoutSettings(location.search) + "#" + withView(query, view);
    window.history.replaceState(window.history.state, "", location.pathname + address);
    written = said;
    setOwnAddress(address);
  } catch { /* a browser that forbids it, or has had too much of it */ }
}

export function listen() {
  for (const kind of ["changed", "selected", "controls", "run", "shown", "done", "poll"]) on(kind, addressSoon);
  for (const kind of ["input", "change", "click"]) element.addEventListener(kind, addressSoon);
}
