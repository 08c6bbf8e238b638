// Lost connections: the page stays, marks the texts that were cut, shows a notice, and waits until the server answers
// again.

import { apiBase, link, openLink, pause, PROBE_MS, serverNow, NOT_OUR_SERVER } from "../api.js";
import { element } from "../dom.js";
import {
  config, cutRun, forgetSamples, foundAgain, lostAt, nonce, noteCut, passOver, run, running, selected, serverStart, setLost,
  setServerStart,
} from "../store.js";
import { drawCard } from "./card.js";
import { endText } from "./column-pane.js";
import { selectNotable } from "./columns.js";
import { compareSoon } from "./comparison.js";
import { reloadPage, saveSoon } from "./memory.js";
import { hideError, notice, PRESS_RUN } from "./messages.js";
import { drawModes } from "./modes.js";
import { drawNow } from "./plotting.js";
import { setRunning } from "./running.js";
import { drawTree } from "./tree.js";

const DEAD_MS = 20_000; // a request that is silent this long while the server answers others is dead
let leavingTimer = 0; // set while the page is being closed, which also cuts streams

async function onLost(since) {
  if (!element.isConnected || leavingTimer) return;
  noteCut(cutOff());
  if (lostAt) return;
  setLost(since);
  notice("The connection to the server is lost. " + CUT_WORDS[cutRun] + " This page is waiting for the server.");
  let now, warned = false;
  while (!(now = await serverNow()).server) {
    if (now.stranger && !warned) notice(NOT_OUR_SERVER + " " + CUT_WORDS[cutRun]), warned = true;
    await pause(PROBE_MS);
    if (!element.isConnected) return;
  }
  const { server } = now;
  const seconds = Math.max(1, Math.round((Date.now() - lostAt) / 1000)), restarted = server !== serverStart;
  const sentence = "The connection to the server was lost for " + seconds + " s" + (restarted ? ", and the server was restarted" : "") + ". " + CUT_WORDS[cutRun] +
    (cutRun ? " " + PRESS_RUN : "");
  foundAgain(server);
  if (restarted && !(await samePage())) return reloadPage(sentence);
  notice(sentence);
}

const CUT_WORDS = { "": "Your texts are still here.", streaming: "Your texts are still here, but the run stopped at that point.", asked: "Your texts are still here, but the new run did not start." };

// A streaming column keeps its text so far.
function cutOff() {
  if (!running) return "";
  const streaming = run !== null && run.n === nonce;
  forgetSamples();
  passOver();
  setRunning(false);
  hideError("server");
  if (streaming) endHere(run);
  return streaming ? "streaming" : "asked";
}

function endHere(cut) {
  for (const column of cut.columns.filter(({ ended }) => !ended)) endText(column, (column.ended = { why: "cut", error: null }));
  drawNow();
  compareSoon();
  if (selected) drawCard();
  else selectNotable();
  drawTree();
  drawModes();
  saveSoon();
}

// Whether the server serves the same version of the page, so that this one can continue.
async function samePage() {
  const mine = ({ components }) => components.find(({ props }) => props.elem_id === "eft");
  const places = (page) => JSON.stringify([mine(page).id, page.dependencies.map(({ id, targets }) => [id, targets])]);
  try {
    const now = await (await fetch(new URL("../config", apiBase()), { cache: "no-store" })).json();
    return places(now) === places(window.gradio_config) && JSON.stringify(JSON.parse(mine(now).props.value)) === JSON.stringify(config);
  } catch {
    return false;
  }
}

export function listen() {
  setServerStart(String(window.gradio_config?.app_id));
  openLink(onLost);
  window.addEventListener("beforeunload", () => {
    clearTimeout(leavingTimer);
    leavingTimer = setTimeout(() => (leavingTimer = 0), 3000); // the page was not closed after all
  });
  setInterval(async () => { // silently dead, such as behind a router that dropped the connection
    const wait = link.oldest(), since = wait?.news;
    const isDead = () => element.isConnected && wait && wait === link.oldest() && wait.news === since && Date.now() - since > DEAD_MS;
    if (isDead() && (await serverNow()).server && isDead()) link.giveUp(since);
  }, 5000);
}
