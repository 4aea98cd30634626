// The one loop that asks: nothing is asked again before it has been answered, and nothing while nobody looks.

let wakeNow = () => {};

/** Ends the pause that the loop makes, when something is to be seen at once. */
export const wake = () => wakeNow();

/** Does a job again and again, with a pause after each. */
export async function forever(job, pauseMs) {
  for (;;) {
    while (document.hidden) await visibilityChanges();
    // What goes wrong in showing one thing must not end the asking.
    await job().catch((error) => console.error(error));
    await pause(pauseMs);
  }
}

function visibilityChanges() {
  return new Promise((done) => document.addEventListener("visibilitychange", done, { once: true }));
}

function pause(ms) {
  return new Promise((done) => {
    const timer = setTimeout(done, ms);
    wakeNow = () => {
      clearTimeout(timer);
      done();
    };
  });
}
