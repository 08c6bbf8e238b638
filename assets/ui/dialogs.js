// Dialogs and the column that a person widened. A dialog is modal: Esc, its button or a click beside it close it, Tab
// goes round inside, and the focus returns to where it was.

const dialogOf = (name) => element.querySelector('dialog[data-dialog="' + name + '"]');
const dialogIsOpen = () => element.querySelector("dialog[open]") !== null;
const isTyping = (target) => target.matches?.("input:not([type=range], [type=checkbox], [type=radio]), textarea, select");

function openDialog(name) {
  if (!dialogIsOpen()) dialogOf(name).showModal();
}

function goRound(event) {
  if (event.key !== "Tab") return;
  const stops = [...event.currentTarget.querySelectorAll("button, input, select")].filter((stop) => !stop.disabled && stop.offsetParent);
  if (document.activeElement !== stops.at(event.shiftKey ? 0 : -1)) return;
  event.preventDefault();
  stops.at(event.shiftKey ? -1 : 0).focus();
}

for (const dialog of element.querySelectorAll("dialog")) {
  dialog.addEventListener("keydown", goRound);
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
  [...part("columns").children].forEach((column, k) => {
    column.classList.toggle("wide", k === p);
    column.querySelector(".widen").setAttribute("aria-pressed", String(k === p));
  });
  drawSoon();
}
