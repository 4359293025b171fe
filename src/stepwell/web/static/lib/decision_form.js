// The form with which a viewer decides for a step that waits: a note, and a button for each choice.
import { send } from "./api.js";
import { announce, errorNotice, html, nothing } from "./dom.js";
import { fileUrl, isArtifactPath, kindOf } from "./outputs.js";
import { hasScope } from "./scopes.js";

/** True if the viewer's token may decide. */
export function canDecide() {
  return hasScope("workflows:approve");
}

/** True if *choice* is the path of a picture: its button shows it. */
export function isPicture(choice) {
  return isArtifactPath(choice) && kindOf(choice) === "image";
}

function nameOf(path) {
  return path.split("/").pop();
}

/** What a button shows: a picture or its file's name if the choice is a path. Files of one name are numbered. */
function choiceView(choice, index, choices, pictureUrl) {
  if (!isArtifactPath(choice)) return choice;
  const name = nameOf(choice);
  const text = choices.filter((each) => nameOf(each) === name).length > 1 ? `${name}, ${index + 1} of ${choices.length}` : name;
  return isPicture(choice) ? html`<img src=${pictureUrl(choice)} alt=${text} decoding="async">` : text;
}

/** The form for *decision*: {workflow_id, step_id, choices}. *pictureUrl(path)* is the URL of a picture that is a choice. *state* is an object that the caller keeps for the form. It gets
 *  `busy` and `error`. *redraw* shows it again. *onDecided* is called after the decision. If that came too late, it gets
 *  the error. */
export function decisionForm(decision, state, { redraw, onDecided, pictureUrl = (path) => fileUrl(path, { width: 512 }) }) {
  const submit = async (event) => {
    event.preventDefault();
    const [choice, note] = [event.submitter?.value, event.target.elements.note.value.trim()];
    if (!choice || state.busy) return;
    Object.assign(state, { busy: true, error: null });
    redraw();
    try {
      const step = `/workflows/${decision.workflow_id}/steps/${encodeURIComponent(decision.step_id)}`;
      await send("POST", `${step}/decision`, { body: { choice, note: note || null } });
      announce(`${decision.step_id}: ${isArtifactPath(choice) ? nameOf(choice) : choice} is recorded.`);
      onDecided();
    } catch (error) {
      if (error.status === 409) onDecided(error);
      else state.error = error;
    }
    state.busy = false;
    redraw();
  };
  return html`<form class="stack" @submit=${submit} aria-label=${`Decision for ${decision.step_id}`}>
    ${state.error ? errorNotice(state.error) : nothing}
    <label class="field"><span>Note (optional)</span><textarea name="note" rows="2" maxlength="2000"></textarea></label>
    ${decision.choices.some(isPicture) ? html`<p class="dim">Press a picture to choose it. This decides at once.</p>` : nothing}
    <div class="decision-choices">${decision.choices.map((choice, index) => html`<button
      class="button ${isPicture(choice) ? "decision-picture" : index ? "" : "button-primary"}" name="choice" value=${choice}
      aria-disabled=${Boolean(state.busy)}>${choiceView(choice, index, decision.choices, pictureUrl)}</button>`)}</div>
  </form>`;
}
