// The failed items of a run's steps with `for_each`, for the tab "Outputs": a card for each step, which leads to its gallery.
import { getJson } from "../../lib/api.js";
import { html, nothing } from "../../lib/dom.js";
import { plural } from "../../lib/format.js";

const MOST_STEPS = 20;
const MOST_ITEMS = 3; // on a card

export class FailedItems {
  /** @param path of the run  @param onRead called after items were read */
  constructor(path, onRead) {
    this.path = path;
    this.onRead = onRead;
    this.cards = new Map(); // {count, items, error} by the step's id; items is null until they are read
  }

  /** Takes the steps of the run as they are now, and reads the failed items of those that have more or fewer than before. */
  update(steps) {
    const failed = steps.filter((step) => step.items?.failed).slice(0, MOST_STEPS);
    const before = this.cards;
    this.cards = new Map(failed.map((step) => [step.step_id, before.get(step.step_id) ?? { count: 0, items: null }]));
    for (const step of failed) {
      const card = this.cards.get(step.step_id);
      if (card.count === step.items.failed) continue;
      card.count = step.items.failed;
      this.read(step.step_id, card);
    }
  }

  async read(stepId, card) {
    try {
      const query = { status: "FAILED", limit: MOST_ITEMS };
      card.items = (await getJson(`${this.path}/steps/${encodeURIComponent(stepId)}/items`, { query })).items;
    } catch (error) {
      card.items = [];
      console.warn(error); // the gallery says what is wrong
    }
    this.onRead();
  }

  /** The cards. *openStep* is called with a step's id. */
  view(openStep) {
    if (!this.cards.size) return nothing;
    return html`<ul class="output-cards failed-items" aria-label="Failed items">${[...this.cards].map(([stepId, { count, items }]) => html`
      <li class="card"><h3 class="break">${stepId}: ${plural(count, "item")} failed</h3>
        ${items ? html`<dl>${items.map((item) => html`<dt>Item ${item.item}</dt><dd class="attempt-error break">${item.error_message}</dd>`)}</dl>`
          : nothing}
        <button type="button" class="button" @click=${() => openStep(stepId)}>All items of ${stepId}</button></li>`)}</ul>`;
  }
}
