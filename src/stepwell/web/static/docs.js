// Starts the page /docs: Swagger UI shows the OpenAPI document, and sends requests with the token of the field.
import { setUpThemeSwitch } from "./lib/theme_switch.js";
import SwaggerUI from "./vendor/swagger-ui.js";

const SCHEME = "HTTPBearer"; // the name in the document

/** Sets the theme of Swagger UI to that of the page. */
function watchTheme() {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const apply = () => root.classList.toggle("dark-mode", (root.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark");
  new MutationObserver(apply).observe(root, { attributeFilter: ["data-theme"] });
  dark.addEventListener("change", apply);
  apply();
}

setUpThemeSwitch(document.getElementById("theme-switch"));
watchTheme();
const problem = location.hash.startsWith("#problem-") ? document.getElementById(location.hash.slice(1)) : null;
const field = document.getElementById("token");
const ui = SwaggerUI({
  domNode: document.getElementById("api"),
  url: "/schema/openapi.json",
  deepLinking: !problem, // it would replace the anchor
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  docExpansion: "list",
  validatorUrl: null, // it would be another host
  onComplete: () => problem?.scrollIntoView(),
});
field.addEventListener("input", () => {
  const token = field.value.trim();
  if (token) ui.preauthorizeApiKey(SCHEME, token);
  else ui.authActions.logout([SCHEME]);
});
