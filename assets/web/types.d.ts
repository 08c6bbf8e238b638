// Types shared between modules. Data from the server has the form in which ui/stream.py sends it.

declare global {
  interface Window {
    Plotly: any;
    gradio_config: any;
  }
}

/** The component's root. Elements found in it have the types that the skeleton gives them. */
export interface Root extends HTMLElement {
  querySelector(selector: string): any;
  querySelectorAll(selector: string): any;
}

export type Nats = number | null; // null is minus infinity
export type Controls = Record<string, number>; // alpha, beta, alpha_pirate ...
export type Term = [scale: number, control: string | null, plus: number, minus: number]; // plus and minus are indices in `roles`
/** A map that is only queried for keys it has. */
export interface Known<V> extends Map<number, V> {
  get(id: number): V;
}

/** [id, mix, one per role]: a candidate at a token's position. */
export type Row = [id: number, ...logprobs: Nats[]];
export type Labels = Known<string>;

export interface Sampling {
  temperature: number;
  top_p: number;
  top_k: number;
  min_p: number;
  seed: number;
}

/** Constants of every run, sent once in the page's first line. */
export interface Rules {
  lowest: number; // the ends of alpha's sliders
  highest: number;
  support_nats: number; // the delta of a term where exactly one of its two models rules a token out
  greedy_below: number; // at a temperature below this, the likeliest token is taken
}

/** What the same noise would choose at other controls. */
export interface Choice {
  id: number;
  sure: boolean; // whether unrecorded tokens have little enough probability
  unrecorded: number | null; // an upper bound for their probability; null: unknown
  exact?: boolean; // the server scored it
}

/** What the server scored of a column: by slider value (as text), the positions where it draws another token. */
export interface Scored {
  control: string;
  changes: Map<string, Map<number, number>>;
}

export interface Filter {
  kind: "off" | "top_p" | "mask";
  value: number;
}

/** A token as received, with omitted defaults filled in. */
export interface Token {
  k?: string;
  p?: number; // column
  i: number; // id
  n: number; // position
  s: string; // what it adds to the text
  v: Controls; // effective values
  y: Nats[]; // anchor, bars, normaliser, log-prob
  c: Row[];
  r: number; // rank
  b: number; // the base's first choice
  e?: number | null; // entropy, nats
  ms: number; // since the run began
  d?: [drafted: number, overlap: number];
  u?: [certain: number, sent: number, asked: number, hidden: number, off: number | null]; // what a server's cut leaves open
  q: number[]; // rank under each role; minus what it is at least
  z?: number; // a stop token
  w?: Record<string, string | string[]>; // labels not sent before
  noise?: Known<number>; // its noise, once computed
  would?: number; // counterfactual: what the noise would choose
  sure?: boolean;
  exact?: boolean;
  hidden?: Hidden; // at other slider values than those it was written with
}

/** The probability of all tokens that were not recorded: as it is, an upper bound for it, or an estimate without one. */
export interface Hidden {
  share: number;
  how: "exact" | "bound" | "unknown";
}

export interface End {
  k?: string;
  p?: number;
  why: string;
  error?: string | null;
  s?: string;
  tps?: number | null;
  ttft_ms?: number | null;
  acc?: number;
  speedup?: number;
  reused?: [tokens: number, of: number]; // of the prompt: what the models did not read again
}

/** The part of a column that the counterfactual and the sentences need. */
export interface Recipe {
  terms: Term[];
  roles: string[];
  sampling: Sampling;
  unreplayed?: string[]; // warpers that act and that only Python knows, by their names
  filter: Filter;
  rules: Rules;
  given: number; // so many tokens were given, not drawn
  scored?: Scored | null; // once the server has scored it
}

export interface Column extends Recipe {
  name: string;
  recipe: string;
  kind: string;
  about: string;
  drafter?: string | null;
  v: Controls;
  tokens: Token[] & { key?: string };
  spans: HTMLElement[];
  ended: End | null;
  bars: any[]; // plotly's traces
  view?: any; // its DOM nodes
  remixed?: Token[] | null;
  drafted?: boolean;
  entry?: number;
  fresh?: boolean;
  text?: string; // the key of its stored text
  turns: Seen[]; // earlier turns, and the question that it answers; empty for a run of one turn
  unfolded?: number; // the first token after thinking that was folded
}

/** An earlier turn: its answers are one for all columns, or one per column. */
export interface Turn {
  question: string;
  answers: string[];
}

/** A turn as a column is shown it; the last one has no answer yet. */
export interface Seen {
  question: string;
  answer: string | null;
}

/** The turns before the next question: `names` are the columns that answered, `from` the one that all go on from. */
export interface Conversation {
  turns: Turn[];
  names: string[];
  from: number | null; // null: each column goes on from its own answers
}

export interface Run {
  id: string;
  n: number;
  prompt: string;
  system?: string;
  turns?: Turn[]; // earlier ones
  columns: Column[];
  labels: Labels;
  bytes: Map<number, string>;
  sampling: Sampling;
  filter: Filter;
  factors: number[];
  unreplayed?: string[]; // warpers that act and that only Python knows, by their names
  record: { family: string; schedule: string; speculation: string; made_with: unknown };
  layout: any; // plotly's
  attributed: number | null; // the column whose attribution is plotted first
  formats?: any;
  asked?: any; // the settings that it was asked for with
  replay?: Replay; // if it was opened
  reshown?: string[]; // the same: roles whose prompt format is not the family's
  notes?: string;
  of?: string | null;
  copied?: number[];
  recorded?: boolean;
  welcome?: boolean; // the run that a new page shows
  drafted?: boolean;
  key?: string;
}

