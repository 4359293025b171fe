// Reasons of `explain` as templates: the steps, the sentence, the position in the queue, and a countdown to the next attempt.
import { canDecide } from "../../lib/decision_form.js";
import { html, nothing } from "../../lib/dom.js";
import { duration, number, plural, shortId, splitAtRuns, withLocalTimes } from "../../lib/format.js";
import { canSignal } from "../../lib/signal_form.js";

const LONGEST_COUNTDOWN_MS = 24 * 3_600_000;
const MOST_REASONS = 4;
const MOST_STEPS = 5;
const AT_PROVIDERS = new Set(["waits_for_slot", "rate_limited", "breaker_open", "provider_away"]); // the page of the providers says more

/** The steps that hold up the run *id*: *steps* of its explanation, and instead of a step that runs sub-workflows the steps that hold up
 *  these. Each is {workflow_id, step_id, path, reason}. *path* has the names of the steps and items down to it. */
export function causesOf(id, steps) {
  return steps.flatMap(({ step_id: step, reason, below }) => (below.length ? below.map((each) => ({
    ...each, path: [...each.above.map(({ step_id: name, item }) => (item === null ? name : `${name} / item ${item}`)), each.step_id],
  })) : [{ workflow_id: id, step_id: step, path: [step], reason }]));
}

/** What the viewer may do to end the wait *cause*, as the text of a button; null if nothing. */
export function remedyOf({ reason }) {
  if (reason.code === "waits_for_decision") return canDecide() ? "Decide…" : null;
  return reason.code === "waits_for_signal" && canSignal() ? "Send the signal…" : null;
}

/** The causes, grouped by their reasons. *open* is called with a cause whose step is to be opened. *id* is that of the run that is shown. */
export function causesView(causes, now, { id, open }) {
  const name = (cause) => {
    const [text, remedy] = [cause.path.join(" / "), remedyOf(cause)];
    const query = new URLSearchParams({ step: cause.step_id });
    return html`<span class="row">${cause.workflow_id === id
      ? html`<button type="button" class="button-plain standstill-step break" @click=${() => open(cause)}>${text}</button>`
      : html`<a class="standstill-step break" href=${`/ui/workflows/${cause.workflow_id}?${query}`}>${text}</a>`}${remedy
      ? html`<button type="button" class="button" aria-label=${`${remedy} ${text}`} @click=${() => open(cause)}>${remedy}</button>` : nothing}</span>`;
  };
  return html`<ul class="standstill-reasons">${groupedReasons(causes).slice(0, MOST_REASONS).map((group) => html`<li>
    <div class="row">${group.causes.slice(0, MOST_STEPS).map(name)}${group.causes.length > MOST_STEPS
      ? html`<span class="dim">and ${plural(group.causes.length - MOST_STEPS, "more step")}</span>` : nothing}</div>
    ${groupView(group, now)}</li>`)}</ul>`;
}

/** A sentence of the service, with times of the user's clock, in which the ids of sub-workflows are links. */
export function sentenceView(text) {
  return splitAtRuns(withLocalTimes(text)).map((part, i) => (i % 2 ? html`<a class="mono" href=${`/ui/workflows/${part}`} title=${part}>${
    shortId(part)}</a>` : part));
}

/** A reason. *now* is the time by the service's clock, in milliseconds. */
export function reasonView(reason, now) {
  const rest = countdown(reason, now);
  return html`<p class="break">${sentenceView(reason.detail)}${providersLink(reason)}</p>
    ${reason.position || rest !== null ? html`<p class="row reason-facts">
      ${reason.position ? html`<span class="chip">Position ${number(reason.position)} in the queue</span>` : nothing}
      ${rest === null ? nothing : html`<span class="chip" role="timer">${rest}</span>`}</p>` : nothing}`;
}

function providersLink({ code }) {
  return AT_PROVIDERS.has(code) ? html` <a href="/ui/providers">Providers</a>` : nothing;
}

/** "Next attempt in 12 s", or null if the reason has no time at which it ends. */
function countdown(reason, now) {
  const text = ["retry", "provider_away", "waits_for_budget"].includes(reason.code) ? reason.at
    : ["rate_limited", "breaker_open", "following_up", "delayed"].includes(reason.code) ? reason.until : null;
  if (!text) return null;
  const rest = Date.parse(text) - now;
  if (rest > LONGEST_COUNTDOWN_MS) return null;
  const what = {
    retry: "Next attempt", waits_for_budget: "Next attempt", provider_away: "Next try", rate_limited: "Can start", breaker_open: "Tested again", following_up: "Given up",
    delayed: "Goes on",
  }[reason.code];
  return rest > 0 ? `${what} in ${duration(Math.ceil(rest / 1000) * 1000)}` : `${what} now`;
}

/** The reason of a group of steps. Their positions and times differ, so several steps have neither, and a sentence that isn't
 *  that of all of them begins with its step. */
function groupView({ reason, causes, alike }, now) {
  if (causes.length === 1) return reasonView(reason, now);
  return html`<p class="break">${alike ? nothing : html`<span class="dim">${causes[0].path.join(" / ")}:</span> `}${
    sentenceView(reason.detail)}${providersLink(reason)}</p>`;
}

/** Causes, grouped by what they wait for; without those that only wait for other steps, unless all do: [{reason, causes, alike}].
 *  *alike*: all have the same sentence. */
export function groupedReasons(causes) {
  const groups = new Map();
  for (const cause of causes) {
    const { reason } = cause;
    const key = JSON.stringify([reason.code, reason.provider, reason.model, reason.limit]);
    const group = groups.get(key);
    if (!group) {
      groups.set(key, { reason, causes: [cause], alike: true });
      continue;
    }
    group.causes.push(cause);
    group.alike &&= group.reason.detail === reason.detail;
  }
  const all = [...groups.values()];
  const others = all.filter(({ reason }) => reason.code !== "waits_for_steps");
  return others.length ? others : all;
}
