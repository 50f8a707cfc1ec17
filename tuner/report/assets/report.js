"use strict";
// Sorts tables and filters trials. All text goes in as text, never as HTML: the names of classes and
// files are anybody's.
(() => {
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
      body.append(...rows.sort(compare).map(([, row]) => row));
    });
  }

  // Parallel coordinates. Places on an axis are percentages from its beginning, at the bottom.
  const plot = document.getElementById("parallel");
  if (!plot) return;
  const axes = JSON.parse(document.getElementById("data").textContent);
  const lines = [...plot.querySelectorAll("polyline")]; // the best last
  const brushes = [...plot.querySelectorAll(".brush")];
  const chosen = axes.map(() => null); // the range on each axis
  const [which, from, to, clear, text] = ["axis", "from", "to", "clear", "chosen"].map((id) => document.getElementById(id));

  function valueAt(axis, place) {
    const count = axis.choices.length;
    if (count) return String(axis.choices[Math.min(Math.floor((place * count) / 100), count - 1)] ?? "not used");
    if (place < axis.first) return "not used";
    const share = (place - axis.first) / (100 - axis.first);
    const value = axis.is_log ? axis.low * (axis.high / axis.low) ** share : axis.low + (axis.high - axis.low) * share;
    return String(Number(value.toPrecision(3)));
  }

  function show() {
    const fits = (line) => chosen.every((range, i) => {
      const place = 100 - line.points[i].y;
      return !range || (place >= range[0] - 0.1 && place <= range[1] + 0.1);
    });
    const found = lines.filter(fits);
    const ids = new Set(found.map((line) => line.dataset.trial));
    const all = chosen.every((range) => !range);
    for (const line of lines) line.classList.toggle("faded", !ids.has(line.dataset.trial));
    for (const row of document.querySelectorAll("#trials tbody tr")) row.hidden = !all && !ids.has(row.dataset.trial);
    brushes.forEach((brush, i) => {
      const [low, high] = chosen[i] ?? [0, 0];
      brush.previousElementSibling.setAttribute("y", `${100 - high}%`);
      brush.previousElementSibling.setAttribute("height", `${high - low}%`);
    });
    const best = found.length ? `; the best is ${found.at(-1).textContent.split("\n").slice(0, 2).join(" with ")}` : "";
    text.textContent = all ? "All trials with a score are shown."
      : `${found.length} of ${lines.length} trials chosen${best}. The table below shows ${found.length === 1 ? "it" : "them"}.`;
  }

  function setControls() {
    const axis = axes[which.value];
    const half = axis.choices.length ? 50 / axis.choices.length : 0; // choices lie in the middle of their part
    for (const [input, end] of [[from, 0], [to, 1]]) {
      input.min = half;
      input.max = 100 - half;
      input.step = half * 2 || 1;
      input.value = chosen[which.value]?.[end] ?? (end ? 100 : 0);
      document.getElementById(`${input.id}-value`).textContent = valueAt(axis, Number(input.value));
      input.setAttribute("aria-valuetext", `${axis.name} ${valueAt(axis, Number(input.value))}`);
    }
  }

  function choose(axis, range) {
    chosen[axis] = range;
    setControls();
    show();
  }

  brushes.forEach((brush, i) => {
    const placeOf = (event) => {
      const box = brush.getBoundingClientRect();
      return Math.min(Math.max(100 - (100 * (event.clientY - box.top)) / box.height, 0), 100);
    };
    let start = null;
    brush.addEventListener("pointerdown", (event) => {
      start = placeOf(event);
      brush.setPointerCapture(event.pointerId);
      choose(i, null);
    });
    brush.addEventListener("pointermove", (event) => {
      const place = placeOf(event);
      if (start !== null && Math.abs(place - start) > 1) choose(i, [Math.min(start, place), Math.max(start, place)]);
    });
    brush.addEventListener("pointerup", () => { start = null; });
  });
  for (const input of [from, to]) {
    input.addEventListener("input", () => {
      const range = [Number(from.value), Number(to.value)].sort((a, b) => a - b);
      choose(which.value, range[0] <= Number(from.min) && range[1] >= Number(from.max) ? null : range);
    });
  }
  which.addEventListener("change", setControls);
  clear.addEventListener("click", () => {
    chosen.fill(null);
    setControls();
    show();
  });
  setControls();
})();
