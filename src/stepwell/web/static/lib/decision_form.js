// The form with which a viewer decides for a step that waits: a note, and a button for each choice.
import { send } from "./api.js";
import { announce, errorNotice, html, nothing } from "./dom.js";

/** True if the viewer's token may decide. */
export function canDecide() {
  const scopes = (document.body.dataset.scopes ?? "").split(" ");
  return scopes.includes("workflows:approve") || scopes.includes("workflows:write");
}

/** The form for *decision*: {workflow_id, step_id, choices}. *state* is an object that the caller keeps for the form. It gets
 *  `busy` and `error`. *redraw* shows it again. *onDecided* is called after the decision. If that came too late, it gets
 *  the error. */
export function decisionForm(decision, state, { redraw, onDecided }) {
  const submit = async (event) => {
    event.preventDefault();
    const [choice, note] = [event.submitter?.value, event.target.elements.note.value.trim()];
    if (!choice || state.busy) return;
    Object.assign(state, { busy: true, error: null });
    redraw();
    try {
      const step = `/workflows/${decision.workflow_id}/steps/${encodeURIComponent(decision.step_id)}`;
      await send("POST", `${step}/decision`, { body: { choice, note: note || null } });
      announce(`${decision.step_id}: ${choice} is recorded.`);
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
    <label class="field">Note (optional)<textarea name="note" rows="2" maxlength="2000"></textarea></label>
    <div class="decision-choices">${decision.choices.map((choice, index) => html`<button
      class=${index ? "button" : "button button-primary"} name="choice" value=${choice} ?disabled=${Boolean(state.busy)}>${choice}</button>`)}</div>
  </form>`;
}
