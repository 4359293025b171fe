// The tab "Graph".
import { html, render } from "../../lib/dom.js";
import { stepList } from "./step_list.js";

export default function mount(element, context) {
  const draw = () => render(html`<div class="graph">${stepList(context.run.steps, { open: context.openStep })}</div>`, element);
  context.onChange(draw);
  draw();
}
