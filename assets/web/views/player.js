// The speed of live runs: slow enough to read and to steer, or as fast as the engine can; pause, and single tokens. The engine
// keeps the pace, so a moved slider acts on tokens that are not made yet.

import { server } from "../api.js";
import { menuOption, part } from "../dom.js";
import { config, emit, nonce, on, paused, run, running, setPaused } from "../store.js";
import { showError } from "./messages.js";

const RATES = [2, 4, 8, 16, 32];

export const paceNow = () => Number(part("pace").value);

export function choosePace(rate) {
  if ([...part("pace").options].some(({ value }) => value === String(rate))) part("pace").value = String(rate);
}

function offerPaces({ pace }) {
  if (pace === null) return;
  const rates = [...new Set([...RATES, ...(pace ? [pace] : [])])].sort((one, other) => one - other);
  part("pace").replaceChildren(...rates.map((rate) => menuOption(rate, rate + " tokens a second")), menuOption(0, "as fast as it can"));
  part("pace").value = String(pace);
  part("player").hidden = false;
}

// Sends a change to the engine. Before the run's first line there is no id to send it for.
async function send(change) {
  if (!running || !run || run.n !== nonce || run.recorded) return;
  try {
    const sentence = await server.set_pace({ run: run.id, ...change });
    if (sentence && running) showError("prompt", sentence);
  } catch {
    showError("prompt", "The server could not be reached, so the speed was not changed.");
  }
}

export function drawPlayer() {
  const live = running && config.pace !== null;
  if (!running && paused) setPaused(false);
  part("pause").hidden = part("step").hidden = !live;
  part("pause").textContent = paused ? "Go on" : "Pause";
}

function pauseOrGoOn(now = !paused) {
  setPaused(now);
  send({ paused: now });
  drawPlayer();
  emit("paused");
}

function oneToken() {
  setPaused(true);
  send({ step: true });
  drawPlayer();
  emit("paused");
}

export function listen() {
  on("page", offerPaces);
  for (const kind of ["running", "run"]) on(kind, drawPlayer);
  on("run", () => paused && send({ paused: true })); // pressed before the run had an id
  part("pause").addEventListener("click", () => pauseOrGoOn());
  part("step").addEventListener("click", oneToken);
  part("pace").addEventListener("change", () => send({ rate: paceNow() }));
}
