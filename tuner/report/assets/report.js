"use strict";
// Draws the charts that react, sorts tables and filters trials. All text goes in as text, never as
// HTML: the names of classes and files are anybody's.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const charts = [];
  const symbols = ["circle", "triangle", "rect", "diamond", "roundRect", "arrow"];
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const printed = matchMedia("print");
  // Width and height of the charts on paper, as the style sheet has them. Before a page is printed it still has
  // the window's layout, so that an element cannot be asked how wide it is going to be.
  const sheet = { curves: [680, 384], parallel: [680, 416], small: [212, 232] };
  let onPaper = printed.matches;

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const number = (value) =>
    value === null || value === undefined ? "–" : typeof value !== "number" ? String(value)
      : Number.isInteger(value) ? String(value)
        : Math.abs(value) < 0.01 ? value.toExponential(1).replace(".0e", "e") : String(Number(value.toPrecision(3)));

  const counted = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;

  function mixed(share) { // between the colours of the first and the last rung
    const [a, b] = ["rung-a", "rung-b"].map((name) => colour(name).match(/\w\w/g).map((part) => parseInt(part, 16)));
    return `rgb(${a.map((from, i) => Math.round(from + (b[i] - from) * share)).join(",")})`;
  }

  function hint(title, lines) {
    const box = document.createElement("div");
    box.className = "hint";
    const head = document.createElement("b");
    head.textContent = title;
    box.append(head, ...lines.flatMap((line) => [line, document.createElement("br")]).slice(0, -1));
    return box;
  }

  function trialHint(trial) {
    const values = Object.entries(trial.values).map(([name, value]) => `${name} ${number(value)}`);
    const score = trial.score === null ? "no score" : `${data.objective} ${trial.score.toFixed(4)} after ${counted(trial.epochs, "epoch")}`;
    return hint(`${trial.name}${trial.id === data.winner ? ", the winner" : ""}`, [score, ...values]);
  }

  const tooltip = (formatter) => ({
    trigger: "item", confine: true, formatter, padding: 0, borderWidth: 0, backgroundColor: "transparent", extraCssText: "box-shadow:none",
  });
  const marks = (extra) => ({ color: colour("soft"), fontSize: 12, hideOverlap: true, formatter: (value) => String(Number(value.toPrecision(6))), ...extra });
  const axis = (extra) => ({
    axisLine: { onZero: false, lineStyle: { color: colour("grey") } }, axisTick: { show: false }, axisLabel: marks(),
    splitLine: { lineStyle: { color: colour("line") } }, nameTextStyle: { color: colour("soft") }, ...extra,
  });

  // A chart is made when it comes near the window, and drawn anew when colours or width change. It has
  // two dots a pixel, since paper shows more than a screen.
  function chart(element, option, begun, ready) {
    if (!element || typeof echarts === "undefined") return;
    let made = null;
    const fit = () => {
      const [width, height] = onPaper ? sheet[element.classList[1]] : ["auto", "auto"];
      made.resize({ width, height });
    };
    const entry = {
      draw() {
        if (!made) { made = echarts.init(element, null, { renderer: "canvas", devicePixelRatio: Math.max(2, devicePixelRatio) }); if (begun) begun(made); }
        fit(); // first, since the lines of a new chart are cut off at the frame that it begins with
        made.setOption(option(), true);
        if (ready) ready(made);
      },
      again() { if (made) entry.draw(); },
      resize() { if (made) fit(); },
    };
    charts.push(entry);
    const seen = new IntersectionObserver((found) => {
      if (found.some((each) => each.isIntersecting)) { seen.disconnect(); if (!made) entry.draw(); }
    }, { rootMargin: "600px" });
    seen.observe(element);
    new ResizeObserver(() => entry.resize()).observe(element);
  }

  const winner = data.trials.find((trial) => trial.id === data.winner);

  function curvesOption() {
    const metric = data.objective;
    const named = (text, color, fontWeight) => ({ // at the curve's end, apart from the others
      endLabel: { show: true, formatter: () => text, color, fontWeight, minMargin: 8 }, labelLayout: { moveOverlap: "shiftY" },
    });
    const line = (trial) => {
      const won = trial.id === data.winner;
      return {
        name: trial.name, type: "line", data: trial.curve.map((y, i) => [i + 1, y]), symbol: "circle", symbolSize: trial.curve.length === 1 ? 5 : won ? 6 : 3,
        showSymbol: won || trial.curve.length === 1, triggerLineEvent: true, z: won ? 10 : trial.recipe ? 4 : 2, silent: false,
        lineStyle: { width: won ? 3.5 : trial.recipe ? 2 : 1.1, color: won ? colour("accent") : trial.recipe ? colour("cool") : colour("grey"), type: trial.recipe && !won ? "dashed" : "solid", opacity: won || trial.recipe ? 1 : 0.5 },
        itemStyle: { color: won ? colour("accent") : trial.recipe ? colour("cool") : colour("grey") },
        emphasis: { lineStyle: { width: won ? 4 : 3, opacity: 1 } },
        ...(won ? named("winner", colour("accent"), "bold") : {}),
        trial,
      };
    };
    const run = (trial, i) => {
      const own = colour(["accent", "cool", "good", "bad", "soft"][i % 5]);
      return {
        name: trial.name, type: "line", data: trial.curve.map((y, epoch) => [epoch + 1, y]), symbol: symbols[i % symbols.length], symbolSize: 6, showSymbol: true,
        lineStyle: { width: 2.5, color: own, type: i < 5 ? "solid" : "dashed" }, itemStyle: { color: own }, triggerLineEvent: true, trial,
        ...named(String(trial.name.split(",")[0]).slice(0, 14), own),
      };
    };
    const series = data.trials.filter((trial) => trial.curve.length).map(data.compared ? run : line);
    if (winner && winner.training.length) {
      series.push({
        name: "winner on its training images", type: "line", data: winner.training.map((y, i) => [i + 1, y]), symbol: "none", z: 9, silent: true,
        lineStyle: { width: 2, type: "dotted", color: colour("accent") }, ...named("training", colour("accent")),
      });
    }
    const only = data.longest === 1; // epoch, in the middle of an axis that would have no length
    return {
      animation: false, grid: { left: 52, right: data.compared ? 110 : 70, top: 14, bottom: 44 }, tooltip: tooltip((found) => trialHint(series[found.seriesIndex].trial)),
      xAxis: axis({ type: "value", name: "epoch", nameLocation: "middle", nameGap: 28, minInterval: 1, min: only ? 0 : 1, max: only ? 2 : data.longest, axisLabel: marks(only ? { customValues: [1] } : {}), splitLine: { show: false } }),
      yAxis: axis({ type: "value", scale: true, name: metric, nameLocation: "end", nameGap: -2, nameTextStyle: { align: "left", color: colour("soft"), padding: [0, 0, 0, 6], verticalAlign: "top" }, ...data.heights }),
      series,
    };
  }

  // The place of a value on a hyperparameter's axis: the exponent on a logarithmic one, the number of
  // the choice where there are choices.
  const place = (parameter, value) =>
    value === null || value === undefined ? (parameter.range ? null : parameter.choices.length)
      : parameter.log ? Math.log10(value) : parameter.range ? value : parameter.choices.indexOf(value);
  const choices = (parameter) => [...parameter.choices.map(number), ...(parameter.unused ? ["unused"] : [])];
  const exponent = (value) => number(10 ** value);

  function panelOption(parameter) {
    const shift = (id) => (((id * 0.618034) % 1) - 0.5) * 0.4;
    const points = (trials, extra) => trials.map((trial) => {
      const x = place(parameter, trial.values[parameter.name]);
      const y = Math.max(data.ends.min, Math.min(data.ends.max, trial.score)); // a hopeless one stands on the edge
      return { value: [parameter.range ? x : x + shift(trial.id), y], trial, ...extra };
    });
    const scored = data.trials.filter((trial) => trial.score !== null && !(parameter.range && place(parameter, trial.values[parameter.name]) === null));
    const series = data.rungs.map((epochs, i) => ({
      type: "scatter", symbol: symbols[i % symbols.length], symbolSize: 8, itemStyle: { color: mixed(data.rungs.length > 1 ? i / (data.rungs.length - 1) : 1), opacity: 0.9, borderColor: colour("card"), borderWidth: 0.5 },
      data: points(scored.filter((trial) => trial.epochs === epochs && trial.id !== data.winner)),
    }));
    series.push({ type: "scatter", symbol: "circle", symbolSize: 15, z: 9, itemStyle: { color: colour("accent"), borderColor: colour("card"), borderWidth: 2, opacity: 1 }, data: points(scored.filter((trial) => trial.id === data.winner)) });
    const names = choices(parameter);
    const x = parameter.range
      ? { min: place(parameter, parameter.choices[0]), max: place(parameter, parameter.choices[1]), splitNumber: 3, axisLabel: { color: colour("soft"), formatter: parameter.log ? exponent : number, hideOverlap: true } }
      : { min: -0.5, max: names.length - 0.5, interval: 1, axisLabel: { color: colour("soft"), formatter: (value) => names[Math.round(value + 0.5)] ?? "", showMaxLabel: false, hideOverlap: true, align: "center" } };
    if (!parameter.range) { // marks in the middle of each choice
      x.axisLabel = { show: false };
      series.push({ type: "scatter", symbolSize: 0, silent: true, labelLayout: { hideOverlap: true }, data: names.map((name, i) => ({ value: [i, data.ends.min], name })), label: { show: true, position: "bottom", distance: 6, formatter: (found) => found.name, color: colour("soft"), fontSize: 11 } });
    }
    return {
      animation: false, grid: { left: 44, right: 14, top: 12, bottom: 28 }, tooltip: tooltip((found) => trialHint(found.data.trial)),
      xAxis: axis({ type: "value", splitLine: { show: false }, ...x }), yAxis: axis({ type: "value", scale: true, ...data.ends }), series,
    };
  }

  // The axes of the parallel coordinates: hyperparameters, epochs, score.
  const axes = [
    ...data.parameters.map((parameter) => ({ name: parameter.name, parameter })),
    { name: "epochs", of: (trial) => trial.epochs }, { name: data.objective, of: (trial) => trial.score },
  ];
  const compared = data.trials.filter((trial) => trial.score !== null);
  const coordinate = (one, trial) => (one.parameter ? place(one.parameter, trial.values[one.parameter.name]) : one.of(trial));
  function extent(one) {
    const parameter = one.parameter;
    if (parameter && !parameter.range) return [0, choices(parameter).length - 1];
    const found = compared.map((trial) => coordinate(one, trial)).filter((value) => value !== null);
    return [Math.min(...found), Math.max(...found)];
  }
  const shownAs = (one, value) =>
    one.parameter && !one.parameter.range ? choices(one.parameter)[Math.round(value)] ?? ""
      : one.parameter && one.parameter.log ? exponent(value) : number(value);

  function parallelOption() {
    const width = onPaper ? sheet.parallel[0] : document.getElementById("parallel").clientWidth;
    const narrow = width < 620;
    const crowded = !narrow && (width - 110) / axes.length < 110; // names stand in two rows
    const places = [...compared].sort((a, b) => (data.loss ? b.score - a.score : a.score - b.score));
    const goodness = (trial) => (places.indexOf(trial) + 1) / places.length;
    const labels = { color: colour("soft"), fontSize: 11, backgroundColor: colour("card"), padding: [1, 3] };
    return {
      animation: false,
      parallel: narrow
        ? { layout: "vertical", left: 112, right: 22, top: 16, bottom: 30 }
        : { left: 50, right: 60, top: crowded ? 58 : 44, bottom: 26 },
      parallelAxis: axes.map((one, dim) => {
        const [from, to] = extent(one);
        const inverse = data.loss && dim === axes.length - 1; // the better the higher up, or to the right
        const common = {
          id: `axis-${dim}`, dim, name: one.name, inverse, nameLocation: narrow !== inverse ? "start" : "end", nameGap: narrow ? 8 : crowded && dim % 2 ? 30 : 14, nameTruncate: { maxWidth: narrow ? 100 : 110 },
          nameTextStyle: { color: colour("ink"), fontSize: narrow ? 11 : 12 },
          areaSelectStyle: { width: 22, borderColor: colour("accent"), color: colour("accent"), opacity: 0.25 },
          axisLine: { lineStyle: { color: colour("grey") } }, axisTick: { show: false },
        };
        const steps = one.parameter && !one.parameter.range;
        const pad = to > from ? 0 : 0.5;
        const customValues = one.name === "epochs" ? data.rungs : pad ? [from] : undefined;
        return steps
          ? { ...common, type: "category", data: choices(one.parameter), boundaryGap: true, axisLabel: labels }
          : { ...common, type: "value", min: from - pad, max: to + pad, interval: (to - from + 2 * pad) / 3, axisLabel: { ...labels, customValues, formatter: (value) => shownAs(one, value) } };
      }),
      series: [{
        type: "parallel", inactiveOpacity: 0.04, activeOpacity: 1, progressive: 0, emphasis: { disabled: true },
        lineStyle: { width: 1.4, opacity: 0.75 },
        data: [...compared].sort((a, b) => (a.id === data.winner) - (b.id === data.winner)).map((trial) => { // the winner on top
          const won = trial.id === data.winner;
          return { value: axes.map((one) => coordinate(one, trial) ?? "-"), lineStyle: won ? { color: colour("accent"), width: 3.5, opacity: 1 } : { color: mixed(goodness(trial)), opacity: 0.25 + 0.6 * goodness(trial) } };
        }),
      }],
    };
  }

  let parallel = null;
  const intervals = axes.map(() => []); // what is chosen on each axis
  const table = document.getElementById("trials");

  function tell() {
    const fits = (trial) => axes.every((one, i) => !intervals[i].length || intervals[i].some(([a, b]) => {
      const value = coordinate(one, trial);
      return value !== null && value >= Math.min(a, b) - 1e-9 && value <= Math.max(a, b) + 1e-9;
    }));
    const chosen = compared.filter(fits);
    const ids = new Set(chosen.map((trial) => String(trial.id)));
    const all = intervals.every((each) => !each.length);
    for (const row of table ? table.tBodies[0].rows : []) row.hidden = !all && !ids.has(row.dataset.trial);
    const best = chosen.reduce((a, b) => (a === null || (data.loss ? b.score < a.score : b.score > a.score) ? b : a), null);
    const text = all ? "All trials with a score are shown."
      : `${chosen.length} of ${counted(compared.length, "trial")} chosen${best ? `; the best is ${best.name} with ${best.score.toFixed(4)} after ${counted(best.epochs, "epoch")}` : ""}. The table below shows ${chosen.length === 1 ? "it" : "them"}.`;
    document.getElementById("chosen").textContent = text;
  }

  function brushed(event) { // on the chart, with the mouse or by the controls
    const i = axes.findIndex((one, dim) => event.parallelAxisId === `axis-${dim}`);
    if (i < 0) return;
    intervals[i] = event.intervals.map((each) => [...each]);
    tell();
  }

  function select() { // what is chosen, on a chart that was drawn anew
    intervals.forEach((chosen, i) => {
      if (chosen.length) parallel.dispatchAction({ type: "axisAreaSelect", parallelAxisId: `axis-${i}`, intervals: chosen });
    });
  }

  function setUpFilter() { // with the keyboard, beside the chart
    const [which, from, to, clear] = ["axis", "from", "to", "clear"].map((id) => document.getElementById(id));
    if (!which) return;
    const show = () => {
      const one = axes[which.value];
      for (const input of [from, to]) {
        document.getElementById(`${input.id}-value`).textContent = shownAs(one, Number(input.value));
        input.setAttribute("aria-valuetext", `${one.name} ${shownAs(one, Number(input.value))}`);
      }
    };
    const reset = () => {
      const one = axes[which.value];
      const [a, b] = extent(one);
      for (const input of [from, to]) {
        input.min = a; input.max = b;
        input.step = (one.parameter && !one.parameter.range) || one.name === "epochs" ? 1 : (b - a) / 100 || 1;
      }
      const chosen = intervals[which.value][0];
      from.value = chosen ? Math.min(...chosen) : a;
      to.value = chosen ? Math.max(...chosen) : b;
      show();
    };
    const choose = () => {
      const i = Number(which.value);
      const [a, b] = extent(axes[i]);
      const picked = [Number(from.value), Number(to.value)].sort((x, y) => x - y);
      intervals[i] = picked[0] <= a && picked[1] >= b ? [] : [picked];
      if (parallel) parallel.dispatchAction({ type: "axisAreaSelect", parallelAxisId: `axis-${i}`, intervals: intervals[i] });
      show(); tell();
    };
    which.addEventListener("change", reset);
    from.addEventListener("input", choose);
    to.addEventListener("input", choose);
    clear.addEventListener("click", () => {
      intervals.forEach((each, i) => { intervals[i] = []; if (parallel) parallel.dispatchAction({ type: "axisAreaSelect", parallelAxisId: `axis-${i}`, intervals: [] }); });
      reset(); tell();
    });
    reset();
  }

  function setUpSorting() {
    for (const button of document.querySelectorAll("table.sortable th button")) {
      button.addEventListener("click", () => {
        const head = button.closest("th");
        const sorted = head.getAttribute("aria-sort");
        const up = sorted ? sorted === "descending" : head.dataset.first !== "down";
        for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        const body = head.closest("table").tBodies[0];
        const key = (row) => row.cells[head.cellIndex].dataset.value ?? row.cells[head.cellIndex].textContent.trim();
        const rows = [...body.rows].map((row) => [key(row), row]);
        const numeric = rows.every(([value]) => value === "" || Number.isFinite(Number(value)));
        const compare = ([a], [b]) =>
          a === "" || b === "" ? (a === "") - (b === "") // what has no value stays at the end
            : (up ? 1 : -1) * (numeric ? a - b : a.localeCompare(b));
        rows.sort(compare);
        body.append(...rows.map(([, row]) => row));
      });
    }
  }

  setUpSorting();
  chart(document.getElementById("curves"), curvesOption);
  for (const element of document.querySelectorAll(".chart.small")) {
    const parameter = data.parameters.find((each) => each.name === element.dataset.parameter);
    if (parameter) chart(element, () => panelOption(parameter));
  }
  if (compared.length) {
    chart(document.getElementById("parallel"), parallelOption, (made) => { parallel = made; made.on("axisareaselected", brushed); }, select);
    setUpFilter();
  }
  const again = () => charts.forEach((each) => each.again());
  dark.addEventListener("change", again);
  const print = (paper) => {
    onPaper = paper;
    document.documentElement.classList.toggle("paper", paper); // dark colours are for screens
    if (paper) charts.forEach((each) => each.draw()); else again();
  };
  printed.addEventListener("change", () => print(printed.matches));
  addEventListener("beforeprint", () => print(true));
  addEventListener("afterprint", () => print(printed.matches));
})();
