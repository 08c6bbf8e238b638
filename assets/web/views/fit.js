// Fits the page to the window: what stands above the columns changes its height (examples, notes, drawers, two lines of a
// prompt), and the style sheet gives the texts what is left, so that slider, texts and plot stay on one screen.

import { element, part } from "../dom.js";

function measure() {
  if (!element.isConnected) return;
  const top = part("stage").getBoundingClientRect().top + window.scrollY;
  element.style.setProperty("--above", Math.round(top) + "px");
}

export function listen() {
  const root = element.querySelector(".eft"), all = [...root.children], above = all.slice(0, all.indexOf(part("stage")));
  const watch = new ResizeObserver(measure);
  for (const box of above) watch.observe(box);
}
