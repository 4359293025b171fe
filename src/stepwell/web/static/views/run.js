// The view "Run". It isn't built yet.
import { emptyState, html, render } from "../lib/dom.js";

export default function mount(element) {
  render(html`<h1>Run</h1>${emptyState("This view isn't built yet.", html`<p>Until then, use the command line.</p>`)}`, element);
}
