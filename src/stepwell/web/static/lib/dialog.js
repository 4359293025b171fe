// A question in a dialog, which the user answers by one of two buttons. Escape is "no".
import { html, render } from "./dom.js";

/** Asks *title*, with *content* below it. Returns a promise of true if the button *action* was pressed. *refusal* is the text of the other
 *  button. */
export function confirm(title, content, { action, refusal = "Cancel", danger = false }) {
  const dialog = document.createElement("dialog");
  dialog.setAttribute("aria-labelledby", "confirm-title");
  const answer = (value) => () => dialog.close(value);
  render(html`<h2 id="confirm-title" class="break">${title}</h2><div class="break">${content}</div>
    <div class="actions">
      <button type="button" class="button" autofocus @click=${answer("no")}>${refusal}</button>
      <button type="button" class="button ${danger ? "button-danger" : "button-primary"}" @click=${answer("yes")}>${action}</button>
    </div>`, dialog);
  document.body.append(dialog);
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
    dialog.showModal();
  });
}
