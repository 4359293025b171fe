// The difference of two texts by lines, as `diff -u` writes it, by their longest common subsequence.

const MOST_CELLS = 4_000_000; // of the table: beyond it, what is between the equal ends is removed and added as a whole
const AROUND = 3; // equal lines that are shown before and after a change

const marked = (mark, lines) => lines.map((text) => ({ mark, text }));

/** The lines of the difference, {mark, text} each: mark is " ", "-", "+" or "@". There are none if the texts are equal. */
export function differenceOf(oldText, newText) {
  const [before, after] = [oldText.split("\n"), newText.split("\n")];
  const least = Math.min(before.length, after.length);
  let [start, end] = [0, 0];
  while (start < least && before[start] === after[start]) start += 1;
  while (end < least - start && before.at(-1 - end) === after.at(-1 - end)) end += 1;
  const middle = edits(before.slice(start, before.length - end), after.slice(start, after.length - end));
  return hunks([...marked(" ", before.slice(0, start)), ...middle, ...marked(" ", before.slice(before.length - end))]);
}

/** All lines of both, each with its mark. */
function edits(before, after) {
  if (before.length * after.length > MOST_CELLS) return [...marked("-", before), ...marked("+", after)];
  const width = after.length + 1;
  const common = new Uint32Array((before.length + 1) * width); // how many lines those from x and those from y have in common
  for (let x = before.length - 1; x >= 0; x -= 1) {
    for (let y = after.length - 1, at = x * width + y; y >= 0; y -= 1, at -= 1) {
      common[at] = before[x] === after[y] ? common[at + width + 1] + 1 : Math.max(common[at + width], common[at + 1]);
    }
  }
  const lines = [];
  for (let x = 0, y = 0; x < before.length || y < after.length;) {
    const at = x * width + y;
    if (x < before.length && before[x] === after[y]) {
      lines.push({ mark: " ", text: before[x++] });
      y += 1;
    } else if (x < before.length && (y === after.length || common[at + width] >= common[at + 1])) lines.push({ mark: "-", text: before[x++] });
    else lines.push({ mark: "+", text: after[y++] });
  }
  return lines;
}

/** The lines near a change. Each group of them begins with a line that has its ranges in both texts. */
function hunks(lines) {
  const shown = new Set(lines.flatMap(({ mark }, i) => (mark === " " ? [] : Array.from({ length: 2 * AROUND + 1 }, (_, j) => i - AROUND + j))));
  const groups = [];
  const next = { "-": 1, "+": 1 };
  lines.forEach((line, i) => {
    if (shown.has(i) && (i === 0 || !shown.has(i - 1))) groups.push({ from: { ...next }, lines: [] });
    if (shown.has(i)) groups.at(-1).lines.push(line);
    for (const mark of "-+") if (line.mark === " " || line.mark === mark) next[mark] += 1;
  });
  const range = (mark, from, count) => `${mark}${from - (count ? 0 : 1)}${count === 1 ? "" : `,${count}`}`;
  const ranges = ({ from, lines: all }) => [..."-+"].map((mark) => range(mark, from[mark], all.filter((each) => [" ", mark].includes(each.mark)).length));
  return groups.flatMap((each) => [{ mark: "@", text: `@ ${ranges(each).join(" ")} @@` }, ...each.lines]);
}
