// What the colours of the tokens mean, and the legend that says so.

const sample = (className, text, mark) => {
  const entry = el("span");
  entry.append(el("i", "swatch " + className, mark), document.createTextNode(text));
  return entry;
};

function drawLegend() {
  const entries = [sample("raised", "▲ raised by tuning"), sample("lowered", "▼ lowered by tuning"), sample("flip", "the base would have chosen another token")];
  if (run && run.drafted) entries.push(sample("accepted", "draft kept", "abc"), sample("resampled", "draft rejected, drawn anew", "abc"));
  part("legend").replaceChildren(...entries);
}
