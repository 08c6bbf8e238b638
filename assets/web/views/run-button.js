// The Run button: it says when settings that concern only the next run differ from those of the shown run.

import { changesFrom, settingName } from "../lib/changed.js";
import { element, part } from "../dom.js";
import { on, run } from "../store.js";
import { allSettings } from "./settings.js";

function showChanges() {
  const changes = run?.asked ? changesFrom(run.asked, allSettings()).map(settingName) : [];
  part("run-changed").hidden = !changes.length;
  part("run").title = changes.length ? "Changed since this run: " + changes.join(", ") : "";
}

export function listen() {
  for (const kind of ["run", "shown", "changed", "controls"]) on(kind, showChanges);
  for (const kind of ["input", "change", "click"]) element.addEventListener(kind, showChanges);
}
