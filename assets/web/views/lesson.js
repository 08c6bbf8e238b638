// A lesson: one step after another beside the columns, each with a state of the page that it shows, links that set others, and
// a question whose answer is hidden. The server reads the file; its texts are shown as text.

import { lackOf, lessonHash, lessonIn, placeOf, withinSteps } from "../lib/lesson.js";
import { answerOf, linesOf, server } from "../api.js";
import { el, element, isOurs, menuOption, onKeys, part, setShown } from "../dom.js";
import { config, emit, keptLesson, lesson, on, run, running, setLesson } from "../store.js";
import { setSliders } from "./as-if.js";
import { startRun } from "./ask.js";
import { select } from "./columns.js";
import { dialogIsOpen } from "./dialogs.js";
import { openHelp } from "./help.js";
import { settle } from "./memory.js";
import { say } from "./messages.js";
import { chooseColour } from "./painting.js";
import { endPoll } from "./poll.js";
import { showWhole } from "./replay.js";
import { allSettings, fillIn } from "./settings.js";
import { setControls } from "./sliders.js";
import { openTab } from "./tabs.js";

let opened = null; // {name, run}: the recorded run that the lesson has shown last
let turn = 0; // of the states asked for, so that a late answer does not replace a newer one

const USUAL = { tab: "bars", colour: "tuning" };
const step = () => lesson.steps[lesson.at];
// A run that a person made is replaced only if they ask for it.
const isOwn = () => Boolean(running || (run && !run.welcome && !run.recorded));

export async function openLesson(name, at = 0, focus = false) {
  const mine = (turn += 1), answer = await answerOf(server.open_lesson({ name }));
  if (mine !== turn) return;
  endPoll();
  const steps = answer.steps || [{ title: "This lesson cannot be read", text: [answer.error], show: {}, actions: [] }];
  setLesson({ name, title: answer.title || name, steps, at: withinSteps(at, steps.length), broken: !answer.steps });
  part("page").classList.add("has-run");
  setShown("lesson", true);
  part("lesson-open").setAttribute("aria-expanded", "true");
  part("lesson-choice").value = name;
  await arrive();
  if (focus) part("lesson-title").focus({ preventScroll: true }), part("lesson").scrollIntoView({ block: "nearest" });
}

// The lesson of the address or, after a reload, the one that was open.
export function reopenLesson() {
  const there = lessonIn(location.hash) || keptLesson;
  return there ? openLesson(there.name, there.at) : null;
}

function closeLesson() {
  turn += 1;
  const inside = part("lesson").contains(document.activeElement);
  if (opened && opened.run === run) run.welcome = false; // it stays, as an opened run does, and is stored from now on
  setLesson(null);
  setShown("lesson", false);
  part("lesson-open").setAttribute("aria-expanded", "false");
  setAddress("");
  measure();
  emit("changed");
  emit("step");
  if (inside) part("teach-open").focus();
}

function go(by) {
  const at = withinSteps(lesson.at + by, lesson.steps.length);
  if (at === lesson.at) return;
  endPoll(); // the step is about the whole texts
  setLesson({ ...lesson, at });
  arrive();
}

function arrive() {
  drawStep();
  if (!lesson.broken) setAddress(lessonHash(lesson.name, lesson.at));
  emit("changed");
  emit("step"); // no run may follow: steps can show the same one, or the person's own
  say("Step " + (lesson.at + 1) + " of " + lesson.steps.length + ": " + [step().title, ...step().text].join(" "));
  const { tab, colour } = step().show;
  return isOwn() ? apply({ ...USUAL, ...(tab && { tab }), ...(colour && { colour }) }) : show(false);
}

// In place of a link to the settings, which this browser stores.
function setAddress(hash) {
  try {
    window.history.replaceState(window.history.state, "", location.pathname + location.search + hash);
  } catch { /* a browser that forbids it, or has had too much of it */ }
}

// The state of a step on arrival. Plot and colours go back to the usual ones unless the step names others.
const show = (picked) => apply({ ...USUAL, ...step().show }, picked);

async function apply(state, picked) {
  const mine = (turn += 1);
  if (state.help) return openHelp(state.help);
  if (state.open && !(await openRecorded(state, mine))) return;
  if (state.settings) config.absent ? setControls(state.settings.controls || {}) : fillIn(state.settings);
  if (state.tab) openTab(state.tab);
  if (state.colour) part("colour").value = state.colour, chooseColour(state.colour);
  const place = state.select && run && placeOf(run.columns, state.select);
  if (place) select(place.p, place.i, false, picked);
  else if (state.select && run) note(lackOf(run.columns, state.select));
  if (state.run) startRun();
}

// Returns whether the recorded run is shown, with its settings filled in, as Run would repeat it.
async function openRecorded({ open, run_settings: settings }, mine) {
  if (opened?.name !== open || opened.run !== run) {
    const answer = await answerOf(server.open_recorded({ name: open }));
    if (mine !== turn || !lesson) return false;
    if (answer.error) return note(answer.error), false;
    const typed = part("prompt").value, { prompt, ...others } = settings;
    const ours = !typed || typed === run?.prompt;
    if (config.world) fillIn(ours ? settings : others);
    showWhole(linesOf(answer), config.world ? allSettings() : undefined);
    opened = { name: open, run };
  }
  setSliders();
  settle();
  drawRecorded();
  return true;
}

