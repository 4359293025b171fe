// The pause between two reads of the list of runs. The more events arrive, the longer it is, because each read costs the service
// more than the events do, and nobody can read rows that change several times a second.

const MEASURED_MS = 10_000;
const PER_EVENT_MS = 50; // of pause for each event a second
const SHORTEST_MS = 1_000;
const LONGEST_MS = 30_000;

export class EventRate {
  constructor() {
    this.batches = []; // [time, number of events] of the last seconds
  }

  add(count, now = performance.now()) {
    this.forget(now);
    this.batches.push([now, count]);
  }

  /** The pause between two reads at the present rate. */
  pauseMs(now = performance.now()) {
    this.forget(now);
    const count = this.batches.reduce((sum, [, each]) => sum + each, 0);
    const perSecond = count / (MEASURED_MS / 1000);
    return Math.min(LONGEST_MS, Math.max(SHORTEST_MS, PER_EVENT_MS * perSecond));
  }

  forget(now) {
    while (this.batches.length && this.batches[0][0] <= now - MEASURED_MS) this.batches.shift();
  }
}
