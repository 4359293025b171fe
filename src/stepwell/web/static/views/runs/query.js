// The state of the Runs view in the page's URL. Its parameters have the names and values of the API's list, so an address
// can be sent to a colleague.

export const NEWEST_FIRST = "-created_at";
export const OLDEST_FIRST = "created_at";
export const PAGE_SIZES = [25, 50, 100, 200];
const DEFAULT_SIZE = 50;
const LISTS = ["status", "label"];
const SWITCHES = ["include_deleted", "include_children"];
const TEXTS = [
  "name", "definition", "origin_instance", "origin_reference", "origin_tenant_id", "origin_zone", "waits_for", "created_after", "created_before",
];

/** The filters beside `status`, which has its own switches, with their names for users. */
export const FILTERS = [
  { name: "label", text: "Label" },
  { name: "waits_for", text: "Waits for" },
  { name: "name", text: "Name" },
  { name: "definition", text: "Definition" },
  { name: "origin_instance", text: "Instance" },
  { name: "origin_reference", text: "Reference" },
  { name: "origin_tenant_id", text: "Tenant" },
  { name: "origin_zone", text: "Zone" },
  { name: "created_after", text: "Created after" },
  { name: "created_before", text: "Created before" },
  { name: "include_deleted", text: "With deleted runs" },
  { name: "include_children", text: "With sub-workflows" },
];

/** Reads the state from the query of a URL. Parameters that the view doesn't know are ignored. */
export function readQuery(search) {
  const parameters = new URLSearchParams(search);
  const query = {};
  for (const name of LISTS) query[name] = [...new Set(parameters.getAll(name).filter(Boolean))];
  query.status = query.status.flatMap((each) => each.split(","));
  for (const name of TEXTS) query[name] = parameters.get(name) ?? "";
  for (const name of SWITCHES) query[name] = parameters.get(name) === "true";
  query.order = parameters.get("order") === OLDEST_FIRST ? OLDEST_FIRST : NEWEST_FIRST;
  const size = Number(parameters.get("limit"));
  query.limit = Number.isInteger(size) && size >= 1 && size <= 1000 ? size : DEFAULT_SIZE;
  query.cursor = parameters.get("cursor") ?? "";
  return query;
}

/** The query of a URL for a state, without what has its default: "" or "?status=RUNNING". */
export function writeQuery(query) {
  const parameters = filterParameters(query);
  if (query.order !== NEWEST_FIRST) parameters.set("order", query.order);
  if (query.limit !== DEFAULT_SIZE) parameters.set("limit", String(query.limit));
  if (query.cursor) parameters.set("cursor", query.cursor);
  const text = parameters.toString().replaceAll("%2C", ",").replaceAll("%3A", ":");
  return text ? `?${text}` : "";
}

/** The parameters of a request for the page that the state describes. The total is never requested: counting all
 *  workflows takes longer than the page. */
export function listParameters(query) {
  const parameters = filterParameters(query);
  parameters.set("order", query.order);
  parameters.set("limit", String(query.limit));
  if (query.cursor) parameters.set("cursor", query.cursor);
  parameters.set("include_steps", "false");
  parameters.set("total", "false");
  return parameters;
}

/** The parameters of a request for the counts by status: all filters but the status itself. */
export function countParameters(query) {
  return filterParameters({ ...query, status: [] });
}

/** The state after a change of filters or order, which begins with the first page. */
export function changed(query, changes) {
  return { ...query, cursor: "", ...changes };
}

/** The filters that are set, beside the status: {name, text, value} each. A label is one entry for each label. */
export function activeFilters(query) {
  return FILTERS.flatMap(({ name, text }) => {
    if (name === "label") return query.label.map((value) => ({ name, text, value }));
    return query[name] ? [{ name, text, value: query[name] === true ? "" : query[name] }] : [];
  });
}

/** The state without one filter of `activeFilters`. */
export function without(query, { name, value }) {
  if (name === "label") return changed(query, { label: query.label.filter((each) => each !== value) });
  return changed(query, { [name]: SWITCHES.includes(name) ? false : "" });
}

/** The state without any filter. */
export function withoutFilters(query) {
  return { ...readQuery(""), order: query.order, limit: query.limit };
}

function filterParameters(query) {
  const parameters = new URLSearchParams();
  if (query.status.length) parameters.set("status", query.status.join(","));
  for (const label of query.label) parameters.append("label", label);
  for (const name of TEXTS) if (query[name]) parameters.set(name, query[name]);
  for (const name of SWITCHES) if (query[name]) parameters.set(name, "true");
  return parameters;
}
