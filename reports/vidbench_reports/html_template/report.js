"use strict";
(() => {
  const { order, other, chooser, startTheme } = vidbench;
  const run = JSON.parse(document.getElementById("run-data").textContent);

  function startRankedTable() {
    const table = document.getElementById("ranked");
    if (table === null) return;
    const headers = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
    const body = table.tBodies[0];
    const value = (row, i) => {
      const raw = row.cells[i].dataset.value;
      return i === 0 || raw === "" ? raw : Number(raw);
    };
    const sort = (i, direction) => {
      headers.forEach((header, k) => header.setAttribute("aria-sort", k === i ? direction : "none"));
      body.append(...[...body.rows].sort((a, b) => order(value(a, i), value(b, i), direction)));
      choice.select.value = `${i} ${direction}`;
    };
    const choice = chooser("sort-ranked", headers, sort);
    headers.forEach((header, i) => header.querySelector("button").addEventListener("click", () => {
      const now = header.getAttribute("aria-sort");
      sort(i, now === "none" ? header.dataset.first : other(now));
    }));
    const place = document.querySelector('.choose[data-for="ranked"]');
    place.append(choice.label);
    place.hidden = false;
    choice.select.value = "1 ascending";
  }

  /** The clips of this page, which holds them all. */
  function ownClips() {
    const name = (clip) => (clip.model === null ? "" : run.models[clip.model].name);
    const values = [(clip) => clip.prompt || clip.id, name, (clip) => clip.found,
      ...run.metrics.map((_, i) => (clip) => clip.scores[i][0])];
    run.clips.forEach((clip, i) => {
      clip.index = i;
      clip.found = clip.findings.length;
      clip.kinds = [...new Set(clip.findings.map((finding) => finding.kind))];
      clip.text = [clip.id, clip.prompt ?? "", name(clip), clip.status, ...clip.kinds].join("\n").toLowerCase();
    });
    function matching(query) {
      const words = query.text.toLowerCase().split(/\s+/).filter(Boolean);
      const value = values[query.column];
      return run.clips.filter((clip) =>
        words.every((word) => clip.text.includes(word)) &&
        (query.model === "" || clip.model === Number(query.model)) &&
        (query.status === "" || clip.status === query.status) &&
        (query.kind === "" || clip.kinds.includes(query.kind)) &&
        (!query.found || clip.found > 0))
        .sort((a, b) => order(value(a), value(b), query.direction) || a.index - b.index);
    }
    return {
      page(query, wanted, size) {
        const found = matching(query);
        const page = Math.min(wanted, Math.max(0, Math.ceil(found.length / size) - 1));
        return { total: found.length, page, clips: found.slice(page * size, (page + 1) * size) };
      },
      place: (clip, query) => matching(query).indexOf(clip),
      whole: (clip) => clip,
      printed(query, most) {
        const found = matching(query);
        return { total: found.length, clips: found.slice(0, most) };
      },
    };
  }

  startTheme();
  startRankedTable();
  const source = ownClips();
  const count = (status) => run.clips.filter((clip) => clip.status === status).length;
  Object.assign(run, {
    total: run.clips.length,
    counts: { scored: count("scored"), failed: count("failed"), skipped: count("skipped") },
    kinds: [...new Set(run.clips.flatMap((clip) => clip.kinds))].sort(),
    siblings: (clip) => run.clips.filter((row) => row.prompt === clip.prompt && row !== clip && row.status === "scored"),
  });
  vidbench.clipList(run, document.getElementById("clip-list"), source);
})();
