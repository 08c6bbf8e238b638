// The card of one token: what every model would have said in its place, and a sentence that says what that means.

const ROWS_SHOWN = 8;
const quote = (text) => "“" + text + "”";

function decimal(logprob) { // a log-prob as a probability: .97, <.01, 0
  if (logprob === null || logprob === undefined) return "0";
  const p = Math.exp(logprob);
  if (p < 0.005) return "<.01";
  return p >= 0.995 ? (p > 0.9999 ? "1" : ">.99") : p.toFixed(2).slice(1);
}
const percent = (logprob) => (logprob === null ? "0" : Math.round(100 * Math.exp(logprob))) + " percent";

function emptyCard() {
  part("card-title").textContent = "One token, every model";
  part("card-note").textContent = "Click a token or a bar to see what each model would have said.";
  part("card-table").replaceChildren();
  part("card-verdict").hidden = true;
}

function drawCard() {
  const panel = run.panels[selected.p], token = panel.tokens[selected.i];
  const label = run.labels.get(token.i), word = wordAround(panel.tokens, selected.i);
  part("card-title").textContent = quote(label) + (word.length > label.length ? " in " + word : "") + " · token " + (selected.i + 1) + " of " + panel.tokens.length;
  part("card-note").textContent = noteOf(panel, token);
  part("card-table").replaceChildren(tableOf(panel, token));
  drawVerdict([explain(panel, token, run.labels), explainFilter(panel, token), explainDraft(panel, token, run.labels)]);
}

function wordAround(tokens, i) { // "L" and "ima" are parts of "Lima"
  const inner = (token) => token !== undefined && /^[\p{L}\p{M}\p{N}]+$/u.test(token.s);
  const opens = (token) => token !== undefined && /^\s?[\p{L}\p{M}\p{N}]+$/u.test(token.s);
  let from = i, to = i;
  if (!opens(tokens[i])) return "";
  while (inner(tokens[from]) && opens(tokens[from - 1])) from -= 1;
  while (inner(tokens[to + 1])) to += 1;
  return tokens.slice(from, to + 1).map((token) => token.s).join("").trim();
}

function noteOf(panel, token) {
  const shift = shiftOf(token);
  const notes = [panel.name, "probability " + decimal(token.y[token.y.length - 1]), "rank " + token.r, "entropy " + (token.e ?? 0).toFixed(2) + " nats"];
  if (panel.terms.length) {
    const by = " by " + pusherOf(panel).name;
    notes.push(Math.abs(shift) < FAINT_NATS ? "not moved" + by : (shift < 0 ? "▼ lowered " : "▲ raised ") + Math.abs(shift).toFixed(1) + " nats" + by);
  }
  for (const [name, value] of Object.entries(token.v)) notes.push(symbolOf(name) + " " + value.toFixed(2));
  return notes.join(" · ");
}

function tableOf(panel, token) {
  const alone = panel.roles.length === 1;
  const heads = alone ? [panel.roles[0]] : [...panel.roles, "mix"];
  const table = el("table");
  const head = el("tr");
  head.append(el("td"), ...heads.map((name) => el("th", "", name.replaceAll("_", " "))));
  const thead = el("thead");
  thead.append(head);
  const body = el("tbody");
  for (const row of listedRows(panel, token)) body.append(rowOf(row, token, panel, alone));
  table.append(thead, body);
  table.classList.toggle("many", heads.length > 5);
  return table;
}

// What the card has room for: the token, what else was in play, and whatever any model thinks likely.
function listedRows(panel, token) {
  const rival = tellingRival(panel, token), kept = [token.i, token.b, rival && rival[0], token.d && token.d[0]];
  const worth = (row) => Math.max(...row.slice(1).map(nat)) + (kept.includes(row[0]) ? 1e6 : 0);
  const shown = new Set([...token.c].sort((a, b) => worth(b) - worth(a)).slice(0, ROWS_SHOWN));
  return token.c.filter((row) => shown.has(row));
}

// A role has the colour of its bar in the plot.
function colourOf(panel, place) {
  const k = place === 0 ? -1 : panel.terms.findIndex((term) => term[2] === place);
  return place && k < 0 ? "var(--small)" : panel.bars[k + 1].marker.color;
}

function rowOf([id, mix, ...roles], token, panel, alone) {
  const row = el("tr", id === token.i ? "chosen" : "");
  const label = run.labels.get(id);
  // "Sw" and " Sw" are two tokens and look alike: their numbers tell them apart
  const twin = token.c.some(([other]) => other !== id && run.labels.get(other) === label);
  const name = el("th", "", twin ? label + " #" + id : label);
  name.scope = "row";
  name.title = "token " + id;
  const colours = panel.roles.map((_, place) => colourOf(panel, place));
  const cells = alone ? [meter(mix, colours[0])] : [...roles.map((v, i) => meter(v, colours[i])), meter(mix, "var(--up)")];
  row.append(name, ...cells);
  return row;
}

function meter(logprob, colour) {
  const cell = el("td");
  const box = el("span", "meter");
  const bar = el("i");
  const p = logprob === null || logprob === undefined ? 0 : Math.exp(logprob);
  bar.style.width = (100 * p).toFixed(1) + "%";
  bar.style.setProperty("--c", colour);
  box.append(bar);
  cell.append(box, document.createTextNode(decimal(logprob)));
  return cell;
}

function drawVerdict(sentences) { // each is plain text and token text in turn
  const verdict = part("card-verdict"), said = sentences.filter((pieces) => pieces.length);
  verdict.hidden = !said.length;
  verdict.replaceChildren(...said.map((pieces) => {
    const sentence = el("span", "said");
    sentence.append(...pieces.map((piece, i) => (i % 2 ? el("b", "", piece) : document.createTextNode(piece))));
    return sentence;
  }));
}
