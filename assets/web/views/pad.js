// The pad: alpha to the right, beta upwards, a model in each corner. Two sliders in one square, each with its own keys and
// its own accessible name; one of them is in the tab order.

import { onKeys, part, setShown } from "../dom.js";
import { chosen, config, controls, on } from "../store.js";
import { setControls } from "./sliders.js";

const PAD_AXES = ["alpha", "beta"];
const PAD_STEP = 0.05, PAD_LEAP = 0.25;
const PAD_CORNERS = { "0,0": "the small base", "1,0": "the small tuned model", "0,1": "the large base", "1,1": "the up-scaled model" };
const PAD_KEYS = { // axis and steps
  ArrowLeft: ["alpha", -PAD_STEP], ArrowRight: ["alpha", PAD_STEP], ArrowDown: ["beta", -PAD_STEP], ArrowUp: ["beta", PAD_STEP],
  Home: ["alpha", -1], End: ["alpha", 1], PageDown: ["beta", -PAD_LEAP], PageUp: ["beta", PAD_LEAP],
};
const onPad = (value) => Math.min(1, Math.max(0, value));
const padInput = (axis) => part("pad-" + axis);

function showPad() {
  setShown("pad-box", chosen.some((column) => column.pad));
  const [alpha, beta] = PAD_AXES.map((axis) => controls[axis] ?? config.controls[axis].value);
  const knob = part("pad-knob");
  knob.style.left = 100 * onPad(alpha) + "%";
  knob.style.bottom = 100 * onPad(beta) + "%";
  const corner = PAD_CORNERS[[alpha, beta].join()];
  const text = "α " + alpha.toFixed(2) + ", β " + beta.toFixed(2) + (corner ? ": " + corner : "");
  for (const axis of PAD_AXES) {
    padInput(axis).value = onPad(controls[axis]);
    padInput(axis).setAttribute("aria-valuetext", text);
  }
  const beyond = alpha < 0 ? "tuning is undone" : alpha > 1 || beta > 1 ? "tuning or size is exaggerated" : "";
  part("pad-note").textContent = corner ? "This is " + corner + "." : beyond ? "Outside the pad: " + beyond + "." : "A mix of the small base, tuning and size.";
}

function movePad(values) {
  setControls(Object.fromEntries(Object.entries(values).map(([axis, value]) => [axis, Math.round(onPad(value) / PAD_STEP) * PAD_STEP])));
}

function onPadKey(key) {
  const move = PAD_KEYS[key.replace("Shift+", "")];
  if (!move) return false;
  const [axis, step] = move;
  movePad({ [axis]: onPad(controls[axis]) + step * (key.startsWith("Shift+") ? PAD_LEAP / PAD_STEP : 1) });
  holdPad(axis);
  return true;
}

function holdPad(axis) { // this axis's slider gets the focus and stays in the tab order
  for (const other of PAD_AXES) padInput(other).tabIndex = other === axis ? 0 : -1;
  padInput(axis).focus({ preventScroll: true });
}

function onPadPointer(event) {
  if (event.type === "pointerdown") {
    event.preventDefault(); // select no text, and set the focus ourselves
    part("pad").setPointerCapture(event.pointerId);
    holdPad("alpha");
  } else if (!part("pad").hasPointerCapture(event.pointerId)) return;
  const box = part("pad-square").getBoundingClientRect();
  movePad({ alpha: (event.clientX - box.left) / box.width, beta: (box.bottom - event.clientY) / box.height });
}

export function listen() {
  for (const event of ["sliders", "controls"]) on(event, showPad);
  onKeys(part("pad"), onPadKey);
  for (const type of ["pointerdown", "pointermove"]) part("pad").addEventListener(type, onPadPointer);
  for (const axis of PAD_AXES) padInput(axis).addEventListener("input", () => movePad({ [axis]: padInput(axis).valueAsNumber }));
}
