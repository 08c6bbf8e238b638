// On a phone the columns lie side by side, one at a time: tabs above them, or a swipe. It opens on the column that is steered.

import { el, element, part, phoneWidth } from "../dom.js";
import { lesson, on, plotted, run, selected } from "../store.js";
import { drawSoon } from "./plotting.js";

const buttons = () => [...part("pane-tabs").children];

function makeTabs() {
  const columns = run?.columns || [];
  part("pane-tabs").replaceChildren(...(columns.length > 1 ? columns.map((column, p) => {
    const button = el("button", column.kind, column.name);
    button.translate = false;
    button.addEventListener("click", () => turnTo(p, "smooth"));
    return button;
  }) : []));
  turnTo(plotted, "instant");
}

function turnTo(p, behavior) {
  const box = part("columns");
  box.scrollTo({ left: p * box.clientWidth, behavior });
  mark(p);
}

function mark(p) {
  buttons().forEach((button, k) => button.setAttribute("aria-current", String(k === p)));
}

const isSwiped = (box) => box.scrollWidth > box.clientWidth + 4;

// Where the columns scroll sideways, a keyboard must be able to scroll them.
function noteSwiping({ matches }) {
  if (matches) part("columns").tabIndex = 0;
  else part("columns").removeAttribute("tabindex");
}

// Scrolls to the texts of a run that a person asked for: on a small screen they begin below the controls, and a lesson, on
// a large one below settings that are open, unless somebody is still typing there.
function bringIntoSight() {
  if (!run || run.recorded || run.of || part("columns").getBoundingClientRect().top <= window.innerHeight / 2) return;
  if (phoneWidth().matches) part(lesson ? "pane-tabs" : "stage").scrollIntoView();
  else if (element.querySelector(".drawer:not([hidden], :focus-within)")) part("stage").scrollIntoView();
}

export function listen() {
  const narrow = phoneWidth();
  noteSwiping(narrow);
  narrow.addEventListener("change", noteSwiping);
  for (const kind of ["run", "shown"]) on(kind, makeTabs);
  on("run", bringIntoSight);
  on("selected", () => {
    const box = part("columns"), at = selected.p * box.clientWidth;
    if (isSwiped(box) && Math.abs(box.scrollLeft - at) > box.clientWidth / 2) turnTo(selected.p, "instant");
  });
  part("columns").addEventListener("scroll", () => {
    const box = part("columns");
    if (box.clientWidth && isSwiped(box)) mark(Math.round(box.scrollLeft / box.clientWidth)), drawSoon();
  }, { passive: true });
}
