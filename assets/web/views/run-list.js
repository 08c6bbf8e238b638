// The list of runs and branches, below the page: its button raises it beside the texts, so that another run can be chosen
// without scrolling. `tree` draws it.

import { element, focusInView, onKeys, part } from "../dom.js";
import { on, poll } from "../store.js";

const list = () => part("branches");
const isRaised = () => list().classList.contains("raised");

function raise(now) {
  if (now === isRaised()) return;
  const inside = list().contains(document.activeElement);
  list().classList.toggle("raised", now);
  part("runs-open").setAttribute("aria-expanded", String(now));
  if (now) focusInView(part("tree").querySelector("[aria-selected=true]"));
  else if (inside) focusInView(part("runs-open"));
}

const leaveFor = (target) => isRaised() && !list().contains(target) && !part("runs-open").contains(target) && raise(false);

export function listen() {
  part("runs-open").addEventListener("click", () => raise(!isRaised()));
  document.addEventListener("pointerdown", ({ target }) => element.isConnected && leaveFor(target));
  list().addEventListener("focusout", ({ relatedTarget: to }) => to && leaveFor(to));
  on("poll", () => poll && raise(false));
  on("shown", () => part("runs-open").hidden && raise(false));
  onKeys(list(), (key) => key === "Escape" && isRaised() && (raise(false), true), () => element.isConnected);
}
