"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const names = Object.keys(data.policies);
  const colours = ["var(--main)", "var(--third)", "var(--good)", "var(--warn)", "var(--bad)", "var(--other)"];
  const colourOf = (name) => colours[names.indexOf(name) % colours.length];
  const byId = (id) => document.getElementById(id);
  const hint = byId("hint");

  // Small helpers

  const make = (tag, attributes, ...children) => {
    const svg = ["svg", "path", "line", "circle", "rect", "text", "g", "polygon"].includes(tag);
    const one = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) if (value !== null) one.setAttribute(name, value);
    one.append(...children.filter((child) => child !== null));
    return one;
  };
  const number = (value, digits = 4) => (value === null || value === undefined ? "–" : value.toFixed(digits));
  const whole = (value) => value.toLocaleString("en");
  const day = (time) => time.slice(0, 16).replace("T", " ");
  const seconds = (value) => (value < 10 ? value.toFixed(2) : value < 600 ? value.toFixed(0) : `${(value / 60).toFixed(0)} min`) + (value < 600 ? " s" : "");
  const show = (text, event) => {
    hint.textContent = text;
    hint.hidden = false;
    const box = hint.getBoundingClientRect();
    const left = Math.min(event.clientX + 14, innerWidth - box.width - 8);
    const top = event.clientY + 18 + box.height > innerHeight ? event.clientY - box.height - 12 : event.clientY + 18;
    hint.style.left = `${Math.max(8, left)}px`;
    hint.style.top = `${Math.max(8, top)}px`;
  };
  const explain = (one, text) => {
    one.addEventListener("mousemove", (event) => { event.stopPropagation(); show(text, event); });
    one.addEventListener("mouseleave", () => { hint.hidden = true; });
    return one;
  };
  const table = (columns, rows) => {
    const head = make("tr", {}, ...columns.map(([title, kind]) => make("th", { class: kind }, title)));
    const body = rows.map((cells) => make("tr", {}, ...cells.map((cell, at) => {
      const [text, kind] = Array.isArray(cell) ? cell : [cell, ""];
      return make("td", { class: `${columns[at][1] || ""} ${kind}` }, String(text));
    })));
    return make("table", {}, make("thead", {}, head), make("tbody", {}, ...body));
  };
  const ticks = (low, high, wanted) => {
    const rough = (high - low) / wanted || 1;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
    const found = [];
    for (let at = Math.ceil(low / step - 1e-9) * step; at <= high + step * 1e-9; at += step) found.push(at);
    return { found, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
  };
  const isShort = Date.parse(data.to) - Date.parse(data.from) < 20 * 86400e3;
  const timeAt = (row) => {
    let best = data.marks[0];
    for (const mark of data.marks) if (mark.row <= row) best = mark;
    return best.time;
  };

  // A frame with axes: rows from left to right, values upwards

  const frame = (low, high, height, options = {}) => {
    const width = 1100, left = 58, right = 16, top = options.top || 14, bottom = 44;
    const first = data.marks[0].row, last = data.marks[data.marks.length - 1].row;
    const x = (row) => left + ((row - first) / Math.max(1, last - first)) * (width - left - right);
    const y = (value) => height - bottom - ((value - low) / (high - low || 1)) * (height - top - bottom);
    const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, role: "img" });
    const scale = ticks(low, high, 5);
    for (const value of scale.found) {
      svg.append(make("line", { x1: left, x2: width - right, y1: y(value), y2: y(value), stroke: "var(--line)" }));
      svg.append(make("text", { x: left - 8, y: y(value) + 4, "text-anchor": "end" }, value.toFixed(Math.max(2, scale.digits))));
    }
    for (const row of ticks(first, last, 7).found) {
      const anchor = x(row) < left + 50 ? "start" : x(row) > width - 60 ? "end" : "middle";
      svg.append(make("line", { x1: x(row), x2: x(row), y1: height - bottom, y2: height - bottom + 5, stroke: "var(--dim)" }));
      svg.append(make("text", { x: x(row), y: height - bottom + 18, "text-anchor": anchor }, `row ${whole(Math.round(row))}`));
      svg.append(make("text", { x: x(row), y: height - bottom + 34, "text-anchor": anchor }, isShort ? day(timeAt(row)) : timeAt(row).slice(0, 10)));
    }
    return { svg, x, y, width, height, left, right, top, bottom, first, last };
  };
  const path = (points, x, y) => points.map((one, at) => `${at ? "L" : "M"}${x(one[0]).toFixed(1)},${y(one[1]).toFixed(1)}`).join("");

  // The metric over time

  const drawChart = (name) => {
    const policy = data.policies[name];
    const values = [...policy.line, ...policy.never].flatMap((one) => [one.value, one.low, one.high])
      .concat(policy.thresholds.map((one) => one.value), policy.no_change.map((one) => one.value))
      .filter((value) => value !== null && value !== undefined);
    let low = Math.min(...values), high = Math.max(...values);
    const margin = (high - low || 0.1) * 0.06;
    low = Math.max(low - margin, low >= 0 ? 0 : low - margin);
    high = high <= 1 ? Math.min(1, high + margin) : high + margin;
    const at = frame(low, high, 420, { top: 34 });
    const { svg, x, y } = at;
    const band = policy.line.filter((one) => one.low !== null && one.high !== null);
    if (band.length > 1) {
      const outline = path(band.map((one) => [one.row, one.high]), x, y) + path([...band].reverse().map((one) => [one.row, one.low]), x, y).replace("M", "L") + "Z";
      svg.append(make("path", { d: outline, fill: colourOf(name), opacity: 0.16 }));
    }
    const stroke = (points, colour, width, dash) => svg.append(make("path", { d: path(points.map((one) => [one.row, one.value]), x, y), fill: "none", stroke: colour, "stroke-width": width, "stroke-dasharray": dash, "stroke-linejoin": "round" }));
    stroke(policy.no_change, "var(--other)", 1.2, "2 3");
    stroke(policy.never, "var(--other)", 1.6, null);
    for (const line of policy.thresholds) {
      const colour = line.level.startsWith("warn") ? "var(--warn)" : "var(--bad)";
      const rule = make("line", { x1: at.left, x2: at.width - at.right, y1: y(line.value), y2: y(line.value), stroke: colour, "stroke-width": 1.4, "stroke-dasharray": "7 5" });
      svg.append(explain(rule, `${line.trigger}: ${line.level.replace("_", " ")} ${line.value}`));
    }
    let free = -Infinity;
    for (const one of policy.promotions) {
      const mark = make("g", {});
      mark.append(make("line", { x1: x(one.row), x2: x(one.row), y1: at.top - 8, y2: at.height - at.bottom, stroke: "var(--good)", "stroke-width": 1.6 }));
      mark.append(make("line", { x1: x(one.row), x2: x(one.row), y1: at.top - 8, y2: at.height - at.bottom, stroke: "transparent", "stroke-width": 9 }));
      if (x(one.row) > free) {
        mark.append(make("text", { x: x(one.row), y: at.top - 13, "text-anchor": "middle", style: "fill: var(--good)" }, `v${one.version}`));
        free = x(one.row) + 26;
      }
      svg.append(explain(mark, `version ${one.version} took over after row ${whole(one.row)}, ${day(one.time)}`));
    }
    stroke(policy.line, colourOf(name), 2.2, null);
    for (const one of policy.decisions) {
      const retrain = one.outcome === "retrain";
      const colour = retrain ? "var(--bad)" : "var(--warn)";
      const bottom = at.height - at.bottom - (retrain ? 15 : 5);
      const dot = make("circle", { cx: x(Math.max(one.row, at.first)), cy: bottom, r: retrain ? 5 : 3.4, fill: colour, stroke: "var(--card)", "stroke-width": 1.2 });
      svg.append(explain(dot, `${retrain ? "RETRAIN" : "HOLD"} at row ${whole(one.row)}, ${day(one.time)}\n${one.trigger}\n${one.message}`));
    }
    const cursor = make("line", { y1: at.top, y2: at.height - at.bottom, stroke: "var(--dim)", "stroke-width": 1, opacity: 0 });
    svg.append(cursor);
    svg.addEventListener("mousemove", (event) => {
      const box = svg.getBoundingClientRect();
      const place = ((event.clientX - box.left) / box.width) * at.width;
      const near = policy.line.reduce((best, one) => (Math.abs(x(one.row) - place) < Math.abs(x(best.row) - place) ? one : best), policy.line[0]);
      if (!near) return;
      cursor.setAttribute("x1", x(near.row)); cursor.setAttribute("x2", x(near.row)); cursor.setAttribute("opacity", 0.5);
      const between = near.low === null ? "" : ` (${number(near.low)} to ${number(near.high)})`;
      show(`row ${whole(near.row)}, ${day(timeAt(near.row))}\n${data.metric} ${number(near.value)}${between}, n ${whole(near.n)}`, event);
    });
    svg.addEventListener("mouseleave", () => { hint.hidden = true; cursor.setAttribute("opacity", 0); });
    byId("chart").replaceChildren(svg);
    byId("chart-title").textContent = `${data.metric} over the newest ${whole(policy.window)} rows`;
    const key = (colour, text, kind) => make("span", {}, make("i", { class: kind || "", style: kind === "dot" ? `background:${colour}` : `border-color:${colour}` }), text);
    byId("legend").replaceChildren(...[
      key(colourOf(name), names.length > 1 ? name : "this policy, with its 95 % interval"),
      key("var(--other)", "never retrained"), key("var(--other)", "the last label seen", "dash"),
      policy.thresholds.length ? key("var(--bad)", "thresholds", "dash") : null,
      key("var(--good)", "a new version takes over"), key("var(--bad)", "decided to retrain", "dot"), key("var(--warn)", "held", "dot"),
    ].filter(Boolean));
    const more = policy.decided > policy.decisions.length ? ` Drawn are the first ${policy.decisions.length} of ${policy.decided} decisions; report.json has all.` : "";
    byId("chart-note").textContent = `Point at a mark to read why.${more}`;
    byId("notes").replaceChildren(...(policy.notes || []).map((note) => make("li", {}, note)));
  };

  // Tables

  const drawTables = (name) => {
    const policy = data.policies[name];
    const verdict = { accepted: "good", rejected: "warn", failed: "bad", unfinished: "" };
    const word = (job) => (job.verdict === "accepted" && job.promoted ? `accepted, version ${job.version}` : job.verdict);
    byId("jobs").replaceChildren(policy.jobs.length ? table(
      [["row", "n"], ["time", "t"], ["trigger", ""], ["rows learned", "n"], ["candidate", "n"], ["champion", "n"], ["verdict", "t"], ["because", "words"], ["took", "n"]],
      policy.jobs.map((job) => [whole(job.row), day(job.time), job.trigger, whole(job.train_rows), number(job.candidate), number(job.champion), [word(job), verdict[job.verdict] || ""], job.reason, seconds(job.seconds)]),
    ) : make("p", { class: "dim" }, "Nothing asked for a retraining that the guards let through."));
    byId("decisions").replaceChildren(policy.decisions.length ? table(
      [["row", "n"], ["time", "t"], ["asked by", ""], ["answer", "t"], ["because", "words"]],
      policy.decisions.map((one) => [whole(one.row), day(one.time), one.trigger, [one.outcome === "retrain" ? "retrain" : `hold: ${one.reason}`, one.outcome === "retrain" ? "bad" : "warn"], one.message]),
    ) : make("p", { class: "dim" }, "No trigger fired."));
    byId("slices-section").hidden = !policy.slices.length;
    byId("slices").replaceChildren(table(
      [["slice", ""], ["rows", "n"], [data.metric, "n"], ["1st quarter", "n"], ["2nd", "n"], ["3rd", "n"], ["4th", "n"]],
      policy.slices.map((one) => [one.name, whole(one.n), number(one.value), ...one.quarters.map((value) => number(value))]),
    ));
  };

  const drawTiles = (name) => {
    const { metric, retrains, promotions, rollbacks, baselines, cost } = data.policies[name].summary;
    const tile = (value, text) => make("div", { class: "tile" }, make("b", {}, value), make("span", { class: "dim small" }, text));
    const beat = baselines.periodic.every === null ? "periodic: no retraining" : `periodic, every ${whole(baselines.periodic.every)} rows`;
    byId("tiles").replaceChildren(
      tile(number(metric.value), `${metric.name} of this policy`), tile(number(baselines.never), "never retrained"),
      tile(number(baselines.periodic.value), beat), tile(number(baselines.no_change), "the last label seen"),
      tile(`${retrains}`, `retrainings, ${promotions} promoted${rollbacks ? `, ${rollbacks} rolled back` : ""}`),
      tile(seconds(cost.fit_seconds + cost.predict_seconds), `training ${seconds(cost.fit_seconds)}, predicting ${seconds(cost.predict_seconds)}`),
    );
  };

  // Several policies

  const scatter = (title, valueOf, unit) => {
    const width = 520, height = 300, left = 62, right = 24, top = 26, bottom = 42;
    const points = names.map((name) => ({ name, x: valueOf(data.policies[name].summary), y: data.policies[name].summary.metric.value })).filter((one) => one.y !== null);
    const most = Math.max(...points.map((one) => one.x), 1e-9) * 1.12;
    const ys = points.map((one) => one.y).concat(points.map((one) => data.policies[one.name].summary.baselines.never).filter((one) => one !== null));
    const spread = Math.max(...ys) - Math.min(...ys) || 0.02;
    const low = Math.min(...ys) - spread * 0.15, high = Math.max(...ys) + spread * 0.18;
    const x = (value) => left + (value / most) * (width - left - right);
    const y = (value) => height - bottom - ((value - low) / (high - low)) * (height - top - bottom);
    const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, role: "img" });
    const side = ticks(low, high, 4), foot = ticks(0, most, 5);
    for (const value of side.found) {
      svg.append(make("line", { x1: left, x2: width - right, y1: y(value), y2: y(value), stroke: "var(--line)" }));
      svg.append(make("text", { x: left - 8, y: y(value) + 4, "text-anchor": "end" }, value.toFixed(Math.max(2, side.digits))));
    }
    for (const value of foot.found) svg.append(make("text", { x: x(value), y: height - bottom + 18, "text-anchor": "middle" }, value.toFixed(foot.digits)));
    svg.append(make("text", { x: width - right, y: height - 6, "text-anchor": "end" }, unit));
    svg.append(make("text", { x: 4, y: 12 }, title));
    const taken = [];
    for (const one of [...points].sort((a, b) => a.x - b.x)) {
      svg.append(explain(make("circle", { cx: x(one.x), cy: y(one.y), r: 6, fill: colourOf(one.name) }), `${one.name}\n${data.metric} ${number(one.y)}`));
      const flip = x(one.x) > width - 130;
      let place = y(one.y) - 10;
      while (taken.some((other) => Math.abs(other.y - place) < 14 && Math.abs(other.x - x(one.x)) < 130)) place -= 14;
      taken.push({ x: x(one.x), y: place });
      svg.append(make("text", { x: x(one.x) + (flip ? -9 : 9), y: Math.max(24, place), "text-anchor": flip ? "end" : "start", style: `fill:${colourOf(one.name)}` }, one.name.length > 22 ? `${one.name.slice(0, 21)}…` : one.name));
    }
    return svg;
  };
  const drawCompared = () => {
    if (names.length < 2) return;
    byId("compared-section").hidden = false;
    byId("compared").replaceChildren(
      make("div", {}, scatter(`${data.metric} by number of retrainings`, (one) => one.retrains, "retrainings")),
      make("div", {}, scatter(`${data.metric} by cost`, (one) => one.cost.fit_seconds, "seconds of training")),
    );
    byId("compared-table").replaceChildren(table(
      [["policy", ""], [data.metric, "n"], ["retrainings", "n"], ["promoted", "n"], ["rolled back", "n"], ["never", "n"], ["periodic", "n"], ["training", "n"], ["predicting", "n"]],
      names.map((name) => {
        const one = data.policies[name].summary;
        return [name, number(one.metric.value), one.retrains, one.promotions, one.rollbacks, number(one.baselines.never), number(one.baselines.periodic.value), seconds(one.cost.fit_seconds), seconds(one.cost.predict_seconds)];
      }),
    ));
    const select = make("select", { "aria-label": "policy" }, ...names.map((name) => make("option", { value: name }, name)));
    select.addEventListener("change", () => draw(select.value));
    byId("chooser").append("policy ", select);
  };

  const drawCoverage = () => {
    const at = frame(0, 1, 190);
    at.svg.append(make("path", { d: path(data.coverage.map((one) => [one.row, one.ever]), at.x, at.y), fill: "none", stroke: "var(--other)", "stroke-width": 1.4, "stroke-dasharray": "4 4" }));
    at.svg.append(make("path", { d: path(data.coverage.map((one) => [one.row, one.come]), at.x, at.y), fill: "none", stroke: "var(--main)", "stroke-width": 2 }));
    byId("coverage").replaceChildren(at.svg, make("p", { class: "dim small" }, "Share of the newest rows whose label had come at that time; dashed: whose label is in the table at all."));
  };

  const draw = (name) => { drawTiles(name); drawChart(name); drawTables(name); };
  byId("title").textContent = `Replay of ${data.model}`;
  byId("about").textContent = `${data.table}: ${whole(data.rows)} rows from ${day(data.from)} to ${day(data.to)}, after ${whole(data.warm)} rows that version 1 learned from.`;
  drawCompared();
  draw(names[0]);
  drawCoverage();
})();
