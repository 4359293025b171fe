// A card of the inbox: what tells a decision apart, small pictures, the buttons, and all the rest once it is opened.
import { choiceButtons, choiceText, isPicture } from "../../lib/decision_form.js";
import { classMap, html, nothing } from "../../lib/dom.js";
import { ago, dateTime } from "../../lib/format.js";
import { fileUrl, kindOf } from "../../lib/outputs.js";
import { hasScope } from "../../lib/scopes.js";
import { UNDO_S } from "./sender.js";

const [MOST_THUMBS, MOST_BRIEF] = [3, 300]; // pictures and characters of a card that isn't opened

/** The names that tell a decision apart, from the run at the top down to the step: of workflows, and the values of items. */
export function namesOf({ ancestors, workflow_name: name, step_id: stepId }) {
  return [...ancestors.flatMap((each) => [each.workflow_name, itemText(each)]), name, stepId];
}

function namesView(decision) {
  return namesOf(decision).map((name, at) => html`${at ? html`<span class="dim" aria-hidden="true"> › </span>` : nothing}${
    at % 2 && at < 2 * decision.ancestors.length ? html`<strong>${name}</strong>` : html`<span>${name}</span>`}`);
}

function itemText({ step_id: stepId, item, value }) {
  if (value === null) return item === null ? stepId : `${stepId} ${item}`;
  try {
    const simple = Object.values(JSON.parse(value)).filter((each) => typeof each !== "object");
    return simple.map((each) => choiceText(String(each))).join(", ") || value;
  } catch {
    return choiceText(value); // a text, or JSON that is cut
  }
}

/** The other inputs as [name, text]. Files that are shown aren't among them. */
function textsOf(decision) {
  const paths = new Set(decision.files.map((file) => file.path));
  const isShown = (value) => paths.has(value) || (Array.isArray(value) && value.length && value.every((each) => paths.has(each)));
  return Object.entries(decision.inputs).filter(([, value]) => value !== null && !isShown(value))
    .map(([name, value]) => [name, typeof value === "string" ? value : JSON.stringify(value)]);
}

export const labelsOf = ({ labels }) => Object.entries(labels).map(([key, value]) => `${key}:${value}`);

/** What a search looks at, in small letters. */
export function textOf(decision) {
  return [decision.message, ...namesOf(decision), ...textsOf(decision).flat(), ...labelsOf(decision)].join("\n").toLowerCase();
}

/** The signed URL of a file, which a token that may only decide can read, too. *width*: of an image's preview. */
function urlOf({ url, path }, width) {
  const { pathname, search } = new URL(url);
  return pathname + search + (width && !path.toLowerCase().endsWith(".svg") ? `&w=${width}` : "");
}

function fileView(file) {
  const [url, kind] = [urlOf(file), kindOf(file.path)];
  const caption = html`<figcaption class="dim">${file.input}</figcaption>`;
  if (kind === "image") {
    return html`<figure><a href=${url} target="_blank" rel="noopener"><img src=${urlOf(file, 1024)} alt=${file.input} decoding="async"></a>${caption}</figure>`;
  }
  if (kind === "video") {
    return html`<figure><video src=${url} aria-label=${file.input} controls preload="metadata" playsinline></video>${caption}</figure>`;
  }
  return html`<figure><a href=${url} target="_blank" rel="noopener">${choiceText(file.path)}</a>${caption}</figure>`;
}

function thumb(file) {
  const kind = kindOf(file.path);
  if (kind === "image") return html`<img src=${urlOf(file, 256)} alt=${file.input} loading="lazy" decoding="async">`;
  if (kind === "video") return html`<video src=${`${urlOf(file)}#t=0.1`} aria-label=${file.input} muted playsinline preload="metadata"></video>`;
  return html`<span class="chip">${choiceText(file.path)}</span>`;
}

