// The syntax trees (of CodeMirror) of JSON texts: the positions of values in the text.
//
// A path is a list of member names and indexes, as in the `loc` of the API's faults without its first part, "body".

/** The value (a node) of the property or document *node*; null if it has none yet. */
export function valueOf(node) {
  for (let child = node.firstChild; child; child = child.nextSibling) {
    if (isValue(child)) return child;
  }
  return null;
}

export function isValue(node) {
  return ["Object", "Array", "String", "Number", "True", "False", "Null"].includes(node.name);
}

/** The name of the property *node*. */
export function nameOf(node, text) {
  const name = node.getChild("PropertyName");
  return name ? unquoted(text.slice(name.from, name.to)) : null;
}

/** The text of a JSON string, which may not be closed yet. */
export function unquoted(source) {
  try {
    return JSON.parse(source);
  } catch {
    return source.replace(/^"|"$/g, "");
  }
}

/** The members of the object *node*: [name, property] for each. */
export function membersOf(node, text) {
  return node.getChildren("Property").map((property) => [nameOf(property, text), property]);
}

/** The items of the array *node*. */
export function itemsOf(node) {
  const items = [];
  for (let child = node.firstChild; child; child = child.nextSibling) if (isValue(child)) items.push(child);
  return items;
}

/** The node that *part* (a name or an index) of the object or array *node* leads to: a property or an item. */
function childAt(node, part, text) {
  if (node.name === "Array") return itemsOf(node)[part] ?? null;
  if (node.name !== "Object") return null;
  return membersOf(node, text).findLast(([name]) => name === String(part))?.[1] ?? null;
}

/** The value of the member *name* of the object *node*, if it is a string; else null. */
export function stringMember(node, name, text) {
  const property = node?.name === "Object" ? childAt(node, name, text) : null;
  const value = property && valueOf(property);
  return value?.name === "String" ? unquoted(text.slice(value.from, value.to)) : null;
}

/** The path of *node*: the names and indexes that lead to it from the document's value. */
export function pathTo(node, text) {
  const path = [];
  for (let at = node; at.parent; at = at.parent) {
    const { parent } = at;
    if (at.name === "Property") path.unshift(nameOf(at, text));
    else if (parent.name === "Array") path.unshift(itemsOf(parent).findIndex((item) => item.from >= at.from));
  }
  return path;
}

/** The part of the text that a fault at *path* is about: {from, to}, on one line. *ofName*: it is about a member's name.
 *  Where the path leads to nothing (a member is missing), it is the part of what contains it. */
export function rangeOf(tree, path, text, ofName) {
  const root = valueOf(tree.topNode);
  if (!root) return { from: 0, to: Math.min(1, text.length) };
  let [value, property, complete] = [root, null, true];
  for (const part of path) {
    const child = childAt(value, part, text);
    const next = child?.name === "Property" ? valueOf(child) : child;
    if (!next) {
      complete = false;
      break;
    }
    property = child.name === "Property" ? child : null;
    value = next;
  }
  const scalar = value.name !== "Object" && value.name !== "Array";
  const name = property?.getChild("PropertyName");
  if (scalar && !(ofName && complete && name)) return { from: value.from, to: value.to };
  return name ? { from: name.from, to: name.to } : { from: value.from, to: value.from + 1 };
}
