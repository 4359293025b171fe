// Two videos that are compared play in step: what the user does with one of them, the other one does, too.
//
// What must hold:
// - A change that is made here has no effect on the first video: its event is ignored.
// - A shorter video waits at its end, and a longer one plays on.

const SAME_S = 0.05;
const LATE_S = 0.25; // while both play, a larger difference is made up

/** A listener for lit-html of the events play, pause, seeking, ratechange and timeupdate of the videos below an element.
 *  *read* returns the videos that are shown now. */
export function playInStep(read) {
  const positions = new WeakMap(); // where a video was sent by the other one, in seconds
  const seek = (video, time) => {
    const wanted = Math.min(time, video.duration || time);
    if (Math.abs(video.currentTime - wanted) < SAME_S) return;
    positions.set(video, wanted);
    video.currentTime = wanted;
  };
  const handlers = {
    play(video, other) {
      if (other.duration <= video.currentTime) return;
      seek(other, video.currentTime);
      other.play().catch(() => {}); // it can't be played: it says so itself
    },
    pause(video, other) {
      if (video.ended) return;
      other.pause();
      seek(other, video.currentTime);
    },
    seeking(video, other) {
      const sentTo = positions.get(video);
      positions.delete(video);
      if (sentTo === undefined || Math.abs(video.currentTime - sentTo) > SAME_S) seek(other, video.currentTime);
    },
    ratechange(video, other) {
      if (other.playbackRate !== video.playbackRate) other.playbackRate = video.playbackRate;
    },
    timeupdate(video, other) {
      const [first] = read();
      const bothPlay = !video.paused && !other.paused && !other.seeking;
      if (video === first && bothPlay && Math.abs(video.currentTime - other.currentTime) > LATE_S) seek(other, video.currentTime);
    },
  };
  const handleEvent = ({ type, target }) => {
    const videos = [...read()];
    const other = videos.find((each) => each !== target);
    if (videos.length === 2 && other) handlers[type](target, other);
  };
  return { handleEvent, capture: true }; // these events don't bubble
}
