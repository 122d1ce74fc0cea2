"use strict";
// Readouts of pictures and charts, choice of a sample and of an attribution, sorting. Nothing is told by the script
// alone: without it all samples and attributions are shown, and the values of charts stand in tables.
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const make = (name, attributes = {}, ...children) => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  };
  const written = (value) => String(Number(value.toPrecision(3))).replaceAll("-", "−");
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const tip = make("div", { class: "tip", role: "status", "aria-live": "polite", hidden: "" });
  document.body.append(tip);

  // Beside what is read, above it where there is room, and never beyond the window. A box is in shares of its area.
  let current = null;
  const placeTip = (area = current.area, box = current.box) => {
    current = { area, box };
    tip.hidden = false;
    const { left, top, width, height } = area.getBoundingClientRect();
    const middle = left + ((box[0] + box[2]) / 2) * width;
    const x = Math.min(innerWidth - tip.offsetWidth - 8, Math.max(8, middle - tip.offsetWidth / 2));
    const above = Math.max(0, top + box[1] * height) - tip.offsetHeight - 10;
    const below = Math.min(innerHeight - tip.offsetHeight - 8, top + box[3] * height + 10);
    tip.style.left = `${x}px`;
    tip.style.top = `${above < 8 ? below : above}px`;
  };

  // An area whose places can be pointed at, or gone through by keys. A source says what lies at (x, y), where a key
  // leads, which box a place covers, its outline as a path, its number, and its text in lines.
  const read = (area, label, source) => {
    const svg = `<svg class="outlined" viewBox="0 0 ${source.columns} ${source.rows}" preserveAspectRatio="none"`;
    area.insertAdjacentHTML("beforeend", `${svg} aria-hidden="true"><path/><path/></svg>`);
    const outline = all(".outlined path", area);
    const roles = { tabindex: 0, role: "slider", "aria-label": label, "aria-description": "Arrow keys read values." };
    Object.entries({ ...roles, "aria-valuemin": 0, "aria-valuemax": source.count - 1 }).forEach((one) =>
      area.setAttribute(...one));
    area.classList.add("readable");
    let place = source.start;
    const say = () => {
      area.setAttribute("aria-valuenow", source.number(place));
      area.setAttribute("aria-valuetext", source.lines(place).join("; "));
    };
    const hide = () => {
      area.classList.remove("read");
      if (current?.area === area) tip.hidden = true;
    };
    const show = (next, live) => {
      place = next;
      outline.forEach((path) => path.setAttribute("d", source.outline(place)));
      area.classList.add("read");
      say();
      tip.setAttribute("aria-live", live ? "polite" : "off");
      tip.replaceChildren(...source.lines(place).map((line, i) => make(i ? "span" : "b", {}, line)));
      placeTip(area, source.box(place));
    };
    const point = (event) => {
      const { left, top, width, height } = area.getBoundingClientRect();
      const next = source.at((event.clientX - left) / width, (event.clientY - top) / height);
      if (next === null) hide();
      else show(next, true);
    };
    say();
    area.addEventListener("pointermove", point);
    area.addEventListener("pointerdown", point);
    area.addEventListener("pointerleave", hide);
    area.addEventListener("focus", () => area.matches(":focus-visible") && show(place, false));
    area.addEventListener("blur", hide);
    area.addEventListener("keydown", (event) => {
      if (event.key === "Escape") hide();
      const next = event.ctrlKey || event.altKey || event.metaKey ? undefined : source.step(place, event.key);
      if (next === undefined) return;
      event.preventDefault();
      show(next, false);
    });
  };

  // A picture: cells of a grid, several of which may show one coefficient.
  const pictureSource = (places, figure) => {
    const { rows, columns } = places;
    const index = places.bytes === 1 ? bytes(places.index) : new Uint16Array(bytes(places.index).buffer);
    const none = places.bytes === 1 ? 255 : 65535;
    const scores = new Int16Array(bytes(figure.scores).buffer);
    const cell = (row, column) => index[row * columns + column];
    const inside = (row, column) => row >= 0 && column >= 0 && row < rows && column < columns;
    const cellOf = (i) => [Math.floor(i / columns), i % columns];
    const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    const differs = (i, row, column) => !inside(row, column) || cell(row, column) !== i;
    return {
      rows,
      columns,
      count: scores.length,
      start: cellOf(index.findIndex((one) => one !== none)),
      number: ([row, column]) => cell(row, column),
      at: (x, y) => {
        const place = [Math.floor(y * rows), Math.floor(x * columns)];
        return inside(...place) && cell(...place) !== none ? place : null;
      },
      step: ([row, column], key) => {
        if (key === "Home" || key === "End") {
          const search = key === "Home" ? "findIndex" : "findLastIndex";
          return cellOf(index[search]((one) => one !== none));
        }
        if (!(key in moves)) return undefined;
        const [down, across] = moves[key];
        let [r, c] = [row + down, column + across];
        while (inside(r, c) && (cell(r, c) === none || cell(r, c) === cell(row, column))) [r, c] = [r + down, c + across];
        return inside(r, c) ? [r, c] : [row, column];
      },
      box: ([row, column]) => [column / columns, row / rows, (column + 1) / columns, (row + 1) / rows],
      outline: ([row, column]) => {
        const shown = cell(row, column), edges = [];
        index.forEach((one, i) => {
          if (one !== shown) return;
          const [r, c] = cellOf(i);
          if (differs(one, r - 1, c)) edges.push(`M${c} ${r}h1`);
          if (differs(one, r + 1, c)) edges.push(`M${c} ${r + 1}h1`);
          if (differs(one, r, c - 1)) edges.push(`M${c} ${r}v1`);
          if (differs(one, r, c + 1)) edges.push(`M${c + 1} ${r}v1`);
        });
        return edges.join("");
      },
      lines: ([row, column]) => {
        const i = cell(row, column);
        const mark = places.marks.length ? [places.marks[i] + places.unit] : [];
        const group = places.groups[places.group[i]];
        const named = group === undefined ? [] : mark.length ? [`${places.axis}: ${group}`] : [group];
        const score = scores[i] === -32768 ? "not finite" : written((scores[i] / 32767) * figure.largest);
        return [...mark, ...named, `score ${score}`];
      },
    };
  };

  // A chart, or a histogram: the rows of its table of values.
  const chartSource = (table) => {
    const [axis, ...names] = all("thead th", table).map((cell) => cell.textContent);
    const rows = all("tbody tr", table).map((row) => ({
      at: Number(row.dataset.at),
      lines: [`${axis}: ${row.cells[0].textContent}`, ...names.map((name, i) => `${name}: ${row.cells[i + 1].textContent}`)],
    }));
    const last = rows.length - 1;
    const moves = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, Home: -rows.length, End: rows.length };
    const distance = (x) => (row) => Math.abs(row.at - 100 * x);
    return {
      rows: 100,
      columns: 100,
      count: rows.length,
      start: 0,
      number: (i) => i,
      at: (x) => rows.map(distance(x)).reduce((best, one, i, every) => (one < every[best] ? i : best), 0),
      step: (i, key) => (key in moves ? Math.min(last, Math.max(0, i + moves[key])) : undefined),
      box: (i) => [rows[i].at / 100, 0, rows[i].at / 100, 1],
      outline: (i) => `M${rows[i].at} 0V100`,
      lines: (i) => rows[i].lines,
    };
  };

  const readout = JSON.parse(document.getElementById("readout").textContent);
  for (const element of all(".picture[data-figure]")) {
    const figure = readout.figures[Number(element.dataset.figure)];
    const shown = element.firstElementChild;
    const label = shown.getAttribute("alt") ?? shown.getAttribute("aria-label");
    read(element, label, pictureSource(readout.places[figure.places], figure));
  }
  for (const chart of all(".chart")) {
    const [area, table] = [chart.querySelector(".area"), chart.querySelector(".values table")];
    const label = area?.querySelector("svg").getAttribute("aria-label");
    if (table?.tBodies[0].rows.length) read(area, label, chartSource(table));
  }
  addEventListener("scroll", () => { if (!tip.hidden) placeTip(); }, { passive: true });

  // Radio buttons in a row; `chosen` is called with the value of the one that is taken.
  let groups = 0;
  const radios = (title, kind, options, chosen) => {
    const name = `choice-${(groups += 1)}`;
    const labels = options.map(({ value, text, content }) => {
      const input = make("input", { type: "radio", name, value, "aria-label": text });
      input.addEventListener("change", () => chosen(value));
      return make("label", { title: text }, input, content ?? make("span", {}, text));
    });
    return make("fieldset", { class: kind }, make("legend", {}, title), ...labels);
  };
  const check = (kind, value) => all(`.${kind} input`).forEach((input) => { input.checked = input.value === value; });

  // One sample at a time, in all sections that show it.
  const boxes = all(".samples").filter((box) => all(".sample[data-sample]", box).length > 1);
  const choose = (id) => {
    for (const box of boxes) {
      const samples = all(".sample", box);
      if (id && !samples.some((one) => one.dataset.sample === id)) continue;
      samples.forEach((one) => one.classList.toggle("aside", id !== "" && one.dataset.sample !== id));
      box.classList.toggle("single", id !== "");
    }
    all("tbody tr[data-sample]").forEach((row) => row.classList.toggle("chosen", row.dataset.sample === id));
    check("picker", id);
  };
  const thumbnail = (sample) => {
    const picture = sample.querySelector(".picture > *").cloneNode(true);
    picture.setAttribute("aria-hidden", "true");
    if (picture.tagName === "IMG") picture.alt = "";
    return picture;
  };
  for (const box of boxes) {
    const options = all(".sample", box).map((one) => ({
      value: one.dataset.sample,
      text: one.querySelector(".caption").textContent,
      content: thumbnail(one),
    }));
    box.before(radios("Sample", "picker", [...options, { value: "", text: "All" }], choose));
  }
  if (boxes.length) choose(boxes[0].querySelector(".sample").dataset.sample);

  // One attribution at a time, or all.
  const abouts = [...new Set(all("[data-about]").map((element) => element.dataset.about))];
  const attend = (label) => {
    const away = (element) => label !== "" && (element.dataset.about ?? label) !== label;
    all("[data-about]").forEach((element) => element.classList.toggle("away", away(element)));
    for (const table of all("table.sortable")) {
      const columns = all("thead th", table).map(away);
      all("tbody tr", table).forEach((row) => [...row.cells].forEach((cell, i) => cell.classList.toggle("away", columns[i])));
    }
    check("switch", label);
  };
  if (abouts.length > 1) {
    const options = [{ value: "", text: "All" }, ...abouts.map((label) => ({ value: label, text: label }))];
    document.querySelector("[data-about]").closest("section").before(radios("Attribution", "switch", options, attend));
    attend("");
  }

  // Tables of samples: the worst first, then the best first; pictures follow the order.
  const follow = (ids) => {
    const rank = new Map(ids.map((id, i) => [id, i]));
    const order = (a, b) => (rank.get(a) ?? ids.length) - (rank.get(b) ?? ids.length);
    for (const box of boxes) {
      box.append(...all(".sample", box).sort((a, b) => order(a.dataset.sample, b.dataset.sample)));
      const picker = box.previousElementSibling, labels = all("label", picker), everything = labels.pop();
      const value = (label) => label.querySelector("input").value;
      picker.append(...labels.sort((a, b) => order(value(a), value(b))), everything);
    }
  };
  const sort = (table, column, head) => {
    const before = head.getAttribute("aria-sort");
    const first = head.dataset.better === "lower" ? "descending" : "ascending";
    const direction = before === first ? (first === "ascending" ? "descending" : "ascending") : first;
    const sign = direction === "ascending" ? 1 : -1;
    const text = (cell) => cell.dataset.key ?? (cell.textContent === "–" ? null : cell.textContent);
    const key = (row) => column ? text(row.cells[column]) : row.dataset.sample;
    const rows = [...table.tBodies[0].rows].sort((a, b) => {
      const [x, y] = [key(a), key(b)];
      if (x === null || y === null) return (x === null) - (y === null);
      return sign * (Number(x) - Number(y) || (column ? 0 : x.localeCompare(y, undefined, { numeric: true })));
    });
    all("thead th", table).forEach((one) => one.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", direction);
    table.tBodies[0].append(...rows);
    follow(rows.map((row) => row.dataset.sample));
  };
  const drawn = new Set(boxes.flatMap((box) => all(".sample", box).map((one) => one.dataset.sample)));
  for (const table of all("table.sortable")) {
    const hint = "A heading sorts, the worst first. An underlined sample is shown in pictures above.";
    table.parentElement.after(make("p", { class: "hint" }, hint));
    all("thead th", table).forEach((head, column) => {
      const button = make("button", { type: "button" }, ...head.childNodes);
      button.addEventListener("click", () => sort(table, column, head));
      head.append(button);
    });
    for (const row of table.tBodies[0].rows) {
      if (!drawn.has(row.dataset.sample)) continue;
      const button = make("button", { type: "button" }, ...row.cells[0].childNodes);
      button.addEventListener("click", () => choose(row.dataset.sample));
      row.cells[0].append(button);
    }
  }
  document.documentElement.classList.add("scripted");
})();
