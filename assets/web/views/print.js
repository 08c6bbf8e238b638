// The prompt and settings that a printout shows instead of the controls. The style sheet shows them only on paper.

import { slidersAt } from "../lib/changed.js";
import { symbolOf } from "../lib/formats.js";
import { element, part, showText } from "../dom.js";
import { asIf, run } from "../store.js";

function showPrinted() {
  if (!element.isConnected) return window.removeEventListener("beforeprint", showPrinted);
  const sliders = run ? asIf?.sliders ?? slidersAt(run) : {};
  const settings = [...Object.entries(sliders).map(([name, value]) => symbolOf(name) + " " + value.toFixed(2)),
    ...Object.entries(run ? run.sampling : {}).map(([name, value]) => name.replaceAll("_", " ") + " " + value),
    ...(run ? run.columns.filter((column) => column.sampling.seed !== run.sampling.seed).map((column) => "seed " + column.sampling.seed + " in " + column.name) : [])];
  showText(part("printed-prompt"), run ? run.prompt : part("prompt").value);
  part("printed-settings").textContent = settings.join(" · ");
}

export function listen() {
  window.addEventListener("beforeprint", showPrinted);
}
