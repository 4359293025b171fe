// The rows of the list while runs change: what is shown, what waits to be shown, and what doesn't belong there any more.
//
// What must hold:
// - While the list is held, because the user points at it, no row moves: new ones wait, and old ones stay.
// - A row that stays without belonging there is marked as stale.

export class LiveList {
  constructor() {
    this.runs = [];
    this.waiting = null; // the page as it is now, while the list is held and the page has other rows
    this.stale = new Set();
  }

  /** Shows another page. */
  replace(runs) {
    this.runs = runs;
    this.waiting = null;
    this.stale = new Set();
  }

  /** The number of rows that wait to be shown. */
  get newCount() {
    if (!this.waiting) return 0;
    const shown = new Set(this.runs.map((run) => run.id));
    return this.waiting.filter((run) => !shown.has(run.id)).length;
  }

  /** Takes the page as it is now. Returns the ids of rows that stay although the page has them no more. */
  update(fresh, held) {
    if (!held) {
      this.replace(fresh);
      return [];
    }
    const byId = new Map(fresh.map((run) => [run.id, run]));
    this.runs = this.runs.map((run) => byId.get(run.id) ?? run);
    const shown = new Set(this.runs.map((run) => run.id));
    const missing = this.runs.filter((run) => !byId.has(run.id)).map((run) => run.id);
    this.stale = new Set(missing);
    this.waiting = missing.length || fresh.some((run) => !shown.has(run.id)) ? fresh : null;
    return missing;
  }

  /** Replaces one row, which isn't on the page any more, by its present state. */
  updateRow(run) {
    this.runs = this.runs.map((each) => (each.id === run.id ? run : each));
  }

  /** Shows what waited. Returns whether something did. */
  release() {
    if (!this.waiting) return false;
    this.replace(this.waiting);
    return true;
  }
}
