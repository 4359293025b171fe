// Copies texts to the clipboard.
import { announce, html, icon } from "./dom.js";

const SHOWN_MS = 2_000;

/** A button that copies *text*, which *name* names: "Copy the path". */
export function copyButton(text, name) {
  const onClick = async ({ currentTarget: button }) => {
    await copy(text, button);
    button.classList.add("copied");
    setTimeout(() => button.classList.remove("copied"), SHOWN_MS);
  };
  return html`<button type="button" class="icon-button" aria-label=${name} title=${name}
    @click=${onClick}>${icon("copy")}</button>`;
}

/** A button with its name as text. It copies what *read* returns, and shows whether that worked. */
export function copyTextButton(read, name = "Copy") {
  const onClick = async ({ currentTarget: button }) => {
    const label = button.querySelector(".copy-name");
    label.textContent = await copy(read(), button);
    setTimeout(() => (label.textContent = name), SHOWN_MS);
  };
  return html`<button type="button" class="button" @click=${onClick}>${icon("copy")}<span class="copy-name"
    .textContent=${name}></span></button>`;
}

/** Copies *text*, and announces and returns what has become of it. */
async function copy(text, button) {
  let copied = true;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    copied = copyBySelection(text, button); // the page isn't served by HTTPS, or the browser forbids it
  }
  const message = copied ? "Copied" : "Not copied: select it instead";
  announce(message);
  return message;
}

function copyBySelection(text, button) {
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "visually-hidden";
  (button.closest("dialog") ?? document.body).append(area);
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  button.focus();
  return copied;
}
