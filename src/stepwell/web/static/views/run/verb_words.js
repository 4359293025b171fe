// What a verb does, in words: from the API's dry run. Pure functions without a page.
import { plural } from "../../lib/format.js";
import { statusText } from "../../lib/status.js";

const NAMED = 3;

/** The verbs that a run's status allows, in the order of their buttons. */
export function verbsOf(run) {
  const { status } = run;
  if (run.is_deleted) return status === "RUNNING" ? [] : ["delete"];
  const verbs = [];
  if (status === "PENDING") verbs.push("start");
  if (status === "FAILED" || status === "PAUSED") verbs.push("resume");
  if (status === "RUNNING") verbs.push("pause");
  if (status === "RUNNING" || status === "PENDING") verbs.push("cancel");
  if (status !== "RUNNING") verbs.push("cleanup", "delete");
  return verbs;
}

/** Sentences that say what the verb of *dry*, a dry run, does: [{text, steps}], where steps are ids that it names. */
export function sentencesOf(dry) {
  const reset = new Set(dry.reset);
  const may = dry.may_run ?? [];
  const starts = [...dry.would_run, ...dry.would_run_later];
  const sentences = [
    sentence(dry.reset.filter((id) => !may.includes(id)), "runs again", "run again"),
    sentence(starts.filter((id) => !reset.has(id)), "runs", "run"),
    sentence(may, "runs if a condition is true", "run if a condition is true"),
    sentence(dry.running, ...goesOn(dry.verb)),
    sentence(dry.cancelled, "is cancelled", "are cancelled"),
    ...subWorkflows(dry),
    ...jobs(family(dry).flatMap((each) => each.remote_jobs_to_cancel)),
    sentence(dry.still_skipped ?? [], "stays skipped", "stay skipped"),
    sentence(dry.still_failed ?? [], "that is optional stays failed", "that are optional stay failed"),
    dry.kept.length ? { text: `${plural(dry.kept.length, "result")} ${are(dry.kept)} kept`, steps: dry.kept } : null,
    ...files(dry),
  ].filter(Boolean);
  if (dry.status_after !== dry.status_now) sentences.push({ text: `The run becomes ${statusText(dry.status_after)}`, steps: [] });
  return sentences;
}

/** The forecast *dry*, and those of its sub-workflows at any depth. */
export function family(dry) {
  return [dry, ...(dry.sub_workflows ?? []).flatMap((below) => family(below.dry_run))];
}

const PAST_FORMS = { pause: "paused", resume: "resumed", cancel: "cancelled", cleanup: "deleted" };

function subWorkflows(dry) {
  const members = family(dry).flatMap((each) => each.sub_workflows ?? []);
  const rest = family(dry).reduce((sum, each) => sum + (each.sub_workflows_left_out ?? 0), 0);
  const creating = (dry.sub_workflows ?? []).filter((below) => below.workflow_id === null).map((below) => below.step_id);
  return [
    ...Object.entries(PAST_FORMS).map(([verb, done]) => {
      const matches = members.filter((below) => below.workflow_id !== null && below.dry_run.verb === verb);
      return matches.length ? { text: `${plural(matches.length, "sub-workflow")} ${are(matches)} ${done}`, steps: [] } : null;
    }),
    sentence(creating, "creates a sub-workflow", "create sub-workflows"),
    rest ? { text: `${plural(rest, "more sub-workflow")} ${rest === 1 ? "is" : "are"} not examined`, steps: [] } : null,
  ];
}

function goesOn(verb) {
  return verb === "pause" ? ["goes on to its end, and nothing new starts", "go on to their ends, and nothing new starts"]
    : ["goes on", "go on"];
}

function sentence(steps, one, many) {
  return steps.length ? { text: `${plural(steps.length, "step")} ${steps.length === 1 ? one : many}`, steps } : null;
}

function are(list) {
  return list.length === 1 ? "is" : "are";
}

function jobs(all) {
  const byProvider = new Map();
  for (const job of all) {
    const name = job.provider ?? "its provider";
    byProvider.set(name, [...(byProvider.get(name) ?? []), job.step_id]);
  }
  return [...byProvider].map(([name, steps]) => ({
    text: `${plural(steps.length, "job")} ${are(steps)} cancelled at ${name}`, steps,
  }));
}

function files(dry) {
  if (dry.verb !== "cleanup") return [];
  const toDelete = family(dry).flatMap((each) => each.files_to_delete);
  const toKeep = family(dry).flatMap((each) => each.files_kept);
  return [
    { text: toDelete.length ? `${plural(toDelete.length, "file")} ${are(toDelete)} deleted` : "No file is deleted", steps: [] },
    toKeep.length ? { text: `${plural(toKeep.length, "file")} ${toKeep.length === 1 ? "stays" : "stay"}, because other runs name ${
      toKeep.length === 1 ? "it" : "them"}`, steps: [] } : null,
    { text: "The run leaves the list of runs, and can't be resumed", steps: [] },
  ];
}

/** "draw, paint and 2 more". */
export function nameSteps(steps) {
  const more = steps.length - NAMED;
  return steps.slice(0, NAMED).join(", ") + (more > 0 ? ` and ${more.toLocaleString("en")} more` : "");
}
