// Completion in the editor: names of members, values that the schema lists, ids of steps, and fields of results.
import { ensureSyntaxTree } from "../../vendor/codemirror.js";
import { isValue, itemsOf, membersOf, pathTo, stringMember, valueOf } from "./json_text.js";

const RESULT_FIELDS = [
  "result_image_path", "result_image_paths", "result_video_path", "result_text", "result_json", "width", "height", "format",
  "seed",
];
const PARSE_MS = 100;
const EMPTY = { object: "{}", array: "[]", string: '""' };

/** Returns a source of completions for CodeMirror. *schema()* is the DefinitionSchema, or null until it is loaded. */
export function completionSource(schema) {
  return (context) => {
    const known = schema();
    const tree = ensureSyntaxTree(context.state, context.pos, PARSE_MS);
    if (!known || !tree) return null;
    return complete(known, tree, context.state.doc.toString(), context.pos, context.explicit);
  };
}

function complete(schema, tree, text, pos, explicit) {
  let node = tree.resolveInner(pos, -1);
  if (["}", "]"].includes(node.name)) node = node.parent.parent; // the cursor is behind an object or array
  while (node.type.isError || ["{", "[", ":", ","].includes(node.name)) node = node.parent;
  if (node.name === "PropertyName") return names(schema, node.parent.parent, node, text, pos);
  if (node.name === "String" || (explicit && isScalar(node))) return values(schema, node, node, text, pos);
  if (!explicit) return null;
  if (node.name === "Property" && !valueOf(node)) return values(schema, node, null, text, pos);
  if (node.name === "Array") return values(schema, node, null, text, pos);
  if (node.name === "Object") return names(schema, node, null, text, pos);
  return null;
}

const isScalar = (node) => isValue(node) && node.name !== "Object" && node.name !== "Array";
const isQuoted = (node) => node.name === "String" || node.name === "PropertyName";

/** The part of the text that options are matched with: without the quotes of *current*, a string, and up to the cursor. */
function matchRange(current, text, pos) {
  if (current && isQuoted(current)) return { from: Math.min(pos, current.from + 1), to: pos };
  if (current) return { from: current.from, to: current.to };
  return { from: pos - /[\w*-]*$/.exec(text.slice(Math.max(0, pos - 100), pos))[0].length, to: pos };
}

/** All that an option replaces: with the quotes and, in a *closed* string, what stands behind the cursor. */
function replaceRange(doc, from, to, closed) {
  const rest = closed ? /^(?:[^"\\]|\\.)*"/.exec(doc.sliceString(to, doc.lineAt(to).to)) : null;
  return { from: from - (doc.sliceString(from - 1, from) === '"' ? 1 : 0), to: to + (rest?.[0].length ?? 0) };
}

/** Returns a function that gives the task type of the object at a depth of the path to *node*, if it has one. */
function taskTypes(node, text) {
  const chain = [];
  for (let at = node; at; at = at.parent) if (isValue(at)) chain.unshift(at);
  return (depth) => (chain[depth] ? stringMember(chain[depth], "task_type", text) : null);
}

function names(schema, object, current, text, pos) {
  const schemas = schema.at(pathTo(object, text), taskTypes(object, text));
  const others = membersOf(object, text).filter(([, each]) => each.getChild("PropertyName")?.from !== current?.from);
  const present = new Set(others.map(([name]) => name));
  const members = schema.members(schemas).filter(({ name }) => !present.has(name));
  if (!members.length) return null;
  const closed = current !== null;
  return {
    ...matchRange(current, text, pos),
    options: members.map((member, i) => ({
      label: member.name,
      detail: member.required ? "required" : member.type ?? "",
      info: member.description,
      boost: (member.required ? 50 : 0) - i / 10,
      apply: (view, _option, from, to) => insertMember(view, member, replaceRange(view.state.doc, from, to, closed)),
    })),
  };
}

function insertMember(view, { name, type }, range) {
  const { doc } = view.state;
  const hasColon = /^\s*:/.test(doc.sliceString(range.to, range.to + 100));
  const empty = hasColon ? "" : EMPTY[type] ?? "";
  const insert = JSON.stringify(name) + (hasColon ? "" : `: ${empty}`);
  replace(view, range, insert, insert.length - (empty ? 1 : 0));
}

function values(schema, node, current, text, pos) {
  const path = pathTo(node, text);
  if (!current && node.name === "Array") path.push(itemsOf(node).length);
  const container = node.name === "Array" && !current ? node : node.parent;
  const candidates = special(schema, path, node, text)
    ?? schema.values(schema.at(path, taskTypes(container, text))).map((value) => ({ value }));
  if (!candidates.length) return null;
  const closed = current !== null && isQuoted(current);
  const options = candidates.map(({ value, detail }) => ({
    label: String(value),
    detail,
    apply: (view, _option, from, to) => {
      const insert = JSON.stringify(value);
      replace(view, replaceRange(view.state.doc, from, to, closed), insert, insert.length);
    },
  }));
  return { ...matchRange(current, text, pos), options };
}

function replace(view, range, insert, cursor) {
  view.dispatch({
    changes: { ...range, insert }, selection: { anchor: range.from + cursor }, userEvent: "input.complete",
  });
}

/** What the schema doesn't list: ids of the other steps, fields of results, inputs of the step. Null elsewhere. */
function special(schema, path, node, text) {
  const member = path.findLast((part) => typeof part === "string");
  if (path[0] !== "steps" || !["depends_on", "from_step", "from_field", "to_field"].includes(member)) return null;
  const step = enclosingStep(node);
  if (!step) return null;
  if (member === "from_field") return RESULT_FIELDS.map((value) => ({ value }));
  if (member === "to_field") {
    const config = schema.schemas[schema.configName(stringMember(step, "task_type", text))];
    return config ? schema.members([config]).map(({ name, type }) => ({ value: name, detail: type })) : [];
  }
  const own = stringMember(step, "id", text);
  return itemsOf(step.parent).map((each) => ({
    value: stringMember(each, "id", text), detail: stringMember(each, "task_type", text) ?? "",
  })).filter(({ value }) => value !== null && value !== own);
}

/** The object of the step in which *node* is: an item of the array that is a member of the document's object. */
function enclosingStep(node) {
  for (let at = node; at; at = at.parent) {
    if (at.name === "Object" && at.parent?.parent?.parent?.parent?.name === "JsonText") return at;
  }
  return null;
}
