// The choices of a decision as buttons, and the form with which a viewer decides at once: a note and the buttons.
import { send } from "./api.js";
import { announce, errorNotice, html, nothing } from "./dom.js";
import { fileUrl, isArtifactPath, kindOf } from "./outputs.js";
import { hasScope } from "./scopes.js";
import { whileBusy } from "./while_busy.js";

/** True if the viewer's token may decide. */
export function canDecide() {
  return hasScope("workflows:approve");
}

/** True if *choice* is the path of a picture: its button shows it. */
export function isPicture(choice) {
  return isArtifactPath(choice) && kindOf(choice) === "image";
}

/** The text of a choice, or of another value: the name of the file if it is a path. */
export function choiceText(choice) {
  return isArtifactPath(choice) ? choice.split("/").pop() : choice;
}

/** The choice that the key of a *digit* means: the one with this name, else the one with this number. */
export function choiceOfKey(choices, digit) {
  return choices.includes(digit) ? digit : choices[Number(digit) - 1];
}

/** Sends the decision for a step. It arrives even if the page is left meanwhile. */
export function sendDecision({ workflow_id: workflowId, step_id: stepId }, choice, note) {
  const path = `/workflows/${workflowId}/steps/${encodeURIComponent(stepId)}/decision`;
  return send("POST", path, { body: { choice, note: note || null }, keepalive: true, isSafeToRepeat: true });
}

/** What a button shows: a picture or its file's name if the choice is a path. Files of one name are numbered. */
function choiceView(choice, index, choices, pictureUrl) {
  const name = choiceText(choice);
  const isNumbered = isArtifactPath(choice) && choices.filter((each) => choiceText(each) === name).length > 1;
  const text = isNumbered ? `${name}, ${index + 1} of ${choices.length}` : name;
  return isPicture(choice) ? html`<img src=${pictureUrl(choice)} alt=${text} loading="lazy" decoding="async">` : text;
}

function keyHint(choices, choice) {
  const digit = [..."123456789"].find((each) => choiceOfKey(choices, each) === choice);
  return digit ? html`<kbd aria-hidden="true">${digit}</kbd>` : nothing;
}

/** A button for each choice. `reject` stands apart. *onChoose(choice, event)* is called for a press. *hasKeys*: they show their keys. */
export function choiceButtons(choices, { onChoose, isBusy = false, hasKeys = false, pictureUrl = (path) => fileUrl(path, { width: 512 }) }) {
  const kindOfButton = (choice, index) => (
    choice === "reject" ? "button-danger decision-reject" : isPicture(choice) ? "decision-picture" : index ? "" : "button-primary");
  return html`<div class="decision-choices">${choices.map((choice, index) => html`<button type="button"
    class="button ${kindOfButton(choice, index)}" aria-disabled=${isBusy} @click=${(event) => isBusy || onChoose(choice, event)}>${
    choiceView(choice, index, choices, pictureUrl)}${hasKeys ? keyHint(choices, choice) : nothing}</button>`)}</div>`;
}

/** The form for *decision*: {workflow_id, step_id, choices}. *state* is an object that the caller keeps for the form. It gets
 *  `busy` and `error`. *redraw* shows it again. *onDecided* is called after the decision. If that came too late, it gets
 *  the error. */
export function decisionForm(decision, state, { redraw, onDecided }) {
  const decide = (choice, event) => {
    const note = event.target.closest("form").elements.note.value.trim();
    whileBusy(state, redraw, async () => {
      await sendDecision(decision, choice, note);
      announce(`${decision.step_id}: ${choiceText(choice)} is recorded.`);
      onDecided();
    }, onDecided);
  };
  return html`<form class="stack" aria-label=${`Decision for ${decision.step_id}`}>
    ${state.error ? errorNotice(state.error) : nothing}
    <label class="field"><span>Note (optional)</span><textarea name="note" rows="2" maxlength="2000"></textarea></label>
    ${decision.choices.some(isPicture) ? html`<p class="dim">Press a picture to choose it. This decides at once.</p>` : nothing}
    ${choiceButtons(decision.choices, { onChoose: decide, isBusy: Boolean(state.busy) })}
  </form>`;
}
