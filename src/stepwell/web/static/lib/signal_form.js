// The form with which a viewer sends the signal for which a step waits.
import { send } from "./api.js";
import { announce, errorNotice, html, nothing } from "./dom.js";
import { tryParseJson } from "./json.js";
import { hasScope } from "./scopes.js";
import { whileBusy } from "./while_busy.js";

const NOT_JSON = { title: "The data aren't JSON", detail: "Put a text in double quotes." };

/** True if the viewer's token may send signals. */
export function canSignal() {
  return hasScope("workflows:write");
}

/** The form for the signal *name* of a run. *state* is an object that the caller keeps for the form: it gets `busy` and `error`.
 *  *redraw* shows it again. *onSent* is called after the signal was sent, or if it came too late, with the error. */
export function signalForm({ runId, name }, state, { redraw, onSent }) {
  const submit = (event) => {
    event.preventDefault();
    const text = event.target.elements.data.value.trim() || "null";
    whileBusy(state, redraw, async () => {
      if (tryParseJson(text) === undefined) throw NOT_JSON;
      const body = new Blob([`{"data":${text}}`], { type: "application/json" }); // as it was written, also long numbers
      await send("POST", `/workflows/${runId}/signals/${encodeURIComponent(name)}`, { body });
      announce(`The signal ${name} is sent.`);
      onSent();
    }, onSent);
  };
  return html`<form class="stack" @submit=${submit} aria-label=${`Signal ${name}`}>
    ${state.error ? errorNotice(state.error) : nothing}
    <label class="field"><span>Data (JSON, optional)</span><textarea name="data" rows="2" maxlength="65536" class="mono" spellcheck="false"></textarea></label>
    <button class="button button-primary" aria-disabled=${Boolean(state.busy)}>Send the signal ${name}</button>
  </form>`;
}
