// Sends decisions some seconds after they are made, so that they can be undone until then. A decision that is made is sent once, also
// if the page is left or hidden before. At most AT_ONCE requests are under way while it is shown: a browser
// refuses some of very many requests that outlive a page.
import { sendDecision } from "../../lib/decision_form.js";

export const UNDO_S = 5;
const AT_ONCE = 50;

/** An entry is an object with `decision`, `note` and `state`: "open", "pending", "sending", "decided", "late" (another decision came
 *  first) or "failed". The last two have an `error`. *onChange(...entries)* is called when the state changes by itself. */
export class DecisionSender {
  constructor(onChange) {
    Object.assign(this, { onChange, groups: [], queue: [], underWay: 0 });
    addEventListener("pagehide", () => this.sendAll());
    document.addEventListener("visibilitychange", () => document.hidden && this.sendAll());
  }

  /** Decides *choice* for *entries*, which are sent together. */
  choose(entries, choice) {
    for (const entry of entries) Object.assign(entry, { state: "pending", choice });
    this.groups.push({ entries, timer: setTimeout(() => this.sendFirst(), UNDO_S * 1000) });
  }

  /** Takes back the decisions for *entries* that aren't sent yet. */
  undo(entries) {
    for (const entry of entries) if (entry.state !== "sending") entry.state = "open";
    for (const group of this.groups) group.entries = group.entries.filter((entry) => entry.state === "pending");
  }

  /** The entries that the latest choice was made for, and that can be undone. */
  get latest() {
    return this.groups.findLast((group) => group.entries.length)?.entries ?? [];
  }

  sendFirst() {
    const { entries, timer } = this.groups.shift();
    clearTimeout(timer);
    this.send(entries);
  }

  sendAll() {
    while (this.groups.length) this.sendFirst();
    for (const entry of this.queue.splice(0)) this.sendOne(entry);
  }

  /** Sends the decisions for *entries*. Those beyond AT_ONCE wait for the others. */
  send(entries) {
    for (const entry of entries) entry.state = "sending";
    this.onChange(...entries);
    this.queue.push(...entries);
    while (this.queue.length && this.underWay < AT_ONCE) this.sendNext();
  }

  async sendNext() {
    this.underWay += 1;
    await this.sendOne(this.queue.shift());
    this.underWay -= 1;
    if (this.queue.length) this.sendNext();
  }

  async sendOne(entry) {
    try {
      await sendDecision(entry.decision, entry.choice, entry.note.trim());
      entry.state = "decided";
    } catch (error) {
      Object.assign(entry, { state: error.status === 409 ? "late" : "failed", error });
    }
    this.onChange(entry);
  }
}
