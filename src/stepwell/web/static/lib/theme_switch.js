// The switch between the themes: system, light, dark. `theme.js` applies the stored one at the start of each page.
import { icon, render } from "./dom.js";

const KEY = "stepwell-theme";
const THEMES = [
  { name: "system", icon: "auto", text: "Theme: as the system" },
  { name: "light", icon: "sun", text: "Theme: light" },
  { name: "dark", icon: "moon", text: "Theme: dark" },
];

/** Makes *button* the switch. The choice holds for all tabs of this browser. */
export function setUpThemeSwitch(button) {
  if (!button) return;
  const show = () => apply(button, current());
  button.addEventListener("click", () => {
    const next = THEMES[(THEMES.indexOf(current()) + 1) % THEMES.length];
    try {
      localStorage.setItem(KEY, next.name);
    } catch {
      // The browser forbids the storage: the choice holds for this page.
    }
    apply(button, next);
  });
  addEventListener("storage", (event) => event.key === KEY && show());
  show();
}

function current() {
  const name = document.documentElement.dataset.theme ?? "system";
  let stored = name;
  try {
    stored = localStorage.getItem(KEY) ?? "system";
  } catch {
    // Then what this page shows counts.
  }
  return THEMES.find((each) => each.name === stored) ?? THEMES[0];
}

function apply(button, theme) {
  if (theme.name === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme.name;
  button.setAttribute("aria-label", theme.text);
  button.title = theme.text;
  render(icon(theme.icon), button);
}
