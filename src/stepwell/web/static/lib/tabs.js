// A list of tabs as the ARIA Authoring Practices describe it. The selected tab is in the URL, and the panel of the tab
// NAME has the id "panel-NAME".
import { html, ref } from "./dom.js";

/** The name of the tab of *tabs* that a URL's query names; of the first one if it names none. */
export function tabOf(tabs, search) {
  const name = new URLSearchParams(search).get("tab");
  return (tabs.find((each) => each.name === name) ?? tabs[0]).name;
}

/** The list of *tabs*, {name, text} each, which *label* names. *select* is called with the name of the tab that the user selects. */
export function tabList(tabs, label, selected, select) {
  return html`<div class="tabs" role="tablist" aria-label=${label} @keydown=${(event) => onKey(event, select)}>
    ${tabs.map(({ name, text }) => html`<button type="button" role="tab" id=${`tab-${name}`} data-name=${name}
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