/** The card of *entry* (see sender.js). *actions* has functions of the entry: choose, undo, retry, select, open. */
export function card(entry, actions) {
  const { decision, state } = entry;
  const label = namesOf(decision).join(", ");
  const urls = new Map(decision.files.map((file) => [file.path, urlOf(file, 256)]));
  const files = decision.files.filter(({ path }) => !(isPicture(path) && decision.choices.includes(path)));
  const texts = textsOf(decision);
  return html`<article class=${classMap({ card: true, decision: true, "decision-done": state !== "open" })} tabindex="-1" aria-label=${label}
    data-key=${entry.key} data-state=${state}>
    <input type="checkbox" aria-label=${`Select ${label}`} .checked=${entry.isSelected} ?disabled=${state !== "open"}
      @change=${(event) => actions.select(entry, event.target.checked)}>
    ${files.length ? html`<button type="button" class="decision-thumbs" aria-expanded=${entry.isOpen} aria-label=${`Details of ${label}`}
      @click=${() => actions.open(entry)}>${files.slice(0, MOST_THUMBS).map(thumb)}${
      files.length > MOST_THUMBS ? html`<span class="chip">+ ${files.length - MOST_THUMBS}</span>` : nothing}</button>` : nothing}
    <div class="decision-about">
      <h2 class="decision-message">${decision.message ?? "Please decide."}</h2>
      <p>${namesView(decision)}</p>
      ${texts.length && !entry.isOpen ? html`<p class="decision-brief dim">${texts.map((each) => each.join(": ")).join(" · ").slice(0, MOST_BRIEF)}</p>` : nothing}
      <p class="decision-meta dim"><span>Asked <time datetime=${decision.since} title=${dateTime(decision.since)}>${ago(decision.since)}</time>${
        decision.until ? html`. Decide by <time datetime=${decision.until}>${dateTime(decision.until)}</time>` : nothing}.</span>
        ${hasScope("workflows:read") ? html`<a href=${`/ui/workflows/${decision.workflow_id}?step=${encodeURIComponent(decision.step_id)}`}
          aria-label=${`Run of ${label}`}>Run</a>` : nothing}
        <button type="button" class="link-button" aria-expanded=${entry.isOpen} aria-label=${`Details and note of ${label}`}
          @click=${() => actions.open(entry)}>${entry.note.trim() ? "Details and note (written)" : "Details and note"}</button></p>
    </div>
    <div class="decision-actions">
      ${choiceButtons(decision.choices, {
        hasKeys: true, onChoose: (choice, event) => actions.choose(entry, choice, event), pictureUrl: (path) => urls.get(path) ?? fileUrl(path, { width: 256 }),
      })}
      ${state === "open" ? nothing : html`<div class="decision-state">${stateView(entry, label, () => actions.undo(entry), () => actions.retry(entry))}</div>`}
    </div>
    ${entry.isOpen ? html`<div class="decision-details stack">
      ${files.length ? html`<div class="decision-files">${files.map(fileView)}</div>` : nothing}
      ${texts.length ? html`<dl class="decision-texts">${texts.map(([name, text]) => html`<dt>${name}</dt><dd>${text}</dd>`)}</dl>` : nothing}
      <label class="field"><span>Note (optional)</span><textarea rows="2" maxlength="2000" .value=${entry.note} ?readonly=${state !== "open"}
        @input=${(event) => { entry.note = event.target.value; }}></textarea></label></div>` : nothing}
  </article>`;
}

const STATES = { pending: `, sent in ${UNDO_S} s`, sending: " is being sent…", decided: " is recorded." };

/** What covers the buttons of a decision that isn't open any more. So the card keeps its height. */
function stateView({ state, choice: value, error, why }, label, onUndo, onRetry) {
  if (state === "gone") return html`<p class="dim">${why}</p>`;
  const choice = choiceText(value);
  const undo = html`<button type="button" class="button" aria-label=${`Undo ${choice} for ${label}`} @click=${onUndo}>Undo</button>`;
  if (state in STATES) {
    return html`<p><strong>${choice}</strong><span class="dim">${STATES[state]}</span></p>
      ${state === "pending" ? html`${undo}<span class="decision-time" aria-hidden="true"></span>` : nothing}`;
  }
  if (state === "late") return html`<p role="alert"><strong>${choice} came too late.</strong> ${error.detail}</p>`;
  return html`<p role="alert"><strong>${choice} isn't recorded.</strong> ${error.detail || error.title}</p>
    <button type="button" class="button" aria-label=${`Try again for ${label}`} @click=${onRetry}>Try again</button>${undo}`;
}
