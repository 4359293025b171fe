// The items of a step that runs once for each of them: a gallery in their order, with the error of those that failed.
import { getJson, isAbort } from "../../lib/api.js";
import { errorNotice, html, nothing } from "../../lib/dom.js";
import { number, plural } from "../../lib/format.js";
import { isObject } from "../../lib/json.js";
import { fileUrl, shownFile, thumbnail } from "../../lib/outputs.js";
import { statusBadge } from "../../lib/status.js";

const PAGE = 60; // items at first, and with each "Show more"
const VALUE_CHARS = 120;
const RESULT_CHARS = 300;

/** How the items of a step stand, as "7 of 12 completed, 2 failed"; "" for a step without items. */
export function itemsText({ items }) {
  if (!items) return "";
  const counts = [[items.failed, "failed"], [items.skipped, "skipped"]].filter(([count]) => count);
  return [`${number(items.completed)} of ${number(items.total)} completed`, ...counts.map(([count, word]) => `${number(count)} ${word}`)].join(", ");
}

/** The link to the sub-workflow that a step, or one of its items, runs or has run; null without one. */
export function childLink(step, unit = step) {
  const child = unit.waiting_for?.workflow_id ?? (step.task_type === "SUBWORKFLOW" ? unit.result?.workflow_id : null);
  return child ? html`<a class="mono break" href=${`/ui/workflows/${child}`}>${child}</a>` : null;
}

export class ItemGallery {
  /** @param path of the run  @param onRead called after items were read */
  constructor(path, stepId, onRead) {
    this.url = `${path}/steps/${encodeURIComponent(stepId)}/items`;
    this.onRead = onRead;
    this.items = null; // null: they weren't read yet
    this.total = 0;
    this.limit = PAGE;
    this.error = null;
  }

  /** Reads as many items as are shown. */
  async read(signal) {
    try {
      const page = await getJson(this.url, { query: { limit: this.limit }, signal });
      Object.assign(this, { items: page.items, total: page.total, error: null });
    } catch (error) {
      if (isAbort(error)) return;
      this.error = error;
    }
    this.onRead();
  }

  showMore(signal) {
    this.limit = Math.min(1_000, this.limit + PAGE);
    this.read(signal);
  }

  /** @param byHand returns the form that ends an item by hand */
  view(step, signal, byHand) {
    const { items, error } = this;
    return html`<section aria-label="Items"><h3>Items</h3>
      ${error ? errorNotice(error, () => this.read(signal)) : nothing}
      ${items === null ? (error ? nothing : html`<p class="dim" role="status">Loading…</p>`)
        : items.length ? html`<ol class="items">${items.map((item) => card(item, step, byHand))}</ol>` : html`<p class="dim">${
          step.items ? "There are none: the list is empty." : "They aren't known yet."}</p>`}
      ${items && items.length < this.total ? html`<p><button type="button" class="button" @click=${() => this.showMore(signal)}>Show more</button>
        <span class="dim">${items.length} of ${plural(this.total, "item")}</span></p>` : nothing}</section>`;
  }
}

function card(item, step, byHand) {
  const name = `Item ${item.item} of ${step.step_id}`;
  const path = shownFile(item.result);
  const child = childLink(step, item);
  const picture = item.result ? thumbnail(item.result, name, [256, 512]) : nothing;
  return html`<li class="card item">
    <div class="row"><strong><span class="visually-hidden">Item </span>${item.item}</strong>${statusBadge(item.status)}</div>
    ${path ? html`<a href=${fileUrl(path)} target="_blank" rel="noopener">${picture}</a>` : nothing}
    <p class="item-value break">${shorten(item.value, VALUE_CHARS)}</p>
    ${child ? html`<p class="small">${child}</p>` : nothing}
    ${item.error_message ? html`<p class="attempt-error break">${item.error_message}</p>` : nothing}
    ${item.result && !path ? html`<p class="item-value dim small break">${shorten(item.result.result_text ?? item.result, RESULT_CHARS)}</p>` : nothing}
    ${item.given_by ? html`<p class="dim small">Given by ${item.given_by}</p>` : nothing}
    ${item.retry_count ? html`<p class="dim small">${plural(item.retry_count, "retry", "retries")}</p>` : nothing}
    ${byHand(item)}</li>`;
}

/** Return a value as a text of at most *most* characters. An object is a list of its members. */
function shorten(value, most) {
  const plain = (each) => (typeof each === "string" ? each : JSON.stringify(each));
  const text = isObject(value)
    ? Object.entries(value).map(([name, each]) => `${name}: ${plain(each)}`).join(", ") : plain(value);
  return text.length > most ? `${text.slice(0, most)}…` : text;
}
