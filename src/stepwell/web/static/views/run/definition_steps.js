// The steps of a definition as nodes of a graph.
import { stepsNamed } from "../new/expressions.js";

/** The steps of *definition*: {step_id, status, task_type, dependencies, for_each, repeat, config}. Those of the sub-workflow are
 *  in the config. */
export function stepsOfDefinition(definition) {
  const all = definition?.steps ?? [];
  const ids = all.map((step) => step.id);
  return all.map((step) => ({
    step_id: step.id,
    status: "PENDING",
    task_type: step.task_type,
    dependencies: dependenciesOf(step, ids),
    ...(step.task_type === "SUBWORKFLOW" ? { for_each: step.for_each, repeat: step.repeat, config: step.config } : {}),
  }));
}

function dependenciesOf(step, ids) {
  const mapped = (step.input_mappings ?? []).map((each) => each.from_step);
  return [...new Set([...(step.depends_on ?? []), ...stepsNamed([step.config, step.when && `\${${step.when}}`], ids), ...mapped])];
}

/** What the open node of such a step shows; see sub_workflows.js. */
export class DefinitionSource {
  constructor(step) {
    this.update(step);
  }

  update(step) {
    this.steps = stepsOfDefinition(step.config?.workflow);
  }

  close() {}
}
