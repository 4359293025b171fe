// Where the steps of a graph stand: layers by dependencies, an order within each layer, positions, and groups of a large
// graph. Pure functions without a page.
//
// A step is {step_id, dependencies}. Steps are named by their index in the list; a layer is a list of indexes.

export const NODE = { width: 184, height: 48 };
const GAP = { layer: 56, column: 20, row: 16, band: 44 };
const LEAST_ROWS = 9;
const BEND = 10; // from a node to the first bend of an edge to a lower band
const CLEARLY = 1.05; // a fold that makes the graph larger by less isn't worth it
const NARROWER = 0.97; // the next width that is tried, at most
const GROUP_UP_TO = 1_000; // steps in a group
const GROUPS_ABOUT = 100;

/** The dependencies of each step as indexes. Dependencies on unknown steps are left out. */
export function dependencyIndexes(steps) {
  const indexes = new Map(steps.map((step, i) => [step.step_id, i]));
  return steps.map((step) => step.dependencies.map((id) => indexes.get(id)).filter((i) => i !== undefined));
}

/** The layers, as `plan` gives them: a step is in the layer after the last one of its dependencies. */
export function layersOf(dependencies) {
  const missing = dependencies.map((each) => each.length);
  const dependents = dependencies.map(() => []);
  dependencies.forEach((each, i) => each.forEach((dependency) => dependents[dependency].push(i)));
  const depth = dependencies.map(() => 0);
  const ready = [];
  missing.forEach((count, i) => count || ready.push(i));
  for (let at = 0; at < ready.length; at++) {
    for (const i of dependents[ready[at]]) {
      depth[i] = Math.max(depth[i], depth[ready[at]] + 1);
      if (--missing[i] === 0) ready.push(i);
    }
  }
  const layers = [];
  depth.forEach((layer, i) => (layers[layer] ??= []).push(i));
  return layers;
}

/** The layers in another order: by one barycentre pass each step stands at the mean height of its dependencies. */
export function orderLayers(layers, dependencies) {
  const height = new Array(dependencies.length).fill(0); // 0 is the top of its layer, 1 the bottom
  return layers.map((layer) => {
    const ordered = layer.map((i) => [i, meanOf(dependencies[i].map((each) => height[each]))]);
    ordered.sort(([one, a], [other, b]) => a - b || one - other);
    ordered.forEach(([i], at) => { height[i] = (at + 0.5) / layer.length; });
    return ordered.map(([i]) => i);
  });
}

function meanOf(values) {
  return values.length ? values.reduce((sum, each) => sum + each, 0) / values.length : 0.5;
}

/** The positions of the nodes' centres, by index, from left to right: {positions: Map, width, height}. Their middle is at y = 0.
 *
 *  A layer that is much longer than the others together suggest becomes several columns. *sizeOf(i)* is the size of a node. If the graph
 *  doesn't fit into *box* {width, height}, its layers become bands below each other. A position also has the number of its `band`, the
 *  height `below` of the gap under that, and whether its node `isTop` or `isBottom` of its column.
 */
export function positionsOf(layers, sizeOf = () => NODE, box = null) {
  const count = layers.reduce((sum, layer) => sum + layer.length, 0);
  const most = Math.max(LEAST_ROWS, Math.ceil(Math.sqrt(count) * 1.3));
  const bands = foldedIn(box, layers.map((layer) => blockOf(layer, most, sizeOf)));
  const { width, height } = extentOf(bands);
  const positions = new Map();
  let top = -height / 2;
  bands.forEach((blocks, band) => {
    const tallest = highest(blocks);
    let left = 0;
    for (const column of blocks.flatMap((block) => block.columns)) {
      let y = top + (tallest - column.height) / 2;
      column.indexes.forEach((i, at) => {
        const size = column.sizes[at];
        positions.set(i, {
          x: left + size.width / 2, y: y + size.height / 2, band, below: top + tallest + GAP.band / 2,
          isTop: at === 0, isBottom: at === column.indexes.length - 1,
        });
        y += size.height + GAP.row;
      });
      left += column.width + (column.isLast ? GAP.layer : GAP.column);
    }
    top += tallest + GAP.band;
  });
  return { positions, width, height };
}

/** How an edge from the position *from* to *to* in a lower band runs, as data of Cytoscape: straight down if no node is between them, else by
 *  four right angles in the gaps between columns and bands, as weights and distances along the straight line. */
export function foldedEdge(from, to, fromSize, toSize) {
  if (to.band === from.band + 1 && from.isBottom && to.isTop) return { folded: "down" };
  const [right, left] = [from.x + fromSize.width / 2 + BEND, to.x - toSize.width / 2 - BEND];
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  const bends = [[right, from.y], [right, from.below], [left, from.below], [left, to.y]].map(([x, y]) => [x - from.x, y - from.y]);
  return {
    folded: "bent",
    weights: bends.map(([x, y]) => (x * dx + y * dy) / (dx * dx + dy * dy)),
    distances: bends.map(([x, y]) => (y * dx - x * dy) / Math.hypot(dx, dy)),
  };
}

