// Duplicated tabs: a copy also gets what the original has stored, so it may find a run that continues in the original tab, or
// a class room that is presented there. Tabs of this page ask each other who has it; nothing leaves the browser.

import { element } from "../dom.js";
import { classRoom, nonce, running } from "../store.js";

const ANSWER_MS = 300; // an open tab answers within a few
let channel = null; // to the other tabs
const waiting = new Map(); // what was asked, until a tab answers -> what to do then

// Whether the run of that number, or the class room of that code, is in another tab: calls `say`, and once more if an answer
// comes late.
export function askOtherTabs(name, say) {
  if (!channel) return say(false);
  const asked = String(name), late = setTimeout(() => say(false), ANSWER_MS);
  waiting.set(asked, () => (clearTimeout(late), waiting.delete(asked), say(true)));
  channel.postMessage({ asks: asked });
}

const isHere = (asked) => (running && asked === String(nonce)) || asked === classRoom?.code;

function onMessage({ data }) {
  if (!element.isConnected) return void channel.close();
  if (data.asks && isHere(data.asks)) channel.postMessage({ has: data.asks });
  waiting.get(data.has)?.();
}

export function listen() {
  try {
    channel = new BroadcastChannel("eft");
  } catch {
    return; // an old browser, or a restricted frame
  }
  channel.addEventListener("message", onMessage);
}
