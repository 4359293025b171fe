// The graph of the definition in the editor, drawn as in the view of a run. A step's node leads to the step in the editor.
import { GraphCanvas } from "../run/graph_canvas.js";
import { DefinitionSource, stepsOfDefinition } from "../run/definition_steps.js";

export class DefinitionGraph {
  /** *goToStep* is called with the id of a step; of one in a sub-workflow, with that of the step that runs it. */
  constructor(container, goToStep) {
    Object.assign(this, { container, goToStep, canvas: null, shown: "" });
    // The wheel scrolls the page: the graph zooms with Ctrl only.
    const leaveToPage = (event) => event.ctrlKey || event.metaKey || event.stopImmediatePropagation();
    container.addEventListener("wheel", leaveToPage, { capture: true, passive: true });
  }

  /** Shows the steps of *text*, a valid definition. The graph stays as it is if its steps have the same dependencies. */
  show(text) {
    const steps = stepsOfDefinition(JSON.parse(text));
    const key = JSON.stringify(steps);
    if (key === this.shown) return;
    this.shown = key;
    if (this.canvas) {
      this.canvas.replace(steps);
      return;
    }
    this.canvas = new GraphCanvas(this.container, steps, {
      openStep: (id, part) => this.goToStep(part.ancestor ?? id),
      describe: (step) => step.task_type,
      openSource: (step) => new DefinitionSource(step),
    });
  }
}
