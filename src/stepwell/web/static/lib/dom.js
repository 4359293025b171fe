// Rendering: lit-html, and small templates that every view uses.
//
// lit-html inserts values as text, never as markup. There is no unsafeHTML here, and nothing sets innerHTML.
// The content security policy forbids style attributes. Use a class, or `ref(setStyle({"--x": "10%"}))`.
import { html, nothing, svg } from "../vendor/lit-html.js";
import { duration } from "./format.js";

export { classMap, html, keyed, noChange, nothing, ref, render, repeat, svg } from "../vendor/lit-html.js";

/** Returns a callback for lit-html's `ref`, which sets CSS properties of the element. */
export function setStyle(properties) {
  return (element) => {
    if (!element) return;
    for (const [name, value] of Object.entries(properties)) element.style.setProperty(name, value);
  };
}

/** Lets screen readers say *text*, once they have finished what they are saying. */
export function announce(text) {
  const announcer = document.getElementById("announcer");
  if (announcer) announcer.textContent = text;
}

/** A message in a box. *kind*: "info", "warning" or "error". *content* may be a template. */
export function notice(kind, title, content = nothing) {
  const role = kind === "error" ? "alert" : "status";
  return html`<div class="notice notice-${kind}" role=${role}>
    <p><strong>${title}</strong></p>${content === nothing ? nothing : html`<div>${content}</div>`}
  </div>`;
}

/** What went wrong, with the places of the faults, and a button that tries again if *retry* is a function. */
export function errorNotice(error, retry) {
  const faults = error.faults ?? [];
  return notice("error", error.title ?? "Something went wrong", html`
    ${error.detail ?? error.message ? html`<p>${error.detail ?? error.message}</p>` : nothing}
    ${faults.length ? html`<ul>${faults.map((each) => html`<li><code>${each.place}</code> ${each.message}</li>`)}</ul>`
      : nothing}
    ${error.retryAfterS ? html`<p>Try again in ${duration(error.retryAfterS * 1000)}.</p>` : nothing}
    ${retry ? html`<p><button type="button" class="button" @click=${retry}>Try again</button></p>` : nothing}`);
}

/** The rows of a list (`dl`) of facts: [name, value] each. */
export function factRows(facts) {
  return facts.map(([name, value]) => html`<div><dt>${name}</dt><dd class="break">${value}</dd></div>`);
}

/** What stands where there is nothing yet: why, and what to do. */
export function emptyState(title, content = nothing) {
  return html`<div class="empty"><p class="empty-title">${title}</p>${content}</div>`;
}

/** A text that stands while data is loaded. */
export function loading(text = "Loading…") {
  return html`<p class="loading" role="status">${text}</p>`;
}

const ICONS = {
  close: svg`<path d="M4 4l8 8M12 4l-8 8"/>`,
  filter: svg`<path d="M2 4h12M4 8h8M6.5 12h3"/>`,
  search: svg`<circle cx="7" cy="7" r="4.5"/><path d="M10.5 10.5L14 14"/>`,
  download: svg`<path d="M8 2v8M4.5 7L8 10.5 11.5 7M3 13.5h10"/>`,
  play: svg`<path d="M5 3l8 5-8 5z"/>`,
  pause: svg`<path d="M5.5 3v10M10.5 3v10"/>`,
  stop: svg`<rect x="3.5" y="3.5" width="9" height="9" rx="1"/>`,
  sun: svg`<circle cx="8" cy="8" r="3"/><path d="M8 1v1.5M8 13.5V15M1 8h1.5M13.5 8H15M3 3l1 1M12 12l1 1M13 3l-1 1M4 12l-1 1"/>`,
  moon: svg`<path d="M13.5 9.5A5.8 5.8 0 0 1 6.5 2.5a5.8 5.8 0 1 0 7 7z"/>`,
  auto: svg`<circle cx="8" cy="8" r="5.5"/><path d="M8 2.5v11a5.5 5.5 0 0 0 0-11z" fill="currentColor"/>`,
  video: svg`<rect x="1.5" y="3.5" width="9" height="9" rx="1.5"/><path d="M10.5 7l4-2.5v7l-4-2.5"/>`,
  sound: svg`<path d="M2 6h3l4-3v10l-4-3H2zM11.5 5.5a3.5 3.5 0 0 1 0 5"/>`,
  text: svg`<path d="M3 4h10M3 7h10M3 10h7"/>`,
  file: svg`<path d="M4 1.5h5l3 3v10H4zM9 1.5v3h3"/>`,
  image: svg`<rect x="2" y="3" width="12" height="10" rx="1.5"/><circle cx="5.5" cy="6.5" r="1"/><path d="M2.5 12l4-4 3 3 2-2 2.5 2.5"/>`,
  upload: svg`<path d="M8 11V3M4.5 6L8 2.5 11.5 6M3 13.5h10"/>`,
  bin: svg`<path d="M2.5 4.5h11M6 4.5v-2h4v2M4 4.5l.7 9h6.6l.7-9M6.7 7v4M9.3 7v4"/>`,
  copy: svg`<rect x="5" y="5" width="8.5" height="8.5" rx="1.5"/><path d="M10.5 5V2.5H2.5v8H5"/>`,
  next: svg`<path d="M6 3l5 5-5 5"/>`,
  previous: svg`<path d="M10 3L5 8l5 5"/>`,
  refresh: svg`<path d="M13.5 8A5.5 5.5 0 1 1 12 4.2M12.5 1.5v3h-3"/>`,
  fit: svg`<path d="M2.5 6V2.5H6M10 2.5h3.5V6M13.5 10v3.5H10M6 13.5H2.5V10"/>`,
  check: svg`<path d="M3 8.5l3.5 3.5L13 4.5"/>`,
};

/** An icon, hidden from screen readers: the button or text around it has the name. See ICONS for the names. */
export function icon(name) {
  return html`<svg class="icon" viewBox="0 0 16 16" aria-hidden="true">${ICONS[name]}</svg>`;
}
