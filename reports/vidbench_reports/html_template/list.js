"use strict";
/* The list of clips: filters, sorting, pages and panels. Where the clips come from is the source's business:

   source.page(query, page, size)  { total, page, clips }: one page of those that match
   source.place(clip, query)       the clip's place among them, or -1
   source.whole(clip)              the clip with all that its panel shows
   source.printed(query, most)     { total, clips } for paper; absent where that takes time

   Each may answer at once or with a promise. */
vidbench.clipList = (run, place, source) => {
  const PAGE = 100; // rows drawn at once
  const PRINTED = 400; // rows of clips that are printed
  const { calm, h, s, breakable, many, number, marks, other, chooser, then } = vidbench;
  const { address, filmstrip, findingList, panel } = vidbench.views(run);
  if (run.total === 0) {
    place.append(h("p", { class: "empty" }, "No files were met in the clip folder."));
    return;
  }
  const columns = [
    { label: "Clip", first: "ascending" },
    { label: "Model", first: "ascending" },
    { label: "Findings", first: "descending" },
    ...run.metrics.map((metric) => ({ label: metric.name, metric, arrow: metric.arrow,
      first: metric.higher || metric.diagnostic ? "descending" : "ascending" })),
  ];
  const state = { column: 2, direction: "descending", page: 0, open: new Set(), asked: 0 };

  const search = h("input", { type: "search", id: "clip-search", placeholder: "Prompt, name, model or finding", autocomplete: "off", spellcheck: "false" });
  const models = h("select", { id: "clip-model" }, h("option", { value: "" }, "All models"),
    run.models.map((model, i) => h("option", { value: i }, model.name)));
  const statuses = h("select", { id: "clip-status" }, h("option", { value: "" }, `All files (${run.total})`),
    ["scored", "failed", "skipped"].filter((status) => run.counts[status])
      .map((status) => h("option", { value: status }, `${status} (${run.counts[status]})`)));
  const kinds = h("select", { id: "clip-kind" }, h("option", { value: "" }, "All findings"),
    run.kinds.map((kind) => h("option", { value: kind }, kind)));
  const only = h("input", { type: "checkbox", id: "clip-found" });
  const told = h("p", { class: "told", role: "status" });
  const headers = columns.map((column, i) => h("th", { scope: "col", class: column.metric ? "number" : `c${i}`, "aria-sort": "none",
    "data-first": column.first, title: column.metric ? column.metric.unit : null },
  h("button", { type: "button", class: "sort", onclick: () => {
    const now = headers[i].getAttribute("aria-sort");
    sort(i, now === "none" ? column.first : other(now));
  } }, breakable(column.label), column.arrow ? ` ${column.arrow}` : "")));
  const body = h("tbody", {});
  const table = h("table", { class: `clips${columns.length > 30 ? " crowded" : columns.length > 19 ? " full" : ""}`, id: "clip-table" }, h("caption", { class: "sr" }, "Clips with their scores"),
    h("thead", {}, h("tr", {}, headers)), body);
  const choice = chooser("sort-clips", headers, (i, direction) => sort(i, direction));
  const pager = h("div", { class: "pager" });
  place.append(
    h("div", { class: "tools" },
      h("label", { class: "grow" }, h("span", { class: "sr" }, "Filter clips"), search),
      h("label", {}, h("span", { class: "sr" }, "Model"), models),
      h("label", {}, h("span", { class: "sr" }, "Status"), statuses),
      run.kinds.length ? h("label", {}, h("span", { class: "sr" }, "Kind of finding"), kinds) : null,
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
        : clip.found ? h("span", { class: "badge", title: clip.kinds.join(", ") }, clip.found) : h("span", { class: "muted" }, "0")),
      clip.status === "scored" ? run.metrics.map((metric, i) => scoreCell(clip, metric, i))
        : h("td", { class: "why", colspan: Math.max(1, run.metrics.length) }, h("bdi", {}, clip.reason ?? "no reason given")));
    const detail = h("tr", { class: "detail", id, hidden: !isOpen });
    const fill = (content) => detail.replaceChildren(h("td", { colspan: columns.length }, content));
    const build = () => then(source.whole(clip), (whole) => state.open.has(clip.index) && fill(panel(whole, open)),
      (trouble) => fill(h("p", { class: "panel why" }, trouble)));
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

  const query = () => ({ text: search.value, model: models.value, status: statuses.value, kind: kinds.value,
    found: only.checked, column: state.column, direction: state.direction });

  /** Draw what the source answers; of answers that overtake each other only the last question's counts. */
  function draw(after) {
    const asked = ++state.asked;
    then(source.page(query(), state.page, PAGE), (answer) => {
      if (asked !== state.asked) return;
      show(answer);
      after?.();
    }, (trouble) => { told.textContent = trouble; });
  }

  function show({ total, page, clips: shown }) {
    const pages = Math.max(1, Math.ceil(total / PAGE));
    state.page = page;
    headers.forEach((header, i) => header.setAttribute("aria-sort", i === state.column ? state.direction : "none"));
    choice.select.value = `${state.column} ${state.direction}`;
    body.querySelectorAll("video").forEach((video) => video.pause());
    body.replaceChildren(...shown.flatMap((clip) => rows(clip, false)));
    if (shown.length === 0) {
      body.append(h("tr", { class: "nothing" }, h("td", { colspan: columns.length }, "No file matches. ",
        h("button", { type: "button", class: "plain", onclick: clear }, "Clear the filters"))));
    }
    told.textContent = total === run.total ? many(total, "file") : `${total.toLocaleString("en")} of ${many(run.total, "file")}`;
    const turn = (label, page) => h("button", { type: "button", class: "plain", disabled: page < 0 || page >= pages, onclick: () => {
      state.page = page;
      draw();
      place.scrollIntoView({ block: "start" });
    } }, label);
    pager.replaceChildren(...(pages > 1 ? [turn("← Previous", state.page - 1),
      h("span", {}, `${state.page * PAGE + 1}–${state.page * PAGE + shown.length} of ${total.toLocaleString("en")}`),
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

  function reset() {
    search.value = models.value = statuses.value = kinds.value = "";
    only.checked = false;
    state.page = 0;
  }

  function clear() {
    reset();
    draw();
  }

  /** Open a clip wherever it is in the list, dropping the filters if they hide it. */
  function open(clip) {
    then(source.place(clip, query()), (place) => {
      if (place < 0) {
        reset();
        then(source.place(clip, query()), (anywhere) => go(clip, anywhere));
      } else go(clip, place);
    });
  }

  function go(clip, place) {
    state.page = Math.floor(Math.max(0, place) / PAGE);
    state.open.add(clip.index);
    draw(() => {
      const row = body.querySelector(`tr[data-index="${clip.index}"]`);
      row.scrollIntoView({ block: "start", behavior: calm.matches ? "auto" : "smooth" });
      row.querySelector("button.expand").focus({ preventScroll: true });
    });
  }

  search.addEventListener("input", filter);
  for (const control of [models, statuses, kinds, only]) control.addEventListener("change", filter);
  // What a source only has later cannot be waited for while a browser prints: then what is drawn is printed.
  if (source.printed) addEventListener("beforeprint", () => {
    const { total, clips } = source.printed(query(), PRINTED);
    document.querySelectorAll("details").forEach((details) => { details.open = true; });
    body.querySelectorAll("video").forEach((video) => video.pause());
    body.replaceChildren(...clips.flatMap((clip) => rows(clip, true)));
    if (total > PRINTED) told.textContent = `the first ${PRINTED} of ${many(total, "file")}; filter to print others`;
  });
  addEventListener("afterprint", () => draw());
  draw();
};
