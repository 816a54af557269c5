"use strict";
/* What all pages share: elements, theme, sorting, and one clip with its player, time line, findings and scores. */
const vidbench = (() => {
  const SVG = "http://www.w3.org/2000/svg";
  const calm = matchMedia("(prefers-reduced-motion: reduce)");

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
  const breakable = (name) => name.split("_").flatMap((part, i, all) => (i < all.length - 1 ? [`${part}_`, h("wbr")] : [part]));
  const many = (n, what) => `${n.toLocaleString("en")} ${what}${n === 1 ? "" : "s"}`;

  function number(value, digits) {
    if (value !== 0 && (Math.abs(value) <= 0.5 * 10 ** -digits || Math.abs(value) >= 1e7)) return value.toExponential(2);
    return value.toFixed(digits).replace(/^-(0\.?0*)$/, "$1");
  }

  const marks = (model) =>
    s("svg", { class: `mark s${model.colour}`, viewBox: "-7 -7 14 14", width: 14, height: 14, "aria-hidden": "true" },
      s("use", { href: `#mark-${model.shape}` }));

  /* ---- theme ---- */
  function startTheme() {
    const button = document.getElementById("theme");
    const themes = ["system", "light", "dark"];
    let theme = "system";
    try {
      theme = localStorage.getItem("vidbench-theme") ?? theme;
    } catch { /* a page that may not store keeps to the system's theme */ }
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
    if (!themes.includes(theme)) theme = "system";
    show();
  }

  /* ---- sorting ---- */
  const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
  const other = (direction) => (direction === "ascending" ? "descending" : "ascending");

  /** Order of two values; a missing one comes last either way. */
  function order(a, b, direction) {
    const none = (v) => v === null || v === undefined || v === "";
    if (none(a) || none(b)) return none(a) - none(b);
    const ascending = typeof a === "number" ? a - b : collator.compare(a, b);
    return direction === "ascending" ? ascending : -ascending;
  }

  /** Where columns have no headers to press, a list offers them. */
  function chooser(id, headers, sort) {
    const options = headers.flatMap((header, i) =>
      [header.dataset.first, other(header.dataset.first)].map((direction) =>
        h("option", { value: `${i} ${direction}` }, `${header.querySelector("button").textContent.trim()}, ${direction}`)));
    const select = h("select", { id, onchange: () => {
      const [i, direction] = select.value.split(" ");
      sort(Number(i), direction);
    } }, options);
    return { label: h("label", { for: id }, "Sort by ", select), select };
  }

  /** Drawing clips of a run, whose `metrics`, `models` and `siblings` (other clips of a clip's prompt) are asked for. */
  function views(run) {
    /* Pictures stand in the page as base64 and become blobs when they are first looked at. */
    const addresses = new Map();
    function address(clip, kind) {
      const source = clip.media[kind];
      if (source === null) return null;
      return clip.media.inside ? blob(source, kind === "video" ? "video/mp4" : "image/jpeg") : source;
    }
    function blob(id, type) {
      if (!addresses.has(id)) {
        const bytes = Uint8Array.from(atob(document.getElementById(id).textContent), (c) => c.charCodeAt(0));
        addresses.set(id, URL.createObjectURL(new Blob([bytes], { type })));
      }
      return addresses.get(id);
    }

    /* ---- one clip, opened ---- */

    /** Seconds that a frame takes in the preview, which may show only the first frames of a long clip. */
    const frameSeconds = (video, clip) => video.duration / clip.previewed;

    function player(clip) {
      const source = address(clip, "video");
      if (source === null || !clip.frames) return null;
      const video = h("video", { controls: true, muted: true, loop: true, playsinline: true, preload: "auto", src: source,
        "aria-label": `Preview of ${clip.id}` });
      video.muted = true; // the attribute alone is only a default
      const boxes = s("svg", { class: "boxes", viewBox: `0 0 ${clip.size[0] ?? 1} ${clip.size[1] ?? 1}`, "aria-hidden": "true" });
      const counter = h("output", { class: "frame-number" });
      const stage = h("div", { class: "stage" }, video, boxes);
      if (clip.size[0] && clip.size[1]) stage.style.aspectRatio = `${clip.size[0]} / ${clip.size[1]}`;
      const watchers = [];
      const frameNow = (time) => Math.min(clip.frames - 1, Math.max(0, Math.floor(time / frameSeconds(video, clip) + 0.01)));
      const show = (time) => {
        if (!(video.duration > 0)) return;
        const frame = frameNow(time);
        counter.textContent = `frame ${frame} of ${clip.frames}`;
        boxes.replaceChildren(...clip.findings.flatMap((finding) => finding.boxes.filter((box) => box[0] === frame)
          .map(([, x0, y0, x1, y1]) => s("rect", { x: x0, y: y0, width: Math.max(0, x1 - x0), height: Math.max(0, y1 - y0) }))));
        watchers.forEach((watch) => watch(frame));
      };
      for (const event of ["loadeddata", "seeked", "timeupdate"]) video.addEventListener(event, () => show(video.currentTime));
      if ("requestVideoFrameCallback" in video) {
        const next = (_, facts) => {
          show(facts.mediaTime);
          if (video.isConnected) video.requestVideoFrameCallback(next);
        };
        video.requestVideoFrameCallback(next);
      }
      video.addEventListener("error", () => {
        const lost = clip.media.inside ? "The preview cannot be played by this browser." :
          `${source} is not beside this page: keep the page in its run folder.`;
        stage.replaceChildren(h("p", { class: "absent" }, lost));
      });
      const seek = (frame) => {
        const go = () => {
          video.pause();
          video.currentTime = Math.min((frame + 0.5) * frameSeconds(video, clip), Math.max(0, video.duration - 0.001));
        };
        if (video.readyState >= 1) go();
        else video.addEventListener("loadedmetadata", go, { once: true });
      };
      if (!calm.matches) video.autoplay = true;
      return { element: h("div", { class: "player" }, stage, counter), seek, watch: (f) => watchers.push(f) };
    }

    function filmstrip(clip, seek) {
      const source = address(clip, "strip");
      if (source === null) return null;
      const figure = h("figure", { class: "strip" });
      const image = h("img", { src: source, alt: `Filmstrip of ${clip.id}: ${many(clip.strip.length, "frame")}`, decoding: "async" });
      image.addEventListener("error", () => figure.replaceChildren(
        h("p", { class: "absent" }, `${source} is not beside this page: keep the page in its run folder.`)));
      const labels = clip.strip.map((frame) => seek
        ? h("button", { type: "button", title: `Show frame ${frame} in the player`, onclick: () => seek(frame) },
          h("span", { class: "sr" }, "frame "), String(frame))
        : h("span", {}, String(frame)));
      figure.append(image, h("figcaption", {}, labels));
      return figure;
    }

    const spanText = (finding) =>
      finding.start === finding.end ? `frame ${finding.start}` : `frames ${finding.start}–${finding.end}`;

    /** A lane per kind of finding over a common axis of frames. */
    function timeline(clip, watch, seek) {
      if (!clip.frames || clip.findings.length === 0) return null;
      const lane = 24;
      const kinds = [...new Set(clip.findings.map((finding) => finding.kind))];
      const height = kinds.length * lane;
      const at = (frame) => `${(100 * frame) / clip.frames}%`;
      const step = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000].find((n) => clip.frames / n <= 9) ?? 50000;
      const ticks = Array.from({ length: Math.ceil(clip.frames / step) }, (_, i) => i * step);
      const svg = s("svg", { width: "100%", height: height + 22, role: "img",
        "aria-label": `Time line of ${many(clip.findings.length, "finding")} over ${many(clip.frames, "frame")}; they are listed below` });
      kinds.forEach((_, i) => svg.append(s("rect", { class: "lane", x: 0, y: i * lane + 3, width: "100%", height: lane - 6, rx: 3 })));
      ticks.forEach((frame, i) => svg.append(
        s("line", { class: "grid", x1: at(frame), x2: at(frame), y1: 0, y2: height + 4 }),
        s("text", { x: at(frame), y: height + 16, class: i === 0 ? "from" : null }, String(frame))));
      for (const finding of clip.findings) {
        svg.append(s("rect", { class: "found", x: at(finding.start), y: kinds.indexOf(finding.kind) * lane + 3,
          width: at(finding.end - finding.start + 1), height: lane - 6, rx: 2, onclick: () => seek?.(finding.start) },
        s("title", {}, `${finding.kind}, ${spanText(finding)}: ${finding.message}`)));
      }
      const head = s("line", { class: "playhead", x1: 0, x2: 0, y1: 0, y2: height + 4 });
      svg.append(head);
      watch?.((frame) => {
        const x = `${(100 * (frame + 0.5)) / clip.frames}%`;
        head.setAttribute("x1", x);
        head.setAttribute("x2", x);
      });
      return h("div", { class: "timeline" },
        h("div", { class: "lanes" }, kinds.map((kind) => h("span", { title: kind }, kind)), h("small", {}, "frame")), svg);
    }

    const hasPictures = (clip) => clip.findings.some((finding) => finding.picture !== null);

    /** The frames before, in and after a finding, side by side; wider than a phone, so that it scrolls there. */
    function evidence(finding, printed) {
      if (finding.picture === null) return null;
      const [source, inside] = finding.picture;
      const figure = h("figure", { class: "evidence", tabindex: printed ? null : 0, role: "group",
        "aria-label": `Picture of the ${finding.kind}, ${spanText(finding)}; scrolls sideways` });
      const image = h("img", { src: inside ? blob(source, "image/jpeg") : source, loading: printed ? "eager" : "lazy", decoding: "async",
        alt: `${finding.kind}: ${many(finding.pictured.length, "frame")} side by side, ${finding.pictured.join(", ")}${finding.boxes.length ? ", with boxes" : ""}` });
      image.addEventListener("error", () => figure.replaceWith(
        h("p", { class: "absent" }, `${source} is not beside this page: keep the page in its run folder.`)));
      figure.append(image);
      return figure;
    }

    function findingList(clip, seek, printed) {
      if (clip.findings.length === 0) return null;
      return h("ul", { class: hasPictures(clip) ? "findings pictured" : "findings" }, clip.findings.map((finding) => h("li", {},
        seek
          ? h("button", { type: "button", class: "jump", title: "Show it in the player", onclick: () => seek(finding.start) },
            h("b", {}, finding.kind), ` ${spanText(finding)}`)
          : h("span", { class: "jump" }, h("b", {}, finding.kind), ` ${spanText(finding)}`),
        h("span", { class: "message" }, h("bdi", {}, finding.message),
          h("small", {}, [
            finding.metric,
            finding.time === null ? null : finding.start === finding.end ? `at ${finding.time[0].toFixed(2)} s`
              : `${finding.time[0].toFixed(2)} to ${finding.time[1].toFixed(2)} s`,
            finding.confidence === null ? null : `confidence ${Math.round(100 * finding.confidence)} %`,
            finding.boxes.length ? "boxed in the player" : null,
            finding.limitation ? `can’t tell: ${finding.limitation}` : null,
            finding.unpictured ? `no picture: ${finding.unpictured}` : null,
          ].filter(Boolean).join(" · "))),
        evidence(finding, printed))));
    }

    function scoreTable(clip) {
      return h("table", { class: "lines scores" },
        h("caption", { class: "sr" }, "Scores of this clip"),
        h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Metric"), h("th", { scope: "col", class: "number" }, "Value"),
          h("th", { scope: "col" }, "Unit, or why there is none"))),
        h("tbody", {}, run.metrics.map((metric, i) => {
          const [value, reason, details] = clip.scores[i];
          return h("tr", { class: metric.diagnostic ? "diagnostic" : null },
            h("th", { scope: "row" }, breakable(metric.name), metric.arrow ? ` ${metric.arrow}` : ""),
            h("td", { class: "number" }, value === null ? "–" : number(value, metric.digits)),
            h("td", {}, value === null ? h("span", { class: "unscored" }, h("b", {}, "unscored: "), reason) : (metric.unit === "1" ? "" : metric.unit),
              details ? h("small", {}, details) : null));
        })));
    }

    function siblings(clip, open) {
      if (!clip.prompt) return null;
      const same = run.siblings(clip);
      if (same.length === 0) return null;
      return h("div", { class: "siblings" }, h("h3", { class: "minor" }, "Same prompt, other clips"),
        h("ul", {}, same.slice(0, 12).map((row) => {
          const source = address(row, "strip");
          return h("li", {}, h("button", { type: "button", onclick: () => open(row) },
            h("span", { class: "model-cell" }, row.model === null ? null : marks(run.models[row.model]),
              h("span", {}, h("bdi", {}, row.model === null ? row.id : run.models[row.model].name),
                row.found ? h("small", {}, many(row.found, "finding")) : null)),
            source === null ? null : h("img", { src: source, alt: "", loading: "lazy", decoding: "async" })));
        })));
    }

    function panel(clip, open) {
      const parts = [];
      if (clip.prompt) parts.push(h("blockquote", { dir: "auto" }, clip.prompt));
      parts.push(h("p", { class: "clip-facts" }, h("bdi", { class: "mono" }, clip.id), ...clip.facts.map((fact) => h("span", {}, fact))));
      if (clip.status !== "scored") parts.push(h("p", { class: "why" }, h("b", {}, `${clip.status}: `), h("bdi", {}, clip.reason ?? "no reason given")));
      if (clip.warnings.length) parts.push(h("ul", { class: "warnings" }, clip.warnings.map((text) => h("li", {}, text))));
      if (clip.status === "skipped") return h("div", { class: "panel" }, parts);
      const video = clip.status === "scored" ? player(clip) : null;
      const strip = filmstrip(clip, video?.seek);
      if (strip !== null) parts.push(strip);
      if (clip.status === "scored" && strip === null && video === null) {
        parts.push(h("p", { class: "absent" }, "This run kept no filmstrip and no preview of this clip."));
      }
      // With pictures the list takes the panel's whole width, below the player.
      const below = hasPictures(clip);
      const show = video === null ? undefined : (frame) => {
        video.seek(frame);
        if (below) video.element.scrollIntoView({ block: "nearest", behavior: calm.matches ? "auto" : "smooth" });
      };
      const list = findingList(clip, show, false);
      const found = [timeline(clip, video?.watch, video?.seek), below ? null : list].filter((part) => part !== null);
      const scores = clip.scores.length ? h("div", {}, h("h3", { class: "minor" }, "Scores"), scoreTable(clip)) : null;
      parts.push(h("div", { class: video === null ? "columns single" : "columns" },
        video?.element,
        h("div", { class: "side" },
          found.length ? h("div", {}, h("h3", { class: "minor" }, many(clip.findings.length, "finding")), found) : null,
          below ? null : scores)));
      // What was found is what one opens a clip for: it comes before the long table.
      if (below) parts.push(h("div", {}, h("h3", { class: "minor" }, "What was found"), list), ...(scores === null ? [] : [scores]));
      const same = siblings(clip, open);
      if (same !== null) parts.push(same);
      return h("div", { class: "panel" }, parts);
    }

    return { address, filmstrip, findingList, panel };
  }

  /** Use a value now, or when it is there. */
  const then = (value, use, fail) => (value instanceof Promise ? value.then(use, fail ?? (() => {})) : use(value));

  return { calm, h, s, breakable, many, number, marks, order, other, chooser, startTheme, then, views };
})();
