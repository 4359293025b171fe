// The tab "Events": the newest events of the run, each further one as it arrives, and older ones a page at a time.
//
// The events of a run are numbered from 1 without gaps. An event with the next number is added; any other one makes the tab
// read what is missing. So no event is missed, and none is shown twice.
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
    this.first = null; // the number before the oldest event that is read
    this.complete = false; // true once the history was read to its end
    this.readingOlder = false;
    this.error = null;
    this.rows = ROWS;
    this.newestFirst = true;
    this.filter = "";
    this.refresh = refresher(() => this.load());
  }

  get last() {
    return this.events.at(-1)?.id ?? this.first ?? 0;
  }

  page(after, limit = PAGE) {
    const { id, api } = this.context;
    return api.getJson(`/workflows/${id}/events`, { query: { after, limit } });
  }

  /** The number after which there is at most a page of events, in a run of more than a page. The API has no request for the
   *  last events. */
  async findLastPage() {
    const reaches = async (number) => (await this.page(number, 1)).events.length > 0;
    let [low, high] = [PAGE, 2 * PAGE];
    while (await reaches(high)) [low, high] = [high, 2 * high];
    while (high - low > PAGE / 2) {
      const middle = Math.floor((low + high) / 2);
      if (await reaches(middle)) low = middle;
      else high = middle;
    }
    return high - PAGE;
  }

  /** Reads all events if they are one page, else only finds out where the last page begins. */
  async readFirst() {
    const page = await this.page(0);
    this.first = page.has_more ? await this.findLastPage() : 0;
    if (!this.first) this.add(page.events);
  }

  /** Reads all events after the last one; at first the last page. */
  async load() {
    try {
      if (this.first === null) await this.readFirst();
      let more = true;
      while (more) {
        const page = await this.page(this.last);
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

  /** Reads the page before the oldest event. */
  loadOlder = async () => {
    if (this.readingOlder) return;
    this.readingOlder = true;
    this.draw();
    try {
      const first = Math.max(0, this.first - PAGE);
      const { events } = await this.page(first, this.first - first);
      this.events.unshift(...events);
      this.first = first;
      this.rows += events.length;
      this.error = null;
    } catch (error) {
      this.error = error;
    }
    this.readingOlder = false;
    this.draw();
  };

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
    const matching = this.matchingEvents();
    const shown = matching.slice(0, this.rows);
    return html`
      <div class="tab-bar">
        <h2 class="tab-count">${plural(this.last, "event")}</h2>
        <p class="dim tab-hint" role="status">${!complete ? "More are being read…"
          : this.first ? `The newest ${number(events.length)} are read; the filter finds only these.` : ""}</p>
        <label class="events-filter"><span class="visually-hidden">Filter events</span>
          <input type="search" placeholder="Filter by step, type, text…" .value=${this.filter}
            @input=${(event) => { this.filter = event.target.value; this.rows = ROWS; this.draw(); }}></label>
        <label class="tab-check"><input type="checkbox" .checked=${this.newestFirst}
          @change=${(event) => { this.newestFirst = event.target.checked; this.draw(); }}>Newest first</label>
      </div>
      ${error ? errorNotice(error, this.refresh) : nothing}
      ${matching.length ? html`<ol class=${shown.length > ROWS ? "events long" : "events"} aria-label="Events">${repeat(shown, (each) => each.id, (each) => this.row(each))}</ol>`
        : emptyState("No event matches.", html`<p>Change or clear the filter.</p>`)}
      ${shown.length < matching.length ? html`<p class="tab-more"><button type="button" class="button"
        @click=${() => { this.rows += ROWS; this.draw(); }}>Show more</button>
        <span class="dim">${number(shown.length)} of ${plural(matching.length, "event")}</span></p>` : nothing}
      ${this.first && complete ? html`<p class="tab-more"><button type="button" class="button" ?disabled=${this.readingOlder}
        @click=${this.loadOlder}>Show older</button>
        <span class="dim">${plural(this.first, "older event")}</span></p>` : nothing}`;
  }

  /** The events that match the filter, in the order in which they are shown. */
  matchingEvents() {
    const words = this.filter.toLowerCase().split(/\s+/).filter(Boolean);
    const matches = (event) => {
      const text = `${event.type} ${event.step_id ?? ""} ${event.actor} ${JSON.stringify(event.data)}`.toLowerCase();
      return words.every((word) => text.includes(word));
    };
    const matching = words.length ? this.events.filter(matches) : [...this.events];
    return this.newestFirst ? matching.reverse() : matching;
  }

  row(event) {
    return html`<li class="event">
      <span class="event-number number dim">${event.id}</span>
      <time class="event-time" datetime=${event.at} title=${event.at}>${dateTime(event.at)}</time>
      <span class="event-type ${toneOf(event.type)}">${event.type}</span>
      <span class="event-step">${event.step_id === null ? nothing : html`<button type="button" class="link-button"
        @click=${() => this.context.openStep(event.step_id)}>${event.step_id}</button>`}</span>
      <span class="event-details">${dataInWords(event.data)}</span>
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
function dataInWords(data) {
  const text = Object.entries(data).filter(([, value]) => value !== null).map(([name, value]) => (
    `${name.replaceAll("_", " ")}: ${valueInWords(value)}`
  )).join(" · ");
  return text.length > MOST_DETAIL_CHARS ? `${text.slice(0, MOST_DETAIL_CHARS)}…` : text;
}

function valueInWords(value) {
  if (typeof value !== "string") return JSON.stringify(value);
  return /^\d{4}-\d\d-\d\dT[\d:.]+Z$/.test(value) ? dateTime(value) : value;
}
