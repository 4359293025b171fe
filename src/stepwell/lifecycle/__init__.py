"""The state machine of a workflow: every change of status that a workflow, a step or a task can make.

    workflow
                          ┌──────── resume ─────────┐
                          ▼                         │
    create ──► PENDING ──start──► RUNNING ──pause──► PAUSED
                  │                 │  │ ▲             │ no step runs any more:
                  │                 │  │ └─ resume ──┐  ├─ all steps COMPLETED ──► COMPLETED
                  │          cancel │  │             │  └─ a step FAILED ───────► FAILED
                  └─ cancel ─┐      │  ├─ all steps COMPLETED ──► COMPLETED
                             ▼      ▼  └─ a step FAILED and no step runs;
                            CANCELLED     or timed out ────► FAILED ─ resume ─► RUNNING

    step     PENDING ─dispatched─► RUNNING ─succeeded─► COMPLETED (never runs again)
                ▲  ▲                │ ▲ └─failed─┬─ retry, fallback: RUNNING, `next_attempt_at`
                │  └─ held back ────┘ └──────────┘─ for good: FAILED ─ dependants: as `run_if` says
                └──── resume ─── FAILED, SKIPPED, CANCELLED

    task     INTENT ──► INTENT, sent ──┬──► SUBMITTED ──► REMOTE_DONE ──► STORED (the step is COMPLETED)
                                       └──► outcome_unknown ──► SUBMITTED, or the task FAILED

Cleanup marks the workflow deleted. It is allowed in every status except RUNNING; PENDING and PAUSED become CANCELLED
first. The engine deletes the files afterwards, and reports that with `FilesDeleted`.

Held back: while a workflow starts nothing (PAUSED, or draining after a failure), a step between two attempts goes back
to PENDING. So RUNNING always means that an attempt runs or that a timer will start one. A step that a circuit breaker
holds back is something else: the run doesn't know of that, see `engine.dispatch.model_health`.

A failure stops the workflow unless the step is optional, or the workflow's `on_failure` is "continue". If it doesn't,
the dependants of the step begin or are SKIPPED, see `run_if`. A workflow is COMPLETED once every step is COMPLETED,
SKIPPED, or FAILED and optional; "all steps COMPLETED" stands for that above.

What happens to an attempt at its provider, and to a job that was abandoned there, is in `remote_transitions`.
"""
