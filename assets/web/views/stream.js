// The stream: reads each line once and emits an event of its kind.

import { props } from "../api.js";
import { NEWS_LATE_MS } from "../link.js";
import { config, emit, lastNews, nonce, noteNews, readTo, running, seen } from "../store.js";
import { heldElsewhere } from "./copies.js";
import { hideError, showError } from "./messages.js";
import { requestStop } from "./running.js";

const MOST_CONNECTIONS = 6; // of browsers to one server by HTTP/1.1, in all tabs together; a run takes one

export function onValue() {
  const value = props.value || "";
  const firstEnd = value.indexOf("\n");
  if (firstEnd < 0) return;
  const first = JSON.parse(value.slice(0, firstEnd));
  if (first.k === "page") return void (config || emit("page", first));
  if (first.n !== nonce) return void (first.id && requestStop(first.id));
  const end = value.lastIndexOf("\n") + 1;
  const fresh = value.slice(seen, end);
  readTo(end);
  take(fresh.split("\n").filter(Boolean).map((text) => JSON.parse(text)));
}

// Lines of the stream or of a replayed file. Listeners decide what each line does to the page.
export function take(lines) {
  noteNews();
  hideError("server");
  for (const line of lines) emit(line.k, line);
  emit("taken");
}

const isLate = () => running && Date.now() - lastNews > NEWS_LATE_MS;

async function tellIfLate() {
  const others = isLate() ? await heldElsewhere() : 0;
  if (!isLate()) return;
  const [page] = /** @type {any} */ (performance.getEntriesByType("navigation")), isFull = others >= MOST_CONNECTIONS && page?.nextHopProtocol === "http/1.1";
  const why = isFull
    ? " s. " + others + " other tabs of this page have runs, and this browser has at most " + MOST_CONNECTIONS + " connections to a server. Stop a run there, or close a tab."
    : " s. It may be busy or stopped. Press Run to try again, or reload the page.";
  showError("server", "The server has not answered for " + Math.round((Date.now() - lastNews) / 1000) + why);
}

export const listen = () => void setInterval(tellIfLate, 1000);
