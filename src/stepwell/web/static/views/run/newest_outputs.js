// The newest outputs of a run, above its tabs: images, videos, sounds and texts, the newest first.
import { html, keyed, nothing, repeat } from "../../lib/dom.js";
import { fileUrl, filesOf, hideBroken, kindOf, shownFile, thumbnail } from "../../lib/outputs.js";

const MOST = 12;
const CHARS = 160;

/** The steps that ended last and may have outputs, the newest first: those whose results a large run needs. */
export function newestSteps(run) {
  const ended = run.steps.filter((step) => step.status === "COMPLETED" && step.task_type !== "PASSTHROUGH");
  return ended.sort(newestFirst).slice(0, MOST);
}

function newestFirst(one, other) {
  return one.completed_at < other.completed_at ? 1 : -1;
}

/** The strip, or nothing if there are no outputs. *open* is called with the id of the step whose output is selected. */
export function newestOutputs(run, open) {
  const shown = [];
  const ended = run.steps.filter((step) => step.result && step.task_type !== "PASSTHROUGH");
  ended.sort(newestFirst);
  for (const step of ended) {
    if (shown.length === MOST) break;
    if (filesOf(step.result).length || typeof step.result.result_text === "string") shown.push(step);
  }
  if (!shown.length) return nothing;
  return html`<section class="run-outputs" aria-label="Newest outputs"><ul>${repeat(shown, (step) => step.step_id, (step) => html`<li>
    <button type="button" class="run-output" title=${step.step_id} @click=${() => open(step.step_id)}>
      ${picture(step)}<span class="run-output-name truncate">${step.step_id}</span></button></li>`)}</ul></section>`;
}

function picture(step) {
  const path = shownFile(step.result);
  const alt = `Output of ${step.step_id}`;
  if (path && kindOf(path) === "image") {
    return keyed(path, html`<span class="run-output-picture"><img src=${fileUrl(path, { width: 256 })} alt=${alt} decoding="async"
      @error=${hideBroken}></span>`);
  }
  if (!path && typeof step.result.result_text === "string") {
    return html`<span class="run-output-picture run-output-text">${step.result.result_text.slice(0, CHARS)}</span>`;
  }
  return html`<span class="run-output-picture">${thumbnail(step.result, alt)}</span>`;
}