function note(text) {
  part("lesson-note").textContent = text;
  part("lesson-note").hidden = !text;
}

function drawStep() {
  const { title, text, do: todo, actions, question, answer, show: state } = step(), { at, steps } = lesson;
  note("");
  part("lesson-title").textContent = title;
  part("lesson-text").replaceChildren(...text.map((one) => el("p", "", one)));
  part("lesson-do").textContent = todo || "";
  part("lesson-do").hidden = !todo;
  const possible = actions.filter((one) => !(config.absent && one.needs_model));
  part("lesson-actions").replaceChildren(...possible.map((one) => makeAction(one, () => apply(one, true))));
  if (Object.keys(state).length) part("lesson-actions").append(makeShow());
  part("lesson-question").textContent = question || "";
  part("lesson-ask").hidden = !question;
  part("lesson-answer").textContent = answer || "";
  showAnswer(false);
  part("lesson-at").textContent = "Step " + (at + 1) + " of " + steps.length;
  part("lesson-back").disabled = at === 0;
  part("lesson-next").disabled = at === steps.length - 1;
  part("lesson-body").scrollTop = 0;
  drawRecorded();
  measure();
}

const SURE = "Replace your run?";

// A link that asks says so in its own place and width: the second press, where the first one was, must meet it.
function makeAction(state, act) {
  const button = el("button", "plain", state.label);
  button.addEventListener("click", () => {
    const asks = state.open && isOwn() && !button.dataset.sure;
    withdraw();
    if (!asks) return act();
    button.dataset.sure = state.label;
    button.style.maxWidth = button.offsetWidth + "px";
    button.setAttribute("aria-label", SURE + " " + state.label);
    button.textContent = SURE;
  });
  return button;
}

function withdraw() { // the question of a link whether it may replace the person's run
  for (const button of part("lesson-actions").querySelectorAll("[data-sure]")) {
    button.textContent = button.dataset.sure;
    button.style.maxWidth = "";
    button.removeAttribute("aria-label");
    delete button.dataset.sure;
  }
}

function makeShow() {
  const button = makeAction({ ...step().show, label: "Show this step again" }, () => show(true));
  button.dataset.part = "lesson-show";
  return button;
}

// Which recorded run is shown, because the prompt may have been changed since, or be hidden; or that it is not the step's.
function drawRecorded() {
  const own = Boolean(lesson && isOwn() && part("lesson-show"));
  const now = lesson && opened && opened.run === run && (config.absent || part("prompt").value !== run.prompt);
  part("lesson-run").textContent = own ? "This is your own run, not the one of this step." : now ? "Recorded run: “" + run.prompt + "”" : "";
  part("lesson-run").hidden = !own && !now;
  part("lesson-run").classList.toggle("own", own);
  if (!isOwn()) withdraw();
  const again = lesson && part("lesson-show");
  if (!again) return;
  const focused = again === document.activeElement;
  again.hidden = !own;
  if (focused && !own) part("lesson-title").focus({ preventScroll: true }); // the link has done its work and is gone
}

function showAnswer(open) {
  part("lesson-reveal").setAttribute("aria-expanded", String(open));
  part("lesson-reveal").textContent = open ? "Hide the answer" : "Show the answer";
  part("lesson-answer").hidden = !open;
  measure();
}

// The card stands below the lesson where both are beside the columns.
function measure() {
  element.style.setProperty("--lesson", part("lesson").hidden ? "0px" : part("lesson").offsetHeight + "px");
}

function onKey(key, { target }) {
  if (!lesson || !isOurs(target) || dialogIsOpen() || target.matches?.("input, select, textarea")) return false;
  if (key !== "PageDown" && key !== "PageUp") return false;
  go(key === "PageDown" ? 1 : -1);
  return true;
}

function onAddress() {
  if (!element.isConnected) return window.removeEventListener("hashchange", onAddress);
  const there = lessonIn(location.hash);
  if (there && (there.name !== lesson?.name || there.at !== lesson.at)) openLesson(there.name, there.at);
}

function offerLessons({ lessons }) {
  part("lesson-open").hidden = !lessons.length;
  part("lesson-choice").replaceChildren(...lessons.map(({ name, title }) => menuOption(name, title)));
  part("lesson-choice").hidden = lessons.length < 2;
}

export function listen() {
  on("page", offerLessons);
  for (const kind of ["run", "running", "shown"]) on(kind, () => lesson && drawRecorded());
  part("lesson-open").addEventListener("click", () => (lesson ? closeLesson() : openLesson(keptLesson?.name ?? config.lessons[0].name, 0, true)));
  part("lesson-choice").addEventListener("change", () => openLesson(part("lesson-choice").value));
  part("lesson-close").addEventListener("click", closeLesson);
  part("lesson-back").addEventListener("click", () => go(-1));
  part("lesson-next").addEventListener("click", () => go(1));
  part("lesson-reveal").addEventListener("click", () => showAnswer(part("lesson-answer").hidden));
  new ResizeObserver(measure).observe(part("lesson"));
  onKeys(document, onKey, () => element.isConnected);
  window.addEventListener("hashchange", onAddress);
}
