// The events of one run as they happen, from the stream that all tabs of the browser share.
import { follow } from "../../lib/stream.js";

/** Calls onEvents with lists of the run's events, and onGap when some may have been missed; until the function that it
 *  returns is called. */
export function followRun(id, { onEvents, onGap }) {
  const ofRun = (event) => event.workflow_id === id;
  return follow({
    onGap,
    onEvents: (events) => {
      const own = events.filter(ofRun);
      if (own.length) onEvents(own);
    },
  });
}
