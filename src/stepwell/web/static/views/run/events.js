// The tab "Events": the history of the run, read page by page, and then each event as it arrives.
//
// The events of a run are numbered without gaps. An event with the next number is added; any other one makes the tab read
// what is missing. So no event is missed, and none is shown twice.
import { emptyState, errorNotice, html, loading, nothing, render, repeat } from "../../lib/dom.js";
import { dateTime, number, plural } from "../../lib/format.js";
import { refresher } from "../../lib/refresher.js";

const PAGE = 500;
const ROWS = 200; // at first, and with each "Show more"
const MOST_DETAIL_CHARS = 300;

export default function mount(element, context) {
  const tab = new EventsTab(element, context);
  context.onEvents((events) => tab.receive(events));
  context.onChange(() => tab.refresh());
  tab.draw();
  tab.refresh();
}

class EventsTab {
  constructor(element, context) {
    this.element = element;
    this.context = context;
    this.events = []; // the oldest first
    this.complete = false; // true once the history was read to its end
    this.error = null;
    this.rows = ROWS;
    this.newestFirst = true;
    this.filter = "";
    this.refresh = refresher(() => this.load());
  }

  get last() {
    return this.events.at(-1)?.id ?? 0;
  }

  /** Reads all events after the last one. */
  async load() {
    const { id, api } = this.context;
    try {
      let more = true;
      while (more) {
        const page = await api.getJson(`/workflows/${id}/events`, { query: { after: this.last, limit: PAGE } });
        this.add(page.events);
        more = page.has_more;
        this.error = null;
        this.draw();
      }
      this.complete = true;
    } catch (error) {
      this.error = error;
    }
    this.draw();
  }

  /** Takes events from the stream. Before the history was read they are left to it. */
  receive(events) {
    if (!this.complete) return;
    this.add(events);
    if (events.some((each) => each.id > this.last)) this.refresh();
    if (this.element.checkVisibility()) this.draw(); // else the tab reads again when it is shown
  }

  add(events) {
    for (const each of events) if (each.id === this.last + 1) this.events.push(each);
  }

  draw() {
    render(this.content(), this.element);
  }

  content() {
    const { events, complete, error } = this;
    if (error && !events.length) return errorNotice(error, this.refresh);
    if (!events.length) return complete ? emptyState("There are no events.") : loading("The events are loading…");
    const found = this.found();
    const shown = found.slice(0, this.rows);
    return html`
      <div class="tab-bar">
        <h2 class="tab-count">${plural(events.length, "event")}</h2>
        <p class="dim tab-hint" role="status">${complete ? "" : "More are being read…"}</p>
        <label class="events-filter"><span class="visually-hidden">Filter events</span>
          <input type="search" placeholder="Filter by step, type, text…" .value=${this.filter}
            @input=${(event) => { this.filter = event.target.value; this.rows = ROWS; this.draw(); }}></label>
        <label class="tab-check"><input type="checkbox" .checked=${this.newestFirst}
          @change=${(event) => { this.newestFirst = event.target.checked; this.draw(); }}>Newest first</label>
      </div>
      ${error ? errorNotice(error, this.refresh) : nothing}
      ${found.length ? html`<ol class=${shown.length > ROWS ? "events long" : "events"} aria-label="Events">${repeat(shown, (each) => each.id, (each) => this.row(each))}</ol>`
        : emptyState("No event matches.", html`<p>Change or clear the filter.</p>`)}
      ${shown.length < found.length ? html`<p class="tab-more"><button type="button" class="button"
        @click=${() => { this.rows += ROWS; this.draw(); }}>Show more</button>
        <span class="dim">${number(shown.length)} of ${plural(found.length, "event")}</span></p>` : nothing}`;
  }

  /** The events that match the filter, in the order in which they are shown. */
  found() {
    const words = this.filter.toLowerCase().split(/\s+/).filter(Boolean);
    const matches = (event) => {
      const text = `${event.type} ${event.step_id ?? ""} ${event.actor} ${JSON.stringify(event.data)}`.toLowerCase();
      return words.every((word) => text.includes(word));
    };
    const found = words.length ? this.events.filter(matches) : [...this.events];
    return this.newestFirst ? found.reverse() : found;
  }

  row(event) {
    return html`<li class="event">
      <span class="event-number number dim">${event.id}</span>
      <time class="event-time" datetime=${event.at} title=${event.at}>${dateTime(event.at)}</time>
      <span class="event-type ${toneOf(event.type)}">${event.type}</span>
      <span class="event-step">${event.step_id === null ? nothing : html`<button type="button" class="link-button"
        @click=${() => this.context.openStep(event.step_id)}>${event.step_id}</button>`}</span>
      <span class="event-details">${inWords(event.data)}</span>
      <span class="event-actor truncate" title=${event.actor}>${event.actor}</span></li>`;
  }
}

/** The class of the status that a type of event leads to, if any. */
function toneOf(type) {
  const status = { completed: "completed", failed: "failed", cancelled: "cancelled", skipped: "skipped", paused: "paused",
    started: "running", resumed: "running", retrying: "paused", outcome_unknown: "paused" }[type.split(".")[1]];
  return status ? `status-${status}` : "";
}

/** The data of an event: "attempt: 2 · provider: LOCAL". */
function inWords(data) {
  const text = Object.entries(data).filter(([, value]) => value !== null).map(([name, value]) => (
    `${name.replaceAll("_", " ")}: ${valueInWords(value)}`
  )).join(" · ");
  return text.length > MOST_DETAIL_CHARS ? `${text.slice(0, MOST_DETAIL_CHARS)}…` : text;
}

function valueInWords(value) {
  if (typeof value !== "string") return JSON.stringify(value);
  return /^\d{4}-\d\d-\d\dT[\d:.]+Z$/.test(value) ? dateTime(value) : value;
}
