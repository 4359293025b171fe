"""Runs the sub-workflows of steps: creates them, lets them follow their parents, and reports their ends.

    attempt ──► create ──► `Submitted` ──► it runs as any workflow ──► it has ended ──► `Succeeded` or `AttemptFailed`

`child_attempts` begins and stops the sub-workflow of an attempt. `child_builder` builds it with `child_validator`, and
`child_inserter` stores it. `child_follower` follows those that exist, and `child_ends` reads how one has ended.
`stored_children` has the calls of the store that they share.

What must hold:
- A sub-workflow is created once: with the id in the row of its step or item, and after `Sending` is committed.
- The statement that stores a sub-workflow stores none once its attempt has ended. So the follow-up of the attempt,
  which begins after that, stops what is there, and nothing comes later.
- What is reported about a sub-workflow is what the database has committed. A message that one has ended only leads to
  a look at it, so a message may get lost: after its parent is loaded, each sub-workflow is looked at (`PauseChild`).
- A parent that has left memory parked is due if a sub-workflow has ended meanwhile, so that is looked for then.
- A parent has at most one task for its looks, and none once it has left memory.
- Sub-workflows that are created at the same time don't hold up the event loop together: one of a tenant is built after
  another, with a pass of the loop in between. A large one is validated in a thread.
- A sub-workflow counts as many active workflows as the same definition does that a client creates.
"""
