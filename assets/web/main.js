// The entry point. The component imports it and calls `start` each time it is mounted in the document.

import { connect } from "./api.js";
import { mount } from "./dom.js";
import * as address from "./views/address.js";
import * as asIf from "./views/as-if.js";
import * as ask from "./views/ask.js";
import * as bars from "./views/bars.js";
import * as blindView from "./views/blind.js";
import * as branching from "./views/branching.js";
import * as card from "./views/card.js";
import * as columns from "./views/columns.js";
import * as comparison from "./views/comparison.js";
import * as completion from "./views/completion.js";
import * as connection from "./views/connection.js";
import * as conversation from "./views/conversation.js";
import * as copies from "./views/copies.js";
import * as dialogs from "./views/dialogs.js";
import * as drop from "./views/drop.js";
import * as family from "./views/family.js";
import * as fit from "./views/fit.js";
import * as flow from "./views/flow.js";
import * as help from "./views/help.js";
import * as key from "./views/key.js";
import * as lessonView from "./views/lesson.js";
import * as memory from "./views/memory.js";
import * as messages from "./views/messages.js";
import * as paneTabs from "./views/pane-tabs.js";
import * as pad from "./views/pad.js";
import * as page from "./views/page.js";
import * as pageKeys from "./views/page-keys.js";
import * as painting from "./views/painting.js";
import * as plotTable from "./views/plot-table.js";
import * as player from "./views/player.js";
import * as pollView from "./views/poll.js";
import * as predictView from "./views/predict.js";
import * as present from "./views/present.js";
import * as print from "./views/print.js";
import * as recipes from "./views/recipes.js";
import * as replay from "./views/replay.js";
import * as room from "./views/room.js";
import * as runButton from "./views/run-button.js";
import * as runList from "./views/run-list.js";
import * as share from "./views/share.js";
import * as side from "./views/side.js";
import * as stream from "./views/stream.js";
import * as tabs from "./views/tabs.js";
import * as teach from "./views/teach.js";
import * as theme from "./views/theme.js";
import * as tooltip from "./views/tooltip.js";
import * as welcomeView from "./views/welcome.js";

// In the order in which they receive events; the key must leave the address bar first. Views after `flow` find a new run in place.
const VIEWS = [
  key, copies, stream, connection, columns, painting, bars, plotTable, side, card, tooltip, recipes, pad, asIf, branching, tabs, comparison, dialogs,
  family, share, replay, memory, drop, print, theme, messages, help, ask, player, flow, address, runButton, paneTabs, conversation, completion, welcomeView, page, lessonView, teach, pollView, predictView, blindView,
  room, present, runList, fit, pageKeys,
];

export function start({ element, props, server, trigger, watch }) {
  mount(element);
  connect({ props, server, trigger });
  for (const view of VIEWS) view.listen();
  watch("value", stream.onValue);
  stream.onValue();
}
