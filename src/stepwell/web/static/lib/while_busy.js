// The requests of a form: one at a time, and the form shows their errors.

/** Calls *work*, unless an earlier call is under way. *state* gets `busy`, and the `error` that *work* throws. *redraw* shows them.
 *  *onLate*, if there is one, is called instead with an error that says that the request came too late. */
export async function whileBusy(state, redraw, work, onLate = null) {
  if (state.busy) return;
  Object.assign(state, { busy: true, error: null });
  redraw();
  try {
    await work();
  } catch (error) {
    if (error.status === 409 && onLate) onLate(error);
    else state.error = error;
  }
  state.busy = false;
  redraw();
}
