// Copies texts to the clipboard.
import { announce, html, icon } from "./dom.js";

const SHOWN_MS = 2_000;

/** A button that copies *text*, which *name* names: "Copy the path". */
export function copyButton(text, name) {
  return html`<button type="button" class="icon-button" aria-label=${name} title=${name}
    @click=${(event) => copy(text, event.currentTarget)}>${icon("copy")}</button>`;
}

async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    copyBySelection(text); // the page isn't served by HTTPS, or the browser forbids it
  }
  announce("Copied.");
  button.classList.add("copied");
  setTimeout(() => button.classList.remove("copied"), SHOWN_MS);
}

function copyBySelection(text) {
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "visually-hidden";
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}
