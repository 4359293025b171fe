// The graph of the definition in the editor, drawn as in the view of a run. A step's node leads to the step in the editor.
import { GraphCanvas } from "../run/graph_canvas.js";
import { stepsNamed } from "./expressions.js";

export class DefinitionGraph {
  /** *goToStep* is called with a step's id. */
  constructor(container, goToStep) {
    Object.assign(this, { container, goToStep, canvas: null, shown: "" });
    // The wheel scrolls the page: the graph zooms with Ctrl only.
    const leaveToPage = (event) => event.ctrlKey || event.metaKey || event.stopImmediatePropagation();
    container.addEventListener("wheel", leaveToPage, { capture: true, passive: true });
  }

  /** Shows the steps of *text*, a valid definition. The graph stays as it is if its steps have the same dependencies. */
  show(text) {
    const all = JSON.parse(text).steps;
    const ids = all.map((step) => step.id);
    const steps = all.map((step) => ({
      step_id: step.id,
      status: "PENDING",
      task_type: step.task_type,
      dependencies: dependenciesOf(step, ids),
    }));
    const key = JSON.stringify(steps);
    if (key === this.shown) return;
    this.shown = key;
    if (this.canvas) this.canvas.replace(steps);
    else this.canvas = new GraphCanvas(this.container, steps, { openStep: this.goToStep, describe: (step) => step.task_type });
  }
}

function dependenciesOf(step, ids) {
  const mapped = (step.input_mappings ?? []).map((each) => each.from_step);
  return [...new Set([...(step.depends_on ?? []), ...stepsNamed([step.config, step.when && `\${${step.when}}`], ids), ...mapped])];
}
