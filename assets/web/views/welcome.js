// A new page shows a finished, recorded run, so that it is never empty. It costs no model, and nothing of it is stored.

import { changesFrom } from "../lib/changed.js";
import { answerOf, linesOf, server } from "../api.js";
import { part } from "../dom.js";
import { config, conversation, nonce, run, wanted } from "../store.js";
import { setSliders } from "./as-if.js";
import { settle } from "./memory.js";
import { notice } from "./messages.js";
import { allSettings, fitPrompt } from "./settings.js";
import { take } from "./stream.js";

// Nobody has asked for anything yet.
const isUntouched = () => !run && ["", config.welcome.prompt].includes(part("prompt").value);

const isSame = (fresh, now) => !changesFrom(fresh, now).length && JSON.stringify(fresh.controls) === JSON.stringify(now.controls);

// A link with other settings than a new page's is about other texts than the recorded ones, and branches must be written.
const isOfOthers = (fresh) => wanted && (wanted.branches?.length || !isSame(fresh, allSettings()));

// `fresh` are the settings that the page began with, which are also those of the recorded run.
export async function welcome(fresh) {
  if (!config.welcome || !isUntouched() || conversation.turns.length || isOfOthers(fresh)) return;
  const asked = nonce, linked = Boolean(wanted), answer = await answerOf(server.open_recorded({ name: config.welcome.name }));
  if (answer.error || asked !== nonce || !isUntouched()) return; // something else came first
  const [first, ...lines] = linesOf(answer);
  part("prompt").value = first.prompt;
  fitPrompt();
  selectExample();
  take([{ ...first, n: nonce, recorded: true, welcome: true, asked: allSettings() }]);
  take(lines);
  setSliders();
  settle();
  if (linked) notice("These settings come from a link. Here are the texts that they give, as they were recorded.");
}

// Typing replaces the question that the page began with, also where the field had the focus before the question came.
function selectExample() {
  if (part("prompt") === document.activeElement) part("prompt").select();
}

export function listen() {
  part("prompt").addEventListener("focus", () => run?.welcome && part("prompt").value === run.prompt && selectExample());
}
