// Dialogs and the column that a person widened. A dialog is modal: Esc, its button or a click beside it close it, Tab
// goes round inside, and the focus returns to where it was.

const dialogOf = (name) => element.querySelector('dialog[data-dialog="' + name + '"]');
const dialogIsOpen = () => element.querySelector("dialog[open]") !== null;
const isOurs = (target) => target === document.body || element.contains(target); // not what an extension put beside the page
const isTyping = (target) => target.matches?.("input:not([type=range], [type=checkbox], [type=radio]), textarea, select");

function openDialog(name) {
  if (!dialogIsOpen()) dialogOf(name).showModal();
}

function goRound(dialog, key) {
  if (key !== "Tab" && key !== "Shift+Tab") return false;
  const stops = [...dialog.querySelectorAll("button, input, select")].filter((stop) => !stop.disabled && stop.offsetParent);
  if (document.activeElement !== stops.at(key === "Tab" ? -1 : 0)) return false;
  stops.at(key === "Tab" ? 0 : -1).focus();
  return true;
}

for (const dialog of element.querySelectorAll("dialog")) {
  onKeys(dialog, (key) => goRound(dialog, key));
  dialog.addEventListener("click", (event) => (event.target === dialog || event.target.closest(".close")) && dialog.close());
}
part("help").addEventListener("click", () => openDialog("help"));

let wide = null; // which column has the page's full width

function widenButton(panel, p) {
  const button = el("button", "widen", "↔");
  button.type = "button";
  button.title = "Full width and back";
  button.setAttribute("aria-label", "Full width for the column " + panel.name);
  button.addEventListener("click", () => widen(p === wide ? null : p));
  return button;
}

function widen(p) {
  wide = p;
  part("columns").querySelectorAll(".pane").forEach((column, k) => {
    column.classList.toggle("wide", k === p);
    column.querySelector(".widen").setAttribute("aria-pressed", String(k === p));
  });
  drawSoon();
}
