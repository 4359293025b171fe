// Reads a run, and reads it again after its events.
//
// A run is read in two requests: first what the header shows, then the run with its steps. A run of more than
// RESULTS_UP_TO steps is read without their results. Those of its newest steps, and of a step in the drawer, are read one
// by one. Between an event and the next request pass at least SOON_MS, and
// between two requests five times as long as the last one took, so that a large run doesn't keep the browser busy.
import { isAbort, request } from "../../lib/api.js";
import { noteServiceTime, serviceNow } from "../../lib/clock.js";
import { isTerminal } from "../../lib/status.js";
import { followRun } from "./live.js";
import { newestSteps } from "./newest_outputs.js";
import { SingleResults } from "./single_results.js";

const RESULTS_UP_TO = 2_000;
const SOON_MS = 250;
const RETRY_MS = 5_000;

export class RunReader {
  /** @param id of the run  @param onRead is called after each read, also a failed one */
  constructor(id, onRead) {
    this.id = id;
    this.path = `/workflows/${encodeURIComponent(id)}`;
    this.onRead = onRead;
    this.run = null;
    this.hasResults = true;
    this.singleResults = new SingleResults(this.path, () => this.onResults());
    this.error = null;
    this.isMissing = false; // the service knows no such run
    this.wasDeleted = false; // and it was there when the page was opened
    this.movedAt = 0; // when something last happened, by the service's clock
    this.timer = 0;
    this.readyAt = 0;
    this.reading = null;
    this.again = false;
    this.callbacks = new Set();
  }

  async start() {
    this.unfollow = followRun(this.id, { onEvents: (events) => this.receive(events), onGap: () => this.readSoon() });
    document.addEventListener("visibilitychange", this.onVisible);
    await this.read();
  }

  onVisible = () => document.hidden || this.readSoon();

  /** Ends all reads. */
  stop() {
    this.isMissing = true;
    this.onRead = () => {};
    this.unfollow();
    document.removeEventListener("visibilitychange", this.onVisible);
  }

  /** Calls *callback* with lists of new events. Returns a function that ends this. */
  onEvents(callback) {
    this.callbacks.add(callback);
    return () => this.callbacks.delete(callback);
  }

  receive(events) {
    this.movedAt = serviceNow();
    for (const each of this.callbacks) each(events);
    this.readSoon();
  }

  /** Reads the run again, soon. */
  readSoon() {
    if (this.timer || this.isMissing) return;
    this.timer = setTimeout(() => {
      this.timer = 0;
      if (!document.hidden && !this.isMissing) this.read();
    }, Math.max(SOON_MS, this.readyAt - performance.now()));
  }

  /** Reads the run now; if a read is under way, once more after it. */
  read() {
    if (this.reading) {
      this.again = true;
      return this.reading;
    }
    this.reading = this.readOnce().finally(() => {
      this.reading = null;
      if (!this.again) return;
      this.again = false;
      this.readSoon();
    });
    return this.reading;
  }

  async readOnce() {
    const began = performance.now();
    try {
      if (!this.run) await this.readHead();
      const query = this.hasResults ? {} : { include_results: false };
      const { data, headers } = await request(this.path, { query });
      if (!this.hasResults) this.singleResults.applyTo(data.steps);
      this.run = data;
      noteServiceTime(headers);
      this.noteMove(data);
      this.error = null;
    } catch (error) {
      if (isAbort(error)) return;
      this.onError(error);
    }
    const now = performance.now();
    this.readyAt = now + 5 * (now - began);
    this.onRead();
    if (!this.hasResults && this.run?.steps) this.singleResults.read(newestSteps(this.run));
  }

  onResults() {
    if (!this.run?.steps) return;
    this.singleResults.applyTo(this.run.steps);
    this.onRead();
  }

  async readHead() {
    const { data, headers } = await request(this.path, { query: { include_steps: false } });
    noteServiceTime(headers);
    this.hasResults = data.total_steps <= RESULTS_UP_TO;
    this.noteMove(data);
    this.run = { ...data, steps: null };
    this.onRead();
  }

  /** A change may also be known by the run alone, while its events don't arrive. */
  noteMove(run) {
    this.movedAt = Math.max(this.movedAt, Date.parse(run.updated_at));
  }

  onError(error) {
    this.error = error;
    if (error.status === 404) {
      this.isMissing = true;
      this.wasDeleted ||= this.run !== null;
      this.run = null;
    } else if (error.status === 0 || error.status >= 500) {
      this.readyAt = performance.now() + RETRY_MS;
      setTimeout(() => this.readSoon(), RETRY_MS);
    }
  }

  /** Notes that the run's data were deleted. */
  setDeleted() {
    this.onError({ status: 404 });
    this.onRead();
  }

  /** True if the run may still change by itself. */
  get isLive() {
    return Boolean(this.run) && !isTerminal(this.run.status);
  }
}
