// Tells how creations, additions and trainings have ended, whichever tab is open.

import { attempt } from "./api.js";
import { toast } from "./dom.js";

export class JobNews {
  /** Tell the results that are new since the page was opened. */
  tell({ jobs, session }) {
    const ended = jobs.filter((job) => job.state !== "running");
    this.told ??= new Set(ended.map((job) => job.number));
    for (const job of ended.filter((one) => !this.told.has(one.number))) {
      this.told.add(job.number);
      const done = job.state === "done";
      // A target that is shown is drawn anew, from its new pictures or by what it has learned.
      const changed = job.kind === "train" || job.kind === "add";
      if (changed && done && job.target === session?.target) {
        attempt("POST", "target", { name: job.target });
      }
      if (job.kind !== "switch" || !done) toast(job.result, { bad: !done });
    }
  }
}