/** A layer in columns of at most *most* nodes. */
function blockOf(layer, most, sizeOf) {
  const rows = Math.ceil(layer.length / Math.ceil(layer.length / most));
  const columns = [];
  for (let at = 0; at < layer.length; at += rows) {
    const indexes = layer.slice(at, at + rows);
    const sizes = indexes.map(sizeOf);
    columns.push({
      indexes, sizes, isLast: at + rows >= layer.length,
      width: Math.max(...sizes.map((size) => size.width)), height: total(sizes.map((size) => size.height), GAP.row),
    });
  }
  return { columns, width: total(columns.map((column) => column.width), GAP.column), height: highest(columns) };
}

function total(lengths, gap) {
  return lengths.reduce((sum, each) => sum + each + gap, -gap);
}

function highest(blocks) {
  return blocks.reduce((most, { height }) => Math.max(most, height), 0);
}

function extentOf(bands) {
  const widths = bands.map((blocks) => total(blocks.map((block) => block.width), GAP.layer));
  return { width: Math.max(0, ...widths), height: total(bands.map(highest), GAP.band) };
}

/** The blocks in as many bands as make the graph the largest in *box*, up to its natural size. */
function foldedIn(box, blocks) {
  let [best, limit] = [{ bands: [blocks], zoom: 0 }, Infinity];
  while (box && best.zoom < 1) {
    const bands = wrapped(blocks, limit);
    const { width, height } = extentOf(bands);
    const zoom = Math.min(1, box.width / width, box.height / height);
    if (zoom > best.zoom * CLEARLY) best = { bands, zoom };
    if (bands.length === blocks.length || box.height / height < best.zoom) break; // more bands only make it higher
    limit = Math.min(width - 1, limit * NARROWER);
  }
  return best.bands;
}

/** The blocks in bands that are no wider than *limit*, if they can be. */
function wrapped(blocks, limit) {
  const bands = [];
  let width = Infinity;
  for (const block of blocks) {
    width += GAP.layer + block.width;
    if (width > limit || !bands.length) {
      bands.push([]);
      width = block.width;
    }
    bands.at(-1).push(block);
  }
  return bands;
}

/** The groups of a large graph, in the order of the layers: {first, last, part, layers, count}.
 *
 *  Consecutive small layers are one group; a layer of more than GROUP_UP_TO steps becomes several, with `part`
 *  as [number of the first step, of the last one] in the layer. `first` and `last` are indexes of layers.
 */
export function groupsOf(layers) {
  const count = layers.reduce((sum, layer) => sum + layer.length, 0);
  const target = Math.min(GROUP_UP_TO, Math.ceil(count / GROUPS_ABOUT));
  const groups = [];
  layers.forEach((layer, index) => {
    const last = groups.at(-1);
    if (layer.length > GROUP_UP_TO) {
      for (let at = 0; at < layer.length; at += GROUP_UP_TO) {
        const part = layer.slice(at, at + GROUP_UP_TO);
        groups.push({ first: index, last: index, part: [at + 1, at + part.length], layers: [part], count: part.length });
      }
    } else if (last && !last.part && last.count + layer.length <= target) {
      last.last = index;
      last.layers.push(layer);
      last.count += layer.length;
    } else {
      groups.push({ first: index, last: index, part: null, layers: [layer], count: layer.length });
    }
  });
  return groups;
}

/** The name of a group: "Layer 3", "Layers 3 to 7" or "Layer 3, steps 1 to 1,000". */
export function groupName({ first, last, part }) {
  if (first !== last) return `Layers ${first + 1} to ${last + 1}`;
  return part ? `Layer ${first + 1}, steps ${part[0].toLocaleString("en")} to ${part[1].toLocaleString("en")}` : `Layer ${first + 1}`;
}

/** The positions of groups and of the steps of those that are open: [{group, x, y, at: Map or null}].
 *
 *  `at` has the positions of an open group's steps, whose sizes *sizeOf* gives; its own position is then that of its heading.
 */
export function groupPositions(groups, isOpen, sizeOf) {
  let left = 0;
  const most = Math.max(LEAST_ROWS, Math.ceil(Math.sqrt(groups.length) * 1.3));
  const shown = [];
  let column = [];
  const flush = () => {
    column.forEach((group, row) => shown.push({
      group, at: null, x: left + NODE.width / 2, y: (row - (column.length - 1) / 2) * (NODE.height + GAP.row),
    }));
    if (column.length) left += NODE.width + GAP.layer;
    column = [];
  };
  for (const group of groups) {
    if (isOpen(group)) {
      flush();
      const { positions, width, height } = positionsOf(group.layers, sizeOf);
      for (const position of positions.values()) position.x += left;
      shown.push({ group, at: positions, x: left + NODE.width / 2, y: -height / 2 - NODE.height - GAP.row });
      left += width + GAP.layer;
      continue;
    }
    // Parts of one layer stand above each other, and other groups beside each other.
    if (column.length && (column[0].first !== group.first || column.length === most)) flush();
    column.push(group);
  }
  flush();
  return shown;
}
