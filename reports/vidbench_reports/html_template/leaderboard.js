"use strict";
(() => {
  const SHOWN = 6; // models in the player at first
  const WORST = 30; // clips in the list of the worst
  const DRIFT = 0.06; // seconds by which a video may lag behind before it is set right
  const SVG = "http://www.w3.org/2000/svg";

  /* Text from outside only ever becomes a text node or an attribute value. */
  function fill(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes ?? {})) {
      if (value === null || value === undefined || value === false) continue;
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children.flat(2).filter((child) => child !== null && child !== undefined && child !== ""));
    return element;
  }
  const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
  const s = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);
  const mark = (model) =>
    s("svg", { class: `mark ${model.tone}`, viewBox: "-7 -7 14 14", width: 14, height: 14, "aria-hidden": "true" },
      s("use", { href: `#mark-${model.shape}` }));

  function number(value, digits) {
    if (value !== 0 && (Math.abs(value) <= 0.5 * 10 ** -digits || Math.abs(value) >= 1e7)) return value.toExponential(2);
    return value.toFixed(digits).replace(/^-(0\.?0*)$/, "$1");
  }

  /* ---- theme ---- */
  function startTheme() {
    const button = document.getElementById("theme");
    const themes = ["system", "light", "dark"];
    let theme = "system";
    try {
      theme = localStorage.getItem("vidbench-theme") ?? theme;
    } catch { /* a page that may not store keeps to the system's theme */ }
    if (!themes.includes(theme)) theme = "system";
    const show = () => {
      if (theme === "system") document.documentElement.removeAttribute("data-theme");
      else document.documentElement.dataset.theme = theme;
      button.replaceChildren(h("span", {}, "Theme: "), theme);
      button.setAttribute("aria-label", `Theme: ${theme}`);
    };
    button.hidden = false;
    button.addEventListener("click", () => {
      theme = themes[(themes.indexOf(theme) + 1) % themes.length];
      try {
        localStorage.setItem("vidbench-theme", theme);
      } catch { /* as above */ }
      show();
    });
    show();
  }

  /* ---- the ranked table ---- */
  const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
  const other = (direction) => (direction === "ascending" ? "descending" : "ascending");

  /** Order of two values; a missing one comes last either way. */
  function order(a, b, direction) {
    if (a === "" || b === "") return (a === "") - (b === "");
    const ascending = typeof a === "number" ? a - b : collator.compare(a, b);
    return direction === "ascending" ? ascending : -ascending;
  }

  function startRanking(board, suffix) {
    const table = board.querySelector(".ranked");
    const headers = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
    const body = table.tBodies[0];
    const value = (row, i) => {
      const raw = row.cells[i].dataset.value;
      return i === 0 || raw === "" ? raw : Number(raw);
    };
    const options = headers.flatMap((header, i) =>
      [header.dataset.first, other(header.dataset.first)].map((direction) =>
        h("option", { value: `${i} ${direction}` }, `${header.querySelector("button").textContent.trim()}, ${direction}`)));
    const select = h("select", { id: `sort-${suffix}`, onchange: () => {
      const [i, direction] = select.value.split(" ");
      sort(Number(i), direction);
    } }, options);
    function sort(i, direction) {
      headers.forEach((header, k) => header.setAttribute("aria-sort", k === i ? direction : "none"));
      const rows = [...body.rows].map((row) => [row, value(row, i)]);
      for (const [row] of rows) {
        row.querySelector(".sorted")?.classList.remove("sorted");
        row.cells[i].classList.add("sorted");
      }
      body.append(...rows.sort((a, b) => order(a[1], b[1], direction)).map(([row]) => row));
      select.value = `${i} ${direction}`;
    }
    headers.forEach((header, i) => header.querySelector("button").addEventListener("click", () => {
      const now = header.getAttribute("aria-sort");
      sort(i, now === "none" ? header.dataset.first : other(now));
    }));
    const place = board.querySelector(".choose");
    /* On a phone a model's card holds what is sorted by, and the rest on demand. */
    const whole = h("input", { type: "checkbox", onchange: () => place.parentElement.classList.toggle("brief", !whole.checked) });
    place.append(h("label", { for: `sort-${suffix}` }, "Sort by ", select), h("label", {}, whole, "all metrics of each model"));
    place.parentElement.classList.add("brief");
    place.hidden = false;
    select.value = "1 ascending";
  }

  /* ---- parallel coordinates ---- */
  function startParallel(board) {
    const figure = board.querySelector(".parallel");
    if (figure === null) return;
    const pinned = new Set();
    const show = (hovered) => {
      const chosen = hovered === null ? pinned : new Set([...pinned, hovered]);
      figure.classList.toggle("picking", chosen.size > 0);
      for (const line of figure.querySelectorAll(".line")) line.classList.toggle("picked", chosen.has(line.dataset.line));
    };
    for (const line of figure.querySelectorAll(".line")) {
      line.addEventListener("pointerenter", () => show(line.dataset.line));
      line.addEventListener("pointerleave", () => show(null));
    }
    for (const key of board.querySelectorAll(".key")) {
      const line = key.dataset.line;
      key.addEventListener("pointerenter", () => show(line));
      key.addEventListener("pointerleave", () => show(null));
      key.addEventListener("click", () => {
        if (!pinned.delete(line)) pinned.add(line);
        key.setAttribute("aria-pressed", pinned.has(line));
        show(null);
      });
    }
  }

  /* ---- pairs ---- */
  function startPairs(board, data) {
    const table = board.querySelector(".pairs");
    if (table === null) return;
    const tools = board.querySelector(".pair-tools");
    const select = board.querySelector(".pair-metric");
    const told = board.querySelector(".pair-told");
    const cells = [...table.tBodies[0].rows].map((row) => [...row.cells].slice(1));
    const counted = cells.map((row) => row.map((cell) => [cell.className, [...cell.childNodes]]));
    const explained = told.textContent;
    tools.hidden = false;
    select.addEventListener("change", () => {
      const metric = data.pairs[select.value];
      if (metric === undefined) {
        told.textContent = explained;
        cells.forEach((row, i) => row.forEach((cell, j) => {
          cell.className = counted[i][j][0];
          cell.replaceChildren(...counted[i][j][1]);
        }));
        return;
      }
      told.textContent = `${select.value}: the row's model minus the column's, with the 95 % interval of this pair alone and Holm's p over all pairs; filled where the row's model is certainly better.`;
      cells.forEach((row, i) => row.forEach((cell, j) => {
        if (i === j) return;
        const turned = metric.rows[`${j} ${i}`];
        const [sign, found] = turned === undefined ? [1, metric.rows[`${i} ${j}`]] : [-1, turned];
        if (found === undefined) {
          cell.className = "";
          cell.replaceChildren("–");
          return;
        }
        const [value, low, high, p, winner] = found;
        const ends = low === null ? null : [sign * low, sign * high].sort((a, b) => a - b);
        cell.className = winner === 0 ? "" : winner * sign > 0 ? "ahead" : "behind";
        cell.replaceChildren(`${sign * value > 0 ? "+" : ""}${number(sign * value, metric.digits)}`, h("small", {},
          ends === null ? "no interval" : `${number(ends[0], metric.digits)} to ${number(ends[1], metric.digits)}`,
          p === null ? "" : `, p ${p < 0.001 ? "< 0.001" : p.toFixed(3)}`));
      }));
    });
  }

  /* ---- clips ---- */
  /** [model, item, base, stem, file, ...values] as an object. */
  function clipsOf(data) {
    return data.clips.map(([model, item, base, stem, file, ...values]) => ({
      model, item, file, values,
      source: stem === null ? null : data.bases[base] + stem + ".mp4",
    }));
  }

  /** The first metric that judges and tells clips apart. */
  function telling(data, clips) {
    const real = clips.filter((clip) => data.models[clip.model].kind === "model");
    const varies = (i) => new Set(real.map((clip) => clip.values[i]).filter((v) => v !== null)).size > 1;
    const found = data.metrics.findIndex((metric, i) => !metric.diagnostic && varies(i));
    return Math.max(0, found);
  }

  function worse(metric, a, b) {
    return metric.higher ? a - b : b - a;
  }

  /** Several videos of one prompt on one clock. */
  function startPlayer(board, data, clips, suffix) {
    const place = board.querySelector(".player-place");
    if (clips.length === 0) {
      place.append(h("p", { class: "empty" }, "There are no clips."));
      return null;
    }
    const items = data.items.map((label, i) => ({ label, index: i, clips: [] }));
    for (const clip of clips) items[clip.item].clips.push(clip);
    const shown = new Set(data.models.map((_, i) => i).filter((i) => data.models[i].kind === "model").slice(0, SHOWN));
    let sequence = items;
    let at = 0;
    let videos = [];
    let playing = false;
    let clock = 0; // seconds; of the longest clip
    let last = null;
    let tick = 1 / 8; // seconds that a step takes

    const judged = data.metrics.filter((metric) => !metric.diagnostic);
    const by = h("select", { id: `order-${suffix}` }, h("option", { value: "" }, "as they come"),
      judged.flatMap((metric) => [
        h("option", { value: `worst ${metric.name}` }, `worst ${metric.name} first`),
        h("option", { value: `gap ${metric.name}` }, `widest gap in ${metric.name} first`),
      ]));
    const choice = h("select", { id: `item-${suffix}` });
    const metricChoice = h("select", { id: `value-${suffix}` }, data.metrics.map((metric) => h("option", { value: metric.name }, metric.name)));
    metricChoice.selectedIndex = telling(data, clips);
    const prompt = h("p", { class: "deck-prompt", dir: "auto", id: `prompt-${suffix}` });
    const screens = h("ul", { class: "screens" });
    const time = h("output", { "aria-live": "off" });
    const scrub = h("input", { type: "range", min: 0, max: 1, step: "any", value: 0, "aria-label": "Time" });
    const play = h("button", { type: "button", onclick: () => toggle() }, "Play");
    const stretch = h("input", { type: "checkbox" });
    const speed = h("select", { "aria-label": "Speed" }, [0.25, 0.5, 1, 2].map((x) => h("option", { value: x, selected: x === 1 }, `${x} ×`)));
    const status = h("p", { class: "sr", "aria-live": "polite" });
    const keys = h("ul", { class: "keys", "aria-label": "Models in the player" }, data.models.map((model, i) => {
      const key = h("button", { type: "button", class: `key is-${model.kind}`, "aria-pressed": String(shown.has(i)), onclick: () => {
        if (!shown.delete(i)) shown.add(i);
        key.setAttribute("aria-pressed", String(shown.has(i)));
        draw();
      } }, mark(model), h("bdi", {}, model.name));
      return h("li", {}, key);
    }));
    const deck = h("div", { class: "deck", tabindex: 0, role: "group", "aria-label": "Player", "aria-describedby": `keys-${suffix}` },
      h("div", { class: "tools" },
        h("button", { type: "button", class: "plain", onclick: () => go(at - 1) }, "← previous"),
        h("button", { type: "button", class: "plain", onclick: () => go(at + 1) }, "next →"),
        h("label", { for: `item-${suffix}` }, "Prompt ", choice),
        h("label", { for: `order-${suffix}` }, "Order ", by),
        h("label", { for: `value-${suffix}` }, "Value ", metricChoice)),
      prompt, keys, screens,
      h("div", { class: "transport" }, play,
        h("button", { type: "button", "aria-label": "One frame back", onclick: () => step(-1) }, "‹"),
        h("button", { type: "button", "aria-label": "One frame on", onclick: () => step(1) }, "›"),
        scrub, time, speed,
        h("label", { class: "check" }, stretch, "stretch all to one length")),
      h("p", { class: "keyboard", id: `keys-${suffix}` }, "With the player in focus: ", h("kbd", {}, "space"), " plays and stops, ",
        h("kbd", {}, "←"), " ", h("kbd", {}, "→"), " step one frame, ", h("kbd", {}, "Home"), " goes to the start, ",
        h("kbd", {}, "↑"), " ", h("kbd", {}, "↓"), " change the prompt, ", h("kbd", {}, "1"), " to ", h("kbd", {}, "9"), " show or hide a model."),
      status);
    place.append(deck);

    const length = () => Math.max(0, ...videos.map((v) => (Number.isFinite(v.duration) ? v.duration : 0)));
    /** Where a video stands when the clock shows `now`: by the second, or by the share of its length. */
    const target = (video, now) => {
      const end = Math.max(0, video.duration - 0.001);
      return stretch.checked && length() > 0 ? Math.min(end, (now / length()) * video.duration) : Math.min(end, now);
    };
    const rate = (video) => Number(speed.value) * (stretch.checked && length() > 0 ? Math.max(0.0625, video.duration / length()) : 1);
    const ready = (video) => Number.isFinite(video.duration);
    function show() {
      time.textContent = `${clock.toFixed(2)} / ${length().toFixed(2)} s`;
      scrub.max = Math.max(0.01, length());
      scrub.value = clock;
    }
    function align() {
      for (const video of videos.filter(ready)) {
        const wanted = target(video, clock);
        if (Math.abs(video.currentTime - wanted) > (playing ? DRIFT : 1e-4)) video.currentTime = wanted;
      }
    }
    function frame(now) {
      if (!playing) return;
      if (last !== null) clock += ((now - last) / 1000) * Number(speed.value);
      last = now;
      if (clock >= length()) {
        clock = 0; // all begin again together; short ones wait on their last frame
        for (const video of videos.filter(ready)) video.play().catch(() => {});
      }
      align();
      show();
      requestAnimationFrame(frame);
    }
    function toggle(on = !playing) {
      playing = on && videos.length > 0;
      play.textContent = playing ? "Stop" : "Play";
      last = null;
      for (const video of videos) {
        if (!playing) video.pause();
        else if (ready(video)) {
          video.playbackRate = rate(video);
          video.play().catch(() => {});
        }
      }
      if (playing) requestAnimationFrame(frame);
      else {
        align();
        show();
      }
    }
    function seek(to) {
      clock = Math.min(Math.max(0, to), length());
      align();
      show();
    }
    function step(by) {
      toggle(false);
      seek(Math.round((clock + by * tick) / tick) * tick);
    }
    function draw() {
      toggle(false);
      clock = 0;
      videos = [];
      const item = sequence[at];
      const metric = data.metrics.findIndex((m) => m.name === metricChoice.value);
      const facts = data.metrics[metric];
      const visible = item.clips.filter((clip) => shown.has(clip.model)).sort((a, b) => a.model - b.model);
      const valued = visible.filter((clip) => clip.values[metric] !== null);
      const worst = valued.length > 1 ? valued.reduce((a, b) => (worse(facts, a.values[metric], b.values[metric]) <= 0 ? a : b)) : null;
      const uneven = valued.some((clip) => clip.values[metric] !== valued[0].values[metric]);
      screens.replaceChildren(...visible.map((clip) => {
        const model = data.models[clip.model];
        const value = clip.values[metric];
        const bad = clip === worst && uneven && !facts.diagnostic;
        const video = clip.source === null ? null
          : h("video", { muted: true, playsinline: true, preload: "auto", src: clip.source, tabindex: -1, "aria-label": `${model.name}: ${item.label}` });
        const screen = h("li", { class: bad ? "screen worst" : "screen" }, video ?? h("p", { class: "absent" }, "no preview in the run folder"),
          h("span", { class: "who" }, mark(model), h("bdi", {}, model.name)),
          h("small", {}, value === null ? `${facts.name}: unscored` : `${facts.name} ${number(value, facts.digits)}${bad ? ", the worst here" : ""}`, h("br"), h("bdi", {}, clip.file)));
        if (video !== null) {
          video.muted = true; // the attribute alone is only a default
          video.addEventListener("loadedmetadata", show);
          video.addEventListener("error", () => {
            videos = videos.filter((v) => v !== video);
            video.replaceWith(h("p", { class: "absent" }, "its preview is no longer where it was"));
            show();
          });
          videos.push(video);
        }
        return screen;
      }));
      if (visible.length === 0) screens.append(h("li", { class: "screen" }, h("p", { class: "absent" }, "none of the chosen models has a clip here")));
      prompt.replaceChildren(h("bdi", {}, item.label));
      choice.value = String(item.index);
      show();
    }
    function go(to) {
      at = (to + sequence.length) % sequence.length;
      draw();
      status.textContent = `${at + 1} of ${sequence.length}: ${sequence[at].label}`;
    }
    function reorder() {
      const [how, ...rest] = by.value.split(" ");
      const metric = data.metrics.findIndex((m) => m.name === rest.join(" "));
      const weigh = (item) => {
        const values = item.clips.filter((c) => data.models[c.model].kind === "model").map((c) => c.values[metric]).filter((v) => v !== null);
        if (values.length === 0) return Infinity;
        if (how === "gap") return -(Math.max(...values) - Math.min(...values));
        return data.metrics[metric].higher ? Math.min(...values) : -Math.max(...values);
      };
      const weights = new Map(metric < 0 ? [] : items.map((item) => [item, weigh(item)]));
      sequence = metric < 0 ? items : [...items].sort((a, b) => (weights.get(a) < weights.get(b) ? -1 : weights.get(a) > weights.get(b) ? 1 : a.index - b.index));
      if (metric >= 0) metricChoice.value = data.metrics[metric].name;
      const short = (text) => (text.length > 90 ? `${text.slice(0, 89)}…` : text);
      choice.replaceChildren(...sequence.map((item, i) => h("option", { value: item.index }, `${i + 1}. ${short(item.label)}`)));
      go(0);
    }
    by.addEventListener("change", reorder);
    choice.addEventListener("change", () => go(sequence.findIndex((item) => item.index === Number(choice.value))));
    metricChoice.addEventListener("change", draw);
    scrub.addEventListener("input", () => {
      toggle(false);
      seek(Number(scrub.value));
    });
    for (const control of [speed, stretch]) {
      control.addEventListener("change", () => {
        const on = playing;
        toggle(false);
        if (on) toggle(true);
      });
    }
    deck.addEventListener("keydown", (event) => {
      if (event.target !== deck || event.ctrlKey || event.metaKey || event.altKey) return;
      const verbs = { " ": () => toggle(), ArrowLeft: () => step(-1), ArrowRight: () => step(1), Home: () => seek(0), ArrowUp: () => go(at - 1), ArrowDown: () => go(at + 1) };
      const verb = verbs[event.key] ?? (/^[1-9]$/.test(event.key) ? () => keys.children[Number(event.key) - 1]?.firstChild.click() : null);
      if (verb === null) return;
      event.preventDefault();
      verb();
    });
    reorder();
    return (clip, metric) => {
      by.value = "";
      reorder();
      metricChoice.value = metric;
      if (!shown.has(clip.model)) keys.children[clip.model].firstChild.click();
      go(sequence.findIndex((item) => item.index === clip.item));
      deck.scrollIntoView({ block: "center" });
      deck.focus({ preventScroll: true });
    };
  }

  function startWorst(board, data, clips, open, suffix) {
    const place = board.querySelector(".worst-place");
    if (clips.length === 0 || data.metrics.length === 0) {
      place.append(h("p", { class: "empty" }, "No metric has a value of a single clip."));
      return;
    }
    const metricChoice = h("select", { id: `worst-metric-${suffix}` }, data.metrics.map((metric, i) => h("option", { value: i }, `${metric.name}${metric.diagnostic ? " (lowest)" : ""}`)));
    const modelChoice = h("select", { id: `worst-model-${suffix}` }, h("option", { value: "" }, "all models"),
      data.models.map((model, i) => h("option", { value: i }, model.name)));
    metricChoice.selectedIndex = telling(data, clips);
    const body = h("tbody", {});
    const told = h("p", { class: "told", "aria-live": "polite" });
    const draw = () => {
      const metric = data.metrics[Number(metricChoice.value)];
      const index = Number(metricChoice.value);
      const mine = clips.filter((clip) => clip.values[index] !== null && (modelChoice.value === "" ? data.models[clip.model].kind === "model" : clip.model === Number(modelChoice.value)));
      const first = [...mine].sort((a, b) => worse(metric, a.values[index], b.values[index])).slice(0, WORST);
      told.textContent = `The worst ${first.length} of ${mine.length} clips with a value; equal ones in the order of models and files${metric.diagnostic ? "; this metric describes and does not judge" : ""}.`;
      body.replaceChildren(...first.map((clip) => h("tr", {},
        h("td", { class: "number" }, number(clip.values[index], metric.digits)),
        h("th", { scope: "row" }, h("span", { class: "model-cell" }, mark(data.models[clip.model]), h("bdi", {}, data.models[clip.model].name))),
        h("td", { class: "said" }, h("span", { class: "prompt", dir: "auto" }, data.items[clip.item]), h("bdi", { class: "file" }, clip.file)),
        h("td", {}, h("button", { type: "button", class: "jump", onclick: () => open?.(clip, metric.name) }, "side by side", h("span", { class: "sr" }, `: ${data.models[clip.model].name}, ${data.items[clip.item]}`))))));
    };
    metricChoice.addEventListener("change", draw);
    modelChoice.addEventListener("change", draw);
    place.append(h("div", { class: "tools" }, h("label", { for: `worst-metric-${suffix}` }, "Metric ", metricChoice), h("label", { for: `worst-model-${suffix}` }, "Model ", modelChoice)), told,
      h("div", { class: "scroller", tabindex: 0, role: "region", "aria-label": "Worst clips, scrolls sideways" },
        h("table", { class: "grid-table worst" },
          h("thead", {}, h("tr", {}, ["Value", "Model", "Prompt and file", "Watch"].map((name) => h("th", { scope: "col" }, name)))), body)));
    draw();
  }

  startTheme();
  for (const board of document.querySelectorAll(".board")) {
    const suffix = board.dataset.board;
    const data = JSON.parse(board.querySelector(".board-data").textContent);
    const clips = clipsOf(data);
    startRanking(board, suffix);
    startParallel(board);
    startPairs(board, data);
    const open = startPlayer(board, data, clips, suffix);
    startWorst(board, data, clips, open, suffix);
  }
})();
