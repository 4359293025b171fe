// The connection to the feed of events. It runs in the worker that all tabs of a browser share. In a browser without shared
// workers, each tab has one.
//
// What must hold:
// - A hub has at most one EventSource, and none while no tab of it is visible.
// - After a break the stream continues behind the last event. Where it can't, the tabs get a "gap": they read again.
// - A service that refuses the stream is requested again after a growing pause, and not at all once the session has ended.
//
// Messages to the tabs: {kind: "events", texts} (the JSON of each event), {kind: "gap"}, {kind: "state", state}. The states:
// "connecting", "open", "waiting" (for the next try), "paused" (no tab is visible), "signed-out".

// The types of events that the service sends. An EventSource delivers only types that have a listener.
export const EVENT_TYPES = [
  "workflow.created", "workflow.started", "workflow.paused", "workflow.resumed", "workflow.updated",
  "workflow.signaled", "workflow.completed", "workflow.failed", "workflow.cancelled", "workflow.cleaned",
  "workflow.files_deleted", "step.started", "step.submitted", "step.progress", "step.outcome_unknown", "step.retrying",
  "step.diverted", "step.repeating", "step.waiting", "step.reused", "step.completed", "step.failed", "step.skipped", "step.cancelled", "step.cancel_settled",
];
const BATCH_MS = 100;
// The service may send events so many seconds late, several together, which costs it less. Under load that matters more.
const DELAY_S = 1;
const BUSY_DELAY_S = 3;
const BUSY_PER_S = 20; // events a second
const MEASURED_MS = 10_000; // how long events are counted before the delay changes
const LONGEST_PAUSE_MS = 60_000; // after a longer pause, reading everything again costs less than all events
const FIRST_RETRY_MS = 1_000;
const LAST_RETRY_MS = 30_000;

export class StreamHub {
  /** @param url of the feed  @param send is called with each message to the tabs */
  constructor(url, send) {
    this.url = url;
    this.send = send;
    this.state = "paused";
    this.source = null;
    this.lastId = null;
    this.pausedAt = 0;
    this.retryMs = FIRST_RETRY_MS;
    this.timer = 0;
    this.queued = [];
    this.batchTimer = 0;
    this.delay = DELAY_S;
    this.counted = 0; // events since `countedFrom`
    this.countedFrom = 0;
  }

  /** True if a tab that joins now may have missed events that the others got. After a pause the stream misses none. */
  get isRunning() {
    return this.state !== "paused" && this.state !== "signed-out";
  }

  /** Opens the stream, unless it is open or the session has ended. */
  resume() {
    if (this.source || this.timer || this.state === "signed-out") return;
    if (this.pausedAt && Date.now() - this.pausedAt > LONGEST_PAUSE_MS) this.lastId = null;
    this.pausedAt = 0;
    this.connect();
  }

  /** Closes the stream, because no tab is visible. */
  pause() {
    if (this.state === "signed-out" || this.state === "paused") return;
    this.close();
    this.pausedAt = Date.now();
    this.report("paused");
  }

  connect() {
    this.report("connecting");
    const cursor = this.lastId;
    this.countedFrom = Date.now();
    this.counted = 0;
    const source = new EventSource(`${this.url}?delay_s=${this.delay}${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`);
    this.source = source;
    let opened = false;
    source.onopen = () => {
      this.retryMs = FIRST_RETRY_MS;
      // EventSource itself reconnects behind the last event. A new one without a cursor has missed some.
      if (!opened && !cursor) this.send({ kind: "gap" });
      opened = true;
      this.report("open");
    };
    source.onerror = () => {
      if (source.readyState === EventSource.CLOSED) this.retry();
      else this.report("waiting"); // it reconnects by itself
    };
    const onEvent = (event) => {
      this.lastId = event.lastEventId;
      this.queue(event.data);
    };
    for (const type of EVENT_TYPES) source.addEventListener(type, onEvent);
  }

  /** The service refused the stream: find out why, and try again later unless the session has ended. */
  async retry() {
    this.close();
    this.report("waiting");
    const pause = this.retryMs * (0.75 + Math.random() / 2);
    this.retryMs = Math.min(this.retryMs * 2, LAST_RETRY_MS);
    this.timer = setTimeout(() => {
      this.timer = 0;
      this.connect();
    }, pause);
    const status = await this.probe();
    if (status === 401 || status === 403) {
      this.close();
      this.report("signed-out");
    } else if (status === 422) {
      this.lastId = null; // a cursor of another database
    }
  }

  async probe() {
    try {
      const query = this.lastId ? `?limit=1&cursor=${encodeURIComponent(this.lastId)}` : "?limit=1";
      const response = await fetch(this.url + query, { credentials: "same-origin", method: "HEAD" });
      return response.status;
    } catch {
      return 0;
    }
  }

  close() {
    clearTimeout(this.timer);
    this.timer = 0;
    this.source?.close();
    this.source = null;
    this.flush();
  }

  queue(text) {
    this.queued.push(text);
    this.batchTimer ||= setTimeout(() => this.flush(), BATCH_MS);
  }

  flush() {
    clearTimeout(this.batchTimer);
    this.batchTimer = 0;
    if (!this.queued.length) return;
    const texts = this.queued;
    this.queued = [];
    this.send({ kind: "events", texts });
    this.counted += texts.length;
    this.adapt(Date.now());
  }

  /** Chooses the delay by the events of the last seconds. A change needs another connection, behind the last event. */
  adapt(now) {
    const ms = now - this.countedFrom;
    if (ms < MEASURED_MS || !this.source) return;
    const rate = (1000 * this.counted) / ms;
    this.countedFrom = now;
    this.counted = 0;
    // Between half of the rate and the rate, the delay stays as it is.
    const delay = rate >= BUSY_PER_S ? BUSY_DELAY_S : rate < BUSY_PER_S / 2 ? DELAY_S : this.delay;
    if (delay === this.delay) return;
    this.delay = delay;
    this.source.close();
    this.connect();
  }

  report(state) {
    if (state === this.state) return;
    this.state = state;
    this.send({ kind: "state", state });
  }
}
