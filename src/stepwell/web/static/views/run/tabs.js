// The tabs of a run's view: a tab list as the ARIA Authoring Practices describe it, with the selected tab in the URL.
import { html, ref } from "../../lib/dom.js";

export const TABS = [
  { name: "graph", text: "Graph" },
  { name: "timeline", text: "Timeline" },
  { name: "outputs", text: "Outputs" },
  { name: "events", text: "Events" },
  { name: "definition", text: "Definition" },
  { name: "webhooks", text: "Webhooks" },
];

/** The tab that a URL's query names; the first one if it names none. */
export function tabOf(search) {
  const name = new URLSearchParams(search).get("tab");
  return (TABS.find((each) => each.name === name) ?? TABS[0]).name;
}

/** The list of the tabs. *select* is called with the name of the tab that the user selects. */
export function tabList(selected, select) {
  return html`<div class="tabs" role="tablist" aria-label="Parts of the run" @keydown=${(event) => onKey(event, select)}>
    ${TABS.map(({ name, text }) => html`<button type="button" role="tab" id=${`tab-${name}`} data-name=${name}
      aria-controls=${`panel-${name}`} aria-selected=${name === selected} tabindex=${name === selected ? 0 : -1}
      ${ref(name === selected ? reveal : undefined)} @click=${() => select(name)}>${text}</button>`)}
  </div>`;
}

/** Scrolls the list to *tab*, once it is selected: a narrow screen has no room for all tabs. */
function reveal(tab) {
  requestAnimationFrame(() => {
    const list = tab?.parentElement;
    if (!list) return;
    const [inner, outer] = [tab.getBoundingClientRect(), list.getBoundingClientRect()];
    list.scrollLeft += inner.left - outer.left - (outer.width - inner.width) / 2;
  });
}

/** Left, Right, Home and End select another tab. */
function onKey(event, select) {
  const tabs = [...event.currentTarget.querySelectorAll("[role=tab]")];
  const at = tabs.indexOf(event.target);
  const next = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 }[event.key];
  if (at < 0 || next === undefined) return;
  event.preventDefault();
  const target = tabs[(next + tabs.length) % tabs.length];
  target.focus();
  select(target.dataset.name);
}
