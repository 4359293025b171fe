// What the OpenAPI document says about a definition: the members and values that are possible at a place.

/** Reads the schema of definitions. A schema may be a reference, or have variants. */
export class DefinitionSchema {
  constructor(document) {
    this.schemas = document.components.schemas;
    this.root = this.schemas.CreateWorkflow;
  }

  /** The schemas without references that *schema* allows or asks for, null excluded. *taskType* selects the step's. */
  alternatives(schema, taskType, depth = 0) {
    if (!schema || depth > 8) return [];
    if (schema.$ref) return this.alternatives(this.schemas[schema.$ref.split("/").at(-1)], taskType, depth + 1);
    const chosen = schema.discriminator?.mapping?.[taskType];
    const variants = schema.discriminator ? (chosen ? [{ $ref: chosen }] : [])
      : [...(schema.anyOf ?? []), ...(schema.oneOf ?? []), ...(schema.allOf ?? [])];
    const own = schema.type === "null" || (!schema.type && !schema.properties && !schema.enum) ? [] : [schema];
    return [...own, ...variants.flatMap((each) => this.alternatives(each, taskType, depth + 1))]
      .map((each) => (schema.description && !each.description ? { ...each, description: schema.description } : each));
  }

  /** The schemas of the value at *path*. *taskTypeAt(depth)*: the task type in the object at that depth of the path. */
  at(path, taskTypeAt) {
    let schemas = this.alternatives(this.root);
    path.forEach((part, depth) => {
      const type = taskTypeAt(depth + 1);
      schemas = schemas.flatMap((schema) => {
        if (typeof part === "number") return this.alternatives(schema.items, type);
        const own = schema.properties?.[part];
        if (own) return this.alternatives(own, type);
        // step_defaults: {"GENERATION": {…}}
        const byType = schema.title === "StepDefaults" && this.schemas[this.configName(part)];
        return byType ? [byType] : [];
      });
    });
    return schemas;
  }

  /** The name of the schema of a task type's config. */
  configName(taskType) {
    const mapped = this.schemas.StepVariant.discriminator.mapping[taskType];
    return mapped?.split("/").at(-1).replace(/Step$/, "Config");
  }

  /** The members of objects of *schemas*: {name, description, type, required} in the order of the schema. */
  members(schemas) {
    const byName = new Map();
    for (const schema of schemas) {
      if (schema.title === "StepDefaults") for (const name of this.taskTypes()) byName.set(name, { name, type: "object" });
      for (const [name, member] of Object.entries(schema.properties ?? {})) {
        const [first] = this.alternatives(member);
        const description = member.description ?? first?.description ?? byName.get(name)?.description;
        const type = first?.type ?? byName.get(name)?.type;
        const required = schema.required?.includes(name) || byName.get(name)?.required || false;
        byName.set(name, { name, description, type, required });
      }
    }
    return [...byName.values()];
  }

  /** The values that *schemas* list: strings, numbers, booleans. */
  values(schemas) {
    const values = schemas.flatMap((schema) => (schema.type === "boolean" ? [true, false]
      : "const" in schema ? [] : schema.enum ?? []));
    return [...new Set(values)].filter((each) => each !== null);
  }

  taskTypes() {
    return this.schemas.TaskType.enum;
  }
}