/** The first line of a run. */
export type RunLine = Omit<Run, "labels" | "bytes" | "columns"> & { k?: string; given?: number; givens?: number[]; seeds?: number[]; columns: any[] };

export interface Line {
  k: string;
  p: number;
  ms: number;
  v?: Controls;
  [more: string]: any;
}

export interface Frame {
  lines: Line[];
  ms: number;
}

/** A way to colour tokens. A legend entry has a class, a text, and the content of its swatch. */
export interface Colour {
  title: string;
  classes: (column: Column, token: Token) => string[];
  number: (column: Column, token: Token, labels: Labels) => string;
  legend: [className: string, text: string, mark?: string][];
}

export interface Place {
  p: number;
  i: number;
}

export interface AsIf {
  sliders: Controls;
  first: Record<number, number>;
  counts: Record<number, number>;
  unsure: Record<number, number>;
}

export interface Tree {
  ids: number[];
  current: number | null; // null: no text is shown
}

/** A step of undo: `gone` are the texts that it removed. */
export interface Step {
  from: number | null;
  to: number | null;
  gone: number[];
}

export interface History {
  tree: Tree;
  past: Step[];
  future: Step[];
}

export interface TreeNode {
  id: number;
  parent: number | null;
  run: Run;
  column: number | null;
  position: number;
  token: number | null;
  all: boolean;
  same: Map<number, Run>;
}

export interface ChosenColumn { // of the next run
  name: string;
  text: string;
  controls: string[];
  unusual?: string[]; // controls that do not weigh what their names promise: alpha tuning, beta size
  error?: string;
  kind: string;
  recipe: string;
  about: string;
  pad?: boolean;
}

export interface Tape {
  first: Line;
  frames: Frame[];
  end: Line;
  at: number;
  playing: boolean;
  due: number;
  last: number;
}

/** What a link says beside the settings, counted from 1. */
export interface LinkedView {
  colour?: string;
  shared?: number; // the column whose text all score
  selected?: number[] | null; // column and token
  branches?: LinkedBranch[]; // from the run to the text that is shown
}
export interface LinkedBranch {
  column: number;
  place: number; // of the first token that it does not keep
  token: number | null; // what stands there; null: sampled
  seed: number;
  all: boolean;
  controls: Controls;
}

/** What the page says over an opened run; `settings` are those of it that can be filled in here. */
export interface Replay {
  title: string;
  about: string;
  settings?: any;
  live?: boolean; // they repeat it
}

/** A range of tokens in a plot, or all of them; null: the plot follows. */
export type View = [number, number] | "all" | null;

/** A token: the `token`th of a column, from 1, or the first of the `nth` occurrence of a text. */
export interface TokenPlace {
  column: string;
  token: number | string;
  nth: number;
}
/** What a step of a lesson sets, as ui/lessons.py makes it. */
export interface LessonState {
  label?: string;
  open?: string;
  select?: TokenPlace;
  [more: string]: any;
}
export interface LessonStep {
  title: string;
  text: string[];
  show: LessonState;
  do?: string;
  actions: LessonState[];
  question?: string;
  answer?: string;
}
export interface OpenLesson {
  name: string;
  title: string;
  steps: LessonStep[];
  at: number;
  broken: boolean; // its file cannot be read; the only step says why
}
/** A question to the class. `answer` is an option's id, or null where it is not known here. */
export interface Poll {
  id: string;
  kind: "token" | "column";
  title: string;
  prompt: string; // of the run that it is about
  before: string; // the text before the hidden token, where the title quotes only its end
  options: { id: string; label: string }[];
  answer: string | null;
  revealed: boolean;
}
/** A run, what may be seen of it before and after the answer, and what was asked: a token, or the columns in an order. */
export interface Cover {
  whole: Run;
  seen: Run;
  after: Run;
  place?: Place;
  order?: number[];
  at?: Place | null; // the token to select again
}
export type Votes = Record<string, number>; // by option
/** A class room: its code to type, the presenter's secret, and what a link adds so that opening it is no guess. */
export interface ClassRoom {
  code: string;
  secret: string;
  invite: string;
}
export interface RoomNow {
  joined: number; // phones
  here: number; // of these, in the last minute
  voted: number; // in the open poll
  lost: boolean; // the server does not answer
  refusal: string; // why it refused what was to be shown
  kept: boolean; // a reload of this page finds the room again
}
/** What the family menu shows, as ui/family_menu.py makes it. */
export interface FamilyMenu {
  progress: any;
  [fact: string]: any;
}

/** What can be asked, as eft_demo/atlas/askable.py makes it. */
export interface Askable {
  facts: number;
  kinds: string[];
  forms: string[]; // with {e}
  entities: [name: string, said: string | 0, forms: number[]][];
  values: string[];
}

/** The page's first line, sent once. */
export interface PageLine {
  rules: Rules;
  [fact: string]: any;
}

// A request that the page waits for: when something last came, and its end.
export interface Wait {
  news: number;
  request: AbortController;
}

export interface Link {
  lost: (since: number) => void; // set by the page: the connection is cut
  newest: () => number; // set by the page: the number of the run it waits for
  base: string; // of the server's addresses, as Gradio uses them
  oldest: () => Wait | null; // the request that has been silent for longest
  giveUp: (since?: number) => void; // ends all pending runs as lost
  fetch: typeof fetch;
}
