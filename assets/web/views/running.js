// Requesting a run and stopping one.

import { server, trigger } from "../api.js";
import { part } from "../dom.js";
import { beginFrom, config, emit, lostAt, nonce, noteRunning, noteStopped, passOver, run, running, setPaused, stopped, wantStop } from "../store.js";
import { clearErrors, notice, say, showError } from "./messages.js";

// Request a run from the server; `about` is kept until its first line arrives.
export function ask(request, about) {
  clearErrors();
  if (!lostAt) notice("");
  leave();
  wantStop(false);
  setPaused(false);
  beginFrom(about, structuredClone(request.formats || {}));
  setRunning(true);
  trigger({ n: nonce, ...(config.pace === null ? {} : { pace: Number(part("pace").value) }), ...request });
}

export function leave() { // ignore whatever still streams
  if (running && run && run.n === nonce) requestStop(run.id);
  passOver();
}

export function requestStop(id) {
  if (stopped.has(id)) return;
  noteStopped(id);
  server.stop({ run: id }).catch(() => showError("prompt", "The server could not be reached to stop this run."));
}

export function setRunning(now) {
  const was = running;
  noteRunning(now);
  const held = part("stop").matches(":focus-visible");
  part("stop").disabled = !now;
  if (held && !now) part("alpha").focus({ preventScroll: true }); // a disabled button loses the focus; a late Enter does nothing on the slider
  part("run").classList.toggle("busy", now);
  part("page").classList.toggle("is-running", now);
  if (!now) part("load").hidden = true; // only a run of this page hears of the load, so it would stay what it was
  if (was && !now) say("Stopped"); // until another message says more, as the end of a run does
  emit("running");
}
