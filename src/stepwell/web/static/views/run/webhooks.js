// The tab "Webhooks": the deliveries of the run, their attempts and responses, and a button that sends one again.
import { serviceNow } from "../../lib/clock.js";
import { announce, emptyState, errorNotice, html, icon, loading, nothing, render, repeat } from "../../lib/dom.js";
import { dateTime, duration, plural } from "../../lib/format.js";
import { statusBadge } from "../../lib/status.js";
import { refresher } from "../../lib/refresher.js";

const PAGE = 50;
const MIN_WAIT_MS = 1_000; // attempts are no events: while one is due, the list is read again
const MAX_WAIT_MS = 30_000;

export default function mount(element, context) {
  const tab = new WebhooksTab(element, context);
  context.onChange(() => tab.refresh());
  tab.draw();
  tab.refresh();
}

class WebhooksTab {
  constructor(element, context) {
    this.element = element;
    this.context = context;
    this.deliveries = null;
    this.pages = 1;
    this.more = false;
    this.error = null;
    this.sending = new Set(); // the ids of the deliveries whose button was pressed
    this.failures = new Map(); // the error of each such request, by the delivery's id
    this.timer = 0;
    this.refresh = refresher(() => this.load());
  }

  async load() {
    const { id, api } = this.context;
    try {
      const deliveries = [];
      let more = true;
      for (let page = 0; more && page < this.pages; page += 1) {
        const query = { after: deliveries.at(-1)?.event_id ?? 0, limit: PAGE };
        const response = await api.getJson(`/workflows/${id}/deliveries`, { query });
        deliveries.push(...response.deliveries);
        more = response.has_more;
      }
      [this.deliveries, this.more, this.error] = [deliveries, more, null];
    } catch (error) {
      this.error = error;
    }
    this.draw();
    this.schedule();
  }

  /** Reads again once the next attempt should have been made. */
  schedule() {
    clearTimeout(this.timer);
    const due = (this.deliveries ?? []).filter((each) => each.status === "PENDING")
      .map((each) => (each.next_at ? Date.parse(each.next_at) : serviceNow()));
    if (!due.length) return;
    const wait = Math.min(MAX_WAIT_MS, Math.max(MIN_WAIT_MS, Math.min(...due) - serviceNow() + MIN_WAIT_MS));
    this.timer = setTimeout(() => (
      this.element.checkVisibility() && !document.hidden ? this.refresh() : this.schedule()
    ), wait);
  }

  async sendAgain(delivery) {
    const { id, api } = this.context;
    this.sending.add(delivery.id);
    this.failures.delete(delivery.id);
    this.draw();
    try {
      await api.send("POST", `/workflows/${id}/deliveries/${encodeURIComponent(delivery.id)}/redeliver`);
      announce("The webhook is being sent again.");
    } catch (error) {
      this.failures.set(delivery.id, error);
    }
    this.sending.delete(delivery.id);
    this.draw();
    this.refresh();
  }

  draw() {
    render(this.content(), this.element);
  }

  content() {
    const { deliveries, error } = this;
    const { run } = this.context;
    if (error && !deliveries) return errorNotice(error, this.refresh);
    if (!deliveries) return loading("The webhooks are loading…");
    if (!deliveries.length && !error) return nothingSent(run);
    return html`
      <div class="tab-bar">
        <h2 class="tab-count">${plural(deliveries.length, "webhook")}${this.more ? " and more" : ""}</h2>
        <p class="dim tab-hint break">${run.webhook_url ? html`They are sent to <span class="mono">${run.webhook_url}</span>`
          : nothing}</p>
      </div>
      ${error ? errorNotice(error, this.refresh) : nothing}
      <ol class="deliveries">${repeat(deliveries, (each) => each.id, (each) => this.delivery(each))}</ol>
      ${this.more ? html`<p class="tab-more"><button type="button" class="button"
        @click=${() => { this.pages += 1; this.refresh(); }}>Show more</button></p>` : nothing}`;
  }

  delivery(delivery) {
    const { status, attempts, next_at: nextAt } = delivery;
    const failure = this.failures.get(delivery.id);
    const busy = this.sending.has(delivery.id);
    return html`<li class="card delivery">
      <div class="delivery-head">
        <h3 title=${delivery.id}>${delivery.type}</h3>
        ${statusBadge(status)}
        <span class="dim">Event ${delivery.event_id} · ${plural(attempts.length, "attempt")}${
          nextAt ? html` · next one <time datetime=${nextAt}>${dateTime(nextAt)}</time>` : nothing}</span>
        ${this.context.canWrite ? html`<button type="button" class="button delivery-again"
          ?disabled=${busy || !this.context.run.webhook_url}
          title=${this.context.run.webhook_url ? "Sends the same id and body again now" : "The run has no webhook_url now"}
          @click=${() => this.sendAgain(delivery)}>${icon("refresh")}${busy ? "Sending…" : "Send again"}</button>` : nothing}
      </div>
      ${failure ? errorNotice(failure) : nothing}
      ${attempts.length ? attemptList(delivery) : html`<p class="dim">It was not sent yet.</p>`}
    </li>`;
  }
}

function attemptList({ type, event_id: event, attempts }) {
  return html`<ol class="delivery-attempts" aria-label=${`Attempts to send ${type} of event ${event}`}>
    ${attempts.map(({ at, code, latency_ms: latency, answer, error }) => html`<li>
      <time datetime=${at} title=${at}>${dateTime(at)}</time>
      <span class="event-type ${code >= 200 && code < 300 ? "status-completed" : "status-failed"}">${code ?? "No response"}</span>
      <span class="number dim">${duration(latency)}</span>
      <span class="delivery-response">${error ?? (answer || html`<span class="dim">An empty response</span>`)}</span></li>`)}</ol>`;
}

function nothingSent(run) {
  if (!run.webhook_url) {
    return emptyState("This run has no webhook_url.", html`<p>Set <code>webhook_url</code> when you create a run, or with PATCH:
      then its events are sent there.</p>`);
  }
  const which = run.suppress_subtask_events ? "once the run has ended" : "as steps start and end";
  return emptyState("No webhook was sent yet.", html`<p>Webhooks are sent ${which}.</p>`);
}
