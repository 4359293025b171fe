// The forms with which a viewer ends a step, or an item of it, by hand: with a result of their own, or by skipping it.
import { request, send } from "./api.js";
import { announce, errorNotice, html, icon, nothing } from "./dom.js";
import { isObject, tryParseJson } from "./json.js";
import { fileUrl, kindOf } from "./outputs.js";
import { hasScope } from "./scopes.js";
import { upload } from "./upload.js";
import { whileBusy } from "./while_busy.js";

const TAKE_NO_RESULT = new Set(["APPROVAL", "SIGNAL", "DELAY", "SUBWORKFLOW"]);
const STAY = new Set(["COMPLETED", "RUNNING"]);
const NOT_JSON = { title: "The result isn't a JSON object", detail: 'Write it like {"result_text": "a text"}.' };

/** True if the viewer may end *step* of *run*, or its *item*, by hand now. */
export function canEndByHand(run, step, item = null) {
  if (!hasScope("workflows:write") || run.is_deleted || !["FAILED", "PAUSED"].includes(run.status)) return false;
  return item ? !STAY.has(item.status) && !["COMPLETED", "SKIPPED"].includes(step.status) : !STAY.has(step.status);
}

/** The buttons and the form for *step* of *run*, or its *item*. *state* is an object that the caller keeps for the form. *redraw* shows
 *  it again. *onDone* is called after the step or the item was ended. */
export function byHandForm({ run, step, item = null }, state, { redraw, onDone }) {
  const name = item ? `item ${item.item} of ${step.step_id}` : step.step_id;
  const path = `/workflows/${run.id}/steps/${encodeURIComponent(step.step_id)}${item ? `/items/${item.item}` : ""}`;
  const during = (work) => whileBusy(state, redraw, work);
  const end = (verb, body) => during(async () => {
    await send("POST", `${path}/${verb}`, { body });
    announce(`${name} is ${verb === "skip" ? "skipped" : "completed"}.`);
    Object.assign(state, { mode: null, text: "", file: null });
    onDone();
  });
  const addFile = (file) => during(async () => {
    const stored = await upload(file, { tenant: run.origin_tenant_id ?? undefined });
    state.file = stored.path;
    state.text = JSON.stringify({ [`result_${kindOf(stored.path) || "image"}_path`]: stored.path }, null, 2);
  });
  const give = (event) => {
    event.preventDefault();
    const result = tryParseJson(state.text);
    if (isObject(result)) end("result", { result });
    else during(() => Promise.reject(NOT_JSON));
  };
  const askToSkip = () => during(async () => {
    state.dry = (await request(`${path}/skip`, { method: "POST", query: { dry_run: true } })).data;
    state.mode = "skip";
  });
  const form = { give: () => resultForm(state, { name, give, addFile, redraw }), skip: () => skipForm(state, { name, skip: () => end("skip") }) };
  return html`<section class="stack" aria-label=${`By hand: ${name}`}>
    ${state.error ? errorNotice(state.error) : nothing}
    ${form[state.mode]?.() ?? nothing}
    <div class="row">
      ${TAKE_NO_RESULT.has(step.task_type) || state.mode === "give" ? nothing : html`<button type="button" class="button"
        @click=${() => { state.mode = "give"; redraw(); }}>Give a result…</button>`}
      ${state.mode === "skip" ? nothing : html`<button type="button" class="button" @click=${askToSkip}>Skip…</button>`}
      ${state.mode ? html`<button type="button" class="button" @click=${() => { state.mode = null; redraw(); }}>Don't</button>` : nothing}</div>
  </section>`;
}

function resultForm(state, { name, give, addFile, redraw }) {
  const kind = state.file ? kindOf(state.file) : null;
  return html`<form class="stack" aria-label=${`Result of ${name}`} @submit=${give}>
    <label class="button upload-button">${icon("upload")}Upload a picture or a video<input type="file" class="visually-hidden"
      accept="image/*,video/*" @change=${({ target }) => target.files[0] && addFile(target.files[0])}></label>
    ${kind === "image" ? html`<div class="drawer-outputs"><img src=${fileUrl(state.file, { width: 512 })} alt="Preview of the result"></div>` : nothing}
    ${kind === "video" ? html`<div class="drawer-outputs"><video src=${fileUrl(state.file)} aria-label="Preview of the result" controls></video></div>` : nothing}
    <label class="field"><span>Result (JSON)</span><textarea name="result" rows="4" maxlength="65536" class="mono" spellcheck="false"
      .value=${state.text ?? ""} @input=${({ target }) => { state.text = target.value; redraw(); }}></textarea></label>
    <button class="button button-primary" aria-disabled=${Boolean(state.busy) || !state.text}>Give this result</button></form>`;
}

function skipForm({ dry, busy }, { name, skip }) {
  const others = dry.skipped.slice(0, 20).join(", ");
  return html`<p>${name} is skipped for good: it counts as done, and resume leaves it.${others
    ? html` Skipped are: <span class="break">${others}</span>.` : nothing}</p>
    <button type="button" class="button button-danger" aria-disabled=${Boolean(busy)} @click=${skip}>Skip ${name}</button>`;
}
