"use strict";
(() => {
  const PAGE = 100; // rows drawn at once
  const PRINTED = 400; // rows of clips that are printed
  const { calm, h, s, breakable, many, number, marks, order, other, chooser, startTheme } = vidbench;
  const run = JSON.parse(document.getElementById("run-data").textContent);
  run.siblings = (clip) => run.clips.filter((row) => row.prompt === clip.prompt && row !== clip && row.status === "scored");
  const { address, filmstrip, findingList, panel } = vidbench.views(run);

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

  /* ---- the list of clips ---- */
  function startClips() {
    const place = document.getElementById("clip-list");
    if (run.clips.length === 0) {
      place.append(h("p", { class: "empty" }, "No files were met in the clip folder."));
      return;
    }
    const name = (clip) => (clip.model === null ? "" : run.models[clip.model].name);
    const columns = [
      { label: "Clip", first: "ascending", value: (clip) => clip.prompt || clip.id },
      { label: "Model", first: "ascending", value: name },
      { label: "Findings", first: "descending", value: (clip) => clip.findings.length },
      ...run.metrics.map((metric, i) => ({ label: metric.name, metric, arrow: metric.arrow,
        first: metric.higher || metric.diagnostic ? "descending" : "ascending", value: (clip) => clip.scores[i][0] })),
    ];
    run.clips.forEach((clip, i) => {
      clip.index = i;
      clip.text = [clip.id, clip.prompt ?? "", name(clip), clip.status, ...clip.findings.map((finding) => finding.kind)]
        .join("\n").toLowerCase();
    });
    const state = { column: 2, direction: "descending", page: 0, open: new Set() };

    const search = h("input", { type: "search", id: "clip-search", placeholder: "Prompt, name, model or finding", autocomplete: "off", spellcheck: "false" });
    const models = h("select", { id: "clip-model" }, h("option", { value: "" }, "All models"),
      run.models.map((model, i) => h("option", { value: i }, model.name)));
    const count = (status) => run.clips.filter((clip) => clip.status === status).length;
    const statuses = h("select", { id: "clip-status" }, h("option", { value: "" }, `All files (${run.clips.length})`),
      ["scored", "failed", "skipped"].filter(count).map((status) => h("option", { value: status }, `${status} (${count(status)})`)));
    const only = h("input", { type: "checkbox", id: "clip-found" });
    const told = h("p", { class: "told", role: "status" });
    const headers = columns.map((column, i) => h("th", { scope: "col", class: column.metric ? "number" : `c${i}`, "aria-sort": "none",
      "data-first": column.first, title: column.metric ? column.metric.unit : null },
    h("button", { type: "button", class: "sort", onclick: () => {
      const now = headers[i].getAttribute("aria-sort");
      sort(i, now === "none" ? column.first : other(now));
    } }, breakable(column.label), column.arrow ? ` ${column.arrow}` : "")));
    const body = h("tbody", {});
    const table = h("table", { class: "clips", id: "clip-table" }, h("caption", { class: "sr" }, "Clips with their scores"),
      h("thead", {}, h("tr", {}, headers)), body);
    const choice = chooser("sort-clips", headers, (i, direction) => sort(i, direction));
    const pager = h("div", { class: "pager" });
    place.append(
      h("div", { class: "tools" },
        h("label", { class: "grow" }, h("span", { class: "sr" }, "Filter clips"), search),
        h("label", {}, h("span", { class: "sr" }, "Model"), models),
        h("label", {}, h("span", { class: "sr" }, "Status"), statuses),
        h("label", { class: "check" }, only, " Only with findings"),
        h("span", { class: "choose" }, choice.label)),
      told,
      h("div", { class: "scroller", tabindex: 0, role: "region", "aria-label": "Clips, scrolls sideways" }, table),
      pager);

    function scoreCell(clip, metric, i) {
      const [value, reason] = clip.scores[i];
      const facts = { class: state.column === i + 3 ? "number sorted" : "number", "data-label": `${metric.name} ${metric.arrow}` };
      if (value === null) return h("td", { ...facts, title: `unscored: ${reason}` }, h("span", { class: "muted" }, "–"), h("span", { class: "sr" }, ` unscored: ${reason}`));
      const width = metric.high - metric.low;
      const spot = width > 0 ? s("circle", { cx: `${4 + (92 * (value - metric.low)) / width}%`, cy: 3, r: 2.5 }) : null;
      return h("td", { ...facts, title: `${metric.name}: ${number(value, metric.digits)}` }, number(value, metric.digits),
        s("svg", { class: "spot", width: "100%", height: 6, "aria-hidden": "true" }, s("line", { x1: "4%", x2: "96%", y1: 3, y2: 3 }), spot));
    }

    function rows(clip, printed) {
      const strip = clip.media.strip === null ? null : address(clip, "strip");
      const isOpen = !printed && state.open.has(clip.index);
      const id = `panel-${clip.index}`;
      const toggle = h("button", { type: "button", class: "expand", "aria-expanded": String(isOpen), "aria-controls": id },
        s("svg", { class: "chevron", viewBox: "0 0 10 10", width: 10, height: 10, "aria-hidden": "true" }, s("path", { d: "M3 1l4 4-4 4" })),
        strip === null ? h("span", { class: "thumb none", "aria-hidden": "true" }) : h("img", { class: "thumb", src: strip, alt: "", loading: printed ? "eager" : "lazy", decoding: "async" }),
        h("span", { class: "label" }, clip.prompt ? h("span", { class: "prompt", dir: "auto" }, clip.prompt) : null,
          h("bdi", { class: clip.prompt ? "file mono" : "file lone mono" }, clip.id)));
      const model = clip.model === null ? null : run.models[clip.model];
      const row = h("tr", { class: `clip ${clip.status}`, "data-index": clip.index },
        h("th", { scope: "row" }, toggle),
        h("td", { class: "of" }, model === null ? h("span", { class: "muted" }, "–") : h("span", { class: "model-cell" }, marks(model), h("bdi", {}, model.name))),
        h("td", { class: "found-count" }, clip.status !== "scored" ? h("span", { class: `status ${clip.status}` }, clip.status)
          : clip.findings.length ? h("span", { class: "badge", title: [...new Set(clip.findings.map((f) => f.kind))].join(", ") }, clip.findings.length) : h("span", { class: "muted" }, "0")),
        clip.status === "scored" ? run.metrics.map((metric, i) => scoreCell(clip, metric, i))
          : h("td", { class: "why", colspan: Math.max(1, run.metrics.length) }, h("bdi", {}, clip.reason ?? "no reason given")));
      const detail = h("tr", { class: "detail", id, hidden: !isOpen });
      const build = () => detail.replaceChildren(h("td", { colspan: columns.length }, panel(clip, open)));
      const set = (opened) => {
        toggle.setAttribute("aria-expanded", String(opened));
        row.classList.toggle("open", opened);
        detail.hidden = !opened;
        if (opened) {
          state.open.add(clip.index);
          build();
        } else {
          state.open.delete(clip.index);
          detail.querySelector("video")?.pause();
          detail.replaceChildren();
        }
      };
      row.addEventListener("click", (event) => {
        if (String(getSelection()) && !event.target.closest("button")) return; // a person is copying text
        set(detail.hidden);
      });
      if (isOpen) set(true);
      if (!printed) return [row, detail];
      const extra = [clip.media.strip === null ? null : filmstrip(clip, null), findingList(clip, null, true)].filter((part) => part !== null);
      return extra.length ? [row, h("tr", { class: "detail" }, h("td", { colspan: columns.length }, h("div", { class: "panel" }, extra)))] : [row];
    }

    function matching() {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      return run.clips.filter((clip) =>
        words.every((word) => clip.text.includes(word)) &&
        (models.value === "" || clip.model === Number(models.value)) &&
        (statuses.value === "" || clip.status === statuses.value) &&
        (!only.checked || clip.findings.length > 0))
        .sort((a, b) => order(columns[state.column].value(a), columns[state.column].value(b), state.direction) || a.index - b.index);
    }

    function draw() {
      const found = matching();
      const pages = Math.max(1, Math.ceil(found.length / PAGE));
      state.page = Math.min(state.page, pages - 1);
      const shown = found.slice(state.page * PAGE, (state.page + 1) * PAGE);
      headers.forEach((header, i) => header.setAttribute("aria-sort", i === state.column ? state.direction : "none"));
      choice.select.value = `${state.column} ${state.direction}`;
      body.querySelectorAll("video").forEach((video) => video.pause());
      body.replaceChildren(...shown.flatMap((clip) => rows(clip, false)));
      if (shown.length === 0) {
        body.append(h("tr", { class: "nothing" }, h("td", { colspan: columns.length }, "No file matches. ",
          h("button", { type: "button", class: "plain", onclick: clear }, "Clear the filters"))));
      }
      told.textContent = found.length === run.clips.length ? many(found.length, "file") : `${found.length.toLocaleString("en")} of ${many(run.clips.length, "file")}`;
      const turn = (label, page) => h("button", { type: "button", class: "plain", disabled: page < 0 || page >= pages, onclick: () => {
        state.page = page;
        draw();
        place.scrollIntoView({ block: "start" });
      } }, label);
      pager.replaceChildren(...(pages > 1 ? [turn("← Previous", state.page - 1),
        h("span", {}, `${state.page * PAGE + 1}–${state.page * PAGE + shown.length} of ${found.length.toLocaleString("en")}`),
        turn("Next →", state.page + 1)] : []));
    }

    function sort(i, direction) {
      Object.assign(state, { column: i, direction, page: 0 });
      draw();
    }

    function filter() {
      state.page = 0;
      draw();
    }

    function clear() {
      search.value = models.value = statuses.value = "";
      only.checked = false;
      filter();
    }

    /** Open a clip wherever it is in the list, dropping the filters if they hide it. */
    function open(clip) {
      if (!matching().includes(clip)) clear();
      state.page = Math.floor(matching().indexOf(clip) / PAGE);
      state.open.add(clip.index);
      draw();
      const row = body.querySelector(`tr[data-index="${clip.index}"]`);
      row.scrollIntoView({ block: "start", behavior: calm.matches ? "auto" : "smooth" });
      row.querySelector("button.expand").focus({ preventScroll: true });
    }

    search.addEventListener("input", filter);
    for (const control of [models, statuses, only]) control.addEventListener("change", filter);
    addEventListener("beforeprint", () => {
      const found = matching();
      document.querySelectorAll("details").forEach((details) => { details.open = true; });
      body.querySelectorAll("video").forEach((video) => video.pause());
      body.replaceChildren(...found.slice(0, PRINTED).flatMap((clip) => rows(clip, true)));
      if (found.length > PRINTED) told.textContent = `the first ${PRINTED} of ${many(found.length, "file")}; filter to print others`;
    });
    addEventListener("afterprint", draw);
    draw();
  }

  startTheme();
  startRankedTable();
  startClips();
})();
