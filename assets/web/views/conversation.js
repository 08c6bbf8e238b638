// A conversation: the turns before the question in the prompt. Run asks that question after them, and asking it again is a
// retry; a follow-up adds the shown run to the turns and asks for the next question.

import { before, followUp, hasChoice, NO_CONVERSATION, writtenText, turnsFor } from "../lib/conversation.js";
import { el, menuOption, part, setShown, showText, verbatim } from "../dom.js";
import { chosen, conversation, emit, on, run, running, setConversation } from "../store.js";
import { setSystem } from "./formats.js";
import { say } from "./messages.js";
import { showWaiting } from "./recipes.js";

const OWN = "own"; // the value of the choice "each column from its own answers"

// The part of the settings of the next run.
export function conversationSettings() {
  const turns = turnsFor(conversation, chosen.map(({ name }) => name)), system = part("system").value;
  return { ...(turns.length ? { turns } : {}), ...(system ? { system } : {}) };
}

// Settings from a link have turns; those that this page stored have its whole conversation.
export function fillConversation({ conversation: stored, turns = [], columns = chosen, system = "" }) {
  setConversation(stored || { ...NO_CONVERSATION, turns, names: columns.map(({ name }) => name) });
  setSystem(system);
  drawConversation();
}

const turnCount = (one) => one?.turns?.length || 0;

function canFollow() { // not while the shown run is the one that the prompt follows
  return Boolean(run) && !running && turnCount(run) !== conversation.turns.length - 1 && run.columns.some((column) => writtenText(column).trim());
}

function drawConversation() {
  const { turns, names, from } = conversation, follows = canFollow();
  setShown("conversation", turns.length > 0);
  part("follow-up").hidden = !follows;
  part("new-conversation").hidden = !turns.length;
  part("conversation").classList.toggle("going", turns.length > 0); // the examples are for a new one
  part("prompt").placeholder = turns.length ? "Ask a follow-up…" : "Ask something…";
  part("earlier").replaceChildren(...(turns.length ? ["Turn " + (turns.length + 1) + " after", ...turns.map(({ question }, k) => makeEdit(question, k))] : []));
  part("from-box").hidden = !hasChoice(conversation);
  const choice = part("continue-from");
  choice.replaceChildren(menuOption(OWN, "each column's own answers"), ...names.map((name, p) => menuOption(p, name + " in all columns")));
  choice.value = from === null ? OWN : String(from);
  showWaiting();
}

function makeEdit(question, k) {
  const button = verbatim(showText(el("button", "plain"), question));
  button.title = "Edit this question. What follows it is dropped.";
  button.setAttribute("aria-label", "Edit the question of turn " + (k + 1) + ": " + question);
  button.addEventListener("click", () => {
    setConversation(before(conversation, k));
    writePrompt(question, "Turn " + (k + 1) + ". Edit the question and press Run.");
  });
  return button;
}

function writePrompt(text, word) {
  const prompt = part("prompt");
  prompt.value = text;
  prompt.dispatchEvent(new Event("input", { bubbles: true })); // fits its height and stores it
  prompt.focus();
  drawConversation();
  emit("changed");
  say(word);
}

function askFollowUp() {
  setConversation(followUp(run, conversation));
  writePrompt("", "Turn " + (conversation.turns.length + 1) + ". Type a follow-up and press Run.");
}

function startAfresh() {
  setConversation(NO_CONVERSATION);
  writePrompt(part("prompt").value, "A new conversation.");
}

function choose() {
  const { value } = part("continue-from");
  setConversation({ ...conversation, from: value === OWN ? null : Number(value) });
  showWaiting();
  emit("changed");
}

export function listen() {
  for (const kind of ["run", "done", "shown"]) on(kind, drawConversation);
  part("follow-up").addEventListener("click", askFollowUp);
  part("new-conversation").addEventListener("click", startAfresh);
  part("continue-from").addEventListener("change", choose);
}
