// Fits the page to the window: what stands above the columns changes its height (examples, notes, drawers, two lines of a
// prompt), and the style sheet gives the texts what is left, so that slider, texts and plot stay on one screen. The sliders stay
// at the top of the window: the style sheet keeps the card and what has the focus below them, however many they are.

import { element, part } from "../dom.js";

const FOOT_PX = 26; // its height with one line

// The feet of the columns: what wraps there would push the plot out of the window.
function measureFeet() {
  const heights = [...part("columns").querySelectorAll(".foot")].map((foot) => foot.getBoundingClientRect().height);
  element.style.setProperty("--feet", Math.max(0, ...heights.map((height) => Math.round(height) - FOOT_PX)) + "px");
}

function measure() {
  if (!element.isConnected) return;
  const top = part("stage").getBoundingClientRect().top + window.scrollY;
  element.style.setProperty("--above", Math.round(top) + "px");
  const bar = /** @type {HTMLElement} */ (element.querySelector(".steer")), sticks = getComputedStyle(bar).position === "sticky";
  element.style.setProperty("--bar", (sticks ? Math.ceil(bar.getBoundingClientRect().height) : 0) + 8 + "px");
}

export function listen() {
  const root = part("page"), all = [...root.children], above = all.slice(0, all.indexOf(part("stage")));
  const watch = new ResizeObserver(measure);
  for (const box of above) watch.observe(box);
  new ResizeObserver(measureFeet).observe(part("columns"));
  // The browser keeps the caret of a text field in sight, not the field below the sliders.
  root.addEventListener("focusin", ({ target }) => {
    if (/** @type {Element} */ (target).matches("textarea")) /** @type {Element} */ (target).scrollIntoView({ block: "nearest" });
  });
}
