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

/** Calls *read* when other decisions may be open, and *onEvents* with the events that say so. A token that may only decide gets no
 *  events, so its page asks now and then. */
export function followDecisions(read, onEvents = () => {}) {
  if (!hasScope("workflows:read")) return poll(read, POLL_MS)();
  const refresh = refresher(read);
  return follow({
    onEvents: (all) => {
      const events = all.filter((event) => CHANGES.test(event.type));
      onEvents(events);
      if (events.length) refresh();
    },
    onGap: refresh,
  });
}

/** Shows the number, and keeps it current. */
export function showDecisionCount() {
  const element = document.getElementById("decision-count");
  if (element && canDecide()) followDecisions(async () => {
    const { total } = await getJson("/decisions", { query: { limit: 0, total: true } }).catch(() => ({ total: 0 })); // the view says why
    render(total ? html`${total < MOST ? total : `${MOST - 1}+`}<span class="visually-hidden"> open</span>` : nothing, element);
  });
}
