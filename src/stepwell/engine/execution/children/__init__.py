"""Runs the sub-workflows of steps: creates them, pauses and resumes them with their parents, and reports their ends.

    attempt ──► create ──► `Submitted` ──► it runs as any workflow ──► it has ended ──► `Succeeded` or `AttemptFailed`

`child_attempts` stores, begins and stops the sub-workflow of an attempt, which `child_builder` validates and builds.
`child_checker` pauses, resumes and checks those that exist, and reads how one has ended. `stored_children` has the
calls of the store that they share.

What must hold:
- A sub-workflow is created once: with the id in the row of its step or item, and after `Sending` is committed.
- The statement that stores a sub-workflow stores nothing once its attempt has ended. The follow-up of the attempt
  begins after that end. So it stops a sub-workflow that exists, and none is created later.
- Only committed statuses are reported. A message that a sub-workflow has ended leads to a check of its stored status.
  Messages may get lost: once a parent is loaded, each of its sub-workflows is checked (`PauseOrResumeChild`).
- A parked parent is due as soon as one of its sub-workflows has ended, also if that ended while the parent left memory.
- A parent has at most one task for its checks, and none once it has left memory.
- Sub-workflows that are created at the same time don't block the event loop together: those of a tenant are built one
  after another, with an iteration of the event loop in between. A large one is validated in a thread.
- A sub-workflow takes as many slots of active workflows as the same definition that a client creates.
"""
