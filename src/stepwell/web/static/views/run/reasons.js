// Reasons of `explain` as templates: the sentence, the place in the queue, and a countdown to the next attempt.
import { html, nothing } from "../../lib/dom.js";
import { duration, number } from "../../lib/format.js";

const LONGEST_COUNTDOWN_MS = 24 * 3_600_000;

/** A reason. *now* is the time by the service's clock, in milliseconds. */
export function reasonView(reason, now) {
  const left = countdown(reason, now);
  return html`<p class="break">${reason.detail}</p>
    ${reason.position || left !== null ? html`<p class="row reason-facts">
      ${reason.position ? html`<span class="chip">Place ${number(reason.position)} in the queue</span>` : nothing}
      ${left === null ? nothing : html`<span class="chip" role="timer">${left}</span>`}</p>` : nothing}`;
}

/** "Next attempt in 12 s", or null if the reason has no time at which it ends. */
function countdown(reason, now) {
  const text = reason.code === "retry" ? reason.at
    : ["rate_limited", "breaker_open", "following_up"].includes(reason.code) ? reason.until : null;
  if (!text) return null;
  const left = Date.parse(text) - now;
  if (left > LONGEST_COUNTDOWN_MS) return null;
  const what = { retry: "Next attempt", rate_limited: "Can start", breaker_open: "Tested again", following_up: "Given up" }[reason.code];
  return left > 0 ? `${what} in ${duration(Math.ceil(left / 1000) * 1000)}` : `${what} now`;
}

/** Reasons of steps by their code, those that others only wait for last: [{reason, steps}]. */
export function groupedReasons(steps) {
  const groups = new Map();
  for (const { step_id: id, reason } of steps) {
    const known = groups.get(reason.code);
    if (known) known.steps.push(id);
    else groups.set(reason.code, { reason, steps: [id] });
  }
  const all = [...groups.values()];
  const causes = all.filter(({ reason }) => reason.code !== "waits_for_steps");
  return causes.length ? causes : all;
}
