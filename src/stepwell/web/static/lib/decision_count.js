// The number of open decisions, in the navigation.
import { getJson } from "./api.js";
import { canDecide } from "./decision_form.js";
import { html, nothing, render } from "./dom.js";
import { poll } from "./poll.js";
import { refresher } from "./refresher.js";
import { hasScope } from "./scopes.js";
import { follow } from "./stream.js";

const CHANGES = /^(step\.(waiting|completed|failed|cancelled|skipped)|workflow\.(cancelled|cleaned|failed))$/;
const POLL_MS = 10_000;
const MOST = 1_000; // the service counts no further

/** True if another decision may be open after *event*. */
export const beginsWait = (event) => event.type === "step.waiting";

/** Calls *read* when other decisions may be open: after events for which *isNeeded(events)* is true. A token that may only decide gets
 *  no events, so its page asks now and then. */
export function followDecisions(read, isNeeded) {
  if (!hasScope("workflows:read")) return poll(read, POLL_MS)();
  const refresh = refresher(read);
  refresh(); // a stream that is open already reports no gap
  return follow({
    onEvents: (all) => {
      const events = all.filter((event) => CHANGES.test(event.type));
      if (events.length && isNeeded(events)) refresh();
    },
    onGap: refresh,
  });
}

/** Shows the number, and keeps it current. */
export function showDecisionCount() {
  const element = document.getElementById("decision-count");
  let total = 0;
  const read = async () => {
    ({ total } = await getJson("/decisions", { query: { limit: 0, total: true } }).catch(() => ({ total: 0 }))); // the view says why
    render(total ? html`${total < MOST ? total : `${MOST - 1}+`}<span class="visually-hidden"> open</span>` : nothing, element);
  };
  if (element && canDecide()) followDecisions(read, (events) => total > 0 || events.some(beginsWait));
}
