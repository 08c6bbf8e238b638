// A question to the class: its options with the votes, by click or by the keys 1 to 9, and the answer when it is revealed.
// The view that asks it (predict or blind) decides what is hidden meanwhile.

import { nat } from "../lib/counterfactual.js";
import { roleName, shareText } from "../lib/formats.js";
import { optionOf, votesOf } from "../lib/poll.js";
import { oddsOf } from "../lib/predict.js";
import { el, element, isOurs, isTouch, isTyping, onKeys, part, showText, verbatim } from "../dom.js";
import { addGuess, closePoll, cover, emit, guesses, keepPoll, keptPoll, on, openPoll, poll, revealPoll, run, setCover, takeGuessBack, tally, wholeRun } from "../store.js";
import { setSliders } from "./as-if.js";
import { show } from "./branching.js";
import { select } from "./columns.js";
import { dialogIsOpen } from "./dialogs.js";
import { notice, say } from "./messages.js";

// Opens the question and shows only that part of the run which `next` leaves visible.
/** @type {(question: import("../types.js").Poll, next: import("../types.js").Cover) => void} */
export function askClass(question, next) {
  if (!part("presented").hidden) notice(""); // it has been read, and the texts need its place
  openPoll(question);
  setCover(next);
  show(next.seen);
  setSliders(next.after.columns.flatMap((column) => column.tokens)); // at the first token, the texts seen record no value
  announce(question.title + " " + question.options.map(({ label }, k) => k + 1 + ": " + label).join(", "));
  part("poll-title").focus({ preventScroll: true });
}

function announce(words) {
  emit("poll");
  say(words); // nothing that was said of the whole text stays
}

function showAgain(shown, at) {
  show(shown);
  if (at) select(at.p, at.i, false);
}

export function reveal() {
  if (!poll || poll.revealed) return;
  const inside = part("poll").contains(document.activeElement);
  revealPoll();
  if (cover) showAgain(cover.after, cover.at);
  const right = poll.options.find(({ id }) => id === poll.answer);
  announce(right ? "The answer: " + right.label : "The answer is shown.");
  if (inside) part("poll-title").focus({ preventScroll: true });
}

// Whether another question may take the place of the open one: the first press only says that votes would be lost.
export function mayAskAnother() {
  if (!poll || poll.revealed || keptPoll === poll.id || !votesOf(poll, tally, guesses).some(({ votes }) => votes)) return true;
  keepPoll();
  drawVotes();
  say(part("poll-note").textContent);
  return false;
}

// Closes the question; what it hid is seen again. Returns whether one was open.
export function endPoll() {
  if (!poll) return false;
  const before = document.activeElement, inside = part("poll").contains(before), covered = wholeRun() !== run, { whole = null, at = null } = cover || {};
  closePoll();
  setCover(null);
  if (covered) showAgain(whole, at);
  emit("poll");
  if (inside || !before.isConnected) part(part("presented").hidden ? "teach-open" : "presented-prompt").focus({ preventScroll: true }); // or a disguised text had it
  return true;
}

// Another run has taken the place of the one that the question is about.
function onOther() {
  if (cover && wholeRun() !== cover.whole) endPoll();
}

function drawPoll() {
  const box = part("poll"), root = part("page").classList, open = Boolean(poll);
  box.hidden = !open;
  root.toggle("asking", open);
  root.toggle("revealed", open && poll.revealed);
  root.toggle("predicting", open && Boolean(cover?.place));
  root.toggle("blinding", open && Boolean(cover?.order) && !poll.revealed);
  if (!open) return;
  showText(part("poll-prompt"), cover?.whole.prompt);
  showText(part("poll-title"), poll.title);
  part("poll-options").replaceChildren(...poll.options.map(makeOption));
  part("poll-reveal").hidden = part("poll-back").hidden = poll.revealed;
  drawVotes();
}

function makeOption({ id, label }, k) {
  const item = el("li"), button = el("button", "option");
  button.dataset.option = id;
  button.append(el("kbd", "", k + 1), verbatim(showText(el("bdi"), label)), el("b"), el("small"));
  button.addEventListener("click", () => guess(id));
  item.append(button);
  return item;
}

function drawVotes() {
  if (!poll) return;
  const votes = votesOf(poll, tally, guesses), buttons = [...part("poll-options").querySelectorAll(".option")];
  votes.forEach(({ id, votes: count, share }, k) => {
    const button = buttons[k], right = poll.revealed && id === poll.answer, facts = poll.revealed && cover ? factsOf(id) : "";
    button.style.setProperty("--share", 100 * share + "%");
    button.querySelector("b").textContent = count || "";
    showText(button.querySelector("small"), facts);
    button.classList.toggle("right", right);
    button.disabled = poll.revealed;
    button.setAttribute("aria-label", [k + 1 + ": " + poll.options[k].label, count === 1 ? "1 vote" : count + " votes", ...(right ? ["the answer"] : []), ...(facts ? [facts] : [])].join(", "));
  });
  part("poll-back").disabled = !guesses.length;
  const all = votes.reduce((sum, one) => sum + one.votes, 0), hits = votes.find(({ id }) => id === poll.answer)?.votes ?? 0;
  part("poll-note").textContent = poll.revealed ? (all ? hits + " of " + all + " guessed it." : "") : all ? all + (all === 1 ? " vote" : " votes") + (keptPoll === poll.id ? ". Press again to drop them for another question." : "") : (isTouch() ? "Tap" : "Press the number of") + " a guess, once for each.";
}

// What is known of an option once the answer is revealed.
export function factsOf(id) {
  if (cover.place) return oddsOf(cover, id).map(([name, logprob]) => roleName(name) + " " + shareText(Math.exp(nat(logprob)))).join(" · ");
  return cover.whole.columns[cover.order[poll.options.findIndex((option) => option.id === id)]].name;
}

function guess(id) {
  addGuess(id);
  emit("tally");
  sayGuesses(id, "");
}

function takeBack() {
  const id = guesses.at(-1);
  takeGuessBack();
  emit("tally");
  sayGuesses(id, "Taken back. ");
}

function sayGuesses(id, before) { // the same guess twice has two numbers, so both are announced
  if (poll.revealed || id === undefined) return;
  const { label, votes } = votesOf(poll, tally, guesses).find((option) => option.id === id);
  say(before + label + ": " + (votes === 1 ? "1 vote" : votes + " votes"));
}

function onKey(key, { target }) {
  if (!poll || !isOurs(target) || isTyping(target) || dialogIsOpen()) return false;
  const option = optionOf(poll, key);
  if (option) guess(option);
  else if (key === "Enter" && !poll.revealed && !target.closest("button, a, input, summary, .t")) reveal();
  else if (key === "Backspace") takeBack();
  else return false;
  return true;
}

export function listen() {
  on("poll", drawPoll);
  on("tally", drawVotes);
  for (const kind of ["run", "shown"]) on(kind, onOther);
  part("poll-reveal").addEventListener("click", reveal);
  part("poll-close").addEventListener("click", endPoll);
  part("poll-back").addEventListener("click", takeBack);
  onKeys(document, onKey, () => element.isConnected);
}
