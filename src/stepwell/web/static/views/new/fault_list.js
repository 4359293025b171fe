// The faults of the definition in the editor.
import { html, nothing } from "../../lib/dom.js";
import { plural } from "../../lib/format.js";

/** The faults and warnings, each a button that leads to its line. */
export function faultList(faults, goTo) {
  if (!faults.length) return nothing;
  const errors = faults.filter((each) => each.severity === "error").length;
  const title = [errors && plural(errors, "fault"), faults.length - errors && plural(faults.length - errors, "warning")]
    .filter(Boolean).join(", ");
  return html`<section class="card" aria-label="Faults"><h2>${title}</h2><ul class="faults">${faults.map((each) => html`
    <li><button type="button" class="fault fault-${each.severity}" @click=${() => goTo(each.from)}>
      <span class="fault-line number">Line ${each.line}</span><span class="break">${each.message}</span></button></li>`)}</ul></section>`;
}
