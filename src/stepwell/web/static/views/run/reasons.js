// Reasons of `explain` as templates: the sentence, the place in the queue, and a countdown to the next attempt.
import { html, nothing } from "../../lib/dom.js";
import { duration, number, withLocalTimes } from "../../lib/format.js";

const LONGEST_COUNTDOWN_MS = 24 * 3_600_000;

/** A reason. *now* is the time by the service's clock, in milliseconds. */
export function reasonView(reason, now) {
  const left = countdown(reason, now);
  return html`<p class="break">${withLocalTimes(reason.detail)}</p>
    ${reason.position || left !== null ? html`<p class="row reason-facts">
      ${reason.position ? html`<span class="chip">Place ${number(reason.position)} in the queue</span>` : nothing}
      ${left === null ? nothing : html`<span class="chip" role="timer">${left}</span>`}</p>` : nothing}`;
}

/** "Next attempt in 12 s", or null if the reason has no time at which it ends. */
function countdown(reason, now) {
  const text = reason.code === "retry" ? reason.at
    : ["rate_limited", "breaker_open", "following_up", "delayed"].includes(reason.code) ? reason.until : null;
  if (!text) return null;
  const left = Date.parse(text) - now;
  if (left > LONGEST_COUNTDOWN_MS) return null;
  const what = {
    retry: "Next attempt", rate_limited: "Can start", breaker_open: "Tested again", following_up: "Given up", delayed: "Goes on",
  }[reason.code];
  return left > 0 ? `${what} in ${duration(Math.ceil(left / 1000) * 1000)}` : `${what} now`;
}

/** The reason of a group of steps. Their places and times differ, so several steps have neither, and a sentence that isn't
 *  that of all of them begins with its step. */
export function groupView({ reason, steps, alike }, now) {
  if (steps.length === 1) return reasonView(reason, now);
  return html`<p class="break">${alike ? nothing : html`<span class="dim">${steps[0]}:</span> `}${withLocalTimes(reason.detail)}</p>`;
}

/** Reasons of steps, grouped by what they wait for; without those that only wait for other steps, unless all do: [{reason, steps, alike}].
 *  *alike*: all have the same sentence. */
export function groupedReasons(steps) {
  const groups = new Map();
  for (const { step_id: id, reason } of steps) {
    const key = JSON.stringify([reason.code, reason.provider, reason.model, reason.limit]);
    const group = groups.get(key);
    if (!group) {
      groups.set(key, { reason, steps: [id], alike: true });
      continue;
    }
    group.steps.push(id);
    group.alike &&= group.reason.detail === reason.detail;
  }
  const all = [...groups.values()];
  const causes = all.filter(({ reason }) => reason.code !== "waits_for_steps");
  return causes.length ? causes : all;
}
