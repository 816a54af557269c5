"use strict";
(() => {
  const { h, startTheme } = vidbench;
  const run = JSON.parse(document.getElementById("run-data").textContent);
  const lost = "The server does not answer: is vidbench serve still running?";

  async function ask(path, parameters) {
    const address = new URL(run.base + path, location.origin);
    for (const [name, value] of Object.entries(parameters ?? {})) address.searchParams.set(name, value);
    let answer;
    try {
      answer = await fetch(address);
    } catch {
      throw lost;
    }
    if (!answer.ok) throw `The server answers: ${(await answer.text()).slice(0, 300)}`;
    return answer.json();
  }

  /** Addresses of pictures and clips are told relative to the run. */
  function placed(clip) {
    for (const kind of ["strip", "video"]) if (clip.media[kind] !== null) clip.media[kind] = run.base + clip.media[kind];
    for (const finding of clip.findings ?? []) if (finding.picture !== null) finding.picture[0] = run.base + finding.picture[0];
    clip.siblings?.forEach(placed);
    return clip;
  }

  function asked(query) {
    const parameters = { column: query.column, direction: query.direction };
    for (const name of ["text", "model", "status", "kind"]) if (query[name] !== "") parameters[name] = query[name];
    if (query.found) parameters.found = 1;
    return parameters;
  }

  run.siblings = (clip) => clip.siblings;
  startTheme();
  vidbench.clipList(run, document.getElementById("clip-list"), {
    async page(query, page, size) {
      const answer = await ask("clips", { ...asked(query), page, size });
      answer.clips.forEach(placed);
      return answer;
    },
    place: (clip, query) => ask("place", { ...asked(query), clip: clip.index }),
    async whole(clip) {
      const whole = placed(await ask(`detail/${clip.index}`));
      if (whole.original !== null) {
        const link = h("a", { href: run.base + whole.original, target: "_blank", rel: "noopener" }, "open the clip itself");
        whole.facts.push(link);
      }
      return whole;
    },
  });
})();
